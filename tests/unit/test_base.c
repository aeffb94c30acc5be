/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/chain.h"
#include "base/encode.h"
#include "ledger/base.h"

#define SLOT 384 /* the chain's newest: it hands over to version 7 */

static struct chain chain;
static struct mb_genesis genesis;

static int set_up(void **state)
{
    (void)state;
    chain_found(&chain, ORG_CREATED);
    return mb_genesis_parse(&genesis, mb_buf_bytes(&chain.o.genesis), NULL);
}

static int tear_down(void **state)
{
    (void)state;
    mb_genesis_clear(&genesis);
    chain_clear(&chain);
    return 0;
}

/* The index of a snapshot of the newest slot, signed by the replicas whose bits are set. */
static json_t *index_by(unsigned who)
{
    struct mb_snapshot s = {0};
    struct mb_backend b = mb_memory_backend(chain.memory);
    for (uint64_t i = 0; i < SLOT; i++) {
        struct mb_hash leaf;
        assert_int_equal(b.ops->history_get(b.self, 0, i, &leaf), 0);
        mb_frontier_add(&s.frontier, &leaf, NULL, NULL);
    }
    uint8_t header[MB_HEADER_MAX];
    mb_buf_add(&s.checkpoint.header, header,
               mb_header_encode(&mb_ledger_tip(chain.o.ledger)->header, header));
    json_t *json = mb_snapshot_to_json(&s);
    json_object_set_new(json, "checkpoint", chain_checkpoint(&chain, who));
    mb_snapshot_clear(&s);
    return json;
}

/* The code of the error, or "". */
static const char *accept_code(const json_t *index, const json_t *handovers)
{
    static struct mb_error error;
    struct mb_snapshot s;
    struct mb_header h;
    struct mb_membership config;
    size_t used = 0;
    memset(&error, 0, sizeof error);
    int rc = mb_snapshot_accept(&s, index, handovers, &genesis, &h, &config, &used, &error);
    assert_true((rc == 0) == (error.code[0] == '\0'));
    if (rc == 0) {
        assert_int_equal(h.slot, SLOT);
        assert_int_equal(used, CHAIN_CHANGES);
        assert_int_equal(config.version, CHAIN_CHANGES);
    }
    mb_snapshot_clear(&s);
    return error.code;
}

