/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How decisions are taken: procedures, and which commands each may decide on. */
#include <stdlib.h>
#include <string.h>

#include "gov_state.h"

const struct mb_json_field gov_procedure_fields[] = {
    {.name = "name", .kind = MB_JSON_STRING, .min = 1, .max = GOV_NAME_MAX},
    {.name = "electorate", .kind = MB_JSON_STRING, .optional = true, .min = 1, .max = 64},
    {.name = "weight", .kind = MB_JSON_STRING, .optional = true, .min = 1, .max = 70},
    {.name = "ballot", .kind = MB_JSON_STRING, .optional = true, .min = 1, .max = 16},
    {.name = "tie", .kind = MB_JSON_STRING, .optional = true, .min = 1, .max = 8},
    {.name = "sponsors", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = 50},
    {.name = "sponsors_root", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = 100},
    {.name = "support_s", .kind = MB_JSON_INT, .optional = true, .min = 1, .max = GOV_PERIOD_MAX},
    {.name = "review_s", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = GOV_PERIOD_MAX},
    {.name = "voting_s", .kind = MB_JSON_INT, .optional = true, .min = 1, .max = GOV_PERIOD_MAX},
    {.name = "grace_s", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = GOV_PERIOD_MAX},
    {.name = "execute_within_s",
     .kind = MB_JSON_INT,
     .optional = true,
     .min = 1,
     .max = GOV_PERIOD_MAX},
    {.name = "quorum", .kind = MB_JSON_ARRAY, .optional = true, .min = 2, .max = 2},
    {.name = "threshold", .kind = MB_JSON_ARRAY, .optional = true, .min = 2, .max = 2},
    {.name = "over", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = 1},
    {.name = "delegations", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = 10000},
    {.name = "veto", .kind = MB_JSON_STRING, .optional = true, .min = 0, .max = 64},
    {.name = "vetoes", .kind = MB_JSON_INT, .optional = true, .min = 1, .max = 50},
    {.name = "auditors", .kind = MB_JSON_STRING, .optional = true, .min = 0, .max = 64},
    {.name = "audits", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = 50},
    {.name = "commands", .kind = MB_JSON_ARRAY, .optional = true, .min = 0, .max = 64},
    {.name = NULL},
};

bool gov_name_valid(const char *name)
{
    size_t len = strlen(name);
    return len >= 1 && len <= GOV_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

json_t *gov_procedure(struct mb_tx *tx, const char *name, struct mb_error *error)
{
    json_t *p = gov_name_valid(name) ? gov_load(tx, "procedure", name, NULL) : NULL;
    if (p == NULL)
        (void)mb_refuse(error, "gov.procedure_unknown", "s", name);
    return p;
}

bool gov_is_multi(const json_t *procedure)
{
    return strcmp(mb_json_get_text(procedure, "ballot", ""), "yesno") != 0;
}

/* --- What a procedure must hold to --- */

/* A field of a procedure is not what it can be. */
static int bad(struct mb_error *error, const json_t *p, const char *field, const char *limit)
{
    return gov_bad_field(error, field, json_object_get(p, field), limit);
}

/* [num, den] with least <= num <= den <= GOV_DEN_MAX. */
static bool is_part(const json_t *part, int64_t least)
{
    const json_t *num = json_array_get(part, 0), *den = json_array_get(part, 1);
    return json_array_size(part) == 2 && json_is_integer(num) && json_is_integer(den) &&
           json_integer_value(num) >= least && json_integer_value(den) >= 1 &&
           json_integer_value(den) <= GOV_DEN_MAX &&
           json_integer_value(num) <= json_integer_value(den);
}

static bool is_word(const char *word, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(word, *words) == 0)
            return true;
    return false;
}

/* An asset whose holders count: one that could be handed around while electors are frozen would
 * count twice. "member" needs no books. */
static int check_asset(struct mb_tx *tx, const char *asset, struct mb_error *error)
{
    if (strcmp(asset, "member") == 0)
        return 0;
    char *key = mb_asprintf("books/asset/%s", asset);
    json_t *a = mb_tx_get(tx, key);
    free(key);
    int rc = a == NULL ? mb_refuse(error, "gov.asset_unknown", "s", asset)
             : mb_json_get_flag(a, "transferable", false)
                 ? mb_refuse(error, "gov.asset_transferable", "s", asset)
                 : 0;
    json_decref(a);
    return rc;
}

