/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/chain.h"

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

/* --- A ledger of several replicas. --- */

static int set_up_chain(void **state)
{
    struct chain *l = mb_calloc(1, sizeof *l);
    chain_found(l, T0);
    *state = l;
    return 0;
}

static int tear_down_chain(void **state)
{
    chain_clear(*state);
    free(*state);
    return 0;
}

static void an_audit_follows_the_replicas(void **state)
{
    struct chain *l = *state;
    struct audit a;
    struct mb_memory *memory = mb_memory_new();
    struct mb_error error;
    size_t count;
    assert_int_equal(mb_audit_new(&a.audit, mb_memory_backend(memory), toy_modules, 1, &l->org,
                                  mb_buf_bytes(&l->o.genesis), &error),
                     0);
    for (size_t i = 0; i < json_array_size(l->lines); i++)
        assert_int_equal(mb_audit_block(a.audit, json_array_get(l->lines, i), &error), 0);
    const uint64_t *handovers = mb_audit_handovers(a.audit, &count);
    assert_int_equal(count, CHAIN_CHANGES);
    for (size_t i = 0; i < CHAIN_CHANGES; i++) {
        const json_t *checkpoint = json_object_get(json_array_get(l->handovers, i), "checkpoint");
        assert_int_equal(handovers[i], 64 * (i + 1));
        assert_int_equal(handovers[i], mb_json_get_int(checkpoint, "slot", 0));
        assert_int_equal(mb_audit_checkpoint(a.audit, checkpoint, &error), 0);
    }
    /* The newest slot, 384, hands over from {2,3,4,5} to {2,4,5}; those before it sign. */
    static const struct {
        unsigned who;
        bool holds;
    } signers[] = {{0x1e, true},  {0x0e, true},  {0x1a, true},  {0x1c, true},  {0x1b, true},
                   {0x06, false}, {0x0a, false}, {0x21, false}, {0x07, false}, {0, false}};
    for (size_t i = 0; i < sizeof signers / sizeof *signers; i++) {
        json_t *checkpoint = chain_checkpoint(l, signers[i].who);
        assert_int_equal(mb_audit_checkpoint(a.audit, checkpoint, &error) == 0, signers[i].holds);
        json_decref(checkpoint);
    }
    /* One signature many times is one. */
    json_t *checkpoint = chain_checkpoint(l, 0x02);
    json_t *list = json_object_get(checkpoint, "signatures");
    for (int i = 0; i < 4; i++)
        json_array_append(list, json_array_get(list, 0));
    assert_int_equal(mb_audit_checkpoint(a.audit, checkpoint, &error), MB_EPROOF);
    json_decref(checkpoint);
    mb_audit_free(a.audit);
    mb_memory_free(memory);
}

/* A replica that was removed can propose its configuration's last slot, and not the next. */
static void a_removed_replica_proposes_nothing(void **state)
{
    struct chain *l = *state;
    struct mb_memory *memory = mb_memory_new();
    struct mb_audit *audit;
    struct mb_error error;
    uint64_t slot = 3 * 64 + 1;
    assert_int_equal(mb_audit_new(&audit, mb_memory_backend(memory), toy_modules, 1, &l->org,
                                  mb_buf_bytes(&l->o.genesis), &error),
                     0);
    for (size_t i = 0; i < slot; i++)
        assert_int_equal(mb_audit_block(audit, json_array_get(l->lines, i), &error), 0);
    struct mb_block b = {0};
    mb_value_encode(&b.value, &l->keys[0], &l->org, slot, l->time, NULL, 0);
    struct mb_header h = {.slot = slot, .time = l->time};
    uint8_t header[MB_HEADER_MAX];
    mb_buf_add(&b.header, header, mb_header_encode(&h, header));
    json_t *line = mb_block_to_json(&b, &l->keys[0].public_key);
    assert_int_equal(mb_audit_block(audit, line, &error), MB_EPROOF);
    assert_string_equal(error.code, "audit.value");
    json_decref(line);
    mb_block_clear(&b);
    mb_audit_free(audit);
    mb_memory_free(memory);
}

