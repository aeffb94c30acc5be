/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The deterministic half of vcs: repositories and proposals; its tables. Pushes are in
 * vcs_push_apply.c. See magicbiz-vcs(7). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vcs_state.h"

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

void vcs_key(char out[MB_STATE_KEY_MAX + 1], const char *kind, const char *repo, const char *rest)
{
    mb_snprintf(out, MB_STATE_KEY_MAX + 1, "vcs/%s/%s%s%s", kind, repo, *rest ? "/" : "", rest);
}

json_t *vcs_repo(struct mb_tx *tx, const char *repo)
{
    char key[MB_STATE_KEY_MAX + 1];
    if (!vcs_repo_name_valid(repo))
        return NULL;
    vcs_key(key, "repo", repo, "");
    return mb_tx_get(tx, key);
}

void vcs_ref_key(char out[MB_STATE_KEY_MAX + 1], const char *repo, const char *ref)
{
    vcs_key(out, "ref", repo, ref);
}

void vcs_fold_key(char out[MB_STATE_KEY_MAX + 1], const char *repo, const char *ref)
{
    vcs_key(out, "fold", repo, ref);
    for (char *c = out; *c != 0; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
}

bool vcs_is_maintainer(const json_t *repo, const char *identity)
{
    return mb_json_has_text(json_object_get(repo, "maintainers"), identity);
}

bool vcs_is_zero_id(const char *id)
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
    vcs_key(key, "repo", name, "");
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
    vcs_key(key, "repo", name, "");
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

/* --- Proposals; vcs.proposal.close --- */

void vcs_proposal_key(char out[MB_STATE_KEY_MAX + 1], const char *repo, int64_t id)
{
    char rest[24];
    mb_snprintf(rest, sizeof rest, "%010" PRId64, id);
    vcs_key(out, "proposal", repo, rest);
}

void vcs_count_key(char out[MB_STATE_KEY_MAX + 1], const char *repo, const char *author)
{
    vcs_key(out, "open", repo, author);
}

void vcs_add_count(struct mb_tx *tx, const char *key, int64_t by)
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

void vcs_remove_ref(struct mb_tx *tx, const char *repo, const char *ref)
{
    char key[MB_STATE_KEY_MAX + 1];
    vcs_ref_key(key, repo, ref);
    mb_tx_delete(tx, key);
    vcs_fold_key(key, repo, ref);
    mb_tx_delete(tx, key);
}

void vcs_put_ref(struct mb_tx *tx, const char *repo, const char *ref, const char *id)
{
    char key[MB_STATE_KEY_MAX + 1];
    json_t *value = json_string(id), *one = json_integer(1);
    vcs_ref_key(key, repo, ref);
    mb_tx_put(tx, key, value);
    vcs_fold_key(key, repo, ref);
    mb_tx_put(tx, key, one);
    json_decref(value);
    json_decref(one);
}

/* The repository and one of its open proposals, as new references, also where they are refused. */
static int find_proposal(struct mb_tx *tx, const json_t *body, json_t **repo, json_t **proposal,
                         struct mb_error *error)
{
    const char *name = mb_json_get_text(body, "repo", "");
    int64_t id = mb_json_get_int(body, "proposal", 0);
    char key[MB_STATE_KEY_MAX + 1];
    *proposal = NULL;
    *repo = vcs_repo(tx, name);
    if (*repo == NULL)
        return mb_refuse(error, "vcs.repo_unknown", "s", name);
    vcs_proposal_key(key, name, id);
    *proposal = mb_tx_get(tx, key);
    return *proposal != NULL ? 0 : mb_refuse(error, "vcs.proposal_unknown", "sd", name, id);
}

static void close_proposal(struct mb_tx *tx, const json_t *body, json_t *repo, const char *author)
{
    const char *name = mb_json_get_text(body, "repo", "");
    int64_t id = mb_json_get_int(body, "proposal", 0);
    char key[MB_STATE_KEY_MAX + 1], ref[64];
    mb_snprintf(ref, sizeof ref, "refs/proposals/%" PRId64, id);
    vcs_remove_ref(tx, name, ref);
    vcs_proposal_key(key, name, id);
    mb_tx_delete(tx, key);
    vcs_count_key(key, name, author);
    vcs_add_count(tx, key, -1);
    json_object_set_new(repo, "proposals", json_integer(mb_json_get_int(repo, "proposals", 1) - 1));
    vcs_key(key, "repo", name, "");
    mb_tx_put(tx, key, repo);
}

static int proposal_close(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                          json_t **result, struct mb_error *error)
{
    json_t *repo, *proposal;
    (void)result;
    int rc = find_proposal(tx, body, &repo, &proposal, error);
    const char *author = mb_json_get_text(proposal, "author", "");
    if (rc == 0 && !ctx->as_org && strcmp(author, ctx->signer) != 0 &&
        !vcs_is_maintainer(repo, ctx->signer))
        rc = mb_refuse(error, "vcs.forbidden", "ss", mb_json_get_text(body, "repo", ""), "close");
    if (rc == 0)
        close_proposal(tx, body, repo, author);
    json_decref(repo);
    json_decref(proposal);
    return rc;
}

/* --- vcs.merge --- */

/* What was decided on is what would be done: this commit, in place of that one. */
static int check_merge(struct mb_tx *tx, const json_t *body, const json_t *proposal,
                       const char *ref, struct mb_error *error)
{
    const char *name = mb_json_get_text(body, "repo", ""), *old = mb_json_get_text(body, "old", "");
    const char *commit = mb_json_get_text(proposal, "commit", "");
    char key[MB_STATE_KEY_MAX + 1];
    if (strcmp(mb_json_get_text(body, "new", ""), commit) != 0)
        return mb_refuse(error, "vcs.proposal_commit", "sds", name,
                         mb_json_get_int(body, "proposal", 0), commit);
    vcs_ref_key(key, name, ref);
    json_t *is = mb_tx_get(tx, key);
    bool fits = is != NULL && strcmp(json_string_value(is), old) == 0;
    json_decref(is);
    if (!fits)
        return mb_refuse(error, "vcs.ref_moved", "s", ref);
    return strcmp(old, commit) != 0 ? 0 : mb_refuse(error, "vcs.empty", "s", name);
}

static int merge(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                 json_t **result, struct mb_error *error)
{
    char ref[MB_REF_MAX + 16];
    json_t *repo, *proposal;
    (void)ctx;
    int rc = find_proposal(tx, body, &repo, &proposal, error);
    mb_snprintf(ref, sizeof ref, "refs/heads/%s", mb_json_get_text(proposal, "branch", ""));
    if (rc == 0)
        rc = check_merge(tx, body, proposal, ref, error);
    if (rc == 0) {
        const char *author = mb_json_get_text(proposal, "author", "");
        vcs_put_ref(tx, mb_json_get_text(body, "repo", ""), ref, mb_json_get_text(body, "new", ""));
        close_proposal(tx, body, repo, author);
        *result = json_pack("{s:s, s:s}", "author", author, "ref", ref);
    }
    json_decref(repo);
    json_decref(proposal);
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
    struct sweeping s = {.tx = tx, .before = ctx->time - VCS_NONCE_LIFE_S};
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
static const struct mb_json_field merge_fields[] = {
    {.name = "repo", .kind = MB_JSON_STRING, .min = 1, .max = VCS_REPO_MAX},
    {.name = "proposal", .kind = MB_JSON_INT, .min = 1, .max = 9999999999},
    {.name = "old", .kind = MB_JSON_STRING, .min = 40, .max = 64},
    {.name = "new", .kind = MB_JSON_STRING, .min = 40, .max = 64},
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
    {.name = "vcs.merge", .access = MB_ORG, .body = merge_fields, .apply = merge},
    {.name = "vcs.push", .access = MB_REPLICA, .body = push_fields, .apply = vcs_push},
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
    {"vcs.empty", "it changes nothing"},
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
    {"vcs.behind",
     "this replica still fetches objects from the others: try again in a minute, or another onion"},
    {"vcs.replicas",
     "only {0} of the {1} replicas that are needed could keep the pack ({2}): push again later"},
    {"vcs.proposal_unknown", "{0} has no open proposal {1}"},
    {"vcs.proposal_commit", "proposal {1} of {0} is {2}: merge that, or another proposal"},
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
