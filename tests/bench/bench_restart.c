/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A real magicbizd with a large state: bench_restart [FOLDER [KEYS]]. Fills it through its socket
 * with KEYS (1,000,000) keys of the module filler, 1,000 a command; then measures how long it takes
 * from exec to the first answer after it was stopped and after it was killed, and how long a key
 * with its proof takes to come. Medians of three restarts.
 */
#include "config.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon.h"
#include "filler.h"

#define ROUNDS  3
#define PROOFS  1000
#define CHANGES 30 /* commands before a kill */

static void fill(struct daemon *d, uint64_t from)
{
    char body[64];
    must(mb_snprintf(body, sizeof body, "{\"from\":%" PRIu64 "}", from) == 0, "body");
    daemon_do(d, "filler.fill", body);
}

static void measure_proofs(const struct daemon *d, uint64_t keys)
{
    static double times[PROOFS];
    struct mb_buf request = {0}, answer = {0};
    for (uint64_t i = 0; i < PROOFS; i++) {
        mb_buf_reset(&request);
        mb_buf_addf(&request,
                    "GET /v1/state?key=" FILLER_KEY "&proof=1 HTTP/1.1\r\nHost: x\r\n\r\n",
                    i * 7919 % keys);
        double start = seconds();
        unsigned status = daemon_call(d, mb_buf_bytes(&request), &answer);
        times[i] = seconds() - start;
        must(status == 200 && strstr(mb_buf_text(&answer), "\"proof\":") != NULL, "a proof");
    }
    figure("ms", median(times, PROOFS) * 1e3, "restart_state_with_proof_p50");
    figure("ms", times[PROOFS * 99 / 100] * 1e3, "restart_state_with_proof_p99");
    mb_buf_clear(&request);
    mb_buf_clear(&answer);
}

int main(int argc, char **argv)
{
    struct daemon d;
    uint64_t keys = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    double stopped[ROUNDS], killed[ROUNDS];
    setenv("MAGICBIZ_MODULE_DIR", "tests/bench/.libs", 1);
    daemon_found(&d, argc > 1 ? argv[1] : ".", "filler");
    daemon_start(&d);
    double start = seconds();
    for (uint64_t n = 0; n < keys; n += FILLER_KEYS)
        fill(&d, n);
    figure("keys", (double)keys, "restart_keys");
    figure("keys/s", (double)keys / (seconds() - start), "restart_filled");
    sleep(7); /* the next checkpoint covers them */
    measure_proofs(&d, keys);
    for (int round = 0; round < ROUNDS; round++) {
        daemon_stop(&d);
        stopped[round] = daemon_start(&d);
        for (uint64_t i = 0; i < CHANGES; i++)
            fill(&d, i * FILLER_KEYS);
        kill(d.pid, SIGKILL);
        must(waitpid(d.pid, NULL, 0) == d.pid, "waitpid");
        killed[round] = daemon_start(&d);
    }
    figure("s", median(stopped, ROUNDS), "restart_to_serving");
    figure("s", median(killed, ROUNDS), "restart_to_serving_after_a_kill");
    figure("MB", daemon_resident_peak(&d), "restart_resident_most");
    figure("processes", load_average(), "restart_load");
    daemon_close(&d);
    return 0;
}
