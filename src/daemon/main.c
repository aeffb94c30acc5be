/* SPDX-License-Identifier: GPL-3.0-or-later */
/* magicbizd: the daemon. See magicbizd(8). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/node.h"

static const char usage[] =
    "usage: magicbizd init --name NAME --founder PUBKEY... --data DIR [options]\n"
    "       magicbizd join --invite TEXT --data DIR [options]\n"
    "       magicbizd run --config FILE [--check]\n"
    "       magicbizd --version\n"
    "\n"
    "  init  found an organisation with this daemon as its first replica\n"
    "  join  make a daemon that follows an organisation, and may become a replica of it\n"
    "  run   run in the foreground\n"
    "\n"
    "Each takes --help. Manual: magicbizd(8), magicbiz.conf(5).\n";

/* The options' part of magicbiz.conf(5), for the build. */
static int manual_main(int argc, char **argv)
{
    struct mb_modules modules = {0};
    struct mb_error error = {0};
    for (int i = 1; i < argc; i++)
        if (mb_modules_load(&modules, mb_modules_dir(MB_MODULE_DIR), argv[i], &error) != 0) {
            fprintf(stderr, "magicbizd: %s\n", error.text);
            return 1;
        }
    struct mb_buf out = {0};
    struct mb_section *sections = node_sections(&modules);
    mb_config_manual(&out, sections);
    fputs(mb_buf_text(&out), stdout);
    mb_buf_clear(&out);
    free(sections);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"init", init_main}, {"join", join_main}, {"run", run_main}, {"manual", manual_main}};
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts(PACKAGE_STRING);
        return 0;
    }
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    bool asked = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0);
    fputs(usage, asked ? stdout : stderr);
    return asked ? 0 : 2;
}
