/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/org.h"
#include "store/store.h"

#define T0 ORG_CREATED

static uint32_t seed;

static uint32_t dice(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static struct mb_checked *random_command(struct org *o, int64_t time)
{
    static const char *const types[] = {"toy.put", "toy.put",  "toy.put",    "toy.del",
                                        "toy.due", "toy.list", "toy.refuse", "toy.member"};
    const char *type = types[dice(8)];
    char body[160];
    int64_t expires = time + (int64_t)dice(9000);
    const struct mb_secret_key *key = dice(3) ? &o->other : &o->founders[0];
    if (strcmp(type, "toy.put") == 0 || strcmp(type, "toy.refuse") == 0)
        mb_snprintf(body, sizeof body, "{\"key\":\"%u\",\"value\":%u}", dice(40), dice(9));
    else if (strcmp(type, "toy.due") == 0)
        mb_snprintf(body, sizeof body,
                    "{\"at\":%lld,\"type\":\"toy.put\",\"body\":{\"key\":\"due\",\"value\":%u}}",
                    (long long)time + dice(2000), dice(9));
    else
        mb_snprintf(body, sizeof body, "{\"key\":\"%u\"}", dice(40));
    return org_command(o, key, type, strcmp(type, "toy.member") == 0 ? "{}" : body, expires);
}

static void random_block(struct org *o, int64_t time)
{
    struct mb_checked *c[12];
    size_t count = dice(12);
    for (size_t i = 0; i < count; i++)
        c[i] = random_command(o, time);
    struct mb_outcome *outcome = org_block(o, time, c, count);
    assert_non_null(outcome);
    mb_outcome_free(outcome);
}

/* The same commands over memory, and over SQLite, which is closed and opened again: one history. */
static void memory_and_sqlite_agree(void **state)
{
    char folder[] = "/tmp/magicbiz-ledger-XXXXXX";
    struct mb_memory *memory = mb_memory_new();
    struct mb_store *store;
    struct mb_error error = {0};
    struct org a, b;
    (void)state;
    assert_non_null(mkdtemp(folder));
    char *path = mb_asprintf("%s/state", folder);
    assert_int_equal(mb_store_open(&store, path, &error), 0);
    assert_int_equal(mb_store_begin(store, &error), 0);
    org_found(&a, mb_memory_backend(memory), 1, 1, "{}");
    org_found(&b, mb_store_backend(store), 1, 1, "{}");
    assert_int_equal(mb_store_commit(store, &error), 0);
    for (uint32_t slot = 1; slot <= 60; slot++) {
        int64_t time = T0 + (int64_t)slot * 400;
        seed = slot;
        random_block(&a, time);
        seed = slot;
        assert_int_equal(mb_store_begin(store, &error), 0);
        random_block(&b, time);
        assert_int_equal(mb_store_commit(store, &error), 0);
        assert_memory_equal(&mb_ledger_tip(a.ledger)->header_hash,
                            &mb_ledger_tip(b.ledger)->header_hash, 32);
        if (slot % 20 != 0)
            continue;
        struct mb_tip tip = *mb_ledger_tip(b.ledger);
        mb_ledger_free(b.ledger);
        mb_store_close(store);
        assert_int_equal(mb_store_open(&store, path, &error), 0);
        assert_int_equal(mb_ledger_open(&b.ledger, mb_store_backend(store), toy_modules, 1, &error),
                         0);
        const struct mb_tip *again = mb_ledger_tip(b.ledger);
        assert_memory_equal(&again->header_hash, &tip.header_hash, 32);
        assert_int_equal(again->time, tip.time);
        assert_int_equal(again->next_due, tip.next_due);
        assert_int_equal(again->checkpoint_slot, tip.checkpoint_slot);
        assert_int_equal(again->checkpoint_time, tip.checkpoint_time);
        assert_int_equal(mb_store_verify(store, &tip.header.state_root, &error), 0);
    }
    org_clear(&a);
    org_clear(&b);
    mb_store_close(store);
    mb_memory_free(memory);
    char *files[3] = {path, mb_asprintf("%s-wal", path), mb_asprintf("%s-shm", path)};
    for (int i = 0; i < 3; i++) {
        unlink(files[i]);
        free(files[i]);
    }
    assert_int_equal(rmdir(folder), 0);
}

/* --- A backend that fails. --- */

static struct {
    struct mb_backend real;
    int fail_at; /* the call that fails, counted down */
} bad;

static bool fails(void)
{
    return bad.fail_at > 0 && --bad.fail_at == 0;
}

static int bad_get(void *self, const char *key, struct mb_buf *value)
{
    return fails() ? MB_EIO : bad.real.ops->get(self, key, value);
}
static int bad_seek(void *self, const char *prefix, const char *from, struct mb_buf *key,
                    struct mb_buf *value)
{
    return fails() ? MB_EIO : bad.real.ops->seek(self, prefix, from, key, value);
}
static int bad_put(void *self, uint64_t slot, const char *key, struct mb_bytes text)
{
    return fails() ? MB_EIO : bad.real.ops->put(self, slot, key, text);
}
static int bad_load(void *self, const char *tree, struct mb_bytes id, struct mb_buf *page)
{
    return fails() ? MB_EIO : bad.real.ops->page_load(self, tree, id, page);
}
static int bad_history_put(void *self, unsigned level, uint64_t index, const struct mb_hash *hash)
{
    return fails() ? MB_EIO : bad.real.ops->history_put(self, level, index, hash);
}
static int bad_find(void *self, const struct mb_hash *id, struct mb_seen *seen)
{
    return fails() ? MB_EIO : bad.real.ops->seen_find(self, id, seen);
}
static int bad_add(void *self, const struct mb_seen *seen)
{
    return fails() ? MB_EIO : bad.real.ops->seen_add(self, seen);
}
static int bad_meta_put(void *self, const char *name, struct mb_bytes value)
{
    return fails() ? MB_EIO : bad.real.ops->meta_put(self, name, value);
}

/* Whichever call fails, the block is an error, never a result, and so is every later one. */
static void errors_of_the_backend_stick(void **state)
{
    static struct mb_backend_ops ops;
    bool applied = false;
    (void)state;
    for (int call = 1; !applied; call++) {
        struct mb_memory *memory = mb_memory_new();
        struct org o;
        assert_true(call < 1000);
        bad.real = mb_memory_backend(memory);
        bad.fail_at = 0;
        ops = *bad.real.ops;
        ops.get = bad_get;
        ops.seek = bad_seek;
        ops.put = bad_put;
        ops.page_load = bad_load;
        ops.history_put = bad_history_put;
        ops.seen_find = bad_find;
        ops.seen_add = bad_add;
        ops.meta_put = bad_meta_put;
        org_found(&o, (struct mb_backend){&ops, bad.real.self}, 1, 1, "{}");
        seed = 7;
        random_block(&o, T0 + 1);
        bad.fail_at = call;
        struct mb_checked *c =
            org_command(&o, &o.founders[0], "toy.list", "{\"key\":\"\"}", T0 + 4060);
        struct mb_outcome *outcome = org_block(&o, T0 + 4000, &c, 1);
        applied = outcome && bad.fail_at > 0;
        if (!outcome) {
            struct mb_error error = {0};
            assert_true(o.error.code[0] != '\0');
            c = org_command(&o, &o.founders[0], "toy.who", "{}", T0 + 4060);
            assert_int_equal(mb_ledger_try(o.ledger, c, T0 + 4000, &error), MB_EIO);
            mb_checked_free(c);
            assert_null(org_block(&o, T0 + 4000, NULL, 0));
        } else {
            assert_true(applied);
        }
        mb_outcome_free(outcome);
        org_clear(&o);
        mb_memory_free(memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_and_sqlite_agree),
        cmocka_unit_test(errors_of_the_backend_stick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
