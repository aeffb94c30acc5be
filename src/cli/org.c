/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Organisations that were joined: a pin each, in CONFIG/orgs/NAME. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static char *xdg_dir(const char *variable, const char *below_home)
{
    const char *base = getenv(variable), *home = getenv("HOME");
    if (base != NULL && *base == '/')
        return mb_asprintf("%s/magicbiz", base);
    return mb_asprintf("%s/%s/magicbiz", home != NULL ? home : "", below_home);
}

void cli_find_dirs(struct cli *c)
{
    c->config_dir = xdg_dir("XDG_CONFIG_HOME", ".config");
    c->state_dir = xdg_dir("XDG_STATE_HOME", ".local/state");
}

static char *pin_path(const struct cli *c, const char *name)
{
    return mb_asprintf("%s/orgs/%s", c->config_dir, name);
}

int cli_pin_save(const struct cli *c, const struct mb_pin *pin, struct mb_error *error)
{
    char *folder = mb_asprintf("%s/orgs", c->config_dir), *path = pin_path(c, pin->name);
    char *text = mb_pin_text(pin), *line = mb_asprintf("%s\n", text);
    int rc = mb_make_dir(folder, 0700, error);
    if (rc == 0)
        rc = mb_write_file(path, mb_bytes_of(line), 0600, error);
    free(folder);
    free(path);
    free(text);
    free(line);
    return rc;
}

int cli_pin_load(const struct cli *c, const char *name, struct mb_pin *pin, struct mb_error *error)
{
    struct mb_buf text = {0};
    char *path = pin_path(c, name);
    int rc = 0;
    *pin = (struct mb_pin){0};
    if (!cli_name_valid(name) || access(path, F_OK) != 0)
        rc = mb_fail(error, MB_ENOENT, "org.unknown",
                     "no organisation %.40s was joined: magicbiz org list shows those that were",
                     name);
    if (rc == 0)
        rc = mb_read_file(path, 4096, &text, error);
    if (rc == 0) {
        mb_buf_text(&text)[strcspn(mb_buf_text(&text), "\n")] = 0;
        rc = mb_pin_parse(pin, mb_buf_text(&text), error);
    }
    if (rc == 0)
        pin->name = mb_strdup(name);
    mb_buf_clear(&text);
    free(path);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

size_t cli_pin_names(const struct cli *c, char ***names)
{
    char *folder = mb_asprintf("%s/orgs", c->config_dir);
    DIR *dir = opendir(folder);
    size_t count = 0;
    *names = NULL;
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (!cli_name_valid(e->d_name))
            continue;
        *names = mb_realloc(*names, (count + 1) * sizeof **names);
        (*names)[count++] = mb_strdup(e->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    if (count > 0)
        qsort(*names, count, sizeof **names, by_name);
    free(folder);
    return count;
}
