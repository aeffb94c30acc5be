/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "chain.h"

#include <stdlib.h>
#include <string.h>

/* What changes, and who is in force before. */
static const struct {
    int add, remove; /* numbers; 0: none */
    unsigned before; /* bit i: replica i+1 was in force */
} changes[CHAIN_CHANGES] = {
    {2, 0, 0x01}, {3, 0, 0x03}, {0, 1, 0x07}, {4, 0, 0x06}, {5, 0, 0x0e}, {0, 3, 0x1e},
};

static void chain_line(struct chain *l, const struct mb_outcome *outcome)
{
    uint8_t bytes[MB_HEADER_MAX];
    struct mb_block first = {0};
    mb_buf_add(&first.header, bytes, mb_header_encode(&mb_ledger_tip(l->o.ledger)->header, bytes));
    json_array_append_new(
        l->lines, mb_block_to_json(outcome ? &outcome->block : &first, &l->o.replica.public_key));
    mb_block_clear(&first);
}

void chain_block(struct chain *l, struct mb_checked **c, size_t count)
{
    struct mb_outcome *outcome = org_block(&l->o, l->time++, c, count);
    if (!outcome || (count > 0 && !strstr(mb_buf_text(&outcome->block.results[0]), "\"ok\":true")))
        abort();
    chain_line(l, outcome);
    mb_outcome_free(outcome);
}

json_t *chain_checkpoint(struct chain *l, unsigned who)
{
    struct mb_secret_key keys[CHAIN_CHANGES];
    struct mb_checkpoint c;
    size_t count = 0;
    for (size_t i = 0; i < CHAIN_CHANGES; i++)
        if (who >> i & 1)
            keys[count++] = l->keys[i];
    org_checkpoint_by(&l->o, keys, count, &c);
    json_t *json = mb_checkpoint_to_json(&c);
    mb_checkpoint_clear(&c);
    return json;
}

static void chain_change(struct chain *l, size_t i)
{
    int add = changes[i].add;
    json_t *body = add ? org_add_body(&l->o, &l->keys[add - 1], (uint8_t)(60 + 2 * i))
                       : json_pack("{s:i}", "number", changes[i].remove);
    char *text = mb_json_text(body);
    struct mb_checked *c =
        org_command(&l->o, &l->o.founders[0], add ? "org.replica.add" : "org.replica.remove", text,
                    l->time + 60);
    chain_block(l, &c, 1);
    for (int k = 0; k < 63; k++)
        chain_block(l, NULL, 0);
    if (changes[i].remove == 1)
        l->o.replica = l->keys[1]; /* proposes from now on */
    json_array_append_new(l->handovers, json_pack("{s:o, s:o}", "checkpoint",
                                                  chain_checkpoint(l, changes[i].before), "config",
                                                  mb_ledger_config(l->o.ledger, i + 2)));
    json_decref(body);
    free(text);
}

void chain_found(struct chain *l, int64_t time)
{
    memset(l, 0, sizeof *l);
    l->memory = mb_memory_new();
    org_found(&l->o, mb_memory_backend(l->memory), 1, 1, "{}");
    l->org = mb_sha256(l->o.genesis.data, l->o.genesis.len);
    l->lines = json_array();
    l->handovers = json_array();
    l->time = time;
    l->keys[0] = l->o.replica;
    for (uint8_t i = 1; i < CHAIN_CHANGES; i++)
        l->keys[i] = org_key((uint8_t)(40 + i));
    chain_line(l, NULL);
    for (size_t i = 0; i < CHAIN_CHANGES; i++)
        chain_change(l, i);
}

void chain_clear(struct chain *l)
{
    json_decref(l->lines);
    json_decref(l->handovers);
    org_clear(&l->o);
    mb_memory_free(l->memory);
}
