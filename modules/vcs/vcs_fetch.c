/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fetching: git upload-pack does it, reading the refs on disk, which follow the state. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vcs_pktline.h"
#include "vcs_world.h"

#define REQUEST_MAX (32u << 20)

/* A request that a child answers. Its body lies in a file without a name, so that neither side
 * ever waits for the other. */
struct fetch {
    struct vcs *v;
    struct mb_request *request;
    char *repo;
    bool advertise;
    int body, out;
    struct mb_child *child;
    struct mb_watch *watch;
    bool old_protocol; /* its answer begins with a line of the HTTP server's own */
    bool exited, failed;
};

static void fetch_free(struct fetch *f)
{
    mb_watch_free(f->watch);
    mb_child_free(f->child);
    if (f->body >= 0)
        close(f->body);
    if (f->out >= 0)
        close(f->out);
    f->v->fetching--;
    vcs_drain_check(f->v);
    free(f->repo);
    free(f);
}

static void gone(struct mb_request *r, void *user)
{
    (void)r;
    fetch_free(user);
}

static void refuse(struct mb_request *r, struct vcs *v, enum mb_err err, const char *code)
{
    struct mb_error error = {0};
    struct mb_buf text = {0};
    mb_host_message(v->host, code, NULL, &text);
    mb_fail(&error, err, code, "%s", mb_buf_text(&text));
    mb_reply_error(r, err, &error);
    mb_buf_clear(&text);
}

static void readable(void *arg, unsigned what)
{
    struct fetch *f = arg;
    (void)what;
    mb_watch_set(f->watch, 0);
    mb_request_resume_reply(f->request);
}

static void child_exited(void *arg, int status)
{
    struct fetch *f = arg;
    f->exited = true;
    f->failed = status != 0;
    mb_child_free(f->child);
    f->child = NULL;
    mb_request_resume_reply(f->request);
}

static enum mb_stream more(struct mb_request *r, void *user, struct mb_buf *out, size_t max)
{
    struct fetch *f = user;
    (void)r;
    if (f->advertise && f->old_protocol) {
        f->old_protocol = false;
        vcs_pkt_addf(out, "# service=git-upload-pack\n");
        vcs_pkt_flush(out);
        return MB_STREAM_MORE;
    }
    mb_buf_reserve(out, max);
    ssize_t n = read(f->out, out->data + out->len, max);
    if (n > 0) {
        out->len += (size_t)n;
        return MB_STREAM_MORE;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        mb_watch_set(f->watch, MB_READ);
        return MB_STREAM_WAIT;
    }
    if (!f->exited) /* its end of the pipe is closed: the status is about to come */
        return MB_STREAM_WAIT;
    return f->failed || n < 0 ? MB_STREAM_ABORT : MB_STREAM_END;
}

static void start(struct fetch *f)
{
    static const char *const run[] = {"upload-pack", "--stateless-rpc", "--strict", ".", NULL};
    static const char *const show[] = {"upload-pack", "--http-backend-info-refs", "--strict", ".",
                                       NULL};
    const char *protocol = mb_request_header(f->request, "Git-Protocol");
    int pipes[3];
    struct vcs_git git = {
        .args = f->advertise ? show : run,
        .repo = f->repo,
        .protocol = protocol != NULL && strcmp(protocol, "version=2") == 0 ? protocol : NULL,
        .std = {f->advertise ? MB_NULL : f->body, MB_PIPE, MB_NULL},
        .exited = child_exited,
        .arg = f,
    };
    int rc = vcs_git_spawn(f->v, &git, &f->child, pipes);
    if (rc != 0) {
        refuse(f->request, f->v, MB_EIO, "vcs.busy");
        return;
    }
    f->out = pipes[1];
    f->old_protocol = git.protocol == NULL;
    f->watch = mb_watch_new(f->v->loop, f->out, readable, f);
    f->v->fetches++;
    mb_reply_stream(f->request, 200,
                    f->advertise ? "application/x-git-upload-pack-advertisement"
                                 : "application/x-git-upload-pack-result",
                    NULL, more);
}

static struct fetch *fetch_new(struct vcs *v, struct mb_request *r, const char *repo)
{
    if (v->draining || (int64_t)v->fetching >= mb_host_option_int(v->host, "fetches")) {
        refuse(r, v, MB_EREACH, "vcs.busy");
        return NULL;
    }
    struct fetch *f = mb_calloc(1, sizeof *f);
    *f = (struct fetch){.v = v, .request = r, .repo = mb_strdup(repo), .body = -1, .out = -1};
    v->fetching++;
    mb_request_set_user(r, f, gone);
    return f;
}

