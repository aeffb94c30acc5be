/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Objects that this replica missed: a majority kept a push without it, or it was away. The state
 * never waits for them; git is served again when they are here. They are asked for by the refs' own
 * ids, which name them whatever has become of the packs since, in one go however many pushes were
 * missed.
 *
 *   request = {"objects":repo}, JSON; body = lines "id" wanted and "^id" had
 *   answer's body = a pack
 */
#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vcs_world.h"

#define LINES_MAX  100000
#define RETRY_MS   2000
#define ASK_MS     30000 /* at first; twice as long each time nobody answered in time */
#define ASK_MS_MAX 1920000
#define LINE_LEAST 41 /* an id and a newline */

struct vcs_behind {
    struct vcs *v;
    struct vcs_behind *next;
    char *repo;
    struct mb_timer *retry;
    struct mb_child *child;
    size_t turn;   /* which replica to ask next */
    int64_t asked; /* who was asked last */
    int64_t ask_ms;
    bool asking;
};

bool vcs_is_behind(const struct vcs *v, const char *repo)
{
    for (const struct vcs_behind *b = v->behind; b != NULL; b = b->next)
        if (strcmp(b->repo, repo) == 0)
            return true;
    return false;
}

/* --- What is missing --- */

struct looking {
    git_odb *odb;
    struct mb_buf *lines; /* NULL: only count */
    size_t missing, count;
};

static int look_at(void *arg, const char *key, const json_t *value)
{
    struct looking *l = arg;
    git_oid id;
    (void)key;
    if (git_oid_fromstr(&id, json_string_value(value)) != 0)
        return 0;
    bool here = git_odb_exists(l->odb, &id) == 1;
    l->missing += !here;
    if (l->lines != NULL && l->count++ < LINES_MAX)
        mb_buf_addf(l->lines, "%s%s\n", here ? "^" : "", json_string_value(value));
    return 0;
}

/* How many of the state's refs have no object here; lines for a request, unless NULL. */
static size_t missing(struct vcs *v, const char *repo, struct mb_buf *lines)
{
    struct looking l = {.lines = lines};
    struct vcs_open *o = vcs_repos_open(v, repo);
    char prefix[MB_STATE_KEY_MAX + 1];
    if (o == NULL || git_repository_odb(&l.odb, o->git) != 0)
        return 0;
    git_odb_refresh(l.odb);
    mb_snprintf(prefix, sizeof prefix, "vcs/ref/%s/", repo);
    mb_tx_scan(mb_host_state(v->host), prefix, "", look_at, &l);
    git_odb_free(l.odb);
    return l.missing;
}

/* --- Asking --- */

static void ask(void *arg);

static void behind_free(struct vcs_behind *b)
{
    struct vcs_behind **at = &b->v->behind;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    mb_timer_free(b->retry);
    mb_child_free(b->child);
    free(b->repo);
    free(b);
}

static void look_again(struct vcs_behind *b, bool soon)
{
    if (missing(b->v, b->repo, NULL) == 0) {
        mb_log(MB_LOG_INFO, "vcs", "caught_up", "repo=%s", b->repo);
        vcs_repos_settle(b->v, b->repo);
        behind_free(b);
    } else {
        mb_timer_set(b->retry, soon ? 0 : RETRY_MS);
    }
}

static void indexed(void *arg, int status)
{
    struct vcs_behind *b = arg;
    mb_child_free(b->child);
    b->child = NULL;
    if (status != 0) {
        b->v->false_packs++;
        b->v->false_pack_by = b->asked;
        mb_log(MB_LOG_ERROR, "vcs", "false_pack", "repo=%s replica=%lld status=%d", b->repo,
               (long long)b->asked, status);
    }
    look_again(b, false);
}

static void answered(void *arg, struct mb_bytes answer, int body_fd, uint64_t body_len,
                     enum mb_err err, const struct mb_error *error)
{
    static const char *const args[] = {"index-pack", "--stdin",     "--fix-thin",
                                       "--strict",   "--threads=1", NULL};
    struct vcs_behind *b = arg;
    int pipes[3];
    (void)answer;
    (void)body_len;
    (void)err;
    b->asking = false;
    if (error != NULL || body_fd < 0) {
        if (error != NULL)
            mb_log(MB_LOG_INFO, "vcs", "not_sent", "repo=%s code=%s", b->repo, error->code);
        if (error != NULL && strcmp(error->code, "peer.timeout") == 0 && b->ask_ms < ASK_MS_MAX)
            b->ask_ms *= 2;
        look_again(b, false);
        return;
    }
    struct vcs_git git = {.args = args,
                          .repo = b->repo,
                          .std = {body_fd, MB_NULL, MB_NULL},
                          .exited = indexed,
                          .arg = b};
    lseek(body_fd, 0, SEEK_SET);
    if (vcs_git_spawn(b->v, &git, &b->child, pipes) != 0)
        look_again(b, false);
    close(body_fd);
}

