/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Signing a command and submitting it, safe to repeat: the id makes it happen once. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "host/host.h"
#include "loop/loop.h"

#define WAIT_MS 120000

static json_t *sign_envelope(struct cli_org *o, const struct cli_identity *id, const char *type,
                             const json_t *body, unsigned work_bits, struct mb_error *error)
{
    struct mb_envelope e = {0};
    char org[MB_HASH_HEX_SIZE];
    uint8_t nonce[16];
    int64_t time = o->newest.slot == 0 ? o->genesis.created : o->newest.time;
    mb_hash_hex(&o->pin.org, org);
    mb_random(nonce, sizeof nonce);
    mb_command_text_with_work(&e.text, org, id->fingerprint, type, nonce, mb_command_expiry(time),
                              body, work_bits);
    json_t *json = NULL;
    if (cli_sign(id, MB_NAMESPACE_COMMAND, mb_buf_bytes(&e.text), &e.signature, error) == 0)
        json = mb_envelope_json(&e);
    mb_envelope_clear(&e);
    return json;
}

json_t *cli_envelope(struct cli_org *o, const struct cli_identity *id, const char *type,
                     const json_t *body, struct mb_error *error)
{
    return sign_envelope(o, id, type, body, 0, error);
}

static int post(struct cli_org *o, const json_t *envelope, json_t **answer, struct mb_error *error)
{
    unsigned status = 0;
    bool wait = cli_option(o->cli, "no-wait") == NULL;
    int64_t until = mb_now_ms() + (o->cli->timeout_ms > 0 ? o->cli->timeout_ms : WAIT_MS);
    const char *path = wait ? "/v1/commands?wait=15" : "/v1/commands?wait=0";
    int rc;
    while ((rc = cli_post(o, path, (json_t *)envelope, &status, answer, error)) == 0 &&
           status == 202 && wait && mb_now_ms() < until) {
        fputs("magicbiz: no replica leads, or it is slow: waiting; the command counts once\n",
              stderr);
        json_decref(*answer);
        *answer = NULL;
        o->current = (o->current + 1) % o->client_count;
    }
    return rc;
}

/* The work that an answer asks for, or 0. */
static unsigned work_asked(const json_t *answer)
{
    const json_t *e = json_object_get(answer, "error");
    json_int_t bits = json_integer_value(json_array_get(json_object_get(e, "args"), 0));
    bool asked = strcmp(mb_json_get_text(e, "code", ""), "command.work") == 0;
    return asked && bits > 0 && bits <= 40 ? (unsigned)bits : 0;
}

/* An answer (taken) that is an error is one. */
static int take_answer(int rc, json_t *answer, json_t **result, struct mb_error *error)
{
    const json_t *e = json_object_get(answer, "error");
    if (rc == 0 && e != NULL) {
        const char *message =
            mb_json_get_text(e, "message", mb_json_get_text(answer, "message", ""));
        const char *code = mb_json_get_text(e, "code", "");
        rc = mb_fail(error, strncmp(code, "limit.", 6) == 0 ? MB_EREACH : MB_EREFUSED, code,
                     "%s: %s", code, message);
        json_decref(answer);
        answer = NULL;
    }
    *result = answer;
    return rc;
}

int cli_submit(struct cli_org *o, const struct cli_identity *id, const char *type,
               const json_t *body, json_t **result, struct mb_error *error)
{
    json_t *envelope = sign_envelope(o, id, type, body, 0, error), *answer = NULL;
    if (envelope == NULL)
        return MB_EIO;
    int rc = post(o, envelope, &answer, error);
    unsigned bits = rc == 0 ? work_asked(answer) : 0;
    if (bits > 0) { /* a key without a role: search for a nonce, and ask again */
        json_decref(envelope);
        json_decref(answer);
        answer = NULL;
        envelope = sign_envelope(o, id, type, body, bits, error);
        rc = envelope != NULL ? post(o, envelope, &answer, error) : MB_EIO;
    }
    json_decref(envelope);
    return take_answer(rc, answer, result, error);
}

int cli_submit_envelope(struct cli_org *o, const json_t *envelope, json_t **result,
                        struct mb_error *error)
{
    json_t *answer = NULL;
    int rc = post(o, envelope, &answer, error);
    return take_answer(rc, answer, result, error);
}

int cli_submit_own(struct cli *c, const char *type, const json_t *body, json_t **result,
                   struct mb_error *error)
{
    struct cli_identity id = {0};
    struct cli_org *o;
    int rc = cli_identity(c, &id, error);
    if (rc == 0)
        rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = cli_submit(o, &id, type, body, result, error);
    cli_identity_clear(&id);
    return rc;
}

static void print_result(const json_t *result)
{
    json_t *value = json_object_get(result, "result");
    printf("%s", mb_json_get_text(result, "id", ""));
    if (json_object_get(result, "slot") != NULL)
        printf("  slot %" PRId64, mb_json_get_int(result, "slot", 0));
    if (json_object_size(value) > 0) {
        char *text = mb_json_text(value);
        fputs("  ", stdout);
        cli_print_text(text);
        free(text);
    }
    putchar('\n');
}

int cli_act(struct cli *c, const char *type, json_t *body_take, struct mb_error *error)
{
    json_t *result = NULL;
    int rc = cli_submit_own(c, type, body_take, &result, error);
    if (rc == 0 && c->json)
        cli_print_json(json_incref(result));
    else if (rc == 0)
        print_result(result);
    json_decref(body_take);
    json_decref(result);
    return rc;
}
