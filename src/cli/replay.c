/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The whole ledger, fetched and applied here. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

struct replaying {
    struct cli *cli;
    struct mb_audit *audit;
    const struct cli_onlooker *onlooker;
    uint64_t next, tip;
};

static int replay_line(void *arg, json_t *line, struct mb_error *error)
{
    struct replaying *r = arg;
    if (r->onlooker != NULL)
        r->onlooker->before(r->onlooker->arg, line);
    int rc = mb_audit_block(r->audit, line, error);
    if (rc != 0)
        return rc;
    if (r->onlooker != NULL)
        r->onlooker->after(r->onlooker->arg, line);
    r->next = (uint64_t)mb_json_get_int(line, "slot", 0) + 1;
    cli_progress(r->cli, "replaying", r->next - 1, r->tip);
    return 0;
}

static int load_named(const json_t *versions, struct mb_modules *modules, struct mb_error *error)
{
    json_t *version;
    const char *name;
    int rc = 0;
    json_object_foreach((json_t *)versions, name, version)
    {
        if (rc == 0 && strcmp(name, "core") != 0 && strcmp(name, "lua") != 0)
            rc = mb_modules_load(modules, mb_modules_dir(MB_MODULE_DIR), name, error);
    }
    return rc;
}

int cli_load_modules(const struct cli_org *o, struct mb_modules *modules, struct mb_error *error)
{
    /* What the answer names besides may be false: where it is true and missing, the replay says so.
     */
    (void)load_named(json_object_get(o->summary, "versions"), modules, NULL);
    return load_named(json_object_get(o->genesis.json, "versions"), modules, error);
}

int cli_replay(struct cli_org *o, struct mb_audit *audit, const struct cli_onlooker *onlooker,
               struct mb_error *error)
{
    struct replaying r = {
        .cli = o->cli, .audit = audit, .onlooker = onlooker, .tip = o->newest.slot};
    int rc = 0;
    while (rc == 0 && r.next <= r.tip) {
        uint64_t before = r.next;
        char *path =
            mb_asprintf("/v1/blocks?from=%" PRIu64 "&limit=%" PRIu64, r.next, r.tip - r.next + 1);
        rc = cli_get_lines(o, path, replay_line, &r, error);
        free(path);
        if (rc == 0 && r.next == before)
            rc = mb_fail(error, MB_EPROOF, "audit.short",
                         "slot %" PRIu64 " is not served, though slot %" PRIu64 " is promised",
                         r.next, r.tip);
    }
    return rc;
}
