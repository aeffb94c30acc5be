/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Commands to the real ledger, of all its modules. What a command meets depends on which were
 * chosen before it: some do well wherever they come, others are refused as often as not, and are
 * taken in once all the same.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "../support/org.h"
#include "sim.h"

static const char rulebook[] =
    "local function move(asset, from, to, n)\n"
    "  return {{type = 'books.post', body = {entries = {\n"
    "    {account = from, asset = asset, amount = -n}, {account = to, asset = asset, amount = "
    "n}}}}}\n"
    "end\n"
    "function authorize(command) return command.body.memo ~= 'no', 'it says so' end\n"
    "function weight(member)\n"
    "  return 1 + (mb.get('books/balance/coin/key/' .. member) or 0) // mb.params.part\n"
    "end\n"
    "function on_epoch(n) return move('coin', 'issue/coin', 'org', n) end\n"
    "function on_applied(command, result)\n"
    "  if command.type ~= 'gov.vote' then return end\n"
    "  return move('chip', 'issue/chip', 'key/' .. command.signer, result.ok and 2 or 1)\n"
    "end\n"
    "function selftest() return mb.params.part > 0 end\n";

void commands_genesis(json_t *genesis)
{
    static const char *const names[] = {"books", "gov", "rules", "vcs"};
    static const char *const procedures[] = {"routine", "treasury", "constitution"};
    json_t *versions = json_object_get(genesis, "versions");
    json_t *params = json_pack("{s:i, s:i, s:i}", "rules.part", 10, "gov.open_max", 200,
                               "books.accounts_max", COMMANDS);
    json_object_del(versions, "toy");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        json_object_set_new(versions, names[i], json_integer(1));
    for (size_t i = 0; i < sizeof procedures / sizeof *procedures; i++) {
        static const struct {
            const char *name;
            int value;
        } fields[] = {{"sponsors", 0}, {"review_s", 1}, {"voting_s", 5}, {"grace_s", 1}};
        for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
            char *name = mb_asprintf("gov.%s.%s", procedures[i], fields[k].name);
            json_object_set_new(params, name, json_integer(fields[k].value));
            free(name);
        }
    }
    json_object_set_new(genesis, "params", params);
    json_object_set_new(genesis, "epoch_s", json_integer(10));
    json_object_set_new(genesis, "rulebook", json_string(rulebook));
}

/* A command in the making. */
struct making {
    struct world *w;
    uint32_t id;
    char *who, *other; /* fingerprints of founders: who signs, and another or the same */
    const char *type;
    json_t *body;
    char *key; /* as in struct command */
};

static void make_repo(struct making *m)
{
    m->type = "vcs.repo.create";
    m->body = json_pack("{s:o, s:[s]}", "name", json_sprintf("r%u", m->id), "maintainers", m->who);
    m->key = mb_asprintf("vcs/repo/r%u", m->id);
}

static void make_account(struct making *m)
{
    m->type = "books.account.open";
    m->body = json_pack("{s:o}", "account", json_sprintf("key/%s/a%u", m->who, m->id));
    m->key = mb_asprintf("books/account/key/%s/a%u", m->who, m->id);
}

static void make_asset(struct making *m)
{
    static const char *const names[] = {"coin", "chip"};
    m->type = "books.asset.create";
    m->body = json_pack("{s:s, s:i, s:i}", "asset", names[chance(m->w, 2)], "transferable", 1,
                        "half_life_epochs", 20);
}

static json_t *posting(struct making *m, const char *from)
{
    int n = (int)chance(m->w, 30) + 1;
    return json_pack("{s:[{s:s, s:s, s:i}, {s:o, s:s, s:i}], s:s}", "entries", "account", from,
                     "asset", "coin", "amount", -n, "account", json_sprintf("key/%s", m->other),
                     "asset", "coin", "amount", n, "memo", once_in(m->w, 20) ? "no" : "yes");
}

static void make_post(struct making *m)
{
    char *own = mb_asprintf("key/%s", m->who);
    m->type = "books.post";
    m->body = posting(m, once_in(m->w, 2) ? own : once_in(m->w, 3) ? "org" : "issue/coin");
    free(own);
}

static void make_proposal(struct making *m)
{
    static const char *const procedures[] = {"routine", "treasury", "constitution"};
    const char *procedure = procedures[chance(m->w, 3)];
    m->type = "gov.propose";
    m->body = json_pack("{s:s, s:s, s:[{s:s, s:o}]}", "procedure", procedure, "title", "T",
                        "commands", "type", "books.post", "body", posting(m, "org"));
}

/* Of proposals about as many as there may be so far. */
static void make_vote(struct making *m)
{
    static const char *const choices[] = {"yes", "yes", "yes", "no"};
    unsigned proposal = 1 + (unsigned)chance(m->w, m->id / 6 + 1);
    m->type = "gov.vote";
    m->body = json_pack("{s:o, s:s}", "proposal", json_sprintf("%u", proposal), "choice",
                        choices[chance(m->w, 4)]);
}

static void make_delegation(struct making *m)
{
    int64_t until = ORG_CREATED + m->w->now / 1000 + 600;
    m->type = "gov.delegate";
    m->body = json_pack("{s:s, s:I}", "to", m->other, "until", (json_int_t)until);
}

static void make_rule(struct making *m)
{
    unsigned n = (unsigned)chance(m->w, 8);
    m->type = n < 4 ? "rules.params.set" : "rules.adopt";
    m->body = n < 4 ? json_pack("{s:{s:i}}", "params", "part", (int)n)
                    : json_pack("{s:o}", "source", json_sprintf("%s-- %u", rulebook, n));
}

static void (*const makers[])(struct making *m) = {
    make_repo,     make_repo,     make_account, make_account, make_asset,      make_post, make_post,
    make_proposal, make_proposal, make_vote,    make_vote,    make_delegation, make_rule};

void command_make(struct world *w, uint32_t id)
{
    struct mb_secret_key key = org_key((uint8_t)(1 + chance(w, ORG_FOUNDERS)));
    struct mb_secret_key other = org_key((uint8_t)(1 + chance(w, ORG_FOUNDERS)));
    struct making m = {
        .w = w, .id = id, .who = org_fingerprint(&key), .other = org_fingerprint(&other)};
    char org[MB_HASH_HEX_SIZE];
    uint8_t nonce[16] = {(uint8_t)(id >> 8), (uint8_t)id};
    struct mb_buf *genesis = w->genesis;
    struct mb_hash hash = mb_sha256(genesis->data, genesis->len);
    struct mb_envelope e;
    mb_hash_hex(&hash, org);
    makers[chance(w, sizeof makers / sizeof *makers)](&m);
    mb_command_make(&e, &key, org, m.type, nonce, ORG_CREATED + 3600 * (w->now / 3600000 + 24),
                    m.body, 0);
    w->commands[id].envelope = mb_checked_new(&e);
    w->commands[id].key = m.key;
    json_decref(m.body);
    free(m.who);
    free(m.other);
}
