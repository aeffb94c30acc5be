/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * git-receive-pack, our own: the head of a push is parsed and checked before a pack is taken; the
 * pack is spooled into a quarantine and checked there; then a receipt is signed, vcs.push is
 * submitted, and git gets its answer when refs and packs on disk have followed the state.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "vcs_pktline.h"
#include "vcs_world.h"

#define RECEIPT_LIFE_S 600

struct vcs_receive {
    struct vcs *v;
    struct vcs_receive *next;
    struct mb_request *request; /* NULL once the client has gone */
    char *repo;
    struct vcs_head head;
    struct mb_buf head_bytes; /* as they came, for the other replicas */
    json_t *receipts;
    void (*done)(void *arg, int rc, const struct mb_error *error); /* another replica's push */
    void *done_arg;
    bool head_done, refused, answered, busy; /* busy: a check or a command is under way */
    struct mb_public_key signer;
    struct vcs_spool spool;
    struct vcs_check check;
    struct mb_error error;
    struct mb_buf details;
};

static void unlink_receive(struct vcs_receive *p)
{
    struct vcs_receive **at = &p->v->receives;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    p->v->pushing--;
}

void vcs_receive_free(struct vcs_receive *p)
{
    unlink_receive(p);
    vcs_spool_clear(&p->spool);
    vcs_head_clear(&p->head);
    mb_buf_clear(&p->details);
    mb_buf_clear(&p->head_bytes);
    json_decref(p->receipts);
    free(p->repo);
    vcs_drain_check(p->v);
    free(p);
}

static void gone(struct mb_request *r, void *user)
{
    struct vcs_receive *p = user;
    (void)r;
    p->request = NULL;
    if (!p->busy)
        vcs_receive_free(p);
}

/* --- Answering git --- */

static void add_report(struct vcs_receive *p, const char *unpack, const char *reason,
                       struct mb_buf *out)
{
    struct mb_buf report = {0};
    size_t count;
    const struct mb_ref_update *updates = vcs_head_updates(&p->head, &count);
    vcs_pkt_addf(&report, "unpack %s\n", unpack);
    for (size_t i = 0; i < count; i++)
        if (reason == NULL)
            vcs_pkt_addf(&report, "ok %s\n", updates[i].ref);
        else
            vcs_pkt_addf(&report, "ng %s %s\n", updates[i].ref, reason);
    vcs_pkt_flush(&report);
    if (p->head.side_band)
        vcs_pkt_band(out, 1, mb_buf_bytes(&report));
    else
        mb_buf_add_bytes(out, mb_buf_bytes(&report));
    mb_buf_clear(&report);
}

/* text: lines for people, shown by git behind "remote: ". reason NULL: the push was accepted. */
static void answer(struct vcs_receive *p, const char *unpack, const char *reason, const char *text)
{
    struct mb_buf out = {0};
    p->answered = true;
    if (p->request == NULL)
        return;
    if (p->head.side_band && *text != 0)
        vcs_pkt_band(&out, 2, mb_bytes_of(text));
    if (p->head.report_status)
        add_report(p, unpack, reason, &out);
    if (p->head.side_band)
        vcs_pkt_flush(&out);
    mb_reply_take(p->request, 200, "application/x-git-receive-pack-result", &out);
}

static void fill_text(struct vcs_receive *p)
{
    struct mb_error *e = &p->error;
    struct mb_buf text = {0};
    json_t *args = NULL;
    if (mb_json_parse(&args, e->args, strlen(e->args), NULL) != 0)
        args = json_array();
    mb_host_message(p->v->host, e->code, args, &text);
    mb_snprintf(e->text, sizeof e->text, "%s", mb_buf_text(&text));
    mb_buf_clear(&text);
    json_decref(args);
}

static void refuse(struct vcs_receive *p)
{
    struct mb_buf text = {0};
    p->v->refused++;
    if (p->error.args[0] == 0)
        mb_snprintf(p->error.args, sizeof p->error.args, "[]");
    fill_text(p);
    mb_log(MB_LOG_INFO, "vcs", "refused", "code=%s", p->error.code);
    mb_buf_addf(&text, "%s: %s\n", p->error.code, p->error.text);
    mb_buf_add_bytes(&text, mb_buf_bytes(&p->details));
    size_t count;
    vcs_head_updates(&p->head, &count);
    if (p->head_done && count > 0 && p->head.report_status)
        answer(p, "ok", p->error.code, mb_buf_text(&text));
    else if (p->request != NULL && !p->answered)
        mb_reply_error(p->request, MB_EINVAL, &p->error);
    p->answered = true;
    mb_buf_clear(&text);
}

