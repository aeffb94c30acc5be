/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Onions are added without Detach: they go with our control connection, so that none outlives the
 * daemon whose socket it points to. What is compared is therefore what tor holds for us now.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "loop/log.h"
#include "tor/internal.h"

#define NAME_MAX_LEN   63
#define TARGET_MAX     107
#define UPLOAD_WAIT_MS 30000 /* probe at last, even if no upload was announced */
#define RETRY_MS       2000  /* after a failed probe, doubled up to RETRY_MAX_MS */
#define RETRY_MAX_MS   60000
#define AGAIN_MS       600000 /* after a good one, and up to as much again */
#define FAILURES_DOWN  2      /* so many in a row: not reachable */
#define ONIONS_MAX     (sizeof((struct mb_tor *)NULL)->onions / sizeof(struct onion))

static struct onion *find(struct mb_tor *t, unsigned tag)
{
    for (size_t i = 0; i < t->onion_count; i++)
        if (t->onions[i].tag == tag)
            return &t->onions[i];
    return NULL;
}

/* tor speaks of services without ".onion" */
static int service_id_len(void)
{
    return MB_ONION_LEN - 6;
}

static void unreachable(struct onion *o)
{
    tor_probe_cancel(o->probe);
    o->probe = NULL;
    o->reachable = o->uploaded = false;
    o->failures = 0;
}

void tor_onions_lost(struct mb_tor *t)
{
    for (size_t i = 0; i < t->onion_count; i++) {
        unreachable(&t->onions[i]);
        t->onions[i].published = t->onions[i].adding = false;
    }
    t->checking = false;
}

static void on_added(void *arg, unsigned tag, const struct mb_control_reply *r);

static void add(struct mb_tor *t, struct onion *o, bool defended)
{
    struct mb_buf key = {0};
    mb_base64_encode(&key, o->key, sizeof o->key);
    o->adding = true;
    o->defended = defended;
    tor_link_send(t->link, on_added, t, o->tag, "ADD_ONION ED25519-V3:%s%s%s Port=%u,unix:%s%s",
                  mb_buf_text(&key), o->clients[0] != '\0' ? " Flags=V3Auth" : "",
                  defended ? " PoWDefensesEnabled=1" : "", o->port, o->target, o->clients);
    if (key.len > 0)
        explicit_bzero(key.data, key.len);
    mb_buf_clear(&key);
}

static void on_added(void *arg, unsigned tag, const struct mb_control_reply *r)
{
    struct mb_tor *t = arg;
    struct onion *o = find(t, tag);
    if (o == NULL) /* withdrawn meanwhile; DEL_ONION is on its way */
        return;
    o->adding = false;
    if (r->status == 512 && o->defended) { /* before 0.4.9 */
        add(t, o, false);
        return;
    }
    if (r->status == 250) {
        o->published = true;
        o->probe_at_ms = mb_now_ms() + UPLOAD_WAIT_MS;
        mb_log(MB_LOG_INFO, "tor", "published", "onion=%s proof_of_work=%d", o->name, o->defended);
        tor_changed(t);
        return;
    }
    struct mb_error e;
    mb_fail(&e, MB_EREFUSED, "tor.onion", "tor refused the onion service %s: %d %s", o->name,
            r->status,
            r->status == 550 ? "does another service of this tor have its address?" : r->lines[0]);
    tor_note_error(t, &e);
}

static void on_deleted(void *arg, unsigned tag, const struct mb_control_reply *r)
{
    (void)arg, (void)tag, (void)r; /* 552: it was not there */
}

static void take_down(struct mb_tor *t, const struct onion *o)
{
    tor_link_send(t->link, on_deleted, t, 0, "DEL_ONION %.*s", service_id_len(), o->address);
}

