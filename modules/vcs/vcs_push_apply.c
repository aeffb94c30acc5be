/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The deterministic half of vcs.push: certificate, receipts, each ref against the state. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vcs_state.h"

struct push {
    struct mb_tx *tx;
    const struct mb_context *ctx;
    const char *name;
    json_t *repo;
    const struct mb_ref_update *updates;
    size_t count;
    char author[MB_FINGERPRINT_SIZE]; /* "anonymous" for an unsigned push */
    bool maintainer;
    json_t *proposals; /* what the result lists */
    struct mb_error *error;
};

json_t *vcs_updates_json(const struct mb_ref_update *updates, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_pack("{s:s, s:s, s:s}", "new", updates[i].new_id, "old",
                                               updates[i].old_id, "ref", updates[i].ref));
    return array;
}

void vcs_receipt_text(struct mb_buf *out, const char *org, const char *repo, const char *pack,
                      int64_t until, const struct mb_ref_update *updates, size_t count)
{
    json_t *json = json_pack("{s:s, s:s, s:I, s:o}", "org", org, "repo", repo, "until",
                             (json_int_t)until, "updates", vcs_updates_json(updates, count));
    if (pack != NULL)
        json_object_set_new(json, "pack", json_string(pack));
    char *text = mb_json_text(json);
    mb_buf_add_text(out, text);
    free(text);
    json_decref(json);
}

/* Receipts of a majority of the configuration's replicas, each over what this push is. */
static int check_receipts(const struct push *p, const json_t *body)
{
    const struct mb_context *ctx = p->ctx;
    const char *pack = mb_json_get_text(body, "pack", NULL);
    const json_t *receipt;
    size_t i, good = 0;
    bool counted[16] = {false};
    json_array_foreach(json_object_get(body, "receipts"), i, receipt)
    {
        const char *key = mb_json_get_text(receipt, "key", "");
        const char *signature = mb_json_get_text(receipt, "signature", "");
        int64_t until = mb_json_get_int(receipt, "until", 0);
        struct mb_buf text = {0};
        struct mb_public_key signer;
        vcs_receipt_text(&text, ctx->org, p->name, pack, until, p->updates, p->count);
        bool holds =
            until >= ctx->time && mb_sshsig_verify_base64(signature, VCS_NAMESPACE_RECEIPT,
                                                          mb_buf_bytes(&text), &signer, NULL) == 0;
        for (size_t k = 0; holds && k < ctx->replica_count && k < 16; k++)
            if (strcmp(ctx->replicas[k].fingerprint, key) == 0 && !counted[k] &&
                mb_public_key_equal(&ctx->replicas[k].key, &signer)) {
                counted[k] = true;
                good++;
            }
        mb_buf_clear(&text);
    }
    if (2 * good > ctx->replica_count)
        return 0;
    return mb_refuse(p->error, "vcs.receipts", "dd", (int64_t)good,
                     (int64_t)(ctx->replica_count / 2 + 1));
}

static bool is_our_onion(const struct mb_context *ctx, const char *onion, size_t len)
{
    if (len == strlen(ctx->onion) && memcmp(onion, ctx->onion, len) == 0)
        return true;
    for (size_t i = 0; i < ctx->replica_count; i++)
        if (len == strlen(ctx->replicas[i].onion) &&
            memcmp(onion, ctx->replicas[i].onion, len) == 0)
            return true;
    return false;
}

/* http://ONION/REPO.git, less one '/' at the end (Clarification 1). */
bool vcs_pushee_is_ours(const struct mb_context *ctx, const char *repo, const char *pushee)
{
    char path[VCS_REPO_MAX + 8];
    const char *onion = pushee + 7, *slash;
    if (strncmp(pushee, "http://", 7) != 0 || (slash = strchr(onion, '/')) == NULL)
        return false;
    mb_snprintf(path, sizeof path, "/%s.git", repo);
    size_t len = strlen(slash);
    if (len > 1 && slash[len - 1] == '/')
        len--;
    return len == strlen(path) && memcmp(slash, path, len) == 0 &&
           is_our_onion(ctx, onion, (size_t)(slash - onion));
}

