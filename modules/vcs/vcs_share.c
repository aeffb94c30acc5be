/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Packs among replicas: a push is acknowledged when a majority has checked its objects and keeps
 * them. The replica that took it sends the completed pack, with the head of the push as git sent
 * it, to each other one, where the same checks are made again; each that found all right signs a
 * receipt.
 *
 *   request = {"pack":hex or absent,"repo":name,"head":bytes of the head,"slot":N}, JSON; slot is
 *             what the sender has applied: the checks are made when that is applied here
 *   body    = head || pack
 *   answer  = {"key","signature","until"}: the receipt
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vcs_world.h"

#define COPY_BYTES   (1u << 20)
#define ASK_MS       60000
#define BYTES_PER_MS 20 /* at least, through tor */

/* --- Sending --- */

struct share {
    struct vcs *v;
    const struct vcs_receive *push; /* until done */
    size_t majority, answers, asked;
    json_t *receipts; /* borrowed until done */
    void (*done)(void *arg, const struct mb_error *error);
    void *arg;
    struct mb_error last; /* why one did not */
    char *repo, *pack_path, *body_path;
    struct mb_buf head;
    char pack[MB_HASH_HEX_SIZE];
    int fd;
    uint64_t len;
    int rc;
};

static void share_free(struct share *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->v->sharing--;
    mb_buf_clear(&s->head);
    free(s->repo);
    free(s->pack_path);
    free(s->body_path);
    free(s);
}

static void settle(struct share *s)
{
    bool enough = json_array_size(s->receipts) >= s->majority;
    if (s->done != NULL && (enough || s->answers == s->asked)) {
        void (*done)(void *arg, const struct mb_error *error) = s->done;
        struct mb_error error = {0};
        s->done = NULL;
        if (!enough) {
            mb_refuse(&error, "vcs.replicas", "dds", (int64_t)json_array_size(s->receipts),
                      (int64_t)s->majority, s->last.code);
            mb_log(MB_LOG_WARN, "vcs", "no_majority", "receipts=%zu code=%s",
                   json_array_size(s->receipts), s->last.code);
        }
        s->receipts = NULL;
        done(s->arg, enough ? NULL : &error);
    }
    if (s->answers == s->asked)
        share_free(s);
}

struct asked { /* one replica */
    struct share *share;
    int64_t number;
};

static const struct mb_replica *replica_of(const struct vcs *v, int64_t number)
{
    size_t count;
    const struct mb_replica *replicas = mb_host_replicas(v->host, &count);
    for (size_t i = 0; i < count; i++)
        if (replicas[i].number == number)
            return &replicas[i];
    return NULL; /* removed meanwhile */
}

/* Its receipt counts only if the ledger will count it: or one that lies would cost a push that the
 * others have kept. */
static void take_receipt(struct share *s, int64_t number, struct mb_bytes answer)
{
    const struct mb_replica *by = replica_of(s->v, number);
    json_t *receipt = NULL;
    if (s->done == NULL || by == NULL)
        return;
    if (mb_json_parse(&receipt, (const char *)answer.data, answer.len, NULL) == 0 &&
        vcs_receive_holds(s->push, receipt, by)) {
        json_array_append(s->receipts, receipt);
    } else {
        mb_fail(&s->last, MB_EINVAL, "vcs.receipt", "a receipt does not hold");
        s->v->false_receipts++;
        s->v->false_receipt_by = number;
        mb_log(MB_LOG_ERROR, "vcs", "false_receipt", "replica=%lld", (long long)number);
    }
    json_decref(receipt);
}

static void answered(void *arg, struct mb_bytes answer, int body_fd, uint64_t body_len,
                     enum mb_err err, const struct mb_error *error)
{
    struct asked *a = arg;
    struct share *s = a->share;
    (void)body_len;
    (void)err;
    if (body_fd >= 0)
        close(body_fd);
    s->answers++;
    if (error != NULL)
        s->last = *error;
    else
        take_receipt(s, a->number, answer);
    free(a);
    settle(s);
}

static int copy_file(int from, int to, uint64_t *len)
{
    uint8_t *block = mb_alloc(COPY_BYTES);
    ssize_t n;
    int rc = 0;
    while (rc == 0 && (n = read(from, block, COPY_BYTES)) != 0) {
        rc = n < 0 || write(to, block, (size_t)n) != n ? -1 : 0;
        *len += n > 0 ? (uint64_t)n : 0;
    }
    free(block);
    return rc;
}

