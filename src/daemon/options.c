/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/node.h"

#include <stdlib.h>
#include <string.h>

static const struct mb_option daemon_options[] = {
    {.name = "data",
     .kind = MB_OPTION_PATH,
     .help = "Folder of this daemon: keys, log, archive, store and repositories. Made by\n"
             ".Ic magicbizd init ."},
    {.name = "modules",
     .kind = MB_OPTION_WORDS,
     .fallback = "vcs",
     .help = "Modules to load. Those that the organisation uses must be among them."},
    {.name = "module_dir",
     .kind = MB_OPTION_PATH,
     .fallback = "",
     .help = "Where modules are looked for, if not in the folder they were installed to."},
    {.name = "log",
     .kind = MB_OPTION_TEXT,
     .fallback = "info",
     .reload = true,
     .help = "Log level (error, warn, info, debug), and levels of single subsystems:\n"
             ".Ql info,tor=debug ."},
    {.name = "log_file",
     .kind = MB_OPTION_PATH,
     .fallback = "",
     .help = "File to log to (mode 0600) instead of standard error."},
    {.name = "snapshot_blocks",
     .kind = MB_OPTION_INT,
     .fallback = "10000",
     .min = 1,
     .max = 10000000,
     .reload = true,
     .help = "A snapshot is made at the first checkpoint slot this many blocks after the last\n"
             "one. Fewer make a rebuild of the store shorter."},
    {.name = "worker_threads",
     .kind = MB_OPTION_INT,
     .fallback = "2",
     .min = 1,
     .max = 64,
     .help = "Threads that check signatures and packs."},
    {.name = NULL},
};

static const struct mb_option http_options[] = {
    {.name = "connections",
     .kind = MB_OPTION_INT,
     .fallback = "256",
     .min = 8,
     .max = 10000,
     .help = "Connections that the onion's socket serves at once."},
    {.name = "idle",
     .kind = MB_OPTION_DURATION,
     .fallback = "120s",
     .min = 5,
     .max = 3600,
     .help = "A connection on which nothing moves for so long is closed."},
    {.name = "bodies",
     .kind = MB_OPTION_SIZE,
     .fallback = "16M",
     .min = 1 << 20,
     .max = 1 << 30,
     .help = "Memory for commands that are being received or wait for their block. Beyond it,\n"
             "clients are asked to come again (limit.busy)."},
    {.name = NULL},
};

static const struct mb_option tor_options[] = {
    {.name = "mode",
     .kind = MB_OPTION_CHOICE,
     .fallback = "child",
     .choices = "child running none",
     .help = "A tor of the daemon's own as its child, a tor that runs already, or none: then\n"
             "the organisation answers on its Unix sockets only."},
    {.name = "binary",
     .kind = MB_OPTION_PATH,
     .fallback = MB_TOR_PATH,
     .help = "The tor program, for mode child."},
    {.name = "include",
     .kind = MB_OPTION_PATH,
     .fallback = "",
     .help = "A torrc that the child includes: a private network, bridges."},
    {.name = "control",
     .kind = MB_OPTION_TEXT,
     .fallback = "/run/tor/control",
     .help = "Control socket of the running tor: the path of a Unix socket."},
    {.name = "socks",
     .kind = MB_OPTION_TEXT,
     .fallback = "/run/tor/socks",
     .help = "SOCKS socket of the running tor: the path of a Unix socket."},
    {.name = "password_file",
     .kind = MB_OPTION_PATH,
     .fallback = "",
     .help = "File with the control password, where the running tor asks for one."},
    {.name = "cookie_file",
     .kind = MB_OPTION_PATH,
     .fallback = "",
     .help = "Control cookie, if it is not where the running tor says."},
    {.name = "proof_of_work",
     .kind = MB_OPTION_FLAG,
     .fallback = "yes",
     .help = "Ask tor for the proof-of-work defence of onion services where it has it."},
    {.name = "publish_jitter",
     .kind = MB_OPTION_DURATION,
     .fallback = "5s",
     .min = 0,
     .max = 3600,
     .help = "After a start, onion services are published a random time up to this after tor can\n"
             "be used, so that they do not tell when the daemon was started. After a restart of\n"
             "tor alone they are put back at once."},
    {.name = NULL},
};