static int check_nonce(const struct push *p, const char *text)
{
    struct mb_push_nonce nonce;
    char repo_hash[MB_HASH_HEX_SIZE], key[MB_STATE_KEY_MAX + 1];
    struct mb_hash h = mb_sha256(p->name, strlen(p->name));
    mb_hash_hex(&h, repo_hash);
    if (mb_push_nonce_parse(&nonce, text) != 0 || strcmp(nonce.org, p->ctx->org) != 0 ||
        strncmp(nonce.repo, repo_hash, 16) != 0)
        return mb_refuse(p->error, "vcs.nonce_foreign", "s", p->name);
    int64_t age = p->ctx->time - nonce.time;
    if (age < 0 || age > VCS_NONCE_LIFE_S)
        return mb_refuse(p->error, "vcs.nonce_stale", "d", age);
    mb_snprintf(key, sizeof key, "vcs/nonce/%020" PRId64 "/%s", nonce.time, nonce.random);
    if (mb_tx_has(p->tx, key))
        return mb_refuse(p->error, "vcs.nonce_used", "s", nonce.random);
    return 0;
}

static void use_nonce(const struct push *p, const char *text)
{
    struct mb_push_nonce nonce;
    char key[MB_STATE_KEY_MAX + 1];
    json_t *one = json_integer(1);
    if (mb_push_nonce_parse(&nonce, text) == 0) {
        mb_snprintf(key, sizeof key, "vcs/nonce/%020" PRId64 "/%s", nonce.time, nonce.random);
        mb_tx_put(p->tx, key, one);
    }
    json_decref(one);
}

/* True for founders, replicas (the ledger's roles) and this repository's maintainers. */
static bool needs_no_work(const struct push *p, const char *fingerprint)
{
    return p->maintainer || mb_tx_has_role(p->tx, fingerprint);
}

static int check_work(const struct push *p, const char *fingerprint, const char *work)
{
    json_t *bits = mb_tx_get(p->tx, "org/params/work_bits");
    unsigned wanted = (unsigned)json_integer_value(bits);
    json_decref(bits);
    if (wanted == 0 || (*fingerprint != 0 && needs_no_work(p, fingerprint)))
        return 0;
    struct mb_hash h = mb_push_work(p->ctx->org, p->name, fingerprint, p->updates[0].new_id, work);
    if (mb_is_hex(work, 16) && mb_hash_has_work(&h, wanted))
        return 0;
    return mb_refuse(p->error, "vcs.work", "d", (int64_t)wanted);
}

const char *vcs_push_option(char *const *options, size_t count, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < count; i++)
        if (strncmp(options[i], name, len) == 0 && options[i][len] == '=')
            return options[i] + len + 1;
    return "";
}

static int check_certificate(struct push *p, const struct mb_pushcert *cert)
{
    struct mb_public_key signer;
    char fingerprint[MB_FINGERPRINT_SIZE];
    int rc = mb_pushcert_verify(cert, &signer, NULL);
    if (rc != 0)
        return mb_refuse(p->error, "vcs.certificate", "s", "signature");
    mb_public_key_fingerprint(&signer, fingerprint);
    if (!mb_tx_identity(p->tx, fingerprint, p->author))
        return mb_refuse(p->error, "vcs.key_replaced", "s", fingerprint);
    p->maintainer = vcs_is_maintainer(p->repo, p->author);
    if (!vcs_pushee_is_ours(p->ctx, p->name, cert->pushee))
        return mb_refuse(p->error, "vcs.pushee", "s", p->name);
    if (strcmp(mb_json_get_text(p->repo, "policy", ""), "strict") == 0 &&
        strcmp(cert->pusher_zone, "+0000") != 0)
        return mb_refuse(p->error, "vcs.zone", "s", cert->pusher_zone);
    rc = check_work(p, fingerprint, vcs_push_option(cert->options, cert->option_count, "work"));
    return rc != 0 ? rc : check_nonce(p, cert->nonce);
}

/* Is there a ref that this one would collide with: a case twin, a folder where it is a file? */
static int found_one(void *arg, const char *key, const json_t *value)
{
    (void)arg;
    (void)key;
    (void)value;
    return 1;
}

