/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One command of a block or at the door: what it is refused for, how it runs, what it came to. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "ledger/internal.h"

/* A command about to run. */
struct call {
    const char *type, *id, *cause; /* id or cause */
    const json_t *body;
    json_t *owner; /* what type and body are borrowed from */
    const char *signer;
    const struct mb_public_key *key; /* NULL: runs as the organisation */
};
/* What a struct mb_executed points at. */
struct mb_kept {
    char *id, *cause, *signer, *type;
    json_t *owner, *outcome;
};

/* --- Results. --- */

static void add_string(struct mb_buf *out, const char *text)
{
    mb_buf_add_u8(out, '"');
    mb_json_escape(out, text, strlen(text));
    mb_buf_add_u8(out, '"');
}

/* The canonical text: fields in the order of their names. */
static void result_text(struct mb_buf *out, const struct call *call, struct mb_bytes result,
                        const struct mb_error *refusal)
{
    mb_buf_add_u8(out, '{');
    if (call->cause) {
        mb_buf_add_text(out, "\"cause\":");
        add_string(out, call->cause);
        mb_buf_add_u8(out, ',');
    }
    if (refusal)
        mb_buf_addf(out, "\"error\":{\"args\":%s,\"code\":\"%s\"},",
                    refusal->args[0] ? refusal->args : "[]", refusal->code);
    if (call->id)
        mb_buf_addf(out, "\"id\":\"%s\",", call->id);
    mb_buf_addf(out, "\"ok\":%s", refusal ? "false" : "true");
    if (!refusal) {
        mb_buf_add_text(out, ",\"result\":");
        mb_buf_add_bytes(out, result);
    }
    if (call->cause) {
        mb_buf_add_text(out, ",\"type\":");
        add_string(out, call->type);
    }
    mb_buf_add_u8(out, '}');
}

static json_t *error_json(const struct mb_error *refusal)
{
    json_t *error = json_object();
    const char *text = refusal->args[0] ? refusal->args : "[]";
    json_t *args = json_loadb(text, strlen(text), 0, NULL);
    json_object_set_new(error, "args", args);
    json_object_set_new(error, "code", json_string(refusal->code));
    return error;
}

static void grow(struct mb_run *run)
{
    if (run->count < run->cap)
        return;
    run->cap = run->cap * 2 + 16;
    run->results = mb_realloc(run->results, run->cap * sizeof *run->results);
    run->executed = mb_realloc(run->executed, run->cap * sizeof *run->executed);
    run->kept = mb_realloc(run->kept, run->cap * sizeof *run->kept);
}

/* Add a result. Takes the result object; refusal is NULL if the command did well. */
static void record(struct mb_run *run, const struct call *call, struct mb_bytes text,
                   json_t *result_take, const struct mb_error *refusal)
{
    grow(run);
    size_t i = run->count++;
    struct mb_kept *k = &run->kept[i];
    *k = (struct mb_kept){
        .id = mb_strdup(call->id ? call->id : ""),
        .cause = mb_strdup(call->cause ? call->cause : ""),
        .signer = mb_strdup(call->signer),
        .type = mb_strdup(call->type),
        .owner = json_incref(call->owner),
        .outcome = refusal ? error_json(refusal) : result_take,
    };
    run->executed[i] = (struct mb_executed){
        .type = k->type,
        .id = k->id,
        .cause = k->cause,
        .signer = k->signer,
        .body = call->body,
        .ok = !refusal,
        .outcome = k->outcome,
    };
    memset(&run->results[i], 0, sizeof run->results[i]);
    result_text(&run->results[i], call, text, refusal);
    if (refusal)
        json_decref(result_take);
}

static void clear_kept(struct mb_run *run, size_t i)
{
    struct mb_kept *k = &run->kept[i];
    mb_buf_clear(&run->results[i]);
    free(k->id);
    free(k->cause);
    free(k->signer);
    free(k->type);
    json_decref(k->owner);
    json_decref(k->outcome);
}

void mb_run_clear(struct mb_run *run)
{
    for (size_t i = 0; i < run->count; i++)
        clear_kept(run, i);
    free(run->results);
    free(run->executed);
    free(run->kept);
    memset(run, 0, sizeof *run);
}

/* --- One command. --- */

/* Run a verb in a savepoint of its own. 0: result and its text are there. */
static int execute(struct mb_run *run, const struct mb_facts *f, const struct mb_verb *verb,
                   const char *module, const struct call *call, struct mb_buf *text,
                   json_t **result, struct mb_error *error)
{
    struct mb_tx *tx = &run->l->tx;
    struct mb_context ctx = mb_context_of(run->l, f, run->slot, run->time);
    int rc = mb_json_check(call->body, verb->body, error);
    if (rc != 0)
        return rc;
    ctx.index = (uint32_t)run->count;
    if (call->id)
        ctx.id = call->id;
    if (call->key) {
        ctx.as_org = false;
        ctx.signer = call->signer;
        ctx.signer_key = call->key;
    }
    mb_tx_open(tx, module);
    rc = verb->apply(tx, &ctx, call->body, result, error);
    if (rc == 0 && !*result)
        *result = json_object();
    if (rc == 0 && (mb_json_canonical(text, *result, NULL) != 0 || text->len > MB_STATE_VALUE_MAX))
        tx->fault = "state.limit";
    return mb_tx_close(tx, rc, error);
}

