/* SPDX-License-Identifier: GPL-3.0-or-later */
/* get, list, send, status: the state, and commands of any type. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "loop/loop.h"

/* --- get --- */

static int state_get(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    json_t *value = NULL;
    int rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = cli_state(o, c->args[0], &value, error);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return mb_fail(error, MB_ENOENT, "state.unknown",
                       "%s: proven absent at slot %" PRIu64
                       ": magicbiz list PREFIX shows the keys there are; one just written is "
                       "proven within 10 seconds",
                       c->args[0], o->newest.slot);
    if (c->json) {
        cli_print_json(
            json_pack("{s:s, s:o, s:b}", "key", c->args[0], "value", value, "proven", 1));
        return 0;
    }
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_SORT_KEYS);
    cli_print_text(text);
    putchar('\n');
    free(text);
    json_decref(value);
    return 0;
}

const struct cli_command cmd_get = {
    .name = "get",
    .args = "KEY",
    .min_args = 1,
    .max_args = 1,
    .summary = "read a key of the state, and check its proof",
    .help = "The value, or the proof that there is none, holds at the newest checkpoint, which is\n"
            "checked against the pinned organisation.\n\n"
            "    magicbiz get vcs/ref/site/refs/heads/main",
    .run = state_get,
};

/* --- list --- */

static int list_quick(struct cli_org *o, const char *prefix, json_t *items, struct mb_error *error)
{
    struct mb_buf after = {0};
    bool more = true;
    int rc = 0;
    while (rc == 0 && more) {
        struct mb_buf path = {0};
        json_t *answer = NULL, *item;
        size_t i;
        mb_buf_add_text(&path, "/v1/state?limit=1000&prefix=");
        cli_escape(&path, prefix);
        mb_buf_add_text(&path, "&after=");
        cli_escape(&path, after.len > 0 ? mb_buf_text(&after) : prefix);
        rc = cli_get(o, mb_buf_text(&path), &answer, error);
        more = rc == 0 && json_is_true(json_object_get(answer, "more"));
        json_array_foreach(json_object_get(answer, "items"), i, item)
        {
            json_array_append(items, item);
            mb_buf_reset(&after);
            mb_buf_add_text(&after, mb_json_get_text(item, "key", ""));
        }
        json_decref(answer);
        mb_buf_clear(&path);
    }
    mb_buf_clear(&after);
    return rc;
}

static int state_list(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    json_t *items = NULL;
    bool quick = cli_option(c, "quick") != NULL;
    int rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = quick ? list_quick(o, c->args[0], items = json_array(), error)
                   : cli_list_proven(o, c->args[0], &items, error);
    if (rc == 0 && c->json) {
        cli_print_json(json_pack("{s:O, s:b}", "items", items, "proven", !quick));
    } else if (rc == 0) {
        const json_t *item;
        size_t i;
        cli_page(c);
        json_array_foreach(items, i, item)
        {
            char *text = mb_json_text(json_object_get(item, "value"));
            cli_print_text(mb_json_get_text(item, "key", ""));
            putchar(' ');
            cli_print_text(text);
            putchar('\n');
            free(text);
        }
        if (quick)
            fputs("not proven: a list is complete only as a whole module (without --quick)\n",
                  stderr);
    }
    json_decref(items);
    return rc;
}

const struct cli_command cmd_list = {
    .name = "list",
    .args = "PREFIX",
    .min_args = 1,
    .max_args = 1,
    .summary = "list keys and values, proven complete",
    .help = "Downloads the whole module that PREFIX begins with and checks it against the newest\n"
            "checkpoint: only so a list is known to be complete.\n\n"
            "    magicbiz list vcs/repo/",
    .options =
        (const struct cli_option[]){
            {"quick", NULL, "ask for these keys only, and believe the answer"}, {NULL, NULL, NULL}},
    .run = state_list,
};

/* --- send --- */

/* Sign, and send nothing. */
static int print_envelope(struct cli *c, const json_t *body, struct mb_error *error)
{
    struct cli_org *o;
    struct cli_identity id = {0};
    json_t *envelope = NULL;
    int rc = cli_identity(c, &id, error);
    if (rc == 0)
        rc = cli_open_org(c, &o, error);
    if (rc == 0 && (envelope = cli_envelope(o, &id, c->args[0], body, error)) == NULL)
        rc = MB_EIO;
    if (rc == 0)
        cli_print_json(envelope);
    cli_identity_clear(&id);
    return rc;
}

static int send_command(struct cli *c, struct mb_error *error)
{
    json_t *body = NULL;
    int rc = cli_read_json(c->args[1], &body, error);
    if (rc == 0 && cli_option(c, "dry-run") == NULL)
        return cli_act(c, c->args[0], body, error);
    if (rc == 0)
        rc = print_envelope(c, body, error);
    json_decref(body);
    return rc;
}

