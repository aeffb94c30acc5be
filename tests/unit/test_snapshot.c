/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/org.h"

#define T0 ORG_CREATED

struct chunks {
    struct mb_buf data[64];
    struct mb_hash names[64];
    size_t count;
};
struct fixture {
    struct org o;
    struct mb_memory *memory;
    struct chunks chunks;
    struct mb_snapshot s;
};

static int keep_chunk(void *arg, struct mb_bytes chunk, const struct mb_hash *name)
{
    struct chunks *c = arg;
    struct mb_hash hash = mb_sha256(chunk.data, chunk.len);
    assert_true(c->count < 64);
    assert_true(chunk.len > 0 && chunk.len <= MB_CHUNK_BYTES);
    assert_true(mb_hash_equal(&hash, name));
    mb_buf_add_bytes(&c->data[c->count], chunk);
    c->names[c->count++] = *name;
    return 0;
}

static void free_chunks(struct chunks *c)
{
    for (size_t i = 0; i < c->count; i++)
        mb_buf_clear(&c->data[i]);
    c->count = 0;
}

/* The frontier over the headers before the newest. */
static struct mb_frontier frontier_before(struct mb_backend backend, uint64_t slot)
{
    struct mb_frontier f = {0};
    for (uint64_t i = 0; i < slot; i++) {
        struct mb_hash leaf;
        assert_int_equal(backend.ops->history_get(backend.self, 0, i, &leaf), 0);
        mb_frontier_add(&f, &leaf, NULL, NULL);
    }
    return f;
}

static void take_snapshot(struct fixture *f)
{
    struct mb_backend backend = mb_memory_backend(f->memory);
    struct mb_error error;
    free_chunks(&f->chunks);
    mb_snapshot_clear(&f->s);
    assert_int_equal(mb_snapshot_write(backend, keep_chunk, &f->chunks, &error), 0);
    org_checkpoint(&f->o, &f->s.checkpoint);
    f->s.frontier = frontier_before(backend, mb_ledger_tip(f->o.ledger)->header.slot);
    f->s.chunk_count = f->chunks.count;
    f->s.chunks = mb_memdup(f->chunks.names, f->chunks.count * sizeof *f->s.chunks);
}

static void put(struct org *o, int64_t time, const char *key, size_t bytes)
{
    struct mb_buf body = {0};
    mb_buf_addf(&body, "{\"key\":\"%s\",\"value\":\"", key);
    for (size_t i = 0; i < bytes; i++)
        mb_buf_add_u8(&body, (uint8_t)('a' + i % 26));
    mb_buf_add_text(&body, "\"}");
    free(org_do(o, time, &o->other, "toy.put", mb_buf_text(&body)));
    mb_buf_clear(&body);
}

static int set_up_with(void **state, size_t bytes)
{
    struct fixture *f = mb_calloc(1, sizeof *f);
    f->memory = mb_memory_new();
    org_found(&f->o, mb_memory_backend(f->memory), 2, 2, "{\"work_bits\":0}");
    for (int i = 0; i < 6; i++) {
        char key[16];
        mb_snprintf(key, sizeof key, "k%d", i);
        put(&f->o, T0 + i * 3000, key, (size_t)i * bytes);
    }
    mb_outcome_free(org_block(&f->o, T0 + 15100, NULL, 0)); /* a checkpoint slot */
    take_snapshot(f);
    *state = f;
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, 90000); /* more than one chunk */
}

static int set_up_small(void **state)
{
    return set_up_with(state, 3);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    free_chunks(&f->chunks);
    mb_snapshot_clear(&f->s);
    org_clear(&f->o);
    mb_memory_free(f->memory);
    free(f);
    return 0;
}

/* Load the chunks into an empty backend; the code of the error, or "". */
static const char *load(struct fixture *f, struct mb_memory *into)
{
    static struct mb_error error;
    struct mb_snapshot_reader *r = mb_snapshot_reader_new(mb_memory_backend(into));
    int rc = 0;
    memset(&error, 0, sizeof error);
    for (size_t i = 0; i < f->chunks.count && rc == 0; i++)
        rc = mb_snapshot_feed(r, mb_buf_bytes(&f->chunks.data[i]), &error);
    if (rc == 0)
        rc = mb_snapshot_finish(r, &f->s, mb_buf_bytes(&f->o.genesis), &error);
    mb_snapshot_reader_free(r);
    assert_true((rc == 0) == (error.code[0] == '\0'));
    return error.code;
}