int mb_run_internal(struct mb_run *run, const char *type, const json_t *body, const char *cause,
                    json_t *owner, struct mb_error *error)
{
    const struct mb_facts *f = mb_facts(run->l);
    struct call call = {.type = type, .cause = cause, .body = body, .owner = owner, .signer = ""};
    struct mb_buf text = {0};
    json_t *result = NULL;
    const char *module = NULL;
    if (!f)
        return run->l->tx.err;
    const struct mb_verb *verb = mb_verb_find(f, type, &module);
    int rc = verb ? execute(run, f, verb, module, &call, &text, &result, error)
                  : mb_refuse(error, "command.type", "s", type);
    run->internal++;
    record(run, &call, mb_buf_bytes(&text), result, rc != 0 ? error : NULL);
    mb_buf_clear(&text);
    mb_run_batch(run);
    return rc;
}

void mb_run_note(struct mb_run *run, const char *type, const char *cause, json_t *result_take,
                 const struct mb_error *refusal)
{
    struct call call = {.type = type, .cause = cause, .signer = ""};
    struct mb_buf text = {0};
    if (!refusal)
        (void)mb_json_canonical(&text, result_take, NULL);
    record(run, &call, mb_buf_bytes(&text), result_take, refusal);
    mb_buf_clear(&text);
}

void mb_run_forget(struct mb_run *run, size_t from, bool keep_last)
{
    size_t kept = keep_last && run->count > from ? run->count - 1 : run->count;
    for (size_t i = from; i < kept; i++)
        clear_kept(run, i);
    if (kept < run->count) {
        run->results[from] = run->results[kept];
        run->executed[from] = run->executed[kept];
        run->kept[from++] = run->kept[kept];
    }
    run->count = from;
}

/* --- Envelopes. --- */

/* 0 if admissible, else an error that says why: for the door; the ledger has one code for all. */
static int admissible(const struct mb_run *run, const struct mb_checked *c, struct mb_error *error)
{
    if (c->verdict != 0) {
        *error = *c->error;
        return c->verdict;
    }
    if (strcmp(c->org, run->l->org) != 0)
        return mb_refuse(error, "command.org", "s", c->org);
    if (c->expires < run->time)
        return mb_refuse(error, "command.expired", "dd", c->expires, run->time);
    if (c->expires - run->time > MB_COMMAND_LIFE_S)
        return mb_refuse(error, "command.expires_late", "dd", c->expires,
                         run->time + MB_COMMAND_LIFE_S);
    return 0;
}

/* The id is taken in: the running hash of its hour goes on. */
static void enter(struct mb_run *run, const struct mb_checked *c)
{
    struct mb_tx *tx = &run->l->tx;
    struct mb_seen seen = {.id = c->id,
                           .slot = run->slot,
                           .index = (uint32_t)run->count,
                           .hour = (uint64_t)c->expires / 3600};
    int64_t sweep_at = (int64_t)(seen.hour + 1) * 3600;
    if (sweep_at < run->l->sweep_at)
        run->l->sweep_at = sweep_at;
    int rc = tx->backend.ops->seen_add(tx->backend.self, &seen);
    if (rc < 0) {
        mb_tx_stop(tx, rc, "ids taken in");
        return;
    }
    if (!run->entered || run->hour != seen.hour)
        mb_seen_hash_read(&run->seen, tx, seen.hour);
    run->entered = true;
    run->hour = seen.hour;
    mb_seen_hash_add(&run->seen, &seen);
    mb_seen_hash_write(&run->seen, tx, seen.hour);
}

static int unrepeated(struct mb_run *run, const struct mb_checked *c, struct mb_error *error)
{
    struct mb_tx *tx = &run->l->tx;
    struct mb_seen seen;
    int rc = tx->backend.ops->seen_find(tx->backend.self, &c->id, &seen);
    if (rc < 0)
        mb_tx_stop(tx, rc, "ids taken in");
    if (rc == 1)
        return mb_refuse(error, "command.repeated", "dd", (int64_t)seen.slot, (int64_t)seen.index);
    return rc;
}

static char *pending_key(const char *id)
{
    return mb_asprintf("core/pending/%s", id);
}

