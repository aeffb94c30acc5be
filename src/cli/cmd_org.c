/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "loop/loop.h"

/* --- org join --- */

/* A bare onion address is believed once: what it says now is pinned. */
static int pin_by_trust(struct cli *c, const char *onion, struct mb_pin *pin,
                        struct mb_error *error)
{
    struct mb_pin first = {.onions = mb_calloc(1, sizeof(char *)), .onion_count = 1};
    struct cli_org *o = NULL;
    json_t *summary = NULL;
    first.onions[0] = mb_strdup(onion);
    int rc = cli_connect(c, &first, &o, error);
    if (rc == 0)
        rc = cli_get(o, "/v1/org", &summary, error);
    if (rc == 0) {
        const json_t *checkpoint = json_object_get(summary, "checkpoint");
        const char *hex = mb_json_get_text(checkpoint, "header", "");
        const char *genesis = mb_json_get_text(summary, "genesis", "");
        struct mb_buf header = {0};
        mb_buf_reserve(&header, strlen(hex) / 2 + 1);
        if (mb_hex_decode(header.data, strlen(hex) / 2, hex, strlen(hex)) != 0)
            rc = mb_fail(error, MB_EPROOF, "checkpoint.invalid", "the checkpoint is malformed");
        pin->org = mb_sha256(genesis, strlen(genesis));
        pin->slot = (uint64_t)mb_json_get_int(checkpoint, "slot", 0);
        pin->header_hash = mb_sha256(header.data, strlen(hex) / 2);
        pin->onions = mb_calloc(1, sizeof(char *));
        pin->onions[0] = mb_strdup(onion);
        pin->onion_count = 1;
        mb_buf_clear(&header);
    }
    json_decref(summary);
    cli_org_free(o);
    c->org = NULL;
    return rc;
}

static int check_joined(struct cli *c, const char *name, struct mb_error *error)
{
    struct cli_org *o;
    c->given[c->given_count++] = "org";
    c->given[c->given_count++] = name;
    return cli_open_org(c, &o, error);
}

static int org_join(struct cli *c, struct mb_error *error)
{
    const char *name = c->args[0], *text = c->args[1];
    struct mb_pin pin = {0}, old;
    int rc = 0;
    if (!cli_name_valid(name) || strpbrk(name, "-_") != NULL)
        rc = mb_fail(error, MB_EINVAL, "org.name", "%.40s: a petname is 1 to 32 letters and digits",
                     name);
    else if (cli_pin_load(c, name, &old, NULL) == 0) {
        mb_pin_clear(&old);
        rc = mb_fail(error, MB_EREFUSED, "org.exists",
                     "an organisation %s was joined already: choose another petname, or magicbiz "
                     "org leave %s first",
                     name, name);
    } else if (mb_onion_decode(NULL, text)) {
        rc = cli_option(c, "trust-first") != NULL
                 ? pin_by_trust(c, text, &pin, error)
                 : mb_fail(error, MB_EINVAL, "org.bare",
                           "a bare onion address proves nothing about the organisation: ask a "
                           "member for its magicbiz: text, or say --trust-first");
    } else {
        rc = mb_pin_parse(&pin, text, error);
    }
    if (rc == 0) {
        pin.name = mb_strdup(name);
        rc = cli_pin_save(c, &pin, error);
    }
    if (rc == 0 && cli_option(c, "offline") == NULL)
        rc = check_joined(c, name, error);
    if (rc == MB_EPROOF) {
        char *path = mb_asprintf("%s/orgs/%s", c->config_dir, name);
        unlink(path);
        free(path);
    }
    if (rc == 0 || rc == MB_EREACH) {
        char *whole = mb_pin_text(&pin);
        if (c->json)
            cli_print_json(json_pack("{s:s, s:s, s:b}", "name", name, "join", whole, "verified",
                                     c->org != NULL && c->org->verified));
        else
            printf("joined %s%s\n", name,
                   c->org != NULL && c->org->verified ? ": its newest checkpoint holds"
                                                      : " (not checked yet)");
        free(whole);
    }
    mb_pin_clear(&pin);
    return rc;
}

const struct cli_command cmd_org_join = {
    .name = "org join",
    .args = "NAME magicbiz:ORGID@ONION[,ONION]#SLOT.HASH",
    .min_args = 2,
    .max_args = 2,
    .summary = "pin an organisation under a petname of yours",
    .help = "The text comes from a member (magicbiz org show --join), or from magicbizd init. It\n"
            "names the organisation by the hash of its genesis, so that no server can stand in\n"
            "for it. What cannot be reached now stays joined; it is checked at its first use.\n\n"
            "    magicbiz org join acme magicbiz:54c0...@hq7z...onion#0.9b1f...",
    .options =
        (const struct cli_option[]){
            {"trust-first", NULL, "take a bare onion address, and believe what it says this once"},
            {"offline", NULL, "do not talk to it now"},
            {NULL, NULL, NULL}},
    .run = org_join,
};

/* --- org list, org leave --- */

