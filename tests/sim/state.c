/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is replicated: in most seeds a small state machine that keeps a digest of all it has
 * applied, in some the real ledger with its modules over the memory backend.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "../../modules/books/books.h"
#include "../../modules/gov/gov.h"
#include "../../modules/rules/rules.h"
#include "../../modules/vcs/vcs.h"
#include "../support/org.h"
#include "base/encode.h"
#include "sim.h"

struct ledger {
    struct org org;
    struct mb_memory *memory;
};

static const struct mb_logic *const modules[] = {&books_logic, &gov_logic, &rules_logic,
                                                 &vcs_logic};

/* --- The real ledger. --- */

static struct mb_secret_key replica_key(uint32_t number)
{
    return org_key(number == 1 ? 10 : (uint8_t)(40 + number));
}

static void set_onion(json_t *json, const char *name, uint8_t seed)
{
    char text[MB_ONION_SIZE];
    struct mb_secret_key key = org_key(seed);
    mb_onion_encode(text, key.public_key.b);
    json_object_set_new(json, name, json_string(text));
}

static void genesis_make(struct world *w, struct mb_buf *out)
{
    struct org o = {0};
    json_t *json = org_genesis_json(&o, ORG_FOUNDERS, 1);
    json_t *replicas = json_object_get(json, "replicas");
    commands_genesis(json);
    for (uint32_t n = 2; n <= w->founders; n++) {
        char text[MB_PUBLIC_TEXT_SIZE];
        struct mb_secret_key key = replica_key(n);
        json_t *replica = json_deep_copy(json_array_get(replicas, 0));
        json_object_set_new(replica, "number", json_integer(n));
        mb_public_key_text(&key.public_key, text);
        json_object_set_new(replica, "public_key", json_string(text));
        set_onion(replica, "peer_onion", (uint8_t)(60 + 2 * n));
        set_onion(replica, "onion", (uint8_t)(61 + 2 * n));
        struct mb_buf auth = {0};
        mb_base32_encode(&auth, key.public_key.b, 32);
        json_object_set_new(replica, "tor_auth", json_string(mb_buf_text(&auth)));
        mb_buf_clear(&auth);
        json_array_append_new(replicas, replica);
    }
    if (mb_json_canonical(out, json, NULL) != 0)
        fail(w, "genesis has no canonical form");
    json_decref(json);
}

static struct ledger *ledger_open(struct world *w)
{
    struct ledger *l = mb_calloc(1, sizeof *l);
    struct org *o = &l->org;
    if (w->genesis == NULL) {
        w->genesis = mb_calloc(1, sizeof(struct mb_buf));
        genesis_make(w, w->genesis);
    }
    l->memory = mb_memory_new();
    for (uint8_t i = 0; i < ORG_FOUNDERS; i++)
        o->founders[i] = org_key(i + 1);
    mb_buf_add_bytes(&o->genesis, mb_buf_bytes(w->genesis));
    if (mb_ledger_found(&o->ledger, mb_memory_backend(l->memory), modules,
                        sizeof modules / sizeof *modules, mb_buf_bytes(&o->genesis),
                        &o->error) != 0)
        fail(w, "founding: %s", o->error.text);
    return l;
}

static void ledger_close(struct ledger *l)
{
    if (l == NULL)
        return;
    org_clear(&l->org);
    mb_memory_free(l->memory);
    free(l);
}

/* The command with this text, or NULL. */
static struct command *command_of(struct world *w, struct mb_bytes text)
{
    for (uint32_t i = 0; i < w->command_count; i++)
        if (w->commands[i].envelope != NULL &&
            mb_bytes_equal(mb_buf_bytes(&w->commands[i].envelope->envelope.text), text))
            return &w->commands[i];
    return NULL;
}

static void took_effect(struct world *w, struct state *s, uint32_t id)
{
    struct command *c = &w->commands[id];
    if (s->seen[id]++)
        fail(w, "command %u took effect twice", id);
    if (c->slot != 0 && c->slot != s->applied)
        fail(w, "command %u took effect in slots %lu and %lu", id, (unsigned long)c->slot,
             (unsigned long)s->applied);
    c->slot = s->applied;
}

/* Modules may refuse it, unless it does well wherever it comes; it is taken in all the same. */
static void note_result(struct world *w, struct state *s, struct command *c, const char *result)
{
    bool refused = strstr(result, "\"error\"") != NULL;
    if (strstr(result, "command.repeated") != NULL)
        return;
    if (refused && (c->key != NULL || strstr(result, "\"code\":\"command.") != NULL))
        fail(w, "a command was refused: %s", result);
    if (c->slot == 0)
        *(refused ? &w->counts.refused : &w->counts.done) += 1;
    took_effect(w, s, (uint32_t)(c - w->commands));
}

