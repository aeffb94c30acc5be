/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The streams to the other replicas, and who gets what comes over them. */
#include <stdlib.h>
#include <string.h>

#include "daemon/consensus.h"

#define BODY_MAX (4ull << 30) /* bytes */

struct links {
    struct node *node;
    struct mb_peers *peers;
    uint64_t incarnation;
    uint32_t others[2 * MB_REPLICAS_MAX];
    char onions[2 * MB_REPLICAS_MAX][MB_ONION_SIZE];
    size_t count;
    uint64_t malformed;
};

struct links *links_new(struct node *n)
{
    struct links *l = mb_calloc(1, sizeof *l);
    l->node = n;
    return l;
}

void links_free(struct links *l)
{
    if (l == NULL)
        return;
    mb_peers_free(l->peers);
    free(l);
}

size_t links_count(const struct links *l)
{
    return l == NULL ? 0 : l->count;
}

static void on_frame(void *arg, uint32_t from, uint64_t epoch, struct mb_bytes bytes)
{
    struct links *l = arg;
    struct node *n = l->node;
    struct mb_relay relay;
    (void)epoch;
    if (mb_relay_decode(&relay, bytes, NULL) != 0) {
        l->malformed++;
        return;
    }
    switch (relay.kind) {
    case MB_RELAY_PAXOS:
        consensus_receive(n->consensus, from, relay.part[0]);
        break;
    case MB_RELAY_FORWARD:
        sequence_forwarded(n->sequence, from, &relay);
        break;
    case MB_RELAY_REFUSED:
        sequence_refused(n->sequence, from, &relay);
        break;
    case MB_RELAY_SIGNATURE:
        checkpoints_receive(n->checkpoints, from, &relay);
        break;
    }
}

/* --- What modules ask each other. --- */

void links_ask_module(void *self, const char *module, int64_t number, struct mb_bytes request,
                      int body_fd, uint64_t body_len, uint64_t answer_limit, int64_t timeout_ms,
                      mb_asked *done, void *arg)
{
    struct node *n = self;
    struct mb_peers *peers = n->links->peers;
    struct mb_peer_status s;
    struct mb_buf frame = {0};
    struct mb_error error = {0};
    mb_buf_add_string(&frame, mb_bytes_of(module));
    mb_buf_add_bytes(&frame, request);
    if (peers == NULL || !mb_peers_status(peers, (uint32_t)number, &s) ||
        (!s.up[MB_PEER_CONSENSUS] && !s.up[MB_PEER_BULK])) /* it may be long until there is one */
        done(arg, mb_bytes(NULL, 0), -1, 0, MB_EREACH,
             (mb_fail(&error, MB_EREACH, "peer.down", "there is no stream to that replica now"),
              &error));
    else if (mb_peers_ask(peers, (uint32_t)number, LINKS_MODULE, mb_buf_bytes(&frame), body_fd,
                          body_len, answer_limit, timeout_ms, done, arg, &error) == 0)
        done(arg, mb_bytes(NULL, 0), -1, 0, MB_EREACH, &error);
    mb_buf_clear(&frame);
}

static void ask_module(struct node *n, const struct mb_replica *from, struct mb_bytes request,
                       int body_fd, uint64_t body_len, struct mb_peer_reply *reply)
{
    struct mb_cursor c = mb_cursor(request);
    struct mb_bytes name = mb_cursor_string(&c);
    struct mb_error error = {0};
    for (size_t i = 0; i < n->modules.count && !c.failed; i++) {
        const struct mb_module *m = n->modules.modules[i];
        if (!mb_bytes_equal(name, mb_bytes_of(m->logic->name)) || m->on_ask == NULL ||
            !n->running[i].started)
            continue;
        m->on_ask(n->running[i].self, from, mb_cursor_take(&c, mb_cursor_left(&c)), body_fd,
                  body_len, reply);
        return;
    }
    mb_fail(&error, MB_ENOENT, "peer.module", "this replica does not run that module now");
    mb_peer_reply_refuse(reply, MB_ENOENT, &error);
}

static void on_ask(void *arg, uint32_t from, uint32_t kind, struct mb_bytes request, int body_fd,
                   uint64_t body_len, struct mb_peer_reply *reply)
{
    struct node *n = ((struct links *)arg)->node;
    struct mb_membership members[2];
    size_t count = node_configs(n, members, NULL);
    const struct mb_replica *asker = NULL;
    struct mb_error error = {0};
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < members[i].count; k++)
            if (members[i].replicas[k].number == (int64_t)from)
                asker = &members[i].replicas[k];
    switch (asker != NULL && !n->stopping ? kind : 0) {
    case LINKS_MODULE:
        ask_module(n, asker, request, body_fd, body_len, reply);
        break;
    case LINKS_ONION_KEY:
        lease_give_key(n->lease, from, request, reply);
        break;
    case LINKS_ONION_AGREE:
        lease_agree(n->lease, from, request, reply);
        break;
    default:
        mb_fail(&error, MB_EREFUSED, "peer.kind", "this replica does not answer that");
        mb_peer_reply_refuse(reply, MB_EREFUSED, &error);
    }
}

