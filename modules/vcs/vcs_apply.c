/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The deterministic half of vcs: repositories, refs, proposals and pushes. See magicbiz-vcs(7). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vcs.h"

#define NONCE_LIFE_S 3600

/* --- Names and keys --- */

bool vcs_repo_name_valid(const char *name)
{
    size_t len = strlen(name);
    if (len < 1 || len > VCS_REPO_MAX ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-._") != len)
        return false;
    bool ends_badly = (len >= 4 && strcmp(name + len - 4, ".git") == 0) ||
                      (len >= 5 && strcmp(name + len - 5, ".lock") == 0);
    return strchr("-._", name[0]) == NULL && strchr("-._", name[len - 1]) == NULL &&
           strstr(name, "..") == NULL && !ends_badly;
}

static void key_of(char out[MB_STATE_KEY_MAX + 1], const char *kind, const char *repo,
                   const char *rest)
{
    mb_snprintf(out, MB_STATE_KEY_MAX + 1, "vcs/%s/%s%s%s", kind, repo, *rest ? "/" : "", rest);
}

json_t *vcs_repo(struct mb_tx *tx, const char *repo)
{
    char key[MB_STATE_KEY_MAX + 1];
    if (!vcs_repo_name_valid(repo))
        return NULL;
    key_of(key, "repo", repo, "");
    return mb_tx_get(tx, key);
}

void vcs_ref_key(char out[MB_STATE_KEY_MAX + 1], const char *repo, const char *ref)
{
    key_of(out, "ref", repo, ref);
}

/* Names that differ only in the case of ASCII letters are one name: on some clients' file systems
 * they are one file. */
static void fold_key(char out[MB_STATE_KEY_MAX + 1], const char *repo, const char *ref)
{
    key_of(out, "fold", repo, ref);
    for (char *c = out; *c != 0; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
}

bool vcs_is_maintainer(const json_t *repo, const char *identity)
{
    const json_t *key;
    size_t i;
    json_array_foreach(json_object_get(repo, "maintainers"), i,
                       key) if (strcmp(json_string_value(key), identity) == 0) return true;
    return false;
}

static bool is_zero_id(const char *id)
{
    return strspn(id, "0") == strlen(id);
}

/* --- vcs.repo.create, vcs.repo.set --- */

static const struct mb_json_field limit_fields[] = {
    {.name = "object_bytes",
     .kind = MB_JSON_INT,
     .optional = true,
     .min = 1024,
     .max = VCS_BYTES_MAX},
    {.name = "pack_bytes",
     .kind = MB_JSON_INT,
     .optional = true,
     .min = 1024,
     .max = VCS_BYTES_MAX},
    {.name = "proposal_bytes",
     .kind = MB_JSON_INT,
     .optional = true,
     .min = 1024,
     .max = VCS_BYTES_MAX},
    {.name = "proposals", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = 100000},
    {.name = "proposals_per_key", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = 100000},
    {.name = NULL},
};

static json_t *default_limits(void)
{
    return json_pack("{s:I, s:I, s:I, s:i, s:i}", "object_bytes", (json_int_t)VCS_OBJECT_BYTES,
                     "pack_bytes", (json_int_t)VCS_PACK_BYTES, "proposal_bytes",
                     (json_int_t)VCS_PROPOSAL_BYTES, "proposals", 1000, "proposals_per_key", 20);
}

static int check_maintainers(const json_t *list, struct mb_error *error)
{
    const json_t *key;
    size_t i;
    json_array_foreach(list, i, key)
    {
        const char *text = json_string_value(key);
        if (text == NULL || !mb_is_fingerprint(text))
            return mb_refuse(error, "vcs.maintainer", "d", (int64_t)i);
        for (size_t k = 0; k < i; k++)
            if (strcmp(json_string_value(json_array_get(list, k)), text) == 0)
                return mb_refuse(error, "vcs.maintainer", "d", (int64_t)i);
    }
    return 0;
}

/* Lay the fields that body gives over repo. */
static int set_fields(json_t *repo, const json_t *body, struct mb_error *error)
{
    static const char *const plain[] = {"title",    "maintainers", "policy",
                                        "unsigned", "rewind",      "default_branch"};
    const char *policy = mb_json_get_text(body, "policy", "strict");
    const char *branch = mb_json_get_text(body, "default_branch", "main");
    char ref[MB_REF_MAX + 16];
    if (strcmp(policy, "strict") != 0 && strcmp(policy, "open") != 0)
        return mb_refuse(error, "vcs.policy", "s", policy);
    if (mb_snprintf(ref, sizeof ref, "refs/heads/%s", branch) != 0 || !mb_ref_valid(ref))
        return mb_refuse(error, "vcs.ref", "s", branch);
    const json_t *limits = json_object_get(body, "limits");
    int rc = check_maintainers(json_object_get(body, "maintainers"), error);
    if (rc == 0 && limits != NULL)
        rc = mb_json_check(limits, limit_fields, error);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        json_t *value = json_object_get(body, plain[i]);
        if (value != NULL)
            json_object_set(repo, plain[i], value);
    }
    json_object_update(json_object_get(repo, "limits"), (json_t *)limits);
    return 0;
}

static int repo_create(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                       json_t **result, struct mb_error *error)
{
    const char *name = mb_json_get_text(body, "name", "");
    const char *format = mb_json_get_text(body, "object_format", "sha1");
    char key[MB_STATE_KEY_MAX + 1];
    (void)result;
    if (!vcs_repo_name_valid(name))
        return mb_refuse(error, "vcs.repo_name", "s", name);
    key_of(key, "repo", name, "");
    if (mb_tx_has(tx, key))
        return mb_refuse(error, "vcs.repo_exists", "s", name);
    if (strcmp(format, "sha1") != 0) /* libgit2, which moves refs on disk, knows no other */
        return mb_refuse(error, "vcs.object_format", "s", format);
    json_t *repo =
        json_pack("{s:I, s:s, s:o, s:[], s:s, s:s, s:i, s:i, s:i, s:i, s:s, s:i}", "created",
                  (json_int_t)ctx->slot, "default_branch", "main", "limits", default_limits(),
                  "maintainers", "object_format", format, "policy", "strict", "proposals", 0,
                  "next_proposal", 1, "next_push", 1, "rewind", 0, "title", "", "unsigned", 0);
    int rc = set_fields(repo, body, error);
    if (rc == 0)
        mb_tx_put(tx, key, repo);
    json_decref(repo);
    return rc;
}

static int repo_set(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                    json_t **result, struct mb_error *error)
{
    const char *name = mb_json_get_text(body, "name", "");
    char key[MB_STATE_KEY_MAX + 1];
    json_t *repo = vcs_repo(tx, name);
    (void)ctx;
    (void)result;
    if (repo == NULL)
        return mb_refuse(error, "vcs.repo_unknown", "s", name);
    int rc = set_fields(repo, body, error);
    key_of(key, "repo", name, "");
    if (rc == 0)
        mb_tx_put(tx, key, repo);
    json_decref(repo);
    return rc;
}

static bool maintains_repo(struct mb_tx *tx, const char *identity, const char *name)
{
    json_t *repo = vcs_repo(tx, name);
    bool yes = repo != NULL && vcs_is_maintainer(repo, identity);
    json_decref(repo);
    return yes;
}

static bool maintains(struct mb_tx *tx, const char *identity, const json_t *body)
{
    return maintains_repo(tx, identity, mb_json_get_text(body, "name", ""));
}

/* --- vcs.proposal.close --- */

static void proposal_key(char out[MB_STATE_KEY_MAX + 1], const char *repo, int64_t id)
{
    char rest[24];
    mb_snprintf(rest, sizeof rest, "%010" PRId64, id);
    key_of(out, "proposal", repo, rest);
}

static void count_key(char out[MB_STATE_KEY_MAX + 1], const char *repo, const char *author)
{
    key_of(out, "open", repo, author);
}

static void add_count(struct mb_tx *tx, const char *key, int64_t by)
{
    json_t *old = mb_tx_get(tx, key);
    json_t *sum = json_integer(json_integer_value(old) + by);
    if (json_integer_value(sum) > 0)
        mb_tx_put(tx, key, sum);
    else
        mb_tx_delete(tx, key);
    json_decref(old);
    json_decref(sum);
}

static void remove_ref(struct mb_tx *tx, const char *repo, const char *ref)
{
    char key[MB_STATE_KEY_MAX + 1];
    vcs_ref_key(key, repo, ref);
    mb_tx_delete(tx, key);
    fold_key(key, repo, ref);
    mb_tx_delete(tx, key);
}

static void put_ref(struct mb_tx *tx, const char *repo, const char *ref, const char *id)
{
    char key[MB_STATE_KEY_MAX + 1];
    json_t *value = json_string(id), *one = json_integer(1);
    vcs_ref_key(key, repo, ref);
    mb_tx_put(tx, key, value);
    fold_key(key, repo, ref);
    mb_tx_put(tx, key, one);
    json_decref(value);
    json_decref(one);
}

static int proposal_close(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                          json_t **result, struct mb_error *error)
{
    const char *name = mb_json_get_text(body, "repo", "");
    int64_t id = mb_json_get_int(body, "proposal", 0);
    char key[MB_STATE_KEY_MAX + 1], count[MB_STATE_KEY_MAX + 1], ref[64];
    json_t *repo = vcs_repo(tx, name), *proposal = NULL;
    int rc = 0;
    (void)result;
    proposal_key(key, name, id);
    if (repo == NULL)
        rc = mb_refuse(error, "vcs.repo_unknown", "s", name);
    else if ((proposal = mb_tx_get(tx, key)) == NULL)
        rc = mb_refuse(error, "vcs.proposal_unknown", "sd", name, id);
    const char *author = mb_json_get_text(proposal, "author", "");
    if (rc == 0 && !ctx->as_org && strcmp(author, ctx->signer) != 0 &&
        !vcs_is_maintainer(repo, ctx->signer))
        rc = mb_refuse(error, "vcs.forbidden", "ss", name, "close");
    if (rc == 0) {
        mb_snprintf(ref, sizeof ref, "refs/proposals/%" PRId64, id);
        remove_ref(tx, name, ref);
        mb_tx_delete(tx, key);
        count_key(count, name, author);
        add_count(tx, count, -1);
        json_object_set_new(repo, "proposals",
                            json_integer(mb_json_get_int(repo, "proposals", 1) - 1));
        key_of(key, "repo", name, "");
        mb_tx_put(tx, key, repo);
    }
    json_decref(repo);
    json_decref(proposal);
    return rc;
}

/* --- vcs.push --- */

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
    if (age < 0 || age > NONCE_LIFE_S)
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
    fold_key(key, p->name, ref);
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
    bool fits = is != NULL ? strcmp(is, u->old_id) == 0 : is_zero_id(u->old_id);
    json_decref(current);
    bool exists = !is_zero_id(u->old_id), remains = !is_zero_id(u->new_id);
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
    if (!is_zero_id(u->old_id) || is_zero_id(u->new_id))
        return mb_refuse(p->error, "vcs.ref_moved", "s", u->ref);
    mb_snprintf(ref, sizeof ref, "refs/heads/%s", branch);
    vcs_ref_key(key, p->name, ref);
    if (!mb_tx_has(p->tx, key))
        return mb_refuse(p->error, "vcs.branch_unknown", "ss", p->name, branch);
    count_key(key, p->name, p->author);
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
    proposal_key(key, p->name, id);
    mb_tx_put(p->tx, key, proposal);
    json_decref(proposal);
    mb_snprintf(ref, sizeof ref, "refs/proposals/%" PRId64, id);
    put_ref(p->tx, p->name, ref, u->new_id);
    count_key(key, p->name, p->author);
    add_count(p->tx, key, 1);
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
        else if (is_zero_id(u->new_id))
            remove_ref(p->tx, p->name, u->ref);
        else
            put_ref(p->tx, p->name, u->ref, u->new_id);
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
    key_of(key, "push", p->name, rest);
    mb_tx_put(p->tx, key, push);
    json_object_set_new(p->repo, "next_push", json_integer(number + 1));
    key_of(key, "repo", p->name, "");
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

static int push(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
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

/* --- Sweep --- */

struct sweeping {
    struct mb_tx *tx;
    int64_t before;
};

static int sweep_nonce(void *arg, const char *key, const json_t *value)
{
    struct sweeping *s = arg;
    char *end;
    (void)value;
    if (strtoll(key + strlen("vcs/nonce/"), &end, 10) >= s->before)
        return 1;
    mb_tx_delete(s->tx, key);
    return 0;
}

static void sweep(struct mb_tx *tx, const struct mb_context *ctx)
{
    struct sweeping s = {.tx = tx, .before = ctx->time - NONCE_LIFE_S};
    mb_tx_scan(tx, "vcs/nonce/", "", sweep_nonce, &s);
}

static bool has_role(struct mb_tx *tx, const char *identity, const char *type, const json_t *body)
{
    const char *field = strcmp(type, "vcs.repo.set") == 0         ? "name"
                        : strcmp(type, "vcs.proposal.close") == 0 ? "repo"
                                                                  : NULL;
    return field != NULL && maintains_repo(tx, identity, mb_json_get_text(body, field, ""));
}

/* --- Tables --- */

static const struct mb_json_field create_fields[] = {
    {.name = "name", .kind = MB_JSON_STRING, .min = 1, .max = VCS_REPO_MAX},
    {.name = "title", .kind = MB_JSON_STRING, .optional = true, .min = 0, .max = 200},
    {.name = "maintainers", .kind = MB_JSON_ARRAY, .min = 1, .max = 64},
    {.name = "policy", .kind = MB_JSON_STRING, .optional = true},
    {.name = "unsigned", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = 1},
    {.name = "rewind", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = 1},
    {.name = "default_branch", .kind = MB_JSON_STRING, .optional = true, .min = 1, .max = 100},
    {.name = "object_format", .kind = MB_JSON_STRING, .optional = true},
    {.name = "limits", .kind = MB_JSON_OBJECT, .optional = true},
    {.name = NULL},
};
static const struct mb_json_field set_body_fields[] = {
    {.name = "name", .kind = MB_JSON_STRING, .min = 1, .max = VCS_REPO_MAX},
    {.name = "title", .kind = MB_JSON_STRING, .optional = true, .min = 0, .max = 200},
    {.name = "maintainers", .kind = MB_JSON_ARRAY, .optional = true, .min = 1, .max = 64},
    {.name = "policy", .kind = MB_JSON_STRING, .optional = true},
    {.name = "unsigned", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = 1},
    {.name = "rewind", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = 1},
    {.name = "default_branch", .kind = MB_JSON_STRING, .optional = true, .min = 1, .max = 100},
    {.name = "limits", .kind = MB_JSON_OBJECT, .optional = true},
    {.name = NULL},
};
static const struct mb_json_field close_fields[] = {
    {.name = "repo", .kind = MB_JSON_STRING, .min = 1, .max = VCS_REPO_MAX},
    {.name = "proposal", .kind = MB_JSON_INT, .min = 1, .max = 9999999999},
    {.name = NULL},
};
static const struct mb_json_field push_fields[] = {
    {.name = "repo", .kind = MB_JSON_STRING, .min = 1, .max = VCS_REPO_MAX},
    {.name = "pack", .kind = MB_JSON_STRING, .optional = true, .min = 64, .max = 64},
    {.name = "certificate",
     .kind = MB_JSON_STRING,
     .optional = true,
     .min = 1,
     .max = MB_PUSHCERT_MAX},
    {.name = "updates",
     .kind = MB_JSON_ARRAY,
     .optional = true,
     .min = 1,
     .max = MB_PUSHCERT_UPDATES_MAX},
    {.name = "work", .kind = MB_JSON_STRING, .optional = true, .min = 16, .max = 16},
    {.name = "receipts", .kind = MB_JSON_ARRAY, .min = 1, .max = 9},
    {.name = NULL},
};

static const struct mb_verb verbs[] = {
    {.name = "vcs.repo.create", .access = MB_MEMBER, .body = create_fields, .apply = repo_create},
    {.name = "vcs.repo.set",
     .access = MB_ORG,
     .body = set_body_fields,
     .may = maintains,
     .apply = repo_set},
    {.name = "vcs.proposal.close",
     .access = MB_ANYONE,
     .body = close_fields,
     .apply = proposal_close},
    {.name = "vcs.push", .access = MB_REPLICA, .body = push_fields, .apply = push},
    {.name = NULL},
};

static const struct mb_message messages[] = {
    {"vcs.repo_name", "{0} is no name for a repository: 1 to 40 of a-z 0-9 - . _, beginning and "
                      "ending with a letter or digit, not ending in .git or .lock"},
    {"vcs.repo_exists", "there is a repository {0} already: choose another name"},
    {"vcs.repo_unknown", "there is no repository {0}: magicbiz repo list shows those there are"},
    {"vcs.object_format", "{0} is no object format that this version can keep: sha1"},
    {"vcs.policy", "{0} is no policy: strict or open"},
    {"vcs.maintainer",
     "maintainer number {0} is not a fingerprint (SHA256:...), or is named twice"},
    {"vcs.ref", "{0} cannot be pushed to: push to refs/heads/, refs/tags/ or, as a proposal, to "
                "refs/for/BRANCH"},
    {"vcs.branch_unknown", "{0} has no branch {1} to propose to"},
    {"vcs.forbidden", "this key is no maintainer of {0}: push a proposal instead: git push "
                      "--signed origin HEAD:refs/for/main"},
    {"vcs.ref_moved", "{0} has moved meanwhile: fetch, rebase, and push again"},
    {"vcs.ref_twin", "{0} collides with a name that exists (names that differ only in case count "
                     "as one): choose another"},
    {"vcs.tag_moved", "{0} exists: tags do not move; delete it first, or choose another name"},
    {"vcs.unsigned",
     "{0} takes no unsigned pushes here: push with --signed (magicbiz repo setup configures it)"},
    {"vcs.empty", "the push changes nothing"},
    {"vcs.certificate", "the push certificate does not hold ({0}): push again"},
    {"vcs.key_replaced", "this key was replaced: sign with the new one"},
    {"vcs.pushee", "the certificate was made for another repository than {0}: push to the address "
                   "that the organisation publishes"},
    {"vcs.zone",
     "the certificate tells your time zone ({0}): push with TZ=UTC, or through magicbiz://"},
    {"vcs.work", "this push needs {0} bits of work: push through magicbiz://, which does it, or "
                 "give -o work=W"},
    {"vcs.nonce_foreign",
     "the certificate answers another repository's challenge than {0}'s: push again"},
    {"vcs.nonce_stale", "the certificate is {0} seconds old; an hour is the most: push again"},
    {"vcs.nonce_used", "this certificate was used before: push again"},
    {"vcs.receipts", "{0} replicas vouch for the pack, {1} are needed: push again later"},
    {"vcs.proposals", "{0} proposals are open, the most that this repository takes: come again "
                      "when some are closed"},
    {"vcs.proposals_per_key",
     "{0} proposals of this key are open: close some first (vcs.proposal.close)"},
    /* What the receiving replica refuses before there is a command. */
    {"vcs.head", "the head of the push is malformed: push with git 2.30 or newer"},
    {"vcs.head_large", "too many refs, options or bytes in one push: push in parts"},
    {"vcs.object_format_differs", "the repository's objects are {0}: this working copy has others"},
    {"vcs.shallow", "this clone is shallow: git fetch --unshallow, then push again"},
    {"vcs.pack", "the pack does not hold ({0}): git fsck, then push again"},
    {"vcs.pack_large", "the pack is over {0} bytes: push in parts, or ask for a higher limit"},
    {"vcs.object_large", "object {0} has {1} bytes, over the limit of {2}: take it out"},
    {"vcs.missing", "objects that the new refs need are missing: git fsck, then push again"},
    {"vcs.not_commit", "{0} must point to a commit"},
    {"vcs.not_fast_forward", "{0} would lose commits: fetch, rebase, and push again"},
    {"vcs.metadata",
     "{0} commits or tags tell more than a pseudonym: magicbiz repo scrub repairs them"},
    {"vcs.busy", "too many pushes at once: push again in a minute"},
    {"vcs.quota",
     "there is no room for packs on this replica: tell its operator, push again later"},
    {"vcs.proposal_unknown", "{0} has no open proposal {1}"},
    {.code = NULL},
};

const struct mb_logic vcs_logic = {
    .name = "vcs",
    .version = 1,
    .verbs = verbs,
    .messages = messages,
    .sweep = sweep,
    .has_role = has_role,
};