static int check_people(struct mb_tx *tx, const json_t *p, struct mb_error *error)
{
    const char *weight = mb_json_get_text(p, "weight", "");
    const char *assets[] = {mb_json_get_text(p, "electorate", ""), mb_json_get_text(p, "veto", ""),
                            mb_json_get_text(p, "auditors", ""), ""};
    if (strncmp(weight, "asset:", 6) == 0)
        assets[3] = weight + 6;
    else if (strcmp(weight, "equal") != 0 && strcmp(weight, "rules") != 0)
        return bad(error, p, "weight", "equal, rules or asset:NAME");
    for (size_t i = 0; i < sizeof assets / sizeof *assets; i++) {
        int rc = *assets[i] != 0 ? check_asset(tx, assets[i], error) : 0;
        if (rc != 0)
            return rc;
    }
    if (mb_json_get_int(p, "audits", 0) > 0 && *assets[2] == 0)
        return bad(error, p, "audits", "0 without auditors");
    return 0;
}

static int check_figures(const json_t *p, struct mb_error *error)
{
    static const char *const ballots[] = {"yesno", "approval", "weighted", "ranked", NULL};
    static const char *const ties[] = {"none", "first", NULL};
    const json_t *threshold = json_object_get(p, "threshold"), *one;
    size_t i;
    if (!is_word(mb_json_get_text(p, "ballot", ""), ballots))
        return bad(error, p, "ballot", "yesno, approval, weighted or ranked");
    if (!is_word(mb_json_get_text(p, "tie", ""), ties))
        return bad(error, p, "tie", "none or first");
    if (!is_part(json_object_get(p, "quorum"), 0))
        return bad(error, p, "quorum", "[NUM,DEN], 0 <= NUM <= DEN, 1 <= DEN <= 1000");
    /* More than all is nobody's to reach. */
    if (!is_part(threshold, 1) ||
        (mb_json_get_flag(p, "over", false) &&
         json_equal(json_array_get(threshold, 0), json_array_get(threshold, 1))))
        return bad(error, p, "threshold",
                   "[NUM,DEN], 1 <= NUM <= DEN <= 1000; less than 1 with over");
    json_array_foreach(json_object_get(p, "commands"), i, one)
    {
        if (!json_is_string(one) || json_string_length(one) < 1 || json_string_length(one) > 100)
            return gov_bad_field(error, "commands", one, "patterns of 1 to 100 bytes");
    }
    return 0;
}

/* The way back is open to every member, always: no rulebook, role or veto stands in it. */
static int check_constitution(const char *name, const json_t *p, struct mb_error *error)
{
    if (strcmp(name, GOV_CONSTITUTION) != 0)
        return 0;
    if (strcmp(mb_json_get_text(p, "electorate", ""), "member") != 0)
        return mb_refuse(error, "gov.constitution", "s", "electorate");
    if (strcmp(mb_json_get_text(p, "weight", ""), "equal") != 0)
        return mb_refuse(error, "gov.constitution", "s", "weight");
    if (gov_is_multi(p))
        return mb_refuse(error, "gov.constitution", "s", "ballot");
    if (*mb_json_get_text(p, "veto", "") != 0)
        return mb_refuse(error, "gov.constitution", "s", "veto");
    if (mb_json_get_int(p, "audits", 0) != 0)
        return mb_refuse(error, "gov.constitution", "s", "audits");
    const json_t *commands = json_object_get(p, "commands");
    return json_array_size(commands) == 1 &&
                   strcmp(json_string_value(json_array_get(commands, 0)), "*") == 0
               ? 0
               : mb_refuse(error, "gov.constitution", "s", "commands");
}

static int set(struct mb_tx *tx, const char *name, const json_t *body, struct mb_error *error)
{
    json_t *p = gov_load(tx, "procedure", name, NULL);
    int64_t version = mb_json_get_int(p, "version", 0);
    if (p == NULL)
        p = json_pack("{s:i, s:s, s:s, s:[], s:i, s:s, s:i, s:i, s:i, s:[i,i], s:i, s:i, s:i, s:i,"
                      " s:[i,i], s:s, s:s, s:i, s:i, s:s}",
                      "audits", 0, "auditors", "", "ballot", "yesno", "commands", "delegations",
                      100, "electorate", "member", "execute_within_s", 2592000, "grace_s", 172800,
                      "over", 1, "quorum", 1, 10, "review_s", 86400, "sponsors", 5, "sponsors_root",
                      1, "support_s", 604800, "threshold", 1, 2, "tie", "none", "veto", "",
                      "vetoes", 1, "voting_s", 604800, "weight", "rules");
    json_object_update(p, (json_t *)body);
    json_object_del(p, "name");
    json_object_set_new(p, "version", json_integer(version + 1));
    int rc = check_figures(p, error);
    if (rc == 0)
        rc = check_people(tx, p, error);
    if (rc == 0)
        rc = check_constitution(name, p, error);
    if (rc == 0)
        gov_store(tx, "procedure", name, NULL, json_incref(p));
    json_decref(p);
    return rc;
}

