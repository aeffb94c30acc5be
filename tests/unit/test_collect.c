/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/org.h"
#include "ledger/collect.h"

static const struct mb_hash org = {{7}};

/* Replicas 1 to count, keys 1 to count. */
static struct mb_membership members(size_t count)
{
    struct mb_membership m = {.version = 1, .from = 1, .count = count, .hash = {{9}}};
    for (size_t i = 0; i < count; i++) {
        m.replicas[i].number = (int64_t)i + 1;
        m.replicas[i].key = org_key((uint8_t)(i + 1)).public_key;
    }
    return m;
}

/* The header of a slot, of which there are variants A, B, C …; variant H is A with a handover. */
static struct mb_bytes header(uint64_t slot, char variant, uint8_t out[MB_HEADER_MAX])
{
    struct mb_header h = {.slot = slot, .time = 5, .org = org, .config_hash = {{9}}};
    h.state_root.b[0] = (uint8_t)variant;
    if (variant == 'H')
        h.config_hash.b[0] = 10;
    return mb_bytes(out, mb_header_encode(&h, out));
}

static enum mb_collected add(struct mb_collector *c, const struct mb_membership *m, uint64_t slot,
                             uint8_t key, char variant, const char *name_space)
{
    uint8_t bytes[MB_HEADER_MAX];
    struct mb_buf signature = {0};
    struct mb_secret_key secret = org_key(key);
    const struct mb_replica *who;
    struct mb_bytes h = header(slot, variant, bytes);
    mb_sshsig_sign(&secret, name_space, h, &signature);
    enum mb_collected came = mb_collector_add(c, m, h, mb_buf_bytes(&signature), &who);
    bool none = came == MB_COLLECTED_STRANGER || came == MB_COLLECTED_FALSE;
    assert_true(none ? who == NULL : who == &m->replicas[key - 1]);
    mb_buf_clear(&signature);
    return came;
}

static void open_slot(struct mb_collector *c, const struct mb_membership *m, uint64_t slot,
                      char variant)
{
    uint8_t bytes[MB_HEADER_MAX];
    mb_collector_open(c, m, header(slot, variant, bytes));
}

/* Scenarios of one slot: pairs of who and what, "o" being us who apply; after each what it came to
 * (a: added, k: known, c: conflict, i: ignored, s: stranger, -: we applied) and the verdict. */
