/* SPDX-License-Identifier: GPL-3.0-or-later */
/* member apply, list, admit, resign; delegate. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/gov.h"
#include "loop/loop.h"

/* --- member apply, resign --- */

static int apply(struct cli *c, struct mb_error *error)
{
    const char *text = cli_option(c, "text");
    return cli_act(c, "gov.apply", json_pack("{s:s}", "text", text != NULL ? text : ""), error);
}

const struct cli_command cmd_member_apply = {
    .name = "member apply",
    .args = "",
    .summary = "ask the members to admit this key",
    .help = "A member proposes it then: magicbiz member admit FINGERPRINT. After 30 days an\n"
            "application lapses.\n\n"
            "    magicbiz member apply --text \"I wrote the parser\"",
    .options =
        (const struct cli_option[]){{"text", "TEXT", "who you are to them"}, {NULL, NULL, NULL}},
    .run = apply,
};

static int resign(struct cli *c, struct mb_error *error)
{
    return cli_act(c, "gov.resign", json_object(), error);
}

const struct cli_command cmd_member_resign = {
    .name = "member resign",
    .args = "",
    .summary = "give this key's membership back, at once",
    .help = "    magicbiz member resign",
    .run = resign,
};

/* --- member list --- */

/* Without books the founders are the members. */
static int founders(struct cli_org *o, json_t *members)
{
    json_t *value = gov_now(o, "org/founders");
    const json_t *text;
    size_t i;
    json_array_foreach(json_object_get(value, "keys"), i, text)
    {
        struct mb_public_key key;
        char fingerprint[MB_FINGERPRINT_SIZE];
        if (mb_json_get_flag(value, "retired", false) || !json_is_string(text) ||
            mb_public_key_parse(&key, json_string_value(text), NULL) != 0)
            continue;
        mb_public_key_fingerprint(&key, fingerprint);
        json_array_append_new(members, json_string(fingerprint));
    }
    json_decref(value);
    return 0;
}

static int members_of(struct cli_org *o, json_t *members, struct mb_error *error)
{
    static const char prefix[] = "books/balance/member/key/";
    json_t *asset = gov_now(o, "books/asset/member"), *items = NULL, *item;
    size_t i;
    if (asset == NULL)
        return founders(o, members);
    json_decref(asset);
    int rc = cli_list(o, prefix, &items, error);
    json_array_foreach(items, i, item) json_array_append_new(
        members, json_string(mb_json_get_text(item, "key", "") + sizeof prefix - 1));
    json_decref(items);
    return rc;
}

static int list(struct cli *c, struct mb_error *error)
{
    static const char prefix[] = "gov/application/";
    struct cli_org *o;
    json_t *members = json_array(), *applications = NULL, *item;
    size_t i;
    int rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = members_of(o, members, error);
    if (rc == 0)
        rc = cli_list(o, prefix, &applications, error);
    if (rc == 0 && c->json) {
        cli_print_json(json_pack("{s:O, s:O}", "applications", applications, "members", members));
    } else if (rc == 0) {
        cli_page(c);
        json_array_foreach(members, i, item) printf("member   %s\n", json_string_value(item));
        json_array_foreach(applications, i, item)
        {
            printf("applied  %s ", mb_json_get_text(item, "key", "") + sizeof prefix - 1);
            cli_print_text(mb_json_get_text(json_object_get(item, "value"), "text", ""));
            putchar('\n');
        }
    }
    json_decref(members);
    json_decref(applications);
    return rc;
}

const struct cli_command cmd_member_list = {
    .name = "member list",
    .args = "",
    .summary = "the members, and who has applied",
    .help = "The list is what a replica says; magicbiz list books/balance/member/ proves it\n"
            "complete.\n\n"
            "    magicbiz member list",
    .run = list,
};

/* --- member admit --- */

static int admit(struct cli *c, struct mb_error *error)
{
    const char *procedure = cli_option(c, "procedure"), *text = cli_option(c, "text");
    if (!mb_is_fingerprint(c->args[0])) {
        mb_fail(error, MB_EINVAL, "usage", "%.60s is no fingerprint (SHA256:...)", c->args[0]);
        return CLI_USAGE;
    }
    char *account = mb_asprintf("key/%s", c->args[0]);
    char *title = mb_asprintf("Admit %s", c->args[0]);
    json_t *entries =
        json_pack("[{s:s, s:i, s:s}, {s:s, s:i, s:s}]", "account", "issue/member", "amount", -1,
                  "asset", "member", "account", account, "amount", 1, "asset", "member");
    json_t *body = json_pack("{s:[{s:{s:o, s:s}, s:s}], s:s, s:s, s:s}", "commands", "body",
                             "entries", entries, "memo", "admitted", "type", "books.post",
                             "procedure", procedure != NULL ? procedure : "routine", "text",
                             text != NULL ? text : "", "title", title);
    free(account);
    free(title);
    return cli_act(c, "gov.propose", body, error);
}

const struct cli_command cmd_member_admit = {
    .name = "member admit",
    .args = "FINGERPRINT",
    .min_args = 1,
    .max_args = 1,
    .summary = "propose that somebody becomes a member",
    .help = "    magicbiz member admit SHA256:...",
    .options = (const struct cli_option[]){{"procedure", "NAME", "how it is decided (routine)"},
                                           {"text", "TEXT", "why"},
                                           {NULL, NULL, NULL}},
    .run = admit,
};

/* --- delegate --- */

static int delegate(struct cli *c, struct mb_error *error)
{
    const char *scope = cli_option(c, "scope");
    int64_t days;
    int rc = cli_option_int(c, "days", 90, 1, 366, &days, error);
    if (rc != 0)
        return rc;
    json_t *body = json_pack("{s:s}", "scope", scope != NULL ? scope : "*");
    if (c->arg_count == 1) {
        json_object_set_new(body, "to", json_string(c->args[0]));
        /* To the hour, as a command's end is: it tells nothing of this machine's clock. */
        json_object_set_new(body, "until", json_integer((mb_clock_s() / 3600 + days * 24) * 3600));
    }
    return cli_act(c, "gov.delegate", body, error);
}

const struct cli_command cmd_delegate = {
    .name = "delegate",
    .args = "[FINGERPRINT]",
    .min_args = 0,
    .max_args = 1,
    .summary = "let another member vote for you, unless you vote yourself; without: no more",
    .help = "It counts in votes that open later.\n\n"
            "    magicbiz delegate SHA256:... --scope treasury",
    .options = (const struct cli_option[]){{"scope", "PROCEDURE", "for this procedure alone (all)"},
                                           {"days", "N", "for so long (90)"},
                                           {NULL, NULL, NULL}},
    .run = delegate,
};
