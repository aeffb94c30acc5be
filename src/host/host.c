/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/host.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "ledger/message.h"
#include "peer/peer.h"

struct mb_host {
    const struct mb_services *services;
    const struct mb_module *module;
    char *dir;
};

struct mb_host *mb_host_new(const struct mb_services *services, const struct mb_module *module,
                            struct mb_error *error)
{
    struct mb_host *h = mb_calloc(1, sizeof *h);
    h->services = services;
    h->module = module;
    h->dir = mb_asprintf("%s/%s", services->data_dir, module->logic->name);
    if (mb_make_dir(h->dir, 0700, error) != 0) {
        mb_host_free(h);
        return NULL;
    }
    return h;
}

void mb_host_free(struct mb_host *h)
{
    if (h != NULL)
        free(h->dir);
    free(h);
}

struct mb_loop *mb_host_loop(struct mb_host *h)
{
    return h->services->loop;
}

const char *mb_host_dir(struct mb_host *h)
{
    return h->dir;
}

int64_t mb_host_option_int(struct mb_host *h, const char *name)
{
    return mb_config_int(h->services->config, h->module->logic->name, name);
}

const char *mb_host_option_text(struct mb_host *h, const char *name)
{
    return mb_config_text(h->services->config, h->module->logic->name, name);
}

const char *mb_host_org(struct mb_host *h)
{
    return mb_ledger_org(h->services->ledger);
}

const char *mb_host_name(struct mb_host *h)
{
    return mb_ledger_genesis(h->services->ledger)->name;
}

uint64_t mb_host_slot(struct mb_host *h)
{
    return mb_ledger_tip(h->services->ledger)->header.slot;
}

int64_t mb_host_time(struct mb_host *h)
{
    return mb_ledger_tip(h->services->ledger)->time;
}

struct mb_tx *mb_host_state(struct mb_host *h)
{
    return mb_ledger_reader(h->services->ledger);
}

const struct mb_replica *mb_host_replicas(struct mb_host *h, size_t *count)
{
    return mb_ledger_replicas(h->services->ledger, count);
}

const struct mb_replica *mb_host_self(struct mb_host *h)
{
    size_t count;
    const struct mb_replica *replicas = mb_host_replicas(h, &count);
    for (size_t i = 0; i < count; i++)
        if (mb_public_key_equal(&replicas[i].key, &h->services->key->public_key))
            return &replicas[i];
    return NULL;
}

void mb_random(void *out, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = getrandom((uint8_t *)out + done, len - done, 0);
        if (n < 0)
            abort();
        done += (size_t)n;
    }
}

void mb_host_random(struct mb_host *h, void *out, size_t len)
{
    (void)h;
    mb_random(out, len);
}

void mb_host_sign(struct mb_host *h, const char *name_space, struct mb_bytes message,
                  struct mb_buf *signature)
{
    mb_sshsig_sign(h->services->key, name_space, message, signature);
}

void mb_host_submit(struct mb_host *h, const char *type, json_t *body_take,
                    void (*done)(void *arg, const struct mb_submitted *result), void *arg)
{
    const struct mb_services *s = h->services;
    uint8_t nonce[16];
    mb_random(nonce, sizeof nonce);
    struct mb_envelope envelope = {0};
    mb_command_make(&envelope, s->key, mb_ledger_org(s->ledger), type, nonce,
                    mb_command_expiry(mb_host_time(h)), body_take, 0);
    json_decref(body_take);
    s->submit(s->self, &envelope, done, arg);
}

void mb_host_ask(struct mb_host *h, int64_t number, struct mb_bytes request, int body_fd,
                 uint64_t body_len, uint64_t answer_limit, int64_t timeout_ms, mb_asked *done,
                 void *arg)
{
    const struct mb_services *s = h->services;
    s->ask(s->self, h->module->logic->name, number, request, body_fd, body_len, answer_limit,
           timeout_ms, done, arg);
}

void mb_host_answer(struct mb_peer_reply *reply, struct mb_bytes answer, int body_fd,
                    uint64_t body_len)
{
    mb_peer_reply_send(reply, answer, body_fd, 0, body_len);
}

void mb_host_decline(struct mb_peer_reply *reply, enum mb_err err, const struct mb_error *error)
{
    mb_peer_reply_refuse(reply, err, error);
}

void mb_host_message(struct mb_host *h, const char *code, const json_t *args, struct mb_buf *out)
{
    const struct mb_modules *m = h->services->modules;
    mb_message(out, code, args, m->logics, m->count);
}

void mb_report_init(struct mb_report *r)
{
    *r = (struct mb_report){.subsystem = "", .alarms = json_array()};
}

void mb_report_clear(struct mb_report *r)
{
    json_decref(r->alarms);
    mb_buf_clear(&r->metrics);
}

void mb_report_alarm(struct mb_report *r, const char *code, const char *format, ...)
{
    va_list args;
    char text[512];
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    json_array_append_new(r->alarms, json_pack("{s:s, s:s, s:s}", "code", code, "subsystem",
                                               r->subsystem, "text", text));
}

static void metric(struct mb_report *r, const char *name, const char *type, const char *help)
{
    int base = (int)strlen(name);
    if (strcmp(type, "counter") == 0 && base > 6 && strcmp(name + base - 6, "_total") == 0)
        base -= 6; /* OpenMetrics names the family without the suffix */
    mb_buf_addf(&r->metrics, "# TYPE magicbiz_%s_%.*s %s\n# HELP magicbiz_%s_%.*s %s\n",
                r->subsystem, base, name, type, r->subsystem, base, name, help);
}

void mb_report_gauge(struct mb_report *r, const char *name, const char *help, int64_t value)
{
    metric(r, name, "gauge", help);
    mb_buf_addf(&r->metrics, "magicbiz_%s_%s %" PRId64 "\n", r->subsystem, name, value);
}

void mb_report_counter(struct mb_report *r, const char *name, const char *help, uint64_t value)
{
    metric(r, name, "counter", help);
    mb_buf_addf(&r->metrics, "magicbiz_%s_%s %" PRIu64 "\n", r->subsystem, name, value);
}
