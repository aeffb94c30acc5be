/* SPDX-License-Identifier: GPL-3.0-or-later */
/* access extract: what a door takes along to decide without a network. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/access.h"
#include "cli/cli.h"
#include "host/host.h"

static int add_handovers(struct cli_org *o, json_t *list, struct mb_error *error)
{
    size_t before;
    int rc;
    do {
        char *path = mb_asprintf("/v1/handovers?from=%zu", json_array_size(list) + 2);
        json_t *answer = NULL;
        before = json_array_size(list);
        rc = cli_get(o, path, &answer, error);
        if (rc == 0)
            json_array_extend(list, json_object_get(answer, "handovers"));
        json_decref(answer);
        free(path);
    } while (rc == 0 && json_array_size(list) > before);
    return rc;
}

/* Which of the list it is: a checkpoint that is not there yet is checked, and added. */
static int add_checkpoint(struct cli_org *o, json_t *list, json_t *checkpoint, size_t *at,
                          struct mb_error *error)
{
    struct mb_header header;
    *at = json_array_size(list);
    if (*at > 0 && json_equal(json_object_get(json_array_get(list, *at - 1), "header"),
                              json_object_get(checkpoint, "header"))) {
        (*at)--;
        return 0;
    }
    int rc = cli_verify_checkpoint(o, checkpoint, &header, error);
    if (rc == 0)
        json_array_append(list, checkpoint);
    return rc;
}

static int add_item(struct cli_org *o, json_t *extract, const char *key, struct mb_error *error)
{
    struct mb_buf path = {0};
    json_t *answer = NULL;
    size_t at = 0;
    mb_buf_add_text(&path, "/v1/state?proof=1&key=");
    cli_escape(&path, key);
    int rc = cli_get(o, mb_buf_text(&path), &answer, error);
    if (rc == 0)
        rc = add_checkpoint(o, json_object_get(extract, "checkpoints"),
                            json_object_get(answer, "checkpoint"), &at, error);
    if (rc == 0 && json_object_get(answer, "text") != NULL)
        json_array_append_new(json_object_get(extract, "items"),
                              json_pack("{s:I, s:s, s:O, s:O}", "checkpoint", (json_int_t)at, "key",
                                        key, "proof", json_object_get(answer, "proof"), "text",
                                        json_object_get(answer, "text")));
    json_decref(answer);
    mb_buf_clear(&path);
    return rc;
}

static int add_asset(struct cli_org *o, json_t *extract, const char *asset, struct mb_error *error)
{
    char *prefix = mb_asprintf("books/balance/%s/key/", asset);
    json_t *items = NULL;
    const json_t *item;
    size_t i;
    int rc = cli_list(o, prefix, &items, error);
    if (rc == 0)
        json_array_foreach(items, i, item)
        {
            rc = add_item(o, extract, mb_json_get_text(item, "key", ""), error);
            if (rc != 0)
                break;
            cli_progress(o->cli, asset, i + 1, json_array_size(items));
        }
    json_decref(items);
    free(prefix);
    return rc;
}

/* What is written is what a check believes, to the last proof. */
static int check_whole(struct cli_org *o, struct mb_bytes text, struct mb_error *error)
{
    struct access_extract e;
    const json_t *item;
    int64_t value;
    size_t i;
    int rc = access_extract_read(&e, text, &o->pin.org, error);
    if (rc == 0)
        json_array_foreach(json_object_get(e.json, "items"), i, item)
        {
            rc = access_extract_get(&e, mb_json_get_text(item, "key", ""), &value, error);
            if (rc < 0)
                break;
            rc = 0;
        }
    access_extract_clear(&e);
    return rc;
}

static int write_extract(struct cli *c, struct cli_org *o, const json_t *extract,
                         struct mb_error *error)
{
    const char *out = cli_option(c, "out");
    char *text = mb_json_text(extract);
    size_t count = json_array_size(json_object_get(extract, "items"));
    int rc = check_whole(o, mb_bytes_of(text), error);
    if (rc == 0)
        rc = mb_write_file(out, mb_bytes_of(text), 0600, error);
    if (rc == 0 && c->json)
        cli_print_json(json_pack("{s:s, s:I, s:I, s:I}", "file", out, "balances", (json_int_t)count,
                                 "bytes", (json_int_t)strlen(text), "slot",
                                 (json_int_t)o->seen.slot));
    else if (rc == 0)
        printf("%zu balance%s, proven at slot %" PRIu64 ", in %s\n", count, count == 1 ? "" : "s",
               o->seen.slot, out);
    free(text);
    return rc;
}

static int access_extract(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    const char *asset;
    size_t at;
    int rc = cli_need(c, "out", error);
    if (rc == 0)
        rc = cli_need(c, "asset", error);
    if (rc == 0)
        rc = cli_open_org(c, &o, error);
    if (rc != 0)
        return rc;
    json_t *extract = json_pack("{s:[], s:s, s:[], s:[], s:s}", "checkpoints", "genesis",
                                mb_buf_text(&o->genesis_text), "handovers", "items", "type",
                                "magicbiz-extract-1");
    json_t *checkpoints = json_object_get(extract, "checkpoints");
    rc = add_checkpoint(o, checkpoints, json_object_get(o->summary, "checkpoint"), &at, error);
    for (size_t i = 0; rc == 0 && (asset = cli_option_at(c, "asset", i)) != NULL; i++)
        rc = add_asset(o, extract, asset, error);
    if (rc == 0)
        rc = add_handovers(o, json_object_get(extract, "handovers"), error);
    if (rc == 0)
        rc = write_extract(c, o, extract, error);
    json_decref(extract);
    return rc;
}

const struct cli_command cmd_access_extract = {
    .name = "access extract",
    .args = "",
    .summary = "write what a door needs to decide without a network",
    .help =
        "Who holds how much of each asset named, with proofs, and the checkpoint that a majority\n"
        "of the replicas signed. Whoever has the file and the organisation's pin can check it.\n"
        "It asks for each holder alone. A replica that leaves out a holder locks that one out;\n"
        "none can let somebody in.\n\n"
        "    magicbiz access extract --asset member --asset cert-laser --out laser.extract",
    .options =
        (const struct cli_option[]){{"asset", "NAME", "an asset; may be given more than once"},
                                    {"out", "FILE", "the file to write"},
                                    {NULL, NULL, NULL}},
    .run = access_extract,
};
