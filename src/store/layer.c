/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/layer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define OVERHEAD 160 /* of a row, beside its text */

struct mb_layer *mb_layer_new(void)
{
    struct mb_layer *l = mb_calloc(1, sizeof *l);
    l->state = mb_map_new();
    l->rows = mb_map_new();
    l->mark = l->forget = -1;
    return l;
}

void mb_layer_free(struct mb_layer *l)
{
    if (!l)
        return;
    mb_map_free(l->state);
    mb_map_free(l->rows);
    for (size_t i = 0; i < l->page_count; i++)
        mb_buf_clear(&l->pages[i].bytes);
    free(l->pages);
    free(l->seen);
    mb_buf_clear(&l->scratch);
    free(l);
}

bool mb_layer_empty(const struct mb_layer *l)
{
    return l->bytes == 0 && l->mark < 0 && l->forget < 0;
}

/* --- The state. --- */

bool mb_state_present(const struct mb_map_item *item)
{
    return item->value.data[8] != 0;
}

struct mb_bytes mb_state_text(const struct mb_map_item *item)
{
    return mb_bytes(item->value.data + 9, item->value.len - 9);
}

void mb_state_put(struct mb_map *in, struct mb_buf *scratch, uint64_t slot, const char *key,
                  struct mb_bytes text)
{
    mb_buf_reset(scratch);
    mb_buf_add_u64(scratch, slot);
    mb_buf_add_u8(scratch, text.data != NULL);
    mb_buf_add_bytes(scratch, text);
    mb_map_put(in, key, scratch->data, scratch->len);
}

void mb_layer_put(struct mb_layer *l, uint64_t slot, const char *key, struct mb_bytes text)
{
    mb_state_put(l->state, &l->scratch, slot, key, text);
    l->bytes += strlen(key) + text.len + OVERHEAD;
}

/* --- Other rows. --- */

void mb_row_history(char key[MB_ROW_KEY], unsigned level, uint64_t index)
{
    (void)mb_snprintf(key, MB_ROW_KEY, "h%02u%016" PRIx64, level, index);
}

void mb_row_id(char key[MB_ROW_KEY], char table, const struct mb_hash *id)
{
    key[0] = table;
    mb_hash_hex(id, key + 1);
}

void mb_row_meta(char key[MB_ROW_KEY], const char *name)
{
    (void)mb_snprintf(key, MB_ROW_KEY, "m%s", name);
}

void mb_layer_row(struct mb_layer *l, const char *key, struct mb_bytes value)
{
    if (value.data)
        mb_map_put(l->rows, key, value.data, value.len);
    else
        mb_map_mark_deleted(l->rows, key);
    l->bytes += value.len + OVERHEAD;
}

void mb_layer_seen_add(struct mb_layer *l, const char *key, const struct mb_seen *seen)
{
    if ((l->seen_count & (l->seen_count + 1)) == 0) /* room for a power of two, less one */
        l->seen = mb_realloc(l->seen, (l->seen_count + 1) * 2 * sizeof *l->seen);
    l->seen[l->seen_count++] = *seen;
    mb_layer_row(l, key, mb_bytes(seen, sizeof *seen));
}

/* --- Writing. --- */

static struct mb_bytes column_text(sqlite3_stmt *stmt, int column)
{
    const void *text = sqlite3_column_text(stmt, column); /* NULL if it is NULL */
    return mb_bytes(text, (size_t)sqlite3_column_bytes(stmt, column));
}

/* What a row was is kept if a checkpoint may still ask for it. */
static int write_state(struct mb_connection *c, struct mb_marks *m, const struct mb_map_item *item)
{
    struct mb_cursor slot = mb_cursor(item->value);
    struct mb_bytes key = mb_bytes_of(item->key);
    struct mb_bytes text = mb_state_present(item) ? mb_state_text(item) : mb_bytes(NULL, 0);
    int64_t mark = -1, undo = 0;
    int rc = mb_store_step(c, SQL_CHANGED_ADD, "is", (int64_t)mb_cursor_u64(&slot), item->key);
    int there = rc ? rc : mb_store_step(c, SQL_STATE_ROW, "t", key);
    if (there < 0)
        return there;
    if (there) {
        mark = sqlite3_column_int64(c->stmt[SQL_STATE_ROW], 0);
        undo = sqlite3_column_int64(c->stmt[SQL_STATE_ROW], 1);
        if (mark < m->newest) {
            struct mb_bytes old = column_text(c->stmt[SQL_STATE_ROW], 2);
            rc = mb_store_step(c, SQL_STATE_KEEP, "iiit", m->next, mark, undo, old);
            undo = m->next++;
        }
        mb_store_done(c, SQL_STATE_ROW);
    }
    if (rc)
        return rc;
    if (!text.data && undo == 0)
        return mb_store_step(c, SQL_STATE_DROP, "t", key);
    return mb_store_step(c, there ? SQL_STATE_UPDATE : SQL_STATE_INSERT, "tiit", key, m->newest,
                         undo, text);
}

