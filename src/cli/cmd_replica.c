/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "cli/cli.h"

/* --- replica list --- */

bool cli_is_among(const json_t *numbers, int64_t number)
{
    const json_t *one;
    size_t i;
    json_array_foreach(numbers, i, one) if (json_integer_value(one) == number) return true;
    return false;
}

int64_t cli_diverged_at(const json_t *items, int64_t number)
{
    const json_t *item;
    size_t i;
    json_array_foreach(items, i, item)
    {
        const json_t *value = json_object_get(item, "value");
        if (mb_json_get_int(value, "number", 0) == number)
            return mb_json_get_int(value, "slot", -1);
    }
    return -1;
}

/* Replicas in force after the newest checkpoint, [{"number",…}…]. */
static json_t *replicas_json(const struct cli_org *o, const json_t *evidence)
{
    const struct mb_membership *config = cli_config_for(o, o->newest.slot + 1);
    json_t *signers = cli_signers(o), *list = json_array();
    for (size_t i = 0; i < config->count; i++) {
        const struct mb_replica *r = &config->replicas[i];
        int64_t slot = cli_diverged_at(evidence, r->number);
        json_t *one = json_pack("{s:I, s:s, s:s, s:s, s:b}", "number", (json_int_t)r->number, "key",
                                r->fingerprint, "onion", r->onion, "peer_onion", r->peer_onion,
                                "signed", cli_is_among(signers, r->number));
        if (slot >= 0)
            json_object_set_new(one, "diverged", json_integer(slot));
        json_array_append_new(list, one);
    }
    json_decref(signers);
    return list;
}

static void print_replicas(const struct cli_org *o, const json_t *replicas, const json_t *next)
{
    const json_t *r;
    size_t i;
    json_array_foreach(replicas, i, r)
    {
        int64_t slot = mb_json_get_int(r, "diverged", -1);
        printf("%-3" PRId64 " %s  %s  %s", mb_json_get_int(r, "number", 0),
               mb_json_get_text(r, "key", ""), mb_json_get_text(r, "onion", ""),
               mb_json_get_flag(r, "signed", false) ? "signed" : "did not sign");
        if (slot >= 0)
            printf(", diverged at slot %" PRId64 ": remove it", slot);
        putchar('\n');
    }
    printf("checkpoint slot %" PRIu64 "\n", o->newest.slot);
    if (next == NULL)
        return;
    printf("from slot %" PRId64 ": replicas", mb_json_get_int(next, "from", 0));
    json_array_foreach(json_object_get(next, "replicas"), i, r)
        printf("%s %" PRId64, i > 0 ? "," : "", mb_json_get_int(r, "number", 0));
    putchar('\n');
}

static int replica_list(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    json_t *next = NULL, *evidence = NULL;
    int rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = cli_list_proven(o, "org/attest/", &evidence, error);
    if (rc == 0)
        rc = cli_state(o, "core/config/next", &next, error);
    if (rc >= 0) {
        json_t *replicas = replicas_json(o, evidence);
        if (c->json) {
            json_t *json = json_pack("{s:I, s:O}", "checkpoint", (json_int_t)o->newest.slot,
                                     "replicas", replicas);
            if (next != NULL)
                json_object_set(json, "next", next);
            cli_print_json(json);
        } else {
            print_replicas(o, replicas, next);
        }
        json_decref(replicas);
        rc = 0;
    }
    json_decref(evidence);
    json_decref(next);
    return rc;
}

const struct cli_command cmd_replica_list = {
    .name = "replica list",
    .args = "",
    .summary =
        "the machines that are the organisation, and who of them signed the newest checkpoint",
    .help =
        "Replicas, their onions, evidence that one diverged, and the change that waits to come\n"
        "into force are proven, as all that get shows.\n\n"
        "    magicbiz replica list",
    .run = replica_list,
};

/* --- replica remove --- */