static int org_list(struct cli *c, struct mb_error *error)
{
    char **names;
    size_t count = cli_pin_names(c, &names);
    json_t *list = json_array();
    (void)error;
    for (size_t i = 0; i < count; i++) {
        struct mb_pin pin;
        if (cli_pin_load(c, names[i], &pin, NULL) == 0) {
            char org[MB_HASH_HEX_SIZE];
            mb_hash_hex(&pin.org, org);
            json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", pin.name, "org", org,
                                                  "onion", pin.onions[0]));
            if (!c->json)
                printf("%-16s %s  %s\n", pin.name, pin.onions[0], org);
            mb_pin_clear(&pin);
        }
        free(names[i]);
    }
    free(names);
    if (c->json)
        cli_print_json(json_pack("{s:O}", "organisations", list));
    else if (count == 0)
        puts("none yet: magicbiz org join NAME magicbiz:...");
    json_decref(list);
    return 0;
}

const struct cli_command cmd_org_list = {
    .name = "org list",
    .args = "",
    .summary = "list the organisations that you joined",
    .help = "    magicbiz org list",
    .run = org_list,
};

static int org_leave(struct cli *c, struct mb_error *error)
{
    struct mb_pin pin;
    int rc = cli_pin_load(c, c->args[0], &pin, error);
    if (rc != 0)
        return rc;
    char *path = mb_asprintf("%s/orgs/%s", c->config_dir, c->args[0]);
    if (unlink(path) != 0)
        rc = mb_fail(error, MB_EIO, "org.leave", "%s cannot be removed", path);
    else if (c->json)
        cli_print_json(json_pack("{s:s}", "left", c->args[0]));
    else
        printf("left %s: this machine has forgotten its pin\n", c->args[0]);
    free(path);
    mb_pin_clear(&pin);
    return rc;
}

const struct cli_command cmd_org_leave = {
    .name = "org leave",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .summary = "forget an organisation's pin (nothing is sent)",
    .help = "    magicbiz org leave acme",
    .run = org_leave,
};

/* --- org show --- */

static char *join_text(const struct cli_org *o)
{
    struct mb_pin now = o->pin;
    now.slot = o->newest.slot;
    now.header_hash = mb_header_hash(&o->newest);
    return mb_pin_text(&now);
}

static void print_signers(const struct cli_org *o)
{
    json_t *signers = cli_signers(o), *number;
    size_t i;
    printf("checkpoint  slot %" PRIu64 ", verified, signed by replica", o->newest.slot);
    json_array_foreach(signers, i, number)
        printf("%s %lld", i > 0 ? "," : "", (long long)json_integer_value(number));
    printf(" of %zu\n", cli_config_for(o, o->newest.slot)->count);
    json_decref(signers);
}

static void print_replica(const struct cli_org *o, const struct mb_replica *r,
                          const json_t *signers, const json_t *evidence)
{
    int64_t slot = cli_diverged_at(evidence, r->number);
    printf("replica %" PRId64 "   %s  ", r->number, r->onion);
    if (cli_is_among(signers, r->number))
        printf("signed slot %" PRIu64, o->newest.slot);
    else
        printf("did not sign slot %" PRIu64 "%s", o->newest.slot,
               slot >= 0 ? "" : " (a majority is enough)");
    if (slot >= 0)
        printf(", signed another header for slot %" PRId64 ": it diverged, remove it", slot);
    putchar('\n');
}

static void print_org(const struct cli_org *o, const char *join, const json_t *evidence)
{
    char org[MB_HASH_HEX_SIZE];
    const struct mb_membership *config = cli_config_for(o, o->newest.slot + 1);
    mb_hash_hex(&o->pin.org, org);
    printf("name        %s\norg         %s\n", o->genesis.name, org);
    printf("onion       %s\n",
           mb_json_get_text(json_object_get(o->summary, "onion"), "current", ""));
    print_signers(o);
    json_t *signers = cli_signers(o);
    for (size_t i = 0; i < config->count; i++)
        print_replica(o, &config->replicas[i], signers, evidence);
    json_decref(signers);
    char *versions = mb_json_text(json_object_get(o->summary, "versions"));
    printf("versions    %s\njoin        %s\n", versions, join);
    free(versions);
}

static int org_show(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    if (c->arg_count > 0) {
        c->given[c->given_count++] = "org";
        c->given[c->given_count++] = c->args[0];
    }
    json_t *evidence = NULL;
    int rc = cli_open_org(c, &o, error);
    if (rc == 0 && cli_option(c, "join") == NULL)
        rc = cli_list_proven(o, "org/attest/", &evidence, error);
    if (rc < 0) {
        json_decref(evidence);
        return rc;
    }
    char *join = join_text(o);
    if (cli_option(c, "join") != NULL && c->json) {
        cli_print_json(json_pack("{s:s}", "join", join));
    } else if (cli_option(c, "join") != NULL) {
        puts(join);
    } else if (c->json) {
        json_t *json = json_deep_copy(o->summary);
        json_object_set_new(json, "join", json_string(join));
        json_object_set_new(json, "signed", cli_signers(o));
        json_object_set(json, "diverged", evidence);
        json_object_set_new(json, "verified", json_true());
        cli_print_json(json);
    } else {
        print_org(o, join, evidence);
    }
    json_decref(evidence);
    free(join);
    return 0;
}

const struct cli_command cmd_org_show = {
    .name = "org show",
    .args = "[NAME]",
    .max_args = 1,
    .summary = "show an organisation, checked against its pin",
    .help = "    magicbiz org show acme --join",
    .options =
        (const struct cli_option[]){
            {"join", NULL, "print the text that others join it by, with the newest checkpoint"},
            {NULL, NULL, NULL}},
    .run = org_show,
};