static void the_first(struct chain *l, struct mb_membership *m)
{
    struct mb_genesis g;
    assert_int_equal(mb_genesis_parse(&g, mb_buf_bytes(&l->o.genesis), NULL), 0);
    mb_membership_first(m, &g);
    mb_genesis_clear(&g);
}

static void a_client_walks_the_handovers(void **state)
{
    struct chain *l = *state;
    struct mb_membership m, after;
    struct mb_error error;
    the_first(l, &m);
    assert_int_equal(m.version, 1);
    assert_memory_equal(&m.hash, mb_ledger_config_at(l->o.ledger, 0, &after) ? &after.hash : NULL,
                        32);
    for (size_t i = 0; i < CHAIN_CHANGES; i++) {
        const json_t *item = json_array_get(l->handovers, i);
        assert_int_equal(mb_handover_verify(&m, item, &l->org, &after, &error), 0);
        m = after;
    }
    assert_int_equal(m.version, CHAIN_CHANGES + 1);
    assert_int_equal(m.from, 64 * CHAIN_CHANGES + 1);
    assert_int_equal(m.count, 3);
}

/* The third handover, from {1,2,3} to {2,3}, changed in one way each. */
static void false_handovers(void **state)
{
    static const char *const codes[] = {
        "checkpoint.unsigned", "checkpoint.unsigned", "handover.order", "handover.config",
        "handover.config",     "config.invalid",      "config.invalid", "config.invalid",
        "handover.invalid",    "checkpoint.invalid",  "handover.order", "handover.other",
    };
    struct chain *l = *state;
    struct mb_membership m, after;
    struct mb_error error;
    the_first(l, &m);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(
            mb_handover_verify(&m, json_array_get(l->handovers, i), &l->org, &after, &error), 0);
        m = after;
    }
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        json_t *item = json_deep_copy(json_array_get(l->handovers, i == 2 ? 3 : 2));
        json_t *checkpoint = json_object_get(item, "checkpoint");
        json_t *signatures = json_object_get(checkpoint, "signatures");
        json_t *config = json_object_get(item, "config");
        json_t *replicas = json_object_get(config, "replicas");
        struct mb_hash org = l->org;
        switch (i) {
        case 0: /* a minority */
            json_array_remove(signatures, 0);
            json_array_remove(signatures, 0);
            break;
        case 1: /* twice the same */
            json_array_set(signatures, 0, json_array_get(signatures, 1));
            json_array_set(signatures, 2, json_array_get(signatures, 1));
            break;
        case 3: /* another configuration under these signatures */
            json_array_remove(replicas, 0);
            break;
        case 4:
            json_object_set_new(config, "next_number", json_integer(50));
            break;
        case 5:
            json_array_append(replicas, json_array_get(replicas, 0));
            break;
        case 6:
            json_array_clear(replicas);
            break;
        case 7:
            json_object_set_new(json_array_get(replicas, 0), "onion", json_string("x"));
            break;
        case 8:
            json_object_set_new(item, "more", json_integer(1));
            break;
        case 9:
            json_object_set_new(checkpoint, "slot", json_integer(1));
            break;
        case 10: /* from another slot than the header's next */
            json_object_set_new(config, "from", json_integer(500));
            break;
        case 11:
            org.b[0] ^= 1;
            break;
        default:
            break;
        }
        assert_int_not_equal(mb_handover_verify(&m, item, &org, &after, &error), 0);
        assert_string_equal(error.code, codes[i]);
        json_decref(item);
    }
}

#define TEST(f)       cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define CHAIN_TEST(f) cmocka_unit_test_setup_teardown(f, set_up_chain, tear_down_chain)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_ledger_passes),
        TEST(every_text_field_counts),
        TEST(slots_come_in_order),
        TEST(envelopes_and_results_count),
        TEST(each_header_field_is_named),
        TEST(a_forged_block_by_another_key),
        TEST(false_checkpoints),
        TEST(pins_and_genesis),
        CHAIN_TEST(an_audit_follows_the_replicas),
        CHAIN_TEST(a_removed_replica_proposes_nothing),
        CHAIN_TEST(a_client_walks_the_handovers),
        CHAIN_TEST(false_handovers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