static size_t body_chunk(struct mb_request *r, void *user, struct mb_bytes bytes)
{
    struct fetch *f = user;
    for (size_t done = 0; done < bytes.len;) {
        ssize_t n = write(f->body, bytes.data + done, bytes.len - done);
        if (n <= 0) {
            refuse(r, f->v, MB_EREACH, "vcs.quota");
            return bytes.len;
        }
        done += (size_t)n;
    }
    return bytes.len;
}

static void body_end(struct mb_request *r, void *user)
{
    struct fetch *f = user;
    (void)r;
    lseek(f->body, 0, SEEK_SET);
    start(f);
}

void vcs_upload_pack(void *self, struct mb_request *r)
{
    struct vcs *v = self;
    const char *repo = vcs_request_repo(v, r);
    struct fetch *f = repo != NULL ? fetch_new(v, r, repo) : NULL;
    if (f == NULL)
        return;
    f->body = open(v->incoming, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (f->body < 0)
        refuse(r, v, MB_EREACH, "vcs.quota");
    else
        mb_request_body(r, REQUEST_MAX, body_chunk, body_end);
}

/* --- info/refs, for both --- */

static void advertise_receive(struct vcs *v, struct mb_request *r, const char *repo)
{
    struct vcs_open *o = vcs_repos_open(v, repo);
    json_t *json = vcs_repo(mb_host_state(v->host), repo);
    const char *format = mb_json_get_text(json, "object_format", "sha1");
    struct mb_push_nonce nonce = {0};
    struct mb_buf out = {0};
    char repo_hash[MB_HASH_HEX_SIZE], text[160];
    uint8_t random[16];
    struct mb_buf hex = {0};
    if (o == NULL) {
        json_decref(json);
        refuse(r, v, MB_EREACH, "vcs.busy");
        return;
    }
    if (o->refs == NULL)
        o->refs = vcs_refs_new(mb_host_state(v->host), repo);
    struct mb_hash h = mb_sha256(repo, strlen(repo));
    mb_hash_hex(&h, repo_hash);
    mb_host_random(v->host, random, sizeof random);
    mb_hex_encode(&hex, random, sizeof random);
    mb_snprintf(nonce.org, sizeof nonce.org, "%s", mb_host_org(v->host));
    mb_snprintf(nonce.repo, sizeof nonce.repo, "%.16s", repo_hash);
    mb_snprintf(nonce.random, sizeof nonce.random, "%s", mb_buf_text(&hex));
    nonce.time = mb_clock_s() / 60 * 60; /* the minute is enough */
    if (nonce.time < mb_host_time(v->host))
        nonce.time = mb_host_time(v->host);
    mb_push_nonce_text(&nonce, text);
    char *capabilities =
        mb_asprintf("report-status delete-refs side-band-64k quiet atomic ofs-delta "
                    "push-options object-format=%s push-cert=%s agent=git/2",
                    format, text);
    vcs_pkt_addf(&out, "# service=git-receive-pack\n");
    vcs_pkt_flush(&out);
    struct vcs_advert *a = vcs_refs_advertise(o->refs, mb_buf_bytes(&out), capabilities,
                                              strcmp(format, "sha256") == 0);
    mb_reply_pieces(r, 200, "application/x-git-receive-pack-advertisement", a->pieces, a->count,
                    vcs_advert_free, a);
    mb_buf_clear(&out);
    free(capabilities);
    mb_buf_clear(&hex);
    json_decref(json);
}

const char *vcs_request_repo(struct vcs *v, struct mb_request *r)
{
    const char *name = mb_request_param(r, "repo");
    json_t *repo = name != NULL ? vcs_repo(mb_host_state(v->host), name) : NULL;
    json_decref(repo);
    if (repo == NULL) {
        mb_reply_unknown(r);
        return NULL;
    }
    if (vcs_is_behind(v, name)) {
        refuse(r, v, MB_EREACH, "vcs.behind");
        return NULL;
    }
    return name;
}

void vcs_info_refs(void *self, struct mb_request *r)
{
    struct vcs *v = self;
    const char *service = mb_request_query(r, "service");
    const char *repo = vcs_request_repo(v, r);
    if (repo == NULL)
        return;
    if (service != NULL && strcmp(service, "git-receive-pack") == 0) {
        advertise_receive(v, r, repo);
    } else if (service != NULL && strcmp(service, "git-upload-pack") == 0) {
        struct fetch *f = fetch_new(v, r, repo);
        if (f != NULL) {
            f->advertise = true;
            start(f);
        }
    } else {
        mb_reply_unknown(r); /* dumb clients have nothing to look at */
    }
}