static size_t refuse_now(struct vcs_receive *p, size_t len)
{
    p->refused = true;
    refuse(p);
    return len;
}

/* --- The command --- */

static void add_proposals(struct mb_buf *text, const json_t *outcome)
{
    const json_t *p;
    size_t i;
    json_array_foreach(json_object_get(outcome, "proposals"), i, p)
        mb_buf_addf(text, "proposal %d to %s: %s\n", (int)mb_json_get_int(p, "proposal", 0),
                    mb_json_get_text(p, "branch", ""), mb_json_get_text(p, "ref", ""));
}

static void submitted(void *arg, const struct mb_submitted *s)
{
    struct vcs_receive *p = arg;
    struct mb_buf text = {0};
    p->busy = false;
    MB_FAULT("push.answer");
    if (s->ok) {
        mb_buf_addf(&text, "recorded in slot %llu\n", (unsigned long long)s->slot);
        add_proposals(&text, s->outcome);
        answer(p, "ok", NULL, mb_buf_text(&text));
    } else {
        p->error = *s->error;
        refuse(p);
    }
    mb_buf_clear(&text);
    if (p->request == NULL)
        vcs_receive_free(p);
}

static void receipt_text(const struct vcs_receive *p, int64_t until, struct mb_buf *text)
{
    size_t count;
    const struct mb_ref_update *updates = vcs_head_updates(&p->head, &count);
    vcs_receipt_text(text, mb_host_org(p->v->host), p->repo,
                     p->check.pack[0] != 0 ? p->check.pack : NULL, until, updates, count);
}

bool vcs_receive_holds(const struct vcs_receive *p, const json_t *receipt,
                       const struct mb_replica *by)
{
    struct mb_public_key signer;
    struct mb_buf text = {0};
    int64_t until = mb_json_get_int(receipt, "until", 0);
    receipt_text(p, until, &text);
    bool holds =
        until > mb_clock_s() && until > mb_host_time(p->v->host) &&
        strcmp(mb_json_get_text(receipt, "key", ""), by->fingerprint) == 0 &&
        mb_sshsig_verify_base64(mb_json_get_text(receipt, "signature", ""), VCS_NAMESPACE_RECEIPT,
                                mb_buf_bytes(&text), &signer, NULL) == 0 &&
        mb_public_key_equal(&signer, &by->key);
    mb_buf_clear(&text);
    return holds;
}

json_t *vcs_receive_receipt(struct vcs_receive *p)
{
    struct vcs *v = p->v;
    const struct mb_replica *self = mb_host_self(v->host);
    struct mb_buf text = {0}, signature = {0}, base64 = {0};
    int64_t now = mb_clock_s(), time = mb_host_time(v->host);
    int64_t until = (now > time ? now : time) + RECEIPT_LIFE_S;
    receipt_text(p, MB_LIE("lie.receipt") ? until + 1 : until, &text);
    mb_host_sign(v->host, VCS_NAMESPACE_RECEIPT, mb_buf_bytes(&text), &signature);
    mb_base64_encode(&base64, signature.data, signature.len);
    json_t *json = json_pack("{s:s, s:s, s:I}", "key", self != NULL ? self->fingerprint : "",
                             "signature", mb_buf_text(&base64), "until", (json_int_t)until);
    mb_buf_clear(&text);
    mb_buf_clear(&signature);
    mb_buf_clear(&base64);
    return json;
}

static void submit(struct vcs_receive *p)
{
    struct vcs_head *h = &p->head;
    json_t *body = json_pack("{s:s, s:O}", "repo", p->repo, "receipts", p->receipts);
    if (p->check.pack[0] != 0)
        json_object_set_new(body, "pack", json_string(p->check.pack));
    if (h->is_signed) {
        json_object_set_new(body, "certificate",
                            json_stringn((char *)h->certificate.data, h->certificate.len));
    } else {
        const char *work = vcs_push_option(h->options, h->option_count, "work");
        json_object_set_new(body, "updates", vcs_updates_json(h->updates, h->update_count));
        if (*work != 0)
            json_object_set_new(body, "work", json_string(work));
    }
    MB_FAULT("push.receipt");
    mb_host_submit(p->v->host, "vcs.push", body, submitted, p);
}

