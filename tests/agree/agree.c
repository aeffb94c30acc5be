/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whether replicas agree: random commands from a seed are applied to a ledger with the modules
 * books, gov, rules and vcs, and a running hash of all headers is printed. Two builds of this
 * program must print the same: agree SEED COMMANDS EVERY RULEBOOK…, a line every so many blocks.
 * Signatures are made and verified like any others.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../modules/books/books.h"
#include "../../modules/gov/gov.h"
#include "../../modules/rules/rules.h"
#include "../../modules/vcs/vcs.h"
#include "agree.h"

#define BLOCK_MAX     64
#define RULEBOOK_MAX  196608
#define ALL_DONE_FROM 10000 /* with so many commands, every verb below does well at least once */

static struct {
    const char *name;
    uint64_t done, refused;
} verbs[] = {
    {"books.account.open", 0, 0},
    {"books.account.set", 0, 0},
    {"books.asset.create", 0, 0},
    {"books.post", 0, 0},
    {"gov.apply", 0, 0},
    {"gov.audit", 0, 0},
    {"gov.delegate", 0, 0},
    {"gov.procedure.set", 0, 0},
    {"gov.propose", 0, 0},
    {"gov.resign", 0, 0},
    {"gov.sponsor", 0, 0},
    {"gov.step", 0, 0},
    {"gov.veto", 0, 0},
    {"gov.vote", 0, 0},
    {"gov.withdraw", 0, 0},
    {"org.approve", 0, 0},
    {"org.beacon.commit", 0, 0},
    {"org.beacon.reveal", 0, 0},
    {"org.key.replace", 0, 0},
    {"org.param.set", 0, 0},
    {"org.replica.add", 0, 0},
    {"org.replica.remove", 0, 0},
    {"org.founders.retire", 0, 0},
    {"org.upgrade", 0, 0},
    {"rules.adopt", 0, 0},
    {"rules.params.set", 0, 0},
    {"toy.due", 0, 0},
    {"toy.put", 0, 0},
    {"vcs.repo.create", 0, 0},
    {"vcs.repo.set", 0, 0},
};
#define VERBS (sizeof verbs / sizeof *verbs)
static uint64_t done, refused;

static void note(const char *type, bool ok)
{
    done += ok;
    refused += !ok;
    for (size_t i = 0; i < VERBS; i++) {
        if (strcmp(verbs[i].name, type) != 0)
            continue;
        verbs[i].done += ok;
        verbs[i].refused += !ok;
    }
}

/* The results of a block; types are its envelopes'. */
static void note_block(const struct mb_outcome *outcome, const char *const *types, size_t count)
{
    for (size_t i = 0, e = 0; i < outcome->block.result_count; i++) {
        json_t *result = json_loads(mb_buf_text(&outcome->block.results[i]), 0, NULL);
        bool own = e < count && mb_outcome_index(outcome, e) == i;
        note(own ? types[e] : mb_json_get_text(result, "type", ""),
             json_is_true(json_object_get(result, "ok")));
        e += own;
        json_decref(result);
    }
}

/* Blocks mostly come a few seconds apart, at times after epochs. */
static int64_t next_time(struct agree *a)
{
    size_t gap = agree_below(a, 100);
    size_t within = agree_below(a, gap == 0 ? 3 * 3600 : 90);
    return a->time + (int64_t)within;
}

static void block(struct agree *a, uint64_t most)
{
    struct mb_checked *commands[BLOCK_MAX];
    const char *types[BLOCK_MAX];
    size_t large = agree_below(a, 20);
    size_t count = agree_below(a, large == 0 ? BLOCK_MAX + 1 : 22);
    a->time = next_time(a);
    for (size_t i = 0; i < count && i < most; i++)
        commands[i] = agree_command(a, a->time, &types[i]);
    count = count < most ? count : (size_t)most;
    struct mb_outcome *outcome = org_block(&a->o, a->time, commands, count);
    if (outcome == NULL) {
        fprintf(stderr, "agree: the replica stops: %s\n", a->o.error.text);
        exit(1);
    }
    note_block(outcome, types, count);
    mb_outcome_free(outcome);
    a->sent += count;
}

/* What all headers so far come to. */
static struct mb_hash follow(struct mb_hash so_far, const struct mb_header *header)
{
    uint8_t bytes[sizeof so_far.b + MB_HEADER_MAX];
    memcpy(bytes, so_far.b, sizeof so_far.b);
    size_t len = mb_header_encode(header, bytes + sizeof so_far.b);
    return mb_sha256(bytes, sizeof so_far.b + len);
}

static void print(const struct agree *a, struct mb_hash all)
{
    const struct mb_header *h = &mb_ledger_tip(a->o.ledger)->header;
    char hex[4][MB_HASH_HEX_SIZE];
    mb_hash_hex(&h->state_root, hex[0]);
    mb_hash_hex(&h->results_root, hex[1]);
    mb_hash_hex(&h->history_root, hex[2]);
    mb_hash_hex(&all, hex[3]);
    printf(
        "slot %llu time %lld commands %llu results %llu + %llu state %.16s results %.16s history "
        "%.16s all %s\n",
        (unsigned long long)h->slot, (long long)h->time, (unsigned long long)a->sent,
        (unsigned long long)done, (unsigned long long)refused, hex[0], hex[1], hex[2], hex[3]);
    fflush(stdout);
}

