/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a door believes without a network, and its queue. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/chain.h"
#include "base/encode.h"
#include "cli/access.h"
#include "merkle/tree.h"

#define MAJORITY 0x1a /* 2, 4 and 5, of 2, 3, 4 and 5 */

static struct chain chain;

static json_t *item(const char *key)
{
    struct mb_backend b = mb_memory_backend(chain.memory);
    struct mb_tree_io io = {.self = b.self, .load = b.ops->page_load, .save = b.ops->page_save};
    struct mb_buf proof = {0}, base64 = {0};
    assert_int_equal(mb_state_prove(&io, key, &proof, NULL), 0);
    mb_base64_encode(&base64, proof.data, proof.len);
    char *text = org_state(&chain.o, key);
    json_t *json = json_pack("{s:i, s:s, s:s, s:s}", "checkpoint", 0, "key", key, "proof",
                             mb_buf_text(&base64), "text", text != NULL ? text : "1");
    free(text);
    mb_buf_clear(&proof);
    mb_buf_clear(&base64);
    return json;
}

/* core/epoch and org/epoch_s are integers, core/config is none, core/none is not there. */
static json_t *extract(unsigned who)
{
    return json_pack("{s:[o], s:s, s:O, s:[o, o, o, o], s:s}", "checkpoints",
                     chain_checkpoint(&chain, who), "genesis", mb_buf_text(&chain.o.genesis),
                     "handovers", chain.handovers, "items", item("core/epoch"), item("org/epoch_s"),
                     item("core/config"), item("core/none"), "type", "magicbiz-extract-1");
}

static int read_json(struct access_extract *e, json_t *json_take, struct mb_error *error)
{
    char *text = mb_json_text(json_take);
    int rc = access_extract_read(e, mb_bytes_of(text), &chain.org, error);
    free(text);
    json_decref(json_take);
    return rc;
}

/* "" is that it holds. */
static void expect(json_t *json_take, const char *code)
{
    struct access_extract e;
    struct mb_error error = {0};
    int rc = read_json(&e, json_take, &error);
    assert_string_equal(rc == 0 ? "" : error.code, code);
    access_extract_clear(&e);
}

static void a_majority_in_force_must_have_signed(void **state)
{
    (void)state;
    expect(extract(MAJORITY), "");
    expect(extract(0x0e), "");
    expect(extract(0x02), "checkpoint.unsigned");
    expect(extract(0x0a), "checkpoint.unsigned");
    expect(extract(0x07), "checkpoint.unsigned"); /* they were all once */
}

static void without_handovers_nobody_is_known(void **state)
{
    json_t *json = extract(MAJORITY), *list = json_deep_copy(chain.handovers);
    (void)state;
    json_array_remove(list, CHAIN_CHANGES - 1);
    json_object_set_new(json, "handovers", list);
    expect(json, "handover.missing");
    json = extract(MAJORITY);
    list = json_deep_copy(chain.handovers);
    json_array_remove(list, 2);
    json_object_set_new(json, "handovers", list);
    struct access_extract e;
    assert_int_not_equal(read_json(&e, json, NULL), 0);
    access_extract_clear(&e);
}

static void of_this_organisation(void **state)
{
    struct mb_hash other = {{1}};
    struct access_extract e;
    struct mb_error error = {0};
    json_t *json = extract(MAJORITY);
    char *text = mb_json_text(json);
    (void)state;
    assert_int_equal(access_extract_read(&e, mb_bytes_of(text), &other, &error), MB_EPROOF);
    assert_string_equal(error.code, "checkpoint.other");
    access_extract_clear(&e);
    free(text);
    json_decref(json);
}

static void malformed_ones_are_refused(void **state)
{
    static const char *const texts[] = {"", "{}", "[]", "{\"type\":\"magicbiz-extract-1\"}", "nul"};
    struct access_extract e;
    struct mb_error error = {0};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(access_extract_read(&e, mb_bytes_of(texts[i]), &chain.org, &error),
                         MB_EINVAL);
        assert_string_equal(error.code, "access.extract");
        access_extract_clear(&e);
    }
    json_t *json = extract(MAJORITY);
    json_object_set_new(json, "type", json_string("magicbiz-extract-2"));
    expect(json, "access.extract");
    json = extract(MAJORITY);
    json_array_clear(json_object_get(json, "checkpoints"));
    expect(json, "access.extract");
    json = extract(MAJORITY);
    json_object_set_new(json, "more", json_integer(1));
    expect(json, "access.extract");
}