static void shared(void *arg, const struct mb_error *error)
{
    struct vcs_receive *p = arg;
    if (error == NULL) {
        submit(p);
        return;
    }
    p->busy = false;
    p->error = *error;
    refuse(p);
    if (p->request == NULL)
        vcs_receive_free(p);
}

static void checked(void *arg, int rc, const struct mb_error *error, const char *details)
{
    struct vcs_receive *p = arg;
    if (p->done != NULL) {
        p->busy = false;
        p->done(p->done_arg, rc, error);
        return;
    }
    if (rc == 0) {
        p->receipts = json_pack("[o]", vcs_receive_receipt(p));
        vcs_share(p->v, p, p->repo, mb_buf_bytes(&p->head_bytes), p->check.pack, p->receipts,
                  shared, p);
        return;
    }
    p->busy = false;
    p->error = *error;
    mb_buf_add_text(&p->details, details);
    refuse(p);
    if (p->request == NULL)
        vcs_receive_free(p);
}

/* --- The body --- */

void vcs_context(struct vcs *v, struct mb_context *ctx, char onion[MB_ONION_SIZE])
{
    json_t *onions = mb_tx_get(mb_host_state(v->host), "org/onion");
    int64_t now = mb_clock_s(), time = mb_host_time(v->host);
    mb_snprintf(onion, MB_ONION_SIZE, "%s", mb_json_get_text(onions, "current", ""));
    json_decref(onions);
    *ctx = (struct mb_context){.org = mb_host_org(v->host),
                               .name = mb_host_name(v->host),
                               .slot = mb_host_slot(v->host) + 1,
                               .time = now > time ? now : time,
                               .id = "",
                               .signer = "",
                               .onion = onion};
    ctx->replicas = mb_host_replicas(v->host, &ctx->replica_count);
}

static int check_formats(struct vcs_receive *p, const json_t *repo)
{
    const char *format = mb_json_get_text(repo, "object_format", "sha1");
    if (p->head.shallow)
        return mb_refuse(&p->error, "vcs.shallow", "");
    if (strcmp(format, p->head.object_format) != 0)
        return mb_refuse(&p->error, "vcs.object_format_differs", "s", format);
    return 0;
}

/* All that can be refused before a byte of the pack is taken. */
static int check_head(struct vcs_receive *p)
{
    struct mb_context ctx;
    char onion[MB_ONION_SIZE], author[MB_FINGERPRINT_SIZE];
    struct vcs_head *h = &p->head;
    struct mb_tx *state = mb_host_state(p->v->host);
    json_t *repo = vcs_repo(state, p->repo);
    const json_t *limits = json_object_get(repo, "limits");
    size_t count;
    const struct mb_ref_update *updates = vcs_head_updates(h, &count);
    vcs_context(p->v, &ctx, onion);
    int rc = repo == NULL ? mb_refuse(&p->error, "vcs.repo_unknown", "s", p->repo)
                          : check_formats(p, repo);
    if (rc == 0)
        rc =
            vcs_check_head(state, &ctx, p->repo, h->is_signed ? &h->cert : NULL, updates, count,
                           vcs_push_option(h->options, h->option_count, "work"), author, &p->error);
    if (rc == 0 && h->is_signed)
        mb_pushcert_verify(&h->cert, &p->signer, NULL);
    p->spool.limit = mb_json_get_int(limits, "pack_bytes", VCS_PACK_BYTES);
    int64_t less = mb_json_get_int(limits, "proposal_bytes", VCS_PROPOSAL_BYTES);
    if (rc == 0 && !vcs_is_maintainer(repo, author) && less < p->spool.limit)
        p->spool.limit = less;
    p->check.object_bytes = mb_json_get_int(limits, "object_bytes", VCS_OBJECT_BYTES);
    p->check.pack_bytes = p->spool.limit;
    p->check.strict = strcmp(mb_json_get_text(repo, "policy", "strict"), "strict") == 0;
    p->check.rewind = mb_json_get_flag(repo, "rewind", false);
    json_decref(repo);
    MB_FAULT("push.head");
    return rc;
}

