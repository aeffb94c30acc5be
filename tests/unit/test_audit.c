/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/org.h"
#include "merkle/tree.h"

#define T0    ORG_CREATED
#define SLOTS 6

/* A ledger of a few blocks as lines of GET /v1/blocks, and checkpoints of some. */
struct ledger {
    struct org o;
    struct mb_memory *memory;
    json_t *lines[SLOTS + 1];
    json_t *checkpoints[SLOTS + 1]; /* NULL where the slot is none */
    struct mb_hash headers[SLOTS + 1], org;
};

static void add_line(struct ledger *l, const struct mb_outcome *outcome)
{
    const struct mb_tip *tip = mb_ledger_tip(l->o.ledger);
    uint64_t slot = tip->header.slot;
    uint8_t bytes[MB_HEADER_MAX];
    struct mb_block first = {0};
    struct mb_checkpoint c;
    mb_buf_add(&first.header, bytes, mb_header_encode(&tip->header, bytes));
    l->lines[slot] = mb_block_to_json(outcome ? &outcome->block : &first, &l->o.replica.public_key);
    l->headers[slot] = tip->header_hash;
    if (tip->checkpoint_slot == slot) {
        org_checkpoint(&l->o, &c);
        l->checkpoints[slot] = mb_checkpoint_to_json(&c);
        mb_checkpoint_clear(&c);
    }
    mb_block_clear(&first);
}

static void block(struct ledger *l, int64_t time, struct mb_checked **c, size_t count)
{
    struct mb_outcome *outcome = org_block(&l->o, time, c, count);
    assert_non_null(outcome);
    add_line(l, outcome);
    mb_outcome_free(outcome);
}

static int set_up(void **state)
{
    struct ledger *l = mb_calloc(1, sizeof *l);
    struct mb_checked *c[3];
    l->memory = mb_memory_new();
    org_found(&l->o, mb_memory_backend(l->memory), 1, 1, "{}");
    l->org = mb_sha256(l->o.genesis.data, l->o.genesis.len);
    add_line(l, NULL);
    for (int slot = 1; slot <= SLOTS; slot++) {
        int64_t time = T0 + slot * 40;
        c[0] = org_command(&l->o, &l->o.other, "toy.put", "{\"key\":\"a\",\"value\":1}", time + 60);
        c[1] = org_command(&l->o, &l->o.other, "toy.due",
                           "{\"at\":1795226440,\"type\":\"toy.who\",\"body\":{}}", time + 60);
        c[2] = org_envelope(&l->o.other, "junk");
        block(l, time, c, slot == 4 ? 0 : 3);
        if (slot == 4)
            for (int i = 0; i < 3; i++)
                mb_checked_free(c[i]);
    }
    *state = l;
    return 0;
}

static int tear_down(void **state)
{
    struct ledger *l = *state;
    for (int i = 0; i <= SLOTS; i++) {
        json_decref(l->lines[i]);
        json_decref(l->checkpoints[i]);
    }
    org_clear(&l->o);
    mb_memory_free(l->memory);
    free(l);
    return 0;
}

/* An audit of the first slots, all good. */
struct audit {
    struct mb_audit *audit;
    struct mb_memory *memory;
    struct mb_error error;
};

static void begin(struct audit *a, struct ledger *l, int slots)
{
    memset(a, 0, sizeof *a);
    a->memory = mb_memory_new();
    assert_int_equal(mb_audit_new(&a->audit, mb_memory_backend(a->memory), toy_modules, 1, &l->org,
                                  mb_buf_bytes(&l->o.genesis), &a->error),
                     0);
    for (int i = 0; i < slots; i++)
        assert_int_equal(mb_audit_block(a->audit, l->lines[i], &a->error), 0);
}

static void end(struct audit *a)
{
    mb_audit_free(a->audit);
    mb_memory_free(a->memory);
}

static void a_good_ledger_passes(void **state)
{
    struct ledger *l = *state;
    struct audit a;
    size_t handovers, checkpoints = 0;
    begin(&a, l, SLOTS + 1);
    for (int i = SLOTS; i >= 0; i--) {
        if (l->checkpoints[i]) {
            assert_int_equal(mb_audit_checkpoint(a.audit, l->checkpoints[i], &a.error), 0);
            checkpoints++;
        }
        assert_int_equal(mb_audit_pin(a.audit, (uint64_t)i, &l->headers[i], &a.error), 0);
    }
    mb_audit_handovers(a.audit, &handovers);
    struct mb_audit_stats s = mb_audit_stats(a.audit);
    assert_int_equal(handovers, 0);
    assert_int_equal(s.blocks, SLOTS);
    assert_int_equal(s.envelopes, 15);
    assert_int_equal(s.admissible, 10);
    assert_int_equal(s.internal, 4);
    assert_int_equal(s.checkpoints, checkpoints);
    assert_int_equal(s.checkpoint_slots, checkpoints);
    assert_true(checkpoints >= 3);
    end(&a);
}

