/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Commands applied in a second on one core, signatures counted out, over memory and over SQLite
 * (one transaction a block): bench_apply [COMMANDS]. Each puts one small value under a key of its
 * own, in blocks of 512. Every figure is a line "name value unit".
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../support/org.h"
#include "store/store.h"

#define BLOCK 512

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Signed by a founder, checked, and encoded as one value. */
static void make_block(struct org *o, uint64_t slot, struct mb_checked **c, struct mb_buf *bytes)
{
    char body[80];
    for (size_t i = 0; i < BLOCK; i++) {
        (void)mb_snprintf(body, sizeof body, "{\"key\":\"%llu/%zu\",\"value\":{\"n\":%zu}}",
                          (unsigned long long)slot, i, i);
        c[i] = org_command(o, &o->founders[0], "toy.put", body, ORG_CREATED + 3600);
    }
    mb_buf_reset(bytes);
    mb_value_encode(bytes, &o->replica, &mb_ledger_tip(o->ledger)->header.org, slot,
                    ORG_CREATED + 1, c, BLOCK);
}

/* store: NULL where the backend commits nothing. */
static int measure(const char *name, struct mb_backend backend, struct mb_store *store,
                   long commands)
{
    struct mb_checked *c[BLOCK];
    struct mb_buf bytes = {0};
    struct mb_error error = {0};
    struct org o;
    double sign = 0, apply = 0;
    long done = 0;
    int rc = store ? mb_store_begin(store, &error) : 0;
    org_found(&o, backend, 1, 1, "{\"work_bits\":0}");
    rc = store && rc == 0 ? mb_store_commit(store, &error) : rc;
    for (uint64_t slot = 1; done < commands && rc == 0; slot++, done += BLOCK) {
        struct mb_outcome *outcome = NULL;
        struct mb_value v = {0};
        double t = now();
        make_block(&o, slot, c, &bytes);
        sign += now() - t;
        t = now();
        rc = store ? mb_store_begin(store, &error) : 0;
        if (rc == 0)
            rc = mb_value_decode(&v, mb_buf_bytes(&bytes), &error);
        if (rc == 0)
            rc = mb_ledger_apply(o.ledger, mb_buf_bytes(&bytes), &v, c, &outcome, &error);
        if (rc == 0 && store)
            rc = mb_store_commit(store, &error);
        apply += now() - t;
        mb_value_clear(&v);
        mb_outcome_free(outcome);
        for (size_t i = 0; i < BLOCK; i++)
            mb_checked_free(c[i]);
    }
    if (rc != 0)
        fprintf(stderr, "bench_apply: %s\n", error.text);
    printf("apply_commands_%s %.0f commands/s\n", name, (double)done / apply);
    printf("sign_and_check_commands %.0f commands/s\n", (double)done / sign);
    mb_buf_clear(&bytes);
    org_clear(&o);
    return rc;
}

static int measure_sqlite(long commands)
{
    char folder[] = "/tmp/bench_apply.XXXXXX";
    struct mb_store *store;
    if (!mkdtemp(folder))
        return 1;
    char *path = mb_asprintf("%s/store.db", folder), *wal = mb_asprintf("%s-wal", path);
    int rc = mb_store_open(&store, path, NULL);
    if (rc == 0)
        rc = measure("sqlite", mb_store_backend(store), store, commands);
    if (rc == 0)
        mb_store_close(store);
    unlink(path);
    unlink(wal);
    rmdir(folder);
    free(path);
    free(wal);
    return rc;
}

int main(int argc, char **argv)
{
    long commands = argc > 1 ? strtol(argv[1], NULL, 10) : 100 * BLOCK;
    struct mb_memory *memory = mb_memory_new();
    int rc = measure("memory", mb_memory_backend(memory), NULL, commands);
    mb_memory_free(memory);
    return rc != 0 || measure_sqlite(commands) != 0;
}
