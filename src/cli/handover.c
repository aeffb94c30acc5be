/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who the replicas were and are, as a client knows it: from those of genesis by handovers, each
 * signed by a majority of those before. What was walked once is kept in STATE/ORGID.replicas.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "loop/loop.h"

#define KEPT_MAX (16u << 20)

static char *kept_path(const struct cli_org *o)
{
    char hex[MB_HASH_HEX_SIZE];
    mb_hash_hex(&o->pin.org, hex);
    return mb_asprintf("%s/%s.replicas", o->cli->state_dir, hex);
}

static const struct mb_membership *last(const struct cli_org *o)
{
    return &o->configs[o->config_count - 1];
}

static void add(struct cli_org *o, const struct mb_membership *config, const json_t *json)
{
    o->configs = mb_realloc(o->configs, (o->config_count + 1) * sizeof *o->configs);
    o->configs[o->config_count++] = *config;
    if (json != NULL)
        json_array_append(o->walked, (json_t *)json);
}

/* A file that is missing or damaged is no harm: the walk begins at genesis then. */
static void load_kept(struct cli_org *o)
{
    struct mb_buf text = {0};
    struct mb_membership config;
    json_t *list = NULL, *item;
    size_t i;
    char *path = kept_path(o);
    if (access(path, F_OK) == 0 && mb_read_file(path, KEPT_MAX, &text, NULL) == 0 &&
        mb_json_parse(&list, text.data, text.len, NULL) == 0)
        json_array_foreach(list, i, item)
        {
            if (mb_membership_read(&config, item, NULL) != 0 ||
                config.version != last(o)->version + 1 || config.from <= last(o)->from)
                break;
            add(o, &config, item);
        }
    json_decref(list);
    mb_buf_clear(&text);
    free(path);
}

int cli_keep_configs(struct cli_org *o, struct mb_error *error)
{
    if (o->kept_count == o->config_count)
        return 0;
    char *path = kept_path(o), *text = mb_json_text(o->walked);
    int rc = mb_make_dir(o->cli->state_dir, 0700, error);
    if (rc == 0)
        rc = mb_write_file(path, mb_bytes_of(text), 0600, error);
    if (rc == 0)
        o->kept_count = o->config_count;
    free(path);
    free(text);
    return rc;
}

void cli_configs_begin(struct cli_org *o)
{
    struct mb_membership first;
    o->walked = json_array();
    mb_membership_first(&first, &o->genesis);
    add(o, &first, NULL);
    load_kept(o);
    o->kept_count = o->config_count;
}

const struct mb_membership *cli_config_for(const struct cli_org *o, uint64_t slot)
{
    size_t i = o->config_count - 1;
    while (i > 0 && o->configs[i].from > slot)
        i--;
    return &o->configs[i];
}

/* One page of handovers; *more says whether there may be another. */
static int walk_page(struct cli_org *o, bool *more, struct mb_error *error)
{
    char *path = mb_asprintf("/v1/handovers?from=%" PRIu64, last(o)->version + 1);
    json_t *answer = NULL, *item;
    size_t i;
    int rc = cli_get(o, path, &answer, error);
    const json_t *list = json_object_get(answer, "handovers");
    json_array_foreach(list, i, item)
    {
        struct mb_membership after;
        rc = mb_handover_verify(last(o), item, &o->pin.org, &after, error);
        if (rc != 0)
            break;
        add(o, &after, json_object_get(item, "config"));
    }
    *more = rc == 0 && json_array_size(list) > 0;
    json_decref(answer);
    free(path);
    return rc;
}

int cli_walk_handovers(struct cli_org *o, struct mb_error *error)
{
    bool more = true;
    int rc = 0;
    while (rc == 0 && more)
        rc = walk_page(o, &more, error);
    return rc;
}