/* The line must be refused in slot's place, and the text must name the slot. */
static void refuse(struct ledger *l, int slot, const json_t *line, const char *code)
{
    struct audit a;
    char name[32];
    begin(&a, l, slot);
    assert_int_equal(mb_audit_block(a.audit, line, &a.error), MB_EPROOF);
    if (code)
        assert_string_equal(a.error.code, code);
    assert_memory_equal(a.error.code, "audit.", 6);
    mb_snprintf(name, sizeof name, "slot %d:", slot);
    assert_non_null(strstr(a.error.text, name));
    end(&a);
}

/* Change one character of a text in the middle of line's field. */
static json_t *with_changed_text(const json_t *line, const char *name, size_t at)
{
    json_t *copy = json_deep_copy(line);
    char *text = mb_strdup(json_string_value(json_object_get(line, name)));
    text[at] = text[at] == 'a' ? 'b' : 'a';
    json_object_set_new(copy, name, json_string(text));
    free(text);
    return copy;
}

static void every_text_field_counts(void **state)
{
    static const char *const names[] = {"header", "head", "signature", "proposer"};
    struct ledger *l = *state;
    for (size_t i = 0; i < 4; i++) {
        size_t len = json_string_length(json_object_get(l->lines[2], names[i]));
        for (size_t at = 0; at < len; at += i < 2 ? 7 : 3) {
            json_t *line = with_changed_text(l->lines[2], names[i], at);
            if (!json_equal(line, l->lines[2]))
                refuse(l, 2, line, NULL);
            json_decref(line);
        }
    }
    for (size_t at = 0; at < 200; at += 9) {
        json_t *line = with_changed_text(l->lines[0], "header", at);
        refuse(l, 0, line, NULL);
        json_decref(line);
    }
}

static void slots_come_in_order(void **state)
{
    struct ledger *l = *state;
    refuse(l, 2, l->lines[3], "audit.slot");
    refuse(l, 2, l->lines[1], "audit.slot");
    refuse(l, 0, l->lines[1], "audit.slot");
    json_t *line = json_deep_copy(l->lines[3]);
    json_object_set_new(line, "slot", json_integer(2));
    refuse(l, 2, line, "audit.line");
    json_decref(line);
    line = json_deep_copy(l->lines[2]);
    json_object_del(line, "slot");
    refuse(l, 2, line, "audit.slot");
    json_decref(line);
}

static void envelopes_and_results_count(void **state)
{
    struct ledger *l = *state;
    const json_t *good = l->lines[2];

    json_t *line = json_deep_copy(good);
    json_array_remove(json_object_get(line, "envelopes"), 1);
    refuse(l, 2, line, "audit.line");
    json_decref(line);

    line = json_deep_copy(good);
    json_t *envelopes = json_object_get(line, "envelopes");
    json_t *first = json_incref(json_array_get(envelopes, 0));
    json_array_remove(envelopes, 0);
    json_array_append_new(envelopes, first);
    refuse(l, 2, line, "audit.line");
    json_decref(line);

    for (size_t i = 0; i < 3; i++) {
        line = json_deep_copy(good);
        json_t *e = json_array_get(json_object_get(line, "envelopes"), i);
        json_t *other = with_changed_text(e, "command", 3);
        json_array_set_new(json_object_get(line, "envelopes"), i, other);
        refuse(l, 2, line, "audit.line");
        json_decref(line);
        line = json_deep_copy(good);
        e = json_array_get(json_object_get(line, "envelopes"), i);
        other = with_changed_text(e, "signature", 100);
        json_array_set_new(json_object_get(line, "envelopes"), i, other);
        refuse(l, 2, line, "audit.line");
        json_decref(line);
    }

    line = json_deep_copy(good);
    json_array_remove(json_object_get(line, "results"), 0);
    refuse(l, 2, line, "audit.result");
    json_decref(line);
    line = json_deep_copy(good);
    json_array_append_new(json_object_get(line, "results"), json_string("{}"));
    refuse(l, 2, line, "audit.result");
    json_decref(line);
    for (size_t i = 0; i < json_array_size(json_object_get(good, "results")); i++) {
        line = json_deep_copy(good);
        json_array_set_new(json_object_get(line, "results"), i, json_string("{\"ok\":true}"));
        refuse(l, 2, line, "audit.result");
        json_decref(line);
    }
}

