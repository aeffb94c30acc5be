/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The daemon's onion services. Two lead to the public socket: the organisation's own, which moves
 * with the lease (lease.c), and this replica's, which clients fall back to. The third is for the
 * other replicas, and nobody else can find it.
 */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "daemon/node.h"

struct onions {
    struct mb_tor *tor;
    char *target, *peer_target;
    char peers[2 * MB_REPLICAS_MAX][MB_ONION_SIZE]; /* that tor has our key for */
    size_t peer_count;
    enum mb_tor_state state;
    unsigned reachable;
};

static const char *state_name(enum mb_tor_state state)
{
    static const char *const names[] = {"down", "connecting", "bootstrap", "up", "refused"};
    return names[state];
}

static void changed(void *arg)
{
    struct node *n = arg;
    struct onions *o = n->onions;
    if (o == NULL || o->tor == NULL)
        return;
    struct mb_tor_status status = mb_tor_status(o->tor);
    unsigned reachable = 0;
    for (size_t i = 0; i < status.onion_count; i++)
        reachable += status.onions[i].reachable;
    if (status.state != o->state || reachable != o->reachable)
        mb_log(status.state == MB_TOR_REFUSED ? MB_LOG_ERROR : MB_LOG_INFO, "tor", "status",
               "state=%s percent=%d onions=%zu reachable=%u", state_name(status.state),
               status.bootstrap_percent, status.onion_count, reachable);
    o->state = status.state;
    o->reachable = reachable;
}

int onions_publish(struct node *n, const char *name, const uint8_t key[64], struct mb_error *error)
{
    struct mb_onion_service service = {
        .name = name,
        .port = 80,
        .target = n->onions->target,
        .proof_of_work = mb_config_int(n->config, "tor", "proof_of_work") != 0,
    };
    memcpy(service.key, key, sizeof service.key);
    int rc = mb_tor_publish(n->onions->tor, &service, error);
    sodium_memzero(service.key, sizeof service.key);
    return rc;
}

void onions_withdraw(struct node *n, const char *name)
{
    mb_tor_withdraw(n->onions->tor, name);
}

static int publish_own(struct node *n, struct mb_error *error)
{
    uint8_t key[64];
    int rc = node_onion_key(n->data, "replica.onion", key, error);
    if (rc == 0)
        rc = onions_publish(n, "replica", key, error);
    sodium_memzero(key, sizeof key);
    return rc;
}

/* --- The other replicas. --- */

static int read_tor_auth(const struct node *n, uint8_t key[32], struct mb_error *error)
{
    char *path = node_path(n, "keys/tor_auth");
    struct mb_buf bytes = {0};
    int rc = mb_read_file(path, 32, &bytes, error);
    if (rc == 0 && bytes.len != 32)
        rc = mb_fail(error, MB_ECORRUPT, "key.invalid", "%s is not an X25519 key: put it back",
                     path);
    if (rc == 0)
        memcpy(key, bytes.data, 32);
    if (bytes.data != NULL)
        sodium_memzero(bytes.data, bytes.cap);
    mb_buf_clear(&bytes);
    free(path);
    return rc;
}

/* Our tor can find these onions, and those of before no more. */
static int find_peers(struct node *n, const struct mb_replica *const *others, size_t count,
                      struct mb_error *error)
{
    struct onions *o = n->onions;
    uint8_t key[32];
    int rc = read_tor_auth(n, key, error);
    for (size_t i = 0; i < o->peer_count && rc == 0; i++) {
        size_t k = 0;
        while (k < count && strcmp(others[k]->peer_onion, o->peers[i]) != 0)
            k++;
        if (k == count)
            rc = mb_tor_client_auth(o->tor, o->peers[i], NULL, error);
    }
    o->peer_count = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = mb_tor_client_auth(o->tor, others[i]->peer_onion, key, error);
        memcpy(o->peers[o->peer_count++], others[i]->peer_onion, MB_ONION_SIZE);
    }
    sodium_memzero(key, sizeof key);
    return rc;
}

static int publish_peer(struct node *n, const struct mb_replica *const *others, size_t count,
                        struct mb_error *error)
{
    uint8_t clients[2 * MB_REPLICAS_MAX][32];
    struct mb_onion_service service = {.name = "peer",
                                       .port = LINKS_PORT,
                                       .target = n->onions->peer_target,
                                       .clients = clients,
                                       .client_count = count};
    if (count == 0) { /* without clients it would be open to everybody */
        mb_tor_withdraw(n->onions->tor, service.name);
        return 0;
    }
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = mb_base32_decode(clients[i], 32, others[i]->tor_auth, strlen(others[i]->tor_auth));
    if (rc == 0)
        rc = node_onion_key(n->data, "peer.onion", service.key, error);
    if (rc == 0)
        rc = mb_tor_publish(n->onions->tor, &service, error);
    sodium_memzero(service.key, sizeof service.key);
    return rc;
}