/* Is it in "onions/current=…" (one) or behind its line breaks (many)? */
static bool lists(const struct mb_control_reply *r, const char *key, const struct onion *o)
{
    size_t key_len = strlen(key), id_len = (size_t)service_id_len();
    for (size_t i = 0; i < r->count; i++) {
        if (strncmp(r->lines[i], key, key_len) != 0)
            continue;
        for (const char *p = r->lines[i] + key_len; *p != '\0'; p += strspn(p, "\n")) {
            size_t n = strcspn(p, "\n");
            if (n == id_len && memcmp(p, o->address, n) == 0)
                return true;
            p += n;
        }
    }
    return false;
}

static void on_list(void *arg, unsigned tag, const struct mb_control_reply *r)
{
    (void)tag;
    struct mb_tor *t = arg;
    t->checking = false;
    for (size_t i = 0; i < t->onion_count; i++) {
        struct onion *o = &t->onions[i];
        bool there = r->status != 250 || lists(r, "onions/current=", o);
        if (o->adding || (o->published && there))
            continue;
        if (o->published) {
            mb_log(MB_LOG_WARN, "tor", "lost", "onion=%s", o->name);
            o->published = false;
            unreachable(o);
            tor_changed(t);
        }
        if (lists(r, "onions/detached=", o)) /* left by somebody, with who knows which target */
            take_down(t, o);
        add(t, o, o->proof_of_work);
    }
}

void tor_onions_check(struct mb_tor *t)
{
    if (t->checking || t->held)
        return;
    t->checking = true;
    tor_link_send(t->link, on_list, t, 0, "GETINFO onions/current onions/detached");
}

void tor_onions_up(struct mb_tor *t)
{
    if (t->held)
        mb_timer_set(t->publish, randombytes_uniform(t->jitter_ms + 1));
}

void tor_onions_release(struct mb_tor *t)
{
    t->held = false;
    if (t->ready)
        tor_onions_check(t);
}

bool tor_onions_missing(const struct mb_tor *t)
{
    for (size_t i = 0; i < t->onion_count; i++)
        if (!t->onions[i].published)
            return true;
    return false;
}

static void set_reachable(struct mb_tor *t, struct onion *o, bool reachable)
{
    if (reachable == o->reachable)
        return;
    o->reachable = reachable;
    o->reachable_since_ms = reachable ? mb_now_ms() : 0;
    mb_log(MB_LOG_INFO, "tor", reachable ? "reachable" : "unreachable", "onion=%s", o->name);
    tor_changed(t);
}

void tor_onions_event(struct mb_tor *t, const char *line)
{
    static const char uploaded[] = "HS_DESC UPLOADED ";
    if (strncmp(line, uploaded, sizeof uploaded - 1) != 0)
        return;
    for (size_t i = 0; i < t->onion_count; i++) {
        struct onion *o = &t->onions[i];
        if (o->uploaded || !o->published ||
            strncmp(line + sizeof uploaded - 1, o->address, (size_t)service_id_len()) != 0)
            continue;
        o->uploaded = true;
        o->probe_at_ms = mb_now_ms();
        if (o->clients[0] != '\0')
            set_reachable(t, o, true);
    }
}

static int64_t next_probe_ms(const struct onion *o)
{
    if (o->failures == 0) {
        uint32_t random;
        if (getentropy(&random, sizeof random) != 0)
            abort();
        return mb_now_ms() + AGAIN_MS + random % AGAIN_MS; /* not like clockwork: it is seen */
    }
    int64_t wait = (int64_t)RETRY_MS << (o->failures < 6 ? o->failures - 1 : 5);
    return mb_now_ms() + (wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS);
}

static void on_probed(void *arg, unsigned tag, const struct mb_error *error)
{
    struct mb_tor *t = arg;
    struct onion *o = find(t, tag);
    o->probe = NULL;
    o->failures = error == NULL ? 0 : o->failures + 1;
    o->probe_at_ms = next_probe_ms(o);
    bool reachable = error == NULL || (o->reachable && o->failures < FAILURES_DOWN);
    if (error != NULL)
        tor_note_error(t, error);
    set_reachable(t, o, reachable);
}