/* Each field of the header alone, by a forger who changes nothing else. */
static void each_header_field_is_named(void **state)
{
    static const struct {
        const char *name;
        size_t at; /* in the header's bytes */
    } fields[] = {{"time", 51},          {"proposer", 52},    {"commands_root", 84},
                  {"results_root", 116}, {"state_root", 148}, {"history_root", 180},
                  {"config_hash", 212},  {"org", 4}};
    struct ledger *l = *state;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct audit a;
        json_t *line = with_changed_text(l->lines[2], "header", 2 * fields[i].at);
        begin(&a, l, 2);
        assert_int_equal(mb_audit_block(a.audit, line, &a.error), MB_EPROOF);
        assert_string_equal(a.error.code, "audit.header");
        assert_non_null(strstr(a.error.text, fields[i].name));
        end(&a);
        json_decref(line);
    }
}

/* A proposer who signs a block of his own and computes a false state. */
static void a_forged_block_by_another_key(void **state)
{
    struct ledger *l = *state;
    struct mb_buf bytes = {0};
    struct mb_block b = {0};
    mb_value_encode(&bytes, &l->o.other, &l->org, 2, T0 + 80, NULL, 0);
    mb_buf_add_bytes(&b.value, mb_buf_bytes(&bytes));
    struct mb_header h = {.slot = 2, .time = T0 + 80};
    uint8_t header[MB_HEADER_MAX];
    mb_buf_add(&b.header, header, mb_header_encode(&h, header));
    json_t *line = mb_block_to_json(&b, &l->o.other.public_key);
    refuse(l, 2, line, "audit.value");
    json_decref(line);
    mb_block_clear(&b);
    mb_buf_clear(&bytes);
}

static void false_checkpoints(void **state)
{
    struct ledger *l = *state;
    struct audit a;
    int slot = 4; /* the empty block, 160 s after the founding */
    begin(&a, l, SLOTS);
    assert_non_null(l->checkpoints[slot]);

    json_t *c = with_changed_text(l->checkpoints[slot], "header", 300);
    assert_int_equal(mb_audit_checkpoint(a.audit, c, &a.error), MB_EPROOF);
    json_decref(c);
    c = json_deep_copy(l->checkpoints[slot]);
    json_array_clear(json_object_get(c, "signatures"));
    assert_int_equal(mb_audit_checkpoint(a.audit, c, &a.error), MB_EPROOF);
    assert_string_equal(a.error.code, "audit.checkpoint");
    assert_non_null(strstr(a.error.text, "slot 4:"));
    json_decref(c);
    c = json_deep_copy(l->checkpoints[slot]);
    json_t *list = json_object_get(c, "signatures");
    json_t *other = with_changed_text(json_array_get(list, 0), "signature", 200);
    json_array_set_new(list, 0, other);
    assert_int_equal(mb_audit_checkpoint(a.audit, c, &a.error), MB_EPROOF);
    json_decref(c);
    c = json_deep_copy(l->checkpoints[slot]);
    json_object_set_new(c, "slot", json_integer(5));
    assert_int_equal(mb_audit_checkpoint(a.audit, c, &a.error), MB_EPROOF);
    json_object_set_new(c, "slot", json_integer(SLOTS));
    assert_int_equal(mb_audit_checkpoint(a.audit, c, &a.error), MB_EPROOF);
    json_decref(c);

    /* A majority's signature of a slot that is none. */
    struct mb_block b;
    struct mb_public_key proposer;
    struct mb_checkpoint made = {0};
    assert_null(l->checkpoints[1]);
    assert_int_equal(mb_block_from_json(&b, &proposer, l->lines[1], NULL), 0);
    made.header = b.header;
    memset(&b.header, 0, sizeof b.header);
    made.signatures = mb_calloc(1, sizeof *made.signatures);
    made.count = 1;
    made.signatures[0].key = l->o.replica.public_key;
    mb_sshsig_sign(&l->o.replica, MB_NAMESPACE_CHECKPOINT, mb_buf_bytes(&made.header),
                   &made.signatures[0].signature);
    c = mb_checkpoint_to_json(&made);
    assert_int_equal(mb_audit_checkpoint(a.audit, c, &a.error), MB_EPROOF);
    json_decref(c);
    mb_checkpoint_clear(&made);
    mb_block_clear(&b);
    end(&a);
}

static void pins_and_genesis(void **state)
{
    struct ledger *l = *state;
    struct audit a;
    struct mb_audit *none;
    begin(&a, l, 3);
    assert_int_equal(mb_audit_pin(a.audit, 2, &l->headers[1], &a.error), MB_EPROOF);
    assert_string_equal(a.error.code, "audit.pin");
    assert_int_equal(mb_audit_pin(a.audit, 3, &l->headers[3], &a.error), MB_EPROOF);
    end(&a);

    struct mb_memory *m = mb_memory_new();
    assert_int_equal(mb_audit_new(&none, mb_memory_backend(m), toy_modules, 1, &l->headers[0],
                                  mb_buf_bytes(&l->o.genesis), &a.error),
                     MB_EPROOF);
    assert_string_equal(a.error.code, "audit.genesis");
    assert_null(none);
    mb_memory_free(m);
}