static bool collides(const struct push *p, const char *ref)
{
    char key[MB_STATE_KEY_MAX + 2];
    vcs_fold_key(key, p->name, ref);
    if (mb_tx_has(p->tx, key))
        return true;
    size_t len = strlen(key), start = strlen("vcs/fold/") + strlen(p->name) + 1;
    for (size_t i = start; i < len; i++) {
        if (key[i] != '/')
            continue;
        key[i] = 0;
        bool parent = mb_tx_has(p->tx, key);
        key[i] = '/';
        if (parent)
            return true;
    }
    key[len] = '/';
    key[len + 1] = 0;
    return mb_tx_scan(p->tx, key, "", found_one, NULL) != 0;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int check_ref(const struct push *p, const struct mb_ref_update *u)
{
    char key[MB_STATE_KEY_MAX + 1];
    if (!starts_with(u->ref, "refs/heads/") && !starts_with(u->ref, "refs/tags/"))
        return mb_refuse(p->error, "vcs.ref", "s", u->ref);
    if (!p->maintainer)
        return mb_refuse(p->error, "vcs.forbidden", "ss", p->name, u->ref);
    vcs_ref_key(key, p->name, u->ref);
    json_t *current = mb_tx_get(p->tx, key);
    const char *is = current != NULL ? json_string_value(current) : NULL;
    bool fits = is != NULL ? strcmp(is, u->old_id) == 0 : vcs_is_zero_id(u->old_id);
    json_decref(current);
    bool exists = !vcs_is_zero_id(u->old_id), remains = !vcs_is_zero_id(u->new_id);
    if (!fits || (!exists && !remains))
        return mb_refuse(p->error, "vcs.ref_moved", "s", u->ref);
    if (exists && remains && starts_with(u->ref, "refs/tags/"))
        return mb_refuse(p->error, "vcs.tag_moved", "s", u->ref);
    if (!exists && collides(p, u->ref))
        return mb_refuse(p->error, "vcs.ref_twin", "s", u->ref);
    return 0;
}

static int check_proposal(const struct push *p, const struct mb_ref_update *u)
{
    const json_t *limits = json_object_get(p->repo, "limits");
    const char *branch = u->ref + strlen("refs/for/");
    char key[MB_STATE_KEY_MAX + 1], ref[MB_REF_MAX + 16];
    int64_t open = mb_json_get_int(p->repo, "proposals", 0);
    if (!vcs_is_zero_id(u->old_id) || vcs_is_zero_id(u->new_id))
        return mb_refuse(p->error, "vcs.ref_moved", "s", u->ref);
    mb_snprintf(ref, sizeof ref, "refs/heads/%s", branch);
    vcs_ref_key(key, p->name, ref);
    if (!mb_tx_has(p->tx, key))
        return mb_refuse(p->error, "vcs.branch_unknown", "ss", p->name, branch);
    vcs_count_key(key, p->name, p->author);
    json_t *own = mb_tx_get(p->tx, key);
    int64_t mine = json_integer_value(own);
    json_decref(own);
    if (open >= mb_json_get_int(limits, "proposals", 0))
        return mb_refuse(p->error, "vcs.proposals", "d", open);
    if (!p->maintainer && mine >= mb_json_get_int(limits, "proposals_per_key", 0))
        return mb_refuse(p->error, "vcs.proposals_per_key", "d", mine);
    return 0;
}

/* What can be refused of one update before anything is written. */
static int check_update(const struct push *p, const struct mb_ref_update *u)
{
    const char *format = mb_json_get_text(p->repo, "object_format", "");
    size_t id_len = strcmp(format, "sha256") == 0 ? 64 : 40;
    bool anonymous = strcmp(p->author, VCS_ANONYMOUS) == 0;
    bool proposal = starts_with(u->ref, "refs/for/");
    if (!mb_ref_valid(u->ref) || strlen(u->new_id) != id_len || strlen(u->old_id) != id_len)
        return mb_refuse(p->error, "vcs.ref", "s", u->ref);
    if (anonymous && !(proposal && mb_json_get_flag(p->repo, "unsigned", false)))
        return mb_refuse(p->error, "vcs.unsigned", "s", p->name);
    return proposal ? check_proposal(p, u) : check_ref(p, u);
}

/* refs/for/BRANCH: a new proposal. */
static void propose(const struct push *p, const struct mb_ref_update *u)
{
    const char *branch = u->ref + strlen("refs/for/");
    char key[MB_STATE_KEY_MAX + 1], ref[64];
    int64_t id = mb_json_get_int(p->repo, "next_proposal", 1);
    json_t *proposal = json_pack("{s:s, s:s, s:s, s:I}", "author", p->author, "branch", branch,
                                 "commit", u->new_id, "slot", (json_int_t)p->ctx->slot);
    vcs_proposal_key(key, p->name, id);
    mb_tx_put(p->tx, key, proposal);
    json_decref(proposal);
    mb_snprintf(ref, sizeof ref, "refs/proposals/%" PRId64, id);
    vcs_put_ref(p->tx, p->name, ref, u->new_id);
    vcs_count_key(key, p->name, p->author);
    vcs_add_count(p->tx, key, 1);
    json_object_set_new(p->repo, "proposals",
                        json_integer(mb_json_get_int(p->repo, "proposals", 0) + 1));
    json_object_set_new(p->repo, "next_proposal", json_integer(id + 1));
    json_array_append_new(p->proposals, json_pack("{s:s, s:I, s:s}", "branch", branch, "proposal",
                                                  (json_int_t)id, "ref", ref));
}

/* One after the other: an update sees what those before it wrote. */
static int update_all(const struct push *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct mb_ref_update *u = &p->updates[i];
        int rc = check_update(p, u);
        if (rc != 0)
            return rc;
        if (starts_with(u->ref, "refs/for/"))
            propose(p, u);
        else if (vcs_is_zero_id(u->new_id))
            vcs_remove_ref(p->tx, p->name, u->ref);
        else
            vcs_put_ref(p->tx, p->name, u->ref, u->new_id);
    }
    return 0;
}

