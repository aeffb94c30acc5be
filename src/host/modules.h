/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Modules, loaded by name with dlopen: in the daemon, and in the CLI for their deterministic halves. */
#ifndef MB_HOST_MODULES_H
#define MB_HOST_MODULES_H

#include <magicbiz/module.h>

#define MB_MODULES_MAX 32

struct mb_modules {
    const struct mb_module *modules[MB_MODULES_MAX];
    const struct mb_logic *logics[MB_MODULES_MAX];
    size_t count;
};
/* Load DIR/NAME.so (name: lower-case letters and digits) into the set. MB_ENOENT (module.missing),
 * MB_EINVAL (module.abi); once loaded, a module stays. */
int mb_modules_load(struct mb_modules *set, const char *dir, const char *name,
                    struct mb_error *error);
/* The folder to use: $MAGICBIZ_MODULE_DIR if set (for running from a build tree), else fallback. */
const char *mb_modules_dir(const char *fallback);

#endif