/* As a command of a later issue would leave it: a configuration with another replica, from slot 2.
 */
static void plant_config(struct org *o, struct mb_backend backend,
                         const struct mb_secret_key *replica)
{
    char *config = org_state(o, "core/config"), text[MB_PUBLIC_TEXT_SIZE];
    json_t *next = json_loads(config, 0, NULL);
    struct mb_hash root;
    mb_public_key_text(&replica->public_key, text);
    json_object_set_new(next, "from", json_integer(2));
    json_object_set_new(json_array_get(json_object_get(next, "replicas"), 0), "public_key",
                        json_string(text));
    char *value = mb_json_text(next);
    struct mb_tree_change key = {.key_hash = mb_sha256("core/config/next", 16),
                                 .value_hash = mb_sha256(value, strlen(value)),
                                 .present = true};
    struct mb_tree_io io = {backend.self, backend.ops->page_load, backend.ops->page_save};
    assert_int_equal(backend.ops->put(backend.self, 0, "core/config/next", mb_bytes_of(value)), 0);
    assert_int_equal(mb_tree_update(&io, "core", &key, 1, &root, NULL), 0);
    free(value);
    free(config);
    json_decref(next);
}

static void handovers_change_who_signs(void **state)
{
    struct ledger *old = *state, l = {0};
    struct audit a;
    struct mb_secret_key replica = org_key(50);
    size_t count;
    (void)old;
    l.memory = mb_memory_new();
    org_found(&l.o, mb_memory_backend(l.memory), 1, 1, "{}");
    l.org = mb_sha256(l.o.genesis.data, l.o.genesis.len);
    add_line(&l, NULL);
    plant_config(&l.o, mb_memory_backend(l.memory), &replica);
    block(&l, T0 + 1, NULL, 0);
    struct mb_secret_key first = l.o.replica;
    l.o.replica = replica;
    block(&l, T0 + 100, NULL, 0);

    begin(&a, &l, 1);
    struct org seen = {.ledger = mb_audit_ledger(a.audit)};
    plant_config(&seen, mb_memory_backend(a.memory), &replica);
    assert_int_equal(mb_audit_block(a.audit, l.lines[1], &a.error), 0);
    assert_int_equal(mb_audit_block(a.audit, l.lines[2], &a.error), 0);
    const uint64_t *handovers = mb_audit_handovers(a.audit, &count);
    assert_int_equal(count, 1);
    assert_int_equal(handovers[0], 1);
    /* The configuration in force for the slot signs: slot 1 the old one, slot 2 the new one. */
    assert_int_equal(mb_audit_checkpoint(a.audit, l.checkpoints[1], &a.error), 0);
    assert_int_equal(mb_audit_checkpoint(a.audit, l.checkpoints[2], &a.error), 0);
    end(&a);

    /* The old replica cannot propose slot 2. */
    begin(&a, &l, 1);
    seen.ledger = mb_audit_ledger(a.audit);
    plant_config(&seen, mb_memory_backend(a.memory), &replica);
    assert_int_equal(mb_audit_block(a.audit, l.lines[1], &a.error), 0);
    struct mb_block b = {0};
    mb_value_encode(&b.value, &first, &l.org, 2, T0 + 100, NULL, 0);
    struct mb_header h = {.slot = 2, .time = T0 + 100};
    uint8_t header[MB_HEADER_MAX];
    mb_buf_add(&b.header, header, mb_header_encode(&h, header));
    json_t *line = mb_block_to_json(&b, &first.public_key);
    assert_int_equal(mb_audit_block(a.audit, line, &a.error), MB_EPROOF);
    assert_string_equal(a.error.code, "audit.value");
    json_decref(line);
    mb_block_clear(&b);
    end(&a);
    for (int i = 0; i <= SLOTS; i++) {
        json_decref(l.lines[i]);
        json_decref(l.checkpoints[i]);
    }
    org_clear(&l.o);
    mb_memory_free(l.memory);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_ledger_passes),       TEST(every_text_field_counts),
        TEST(slots_come_in_order),        TEST(envelopes_and_results_count),
        TEST(each_header_field_is_named), TEST(a_forged_block_by_another_key),
        TEST(false_checkpoints),          TEST(pins_and_genesis),
        TEST(handovers_change_who_signs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
