/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rules show, check, adopt, propose: the rulebook. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "cli/gov.h"
#include "ledger/message.h"
#include "rules/cage.h"

#define PARAMS_OPTION                                                                              \
    {                                                                                              \
        "params", "JSON", "an object of parameters, in place of those in force"                    \
    }

static int read_rulebook(const struct cli *c, struct mb_buf *source, json_t **params,
                         struct mb_error *error)
{
    const char *text = cli_option(c, "params");
    int rc = mb_read_file(c->args[0], MB_RULES_SOURCE_MAX, source, error);
    if (rc == 0 && text != NULL)
        rc = mb_json_parse(params, text, strlen(text), error);
    if (rc == 0 && *params != NULL && !json_is_object(*params))
        rc = mb_fail(error, MB_EINVAL, "json.invalid", "--params takes a JSON object");
    return rc;
}

/* --- show --- */

static int rules_show(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    json_t *source = NULL, *params = NULL, *version = NULL;
    int rc = cli_open_org(c, &o, error);
    if (rc == 0 && (rc = cli_state(o, "rules/version", &version, error)) == 0)
        rc = mb_fail(error, MB_ENOENT, "rules.absent", "this organisation has no module rules");
    if (rc >= 0)
        rc = cli_state(o, "rules/source", &source, error);
    if (rc >= 0)
        rc = cli_state(o, "rules/params", &params, error);
    if (rc >= 0 && c->json)
        cli_print_json(json_pack("{s:O, s:O, s:s}", "version", version, "params", params, "source",
                                 source != NULL ? json_string_value(source) : ""));
    else if (rc >= 0 && source == NULL)
        puts("there is no rulebook: each command's default access decides");
    else if (rc >= 0)
        cli_print_text(json_string_value(source));
    json_decref(source);
    json_decref(params);
    json_decref(version);
    return rc < 0 ? rc : 0;
}

const struct cli_command cmd_rules_show = {
    .name = "rules show",
    .args = "",
    .summary = "the rulebook in force; --json: with its version and parameters",
    .help = "    magicbiz rules show",
    .run = rules_show,
};

/* --- check --- */

struct checking {
    struct mb_cage *cage;
    json_t *params; /* NULL: those in the state */
    struct mb_audit *audit;
    uint64_t from; /* the first slot that is looked at */
    int64_t epoch; /* before the block at hand */
    int64_t commands, allowed, granted;
    int64_t dearest; /* instructions of a call */
    json_t *refused, *run, *failed, *paid;
};

/* What the rulebook cannot decide: as the module rules has it. */
static bool is_repair(struct mb_tx *tx, const char *type, const json_t *body)
{
    if (strcmp(type, "rules.adopt") == 0 || strcmp(type, "org.approve") == 0)
        return true;
    if (strncmp(type, "gov.", 4) != 0)
        return false;
    char *key = mb_asprintf("gov/proposal/%s", mb_json_get_text(body, "proposal", ""));
    json_t *proposal = mb_tx_get(tx, key);
    const json_t *from = strcmp(type, "gov.propose") == 0 ? body : proposal;
    bool is = strcmp(mb_json_get_text(from, "procedure", ""), "constitution") == 0;
    json_decref(proposal);
    free(key);
    return is;
}

/* Call a function on the replayed state. What fails is noted, and gives NULL, as does a function
 * that is not there: *rc tells. args are taken. */
static json_t *call(struct checking *k, uint64_t slot, const char *function, json_t *args_take,
                    int *rc)
{
    struct mb_ledger *ledger = mb_audit_ledger(k->audit);
    struct mb_tx *tx = mb_ledger_reader(ledger);
    struct mb_error error = {0};
    json_t *params = k->params != NULL ? json_incref(k->params) : mb_tx_get(tx, "rules/params");
    struct mb_cage_view view = {tx, mb_ledger_tip(ledger)->time, (int64_t)slot, params};
    json_t *results = NULL;
    *rc = mb_cage_call(k->cage, &view, function, args_take, &results, &error);
    int64_t took = mb_cage_cost(k->cage).instructions;
    k->dearest = took > k->dearest ? took : k->dearest;
    if (*rc != 0 && *rc != MB_ENOENT)
        json_array_append_new(k->failed, json_pack("{s:I, s:s, s:s, s:s}", "slot", (json_int_t)slot,
                                                   "function", function, "code", error.code, "args",
                                                   error.args));
    json_decref(params);
    json_decref(args_take);
    return results;
}

