/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A whole module, downloaded and checked against the newest checkpoint: only so a list is known to
 * be complete. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "merkle/tree.h"

struct pairs {
    struct mb_tree_change *leaves;
    json_t *items;
    const char *prefix;
    size_t count;
    uint64_t slot;
};

static int on_pair(void *arg, json_t *line, struct mb_error *error)
{
    struct pairs *p = arg;
    const char *key = mb_json_get_text(line, "key", NULL);
    const char *text = mb_json_get_text(line, "text", NULL);
    if (key == NULL) {
        p->slot = (uint64_t)mb_json_get_int(line, "slot", 0);
        return 0;
    }
    if (text == NULL)
        return mb_fail(error, MB_EPROOF, "module.invalid", "%s has no text", key);
    p->leaves = mb_realloc(p->leaves, (p->count + 1) * sizeof *p->leaves);
    p->leaves[p->count++] = (struct mb_tree_change){.key_hash = mb_sha256(key, strlen(key)),
                                                    .value_hash = mb_sha256(text, strlen(text)),
                                                    .present = true};
    if (strncmp(key, p->prefix, strlen(p->prefix)) != 0)
        return 0;
    json_t *value;
    int rc = mb_json_parse(&value, text, strlen(text), error);
    if (rc == 0)
        json_array_append_new(p->items, json_pack("{s:s, s:o}", "key", key, "value", value));
    return rc;
}

static int by_key_hash(const void *a, const void *b)
{
    return mb_hash_compare(&((const struct mb_tree_change *)a)->key_hash,
                           &((const struct mb_tree_change *)b)->key_hash);
}

/* The module's root, as the state root of the checkpoint has it, by a proof in the tree of modules:
 * any key of the module carries it. */
static int check_module(struct cli_org *o, struct pairs *p, const char *module,
                        struct mb_error *error)
{
    struct mb_hash root;
    if (p->count > 0)
        qsort(p->leaves, p->count, sizeof *p->leaves, by_key_hash);
    for (size_t i = 1; i < p->count; i++)
        if (mb_hash_equal(&p->leaves[i].key_hash, &p->leaves[i - 1].key_hash))
            return mb_fail(error, MB_EPROOF, "module.invalid", "a key is there twice");
    root = mb_tree_root_of(p->leaves, p->count);
    return cli_verify_module(o, module, p->slot, &root, error);
}

int cli_list_proven(struct cli_org *o, const char *prefix, json_t **items, struct mb_error *error)
{
    struct pairs p = {.items = json_array(), .prefix = prefix};
    char *module = mb_strndup(prefix, strcspn(prefix, "/"));
    struct mb_buf path = {0};
    mb_buf_add_text(&path, "/v1/module/");
    cli_escape(&path, module);
    int rc = cli_get_lines(o, mb_buf_text(&path), on_pair, &p, error);
    if (rc == 0)
        rc = check_module(o, &p, module, error);
    mb_buf_clear(&path);
    free(module);
    free(p.leaves);
    *items = p.items;
    return rc;
}
