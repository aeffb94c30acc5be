/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * raft_peer NUMBER FOLDER SECONDS PORT: the same as paxos_peer on Debian's libraft (Canonical's
 * Raft in C) with its own libuv input and output: three replicas on 127.0.0.1, at PORT + NUMBER,
 * with an apply that does nothing and no snapshots.
 */
#include "config.h"

#include <raft.h>
#include <raft/uv.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "peer_load.h"

#define REPLICAS 3
#define TICK_MS  10

static struct raft raft;
static struct peer_load load;

struct request {
    struct raft_apply apply;
    double sent;
};

static void on_applied(struct raft_apply *apply, int status, void *result)
{
    struct request *r = apply->data;
    (void)result;
    must(status == 0, "leading all along");
    double sent = r->sent;
    free(r);
    peer_load_done(&load, sent);
}

static void submit(double sent)
{
    struct request *r = mb_calloc(1, sizeof *r);
    struct raft_buffer b = {.base = raft_malloc(PEER_COMMAND), .len = PEER_COMMAND};
    must(b.base != NULL, "memory");
    memset(b.base, 0, b.len);
    r->sent = sent;
    r->apply.data = r;
    must(raft_apply(&raft, &r->apply, &b, 1, on_applied) == 0, raft_errmsg(&raft));
}

static int apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    (void)fsm, (void)buf;
    *result = NULL;
    return 0;
}

static void tick(uv_timer_t *timer)
{
    (void)timer;
    if (raft_state(&raft) == RAFT_LEADER)
        peer_load_begin(&load);
}

int main(int argc, char **argv)
{
    static struct uv_loop_s loop;
    static struct raft_uv_transport transport;
    static struct raft_io io;
    static struct raft_fsm fsm = {.version = 1, .apply = apply};
    static uv_timer_t timer;
    struct raft_configuration configuration;
    must(argc == 5, "raft_peer NUMBER FOLDER SECONDS PORT");
    unsigned self = (unsigned)strtoul(argv[1], NULL, 10),
             port = (unsigned)strtoul(argv[4], NULL, 10);
    load = (struct peer_load){.seconds = strtod(argv[3], NULL), .submit = submit};
    must(self >= 1 && self <= REPLICAS && load.seconds > 0, "an argument");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    char *dir = mb_asprintf("%s/raft%u", argv[2], self);
    char *addresses[REPLICAS];
    must(mkdir(dir, 0700) == 0, dir);
    raft_configuration_init(&configuration);
    for (unsigned i = 0; i < REPLICAS; i++) {
        addresses[i] = mb_asprintf("127.0.0.1:%u", port + i + 1);
        must(raft_configuration_add(&configuration, i + 1, addresses[i], RAFT_VOTER) == 0, "raft");
    }
    must(uv_loop_init(&loop) == 0 && raft_uv_tcp_init(&transport, &loop) == 0 &&
             raft_uv_init(&io, &loop, dir, &transport) == 0 &&
             raft_init(&raft, &io, &fsm, self, addresses[self - 1]) == 0,
         "raft");
    raft_set_snapshot_threshold(&raft, 1u << 30);
    must(raft_bootstrap(&raft, &configuration) == 0 && raft_start(&raft) == 0, raft_errmsg(&raft));
    must(uv_timer_init(&loop, &timer) == 0 && uv_timer_start(&timer, tick, TICK_MS, TICK_MS) == 0,
         "a timer");
    uv_run(&loop, UV_RUN_DEFAULT); /* until it is killed */
    return 0;
}