static void signatures_make_a_verdict(void **state)
{
    static const struct {
        size_t replicas;
        const char *steps, *came, *verdicts; /* '.' open, 'A' agreed, 'X' outvoted */
        const char *diverged;                /* numbers, at the end */
    } cases[] = {
        {1, "oA1A", "-a", ".A", ""},
        {3, "oA1A2A3A", "-aaa", "..AA", ""},
        {3, "1A2AoA", "aa-", "..A", ""},
        {3, "oA1A1A1A", "-akk", "....", ""},
        {3, "oA1A4A", "-as", "...", ""},
        {3, "oA1A2B", "-ac", "...", ""},
        {3, "oA1A2B3A", "-aca", "...A", "2"},
        {3, "oA1A2B3B", "-acc", "...X", ""},
        {3, "2B3BoA", "aa-", "..X", ""},
        {3, "oA1A2B2C3A", "-acca", "....A", "2"},
        /* One that signs both: the checkpoint counts it, and it has diverged. */
        {3, "oA1A2A2B3A", "-aaca", "..AAA", "2"},
        {3, "oA1A2B2A", "-acc", "...A", "2"},
        {3, "oA1A2A2B2C", "-aaci", "..AAA", "2"},
        /* A third header of one replica is not kept: D does not make a majority. */
        {3, "oA1A2B2C2D3D", "-acccc", "......", ""},
        {4, "oA1A2A3B4B", "-aacc", ".....", ""},
        {5, "oA1A2B3B4A5A", "-accaa", ".....A", "23"},
        {5, "oA1A2B3B4B5A", "-accca", "....XX", ""},
        {5, "oA1A2B3C4A5A", "-accaa", ".....A", "23"},
        /* Agreed is agreed, whatever comes later; late ones are judged too. */
        {5, "oA1A2A3A4B5A", "-aaaca", "...AAA", "4"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_collector *c = mb_collector_new(&org);
        struct mb_membership m = members(cases[i].replicas);
        char came[16] = "", verdicts[16] = "", diverged[16] = "";
        size_t n = 0;
        for (const char *p = cases[i].steps; *p; p += 2, n++) {
            if (p[0] == 'o') {
                open_slot(c, &m, 64, p[1]);
                came[n] = '-';
            } else {
                came[n] =
                    "akcisf"[add(c, &m, 64, (uint8_t)(p[0] - '0'), p[1], MB_NAMESPACE_CHECKPOINT)];
            }
            verdicts[n] = ".AX"[mb_collector_verdict(c, 64)];
        }
        size_t count;
        const struct mb_diverged *d = mb_collector_diverged(c, &count);
        for (size_t k = 0; k < count; k++)
            diverged[k] = (char)('0' + mb_membership_find(&m, &d[k].key)->number);
        assert_string_equal(came, cases[i].came);
        assert_string_equal(verdicts, cases[i].verdicts);
        assert_string_equal(diverged, cases[i].diverged);
        struct mb_checkpoint checkpoint;
        struct mb_public_key keys[MB_REPLICAS_MAX];
        size_t key_count = mb_membership_keys(&m, keys);
        bool agreed = mb_collector_verdict(c, 64) == MB_VERDICT_AGREED;
        mb_collector_checkpoint(c, 64, &checkpoint);
        assert_int_equal(mb_checkpoint_verify(&checkpoint, keys, key_count, NULL) == 0, agreed);
        mb_checkpoint_clear(&checkpoint);
        mb_collector_free(c);
    }
}

static void what_does_not_hold_is_told_apart(void **state)
{
    struct mb_collector *c = mb_collector_new(&org);
    struct mb_membership m = members(3);
    uint8_t bytes[MB_HEADER_MAX];
    struct mb_buf signature = {0};
    struct mb_secret_key key = org_key(2);
    (void)state;
    open_slot(c, &m, 64, 'A');
    assert_int_equal(add(c, &m, 64, 2, 'A', "magicbiz-block"), MB_COLLECTED_FALSE);
    assert_int_equal(add(c, &m, 64, 9, 'A', MB_NAMESPACE_CHECKPOINT), MB_COLLECTED_STRANGER);
    struct mb_bytes h = header(64, 'A', bytes);
    mb_sshsig_sign(&key, MB_NAMESPACE_CHECKPOINT, h, &signature);
    for (size_t i = 0; i < h.len; i++) {
        bytes[i] ^= 1;
        enum mb_collected came = mb_collector_add(c, &m, h, mb_buf_bytes(&signature), NULL);
        assert_int_equal(came, MB_COLLECTED_FALSE);
        bytes[i] ^= 1;
    }
    for (size_t i = 0; i < signature.len; i++) {
        signature.data[i] ^= 1;
        assert_int_not_equal(mb_collector_add(c, &m, h, mb_buf_bytes(&signature), NULL),
                             MB_COLLECTED_ADDED);
        signature.data[i] ^= 1;
        assert_int_not_equal(mb_collector_add(c, &m, h, mb_bytes(signature.data, i), NULL),
                             MB_COLLECTED_ADDED);
    }
    assert_int_equal(mb_collector_add(c, &m, h, mb_buf_bytes(&signature), NULL),
                     MB_COLLECTED_ADDED);
    assert_int_equal(mb_collector_verdict(c, 64), MB_VERDICT_OPEN);
    mb_buf_clear(&signature);
    mb_collector_free(c);
}

static void a_replica_that_diverged_is_heard_no_more(void **state)
{
    const char *space = MB_NAMESPACE_CHECKPOINT;
    struct mb_collector *c = mb_collector_new(&org);
    struct mb_membership m = members(3);
    size_t count;
    (void)state;
    open_slot(c, &m, 64, 'A');
    (void)add(c, &m, 64, 3, 'B', space);
    (void)add(c, &m, 64, 1, 'A', space);
    (void)add(c, &m, 64, 2, 'A', space);
    const struct mb_diverged *d = mb_collector_diverged(c, &count);
    assert_int_equal(count, 1);
    assert_int_equal(d[0].slot, 64);
    assert_int_equal(mb_sshsig_verify(mb_buf_bytes(&d[0].signature), space,
                                      mb_buf_bytes(&d[0].header), NULL, NULL),
                     0);
    open_slot(c, &m, 70, 'A');
    assert_int_equal(add(c, &m, 70, 3, 'A', space), MB_COLLECTED_IGNORED);
    assert_int_equal(add(c, &m, 70, 1, 'A', space), MB_COLLECTED_ADDED);
    assert_int_equal(mb_collector_verdict(c, 70), MB_VERDICT_OPEN);
    assert_int_equal(add(c, &m, 70, 2, 'A', space), MB_COLLECTED_ADDED);
    assert_int_equal(mb_collector_verdict(c, 70), MB_VERDICT_AGREED);
    mb_collector_free(c);
}

static void old_slots_are_forgotten_but_handovers(void **state)
{
    const char *space = MB_NAMESPACE_CHECKPOINT;
    struct mb_collector *c = mb_collector_new(&org);
    struct mb_membership m = members(3);
    (void)state;
    open_slot(c, &m, 64, 'A');
    open_slot(c, &m, 65, 'H');
    open_slot(c, &m, 70, 'A');
    (void)add(c, &m, 64, 1, 'A', space);
    (void)add(c, &m, 65, 1, 'H', space);
    mb_collector_forget(c, 70);
    assert_int_equal(add(c, &m, 64, 2, 'A', space), MB_COLLECTED_IGNORED);
    assert_int_equal(add(c, &m, 65, 2, 'H', space), MB_COLLECTED_ADDED);
    assert_int_equal(mb_collector_verdict(c, 65), MB_VERDICT_AGREED);
    assert_int_equal(add(c, &m, 70, 2, 'A', space), MB_COLLECTED_ADDED);
    mb_collector_forget(c, 70);
    assert_int_equal(add(c, &m, 65, 3, 'H', space), MB_COLLECTED_IGNORED);
    mb_collector_free(c);
    mb_collector_free(NULL);
}

/* A replica that is on record counts no more, though this collector has seen nothing of it. */
static void a_distrusted_replica_does_not_count(void **state)
{
    struct mb_membership m = members(3);
    struct mb_collector *c = mb_collector_new(&org);
    (void)state;
    mb_collector_distrust(c, &m.replicas[1].key);
    mb_collector_distrust(c, &m.replicas[1].key);
    open_slot(c, &m, 64, 'A');
    assert_int_equal(add(c, &m, 64, 1, 'A', MB_NAMESPACE_CHECKPOINT), MB_COLLECTED_ADDED);
    assert_int_equal(add(c, &m, 64, 2, 'A', MB_NAMESPACE_CHECKPOINT), MB_COLLECTED_IGNORED);
    assert_int_equal(mb_collector_verdict(c, 64), MB_VERDICT_OPEN);
    assert_int_equal(add(c, &m, 64, 3, 'A', MB_NAMESPACE_CHECKPOINT), MB_COLLECTED_ADDED);
    assert_int_equal(mb_collector_verdict(c, 64), MB_VERDICT_AGREED);
    mb_collector_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_make_a_verdict),
        cmocka_unit_test(what_does_not_hold_is_told_apart),
        cmocka_unit_test(a_replica_that_diverged_is_heard_no_more),
        cmocka_unit_test(old_slots_are_forgotten_but_handovers),
        cmocka_unit_test(a_distrusted_replica_does_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
