/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Talking to an organisation: its onions in turn, or a daemon's Unix socket. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "loop/loop.h"

#define ANSWER_MAX (64u << 20)
#define LINE_MAX   (8u << 20)
#define BUSY       (-200) /* of call_each() */
#define BUSY_MS    60000
/* After that another onion is tried: a tor may wait for a lost service for two minutes. */
#define REACH_MS 15000

static const char *setting(const struct cli *c, const char *option, const char *variable)
{
    const char *value = cli_option(c, option);
    if (value == NULL)
        value = getenv(variable);
    return value != NULL && *value != 0 ? value : NULL;
}

static int add_client(struct cli_org *o, const char *socket, const char *onion,
                      struct mb_error *error)
{
    const char *socks = setting(o->cli, "socks", "MAGICBIZ_SOCKS");
    char org[MB_HASH_HEX_SIZE];
    mb_hash_hex(&o->pin.org, org); /* no two organisations of a person share a circuit */
    struct mb_http_client_options options = {
        .unix_path = socket,
        .onion = socket != NULL ? NULL : onion,
        .socks = socket != NULL  ? NULL
                 : socks != NULL ? socks
                                 : "127.0.0.1:9050",
        .isolation = org,
        .timeout_ms = o->cli->timeout_ms,
        .reach_ms = o->pin.onion_count > 1 ? REACH_MS : 0,
    };
    return mb_http_client_new(&o->clients[o->client_count++], &options, error);
}

int cli_connect(struct cli *c, struct mb_pin *pin, struct cli_org **out, struct mb_error *error)
{
    const char *socket = setting(c, "socket", "MAGICBIZ_SOCKET");
    struct cli_org *o = mb_calloc(1, sizeof *o);
    int rc = 0;
    o->cli = c;
    o->pin = *pin;
    *pin = (struct mb_pin){0};
    cli_load_seen(o, &o->seen);
    o->clients = mb_calloc(o->pin.onion_count + 1, sizeof(struct mb_http_client *));
    if (socket != NULL)
        rc = add_client(o, socket, NULL, error);
    for (size_t i = 0; i < o->pin.onion_count && socket == NULL && rc == 0; i++)
        rc = add_client(o, NULL, o->pin.onions[i], error);
    c->org = o;
    *out = o;
    return rc;
}

const char *cli_fallback(const struct cli_org *o)
{
    return o->current == 0 ? NULL : mb_http_client_onion(o->clients[o->current]);
}

void cli_org_free(struct cli_org *o)
{
    if (o == NULL)
        return;
    for (size_t i = 0; i < o->client_count; i++)
        mb_http_client_free(o->clients[i]);
    free(o->clients);
    mb_pin_clear(&o->pin);
    mb_buf_clear(&o->genesis_text);
    mb_genesis_clear(&o->genesis);
    free(o->configs);
    json_decref(o->walked);
    json_decref(o->summary);
    free(o);
}

void cli_escape(struct mb_buf *out, const char *text)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *text != 0; text++)
        if (strchr(plain, *text) != NULL)
            mb_buf_add_u8(out, (uint8_t)*text);
        else
            mb_buf_addf(out, "%%%02X", (unsigned char)*text);
}

/* The organisation's own code and words for an answer that is an error. */
static int answer_error(unsigned status, const json_t *answer, struct mb_error *error)
{
    const json_t *e = json_object_get(answer, "error");
    const char *code = mb_json_get_text(e, "code", "http.status");
    const char *message = mb_json_get_text(e, "message", NULL);
    if (message == NULL)
        message = mb_json_get_text(answer, "message", NULL);
    mb_fail(error, MB_EREFUSED, code, "%s: %s", code, message != NULL ? message : "");
    if (message == NULL)
        mb_fail(error, MB_EREFUSED, code, "%s (the answer's status is %u)", code, status);
    return status == 503 ? MB_EREACH : MB_EREFUSED;
}

static int parse_answer(unsigned status, const struct mb_buf *body, bool any_status, json_t **out,
                        struct mb_error *error)
{
    int rc = mb_json_parse(out, body->data, body->len, error);
    if (rc != 0)
        return mb_fail(error, MB_EINVAL, "http.answer",
                       "the answer (status %u) is not what an organisation says", status);
    if (status == 200 || any_status)
        return 0;
    rc = answer_error(status, *out, error);
    json_decref(*out);
    *out = NULL;
    return rc;
}

/* A replica that cannot take it now (limit.*): another may, and so may this one later. */
static bool is_busy(unsigned status, const struct mb_buf *body, struct mb_error *error)
{
    json_t *answer;
    if (status != 503 || mb_json_parse(&answer, body->data, body->len, NULL) != 0)
        return false;
    const char *code = mb_json_get_text(json_object_get(answer, "error"), "code", "");
    bool busy = strncmp(code, "limit.", 6) == 0;
    if (busy)
        answer_error(status, answer, error);
    json_decref(answer);
    return busy;
}

