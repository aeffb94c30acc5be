/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The daemon's side of the module interface: one struct mb_host for each module, and reports that
 * become GET /v1/health and GET /metrics.
 */
#ifndef MB_HOST_HOST_H
#define MB_HOST_HOST_H

#include "host/config.h"
#include "host/modules.h"
#include "ledger/ledger.h"

/* What all hosts of one daemon share; borrowed, and must outlive them. */
struct mb_services {
    struct mb_loop *loop;
    struct mb_ledger *ledger;
    const struct mb_config *config;
    const struct mb_modules *modules;
    const struct mb_secret_key *key;
    const char *data_dir;
    /* Submit an envelope (taken); done as in mb_host_submit(). */
    void (*submit)(void *self, struct mb_envelope *envelope_take,
                   void (*done)(void *arg, const struct mb_submitted *result), void *arg);
    /* Ask module of another replica, as in mb_host_ask(). */
    void (*ask)(void *self, const char *module, int64_t number, struct mb_bytes request,
                int body_fd, uint64_t body_len, uint64_t answer_limit, int64_t timeout_ms,
                mb_asked *done, void *arg);
    void *self;
};

struct mb_host *mb_host_new(const struct mb_services *services, const struct mb_module *module,
                            struct mb_error *error);
void mb_host_free(struct mb_host *h);

/* Fill out with randomness from the kernel; aborts where there is none. */
void mb_random(void *out, size_t len);

/* A report under way: alarms, and figures named magicbiz_<subsystem>_<name>. */
struct mb_report {
    const char *subsystem;
    json_t *alarms;
    struct mb_buf metrics;
};
void mb_report_init(struct mb_report *r);
void mb_report_clear(struct mb_report *r);

#endif