static json_t *command_json(const char *id, const char *signer, const json_t *command)
{
    return json_pack("{s:s, s:s, s:s, s:O}", "type", mb_json_get_text(command, "type", ""), "id",
                     id, "signer", signer, "body", json_object_get(command, "body"));
}

static void authorize(struct checking *k, uint64_t slot, const char *id, const char *signer,
                      const json_t *command)
{
    struct mb_tx *tx = mb_ledger_reader(mb_audit_ledger(k->audit));
    const char *type = mb_json_get_text(command, "type", "");
    int rc = MB_ENOENT;
    json_t *results = NULL;
    k->commands++;
    if (!is_repair(tx, type, json_object_get(command, "body")))
        results = call(k, slot, "authorize",
                       json_pack("[o, s]", command_json(id, signer, command), signer), &rc);
    const json_t *said = json_array_get(results, 0);
    const char *word = json_string_value(said);
    const char *reason = json_string_value(json_array_get(results, 1));
    if (rc == MB_ENOENT || (rc == 0 && (said == NULL || json_is_true(said))))
        k->allowed++;
    else if (rc == 0 && word != NULL && strcmp(word, "grant") == 0)
        k->granted++;
    else
        json_array_append_new(k->refused,
                              json_pack("{s:I, s:s, s:s, s:s, s:s}", "slot", (json_int_t)slot, "id",
                                        id, "type", type, "signer", signer, "reason",
                                        reason != NULL ? reason
                                        : rc != 0      ? "the rulebook failed"
                                                       : ""));
    json_decref(results);
}

/* Add up what a posting would credit, but for what goes back to where it was issued. */
static void add_payments(struct checking *k, const json_t *body)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(body, "entries"), i, entry)
    {
        const char *account = mb_json_get_text(entry, "account", "");
        const char *asset = mb_json_get_text(entry, "asset", "");
        int64_t amount = mb_json_get_int(entry, "amount", 0), sum;
        if (amount <= 0 || strncmp(account, "issue/", 6) == 0)
            continue;
        json_t *accounts = json_object_get(k->paid, asset);
        if (accounts == NULL) {
            accounts = json_object();
            json_object_set_new(k->paid, asset, accounts);
        }
        if (!__builtin_add_overflow(mb_json_get_int(accounts, account, 0), amount, &sum))
            json_object_set_new(accounts, account, json_integer(sum));
    }
}

static void note_commands(struct checking *k, uint64_t slot, const char *cause, json_t *results)
{
    json_t *command;
    size_t i;
    json_array_foreach(json_array_get(results, 0), i, command)
    {
        const char *type = mb_json_get_text(command, "type", "");
        json_array_append_new(k->run, json_pack("{s:I, s:s, s:s, s:O?}", "slot", (json_int_t)slot,
                                                "cause", cause, "type", type, "body",
                                                json_object_get(command, "body")));
        if (strcmp(type, "books.post") == 0)
            add_payments(k, json_object_get(command, "body"));
    }
    json_decref(results);
}

static int64_t epoch_of(const struct checking *k)
{
    json_t *epoch = mb_tx_get(mb_ledger_reader(mb_audit_ledger(k->audit)), "core/epoch");
    int64_t n = json_integer_value(epoch);
    json_decref(epoch);
    return n;
}

/* The envelopes' own results stand in their order among those of internal commands. */
static const char *result_text(const json_t *results, size_t *at, json_t **result)
{
    for (; *at < json_array_size(results); (*at)++) {
        const char *text = json_string_value(json_array_get(results, *at));
        if (text != NULL && mb_json_parse(result, text, strlen(text), NULL) == 0) {
            if (json_object_get(*result, "cause") == NULL) {
                (*at)++;
                return mb_json_get_text(json_object_get(*result, "error"), "code", "");
            }
            json_decref(*result);
        }
    }
    *result = NULL;
    return "command.inadmissible";
}

