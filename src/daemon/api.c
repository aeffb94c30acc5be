/* SPDX-License-Identifier: GPL-3.0-or-later */
/* POST /v1/commands, and what became of a command (magicbiz-protocol(7), "HTTP API"). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/api.h"
#include "ledger/message.h"

#define ENVELOPE_MAX (2u * MB_COMMAND_MAX + 4096) /* escapes can double a text */
#define WAIT_S_MAX   60

/* A command on its way: a client may leave, or be told 202, before it has come to its end. */
struct posted {
    struct api *api;
    struct mb_request *request; /* NULL: nobody waits any more */
    struct mb_buf body;
    struct mb_timer *timeout;
    bool submitted;
    uint64_t wait_s;
    char id[MB_HASH_HEX_SIZE];
};
struct api {
    struct node *node;
    size_t body_bytes; /* of all commands that are being received */
};

struct api *api_new(struct node *n)
{
    struct api *a = mb_calloc(1, sizeof *a);
    a->node = n;
    return a;
}

void api_free(struct api *a)
{
    free(a);
}

void api_fail(struct node *n, struct mb_request *r, enum mb_err err, struct mb_error *error)
{
    mb_message_fill(error, n->modules.logics, n->modules.count);
    mb_reply_error(r, err, error);
}

void api_refuse(struct node *n, struct mb_request *r, enum mb_err err, const char *code,
                const char *text)
{
    struct mb_error error = {0};
    mb_fail(&error, err, code, "%s", text);
    api_fail(n, r, err, &error);
}

static void posted_free(struct posted *p)
{
    p->api->body_bytes -= p->body.cap;
    mb_timer_free(p->timeout);
    mb_buf_clear(&p->body);
    free(p);
}

static void on_gone(struct mb_request *r, void *user)
{
    struct posted *p = user;
    (void)r;
    p->request = NULL;
    if (!p->submitted)
        posted_free(p);
}

/* A result as the archive has it, with slot, index, and a message where it is an error. */
static json_t *result_json(struct node *n, const char *text, size_t len, uint64_t slot,
                           uint32_t index)
{
    json_t *json = NULL;
    if (mb_json_parse(&json, text, len, NULL) != 0)
        return NULL;
    json_object_set_new(json, "slot", json_integer((json_int_t)slot));
    json_object_set_new(json, "index", json_integer((json_int_t)index));
    json_t *error = json_object_get(json, "error");
    struct mb_buf message = {0};
    if (error != NULL) {
        mb_message(&message, mb_json_get_text(error, "code", ""), json_object_get(error, "args"),
                   n->modules.logics, n->modules.count);
        json_object_set_new(json, "message", json_string(mb_buf_text(&message)));
    } else {
        json_object_set_new(json, "message", json_string("done"));
    }
    mb_buf_clear(&message);
    return json;
}

int api_read_block(struct node *n, uint64_t slot, struct mb_block *block, struct mb_error *error)
{
    struct mb_buf record = {0};
    *block = (struct mb_block){0};
    int rc = mb_archive_read(n->archive, MB_ARCHIVE_BLOCK, slot, &record, error);
    if (rc == 1)
        rc = mb_block_decode(block, mb_buf_bytes(&record), error) == 0 ? 1 : MB_ECORRUPT;
    mb_buf_clear(&record);
    return rc;
}

static json_t *stored_result(struct node *n, uint64_t slot, uint32_t index)
{
    struct mb_block block;
    json_t *json = NULL;
    if (api_read_block(n, slot, &block, NULL) == 1 && index < block.result_count)
        json = result_json(n, (const char *)block.results[index].data, block.results[index].len,
                           slot, index);
    mb_block_clear(&block);
    return json;
}

static void reply_result(struct node *n, struct mb_request *r, uint64_t slot, uint32_t index)
{
    json_t *json = stored_result(n, slot, index);
    if (json == NULL && slot < mb_archive_first(n->archive)) {
        api_refuse(n, r, MB_ENOENT, "blocks.since",
                   "it was carried out before the snapshot that this replica began with: ask "
                   "another for its result");
        return;
    }
    if (json == NULL) {
        api_refuse(n, r, MB_EIO, "archive.corrupt", "the result cannot be read");
        return;
    }
    const json_t *error = json_object_get(json, "error");
    struct mb_error e = {0};
    mb_snprintf(e.code, sizeof e.code, "%s", mb_json_get_text(error, "code", ""));
    mb_reply_json(r, error == NULL ? 200 : mb_http_status(MB_EREFUSED, &e), json);
}