int onions_members(struct node *n, const struct mb_membership *members, size_t count,
                   struct mb_error *error)
{
    const struct mb_replica *others[2 * MB_REPLICAS_MAX];
    size_t total = 0;
    if (n->onions == NULL || *mb_config_text(n->config, "consensus", "folder") != 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < members[i].count; k++) {
            const struct mb_replica *r = &members[i].replicas[k];
            size_t same = 0;
            while (same < total && others[same]->number != r->number)
                same++;
            if (same == total && r->number != (int64_t)n->number)
                others[total++] = r;
        }
    int rc = find_peers(n, others, total, error);
    return rc == 0 ? publish_peer(n, others, total, error) : rc;
}

/* --- tor. --- */

static const char *option(const struct node *n, const char *name)
{
    const char *text = mb_config_text(n->config, "tor", name);
    return *text != 0 ? text : NULL;
}

int onions_start(struct node *n, struct mb_error *error)
{
    const char *mode = mb_config_text(n->config, "tor", "mode");
    char *dir = node_path(n, "tor");
    struct mb_tor_options options = {
        .mode = strcmp(mode, "child") == 0     ? MB_TOR_CHILD
                : strcmp(mode, "running") == 0 ? MB_TOR_RUNNING
                                               : MB_TOR_NONE,
        .binary = option(n, "binary"),
        .dir = dir,
        .include = option(n, "include"),
        .control = option(n, "control"),
        .socks = option(n, "socks"),
        .password_file = option(n, "password_file"),
        .cookie_file = option(n, "cookie_file"),
        .publish_jitter_ms = (unsigned)mb_config_int(n->config, "tor", "publish_jitter") * 1000,
        .changed = changed,
        .arg = n,
    };
    n->onions = mb_calloc(1, sizeof *n->onions);
    n->onions->target = node_path(n, "run/public.sock");
    n->onions->peer_target = node_path(n, LINKS_SOCKET);
    int rc = mb_make_dir(dir, 0700, error);
    if (rc == 0)
        rc = mb_tor_start(&n->onions->tor, n->loop, &options, error);
    if (rc == 0)
        rc = publish_own(n, error);
    if (rc == 0)
        rc = lease_start(n, error);
    free(dir);
    return rc;
}

void onions_stop(struct node *n)
{
    lease_stop(n);
    if (n->onions == NULL)
        return;
    mb_tor_stop(n->onions->tor);
    free(n->onions->target);
    free(n->onions->peer_target);
    free(n->onions);
    n->onions = NULL;
}

struct mb_tor *onions_tor(const struct node *n)
{
    return n->onions == NULL ? NULL : n->onions->tor;
}

struct mb_tor_status onions_status(const struct node *n)
{
    if (n->onions == NULL || n->onions->tor == NULL)
        return (struct mb_tor_status){.state = MB_TOR_DOWN};
    return mb_tor_status(n->onions->tor);
}

void onions_report(struct node *n, struct mb_report *r)
{
    struct mb_tor_status s = onions_status(n);
    unsigned reachable = 0;
    for (size_t i = 0; i < s.onion_count; i++)
        reachable += s.onions[i].reachable;
    r->subsystem = "tor";
    mb_report_gauge(r, "up", "1 if circuits can be built.", s.state == MB_TOR_UP);
    mb_report_gauge(r, "bootstrap_percent", "How far tor has come.", s.bootstrap_percent);
    mb_report_gauge(r, "onions", "Onion services that ought to be there.", (int64_t)s.onion_count);
    mb_report_gauge(r, "onions_reachable", "Those that the daemon reached itself.", reachable);
    mb_report_counter(r, "restarts_total", "How often the child was started again.", s.restarts);
    lease_report(n->lease, r);
    if (strcmp(mb_config_text(n->config, "tor", "mode"), "none") == 0)
        return;
    if (s.state == MB_TOR_REFUSED || (s.state == MB_TOR_DOWN && s.error.code[0] != 0))
        mb_report_alarm(r, s.error.code, "%s", s.error.text);
    if (s.warning[0] != 0)
        mb_report_alarm(r, "tor.warning", "%s", s.warning);
    if (s.state == MB_TOR_UP && reachable < s.onion_count)
        mb_report_alarm(r, "tor.unreachable",
                        "%zu of %zu onion services cannot be reached yet: wait a minute after a "
                        "start; if it stays, look at the log of tor",
                        s.onion_count - reachable, s.onion_count);
}