int mb_page_find(struct mb_connection *c, struct mb_page_entry *p)
{
    int rc = mb_store_step(c, SQL_PAGE_FIND, "sb", p->tree, mb_bytes(p->id, p->id_len));
    p->row = 0;
    if (rc == 1) {
        p->row = sqlite3_column_int64(c->stmt[SQL_PAGE_FIND], 0);
        p->mark = sqlite3_column_int64(c->stmt[SQL_PAGE_FIND], 1);
        p->undo = sqlite3_column_int64(c->stmt[SQL_PAGE_FIND], 2);
    }
    return rc;
}

static int write_page(struct mb_connection *c, struct mb_marks *m, const struct mb_layer_page *page)
{
    struct mb_page_entry *p = page->entry;
    struct mb_bytes bytes = page->bytes.len ? mb_buf_bytes(&page->bytes) : mb_bytes(NULL, 0);
    int rc = p->known ? 0 : mb_page_find(c, p);
    if (rc == 1)
        mb_store_done(c, SQL_PAGE_FIND);
    if (rc < 0)
        return rc;
    if (!p->row)
        p->undo = 0;
    rc = 0;
    if (p->row && p->mark < m->newest) {
        p->undo = m->next++;
        rc = mb_store_step(c, SQL_PAGE_KEEP, "ii", p->row, p->undo);
    }
    p->mark = m->newest;
    p->known = bytes.data != NULL;
    if (rc)
        return rc;
    if (!bytes.data && p->undo == 0)
        return p->row ? mb_store_step(c, SQL_PAGE_DROP, "i", p->row) : 0;
    if (p->row)
        return mb_store_step(c, SQL_PAGE_UPDATE, "iiib", p->row, p->mark, p->undo, bytes);
    rc = mb_store_step(c, SQL_PAGE_INSERT, "sbiib", p->tree, mb_bytes(p->id, p->id_len), p->mark,
                       p->undo, bytes);
    p->row = sqlite3_last_insert_rowid(c->db);
    return rc;
}

static int write_row(struct mb_connection *c, const struct mb_map_item *item)
{
    const char *key = item->key + 1;
    struct mb_cursor v = mb_cursor(item->value);
    struct mb_hash id;
    switch (item->key[0]) {
    case 'c':
        if (mb_hash_from_hex(&id, key) != 0)
            return MB_EINVAL;
        int64_t slot = (int64_t)mb_cursor_u64(&v);
        return mb_store_step(c, SQL_COMMAND_ADD, "bii", mb_bytes(id.b, sizeof id.b), slot,
                             (int64_t)mb_cursor_u32(&v));
    case 'h':
        return mb_store_step(c, SQL_HISTORY_PUT, "iib",
                             (int64_t)((key[0] - '0') * 10 + (key[1] - '0')),
                             (int64_t)strtoull(key + 2, NULL, 16), item->value);
    case 'm':
        return item->present ? mb_store_step(c, SQL_META_PUT, "sb", key, item->value)
                             : mb_store_step(c, SQL_META_DELETE, "s", key);
    default:
        return 0; /* 's': they are written in the order in which they were taken in */
    }
}

static int write_seen(struct mb_connection *c, const struct mb_seen *seen)
{
    return mb_store_step(c, SQL_SEEN_ADD, "biii", mb_bytes(seen->id.b, sizeof seen->id.b),
                         (int64_t)seen->slot, (int64_t)seen->index, (int64_t)seen->hour);
}

static int write_mark(struct mb_connection *c, const char *name, int64_t slot, int64_t *mark)
{
    int rc = mb_store_step(c, SQL_MARK_PUT, "si", name, slot);
    if (rc == 0)
        *mark = slot;
    return rc;
}

static int write_checkpoint(struct mb_connection *c, struct mb_marks *m, int64_t slot)
{
    int rc = 0;
    if (m->newest >= 0) {
        rc = mb_store_step(c, SQL_OLD_FORGET, "i", m->cut);
        if (rc == 0)
            rc = mb_store_step(c, SQL_STATE_PURGE, "i", m->newest);
        if (rc == 0)
            rc = mb_store_step(c, SQL_PAGE_PURGE, "i", m->newest);
        if (rc == 0)
            rc = write_mark(c, "previous", m->newest, &m->previous);
    }
    if (rc == 0)
        rc = write_mark(c, "newest", slot, &m->newest);
    return rc ? rc : write_mark(c, "cut", m->next, &m->cut);
}

int mb_layer_write(struct mb_connection *c, struct mb_marks *m, const struct mb_layer *l)
{
    int rc = 0;
    for (const struct mb_map_item *i = mb_map_next(l->state, ""); i && rc == 0;
         i = mb_map_next(l->state, i->key))
        rc = write_state(c, m, i);
    for (size_t i = 0; i < l->page_count && rc == 0; i++)
        rc = write_page(c, m, &l->pages[i]);
    for (const struct mb_map_item *i = mb_map_next(l->rows, ""); i && rc == 0;
         i = mb_map_next(l->rows, i->key))
        rc = write_row(c, i);
    for (size_t i = 0; i < l->seen_count && rc == 0; i++)
        rc = write_seen(c, &l->seen[i]);
    if (rc == 0 && l->forget >= 0) {
        rc = mb_store_step(c, SQL_CHANGED_FORGET, "i", l->forget);
        if (rc == 0)
            rc = write_mark(c, "forgotten", l->forget, &m->forgotten);
    }
    if (rc == 0 && l->mark >= 0)
        rc = write_checkpoint(c, m, l->mark);
    return rc;
}