/* The completed pack of a folder in incoming: its path, or NULL. */
static char *pack_in(const char *folder)
{
    DIR *dir = opendir(folder);
    char *path = NULL;
    for (struct dirent *e; dir != NULL && path == NULL && (e = readdir(dir)) != NULL;) {
        size_t len = strlen(e->d_name);
        if (len > 5 && strcmp(e->d_name + len - 5, ".pack") == 0)
            path = mb_asprintf("%s/%s", folder, e->d_name);
    }
    if (dir != NULL)
        closedir(dir);
    return path;
}

/* Head and pack in one file without a name. */
static void assemble(void *arg)
{
    struct share *s = arg;
    s->fd = open(s->body_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    s->rc = s->fd < 0 || unlink(s->body_path) != 0 ||
                    write(s->fd, s->head.data, s->head.len) != (ssize_t)s->head.len
                ? -1
                : 0;
    s->len = s->head.len;
    if (s->rc != 0 || s->pack[0] == 0)
        return;
    char *path = pack_in(s->pack_path);
    int from = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    s->rc = from < 0 ? -1 : copy_file(from, s->fd, &s->len);
    if (from >= 0)
        close(from);
    free(path);
}

static void assembled(void *arg)
{
    struct share *s = arg;
    size_t count;
    const struct mb_replica *replicas = mb_host_replicas(s->v->host, &count);
    const struct mb_replica *self = mb_host_self(s->v->host);
    json_t *json = json_pack("{s:s, s:I, s:I}", "repo", s->repo, "head", (json_int_t)s->head.len,
                             "slot", (json_int_t)mb_host_slot(s->v->host));
    struct mb_buf request = {0};
    int64_t numbers[16];
    if (s->pack[0] != 0)
        json_object_set_new(json, "pack", json_string(s->pack));
    mb_json_canonical(&request, json, NULL);
    json_decref(json);
    if (s->rc != 0)
        mb_fail(&s->last, MB_EIO, "vcs.quota", "there is no room to send the pack on");
    for (size_t i = 0; s->rc == 0 && i < count && s->asked < 16; i++)
        if (self == NULL || replicas[i].number != self->number)
            numbers[s->asked++] = replicas[i].number;
    size_t asked = s->asked;
    s->asked++; /* this function itself: s stays until it has asked all */
    for (size_t i = 0; i < asked; i++) {
        struct asked *a = mb_calloc(1, sizeof *a);
        *a = (struct asked){.share = s, .number = numbers[i]};
        mb_host_ask(s->v->host, numbers[i], mb_buf_bytes(&request), s->fd, s->len, 0,
                    ASK_MS + (int64_t)(s->len / BYTES_PER_MS), answered, a);
    }
    mb_buf_clear(&request);
    s->answers++;
    settle(s);
}

void vcs_share(struct vcs *v, const struct vcs_receive *p, const char *repo, struct mb_bytes head,
               const char *pack, json_t *receipts,
               void (*done)(void *arg, const struct mb_error *error), void *arg)
{
    size_t count;
    uint8_t random[8];
    struct mb_buf hex = {0};
    mb_host_replicas(v->host, &count);
    if (count < 2) {
        done(arg, NULL);
        return;
    }
    struct share *s = mb_calloc(1, sizeof *s);
    *s = (struct share){.v = v,
                        .push = p,
                        .majority = count / 2 + 1,
                        .receipts = receipts,
                        .done = done,
                        .arg = arg,
                        .fd = -1,
                        .repo = mb_strdup(repo)};
    mb_snprintf(s->pack, sizeof s->pack, "%s", pack);
    mb_buf_add_bytes(&s->head, head);
    mb_host_random(v->host, random, sizeof random);
    mb_hex_encode(&hex, random, sizeof random);
    s->body_path = mb_asprintf("%s/tmp-%s.body", v->incoming, mb_buf_text(&hex));
    s->pack_path = vcs_incoming_path(v, pack);
    mb_buf_clear(&hex);
    v->sharing++;
    mb_work(v->loop, assemble, assembled, s);
}

/* --- Receiving --- */

struct taking {
    struct vcs *v;
    struct vcs_receive *push;
    struct mb_peer_reply *reply;
    char pack[MB_HASH_HEX_SIZE];
    int fd;
    uint64_t at, len, head, slot;
    struct mb_timer *wait;
    unsigned waited;
    int rc;
    struct mb_error error;
};

static void end_taking(struct taking *t, int rc, const struct mb_error *error)
{
    if (rc == 0) {
        struct mb_buf answer = {0};
        json_t *receipt = vcs_receive_receipt(t->push);
        mb_json_canonical(&answer, receipt, NULL);
        mb_host_answer(t->reply, mb_buf_bytes(&answer), -1, 0);
        json_decref(receipt);
        mb_buf_clear(&answer);
    } else {
        mb_host_decline(t->reply, MB_EREFUSED, error);
    }
    t->v->sharing--;
    mb_timer_free(t->wait);
    vcs_receive_free(t->push);
    free(t);
}

static void taken(void *arg, int rc, const struct mb_error *error)
{
    struct taking *t = arg;
    struct mb_error other = {0};
    if (rc == 0 && strcmp(vcs_receive_pack_hash(t->push), t->pack) != 0) {
        rc = mb_refuse(&other, "vcs.pack", "s", "its hash is another one here");
        error = &other;
    }
    end_taking(t, rc, error);
}

static void take_body(void *arg)
{
    struct taking *t = arg;
    uint8_t *block = mb_alloc(COPY_BYTES);
    while (t->rc == 0 && t->at < t->len) {
        size_t most = t->len - t->at < COPY_BYTES ? (size_t)(t->len - t->at) : COPY_BYTES;
        ssize_t n = pread(t->fd, block, most, (off_t)t->at);
        if (n <= 0)
            t->rc = mb_fail(&t->error, MB_EIO, "vcs.quota", "the body cannot be read");
        else
            t->rc = vcs_receive_pack_bytes(t->push, mb_bytes(block, (size_t)n), &t->error);
        t->at += n > 0 ? (uint64_t)n : 0;
    }
    free(block);
}

static void body_taken(void *arg)
{
    struct taking *t = arg;
    if (t->rc != 0)
        end_taking(t, t->rc, &t->error);
    else
        vcs_receive_check(t->push, taken, t);
}

static int take_head(struct taking *t, uint64_t len)
{
    struct mb_buf head = {0};
    if (len == 0 || len > VCS_HEAD_MAX || len > t->len)
        return mb_refuse(&t->error, "vcs.head", "");
    mb_buf_reserve(&head, (size_t)len);
    ssize_t n = pread(t->fd, head.data, (size_t)len, 0);
    int rc = n != (ssize_t)len
                 ? mb_refuse(&t->error, "vcs.head", "")
                 : vcs_receive_head(t->push, mb_bytes(head.data, (size_t)len), &t->error);
    t->at = len;
    mb_buf_clear(&head);
    return rc;
}

#define WAIT_MS    50
#define WAIT_TURNS 200

static void begin_taking(void *arg)
{
    struct taking *t = arg;
    if (mb_host_slot(t->v->host) < t->slot && t->waited++ < WAIT_TURNS && !t->v->draining) {
        mb_timer_set(t->wait, WAIT_MS);
        return;
    }
    t->rc = take_head(t, t->head);
#ifdef MB_FAULTS
    if (t->rc == 0 && MB_LIE("lie.keep")) {
        vcs_receive_pretend(t->push, t->pack);
        end_taking(t, 0, NULL);
        return;
    }
#endif
    if (t->rc != 0)
        end_taking(t, t->rc, &t->error);
    else
        mb_work(t->v->loop, take_body, body_taken, t);
}

static void take_push(struct vcs *v, const json_t *json, int body_fd, uint64_t body_len,
                      struct mb_peer_reply *reply)
{
    struct taking *t = mb_calloc(1, sizeof *t);
    *t = (struct taking){.v = v,
                         .reply = reply,
                         .fd = body_fd,
                         .len = body_len,
                         .head = (uint64_t)mb_json_get_int(json, "head", 0),
                         .slot = (uint64_t)mb_json_get_int(json, "slot", 0)};
    mb_snprintf(t->pack, sizeof t->pack, "%s", mb_json_get_text(json, "pack", ""));
    t->push = vcs_receive_new(v, mb_json_get_text(json, "repo", ""));
    t->wait = mb_timer_new(v->loop, begin_taking, t);
    v->sharing++;
    begin_taking(t);
}

void vcs_on_ask(void *self, const struct mb_replica *from, struct mb_bytes request, int body_fd,
                uint64_t body_len, struct mb_peer_reply *reply)
{
    struct vcs *v = self;
    struct mb_error error = {0};
    json_t *json = NULL;
    (void)from;
    int rc = mb_json_parse(&json, (const char *)request.data, request.len, &error);
    const char *objects = mb_json_get_text(json, "objects", NULL);
    const char *repo = mb_json_get_text(json, "repo", "");
    if (rc != 0 || v->draining || body_fd < 0 || (objects == NULL && vcs_is_behind(v, repo))) {
        mb_fail(&error, MB_EREACH, "vcs.busy", "not now");
        mb_host_decline(reply, MB_EREACH, &error);
    } else if (objects != NULL) {
        vcs_behind_serve(v, objects, body_fd, body_len, reply);
    } else {
        take_push(v, json, body_fd, body_len, reply);
    }
    json_decref(json);
}
