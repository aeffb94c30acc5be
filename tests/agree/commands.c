/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Random commands: most could do well, some are malformed, forged, late or repeated. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agree.h"
#include "base/encode.h"

#define REPOS 6

uint64_t agree_draw(struct agree *a) /* splitmix64 (S. Vigna, public domain) */
{
    uint64_t z = (a->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

size_t agree_below(struct agree *a, size_t n)
{
    return (size_t)(agree_draw(a) % n);
}

static bool once_in(struct agree *a, size_t n)
{
    return agree_below(a, n) == 0;
}

static const char *person(struct agree *a)
{
    return a->names[agree_below(a, PEOPLE)];
}

#define ANY(a, words) ((words)[agree_below((a), sizeof(words) / sizeof *(words))])

static void sign_as(struct agree *a, size_t who)
{
    a->who = who;
    a->signer = &a->people[who];
}

/* One founder asks for it, and another one is to approve. */
static void decree(struct agree *a)
{
    sign_as(a, agree_below(a, ORG_FOUNDERS));
    a->decree = true;
}

/* --- books --- */

static const char *asset(struct agree *a)
{
    static const char *const names[] = {"coin", "coin", "coin", "chip", "rep", "guard", "member"};
    return ANY(a, names);
}

static void account(struct agree *a, struct mb_buf *out)
{
    static const char *const others[] = {
        "org", "org/treasury", "org/eng/infra", "issue/coin", "issue/chip", "org/none", "key/x"};
    size_t kind = agree_below(a, 10);
    if (kind < 6)
        mb_buf_addf(out, "key/%s", person(a));
    else if (kind == 6)
        mb_buf_addf(out, "key/%s/savings", person(a));
    else
        mb_buf_add_text(out, ANY(a, others));
}

static int64_t amount(struct agree *a)
{
    size_t kind = agree_below(a, 40);
    uint64_t small = agree_below(a, 60) + 1;
    uint64_t large = agree_draw(a) >> 1;
    return (int64_t)(kind > 0 ? small : large);
}

static void memo(struct agree *a, struct mb_buf *b)
{
    static const char *const words[] = {"rent", "no way", "fail", "odd", "", "gr\\u00fc\\u00dfe"};
    size_t kind = agree_below(a, 400);
    if (kind == 0)
        mb_buf_add_text(b, ",\"memo\":\"loop\"");
    else if (kind == 1)
        mb_buf_add_text(b, ",\"memo\":\"grow\"");
    else if (kind < 60)
        mb_buf_addf(b, ",\"memo\":\"%s\"", ANY(a, words));
}

static void entry(struct mb_buf *b, const char *path, int64_t units, const char *unit)
{
    mb_buf_addf(b, "%s{\"account\":\"%s\",\"amount\":%lld,\"asset\":\"%s\"}",
                b->data[b->len - 1] == '[' ? "" : ",", path, (long long)units, unit);
}

/* from's own account pays up to four others. */
static void post_body(struct agree *a, struct mb_buf *b, const char *from, const char *unit)
{
    uint64_t sum = 0;
    mb_buf_add_text(b, "{\"entries\":[");
    for (size_t left = agree_below(a, 4) + 1; left > 0; left--) {
        struct mb_buf to = {0};
        account(a, &to);
        int64_t units = amount(a);
        sum += (uint64_t)units;
        entry(b, mb_buf_text(&to), units, unit);
        mb_buf_clear(&to);
    }
    sum += once_in(a, 50);
    entry(b, from, -(int64_t)(sum & INT64_MAX), unit);
    mb_buf_add_text(b, "]");
    memo(a, b);
    if (once_in(a, 10)) {
        size_t least = agree_below(a, 100);
        mb_buf_addf(b, ",\"assert\":[{\"account\":\"%s\",\"asset\":\"%s\",\"min\":%zu}]", from,
                    unit, least);
    }
    mb_buf_add_text(b, "}");
}

static const char *make_post(struct agree *a, struct mb_buf *b)
{
    char *from = mb_asprintf("key/%s%s", a->names[a->who], once_in(a, 12) ? "/savings" : "");
    const char *unit = asset(a);
    post_body(a, b, from, unit);
    free(from);
    return "books.post";
}

/* By the founder who issues chips, rep and guard. */
static const char *make_issue(struct agree *a, struct mb_buf *b)
{
    static const char *const units[] = {"chip", "rep", "guard"};
    const char *unit = ANY(a, units);
    const char *to = person(a);
    int64_t units_moved = amount(a);
    char *from = mb_asprintf("issue/%s", unit), *path = mb_asprintf("key/%s", to);
    bool burn = once_in(a, 5);
    sign_as(a, 0);
    mb_buf_add_text(b, "{\"entries\":[");
    entry(b, path, burn ? -units_moved : units_moved, unit);
    entry(b, from, burn ? units_moved : -units_moved, unit);
    mb_buf_add_text(b, "]}");
    free(from);
    free(path);
    return "books.post";
}

/* What the organisation itself may post: coins, and membership. */
static void org_post_body(struct agree *a, struct mb_buf *b)
{
    bool admit = once_in(a, 3), expel = once_in(a, 12);
    if (!admit) {
        post_body(a, b, once_in(a, 2) ? "issue/coin" : "org/treasury", "coin");
        return;
    }
    char *path = mb_asprintf("key/%s", person(a));
    mb_buf_add_text(b, "{\"entries\":[");
    entry(b, path, expel ? -1 : 1, "member");
    entry(b, "issue/member", expel ? 1 : -1, "member");
    mb_buf_add_text(b, "]}");
    free(path);
}

static const char *make_org_post(struct agree *a, struct mb_buf *b)
{
    decree(a);
    org_post_body(a, b);
    return "books.post";
}

static const char *make_asset(struct agree *a, struct mb_buf *b)
{
    static const char letters[] = "abcio01-";
    char name[6] = "";
    size_t len = agree_below(a, 4) + 2, life = agree_below(a, 30), flags = agree_below(a, 4);
    for (size_t i = 0; i < len; i++)
        name[i] = letters[agree_below(a, sizeof letters - 1)];
    decree(a);
    mb_buf_addf(b, "{\"asset\":\"%s\",\"half_life_epochs\":%zu,\"transferable\":%zu,\"cap\":%zu}",
                name, life, flags & 1, flags & 2 ? life * 10 : 0);
    return "books.asset.create";
}

static const char *make_account(struct agree *a, struct mb_buf *b)
{
    bool own = !once_in(a, 4), set = once_in(a, 2);
    size_t n = agree_below(a, 40), title = agree_below(a, 1000);
    const char *controller = person(a);
    if (own)
        mb_buf_addf(b, "{\"account\":\"key/%s/%s\"", a->names[a->who],
                    once_in(a, 2) ? "savings" : "x");
    else {
        decree(a);
        mb_buf_addf(b, "{\"account\":\"org/a%zu\"", n);
    }
    if (once_in(a, 4))
        mb_buf_addf(b, ",\"controller\":\"%s\"", n % 2 == 0 ? "org" : controller);
    mb_buf_addf(b, ",\"title\":\"t%zu\"}", title);
    return set ? "books.account.set" : "books.account.open";
}

/* --- gov --- */

static const char *const procedures[] = {"routine",  "treasury",     "ranked",       "approval",
                                         "weighted", "constitution", "constitution", "none"};

static json_t *state(struct agree *a, const char *key)
{
    char *text = org_state(&a->o, key);
    json_t *value = text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    free(text);
    return value;
}

/* One of the newest proposals: in this state, if one is soon found. *rule is its ballot. */
static int64_t proposal(struct agree *a, const char *in, char *ballot, size_t size)
{
    json_t *last = state(a, "gov/last");
    int64_t newest = json_integer_value(last), id = 0;
    json_decref(last);
    for (int tries = 0; tries < 20; tries++) {
        id = newest - (int64_t)agree_below(a, 40);
        char *key = mb_asprintf("gov/proposal/%lld", (long long)id);
        json_t *p = state(a, key);
        bool fits = strcmp(mb_json_get_text(p, "state", ""), in) == 0;
        if (ballot != NULL)
            mb_snprintf(ballot, size, "%s",
                        mb_json_get_text(json_object_get(p, "rule"), "ballot", "yesno"));
        json_decref(p);
        free(key);
        if (fits)
            break;
    }
    return id;
}

static void procedure_body(struct agree *a, struct mb_buf *b, const char *name)
{
    size_t voting = agree_below(a, 1000), part = agree_below(a, 12), sponsors = agree_below(a, 3);
    size_t over = agree_below(a, 2), audits = agree_below(a, 3);
    mb_buf_addf(
        b, "{\"name\":\"%s\",\"voting_s\":%zu,\"quorum\":[%zu,100],\"sponsors\":%zu,\"over\":%zu",
        name, voting + 500, part, sponsors, over);
    if (once_in(a, 3))
        mb_buf_addf(b, ",\"veto\":\"guard\",\"vetoes\":%zu", over + 1);
    if (once_in(a, 3))
        mb_buf_addf(b, ",\"auditors\":\"guard\",\"audits\":%zu", audits);
    if (once_in(a, 3))
        mb_buf_addf(b, ",\"weight\":\"%s\"", part < 4 ? "rules" : part < 8 ? "equal" : "asset:rep");
    mb_buf_add_text(b, "}");
}

static const char *make_procedure(struct agree *a, struct mb_buf *b)
{
    const char *name = ANY(a, procedures);
    decree(a);
    procedure_body(a, b, name);
    return "gov.procedure.set";
}

static void params_body(struct agree *a, struct mb_buf *b)
{
    size_t fee = agree_below(a, 20), n = agree_below(a, 300);
    mb_buf_addf(b, "{\"params\":{\"fee\":%zu,\"p%zu\":%s}}", fee, n,
                n % 2 == 0 ? "\"text\"" : "-7");
}

static void repo_body(struct agree *a, struct mb_buf *b, bool whole)
{
    size_t n = agree_below(a, REPOS), title = agree_below(a, 100);
    const char *one = person(a);
    mb_buf_addf(b, "{\"name\":\"r%zu%s\",\"title\":\"%zu\"", n, title < 50 ? "" : "x", title);
    if (whole)
        mb_buf_addf(b, ",\"maintainers\":[\"%s\"]", one);
    mb_buf_add_text(b, "}");
}

/* A command that a proposal, or something due, is to run. */
static void inner(struct agree *a, struct mb_buf *b)
{
    const char *type = "books.post";
    struct mb_buf body = {0};
    size_t n = agree_below(a, 100);
    switch (agree_below(a, 8)) {
    case 0:
        type = "toy.put";
        mb_buf_addf(&body, "{\"key\":\"k%zu\",\"value\":%zu}", n % 10, n);
        break;
    case 1:
        type = n < 20 ? "toy.refuse" : "toy.org";
        mb_buf_add_text(&body, n < 20 ? "{\"key\":\"r\",\"value\":1}" : "{}");
        break;
    case 2:
        type = "rules.params.set";
        params_body(a, &body);
        break;
    case 3:
        type = "gov.procedure.set";
        procedure_body(a, &body, n < 50 ? "ranked" : "routine");
        break;
    case 4:
        type = "org.param.set";
        mb_buf_addf(&body, "{\"name\":\"gov.open_max\",\"value\":%zu}", n % 8 + 1);
        break;
    case 5:
        type = "vcs.repo.create";
        repo_body(a, &body, true);
        break;
    default:
        org_post_body(a, &body);
    }
    mb_buf_addf(b, "{\"body\":%s,\"type\":\"%s\"}", mb_buf_text(&body), type);
    mb_buf_clear(&body);
}

static void inners(struct agree *a, struct mb_buf *b)
{
    size_t count = agree_below(a, 3);
    mb_buf_add_text(b, "\"commands\":[");
    for (size_t i = 0; i < count; i++) {
        mb_buf_add_text(b, i > 0 ? "," : "");
        inner(a, b);
    }
    mb_buf_add_text(b, "]");
}

static const char *make_propose(struct agree *a, struct mb_buf *b)
{
    const char *procedure = ANY(a, procedures);
    bool multi = strcmp(procedure, "ranked") == 0 || strcmp(procedure, "approval") == 0 ||
                 strcmp(procedure, "weighted") == 0;
    size_t title = agree_below(a, 1000), options = multi ? agree_below(a, 5) + 2 : 0;
    mb_buf_addf(b, "{\"procedure\":\"%s\",\"title\":\"t%zu\"", procedure, title);
    if (options == 0) {
        mb_buf_add_text(b, ",");
        inners(a, b);
    }
    for (size_t i = 0; i < options; i++) {
        mb_buf_add_text(b, i > 0 ? "," : ",\"options\":[");
        mb_buf_addf(b, "{\"title\":\"o%zu\",", i);
        inners(a, b);
        mb_buf_add_text(b, "}");
    }
    mb_buf_add_text(b, options > 0 ? "]" : "");
    if (once_in(a, 20))
        mb_buf_add_text(b, ",\"draft\":1");
    mb_buf_add_text(b, "}");
    return "gov.propose";
}

static const char *by_id(struct agree *a, struct mb_buf *b, const char *in, const char *type)
{
    int64_t id = proposal(a, in, NULL, 0);
    mb_buf_addf(b, "{\"proposal\":\"%lld\"}", (long long)id);
    return type;
}

static const char *make_sponsor(struct agree *a, struct mb_buf *b)
{
    return by_id(a, b, "support", "gov.sponsor");
}

/* Mostly by its author. */
static const char *make_withdraw(struct agree *a, struct mb_buf *b)
{
    int64_t id = proposal(a, "support", NULL, 0);
    bool author = !once_in(a, 4);
    char *key = mb_asprintf("gov/proposal/%lld", (long long)id);
    json_t *p = state(a, key);
    for (size_t i = 0; i < PEOPLE && author; i++)
        if (strcmp(a->names[i], mb_json_get_text(p, "author", "")) == 0)
            sign_as(a, i);
    mb_buf_addf(b, "{\"proposal\":\"%lld\"}", (long long)id);
    json_decref(p);
    free(key);
    return "gov.withdraw";
}

static const char *make_veto(struct agree *a, struct mb_buf *b)
{
    int64_t id = proposal(a, "voting", NULL, 0);
    mb_buf_addf(b, "{\"proposal\":\"%lld\",\"reason\":\"because\"}", (long long)id);
    return "gov.veto";
}

static const char *make_audit(struct agree *a, struct mb_buf *b)
{
    bool good = !once_in(a, 4);
    int64_t id = proposal(a, "grace", NULL, 0);
    mb_buf_addf(b, "{\"proposal\":\"%lld\",\"report\":\"read\",\"verdict\":\"%s\"}", (long long)id,
                good ? "good" : "bad");
    return "gov.audit";
}

static const char *make_vote(struct agree *a, struct mb_buf *b)
{
    static const char *const choices[] = {"yes", "yes", "yes", "no", "abstain", "maybe"};
    static const char *const ballots[] = {"yesno", "ranked", "approval", "weighted"};
    char ballot[16];
    int64_t id = proposal(a, "voting", ballot, sizeof ballot);
    if (once_in(a, 20))
        mb_snprintf(ballot, sizeof ballot, "%s", ANY(a, ballots));
    size_t x = agree_below(a, 6), y = agree_below(a, 6), part = agree_below(a, 101);
    mb_buf_addf(b, "{\"proposal\":\"%lld\",", (long long)id);
    if (strcmp(ballot, "ranked") == 0)
        mb_buf_addf(b, "\"ranking\":[%zu,%zu]}", x, y);
    else if (strcmp(ballot, "approval") == 0)
        mb_buf_addf(b, "\"approve\":[%zu]}", x);
    else if (strcmp(ballot, "weighted") == 0)
        mb_buf_addf(b, "\"weights\":{\"%zu\":%zu,\"%zu\":%zu}}", x, part, x + 1, 100 - part);
    else
        mb_buf_addf(b, "\"choice\":\"%s\"}", ANY(a, choices));
    return "gov.vote";
}

static const char *make_delegate(struct agree *a, struct mb_buf *b)
{
    const char *to = person(a), *scope = ANY(a, procedures);
    size_t until = agree_below(a, 100000), kind = agree_below(a, 6);
    if (kind == 0)
        mb_buf_addf(b, "{\"scope\":\"%s\"}", scope);
    else
        mb_buf_addf(b, "{\"scope\":\"%s\",\"to\":\"%s\",\"until\":%lld}", kind == 1 ? "*" : scope,
                    to, (long long)(a->time + (int64_t)until));
    return "gov.delegate";
}

static const char *make_apply(struct agree *a, struct mb_buf *b)
{
    (void)a;
    mb_buf_add_text(b, "{\"text\":\"let me in\"}");
    return "gov.apply";
}

static const char *make_resign(struct agree *a, struct mb_buf *b)
{
    (void)a;
    mb_buf_add_text(b, "{}");
    return "gov.resign";
}

/* --- rules and org --- */

static const char *make_adopt(struct agree *a, struct mb_buf *b)
{
    static const char *const bad[] = {"while true do end",
                                      "x =",
                                      "return 1.5",
                                      "local t = {} for i = 1, 99999999 do t[i] = {i} end",
                                      "function selftest() return false, 'not today' end",
                                      "error(tostring(selftest))",
                                      ""};
    size_t kind = agree_below(a, 10), other = agree_below(a, a->rulebook_count);
    size_t version = agree_below(a, 1000);
    const char *text = kind < 2 ? ANY(a, bad) : a->rulebooks[kind < 7 ? 0 : other];
    char *source =
        *text != '\0' ? mb_asprintf("%s\nlocal version = %zu\n", text, version) : mb_strdup("");
    json_t *json = json_pack("{s:s}", "source", source);
    char *body = mb_json_text(json);
    mb_buf_add_text(b, body);
    free(body);
    json_decref(json);
    free(source);
    decree(a);
    return "rules.adopt";
}

static const char *make_params(struct agree *a, struct mb_buf *b)
{
    decree(a);
    params_body(a, b);
    return "rules.params.set";
}

static const char *make_param(struct agree *a, struct mb_buf *b)
{
    static const char *const names[] = {"work_bits", "gov.open_max", "beacon", "x.y", "Bad"};
    const char *name = ANY(a, names);
    size_t value = agree_below(a, 8) / 5;
    decree(a);
    mb_buf_addf(b, "{\"name\":\"%s\",\"value\":%zu}", name, value + (strncmp(name, "gov", 3) == 0));
    return "org.param.set";
}

/* No version that this program lacks: a replica would stop there, and should. */
static const char *make_upgrade(struct agree *a, struct mb_buf *b)
{
    static const struct {
        const char *module;
        int version;
    } wanted[] = {{"vcs", 1}, {"vcs", 1}, {"toy", 2}, {"toy", 1},
                  {"gov", 0}, {"lua", 2}, {"gov", 1}};
    size_t i = agree_below(a, sizeof wanted / sizeof *wanted), ahead = agree_below(a, 80);
    decree(a);
    mb_buf_addf(b, "{\"at_slot\":%llu,\"module\":\"%s\",\"version\":%d}",
                (unsigned long long)(mb_ledger_tip(a->o.ledger)->header.slot + 60 + ahead),
                wanted[i].module, wanted[i].version);
    return "org.upgrade";
}

/* Late: then only proposals and the rulebook act for the organisation. */
static const char *make_retire(struct agree *a, struct mb_buf *b)
{
    decree(a);
    mb_buf_add_text(b, "{}");
    return "org.founders.retire";
}

static const char *make_approve(struct agree *a, struct mb_buf *b)
{
    sign_as(a, agree_below(a, ORG_FOUNDERS));
    mb_buf_addf(b, "{\"id\":\"%064d\"}", 0);
    if (a->waits[0] != '\0') {
        mb_buf_reset(b);
        mb_buf_addf(b, "{\"id\":\"%s\"}", a->waits);
    }
    return "org.approve";
}

static const char *make_beacon(struct agree *a, struct mb_buf *b)
{
    json_t *epoch = state(a, "core/epoch");
    int64_t n = json_integer_value(epoch);
    char hex[MB_HASH_HEX_SIZE];
    struct mb_hash hash;
    bool commit = once_in(a, 2);
    json_decref(epoch);
    /* The secret of an epoch follows from its number. */
    int64_t of = n + commit;
    memset(hash.b, 0, sizeof hash.b);
    for (int i = 0; i < 8; i++)
        hash.b[i] = (uint8_t)((uint64_t)of >> (8 * i));
    if (commit)
        hash = mb_sha256(hash.b, sizeof hash.b);
    mb_hash_hex(&hash, hex);
    a->signer = &a->o.replica;
    mb_buf_addf(b, "{\"epoch\":%lld,\"%s\":\"%s\"}", (long long)of, commit ? "hash" : "value", hex);
    return commit ? "org.beacon.commit" : "org.beacon.reveal";
}

static const char *make_replica(struct agree *a, struct mb_buf *b)
{
    size_t n = agree_below(a, 40);
    bool add = once_in(a, 2);
    struct mb_secret_key key = org_key((uint8_t)(60 + n));
    decree(a);
    if (!add) {
        mb_buf_addf(b, "{\"number\":%zu}", n + 2); /* number 1 proposes here */
        return "org.replica.remove";
    }
    json_t *json = org_add_body(&a->o, &key, (uint8_t)(160 + 2 * n));
    char *body = mb_json_text(json);
    mb_buf_add_text(b, body);
    free(body);
    json_decref(json);
    return "org.replica.add";
}

/* A person that holds nothing yet gets another key: who keeps signing by the old one is refused. */
static const char *make_key(struct agree *a, struct mb_buf *b)
{
    size_t n = agree_below(a, 250);
    struct mb_secret_key key = org_key((uint8_t)(n + 1));
    char text[MB_PUBLIC_TEXT_SIZE];
    struct mb_buf message = {0}, signature = {0}, proof = {0};
    mb_public_key_text(&key.public_key, text);
    sign_as(a, PEOPLE - 1 - agree_below(a, 2));
    mb_buf_addf(&message, "{\"new\":\"%s\",\"old\":\"%s\",\"org\":\"%s\"}", text, a->names[a->who],
                mb_ledger_org(a->o.ledger));
    mb_sshsig_sign(&key, "magicbiz-key", mb_buf_bytes(&message), &signature);
    mb_base64_encode(&proof, signature.data, signature.len);
    mb_buf_addf(b, "{\"new\":\"%s\",\"proof\":\"%s\"}", text, mb_buf_text(&proof));
    mb_buf_clear(&message);
    mb_buf_clear(&signature);
    mb_buf_clear(&proof);
    return "org.key.replace";
}

/* --- vcs and toy --- */

static const char *make_repo(struct agree *a, struct mb_buf *b)
{
    bool create = once_in(a, 2);
    repo_body(a, b, create);
    return create ? "vcs.repo.create" : "vcs.repo.set";
}

static const char *make_toy(struct agree *a, struct mb_buf *b)
{
    static const char *const plain[] = {"toy.bad", "toy.who", "toy.member", "toy.org",
                                        "toy.replica"};
    static const char *const keyed[] = {"toy.put", "toy.del", "toy.refuse", "toy.raw", "toy.list"};
    const char *type = once_in(a, 3) ? ANY(a, plain) : ANY(a, keyed);
    size_t key = agree_below(a, 30), bytes = agree_below(a, 3000);
    if (strcmp(type, "toy.put") == 0 || strcmp(type, "toy.refuse") == 0)
        mb_buf_addf(b, "{\"key\":\"k%zu\",\"value\":{\"n\":%zu}}", key, bytes);
    else if (strcmp(type, "toy.raw") == 0)
        mb_buf_addf(b, "{\"key\":\"%s/x%zu\"}", key % 3 == 0 ? "books" : "toy", key);
    else if (strcmp(type, "toy.del") == 0 || strcmp(type, "toy.list") == 0)
        mb_buf_addf(b, "{\"key\":\"k%zu\"}", key);
    else
        mb_buf_add_text(b, "{}");
    if (!once_in(a, 12))
        return type;
    mb_buf_reset(b);
    mb_buf_addf(b, "{\"bytes\":%zu}", bytes);
    return "toy.big";
}

/* Something to be run as the organisation later on. */
static const char *make_due(struct agree *a, struct mb_buf *b)
{
    struct mb_buf command = {0};
    inner(a, &command);
    json_t *json = json_loads(mb_buf_text(&command), 0, NULL);
    size_t later = agree_below(a, 8000), times = agree_below(a, 3);
    json_object_set_new(json, "at", json_integer((json_int_t)(a->time + (int64_t)later)));
    json_object_set_new(json, "times", json_integer((json_int_t)times + 1));
    char *body = mb_json_text(json);
    mb_buf_add_text(b, body);
    free(body);
    json_decref(json);
    mb_buf_clear(&command);
    return "toy.due";
}

/* --- Which, and in what form --- */

static const struct {
    unsigned weight;
    const char *(*make)(struct agree *a, struct mb_buf *body); /* the type */
} kinds[] = {
    {250, make_post},    {40, make_issue},    {40, make_org_post}, {5, make_asset},
    {20, make_account},  {8, make_procedure}, {60, make_propose},  {110, make_sponsor},
    {6, make_withdraw},  {6, make_veto},      {12, make_audit},    {220, make_vote},
    {40, make_delegate}, {10, make_apply},    {2, make_resign},    {4, make_adopt},
    {4, make_params},    {4, make_param},     {4, make_upgrade},   {6, make_approve},
    {12, make_beacon},   {3, make_replica},   {1, make_key},       {12, make_repo},
    {40, make_toy},      {12, make_due},
};

static const char *make(struct agree *a, struct mb_buf *body)
{
    size_t all = 0, i = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        all += kinds[k].weight;
    size_t at = agree_below(a, all);
    for (; at >= kinds[i].weight; i++)
        at -= kinds[i].weight;
    return kinds[i].make(a, body);
}

/* One field of the body becomes something else, or another one is there. */
static void spoil(struct agree *a, struct mb_buf *body)
{
    static const char *const junk[] = {"null",
                                       "true",
                                       "-1",
                                       "9223372036854775807",
                                       "\"\"",
                                       "[]",
                                       "{}",
                                       "[[[[1]]]]",
                                       "\"\\u0001\\ud83d\\ude00\"",
                                       "1.5",
                                       "1e3",
                                       "{\"a\":{\"a\":{\"a\":[]}}}"};
    json_t *json = json_loads(mb_buf_text(body), 0, NULL);
    size_t place = agree_below(a, json_object_size(json) + 1);
    json_t *value = json_loads(ANY(a, junk), JSON_DECODE_ANY, NULL);
    void *at = json_object_iter(json);
    while (at != NULL && place-- > 0)
        at = json_object_iter_next(json, at);
    json_object_set_new(json, at != NULL ? json_object_iter_key(at) : "more", value);
    char *text = json_dumps(json, JSON_COMPACT);
    mb_buf_reset(body);
    mb_buf_add_text(body, text);
    free(text);
    json_decref(json);
}

/* Some bytes of the command become others. */
static void garble(struct agree *a, struct mb_buf *text)
{
    static const char bytes[] = "{}[]\",:0123456789eE+-.\\un atfrl\t\n";
    for (size_t left = agree_below(a, 4) + 1; left > 0; left--) {
        size_t at = agree_below(a, text->len);
        text->data[at] = (uint8_t)bytes[agree_below(a, sizeof bytes - 1)];
    }
}

enum form { PLAIN, SPOILT, GARBLED, FORGED, REPEATED, LATE, EARLY, ELSEWHERE };

static enum form any_form(struct agree *a)
{
    size_t n = agree_below(a, 200);
    return n < 8    ? SPOILT
           : n < 14 ? GARBLED
           : n < 16 ? FORGED
           : n < 20 ? REPEATED
           : n < 21 ? LATE
           : n < 22 ? EARLY
           : n < 23 ? ELSEWHERE
                    : PLAIN;
}

static void write_text(struct agree *a, struct mb_buf *text, enum form form, int64_t time,
                       const char *type, struct mb_buf *body)
{
    char fingerprint[MB_FINGERPRINT_SIZE], nonce[33], org[MB_HASH_HEX_SIZE];
    int64_t expires = time + 3600;
    if (form == LATE)
        expires = time - 1;
    else if (form == EARLY)
        expires = time + MB_COMMAND_LIFE_S + 1;
    mb_snprintf(nonce, sizeof nonce, "%032llx", (unsigned long long)++a->o.nonce);
    mb_snprintf(org, sizeof org, "%s", mb_ledger_org(a->o.ledger));
    if (form == ELSEWHERE)
        org[0] = org[0] == '0' ? '1' : '0';
    mb_public_key_fingerprint(&a->signer->public_key, fingerprint);
    mb_buf_addf(text,
                "{\"org\":\"%s\",\"key\":\"%s\",\"type\":\"%s\",\"nonce\":\"%s\","
                "\"expires\":%lld,\"body\":",
                org, fingerprint, type, nonce, (long long)expires);
    mb_buf_add_text(text, mb_buf_text(body));
    mb_buf_add_text(text, "}");
}

static struct mb_checked *repeat(struct agree *a, const char **type)
{
    size_t i = agree_below(a, EARLIER);
    *type = "";
    return a->earlier[i].text.len == 0
               ? org_envelope(&a->people[0], "{}")
               : org_envelope(&a->people[a->earlier[i].who], mb_buf_text(&a->earlier[i].text));
}

static void remember(struct agree *a, struct mb_buf *text)
{
    size_t i = agree_below(a, EARLIER);
    mb_buf_reset(&a->earlier[i].text);
    mb_buf_add_text(&a->earlier[i].text, mb_buf_text(text));
    a->earlier[i].who = a->who;
}

struct mb_checked *agree_command(struct agree *a, int64_t time, const char **type)
{
    struct mb_buf body = {0}, text = {0};
    enum form form = any_form(a);
    if (form == REPEATED)
        return repeat(a, type);
    sign_as(a, agree_below(a, PEOPLE));
    a->decree = false;
    bool retire = a->sent >= a->retire && a->sent < a->retire + 200 && once_in(a, 20);
    if (a->approve)
        *type = make_approve(a, &body);
    else
        *type = retire ? make_retire(a, &body) : make(a, &body);
    a->approve = false;
    /* The toys that do something as often as they are told have no bounds. */
    bool bounded = strcmp(*type, "toy.due") != 0 && strcmp(*type, "toy.big") != 0;
    if (!bounded && (form == SPOILT || form == GARBLED))
        form = PLAIN;
    if (form == SPOILT)
        spoil(a, &body);
    write_text(a, &text, form, time, *type, &body);
    if (form == GARBLED)
        garble(a, &text);
    const struct mb_secret_key *signer = form == FORGED ? &a->o.other : a->signer;
    struct mb_checked *c = org_envelope(signer, mb_buf_text(&text));
    if (form == PLAIN && a->decree) {
        mb_hash_hex(&c->id, a->waits);
        a->approve = !once_in(a, 4);
    }
    if (form == PLAIN && a->signer != &a->o.replica)
        remember(a, &text);
    mb_buf_clear(&body);
    mb_buf_clear(&text);
    return c;
}

/* --- What they rest on --- */

static void must(struct agree *a, size_t who, const char *type, const char *body)
{
    a->time++;
    char *result = org_do(&a->o, a->time, &a->people[who], type, body);
    if (strstr(result, "\"ok\":true") == NULL) {
        fprintf(stderr, "agree: %s %s: %s\n", type, body, result);
        exit(1);
    }
    free(result);
}

/* By two founders. */
static void ordain(struct agree *a, const char *type, const char *body)
{
    struct mb_checked *c = org_command(&a->o, &a->people[0], type, body, a->time + 3600);
    char id[MB_HASH_HEX_SIZE], approval[100];
    mb_hash_hex(&c->id, id);
    mb_outcome_free(org_block(&a->o, ++a->time, &c, 1));
    mb_snprintf(approval, sizeof approval, "{\"id\":\"%s\"}", id);
    must(a, 1, "org.approve", approval);
}

void agree_prepare(struct agree *a)
{
    static const char *const ballots[] = {"ranked", "approval", "weighted"};
    char body[400];
    for (size_t i = 0; i < PEOPLE; i++) {
        a->people[i] = i < ORG_FOUNDERS ? a->o.founders[i] : org_key((uint8_t)(100 + i));
        a->names[i] = org_fingerprint(&a->people[i]);
    }
    static const char *const issued[] = {
        "chip\",\"transferable\":1,\"cap\":5000,\"half_life_epochs\":20",
        "rep\",\"delegable\":1,\"half_life_epochs\":7", "guard\",\"cap\":100"};
    ordain(a, "books.asset.create", "{\"asset\":\"coin\",\"transferable\":1,\"scale\":2}");
    for (size_t i = 0; i < sizeof issued / sizeof *issued; i++) {
        mb_snprintf(body, sizeof body, "{\"asset\":\"%s,\"issuer\":\"%s\"}", issued[i],
                    a->names[0]);
        ordain(a, "books.asset.create", body);
    }
    ordain(a, "books.account.open", "{\"account\":\"org/treasury\"}");
    ordain(a, "books.account.open", "{\"account\":\"org/eng\"}");
    ordain(a, "books.account.open", "{\"account\":\"org/eng/infra\",\"controller\":\"org\"}");
    for (size_t i = 0; i < 3; i++) {
        mb_snprintf(
            body, sizeof body,
            "{\"name\":\"%s\",\"ballot\":\"%s\",\"tie\":\"first\",\"commands\":[\"books.*\","
            "\"toy.*\",\"vcs.*\"],\"support_s\":1000,\"review_s\":100,\"voting_s\":1000,"
            "\"grace_s\":100,\"quorum\":[1,20],\"threshold\":[1,5],\"sponsors\":1}",
            ballots[i], ballots[i]);
        ordain(a, "gov.procedure.set", body);
    }
    for (size_t i = 0; i < PEOPLE; i++) {
        mb_snprintf(body, sizeof body,
                    "{\"entries\":[{\"account\":\"key/%s\",\"amount\":1000,\"asset\":\"coin\"},"
                    "{\"account\":\"issue/coin\",\"amount\":-1000,\"asset\":\"coin\"}%s%s%s]}",
                    a->names[i], i < ORG_FOUNDERS ? "" : ",{\"account\":\"key/",
                    i < ORG_FOUNDERS ? "" : a->names[i],
                    i < ORG_FOUNDERS ? ""
                                     : "\",\"amount\":1,\"asset\":\"member\"},{\"account\":\"issue/"
                                       "member\",\"amount\":-1,\"asset\":\"member\"}");
        ordain(a, "books.post", body);
    }
}