static const char *load_new(struct fixture *f)
{
    struct mb_memory *m = mb_memory_new();
    const char *code = load(f, m);
    mb_memory_free(m);
    return code;
}

static void a_loaded_ledger_goes_on(void **state)
{
    struct fixture *f = *state;
    struct mb_memory *m = mb_memory_new();
    struct org copy = f->o;
    struct mb_error error;
    assert_true(f->chunks.count >= 2);
    assert_string_equal(load(f, m), "");
    assert_int_equal(mb_ledger_open(&copy.ledger, mb_memory_backend(m), toy_modules, 1, &error), 0);
    const struct mb_tip *a = mb_ledger_tip(f->o.ledger), *b = mb_ledger_tip(copy.ledger);
    assert_memory_equal(&a->header_hash, &b->header_hash, 32);
    assert_int_equal(a->time, b->time);
    assert_int_equal(a->next_due, b->next_due);
    assert_int_equal(a->checkpoint_slot, b->checkpoint_slot);
    assert_int_equal(a->checkpoint_time, b->checkpoint_time);
    assert_int_equal(a->history.size, b->history.size);
    assert_memory_equal(a->history.peaks, b->history.peaks, a->history.count * 32);
    assert_string_equal(mb_ledger_genesis_text(copy.ledger), mb_buf_text(&f->o.genesis));

    /* Ids that were taken in are still known; later blocks are the same on both. */
    struct mb_checked *c =
        org_command(&f->o, &f->o.other, "toy.del", "{\"key\":\"k3\"}", T0 + 17000);
    struct mb_envelope e = {0};
    mb_buf_add_bytes(&e.text, mb_buf_bytes(&c->envelope.text));
    mb_buf_add_bytes(&e.signature, mb_buf_bytes(&c->envelope.signature));
    struct mb_checked *d = mb_checked_new(&e);
    mb_outcome_free(org_block(&f->o, T0 + 15200, &c, 1));
    mb_outcome_free(org_block(&copy, T0 + 15200, &d, 1));
    assert_memory_equal(&a->header_hash, &b->header_hash, 32);
    take_snapshot(f);
    struct chunks chunks = {0};
    assert_int_equal(mb_snapshot_write(mb_memory_backend(m), keep_chunk, &chunks, &error), 0);
    assert_int_equal(chunks.count, f->chunks.count);
    for (size_t i = 0; i < chunks.count; i++)
        assert_true(mb_hash_equal(&chunks.names[i], &f->chunks.names[i]));
    free_chunks(&chunks);
    mb_ledger_free(copy.ledger);
    mb_memory_free(m);
}

static void chunks_of_any_size_are_taken(void **state)
{
    struct fixture *f = *state;
    struct mb_memory *m = mb_memory_new();
    struct mb_snapshot_reader *r = mb_snapshot_reader_new(mb_memory_backend(m));
    struct mb_buf all = {0};
    struct mb_error error;
    for (size_t i = 0; i < f->chunks.count; i++)
        mb_buf_add_bytes(&all, mb_buf_bytes(&f->chunks.data[i]));
    struct mb_snapshot s = f->s;
    size_t step = 40961;
    s.chunk_count = (all.len + step - 1) / step;
    s.chunks = mb_calloc(s.chunk_count, sizeof *s.chunks);
    for (size_t i = 0; i < s.chunk_count; i++) {
        size_t len = all.len - i * step < step ? all.len - i * step : step;
        s.chunks[i] = mb_sha256(all.data + i * step, len);
        assert_int_equal(mb_snapshot_feed(r, mb_bytes(all.data + i * step, len), &error), 0);
    }
    assert_int_equal(mb_snapshot_finish(r, &s, mb_buf_bytes(&f->o.genesis), &error), 0);
    free(s.chunks);
    mb_snapshot_reader_free(r);
    mb_buf_clear(&all);
    mb_memory_free(m);
}