const struct cli_command cmd_send = {
    .name = "send",
    .args = "TYPE BODY.json",
    .min_args = 2,
    .max_args = 2,
    .summary = "sign and submit a command of any type",
    .help = "BODY.json is a file with the command's body, or - for standard input. The types are\n"
            "in magicbiz-protocol(7) and the manual of each module: magicbiz-vcs(7), -books(7),\n"
            "-gov(7), -rules(7).\n\n"
            "    echo '{\"id\":\"5d41...\"}' | magicbiz send org.approve -",
    .options =
        (const struct cli_option[]){
            {"dry-run", NULL, "print the signed envelope, and send nothing"}, {NULL, NULL, NULL}},
    .run = send_command,
};

/* --- status --- */

static void print_health(const json_t *h)
{
    const json_t *tor = json_object_get(h, "tor"), *alarm, *onion;
    size_t i;
    printf("replica     %s, up %" PRId64 " s\n", mb_json_get_text(h, "replica", ""),
           mb_json_get_int(h, "uptime_s", 0));
    printf("tor         %s %s, bootstrap %" PRId64 " %%, restarts %" PRId64 "\n",
           mb_json_get_text(tor, "state", ""), mb_json_get_text(tor, "version", ""),
           mb_json_get_int(tor, "bootstrap", 0), mb_json_get_int(tor, "restarts", 0));
    json_array_foreach(json_object_get(tor, "onions"), i, onion)
        printf("onion       %-12s %s %s\n", mb_json_get_text(onion, "name", ""),
               mb_json_get_text(onion, "onion", ""),
               json_is_true(json_object_get(onion, "reachable")) ? "reachable" : "not reachable");
    json_array_foreach(json_object_get(h, "alarms"), i, alarm)
        printf("alarm       %s: %s\n", mb_json_get_text(alarm, "code", ""),
               mb_json_get_text(alarm, "text", ""));
}

static void print_ms(const json_t *r, const char *name, const char *text)
{
    if (json_object_get(r, name) != NULL)
        printf(", %s %" PRId64 " ms", text, mb_json_get_int(r, name, 0));
}

/* As the daemon that was asked sees them. */
static void print_node(const json_t *node)
{
    int64_t slot = mb_json_get_int(node, "slot", 0), leader = mb_json_get_int(node, "leader", 0);
    const json_t *r;
    size_t i;
    printf("role        %s", mb_json_get_text(node, "role", ""));
    if (leader == 0)
        puts(", no leader known");
    else
        printf(", leader: replica %" PRId64 "\n", leader);
    json_array_foreach(json_object_get(node, "replicas"), i, r)
    {
        int64_t its = mb_json_get_int(r, "slot", -1);
        printf("replica %-3" PRId64 " ", mb_json_get_int(r, "number", 0));
        if (its < 0)
            printf("not heard");
        else
            printf("slot %" PRId64 ", lag %" PRId64, its, slot > its ? slot - its : 0);
        print_ms(r, "round_trip_ms", "round trip");
        print_ms(r, "heard_ms", "heard before");
        puts(mb_json_get_flag(r, "self", false) ? ", this one" : "");
    }
}

static int status(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    json_t *health = NULL, *node = NULL;
    int64_t began_ms = mb_now_ms();
    int rc = cli_open_org(c, &o, error);
    if (rc != 0)
        return rc;
    int64_t took_ms = mb_now_ms() - began_ms;
    int64_t time = o->newest.slot == 0 ? o->genesis.created : o->newest.time;
    int64_t slot = mb_json_get_int(o->summary, "slot", 0);
    /* The operator's socket tells more; by the onion that page is unknown, as any other. */
    if (cli_get(o, "/v1/health", &health, NULL) != 0)
        health = NULL;
    if (health != NULL && cli_get(o, "/v1/status", &node, NULL) != 0)
        node = NULL;
    json_t *replicas = json_object_get(json_object_get(o->summary, "config"), "replicas");
    if (c->json) {
        json_t *json = json_pack("{s:s, s:I, s:I, s:I, s:b, s:I, s:O}", "name", o->genesis.name,
                                 "slot", (json_int_t)slot, "checkpoint", (json_int_t)o->newest.slot,
                                 "checkpoint_age_s", (json_int_t)(mb_clock_s() - time), "verified",
                                 1, "answered_ms", (json_int_t)took_ms, "replicas", replicas);
        if (health != NULL)
            json_object_set(json, "health", health);
        if (node != NULL)
            json_object_set(json, "node", node);
        cli_print_json(json);
    } else {
        printf("%s: slot %" PRId64 ", checkpoint %" PRIu64 " (%" PRId64
               " s ago), verified; %zu replica%s; answered in %" PRId64 " ms\n",
               o->genesis.name, slot, o->newest.slot, mb_clock_s() - time,
               json_array_size(replicas), json_array_size(replicas) == 1 ? "" : "s", took_ms);
        if (node != NULL)
            print_node(node);
        if (health != NULL)
            print_health(health);
    }
    json_decref(health);
    json_decref(node);
    return 0;
}

const struct cli_command cmd_status = {
    .name = "status",
    .args = "",
    .summary =
        "how the organisation is: slot, checkpoint, replicas; on its machine also tor, alarms",
    .help =
        "With --socket DATA/run/operator.sock, on the daemon's own machine, it also shows tor,\n"
        "onion services and alarms.\n\n"
        "    magicbiz status --socket /srv/acme/run/operator.sock",
    .run = status,
};