/* One call on each client in turn, beginning with the one that answered last; twice, for a tor goes
 * on to build its way to what was not reached in time. */
static int call_each(struct cli_org *o, const char *path, const struct mb_bytes *post,
                     unsigned *status, struct mb_buf *body, struct mb_error *error)
{
    int rc = MB_EREACH;
    for (size_t i = 0; i < 2 * o->client_count && (rc == MB_EREACH || rc == BUSY); i++) {
        struct mb_http_client *client = o->clients[o->current];
        mb_buf_reset(body);
        rc = post == NULL ? mb_http_get(client, path, ANSWER_MAX, status, body, error)
                          : mb_http_post(client, path, "application/json", *post, ANSWER_MAX,
                                         status, body, error);
        if (rc == 0 && is_busy(*status, body, error))
            rc = BUSY;
        if (rc == BUSY || rc == MB_EREACH)
            o->current = (o->current + 1) % o->client_count;
    }
    return rc;
}

/* The same bytes are sent again: a command counts once, however often it comes. */
static int call(struct cli_org *o, const char *path, const struct mb_bytes *post, unsigned *status,
                struct mb_buf *body, struct mb_error *error)
{
    int64_t until = mb_now_ms() + (o->cli->timeout_ms > 0 ? o->cli->timeout_ms : BUSY_MS);
    bool said = false;
    int rc;
    while ((rc = call_each(o, path, post, status, body, error)) == BUSY && mb_now_ms() < until) {
        const struct timespec second = {.tv_sec = 1};
        if (!said)
            fprintf(stderr, "magicbiz: %s; waiting\n", error->text);
        said = true;
        nanosleep(&second, NULL);
    }
    return rc == BUSY ? MB_EREACH : rc;
}

int cli_get(struct cli_org *o, const char *path, json_t **out, struct mb_error *error)
{
    struct mb_buf body = {0};
    unsigned status = 0;
    *out = NULL;
    int rc = call(o, path, NULL, &status, &body, error);
    if (rc == 0)
        rc = parse_answer(status, &body, false, out, error);
    mb_buf_clear(&body);
    return rc;
}

int cli_post(struct cli_org *o, const char *path, json_t *json, unsigned *status, json_t **out,
             struct mb_error *error)
{
    struct mb_buf body = {0};
    char *text = mb_json_text(json);
    struct mb_bytes bytes = mb_bytes_of(text);
    *out = NULL;
    int rc = call(o, path, &bytes, status, &body, error);
    if (rc == 0)
        rc = parse_answer(*status, &body, true, out, error);
    mb_buf_clear(&body);
    free(text);
    return rc;
}

struct line_call {
    int (*line)(void *arg, json_t *line, struct mb_error *error);
    void *arg;
    json_t *failure;
};

static int on_line(void *arg, struct mb_bytes bytes, struct mb_error *error)
{
    struct line_call *call = arg;
    json_t *json;
    int rc = mb_json_parse(&json, bytes.data, bytes.len, error);
    if (rc != 0)
        return rc;
    if (json_object_get(json, "error") != NULL && json_object_get(json, "ok") == NULL)
        call->failure = json_incref(json);
    else
        rc = call->line(call->arg, json, error);
    json_decref(json);
    return rc;
}

int cli_get_lines(struct cli_org *o, const char *path,
                  int (*line)(void *arg, json_t *line, struct mb_error *error), void *arg,
                  struct mb_error *error)
{
    struct line_call lines = {.line = line, .arg = arg};
    unsigned status = 0;
    int rc =
        mb_http_get_lines(o->clients[o->current], path, LINE_MAX, on_line, &lines, &status, error);
    if (rc == 0 && status != 200)
        rc = answer_error(status, lines.failure, error);
    json_decref(lines.failure);
    return rc;
}

int cli_operator(struct cli *c, const char *path, json_t **out, struct mb_error *error)
{
    struct mb_http_client_options options = {.unix_path = setting(c, "socket", "MAGICBIZ_SOCKET"),
                                             .timeout_ms = c->timeout_ms};
    struct mb_http_client *client = NULL;
    struct mb_buf body = {0};
    unsigned status = 0;
    *out = NULL;
    if (options.unix_path == NULL)
        return mb_fail(error, MB_EINVAL, "operator.socket",
                       "name the daemon's operator socket: --socket DIR/run/operator.sock");
    int rc = mb_http_client_new(&client, &options, error);
    if (rc == 0)
        rc = mb_http_get(client, path, ANSWER_MAX, &status, &body, error);
    if (rc == 0)
        rc = parse_answer(status, &body, false, out, error);
    mb_buf_clear(&body);
    mb_http_client_free(client);
    return rc;
}