static void json_round_trip(void **state)
{
    struct fixture *f = *state;
    struct mb_snapshot back;
    struct mb_error error;
    json_t *json = mb_snapshot_to_json(&f->s);
    assert_int_equal(mb_snapshot_from_json(&back, json, &f->o.replica.public_key, 1, &error), 0);
    json_t *again = mb_snapshot_to_json(&back);
    assert_true(json_equal(json, again));
    assert_int_equal(mb_checkpoint_verify(&back.checkpoint, &f->o.replica.public_key, 1, &error),
                     0);
    mb_snapshot_clear(&back);
    json_decref(again);

    static const char *const values[] = {"7", "-1", "[\"ab\"]", "[]", "{}", "[7]"};
    const char *name;
    json_t *value;
    json_object_foreach(json, name, value)
    {
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            json_t *other = json_copy(json);
            json_t *wrong = json_loads(values[i], JSON_DECODE_ANY, NULL);
            bool same =
                json_equal(wrong, value) || (strcmp(name, "chunks") == 0 &&
                                             json_array_size(wrong) == 0 && json_is_array(wrong));
            json_object_set_new(other, name, wrong);
            if (!same) {
                assert_int_equal(
                    mb_snapshot_from_json(&back, other, &f->o.replica.public_key, 1, &error),
                    MB_EINVAL);
                assert_int_equal(back.chunk_count, 0);
            }
            json_decref(other);
        }
    }
    json_decref(json);
}

static void rename_chunks(struct fixture *f)
{
    for (size_t i = 0; i < f->chunks.count; i++)
        f->s.chunks[i] = mb_sha256(f->chunks.data[i].data, f->chunks.data[i].len);
}

static void every_flipped_byte_is_found(void **state)
{
    struct fixture *f = *state;
    struct mb_buf *chunk = &f->chunks.data[0];
    assert_int_equal(f->chunks.count, 1);
    for (size_t i = 0; i < chunk->len; i++) {
        chunk->data[i] ^= 4;
        assert_true(load_new(f)[0] != '\0');
        rename_chunks(f); /* even by someone who lists the wrong chunks */
        const char *code = load_new(f);
        assert_true(strcmp(code, "snapshot.false") == 0 || strcmp(code, "snapshot.invalid") == 0);
        chunk->data[i] ^= 4;
        rename_chunks(f);
    }
    assert_string_equal(load_new(f), "");
}

static void cut_streams_are_found(void **state)
{
    struct fixture *f = *state;
    struct mb_buf *last = &f->chunks.data[f->chunks.count - 1];
    size_t len = last->len;
    for (size_t cut = 1; cut < 400; cut += 23) {
        last->len = len - cut;
        rename_chunks(f);
        assert_true(load_new(f)[0] != '\0');
    }
    last->len = len;
    rename_chunks(f);
    mb_buf_add(last, "\0\0\0", 3);
    rename_chunks(f);
    assert_string_equal(load_new(f), "snapshot.invalid");
    last->len = len;
    rename_chunks(f);
    f->chunks.count--;
    f->s.chunk_count--;
    assert_true(load_new(f)[0] != '\0');
    f->chunks.count++;
    assert_string_equal(load_new(f), "snapshot.false");
    f->s.chunk_count++;
}

static void what_stands_beside_is_checked(void **state)
{
    struct fixture *f = *state;
    f->s.frontier.peaks[0].b[3] ^= 1;
    assert_string_equal(load_new(f), "snapshot.false");
    f->s.frontier.peaks[0].b[3] ^= 1;
    f->s.frontier.size++;
    assert_string_equal(load_new(f), "snapshot.false");
    f->s.frontier.size--;
    f->s.checkpoint.header.data[5] ^= 1; /* the organisation */
    assert_string_equal(load_new(f), "snapshot.false");
    f->s.checkpoint.header.data[5] ^= 1;
    f->s.checkpoint.header.data[0] ^= 1;
    assert_string_equal(load_new(f), "header.invalid");
    f->s.checkpoint.header.data[0] ^= 1;
    assert_string_equal(load_new(f), "");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_loaded_ledger_goes_on),
        TEST(chunks_of_any_size_are_taken),
        TEST(json_round_trip),
        cmocka_unit_test_setup_teardown(every_flipped_byte_is_found, set_up_small, tear_down),
        TEST(cut_streams_are_found),
        TEST(what_stands_beside_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
