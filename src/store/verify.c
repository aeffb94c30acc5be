/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The full check on start. One pass over the rows and one over the pages, in little memory: each
 * module's rows and its pages' leaves are the same set if a sum over their (H(key), H(value)) is
 * the same. The sum is no cryptographic one: it finds damage (one altered value always, for what it
 * is multiplied with is odd), and is not asked to find an enemy who may write the file.
 */
#include <string.h>

#include "base/map.h"
#include "merkle/tree.h"
#include "store/internal.h"

struct sum {
    uint64_t lanes[4], count;
};

static void add(struct sum *sum, const struct mb_hash *key_hash, const struct mb_hash *value_hash)
{
    uint64_t k[4], v[4];
    memcpy(k, key_hash->b, sizeof k);
    memcpy(v, value_hash->b, sizeof v);
    for (size_t i = 0; i < 4; i++)
        sum->lanes[i] += (k[i] | 1) * v[i];
    sum->count++;
}

struct check {
    struct mb_connection *store;
    struct mb_tree_io io;
    struct mb_map *rows;    /* module → struct sum of its rows */
    struct mb_map *modules; /* H(module) in hex → its root, as the tree of modules has it */
    struct sum pages;
    struct mb_error *error;
};

static int differs(const struct check *c, const char *what)
{
    return mb_fail(c->error, MB_ECORRUPT, "store.root",
                   "%s: %s does not match its root; the state is rebuilt from snapshot and archive",
                   c->store->path, what);
}

static int passed_on(const struct check *c, int rc)
{
    if (c->error && c->store->error.code[0])
        *c->error = c->store->error;
    return rc;
}

static int sum_rows(struct check *c)
{
    struct mb_connection *s = c->store;
    struct mb_buf module = {0};
    struct sum sum = {.count = 0};
    int rc = mb_store_step(s, SQL_STATE_ALL, "");
    for (; rc == 1; rc = mb_store_next(s, SQL_STATE_ALL)) {
        sqlite3_stmt *stmt = s->stmt[SQL_STATE_ALL];
        struct mb_bytes key =
            mb_bytes(sqlite3_column_text(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0));
        struct mb_bytes text =
            mb_bytes(sqlite3_column_text(stmt, 1), (size_t)sqlite3_column_bytes(stmt, 1));
        const uint8_t *slash = memchr(key.data, '/', key.len);
        size_t len = slash ? (size_t)(slash - key.data) : key.len;
        if (len != module.len || memcmp(key.data, module.data, len) != 0) {
            if (sum.count)
                mb_map_put(c->rows, mb_buf_text(&module), &sum, sizeof sum);
            mb_buf_reset(&module);
            mb_buf_add(&module, key.data, len);
            const struct mb_map_item *item = mb_map_get(c->rows, mb_buf_text(&module));
            sum = (struct sum){.count = 0};
            if (item)
                memcpy(&sum, item->value.data, sizeof sum);
        }
        struct mb_hash key_hash = mb_sha256(key.data, key.len);
        struct mb_hash value_hash = mb_sha256(text.data, text.len);
        add(&sum, &key_hash, &value_hash);
    }
    if (rc == 0 && sum.count)
        mb_map_put(c->rows, mb_buf_text(&module), &sum, sizeof sum);
    mb_buf_clear(&module);
    return rc;
}

static int visit_module(void *arg, const struct mb_hash *key_hash, const struct mb_hash *root)
{
    struct check *c = arg;
    char hex[MB_HASH_HEX_SIZE];
    mb_hash_hex(key_hash, hex);
    mb_map_put(c->modules, hex, root->b, sizeof root->b);
    return 0;
}

static int visit_leaf(void *arg, const struct mb_hash *key_hash, const struct mb_hash *value_hash)
{
    struct check *c = arg;
    add(&c->pages, key_hash, value_hash);
    return 0;
}

static int check_module(struct check *c, const struct mb_map_item *rows)
{
    struct mb_hash root, place = mb_sha256(rows->key, strlen(rows->key));
    char hex[MB_HASH_HEX_SIZE], what[80];
    mb_hash_hex(&place, hex);
    (void)mb_snprintf(what, sizeof what, "module \"%s\"", rows->key);
    const struct mb_map_item *said = mb_map_get(c->modules, hex);
    c->pages = (struct sum){.count = 0};
    int rc = mb_tree_walk(&c->io, rows->key, visit_leaf, c, &root, NULL);
    if (c->store->error.code[0])
        return passed_on(c, rc);
    if (rc || !said || memcmp(said->value.data, root.b, sizeof root.b) != 0 ||
        memcmp(rows->value.data, &c->pages, sizeof c->pages) != 0)
        return differs(c, what);
    return 0;
}

static int check_all(struct check *c, const struct mb_hash *state_root)
{
    struct mb_hash root;
    int rc = sum_rows(c);
    if (rc)
        return passed_on(c, rc);
    rc = mb_tree_walk(&c->io, "", visit_module, c, &root, NULL);
    if (c->store->error.code[0])
        return passed_on(c, rc);
    const struct mb_map_item *module = mb_map_next(c->rows, "");
    bool modules_hold = rc == 0;
    for (rc = 0; module && rc == 0; module = mb_map_next(c->rows, module->key))
        rc = check_module(c, module);
    if (rc)
        return rc;
    if (!modules_hold || mb_map_count(c->modules) != mb_map_count(c->rows))
        return differs(c, "the tree of modules");
    return mb_hash_equal(&root, state_root) ? 0 : differs(c, "the whole state");
}

/* What the table has, whatever the cache has. */
static int page_load(void *self, const char *tree, struct mb_bytes id, struct mb_buf *page)
{
    return mb_store_get(self, SQL_PAGE_GET, page, "sb", tree, id);
}

int mb_store_verify(struct mb_store *s, const struct mb_hash *state_root, struct mb_error *error)
{
    struct mb_connection *from = &s->reader;
    int rc = mb_store_flush(s);
    if (rc == 0) {
        from = mb_store_reads(s);
        from->error = (struct mb_error){0};
    }
    struct check c = {.store = from,
                      .io = {from, page_load, NULL},
                      .rows = mb_map_new(),
                      .modules = mb_map_new(),
                      .error = error};
    rc = rc ? passed_on(&c, rc) : check_all(&c, state_root);
    mb_map_free(c.rows);
    mb_map_free(c.modules);
    return rc;
}