int gov_procedure_set(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                      json_t **result, struct mb_error *error)
{
    const char *name = mb_json_get_text(body, "name", "");
    (void)ctx;
    (void)result;
    return gov_name_valid(name) ? set(tx, name, body, error)
                                : bad(error, body, "name", "1 to 32 of a to z, 0 to 9 and _");
}

/* --- Which commands a procedure may decide on --- */

/* All entries of a posting are of this asset. */
static bool posts_only(const json_t *body, const char *asset)
{
    const json_t *entries = json_object_get(body, "entries"), *entry;
    size_t i;
    json_array_foreach(entries, i, entry)
    {
        if (strcmp(mb_json_get_text(entry, "asset", ""), asset) != 0)
            return false;
    }
    return json_array_size(entries) > 0;
}

/* "*", "books.*", "books.post", or "books.post:member". */
static bool matches(const char *pattern, const char *type, const json_t *body)
{
    size_t len = strlen(pattern);
    const char *asset = strchr(pattern, ':');
    if (len >= 1 && pattern[len - 1] == '*')
        return strncmp(pattern, type, len - 1) == 0;
    if (asset == NULL)
        return strcmp(pattern, type) == 0;
    return strlen(type) == (size_t)(asset - pattern) && strncmp(pattern, type, strlen(type)) == 0 &&
           posts_only(body, asset + 1);
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Takes somebody's membership. */
static bool expels(const char *type, const json_t *body)
{
    const json_t *entry;
    size_t i;
    if (strcmp(type, "books.post") != 0)
        return false;
    json_array_foreach(json_object_get(body, "entries"), i, entry)
    {
        if (strcmp(mb_json_get_text(entry, "asset", ""), "member") == 0 &&
            starts(mb_json_get_text(entry, "account", ""), "key/") &&
            mb_json_get_int(entry, "amount", 0) < 0)
            return true;
    }
    return false;
}

/* What changes how the organisation decides, or who decides, is the constitution's. */
static bool is_constitutional(const char *type, const json_t *body)
{
    bool machines = starts(type, "org.replica.") || starts(type, "org.onion.");
    return starts(type, "gov.") || starts(type, "rules.") || (starts(type, "org.") && !machines) ||
           expels(type, body);
}

/* An asset that cannot be handed around, such as a membership, a role, a reputation: whoever
 * decides on it decides who has what say. So is one that is yet to be made, for all that is known
 * of it. */
static bool is_role(struct mb_tx *tx, const char *asset)
{
    char key[MB_STATE_KEY_MAX + 1];
    if (mb_snprintf(key, sizeof key, "books/asset/%s", asset) != 0)
        return true;
    json_t *a = mb_tx_get(tx, key);
    bool transferable = mb_json_get_flag(a, "transferable", false);
    json_decref(a);
    return !transferable;
}

static bool gives_roles(struct mb_tx *tx, const char *type, const json_t *body)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(body, "entries"), i, entry)
    {
        if (is_role(tx, mb_json_get_text(entry, "asset", "")))
            return strcmp(type, "books.post") == 0;
    }
    return false;
}

static bool allows(struct mb_tx *tx, const json_t *procedure, const char *name, const char *type,
                   const json_t *body)
{
    bool constitution = strcmp(name, GOV_CONSTITUTION) == 0;
    bool by_name = !constitution && gives_roles(tx, type, body);
    const json_t *pattern;
    size_t i;
    if (is_constitutional(type, body) && !constitution)
        return false;
    if (starts(type, "gov.") && strcmp(type, "gov.procedure.set") != 0)
        return false; /* persons' verbs, and the steps */
    json_array_foreach(json_object_get(procedure, "commands"), i, pattern)
    {
        const char *text = json_string_value(pattern);
        if (matches(text, type, body) && (!by_name || strchr(text, ':') != NULL))
            return true;
    }
    return false;
}

int gov_check_commands(struct mb_tx *tx, const json_t *procedure, const char *name,
                       const json_t *commands, struct mb_error *error)
{
    static const struct mb_json_field fields[] = {
        {.name = "body", .kind = MB_JSON_OBJECT},
        {.name = "type", .kind = MB_JSON_STRING, .min = 1, .max = 64},
        {.name = NULL}};
    const json_t *command;
    size_t i;
    json_array_foreach(commands, i, command)
    {
        int rc = mb_json_check(command, fields, error);
        if (rc != 0)
            return rc;
        const char *type = mb_json_get_text(command, "type", "");
        if (!allows(tx, procedure, name, type, json_object_get(command, "body")))
            return mb_refuse(error, "gov.command", "ss", type, name);
    }
    return 0;
}

/* --- Sponsors --- */