static int replica_remove(struct cli *c, struct mb_error *error)
{
    char *end;
    long long number = strtoll(c->args[0], &end, 10);
    if (*end != 0 || number < 1 || number == INT64_MAX)
        return mb_fail(error, MB_EINVAL, "replica.number",
                       "%.40s is no replica's number: magicbiz replica list shows them",
                       c->args[0]);
    return cli_act(c, "org.replica.remove", json_pack("{s:I}", "number", (json_int_t)number),
                   error);
}

const struct cli_command cmd_replica_remove = {
    .name = "replica remove",
    .args = "NUMBER",
    .min_args = 1,
    .max_args = 1,
    .summary = "a replica leaves the organisation (founders)",
    .help = "It is in force 64 slots later, which the other replicas fill at once. The number and\n"
            "the key are never used again; the last replica cannot be removed.\n\n"
            "    magicbiz replica remove 2",
    .run = replica_remove,
};

/* --- replica invite --- */

static int replica_invite(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    int rc = cli_open_org(c, &o, error);
    if (rc != 0)
        return rc;
    struct mb_pin pin = o->pin;
    pin.slot = o->newest.slot;
    pin.header_hash = mb_header_hash(&o->newest);
    char *text = mb_pin_text(&pin);
    if (c->json)
        cli_print_json(json_pack("{s:s}", "invite", text));
    else
        puts(text);
    free(text);
    return 0;
}

const struct cli_command cmd_replica_invite = {
    .name = "replica invite",
    .args = "",
    .summary = "the text by which a machine joins: magicbizd join --invite TEXT",
    .help = "Nothing in it is secret: it names the organisation, its onions and its newest\n"
            "checkpoint. A machine that joined follows; a founder makes it a replica by replica "
            "add.\n\n"
            "    magicbiz replica invite",
    .run = replica_invite,
};

/* --- replica request, replica add --- */

#define REQUEST     "magicbiz-replica:"
#define REQUEST_MAX 65536

static int replica_request(struct cli *c, struct mb_error *error)
{
    json_t *json = NULL;
    struct mb_buf base64 = {0};
    int rc = cli_operator(c, "/v1/replica/request", &json, error);
    if (rc != 0)
        return rc;
    char *text = mb_json_text(json);
    mb_base64_encode(&base64, text, strlen(text));
    if (c->json)
        cli_print_json(json_incref(json));
    else
        printf(REQUEST "%s\n", mb_buf_text(&base64));
    free(text);
    json_decref(json);
    mb_buf_clear(&base64);
    return 0;
}

const struct cli_command cmd_replica_request = {
    .name = "replica request",
    .args = "",
    .summary = "one line that asks to make this machine's daemon a replica",
    .help = "For the operator of a daemon that has joined and caught up: --socket is its\n"
            "DIR/run/operator.sock. A founder gives the line to replica add, within 128 slots.\n\n"
            "    magicbiz replica request --socket /srv/acme/run/operator.sock",
    .run = replica_request,
};

static int parse_request(const char *text, json_t **body, struct mb_error *error)
{
    struct mb_buf json = {0};
    size_t skip = strlen(REQUEST), len = strlen(text);
    int rc = strncmp(text, REQUEST, skip) != 0 || len > REQUEST_MAX ||
             mb_base64_decode(&json, text + skip, len - skip) != 0 ||
             mb_json_parse(body, json.data, json.len, NULL) != 0;
    mb_buf_clear(&json);
    return rc == 0 ? 0
                   : mb_fail(error, MB_EINVAL, "replica.request",
                             "this is no request: magicbiz replica request prints one on the new "
                             "machine");
}

static int replica_add(struct cli *c, struct mb_error *error)
{
    json_t *body = NULL;
    int rc = parse_request(c->args[0], &body, error);
    return rc == 0 ? cli_act(c, "org.replica.add", body, error) : rc;
}

const struct cli_command cmd_replica_add = {
    .name = "replica add",
    .args = "REQUEST",
    .min_args = 1,
    .max_args = 1,
    .summary = "a daemon that follows becomes a replica (founders)",
    .help = "REQUEST is the line that magicbiz replica request printed on the new machine. It is\n"
            "in force 64 slots later, which the replicas fill at once. One change at a time.\n\n"
            "    magicbiz replica add magicbiz-replica:eyJ...",
    .run = replica_add,
};