typedef void each_command(struct checking *k, uint64_t slot, const char *id, const char *signer,
                          const json_t *command, const json_t *result);

/* Those that were admissible and new. */
static void for_commands(struct checking *k, const json_t *line, each_command *each)
{
    uint64_t slot = (uint64_t)mb_json_get_int(line, "slot", 0);
    struct mb_tx *tx = mb_ledger_reader(mb_audit_ledger(k->audit));
    const json_t *envelope;
    size_t i, at = 0;
    json_array_foreach(json_object_get(line, "envelopes"), i, envelope)
    {
        const char *text = mb_json_get_text(envelope, "command", "");
        char id[MB_HASH_HEX_SIZE], signer[MB_FINGERPRINT_SIZE];
        json_t *command = NULL, *result = NULL;
        const char *code = result_text(json_object_get(line, "results"), &at, &result);
        struct mb_hash hash = mb_sha256(text, strlen(text));
        mb_hash_hex(&hash, id);
        if (strcmp(code, "command.inadmissible") != 0 && strcmp(code, "command.repeated") != 0 &&
            mb_json_parse(&command, text, strlen(text), NULL) == 0) {
            mb_tx_identity(tx, mb_json_get_text(command, "key", ""), signer);
            each(k, slot, id, signer, command, result);
        }
        json_decref(command);
        json_decref(result);
    }
}

static void before_command(struct checking *k, uint64_t slot, const char *id, const char *signer,
                           const json_t *command, const json_t *result)
{
    (void)result;
    authorize(k, slot, id, signer, command);
}

static void after_command(struct checking *k, uint64_t slot, const char *id, const char *signer,
                          const json_t *command, const json_t *result)
{
    bool ok = json_is_true(json_object_get(result, "ok"));
    json_t *what = json_pack("{s:b, s:O}", "ok", ok, ok ? "result" : "error",
                             json_object_get(result, ok ? "result" : "error"));
    int rc;
    json_t *results = call(k, slot, "on_applied",
                           json_pack("[o, o]", command_json(id, signer, command), what), &rc);
    note_commands(k, slot, id, results);
}

static void look_before(void *arg, const json_t *line)
{
    struct checking *k = arg;
    if ((uint64_t)mb_json_get_int(line, "slot", 0) < k->from)
        return;
    k->epoch = epoch_of(k);
    for_commands(k, line, before_command);
}

static void look_after(void *arg, const json_t *line)
{
    struct checking *k = arg;
    uint64_t slot = (uint64_t)mb_json_get_int(line, "slot", 0);
    if (slot < k->from)
        return;
    for (int64_t n = k->epoch + 1, last = epoch_of(k); n <= last; n++) {
        int rc;
        char *cause = mb_asprintf("epoch:%" PRId64, n);
        note_commands(k, slot, cause,
                      call(k, slot, "on_epoch", json_pack("[I]", (json_int_t)n), &rc));
        free(cause);
    }
    for_commands(k, line, after_command);
}

static int self_test(struct checking *k, uint64_t slot, struct mb_error *error)
{
    int rc;
    json_t *results = call(k, slot, "selftest", json_array(), &rc);
    if (rc != 0 && rc != MB_ENOENT) {
        const json_t *last = json_array_get(k->failed, json_array_size(k->failed) - 1);
        mb_fail(error, rc, mb_json_get_text(last, "code", ""), "selftest: %s %s",
                mb_json_get_text(last, "code", ""), mb_json_get_text(last, "args", ""));
    } else if (rc == 0 && !json_is_true(json_array_get(results, 0))) {
        const char *reason = json_string_value(json_array_get(results, 1));
        rc = mb_fail(error, MB_EREFUSED, "rules.selftest", "the rulebook's own test says no: %s",
                     reason != NULL ? reason : "");
    }
    json_decref(results);
    return rc == MB_ENOENT ? 0 : rc;
}