/* The same of a command that was applied just now. */
static void reply_applied(struct mb_request *r, const struct mb_submitted *s)
{
    json_t *json =
        json_pack("{s:s, s:I, s:s, s:b, s:O, s:I}", "id", s->id, "index", (json_int_t)s->index,
                  "message", s->ok ? "done" : s->error->text, "ok", s->ok,
                  s->ok ? "result" : "error", s->outcome, "slot", (json_int_t)s->slot);
    mb_reply_json(r, s->ok ? 200 : mb_http_status(MB_EREFUSED, s->error), json);
}

static bool was_repeated(const struct mb_submitted *s, struct node *n, uint64_t *slot,
                         uint32_t *index)
{
    struct mb_hash id;
    return !s->ok && strcmp(s->error->code, "command.repeated") == 0 &&
           mb_hash_from_hex(&id, s->id) == 0 &&
           mb_store_command_find(n->store, &id, slot, index) == 1;
}

static void on_result(void *arg, const struct mb_submitted *s)
{
    struct posted *p = arg;
    struct node *n = p->api->node;
    struct mb_request *r = p->request;
    uint64_t slot = s->slot;
    uint32_t index = s->index;
    p->submitted = false;
    if (r == NULL) {
        posted_free(p);
    } else if (was_repeated(s, n, &slot, &index)) {
        reply_result(n, r, slot, index);
    } else if (slot > 0) {
        reply_applied(r, s);
    } else {
        mb_reply_error(r, MB_EREFUSED, s->error);
    }
}

static void on_timeout(void *arg)
{
    struct posted *p = arg;
    struct mb_request *r = p->request;
    if (r != NULL && p->submitted)
        mb_reply_json(r, 202, json_pack("{s:s}", "id", p->id));
}

static void body_end(struct mb_request *r, void *user)
{
    struct posted *p = user;
    struct node *n = p->api->node;
    struct mb_envelope envelope = {0};
    struct mb_error error = {0};
    int rc = mb_envelope_parse(&envelope, mb_buf_bytes(&p->body), &error);
    if (rc != 0) {
        api_fail(n, r, (enum mb_err)rc, &error);
        return;
    }
    p->api->body_bytes -= p->body.cap;
    mb_buf_clear(&p->body);
    struct mb_hash id = mb_sha256(envelope.text.data, envelope.text.len);
    mb_hash_hex(&id, p->id);
    p->submitted = true;
    mb_timer_set(p->timeout, (int64_t)p->wait_s * 1000);
    sequence_submit_envelope(n->sequence, &envelope, on_result, p);
}

static size_t body_chunk(struct mb_request *r, void *user, struct mb_bytes bytes)
{
    struct posted *p = user;
    struct api *a = p->api;
    size_t before = p->body.cap;
    int64_t budget = mb_config_int(a->node->config, "http", "bodies");
    if ((int64_t)(a->body_bytes + bytes.len) > budget) {
        api_refuse(a->node, r, MB_EREACH, "limit.busy",
                   "too many commands are being received: send it again later");
        return bytes.len;
    }
    mb_buf_add_bytes(&p->body, bytes);
    a->body_bytes += p->body.cap - before;
    return bytes.len;
}

static void post_command(void *self, struct mb_request *r)
{
    struct node *n = self;
    uint64_t wait_s;
    if (!api_number(n, r, "wait", WAIT_S_MAX, &wait_s))
        return;
    struct posted *p = mb_calloc(1, sizeof *p);
    p->api = n->api;
    p->wait_s = wait_s < WAIT_S_MAX ? wait_s : WAIT_S_MAX;
    p->request = r;
    p->timeout = mb_timer_new(n->loop, on_timeout, p);
    mb_request_set_user(r, p, on_gone);
    mb_request_body(r, ENVELOPE_MAX, body_chunk, body_end);
}

/* 1 and where the command was executed; otherwise the request has been answered. */
static int find_command(struct node *n, struct mb_request *r, uint64_t *slot, uint32_t *index)
{
    struct mb_hash id;
    if (mb_hash_from_hex(&id, mb_request_param(r, "id")) != 0)
        api_refuse(n, r, MB_EINVAL, "command.id", "an id is 64 lower-case hex digits");
    else if (mb_store_command_find(n->store, &id, slot, index) == 1)
        return 1;
    else
        api_refuse(n, r, MB_ENOENT, "command.unknown",
                   "no such command has been taken in: send it again");
    return 0;
}

