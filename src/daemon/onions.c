/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The organisation's onion services. Both lead to the public socket: the organisation's own, which
 * moves with the lease once there are several replicas, and this replica's, which clients fall back
 * to.
 */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "daemon/node.h"

struct onions {
    struct mb_tor *tor;
    char *target;
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

static int publish(struct node *n, const char *key_file, const char *name, struct mb_error *error)
{
    struct mb_onion_service service = {
        .name = name,
        .port = 80,
        .target = n->onions->target,
        .proof_of_work = mb_config_int(n->config, "tor", "proof_of_work") != 0,
    };
    int rc = node_onion_key(n->data, key_file, service.key, error);
    if (rc == 0)
        rc = mb_tor_publish(n->onions->tor, &service, error);
    sodium_memzero(service.key, sizeof service.key);
    return rc;
}

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
    int rc = mb_make_dir(dir, 0700, error);
    if (rc == 0)
        rc = mb_tor_start(&n->onions->tor, n->loop, &options, error);
    if (rc == 0)
        rc = publish(n, "organisation.onion", "organisation", error);
    if (rc == 0)
        rc = publish(n, "replica.onion", "replica", error);
    free(dir);
    return rc;
}

void onions_stop(struct node *n)
{
    if (n->onions == NULL)
        return;
    mb_tor_stop(n->onions->tor);
    free(n->onions->target);
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