static void print_list(const char *what, const json_t *list)
{
    const json_t *one;
    size_t i;
    json_array_foreach(list, i, one)
    {
        char *text = mb_json_text(one);
        printf("%s ", what);
        cli_print_text(text);
        putchar('\n');
        free(text);
    }
}

static void print_check(struct cli *c, const struct checking *k, uint64_t to)
{
    const char *asset, *account;
    json_t *accounts, *amount;
    if (c->json) {
        cli_print_json(json_pack(
            "{s:I, s:I, s:I, s:I, s:I, s:I, s:O, s:O, s:O, s:O}", "from", (json_int_t)k->from, "to",
            (json_int_t)to, "commands", (json_int_t)k->commands, "allowed", (json_int_t)k->allowed,
            "granted", (json_int_t)k->granted, "dearest", (json_int_t)k->dearest, "refused",
            k->refused, "run", k->run, "paid", k->paid, "failed", k->failed));
        return;
    }
    print_list("refused", k->refused);
    print_list("run", k->run);
    print_list("failed", k->failed);
    json_object_foreach(k->paid, asset, accounts) json_object_foreach(accounts, account, amount)
        printf("paid %" JSON_INTEGER_FORMAT " %s to %s\n", json_integer_value(amount), asset,
               account);
    printf("slots %" PRIu64 " to %" PRIu64 ": of %" PRId64 " commands %" PRId64 " allowed, %" PRId64
           " granted, %zu refused; %zu run; %zu failures; at most %" PRId64
           " instructions a call\n",
           k->from, to, k->commands, k->allowed, k->granted, json_array_size(k->refused),
           json_array_size(k->run), json_array_size(k->failed), k->dearest);
}

static int check_online(struct cli *c, struct checking *k, int64_t last, struct mb_error *error)
{
    struct cli_org *o;
    struct mb_modules modules = {0};
    struct cli_onlooker onlooker = {look_before, look_after, k};
    int rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = cli_load_modules(o, &modules, error);
    if (rc != 0)
        return rc;
    uint64_t tip = o->newest.slot;
    struct mb_memory *memory = mb_memory_new();
    k->from = tip > (uint64_t)last ? tip - (uint64_t)last + 1 : 1;
    rc = mb_audit_new(&k->audit, mb_memory_backend(memory), modules.logics, modules.count,
                      &o->pin.org, mb_buf_bytes(&o->genesis_text), error);
    if (rc == 0)
        rc = cli_replay(o, k->audit, &onlooker, error);
    if (rc == 0)
        rc = self_test(k, tip, error);
    if (rc == 0)
        print_check(c, k, tip);
    mb_audit_free(k->audit);
    mb_memory_free(memory);
    return rc;
}

/* Alone, on an empty state. */
static int check_offline(struct cli *c, struct checking *k, struct mb_error *error)
{
    struct mb_cage_view view = {.time = 1, .slot = 1, .params = k->params};
    json_t *args = json_array(), *results = NULL;
    int rc = mb_cage_call(k->cage, &view, "selftest", args, &results, error);
    if (rc == 0 && !json_is_true(json_array_get(results, 0))) {
        const char *reason = json_string_value(json_array_get(results, 1));
        rc = mb_fail(error, MB_EREFUSED, "rules.selftest", "the rulebook's own test says no: %s",
                     reason != NULL ? reason : "");
    }
    bool none = rc == MB_ENOENT;
    rc = none ? 0 : rc;
    if (rc == 0 && c->json)
        cli_print_json(json_pack("{s:b}", "selftest", !none));
    else if (rc == 0)
        puts(none ? "it compiles; it has no selftest()" : "it compiles, and its selftest() holds");
    json_decref(args);
    json_decref(results);
    return rc;
}

/* Refusals of the cage have no text of their own; the module has. */
static int explain(int rc, struct mb_error *error)
{
    struct mb_modules modules = {.count = 0};
    if (rc == MB_EREFUSED && error->text[0] == '\0') {
        (void)mb_modules_load(&modules, mb_modules_dir(MB_MODULE_DIR), "rules", NULL);
        mb_message_fill(error, modules.logics, modules.count);
    }
    return rc;
}