static const struct mb_option consensus_options[] = {
    {.name = "election_ms",
     .kind = MB_OPTION_INT,
     .fallback = "8000",
     .min = 50,
     .max = 600000,
     .help = "A leader that has not been heard for this long is replaced: the least, in\n"
             "milliseconds; measured round trips make it longer."},
    {.name = "rebuild_ms",
     .kind = MB_OPTION_INT,
     .fallback = "3000",
     .min = 0,
     .max = 600000,
     .help = "Time that tor may take to rebuild a circuit, added to it."},
    {.name = "heartbeat_ms",
     .kind = MB_OPTION_INT,
     .fallback = "250",
     .min = 5,
     .max = 60000,
     .help =
         "The leader is heard from at least this far apart; half a round trip if that is more."},
    {.name = "round_trip_ms",
     .kind = MB_OPTION_INT,
     .fallback = "1000",
     .min = 1,
     .max = 60000,
     .help = "The round trip that is assumed until one has been measured."},
    {.name = "folder",
     .kind = MB_OPTION_PATH,
     .fallback = "",
     .help = "Replicas on one machine meet in this folder, each at a socket with the name of its\n"
             "peer onion, instead of through tor: for tests."},
    {.name = NULL},
};

static const struct mb_option follow_options[] = {
    {.name = "invite",
     .kind = MB_OPTION_TEXT,
     .fallback = "",
     .help = "Text by which this daemon joined: where replicas are found, and a header that their\n"
             "history must hold. Written by\n"
             ".Ic magicbizd join ."},
    {.name = "sockets",
     .kind = MB_OPTION_WORDS,
     .fallback = "",
     .help = "Public sockets of replicas on the same machine, asked instead of their onions: for\n"
             "tests."},
    {.name = "snapshot_behind",
     .kind = MB_OPTION_INT,
     .fallback = "200000",
     .min = 0,
     .max = 1000000000000,
     .reload = true,
     .help = "A daemon that is this many blocks behind catches up by a snapshot, if a replica has\n"
             "one, and by blocks from there; 0: never. It then has no blocks from before the\n"
             "snapshot, and sends those who ask for them to others: a replica that is to keep the\n"
             "whole history sets 0."},
    {.name = NULL},
};

static const struct mb_section base_sections[] = {
    {.name = "daemon", .help = "The daemon itself.", .options = daemon_options},
    {.name = "http", .help = "The sockets behind the onion service.", .options = http_options},
    {.name = "tor", .help = "Tor.", .options = tor_options},
    {.name = "consensus",
     .help = "How replicas agree. The defaults are made for tor.",
     .options = consensus_options},
    {.name = "follow",
     .help = "What a daemon that is no replica (any more, or not yet) asks for blocks.",
     .options = follow_options},
    {.name = NULL},
};

const struct mb_section *node_base_sections(void)
{
    return base_sections;
}

struct mb_section *node_sections(const struct mb_modules *modules)
{
    size_t base = sizeof base_sections / sizeof *base_sections - 1;
    struct mb_section *all = mb_calloc(base + modules->count + 1, sizeof *all);
    memcpy(all, base_sections, base * sizeof *all);
    struct mb_section *next = all + base;
    for (size_t i = 0; i < modules->count; i++)
        if (modules->modules[i]->options != NULL)
            *next++ = (struct mb_section){.name = modules->logics[i]->name,
                                          .help = modules->modules[i]->summary,
                                          .options = modules->modules[i]->options};
    return all;
}

int node_read_config(const char *file, struct mb_config **out, struct mb_modules *modules,
                     struct mb_section **sections, struct mb_error *error)
{
    struct mb_buf text = {0};
    struct mb_config *first = NULL;
    int rc = mb_read_file(file, MB_CONFIG_MAX, &text, error);
    if (rc == 0) /* once to learn the modules, then with their options */
        rc = mb_config_parse(&first, file, mb_buf_bytes(&text), base_sections, true, error);
    if (rc == 0) {
        const char *const *names;
        size_t count = mb_config_words(first, "daemon", "modules", &names);
        const char *given = mb_config_text(first, "daemon", "module_dir");
        const char *dir = mb_modules_dir(*given != 0 ? given : MB_MODULE_DIR);
        for (size_t i = 0; i < count && rc == 0; i++)
            rc = mb_modules_load(modules, dir, names[i], error);
    }
    if (rc == 0) {
        *sections = node_sections(modules);
        rc = mb_config_parse(out, file, mb_buf_bytes(&text), *sections, false, error);
        if (rc == 0 && !mb_log_configure(mb_config_text(*out, "daemon", "log"))) {
            rc = mb_fail(error, MB_EINVAL, "config.invalid",
                         "%s: [daemon] log = %.60s: a level is error, warn, info or debug", file,
                         mb_config_text(*out, "daemon", "log"));
            mb_config_free(*out);
        }
        if (rc != 0) {
            free(*sections);
            *sections = NULL;
            *out = NULL;
        }
    }
    mb_config_free(first);
    mb_buf_clear(&text);
    return rc;
}
