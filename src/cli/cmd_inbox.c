/* SPDX-License-Identifier: GPL-3.0-or-later */
/* inbox, calendar: what waits for a key, and when. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "cli/gov.h"
#include "cli/show.h"
#include "loop/loop.h"

/* --- inbox --- */

static bool has(struct cli_org *o, const char *folder, const char *id, const char *fingerprint)
{
    char *key = mb_asprintf("gov/%s/%s/%s", folder, id, fingerprint);
    json_t *value = gov_now(o, key);
    bool is = value != NULL;
    json_decref(value);
    free(key);
    return is;
}

static bool holds(struct cli_org *o, const char *asset, const char *fingerprint)
{
    char *key = mb_asprintf("books/balance/%s/key/%s", asset, fingerprint);
    json_t *value = *asset != 0 ? gov_now(o, key) : NULL;
    bool is = json_integer_value(value) > 0;
    json_decref(value);
    free(key);
    return is;
}

/* What this key could do about a proposal, or NULL. */
static const char *waiting(struct cli_org *o, const json_t *p, const char *me)
{
    const char *state = mb_json_get_text(p, "state", ""), *id = mb_json_get_text(p, "id", "");
    const json_t *rule = json_object_get(p, "rule");
    bool author = strcmp(mb_json_get_text(p, "author", ""), me) == 0;
    if (strcmp(state, "draft") == 0)
        return author ? "submit" : NULL;
    if (strcmp(state, "support") == 0)
        return author || mb_json_has_text(json_object_get(p, "sponsors"), me) ? NULL : "sponsor";
    if (strcmp(state, "voting") == 0 && has(o, "elector", id, me) && !has(o, "ballot", id, me))
        return "vote";
    if (holds(o, mb_json_get_text(rule, "auditors", ""), me) && !has(o, "audit", id, me))
        return "audit";
    return strcmp(state, "review") == 0 && !author ? "review" : NULL;
}

static int collect(struct cli_org *o, const char *me, json_t *waits, struct mb_error *error)
{
    json_t *proposals = NULL, *p;
    size_t i;
    int rc = gov_proposals(o, false, &proposals, error);
    json_array_foreach(proposals, i, p)
    {
        const char *what = waiting(o, p, me);
        if (what != NULL)
            json_array_append_new(waits,
                                  json_pack("{s:I, s:s, s:s, s:s}", "deadline",
                                            (json_int_t)mb_json_get_int(p, "deadline", 0), "do",
                                            what, "proposal", mb_json_get_text(p, "id", ""),
                                            "title", mb_json_get_text(p, "title", "")));
    }
    json_decref(proposals);
    return rc;
}

static void print_waits(const json_t *waits)
{
    const json_t *w;
    size_t i;
    json_array_foreach(waits, i, w)
    {
        struct mb_buf left = {0};
        show_left(&left, mb_json_get_int(w, "deadline", 0) - mb_clock_s());
        printf("%-8s %-6s %-14s ", mb_json_get_text(w, "do", ""),
               mb_json_get_text(w, "proposal", ""), mb_buf_text(&left));
        cli_print_text(mb_json_get_text(w, "title", ""));
        putchar('\n');
        mb_buf_clear(&left);
    }
    if (json_array_size(waits) == 0)
        puts("nothing waits for this key");
}

static int inbox(struct cli *c, struct mb_error *error)
{
    struct cli_identity id = {0};
    struct cli_org *o;
    json_t *waits = json_array();
    int rc = cli_identity(c, &id, error);
    if (rc == 0)
        rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = collect(o, id.fingerprint, waits, error);
    if (rc == 0 && c->json)
        cli_print_json(json_pack("{s:s, s:O}", "key", id.fingerprint, "waits", waits));
    else if (rc == 0)
        print_waits(waits);
    json_decref(waits);
    cli_identity_clear(&id);
    return rc;
}

const struct cli_command cmd_inbox = {
    .name = "inbox",
    .args = "",
    .summary = "what waits for this key: votes, sponsorships, reviews, audits",
    .help = "It is what a replica says, for the identity that --id names; nothing is signed.\n\n"
            "    magicbiz inbox",
    .run = inbox,
};

/* --- calendar --- */

static const char *event_of(const char *state)
{
    return strcmp(state, "voting") == 0    ? "the vote closes"
           : strcmp(state, "review") == 0  ? "the vote opens"
           : strcmp(state, "grace") == 0   ? "the decision is carried out"
           : strcmp(state, "support") == 0 ? "the time for sponsors ends"
                                           : "the draft expires";
}

static int calendar(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    struct mb_buf ics = {0};
    json_t *proposals = NULL, *p;
    size_t i;
    int rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = gov_proposals(o, false, &proposals, error);
    /* What it says of the time it was made is the ledger's, not this machine's. */
    int64_t stamp = rc == 0 && o->newest.slot > 0 ? o->newest.time
                    : rc == 0                     ? o->genesis.created
                                                  : 0;
    show_ics_begin(&ics);
    json_array_foreach(proposals, i, p)
    {
        const char *state = mb_json_get_text(p, "state", ""), *id = mb_json_get_text(p, "id", "");
        char org[MB_HASH_HEX_SIZE];
        mb_hash_hex(&o->pin.org, org);
        char *uid = mb_asprintf("%s-%s@%.16s.invalid", id, state, org);
        char *summary = mb_asprintf("%s: proposal %s: %s: %s", o->genesis.name, id, event_of(state),
                                    mb_json_get_text(p, "title", ""));
        show_ics_event(&ics, uid, stamp, mb_json_get_int(p, "deadline", 0), summary);
        free(uid);
        free(summary);
    }
    show_ics_end(&ics);
    if (rc == 0 && c->json)
        cli_print_json(json_pack("{s:O}", "proposals", proposals));
    else if (rc == 0)
        fwrite(ics.data, 1, ics.len, stdout);
    json_decref(proposals);
    mb_buf_clear(&ics);
    return rc;
}

const struct cli_command cmd_calendar = {
    .name = "calendar",
    .args = "",
    .summary = "deadlines of open proposals as a calendar (.ics), in UTC",
    .help = "    magicbiz calendar > acme.ics\n\n"
            "Nothing in it tells of this machine, its clock or its time zone.",
    .run = calendar,
};