static void an_index_is_believed_by_a_majority(void **state)
{
    (void)state;
    static const struct {
        unsigned who; /* in force: 2, 3, 4, 5 */
        const char *code;
    } cases[] = {
        {0x1e, ""},
        {0x0e, ""},
        {0x06, "checkpoint.unsigned"}, /* two of four are no majority */
        {0x01, "checkpoint.unsigned"}, /* replica 1 left long ago */
        {0x00, "checkpoint.unsigned"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *index = index_by(cases[i].who);
        assert_string_equal(accept_code(index, chain.handovers), cases[i].code);
        json_decref(index);
    }
}

static void handovers_are_walked_from_genesis(void **state)
{
    (void)state;
    json_t *index = index_by(0x1e), *list = json_array();
    assert_string_equal(accept_code(index, list), "handover.missing");
    assert_string_equal(accept_code(index, NULL), "handover.missing");
    json_array_append(list, json_array_get(chain.handovers, 1));
    assert_string_equal(accept_code(index, list), "handover.order");
    json_array_clear(list);
    json_array_extend(list, chain.handovers);
    json_array_remove(list, CHAIN_CHANGES - 1);
    assert_string_equal(accept_code(index, list), "handover.missing");
    json_array_clear(list);
    for (int i = 0; i <= MB_HANDOVERS_MAX; i++)
        json_array_append(list, json_array_get(chain.handovers, 0));
    assert_string_equal(accept_code(index, list), "snapshot.limit");
    json_decref(index);
    json_decref(list);
}

static void what_is_not_an_index_is_refused(void **state)
{
    (void)state;
    json_t *index = index_by(0x1e), *peaks = json_object_get(index, "frontier"), *other;
    char hex[MB_HASH_HEX_SIZE];
    struct mb_hash zero = {{0}};
    mb_hash_hex(&zero, hex);
    json_array_set_new(peaks, 0, json_string(hex));
    assert_string_equal(accept_code(index, chain.handovers), "snapshot.false");
    json_array_append_new(peaks, json_string(hex));
    assert_string_equal(accept_code(index, chain.handovers), "snapshot.invalid");
    json_decref(index);

    index = index_by(0x1e);
    json_object_set_new(index, "slot", json_integer(SLOT - 1));
    assert_string_equal(accept_code(index, chain.handovers), "snapshot.invalid");
    json_decref(index);

    index = index_by(0x1e);
    json_t *chunks = json_object_get(index, "chunks");
    json_array_append_new(chunks, json_string("no hash"));
    assert_string_equal(accept_code(index, chain.handovers), "snapshot.invalid");
    json_array_clear(chunks);
    for (int i = 0; i <= MB_SNAPSHOT_CHUNKS; i++)
        json_array_append_new(chunks, json_string(hex));
    assert_string_equal(accept_code(index, chain.handovers), "snapshot.limit");
    json_decref(index);

    other = json_object();
    assert_true(strlen(accept_code(other, chain.handovers)) > 0);
    assert_true(strlen(accept_code(NULL, chain.handovers)) > 0);
    json_decref(other);
}

static void a_block_is_the_one_of_its_header(void **state)
{
    (void)state;
    struct mb_block b;
    struct mb_public_key proposer;
    struct mb_membership config;
    struct mb_header h;
    assert_int_equal(mb_block_from_json(&b, &proposer, json_array_get(chain.lines, 1), NULL), 0);
    assert_int_equal(mb_header_decode(&h, mb_buf_bytes(&b.header), NULL), 0);
    mb_membership_first(&config, &genesis);
    assert_int_equal(mb_block_check(&b, &h, &config, NULL), 0);
    b.results[0].data[5] ^= 1;
    assert_int_equal(mb_block_check(&b, &h, &config, NULL), MB_EPROOF);
    b.results[0].data[5] ^= 1;
    h.state_root.b[0] ^= 1;
    assert_int_equal(mb_block_check(&b, &h, &config, NULL), MB_EPROOF);
    h.state_root.b[0] ^= 1;
    b.value.data[b.value.len - 1] ^= 1;
    assert_int_not_equal(mb_block_check(&b, &h, &config, NULL), 0);
    b.value.data[b.value.len - 1] ^= 1;
    memset(config.replicas[0].key.b, 1, 32); /* proposed by somebody else */
    assert_int_not_equal(mb_block_check(&b, &h, &config, NULL), 0);
    mb_block_clear(&b);
}

static void a_base_survives_the_disk(void **state)
{
    (void)state;
    struct mb_base b = {.slot = 5, .handovers = json_incref(chain.handovers)}, c;
    struct mb_buf bytes = {0}, again = {0};
    for (uint8_t i = 0; i < 5; i++) {
        struct mb_hash leaf = mb_sha256(&i, 1);
        mb_frontier_add(&b.history, &leaf, NULL, NULL);
    }
    mb_buf_add_bytes(&b.genesis, mb_buf_bytes(&chain.o.genesis));
    org_checkpoint_by(&chain.o, chain.keys, 2, &b.zero);
    mb_base_encode(&b, &bytes);
    assert_int_equal(mb_base_decode(&c, mb_buf_bytes(&bytes), NULL), 0);
    mb_base_encode(&c, &again);
    assert_true(mb_bytes_equal(mb_buf_bytes(&bytes), mb_buf_bytes(&again)));
    assert_null(mb_base_handover(&c, 0));
    assert_null(mb_base_handover(&c, 1));
    assert_true(json_equal(mb_base_handover(&c, 2), json_array_get(chain.handovers, 0)));
    assert_null(mb_base_handover(&c, CHAIN_CHANGES + 2));
    mb_base_clear(&c);
    for (size_t len = 0; len < bytes.len; len += 1 + len / 50)
        assert_int_equal(mb_base_decode(&c, mb_bytes(bytes.data, len), NULL), MB_EINVAL);
    bytes.data[7] = 4; /* other peaks than its slot has */
    assert_int_equal(mb_base_decode(&c, mb_buf_bytes(&bytes), NULL), MB_EINVAL);
    mb_base_clear(&b);
    mb_buf_clear(&bytes);
    mb_buf_clear(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_index_is_believed_by_a_majority),
        cmocka_unit_test(handovers_are_walked_from_genesis),
        cmocka_unit_test(what_is_not_an_index_is_refused),
        cmocka_unit_test(a_block_is_the_one_of_its_header),
        cmocka_unit_test(a_base_survives_the_disk),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