static void record_push(const struct push *p, const json_t *body, json_t **result)
{
    char key[MB_STATE_KEY_MAX + 1], rest[24];
    int64_t number = mb_json_get_int(p->repo, "next_push", 1);
    json_t *push = json_pack("{s:s, s:I, s:I, s:o}", "author", p->author, "slot",
                             (json_int_t)p->ctx->slot, "time", (json_int_t)p->ctx->time, "updates",
                             vcs_updates_json(p->updates, p->count));
    json_t *pack = json_object_get(body, "pack");
    if (pack != NULL)
        json_object_set(push, "pack", pack);
    mb_snprintf(rest, sizeof rest, "%010" PRId64, number);
    vcs_key(key, "push", p->name, rest);
    mb_tx_put(p->tx, key, push);
    json_object_set_new(p->repo, "next_push", json_integer(number + 1));
    vcs_key(key, "repo", p->name, "");
    mb_tx_put(p->tx, key, p->repo);
    *result = json_pack("{s:s, s:O, s:I, s:s}", "author", p->author, "proposals", p->proposals,
                        "push", (json_int_t)number, "repo", p->name);
    json_decref(push);
}

static int run_push(struct push *p, const json_t *body, json_t **result)
{
    int rc = p->count == 0 ? mb_refuse(p->error, "vcs.empty", "s", p->name) : 0;
    if (rc == 0)
        rc = check_receipts(p, body);
    if (rc == 0)
        rc = update_all(p);
    if (rc == 0)
        record_push(p, body, result);
    return rc;
}

static int push_signed(struct push *p, const json_t *body, json_t **result)
{
    struct mb_pushcert cert = {0};
    const char *text = mb_json_get_text(body, "certificate", "");
    int rc = mb_pushcert_parse(&cert, mb_bytes_of(text), NULL);
    if (rc != 0)
        return mb_refuse(p->error, "vcs.certificate", "s", "form");
    p->updates = cert.updates;
    p->count = cert.update_count;
    if (p->count == 0)
        rc = mb_refuse(p->error, "vcs.empty", "s", p->name);
    if (rc == 0)
        rc = check_certificate(p, &cert);
    if (rc == 0)
        use_nonce(p, cert.nonce);
    if (rc == 0)
        rc = run_push(p, body, result);
    mb_pushcert_clear(&cert);
    return rc;
}