/* A founder's command that waits for others: {"pending":missing}. */
static int pend(struct mb_run *run, const struct mb_facts *f, const struct call *call,
                int64_t expires, struct mb_buf *text, json_t **result, struct mb_error *error)
{
    struct mb_tx *tx = &run->l->tx;
    int64_t missing = (int64_t)f->threshold - 1;
    json_t *approvals = json_array(), *pending = json_object();
    json_array_append_new(approvals, json_string(call->signer));
    json_object_set_new(pending, "approvals", approvals);
    json_object_set(pending, "body", (json_t *)call->body);
    json_object_set_new(pending, "expires", json_integer(expires));
    json_object_set_new(pending, "key", json_string(call->signer));
    json_object_set_new(pending, "type", json_string(call->type));
    char *key = pending_key(call->id);
    mb_tx_open(tx, NULL);
    mb_tx_set(tx, key, pending);
    free(key);
    if (expires + 1 < run->l->sweep_at)
        run->l->sweep_at = expires + 1;
    *result = json_object();
    json_object_set_new(*result, "pending", json_integer(missing));
    mb_buf_addf(text, "{\"pending\":%lld}", (long long)missing);
    return mb_tx_close(tx, 0, error);
}

static void run_approved(struct mb_run *run, const char *id)
{
    struct mb_error ignored;
    char *key = pending_key(id), *cause = mb_asprintf("approved:%s", id);
    json_t *pending = mb_tx_get(&run->l->tx, key);
    if (pending) {
        mb_tx_remove(&run->l->tx, key);
        (void)mb_run_internal(run, mb_json_get_text(pending, "type", ""),
                              json_object_get(pending, "body"), cause, pending, &ignored);
    }
    json_decref(pending);
    free(cause);
    free(key);
}

/* An admissible command that is not repeated: key, work, verb, access, body, threshold, run. */
static int run_command(struct mb_run *run, const struct mb_checked *c, struct call *call,
                       struct mb_signer *signer, struct mb_buf *text, json_t **result,
                       struct mb_error *error)
{
    struct mb_ledger *l = run->l;
    const struct mb_facts *f = mb_facts(l);
    const char *module = NULL;
    if (!f)
        return l->tx.err;
    if (!mb_signer_of(l, f, c->key, signer))
        return mb_refuse(error, "command.key", "");
    call->signer = signer->identity;
    unsigned bits = mb_work_needed(l, f, signer, c->type, c->body);
    if (!mb_hash_has_work(&c->id, bits))
        return mb_refuse(error, "command.work", "d", (int64_t)bits);
    const struct mb_verb *verb = mb_verb_find(f, c->type, &module);
    if (!verb)
        return mb_refuse(error, "command.type", "s", c->type);
    enum mb_access needed = mb_access_of(verb, c->body);
    bool may = verb->may && verb->may(&l->tx, signer->identity, c->body);
    int said = mb_run_authorize(run, c, call->id, signer, error);
    int rc = said < 0          ? said
             : may || said > 0 ? 0
                               : mb_access_check(l, needed, signer, c->type, error);
    if (rc != 0)
        return rc;
    if (may || needed != MB_ORG)
        call->key = &c->signer;
    else if (f->threshold > 1 && said == 0)
        return (rc = mb_json_check(c->body, verb->body, error)) != 0
                   ? rc
                   : pend(run, f, call, c->expires, text, result, error);
    return execute(run, f, verb, module, call, text, result, error);
}

int mb_run_envelope(struct mb_run *run, const struct mb_checked *c, struct mb_error *error)
{
    char id[MB_HASH_HEX_SIZE];
    struct mb_signer signer = {0};
    struct mb_buf text = {0};
    json_t *result = NULL;
    struct call call = {
        .type = c->type ? c->type : "", .id = id, .body = c->body, .owner = c->json, .signer = ""};
    mb_hash_hex(&c->id, id);
    int rc = admissible(run, c, error);
    if (rc != 0 && !run->door)
        mb_refuse(error, "command.inadmissible", "");
    bool taken_in = rc == 0 && (rc = unrepeated(run, c, error)) == 0;
    if (taken_in) {
        if (!run->door)
            enter(run, c);
        rc = run_command(run, c, &call, &signer, &text, &result, error);
    }
    bool approved = rc == 0 && strcmp(call.type, "org.approve") == 0 &&
                    mb_json_get_int(result, "pending", -1) == 0;
    record(run, &call, mb_buf_bytes(&text), result, rc != 0 ? error : NULL);
    size_t at = run->count - 1;
    if (!run->door) {
        mb_run_batch(run);
        if (approved)
            run_approved(run, mb_json_get_text(c->body, "id", ""));
        if (taken_in)
            mb_run_applied(run, c, id, &signer, at);
    } else {
        mb_batch_clear(&run->l->tx.batch);
    }
    mb_buf_clear(&text);
    return rc;
}