int cli_choose_pin(struct cli *c, struct mb_pin *pin, struct mb_error *error)
{
    const char *name = setting(c, "org", "MAGICBIZ_ORG");
    char **names;
    if (name != NULL)
        return cli_pin_load(c, name, pin, error);
    size_t count = cli_pin_names(c, &names);
    int rc = count == 1 ? cli_pin_load(c, names[0], pin, error)
             : count == 0
                 ? mb_fail(error, MB_ENOENT, "org.none",
                           "no organisation was joined: magicbiz org join NAME magicbiz:...")
                 : mb_fail(error, MB_EINVAL, "org.which",
                           "%zu organisations were joined: choose one with --org NAME", count);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
    free(names);
    return rc;
}

static int take_genesis(struct cli_org *o, struct mb_error *error)
{
    const char *text = mb_json_get_text(o->summary, "genesis", "");
    mb_buf_add_text(&o->genesis_text, text);
    int rc = mb_genesis_parse(&o->genesis, mb_bytes_of(text), error);
    if (rc == 0 && !mb_hash_equal(&o->genesis.org, &o->pin.org))
        rc = mb_fail(error, MB_EPROOF, "org.other",
                     "who answers is another organisation: do not trust this address");
    if (rc == 0)
        cli_configs_begin(o);
    return rc;
}

/* The addresses in the pin become these (taken). Where that cannot be saved, the next time asks
 * again: no reason to fail. */
static void set_onions(struct cli_org *o, char **onions, size_t count)
{
    for (size_t i = 0; i < o->pin.onion_count; i++)
        free(o->pin.onions[i]);
    free(o->pin.onions);
    o->pin.onions = onions;
    o->pin.onion_count = count;
    (void)cli_pin_save(o->cli, &o->pin, NULL);
}

/* The organisation's onion changes when a replica was removed, and replicas come and go: the pin
 * follows what is proven, so that there is somebody to ask as long as one of them lives. */
static int follow_onions(struct cli_org *o, struct mb_error *error)
{
    const struct mb_membership *config = cli_config_for(o, o->newest.slot + 1);
    const char *current =
        mb_json_get_text(json_object_get(o->summary, "onion"), "current", o->pin.onions[0]);
    json_t *proven = NULL;
    if (strcmp(current, o->pin.onions[0]) != 0) {
        int rc = cli_state(o, "org/onion", &proven, error);
        if (rc < 0)
            return rc;
        current = mb_json_get_text(proven, "current", o->pin.onions[0]);
    }
    char **onions = mb_calloc(MB_REPLICAS_MAX + 1, sizeof(char *));
    size_t count = 0;
    onions[count++] = mb_strdup(current);
    for (size_t i = 0; i < config->count; i++)
        onions[count++] = mb_strdup(config->replicas[i].onion);
    bool same = count == o->pin.onion_count;
    for (size_t i = 0; i < count && same; i++)
        same = strcmp(onions[i], o->pin.onions[i]) == 0;
    if (same || o->pin.name == NULL) {
        for (size_t i = 0; i < count; i++)
            free(onions[i]);
        free(onions);
    } else {
        set_onions(o, onions, count);
    }
    json_decref(proven);
    return 0;
}

int cli_open_org(struct cli *c, struct cli_org **out, struct mb_error *error)
{
    struct mb_pin pin = {0};
    if (c->org != NULL && c->org->verified) {
        *out = c->org;
        return 0;
    }
    int rc = cli_choose_pin(c, &pin, error);
    if (rc == 0)
        rc = cli_connect(c, &pin, out, error);
    mb_pin_clear(&pin);
    if (rc == 0)
        rc = cli_get(*out, "/v1/org", &(*out)->summary, error);
    if (rc == 0)
        rc = take_genesis(*out, error);
    if (rc == 0)
        rc = cli_verify_checkpoint(*out, json_object_get((*out)->summary, "checkpoint"),
                                   &(*out)->newest, error);
    return rc == 0 ? follow_onions(*out, error) : rc;
}

int cli_list(struct cli_org *o, const char *prefix, json_t **items, struct mb_error *error)
{
    struct mb_buf after = {0};
    bool more = true;
    int rc = 0;
    *items = json_array();
    mb_buf_add_text(&after, prefix);
    while (rc == 0 && more) {
        struct mb_buf path = {0};
        json_t *answer = NULL;
        mb_buf_add_text(&path, "/v1/state?limit=1000&prefix=");
        cli_escape(&path, prefix);
        mb_buf_add_text(&path, "&after=");
        cli_escape(&path, mb_buf_text(&after));
        rc = cli_get(o, mb_buf_text(&path), &answer, error);
        json_t *got = json_object_get(answer, "items");
        json_t *last = json_array_get(got, json_array_size(got) - 1);
        more = last != NULL && json_is_true(json_object_get(answer, "more"));
        if (rc == 0)
            json_array_extend(*items, got);
        if (last != NULL) {
            mb_buf_reset(&after);
            mb_buf_add_text(&after, mb_json_get_text(last, "key", ""));
        }
        json_decref(answer);
        mb_buf_clear(&path);
    }
    mb_buf_clear(&after);
    return rc;
}