static void found(struct agree *a, const struct mb_logic *const *modules, size_t count,
                  struct mb_backend backend)
{
    json_t *json = org_genesis_json(&a->o, ORG_FOUNDERS, 2);
    static const char *const procedures[] = {"routine", "treasury", "constitution"};
    static const struct {
        const char *name;
        int value;
    } fields[] = {{"support_s", 1000}, {"review_s", 100}, {"voting_s", 1000},
                  {"grace_s", 100},    {"sponsors", 1},   {"quorum", 5}};
    json_t *params = json_pack("{s:i, s:i, s:i, s:i}", "rules.fee", 3, "beacon", 1, "gov.keep_s",
                               86400, "books.accounts_max", 1);
    for (size_t p = 0; p < 3; p++)
        for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
            char *name = mb_asprintf("gov.%s.%s", procedures[p], fields[f].name);
            json_object_set_new(params, name, json_integer(fields[f].value));
            free(name);
        }
    json_t *versions = json_object_get(json, "versions");
    json_object_set_new(versions, "books", json_integer(1));
    json_object_set_new(versions, "gov", json_integer(1));
    json_object_set_new(versions, "rules", json_integer(1));
    json_object_set_new(json, "params", params);
    json_object_set_new(json, "rulebook", json_string(a->rulebooks[0]));
    int rc = mb_json_canonical(&a->o.genesis, json, &a->o.error);
    json_decref(json);
    if (rc == 0)
        rc = mb_ledger_found(&a->o.ledger, backend, modules, count, mb_buf_bytes(&a->o.genesis),
                             &a->o.error);
    if (rc != 0) {
        fprintf(stderr, "agree: founding: %s\n", a->o.error.text);
        exit(1);
    }
}

static char *read_file(const char *path)
{
    char *text = mb_alloc(RULEBOOK_MAX + 1);
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        exit(2);
    }
    size_t len = fread(text, 1, RULEBOOK_MAX, f);
    text[len] = '\0';
    fclose(f);
    return text;
}

static bool finish(const struct agree *a)
{
    bool good = true;
    for (size_t i = 0; i < VERBS; i++) {
        printf("%s: %llu done, %llu refused\n", verbs[i].name, (unsigned long long)verbs[i].done,
               (unsigned long long)verbs[i].refused);
        if (verbs[i].done == 0 && a->sent >= ALL_DONE_FROM) {
            fprintf(stderr, "agree: %s never did well: the commands reach too little\n",
                    verbs[i].name);
            good = false;
        }
    }
    return good;
}

int main(int argc, char **argv)
{
    struct mb_logic toy = toy_logic; /* an upgrade puts it in use */
    toy.version = 2;
    toy.older = &toy_logic;
    const struct mb_logic *const modules[] = {&books_logic, &gov_logic, &rules_logic, &toy,
                                              &vcs_logic};
    struct agree a = {.time = ORG_CREATED};
    if (argc < 5) {
        fprintf(stderr, "usage: agree SEED COMMANDS EVERY RULEBOOK...\n");
        return 2;
    }
    uint64_t wanted = strtoull(argv[2], NULL, 10), every = strtoull(argv[3], NULL, 10);
    a.random = strtoull(argv[1], NULL, 10);
    a.retire = wanted / 4 * 3;
    a.rulebook_count = (size_t)argc - 4;
    char **sources = mb_calloc(a.rulebook_count, sizeof *sources);
    for (size_t i = 0; i < a.rulebook_count; i++)
        sources[i] = read_file(argv[4 + i]);
    a.rulebooks = sources;
    struct mb_memory *memory = mb_memory_new();
    found(&a, modules, sizeof modules / sizeof *modules, mb_memory_backend(memory));
    agree_prepare(&a);
    const struct mb_header *header = &mb_ledger_tip(a.o.ledger)->header;
    struct mb_hash all = follow((struct mb_hash){{0}}, header);
    for (uint64_t blocks = 1; a.sent < wanted; blocks++) {
        block(&a, wanted - a.sent);
        all = follow(all, &mb_ledger_tip(a.o.ledger)->header);
        if (every > 0 && blocks % every == 0)
            print(&a, all);
    }
    print(&a, all);
    bool good = finish(&a);
    for (size_t i = 0; i < PEOPLE; i++)
        free(a.names[i]);
    for (size_t i = 0; i < EARLIER; i++)
        mb_buf_clear(&a.earlier[i].text);
    org_clear(&a.o);
    mb_memory_free(memory);
    for (size_t i = 0; i < a.rulebook_count; i++)
        free(sources[i]);
    free(sources);
    return good ? 0 : 1;
}