static void ask(void *arg)
{
    struct vcs_behind *b = arg;
    struct vcs *v = b->v;
    size_t count;
    const struct mb_replica *replicas = mb_host_replicas(v->host, &count);
    const struct mb_replica *self = mb_host_self(v->host), *other = NULL;
    struct mb_buf lines = {0}, request = {0};
    if (b->asking || b->child != NULL || v->draining)
        return;
    for (size_t i = 0; i < count && other == NULL; i++) {
        const struct mb_replica *r = &replicas[b->turn++ % count];
        other = self != NULL && r->number == self->number ? NULL : r;
    }
    missing(v, b->repo, &lines);
    int fd = open(v->incoming, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (other == NULL || fd < 0 || write(fd, lines.data, lines.len) != (ssize_t)lines.len) {
        mb_timer_set(b->retry, RETRY_MS);
    } else {
        json_t *json = json_pack("{s:s}", "objects", b->repo);
        mb_json_canonical(&request, json, NULL);
        json_decref(json);
        b->asking = true;
        b->asked = other->number;
        mb_host_ask(v->host, other->number, mb_buf_bytes(&request), fd, lines.len, VCS_BYTES_MAX,
                    b->ask_ms, answered, b);
    }
    if (fd >= 0)
        close(fd);
    mb_buf_clear(&lines);
    mb_buf_clear(&request);
}

void vcs_behind_look(struct vcs *v, const char *repo)
{
    if (vcs_is_behind(v, repo) || missing(v, repo, NULL) == 0)
        return;
    struct vcs_behind *b = mb_calloc(1, sizeof *b);
    *b = (struct vcs_behind){.v = v, .next = v->behind, .repo = mb_strdup(repo), .ask_ms = ASK_MS};
    v->behind = b;
    b->retry = mb_timer_new(v->loop, ask, b);
    mb_log(MB_LOG_INFO, "vcs", "behind", "repo=%s", repo);
    mb_timer_set(b->retry, 0);
}

void vcs_behind_stop(struct vcs *v)
{
    while (v->behind != NULL)
        behind_free(v->behind);
}

/* --- Serving --- */

struct serving {
    struct vcs *v;
    struct mb_peer_reply *reply;
    struct mb_child *child;
    int out;
};

static void packed(void *arg, int status)
{
    struct serving *s = arg;
    struct mb_error error = {0};
    off_t len = lseek(s->out, 0, SEEK_END);
    if (MB_LIE("lie.pack") && pwrite(s->out, "junk", 4, len / 2) != 4)
        status = -1;
    if (status == 0 && len > 0) {
        mb_host_answer(s->reply, mb_bytes(NULL, 0), s->out, (uint64_t)len);
    } else {
        mb_refuse(&error, "vcs.missing", "");
        mb_host_decline(s->reply, MB_ENOENT, &error);
    }
    close(s->out);
    s->v->sharing--;
    mb_child_free(s->child);
    free(s);
}

/* Nothing but ids: git would take other lines for options. */
static bool lines_good(int fd, uint64_t len)
{
    struct mb_buf text = {0};
    if (len < LINE_LEAST || len > (uint64_t)LINES_MAX * 66)
        return false;
    mb_buf_reserve(&text, (size_t)len);
    bool good = pread(fd, text.data, (size_t)len, 0) == (ssize_t)len;
    for (size_t at = 0; good && at < len;) {
        size_t n = 0, skip = text.data[at] == '^';
        while (at + skip + n < len && text.data[at + skip + n] != '\n')
            n++;
        good = at + skip + n < len && (n == 40 || n == 64) &&
               strspn((const char *)text.data + at + skip, "0123456789abcdef") == n;
        at += skip + n + 1;
    }
    mb_buf_clear(&text);
    return good;
}

void vcs_behind_serve(struct vcs *v, const char *repo, int body_fd, uint64_t body_len,
                      struct mb_peer_reply *reply)
{
    static const char *const args[] = {"pack-objects",        "--revs",      "--stdout", "-q",
                                       "--delta-base-offset", "--threads=1", NULL};
    struct mb_error error = {0};
    json_t *known = vcs_repo(mb_host_state(v->host), repo);
    bool good =
        known != NULL && body_fd >= 0 && !vcs_is_behind(v, repo) && lines_good(body_fd, body_len);
    int out = good ? open(v->incoming, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1, pipes[3];
    json_decref(known);
    if (out >= 0) {
        struct serving *s = mb_calloc(1, sizeof *s);
        *s = (struct serving){.v = v, .reply = reply, .out = out};
        struct vcs_git git = {
            .args = args, .repo = repo, .std = {body_fd, out, MB_NULL}, .exited = packed, .arg = s};
        lseek(body_fd, 0, SEEK_SET);
        v->sharing++;
        if (vcs_git_spawn(v, &git, &s->child, pipes) == 0)
            return;
        v->sharing--;
        close(out);
        free(s);
    }
    mb_refuse(&error, "vcs.missing", "");
    mb_host_decline(reply, MB_ENOENT, &error);
}