static void get_command(void *self, struct mb_request *r)
{
    uint64_t slot;
    uint32_t index;
    if (find_command(self, r, &slot, &index) == 1)
        reply_result(self, r, slot, index);
}

json_t *api_path_json(const struct mb_hash *path, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        char hex[MB_HASH_HEX_SIZE];
        mb_hash_hex(&path[i], hex);
        json_array_append_new(array, json_string(hex));
    }
    return array;
}

json_t *api_hex_json(struct mb_bytes bytes)
{
    struct mb_buf hex = {0};
    mb_hex_encode(&hex, bytes.data, bytes.len);
    json_t *json = json_string(mb_buf_text(&hex));
    mb_buf_clear(&hex);
    return json;
}

static size_t result_path(const struct mb_block *block, uint32_t index,
                          struct mb_hash path[MB_HISTORY_PATH_MAX])
{
    struct mb_hash *leaves = mb_calloc(block->result_count, sizeof *leaves);
    for (size_t i = 0; i < block->result_count; i++)
        leaves[i] = mb_history_leaf(mb_buf_bytes(&block->results[i]));
    size_t count = mb_history_path_of(leaves, block->result_count, index, path);
    free(leaves);
    return count;
}

int api_history_path(struct node *n, uint64_t slot, uint64_t size,
                     struct mb_hash path[MB_HISTORY_PATH_MAX], size_t *count)
{
    struct mb_backend b = mb_store_backend(n->store);
    struct mb_history_source source = {.self = b.self, .get = b.ops->history_get};
    return mb_history_prove_inclusion(&source, slot, size, path, count);
}

/* The result's text, its path to results_root in the header, and the header's to the checkpoint. */
static void get_proof(void *self, struct mb_request *r)
{
    struct node *n = self;
    uint64_t slot;
    uint32_t index;
    struct mb_block block = {0};
    struct mb_checkpoint checkpoint = {0};
    struct mb_header header;
    struct mb_error error = {0};
    struct mb_hash path[MB_HISTORY_PATH_MAX], history[MB_HISTORY_PATH_MAX];
    size_t history_count = 0;
    if (find_command(n, r, &slot, &index) != 1)
        return;
    bool ok = api_read_block(n, slot, &block, &error) == 1 && index < block.result_count &&
              node_checkpoint(n, UINT64_MAX, &checkpoint, &error) == 1 &&
              mb_header_decode(&header, mb_buf_bytes(&checkpoint.header), &error) == 0;
    if (ok && slot > header.slot) {
        api_refuse(n, r, MB_ENOENT, "command.uncovered",
                   "no checkpoint covers this command yet: ask again in 10 seconds");
    } else if (!ok || (slot < header.slot &&
                       api_history_path(n, slot, header.slot, history, &history_count) != 0)) {
        api_refuse(n, r, MB_EIO, "archive.corrupt", "the proof cannot be made");
    } else {
        size_t count = result_path(&block, index, path);
        mb_reply_json(r, 200,
                      json_pack("{s:I, s:I, s:I, s:s%, s:o, s:o, s:o, s:o}", "slot",
                                (json_int_t)slot, "index", (json_int_t)index, "count",
                                (json_int_t)block.result_count, "text",
                                (const char *)block.results[index].data, block.results[index].len,
                                "path", api_path_json(path, count), "header",
                                api_hex_json(mb_buf_bytes(&block.header)), "history",
                                api_path_json(history, history_count), "checkpoint",
                                mb_checkpoint_to_json(&checkpoint)));
    }
    mb_block_clear(&block);
    mb_checkpoint_clear(&checkpoint);
}

void api_report(struct api *a, struct mb_report *r)
{
    r->subsystem = "http";
    mb_report_gauge(r, "body_bytes", "Bytes of commands that are being received.",
                    (int64_t)a->body_bytes);
}

const struct mb_route *api_routes(void)
{
    static const struct mb_route routes[] = {
        {.method = "POST", .pattern = "/v1/commands", .begin = post_command},
        {.method = "GET", .pattern = "/v1/commands/{id}", .begin = get_command},
        {.method = "GET", .pattern = "/v1/commands/{id}/proof", .begin = get_proof},
        {.method = NULL},
    };
    return routes;
}