static size_t body_chunk(struct mb_request *r, void *user, struct mb_bytes bytes)
{
    struct vcs_receive *p = user;
    size_t used = 0;
    (void)r;
    if (p->refused)
        return bytes.len;
    p->v->bytes_in += bytes.len;
    if (!p->head_done) {
        int rc = vcs_head_feed(&p->head, bytes, &used, &p->error);
        p->head_done = rc == 1;
        if (rc >= 0)
            mb_buf_add(&p->head_bytes, bytes.data, used);
        size_t count;
        vcs_head_updates(&p->head, &count);
        if (rc == 1 && count > 0)
            rc = check_head(p);
        if (rc < 0)
            return refuse_now(p, bytes.len);
        if (!p->head_done)
            return bytes.len;
    }
    if (used < bytes.len &&
        vcs_spool_take(&p->spool, mb_bytes(bytes.data + used, bytes.len - used), &p->error) != 0)
        return refuse_now(p, bytes.len);
    return bytes.len;
}

static void begin_check(struct vcs_receive *p)
{
    p->busy = true;
    p->check.v = p->v;
    p->check.repo = p->repo;
    p->check.head = &p->head;
    p->check.tmp = p->spool.tmp;
    p->check.has_pack = p->spool.has_pack;
    p->check.signer = p->head.is_signed ? &p->signer : NULL;
    p->check.done = checked;
    p->check.arg = p;
    MB_FAULT("push.received");
    vcs_check_start(&p->check);
}

static void body_end(struct mb_request *r, void *user)
{
    struct vcs_receive *p = user;
    size_t count;
    vcs_head_updates(&p->head, &count);
    if (p->refused)
        return;
    if (!p->head_done) {
        mb_refuse(&p->error, "vcs.head", "");
        refuse_now(p, 0);
        return;
    }
    if (count == 0) { /* git asks whether it may come, before it sends a large body */
        p->answered = true;
        mb_reply(r, 200, "application/x-git-receive-pack-result", mb_bytes(NULL, 0), NULL);
        return;
    }
    if (vcs_spool_close(&p->spool, &p->error) != 0) {
        refuse_now(p, 0);
        return;
    }
    begin_check(p);
}

/* --- A push that another replica took --- */

struct vcs_receive *vcs_receive_new(struct vcs *v, const char *repo)
{
    struct vcs_receive *p = mb_calloc(1, sizeof *p);
    *p = (struct vcs_receive){.v = v, .next = v->receives, .repo = mb_strdup(repo)};
    vcs_spool_init(&p->spool, v);
    v->receives = p;
    v->pushing++;
    return p;
}

int vcs_receive_head(struct vcs_receive *p, struct mb_bytes head, struct mb_error *error)
{
    size_t used = 0, count;
    int rc = vcs_head_feed(&p->head, head, &used, &p->error);
    if (rc == 1 && used == head.len) {
        p->head_done = true;
        vcs_head_updates(&p->head, &count);
        rc = count > 0 ? check_head(p) : mb_refuse(&p->error, "vcs.head", "");
    } else if (rc >= 0) {
        rc = mb_refuse(&p->error, "vcs.head", "");
    }
    *error = p->error;
    return rc;
}

int vcs_receive_pack_bytes(struct vcs_receive *p, struct mb_bytes bytes, struct mb_error *error)
{
    return vcs_spool_take(&p->spool, bytes, error);
}

void vcs_receive_check(struct vcs_receive *p,
                       void (*done)(void *arg, int rc, const struct mb_error *error), void *arg)
{
    vcs_spool_close(&p->spool, NULL);
    p->done = done;
    p->done_arg = arg;
    begin_check(p);
}

#ifdef MB_FAULTS
void vcs_receive_pretend(struct vcs_receive *p, const char *pack)
{
    mb_snprintf(p->check.pack, sizeof p->check.pack, "%s", pack);
}
#endif

const char *vcs_receive_pack_hash(const struct vcs_receive *p)
{
    return p->check.pack;
}

/* --- A push from git --- */

void vcs_receive_pack(void *self, struct mb_request *r)
{
    struct vcs *v = self;
    const char *repo = vcs_request_repo(v, r);
    if (repo == NULL)
        return;
    if (v->draining || (int64_t)v->pushing >= mb_host_option_int(v->host, "pushes")) {
        struct mb_error error = {0};
        mb_fail(&error, MB_EREACH, "vcs.busy", "too many pushes at once: push again in a minute");
        mb_reply_error(r, MB_EREACH, &error);
        return;
    }
    struct vcs_receive *p = vcs_receive_new(v, repo);
    p->request = r;
    mb_request_set_user(r, p, gone);
    mb_request_body(r, VCS_BYTES_MAX, body_chunk, body_end);
}

void vcs_receive_kill(struct vcs *v)
{
    for (struct vcs_receive *p = v->receives; p != NULL; p = p->next)
        vcs_check_kill(&p->check);
}
