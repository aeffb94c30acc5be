/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/modules.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

const char *mb_modules_dir(const char *fallback)
{
    const char *dir = getenv("MAGICBIZ_MODULE_DIR");
    return dir != NULL && *dir != 0 ? dir : fallback;
}

static bool is_module_name(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");
    return n > 0 && n <= 32 && name[n] == 0;
}

int mb_modules_load(struct mb_modules *set, const char *dir, const char *name,
                    struct mb_error *error)
{
    if (!is_module_name(name))
        return mb_fail(error, MB_EINVAL, "module.name",
                       "module names are lower-case letters and digits: %.40s", name);
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->logics[i]->name, name) == 0)
            return 0;
    if (set->count == MB_MODULES_MAX)
        return mb_fail(error, MB_ELIMIT, "module.too_many", "more than %d modules", MB_MODULES_MAX);
    char *path = mb_asprintf("%s/%s.so", dir, name);
    char *symbol = mb_asprintf("mb_module_%s", name);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const struct mb_module *module = handle != NULL ? dlsym(handle, symbol) : NULL;
    int rc = 0;
    if (module == NULL)
        rc = mb_fail(error, MB_ENOENT, "module.missing",
                     "module %s cannot be loaded: %s: install it, or set MAGICBIZ_MODULE_DIR", name,
                     dlerror());
    else if (module->abi != MB_MODULE_ABI || strcmp(module->logic->name, name) != 0)
        rc = mb_fail(error, MB_EINVAL, "module.abi",
                     "%s was built for another version of magicbiz: install the one that came with "
                     "this program",
                     path);
    if (rc == 0) {
        set->modules[set->count] = module;
        set->logics[set->count++] = module->logic;
    } else if (handle != NULL) {
        dlclose(handle);
    }
    free(path);
    free(symbol);
    return rc;
}