static void items_prove_themselves(void **state)
{
    static const struct {
        const char *key;
        int rc;
    } rows[] = {{"core/epoch", 1},
                {"org/epoch_s", 1},
                {"core/config", MB_EINVAL},
                {"core/none", MB_EPROOF},
                {"core/other", 0}};
    struct access_extract e;
    int64_t value;
    (void)state;
    assert_int_equal(read_json(&e, extract(MAJORITY), NULL), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(access_extract_get(&e, rows[i].key, &value, NULL), rows[i].rc);
    assert_int_equal(access_extract_get(&e, "org/epoch_s", &value, NULL), 1);
    char *text = org_state(&chain.o, "org/epoch_s");
    assert_int_equal(value, strtoll(text, NULL, 10));
    free(text);
    /* Another value, another key's proof, another checkpoint, no proof. */
    json_t *one = json_array_get(json_object_get(e.json, "items"), 1);
    json_t *good = json_deep_copy(one);
    json_object_set_new(one, "text", json_string("1000000"));
    assert_int_equal(access_extract_get(&e, "org/epoch_s", &value, NULL), MB_EPROOF);
    json_object_update(one, good);
    json_object_set_new(one, "key", json_string("org/epoch"));
    assert_int_equal(access_extract_get(&e, "org/epoch", &value, NULL), MB_EPROOF);
    json_object_update(one, good);
    json_object_set_new(one, "checkpoint", json_integer(1));
    assert_int_equal(access_extract_get(&e, "org/epoch_s", &value, NULL), MB_EINVAL);
    json_object_set_new(one, "checkpoint", json_integer(-1));
    assert_int_equal(access_extract_get(&e, "org/epoch_s", &value, NULL), MB_EINVAL);
    json_object_update(one, good);
    json_object_set_new(one, "proof", json_string(""));
    assert_true(access_extract_get(&e, "org/epoch_s", &value, NULL) < 0);
    json_object_set_new(one, "proof", json_string("?"));
    assert_int_equal(access_extract_get(&e, "org/epoch_s", &value, NULL), MB_EINVAL);
    json_decref(good);
    access_extract_clear(&e);
}

static void an_old_one_is_refused(void **state)
{
    struct access_extract e;
    struct mb_error error = {0};
    (void)state;
    assert_int_equal(read_json(&e, extract(MAJORITY), NULL), 0);
    assert_int_equal(e.oldest, chain.time - 1);
    assert_int_equal(access_extract_fresh(&e, e.oldest + 60, 60, NULL), 0);
    assert_int_equal(access_extract_fresh(&e, e.oldest + 61, 60, &error), MB_EPROOF);
    assert_string_equal(error.code, "access.stale");
    assert_int_equal(access_extract_fresh(&e, e.newest - ACCESS_EARLY_S, 60, NULL), 0);
    assert_int_equal(access_extract_fresh(&e, e.newest - ACCESS_EARLY_S - 1, 60, NULL), MB_EPROOF);
    access_extract_clear(&e);
}

static void a_queue_gives_its_lines_in_order(void **state)
{
    static const char line[] = "{\"command\":\"a\",\"signature\":\"AA==\"}\n";
    struct mb_buf queue = {0};
    struct mb_bytes rest, got;
    struct mb_envelope e;
    struct mb_error error = {0};
    (void)state;
    mb_buf_add_text(&queue, line);
    mb_buf_add_text(&queue, "{\"command\":\"b\",\"signature\":\"AA==\"}\n");
    mb_buf_add_text(&queue, "{\"command\":\"c\"");
    rest = mb_buf_bytes(&queue);
    assert_int_equal(access_queue_next(&rest, &got, &e, NULL), 1);
    assert_true(mb_bytes_equal(got, mb_bytes_of(line)));
    assert_string_equal(mb_buf_text(&e.text), "a");
    mb_envelope_clear(&e);
    assert_int_equal(access_queue_next(&rest, &got, NULL, NULL), 1);
    assert_int_equal(access_queue_next(&rest, &got, NULL, &error), MB_EINVAL);
    assert_string_equal(error.code, "access.queue");
    rest = mb_bytes(NULL, 0);
    assert_int_equal(access_queue_next(&rest, &got, NULL, NULL), 0);
    rest = mb_bytes_of("\n");
    assert_int_equal(access_queue_next(&rest, &got, NULL, NULL), MB_EINVAL);
    mb_buf_clear(&queue);
}

static int found(void **state)
{
    (void)state;
    chain_found(&chain, ORG_CREATED + 60);
    return 0;
}

static int end(void **state)
{
    (void)state;
    chain_clear(&chain);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_majority_in_force_must_have_signed),
        cmocka_unit_test(without_handovers_nobody_is_known),
        cmocka_unit_test(of_this_organisation),
        cmocka_unit_test(malformed_ones_are_refused),
        cmocka_unit_test(items_prove_themselves),
        cmocka_unit_test(an_old_one_is_refused),
        cmocka_unit_test(a_queue_gives_its_lines_in_order),
    };
    return cmocka_run_group_tests(tests, found, end);
}