static const struct mb_json_field update_fields[] = {
    {.name = "new", .kind = MB_JSON_STRING, .min = 40, .max = 64},
    {.name = "old", .kind = MB_JSON_STRING, .min = 40, .max = 64},
    {.name = "ref", .kind = MB_JSON_STRING, .min = 1, .max = MB_REF_MAX},
    {.name = NULL},
};

static int push_unsigned(struct push *p, const json_t *body, json_t **result)
{
    const json_t *list = json_object_get(body, "updates"), *item;
    size_t count = json_array_size(list), i;
    struct mb_ref_update *updates = mb_calloc(count + 1, sizeof *updates);
    int rc = 0;
    json_array_foreach(list, i, item)
    {
        struct mb_ref_update *u = &updates[i];
        rc = mb_json_check(item, update_fields, p->error);
        if (rc != 0)
            break;
        mb_snprintf(u->new_id, sizeof u->new_id, "%s", mb_json_get_text(item, "new", ""));
        mb_snprintf(u->old_id, sizeof u->old_id, "%s", mb_json_get_text(item, "old", ""));
        u->ref = mb_strdup(mb_json_get_text(item, "ref", ""));
    }
    p->updates = updates;
    p->count = count;
    mb_snprintf(p->author, sizeof p->author, "%s", VCS_ANONYMOUS);
    if (rc == 0 && count == 0)
        rc = mb_refuse(p->error, "vcs.empty", "s", p->name);
    if (rc == 0)
        rc = check_work(p, "", mb_json_get_text(body, "work", ""));
    if (rc == 0)
        rc = run_push(p, body, result);
    for (i = 0; i < count; i++)
        free(updates[i].ref);
    free(updates);
    return rc;
}

int vcs_push(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
             struct mb_error *error)
{
    const char *pack = mb_json_get_text(body, "pack", NULL);
    struct push p = {
        .tx = tx, .ctx = ctx, .name = mb_json_get_text(body, "repo", ""), .error = error};
    bool is_signed = json_object_get(body, "certificate") != NULL;
    if (is_signed == (json_object_get(body, "updates") != NULL) ||
        (is_signed && json_object_get(body, "work") != NULL))
        return mb_refuse(error, "vcs.certificate", "s", "form");
    if (pack != NULL && !mb_is_hex(pack, 64))
        return mb_refuse(error, "body.invalid", "ss", "pack", "kind");
    p.repo = vcs_repo(tx, p.name);
    if (p.repo == NULL)
        return mb_refuse(error, "vcs.repo_unknown", "s", p.name);
    p.proposals = json_array();
    int rc = is_signed ? push_signed(&p, body, result) : push_unsigned(&p, body, result);
    json_decref(p.repo);
    json_decref(p.proposals);
    return rc;
}

int vcs_check_head(struct mb_tx *tx, const struct mb_context *ctx, const char *name,
                   const struct mb_pushcert *cert, const struct mb_ref_update *updates,
                   size_t count, const char *work, char author[MB_FINGERPRINT_SIZE],
                   struct mb_error *error)
{
    struct push p = {.tx = tx,
                     .ctx = ctx,
                     .name = name,
                     .repo = vcs_repo(tx, name),
                     .updates = updates,
                     .count = count,
                     .error = error};
    int rc = 0;
    mb_snprintf(p.author, sizeof p.author, "%s", VCS_ANONYMOUS);
    if (p.repo == NULL)
        rc = mb_refuse(error, "vcs.repo_unknown", "s", name);
    else if (count == 0)
        rc = mb_refuse(error, "vcs.empty", "s", name);
    if (rc == 0)
        rc = cert != NULL ? check_certificate(&p, cert) : check_work(&p, "", work);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = check_update(&p, &updates[i]);
    mb_snprintf(author, MB_FINGERPRINT_SIZE, "%s", p.author);
    json_decref(p.repo);
    return rc;
}