/* Without tor, replicas meet in a folder, by the names of their peer onions. */
static int resolve(void *arg, uint32_t number, enum mb_peer_channel channel, char *path,
                   size_t size)
{
    const struct links *l = arg;
    (void)channel;
    for (size_t i = 0; i < l->count; i++)
        if (l->others[i] == number) {
            mb_snprintf(path, size, "%s/%s", mb_config_text(l->node->config, "consensus", "folder"),
                        l->onions[i]);
            return 0;
        }
    return MB_ENOENT;
}

static char *own_socket(const struct node *n, const struct mb_membership *members, size_t count)
{
    const char *folder = mb_config_text(n->config, "consensus", "folder");
    for (size_t i = 0; i < count && *folder != 0; i++) {
        const struct mb_replica *own = mb_membership_find(&members[i], &n->key.public_key);
        if (own != NULL)
            return mb_asprintf("%s/%s", folder, own->peer_onion);
    }
    return node_path(n, LINKS_SOCKET);
}

int links_start(struct links *l, uint64_t incarnation, struct mb_error *error)
{
    struct node *n = l->node;
    struct mb_membership members[2];
    size_t count = node_configs(n, members, NULL);
    char *listen = own_socket(n, members, count), *temp = node_path(n, "run");
    bool folder = *mb_config_text(n->config, "consensus", "folder") != 0;
    struct mb_peers_options options = {
        .loop = n->loop,
        .org = mb_ledger_genesis(n->ledger)->org,
        .self = n->number,
        .incarnation = incarnation,
        .key = &n->key,
        .listen = listen,
        .temp_dir = temp,
        .tor = onions_tor(n),
        .port = LINKS_PORT,
        .resolve = folder ? resolve : NULL,
        /* A replica that comes back is in touch with all others before it is needed. */
        .backoff_ms = mb_config_int(n->config, "consensus", "election_ms") / 2,
        .body_bytes = BODY_MAX,
        .on_frame = on_frame,
        .on_ask = on_ask,
        .arg = l,
    };
    int rc = mb_peers_new(&l->peers, &options, error);
    if (rc == 0)
        links_update(l, members, count);
    free(listen);
    free(temp);
    return rc;
}

static void add_member(struct links *l, const struct mb_replica *r, struct mb_peer_member *all,
                       size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        if (all[i].number == (uint32_t)r->number)
            return;
    struct mb_peer_member *m = &all[(*count)++];
    *m = (struct mb_peer_member){.number = (uint32_t)r->number, .key = r->key};
    mb_snprintf(m->onion, sizeof m->onion, "%s", r->peer_onion);
    if (m->number == l->node->number)
        return;
    mb_snprintf(l->onions[l->count], MB_ONION_SIZE, "%s", r->peer_onion);
    l->others[l->count++] = m->number;
}

void links_update(struct links *l, const struct mb_membership *members, size_t count)
{
    struct mb_peer_member all[2 * MB_REPLICAS_MAX];
    struct mb_error error = {0};
    size_t total = 0;
    l->count = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < members[i].count; k++)
            add_member(l, &members[i].replicas[k], all, &total);
    if (l->peers != NULL &&
        (mb_peers_set_members(l->peers, all, total, members[0].version, &error) != 0 ||
         onions_members(l->node, members, count, &error) != 0))
        node_fail(l->node, &error);
}

void links_send(struct links *l, uint32_t to, const struct mb_relay *relay)
{
    struct mb_buf frame = {0};
    if (l == NULL || l->peers == NULL || l->count == 0)
        return;
    mb_relay_encode(&frame, relay);
    for (size_t i = 0; i < l->count; i++)
        if (to == 0 || to == l->others[i])
            (void)mb_peers_send(l->peers, l->others[i], mb_buf_bytes(&frame));
    mb_buf_clear(&frame);
}

bool links_ask(struct links *l, uint32_t to, enum links_kind kind, struct mb_bytes request,
               int64_t timeout_ms, mb_peer_done *done, void *arg)
{
    return l->peers != NULL &&
           mb_peers_ask(l->peers, to, kind, request, -1, 0, 0, timeout_ms, done, arg, NULL) != 0;
}

void links_report(struct links *l, struct mb_report *r)
{
    uint64_t in = 0, out = 0, reconnects = 0, dropped = 0;
    r->subsystem = "peer";
    for (size_t i = 0; l->peers != NULL && i < l->count; i++) {
        struct mb_peer_status s;
        if (!mb_peers_status(l->peers, l->others[i], &s))
            continue;
        in += s.bytes_in;
        out += s.bytes_out;
        reconnects += s.reconnects;
        dropped += s.dropped;
        if (!s.up[MB_PEER_CONSENSUS] && !s.up[MB_PEER_BULK])
            mb_report_alarm(r, "peer.down", "no stream to replica %u: is its machine on, and tor?",
                            l->others[i]);
    }
    mb_report_gauge(r, "replicas", "Other replicas.", (int64_t)l->count);
    mb_report_counter(r, "received_bytes_total", "Bytes from other replicas.", in);
    mb_report_counter(r, "sent_bytes_total", "Bytes to other replicas.", out);
    mb_report_counter(r, "reconnects_total", "Streams that came up again.", reconnects);
    mb_report_counter(r, "dropped_total", "Frames that no room was kept for.", dropped);
    mb_report_counter(r, "refused_total", "Handshakes that were not right.",
                      l->peers == NULL ? 0 : mb_peers_refused(l->peers));
    mb_report_counter(r, "malformed_total", "Frames that made no sense.", l->malformed);
}