/* Not before tor is up: a client that is asked too early fails, and remembers it. */
void tor_onions_probe(struct mb_tor *t)
{
    if (t->state != MB_TOR_UP)
        return;
    for (size_t i = 0; i < t->onion_count; i++) {
        struct onion *o = &t->onions[i];
        if (o->published && o->clients[0] == '\0' && o->probe == NULL &&
            mb_now_ms() >= o->probe_at_ms)
            o->probe = tor_probe_start(t->loop, mb_tor_socks(t), o->address, o->port, on_probed, t,
                                       o->tag);
    }
}

/* What ADD_ONION takes as it stands, and what tor can connect to. */
static bool target_ok(const char *target)
{
    size_t len = target != NULL ? strlen(target) : 0;
    if (len < 2 || len > TARGET_MAX || target[0] != '/')
        return false;
    for (size_t i = 0; i < len; i++)
        if (target[i] <= ' ' || target[i] > '~' || strchr("\"\\,", target[i]) != NULL)
            return false;
    return true;
}

int mb_tor_publish(struct mb_tor *t, const struct mb_onion_service *service, struct mb_error *error)
{
    struct onion o = {.port = service->port, .proof_of_work = service->proof_of_work};
    size_t name_len = service->name != NULL ? strlen(service->name) : 0;
    if (name_len == 0 || name_len > NAME_MAX_LEN)
        return mb_fail(error, MB_EINVAL, "tor.onion", "an onion service's name has 1 to %d bytes",
                       NAME_MAX_LEN);
    if (!target_ok(service->target))
        return mb_fail(error, MB_EINVAL, "tor.target",
                       "the target of an onion service is the absolute path of a Unix socket, of "
                       "at most %d printing characters without blanks, quotes, commas and "
                       "backslashes",
                       TARGET_MAX);
    if (service->port == 0 || mb_onion_address(o.address, service->key) != 0)
        return mb_fail(error, MB_EINVAL, "tor.onion",
                       "port or key of the onion service is invalid");
    if (service->client_count > MB_TOR_CLIENTS_MAX)
        return mb_fail(error, MB_ELIMIT, "tor.clients", "at most %d clients of an onion service",
                       MB_TOR_CLIENTS_MAX);
    struct mb_buf clients = {0};
    tor_clients_text(&clients, service);
    for (size_t i = 0; i < t->onion_count; i++) {
        struct onion *old = &t->onions[i];
        if (strcmp(old->name, service->name) == 0 && strcmp(old->address, o.address) == 0 &&
            old->port == o.port && strcmp(old->target, service->target) == 0 &&
            old->proof_of_work == o.proof_of_work &&
            strcmp(old->clients, mb_buf_text(&clients)) == 0) {
            mb_buf_clear(&clients);
            return 0;
        }
    }
    mb_tor_withdraw(t, service->name);
    if (t->onion_count == ONIONS_MAX) {
        mb_buf_clear(&clients);
        return mb_fail(error, MB_ELIMIT, "tor.onion", "at most %zu onion services", ONIONS_MAX);
    }
    o.tag = ++t->next_tag;
    o.name = mb_strdup(service->name);
    o.target = mb_strdup(service->target);
    o.clients = mb_buf_take_text(&clients);
    memcpy(o.key, service->key, sizeof o.key);
    t->onions[t->onion_count++] = o;
    if (t->ready)
        tor_onions_check(t);
    tor_changed(t);
    return 0;
}

void mb_tor_withdraw(struct mb_tor *t, const char *name)
{
    for (size_t i = 0; i < t->onion_count; i++) {
        struct onion *o = &t->onions[i];
        if (strcmp(o->name, name) != 0)
            continue;
        if (t->ready && (o->published || o->adding))
            take_down(t, o);
        unreachable(o);
        free(o->name);
        free(o->target);
        free(o->clients);
        explicit_bzero(o->key, sizeof o->key);
        memmove(o, o + 1, (t->onion_count - i - 1) * sizeof *o);
        t->onion_count--;
        tor_changed(t);
        return;
    }
}