/* The greatest r with r * r <= n. */
static int64_t root(int64_t n)
{
    int64_t r = 0;
    while ((r + 1) * (r + 1) <= n)
        r++;
    return r;
}

int64_t gov_sponsors_needed(struct mb_tx *tx, const json_t *procedure)
{
    int64_t most = mb_json_get_int(procedure, "sponsors", 0);
    int64_t k = mb_json_get_int(procedure, "sponsors_root", 0);
    /* k * sqrt(N) / 2 reaches most where N = (2 * most / k)^2: no need to count further. */
    int64_t enough = k > 0 ? 4 * most * most / (k * k) + 1 : most;
    enough = enough > most ? enough : most;
    int64_t members = gov_members(tx, enough + 1);
    int64_t wanted = k > 0 ? root(members * k * k / 4) : most;
    wanted = wanted < most ? wanted : most;
    return wanted < members - 1 ? wanted : members > 0 ? members - 1 : 0;
}

/* --- Genesis --- */

static const char *const param_names[] = {
    "support_s",        "review_s",    "voting_s",  "grace_s",
    "execute_within_s", "quorum",      "threshold", "sponsors",
    "sponsors_root",    "delegations", NULL};

/* gov.NAME.FIELD of genesis's params, over body: quorum and threshold in percent. */
static int lay_params(json_t *body, const json_t *params, const char *name, struct mb_error *error)
{
    for (const char *const *field = param_names; *field != NULL; field++) {
        char *key = mb_asprintf("gov.%s.%s", name, *field);
        const json_t *value = json_object_get(params, key);
        int64_t n = json_integer_value(value);
        bool percent = strcmp(*field, "quorum") == 0 || strcmp(*field, "threshold") == 0;
        int rc = 0;
        if (value != NULL && !json_is_integer(value))
            rc = bad(error, params, key, "an integer");
        else if (value != NULL)
            json_object_set_new(body, *field,
                                percent ? json_pack("[I,i]", (json_int_t)n, 100) : json_integer(n));
        free(key);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* A parameter of ours that nothing reads is a slip of the pen. */
static int check_params(const json_t *params, struct mb_error *error)
{
    static const char *const procedures[] = {"routine", "treasury", GOV_CONSTITUTION, NULL};
    static const char *const others[] = {"gov.open_max", "gov.applications_max", "gov.keep_s",
                                         NULL};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)params, name, value)
    {
        const char *dot = starts(name, "gov.") ? strchr(name + 4, '.') : NULL;
        char *procedure = dot != NULL ? mb_strndup(name + 4, (size_t)(dot - name - 4)) : NULL;
        bool known =
            !starts(name, "gov.") || is_word(name, others) ||
            (dot != NULL && is_word(procedure, procedures) && is_word(dot + 1, param_names));
        free(procedure);
        if (!known)
            return bad(error, params, name, "no parameter of gov");
    }
    return 0;
}

int gov_genesis(struct mb_tx *tx, const struct mb_context *ctx, const json_t *genesis,
                struct mb_error *error)
{
    const json_t *params = json_object_get(genesis, "params");
    json_t *bodies[] = {
        json_pack("{s:s, s:[s,s,s]}", "name", "routine", "commands", "books.post:member", "names.*",
                  "vcs.*"),
        json_pack("{s:s, s:[s,s,s,s], s:i, s:i, s:[i,i], s:[i,i], s:i}", "name", "treasury",
                  "commands", "books.*", "names.*", "tasks.*", "vcs.*", "review_s", 172800,
                  "grace_s", 345600, "quorum", 2, 10, "threshold", 6, 10, "over", 0),
        json_pack("{s:s, s:[s], s:i, s:i, s:i, s:[i,i], s:[i,i], s:i, s:s, s:i, s:i}", "name",
                  GOV_CONSTITUTION, "commands", "*", "review_s", 604800, "voting_s", 1209600,
                  "grace_s", 1209600, "quorum", 4, 10, "threshold", 3, 4, "over", 0, "weight",
                  "equal", "sponsors", 10, "sponsors_root", 2),
    };
    int rc = check_params(params, error);
    (void)ctx;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        const char *name = mb_json_get_text(bodies[i], "name", "");
        if (rc == 0)
            rc = lay_params(bodies[i], params, name, error);
        if (rc == 0)
            rc = mb_json_check(bodies[i], gov_procedure_fields, error);
        if (rc == 0)
            rc = set(tx, name, bodies[i], error);
        json_decref(bodies[i]);
    }
    if (rc != 0 && error != NULL) /* founding shows texts, not args */
        mb_snprintf(error->text, sizeof error->text, "genesis: gov: %s %.200s: magicbiz-gov(7)",
                    error->code, error->args);
    return rc;
}