static int rules_check(struct cli *c, struct mb_error *error)
{
    struct checking k = {.refused = json_array(),
                         .run = json_array(),
                         .failed = json_array(),
                         .paid = json_object()};
    struct mb_buf source = {0};
    int64_t last;
    int rc = cli_option_int(c, "last", 1000, 1, INT64_MAX, &last, error);
    if (rc == 0)
        rc = read_rulebook(c, &source, &k.params, error);
    if (rc == 0)
        rc = mb_cage_new(&k.cage, mb_buf_bytes(&source), error);
    if (rc == 0)
        rc = cli_option(c, "offline") != NULL ? check_offline(c, &k, error)
                                              : check_online(c, &k, last, error);
    mb_cage_free(k.cage);
    mb_buf_clear(&source);
    json_decref(k.params);
    json_decref(k.refused);
    json_decref(k.run);
    json_decref(k.failed);
    json_decref(k.paid);
    return explain(rc, error);
}

const struct cli_command cmd_rules_check = {
    .name = "rules check",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .summary = "what a rulebook would have allowed, refused and paid",
    .help =
        "Compiles the rulebook, replays the whole ledger here, and asks the rulebook about the\n"
        "commands of the last blocks: authorize with the state before their block, on_applied and\n"
        "on_epoch with the state after it. What it would have run is not applied to that state.\n"
        "Then its selftest() runs on the newest state. Nothing is sent.\n\n"
        "    magicbiz rules check new.lua --last 500",
    .options =
        (const struct cli_option[]){
            {"last", "N", "how many blocks are looked at; 1000 unless given"},
            PARAMS_OPTION,
            {"offline", NULL, "only compile it and run its selftest(), on an empty state"},
            {NULL, NULL, NULL}},
    .run = rules_check,
};

/* --- adopt --- */

/* What rules.adopt takes; *body is owned by the caller. */
static int adoption(const struct cli *c, json_t **body, struct mb_error *error)
{
    struct mb_buf source = {0};
    json_t *params = NULL;
    int rc = read_rulebook(c, &source, &params, error);
    if (rc == 0) {
        *body = json_pack("{s:o, s:O*}", "source", json_stringn(mb_buf_text(&source), source.len),
                          "params", params);
        if (*body == NULL)
            rc = mb_fail(error, MB_EINVAL, "text.invalid", "the rulebook is not UTF-8");
    }
    json_decref(params);
    mb_buf_clear(&source);
    return rc;
}

static int rules_adopt(struct cli *c, struct mb_error *error)
{
    json_t *body;
    int rc = adoption(c, &body, error);
    return rc == 0 ? cli_act(c, "rules.adopt", body, error) : rc;
}

const struct cli_command cmd_rules_adopt = {
    .name = "rules adopt",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .summary = "adopt a rulebook, as founders who have not retired",
    .help = "Afterwards a rulebook is changed by decision: magicbiz rules propose. See\n"
            "magicbiz-rulebook(7).\n\n"
            "    magicbiz rules adopt cooperative.lua --params '{\"contribution\":5}'",
    .options = (const struct cli_option[]){PARAMS_OPTION, {NULL, NULL, NULL}},
    .run = rules_adopt,
};

/* --- propose --- */

static int rules_propose(struct cli *c, struct mb_error *error)
{
    json_t *body;
    int rc = adoption(c, &body, error);
    if (rc != 0)
        return rc;
    json_t *commands =
        json_pack("{s:[{s:s, s:o}]}", "commands", "type", "rules.adopt", "body", body);
    return cli_propose(c, "constitution", c->args[1], commands, error);
}

const struct cli_command cmd_rules_propose = {
    .name = "rules propose",
    .args = "FILE TITLE",
    .min_args = 2,
    .max_args = 2,
    .summary = "propose a rulebook, by the procedure constitution",
    .help = "It is adopted when the vote has passed and the time of grace is over. magicbiz rules\n"
            "check tells before what it would have changed.\n\n"
            "    magicbiz rules propose cooperative.lua \"One member, one vote\"",
    .options = (const struct cli_option[]){PARAMS_OPTION, GOV_PROPOSE_OPTIONS, {NULL, NULL, NULL}},
    .run = rules_propose,
};
