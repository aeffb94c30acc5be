/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Postings applied in a second on one core, signatures counted out, over memory: bench_books
 * [POSTINGS]. Each moves one unit between two of 64 accounts of the organisation, in blocks of 512.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../modules/books/books.h"
#include "../support/org.h"

#define BLOCK    512
#define ACCOUNTS 64

static const struct mb_logic *const modules[] = {&books_logic};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int found(struct org *o, struct mb_backend backend)
{
    json_t *json = org_genesis_json(o, 1, 1);
    json_object_set_new(json, "versions",
                        json_pack("{s:i, s:s, s:i}", "core", 1, "lua", MB_LUA_RELEASE, "books", 1));
    int rc = mb_json_canonical(&o->genesis, json, &o->error);
    json_decref(json);
    return rc != 0 ? rc
                   : mb_ledger_found(&o->ledger, backend, modules, 1, mb_buf_bytes(&o->genesis),
                                     &o->error);
}

/* False, and what it was, where the command is refused. */
static bool done(struct org *o, const char *type, const char *body)
{
    char *result = org_do(o, ORG_CREATED + 1, &o->founders[0], type, body);
    bool good = strstr(result, "\"ok\":true") != NULL;
    if (!good)
        fprintf(stderr, "bench_books: %s\n", result);
    free(result);
    return good;
}

static bool open_accounts(struct org *o)
{
    char body[400];
    bool good = done(o, "books.asset.create", "{\"asset\":\"eur\",\"transferable\":1}");
    for (int i = 0; i < ACCOUNTS && good; i++) {
        (void)mb_snprintf(body, sizeof body, "{\"account\":\"org/a%d\"}", i);
        good = done(o, "books.account.open", body);
        (void)mb_snprintf(
            body, sizeof body,
            "{\"entries\":[{\"account\":\"issue/eur\",\"amount\":-1000000,\"asset\":"
            "\"eur\"},{\"account\":\"org/a%d\",\"amount\":1000000,\"asset\":\"eur\"}]}",
            i);
        good = good && done(o, "books.post", body);
    }
    return good;
}

static void make_block(struct org *o, struct mb_checked **c)
{
    char body[300];
    for (size_t i = 0; i < BLOCK; i++) {
        (void)mb_snprintf(
            body, sizeof body,
            "{\"entries\":[{\"account\":\"org/a%zu\",\"amount\":-1,\"asset\":\"eur\"},"
            "{\"account\":\"org/a%zu\",\"amount\":1,\"asset\":\"eur\"}]}",
            i % ACCOUNTS, (i * 7 + 1) % ACCOUNTS);
        c[i] = org_command(o, &o->founders[0], "books.post", body, ORG_CREATED + 3600);
    }
}

/* Seconds that one block of postings takes, all of them good; less than 0: some were refused. */
static double apply(struct org *o)
{
    struct mb_checked *c[BLOCK];
    make_block(o, c);
    struct mb_buf bytes = {0};
    struct mb_value v = {0};
    struct mb_outcome *outcome = NULL;
    const struct mb_tip *tip = mb_ledger_tip(o->ledger);
    mb_value_encode(&bytes, &o->replica, &tip->header.org, tip->header.slot + 1, ORG_CREATED + 1, c,
                    BLOCK);
    double began = now();
    int rc = mb_value_decode(&v, mb_buf_bytes(&bytes), &o->error);
    if (rc == 0)
        rc = mb_ledger_apply(o->ledger, mb_buf_bytes(&bytes), &v, c, &outcome, &o->error);
    double took = now() - began;
    for (size_t i = 0; rc == 0 && i < outcome->applied.count; i++)
        rc = outcome->applied.commands[i].ok ? 0 : MB_EREFUSED;
    mb_value_clear(&v);
    mb_outcome_free(outcome);
    mb_buf_clear(&bytes);
    for (size_t i = 0; i < BLOCK; i++)
        mb_checked_free(c[i]);
    return rc == 0 ? took : -1;
}

int main(int argc, char **argv)
{
    long wanted = argc > 1 ? strtol(argv[1], NULL, 10) : 100 * BLOCK, count = 0;
    struct mb_memory *memory = mb_memory_new();
    struct org o = {0};
    double seconds = 0, took = 0;
    bool good = found(&o, mb_memory_backend(memory)) == 0 && open_accounts(&o);
    for (; good && count < wanted; count += BLOCK) {
        took = apply(&o);
        good = took >= 0;
        seconds += took;
    }
    if (good)
        printf("books_postings_memory %.0f postings/s\n", (double)count / seconds);
    org_clear(&o);
    mb_memory_free(memory);
    return good ? 0 : 1;
}