static void ledger_apply(struct world *w, struct state *s, struct mb_bytes value)
{
    struct org *o = &s->ledger->org;
    const struct mb_tip *tip = mb_ledger_tip(o->ledger);
    struct mb_public_key keys[REPLICAS];
    struct mb_checked *checked[COMMANDS];
    struct mb_outcome *outcome = NULL;
    struct mb_value v;
    for (uint32_t n = 1; n <= w->founders; n++)
        keys[n - 1] = replica_key(n).public_key;
    if (mb_value_decode(&v, value, &o->error) != 0) {
        fail(w, "a value: %s", o->error.text);
        return;
    }
    if (!chosen_at(w, s->applied)->applied && /* else it was found good already */
        mb_value_verify(&v, &tip->header.org, s->applied, keys, w->founders, &o->error) != 0)
        fail(w, "a value: %s", o->error.text);
    for (size_t i = 0; i < v.count; i++) {
        struct command *c = command_of(w, v.texts[i]);
        checked[i] = c != NULL ? c->envelope : NULL;
        if (c == NULL)
            fail(w, "a command that nobody sent");
    }
    if (w->failed == NULL &&
        mb_ledger_apply(o->ledger, value, &v, checked, &outcome, &o->error) != 0)
        fail(w, "apply: %s", o->error.text);
    for (size_t i = 0; outcome != NULL && i < v.count; i++)
        note_result(w, s, command_of(w, v.texts[i]),
                    mb_buf_text(&outcome->block.results[mb_outcome_index(outcome, i)]));
    if (outcome != NULL && !chosen_at(w, s->applied)->applied)
        w->counts.internal += outcome->block.result_count - v.count;
    mb_outcome_free(outcome);
    mb_value_clear(&v);
    s->digest = mb_ledger_tip(o->ledger)->header_hash;
}

/* --- Both. --- */

void state_open(struct world *w, struct state *s)
{
    *s = (struct state){.config_count = 1};
    s->configs[0] = (struct mb_paxos_config){.from = 1, .version = 1, .count = w->founders};
    for (uint32_t i = 0; i < w->founders; i++)
        s->configs[0].members[i] = i + 1;
    if (w->real)
        s->ledger = ledger_open(w);
}

void state_clear(struct state *s)
{
    ledger_close(s->ledger);
    *s = (struct state){0};
}

bool state_has(struct world *w, struct state *s, uint32_t id)
{
    const char *key = w->commands[id].key;
    if (s->ledger == NULL || !s->seen[id] || key == NULL)
        return s->seen[id];
    struct mb_buf text = {0};
    bool there = mb_ledger_get(s->ledger->org.ledger, key, &text) == 1;
    mb_buf_clear(&text);
    return there;
}

/* One change at a time, each of one replica; a number is used once; and who is added has followed
 * until lately, or it might know nobody any more. */
static const struct mb_paxos_config *change(struct world *w, struct state *s,
                                            const struct command *c)
{
    const struct mb_paxos_config *old = &s->configs[s->config_count - 1];
    if (c->kind == COMMAND_PLAIN || old->from > s->applied ||
        (c->kind == COMMAND_ADD && s->applied > c->ready + MB_HEADERS_KEPT))
        return NULL;
    struct mb_paxos_config next = {.from = s->applied + MB_PAXOS_WINDOW,
                                   .version = old->version + 1};
    for (size_t i = 0; i < old->count; i++)
        if (c->kind == COMMAND_ADD || old->members[i] != c->replica)
            next.members[next.count++] = old->members[i];
    if (c->kind == COMMAND_ADD) {
        if (next.count == MB_PAXOS_REPLICAS_MAX || next.members[next.count - 1] >= c->replica)
            return NULL;
        next.members[next.count++] = c->replica;
    } else if (next.count == old->count || next.count == 0) {
        return NULL;
    }
    w->counts.changes += !w->chosen[s->applied].applied;
    s->configs[s->config_count++] = next;
    return &s->configs[s->config_count - 1];
}

/* value = salt:8 || count:4 || count × id:4 || filling */
static const struct mb_paxos_config *small_apply(struct world *w, struct state *s,
                                                 struct mb_bytes value)
{
    const struct mb_paxos_config *config = NULL;
    struct mb_cursor c = mb_cursor(value);
    mb_cursor_take(&c, 8);
    size_t count = mb_cursor_u32(&c);
    uint8_t all[sizeof s->digest + 12 + 4 * 16];
    for (size_t i = 0; i < count && !c.failed; i++) {
        uint32_t id = mb_cursor_u32(&c);
        if (id >= w->command_count) {
            fail(w, "a command that nobody sent");
            return NULL;
        }
        if (s->seen[id])
            continue;
        took_effect(w, s, id);
        const struct mb_paxos_config *decided = change(w, s, &w->commands[id]);
        config = decided != NULL ? decided : config;
    }
    size_t len =
        value.len < sizeof all - sizeof s->digest ? value.len : sizeof all - sizeof s->digest;
    memcpy(all, s->digest.b, sizeof s->digest);
    memcpy(all + sizeof s->digest, value.data, len);
    s->digest = mb_sha256(all, sizeof s->digest + len);
    return config;
}

const struct mb_paxos_config *state_apply(struct world *w, struct state *s, struct mb_bytes value)
{
    s->applied++;
    if (s->config_count > 1 && s->configs[1].from <= s->applied) {
        s->configs[0] = s->configs[1];
        s->config_count = 1;
    }
    if (s->ledger == NULL)
        return small_apply(w, s, value);
    ledger_apply(w, s, value);
    return NULL;
}

void value_make(struct world *w, struct mb_buf *out, uint32_t replica, uint64_t slot,
                const uint32_t *commands, size_t count)
{
    if (w->real) {
        struct mb_checked *checked[16];
        struct mb_secret_key key = replica_key(replica);
        struct mb_buf *genesis = w->genesis;
        struct mb_hash org = mb_sha256(genesis->data, genesis->len);
        for (size_t i = 0; i < count; i++)
            checked[i] = w->commands[commands[i]].envelope;
        mb_value_encode(out, &key, &org, slot, ORG_CREATED + w->now / 1000, checked, count);
        return;
    }
    mb_buf_add_u64(out, w->happenings); /* no two proposals are the same */
    mb_buf_add_u32(out, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        mb_buf_add_u32(out, commands[i]);
    while (out->len < w->value_bytes)
        mb_buf_add_u8(out, 0);
}
