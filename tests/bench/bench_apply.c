/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Commands applied in a second on one core, signatures counted out: bench_apply [COMMANDS].
 * Each puts one small value under a key of its own, in blocks of 512. Every figure is a line "name
 * value unit".
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../support/org.h"

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

int main(int argc, char **argv)
{
    long commands = argc > 1 ? strtol(argv[1], NULL, 10) : 100 * BLOCK;
    struct mb_memory *memory = mb_memory_new();
    struct mb_checked *c[BLOCK];
    struct mb_buf bytes = {0};
    struct org o;
    double verify = 0, apply = 0;
    long done = 0;
    org_found(&o, mb_memory_backend(memory), 1, 1, "{\"work_bits\":0}");
    for (uint64_t slot = 1; done < commands; slot++, done += BLOCK) {
        struct mb_outcome *outcome;
        struct mb_value v;
        double t = now();
        make_block(&o, slot, c, &bytes);
        verify += now() - t;
        t = now();
        if (mb_value_decode(&v, mb_buf_bytes(&bytes), NULL) != 0 ||
            mb_ledger_apply(o.ledger, mb_buf_bytes(&bytes), &v, c, &outcome, NULL) != 0)
            return 1;
        apply += now() - t;
        mb_value_clear(&v);
        mb_outcome_free(outcome);
        for (size_t i = 0; i < BLOCK; i++)
            mb_checked_free(c[i]);
    }
    printf("apply_commands %.0f commands/s\n", (double)done / apply);
    printf("sign_and_check_commands %.0f commands/s\n", (double)done / verify);
    mb_buf_clear(&bytes);
    org_clear(&o);
    mb_memory_free(memory);
    return 0;
}
