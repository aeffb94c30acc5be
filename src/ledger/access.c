/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <string.h>

#include "ledger/internal.h"

bool mb_tx_identity(struct mb_tx *tx, const char *fingerprint, char identity[MB_FINGERPRINT_SIZE])
{
    char first_key[MB_STATE_KEY_MAX + 1], current_key[MB_STATE_KEY_MAX + 1];
    char current_fingerprint[MB_FINGERPRINT_SIZE] = "";
    struct mb_public_key key;
    mb_snprintf(first_key, sizeof first_key, "org/first/%s", fingerprint);
    json_t *first = mb_tx_get(tx, first_key);
    mb_snprintf(identity, MB_FINGERPRINT_SIZE, "%s",
                first ? json_string_value(first) : fingerprint);
    mb_snprintf(current_key, sizeof current_key, "org/key/%s", identity);
    json_t *current = mb_tx_get(tx, current_key);
    bool speaks = !first;
    if (current) {
        if (mb_public_key_parse(&key, json_string_value(current), NULL) == 0)
            mb_public_key_fingerprint(&key, current_fingerprint);
        speaks = strcmp(current_fingerprint, fingerprint) == 0;
    }
    json_decref(first);
    json_decref(current);
    return speaks;
}

static bool is_founder(const struct mb_facts *f, const char *identity)
{
    bool is = false;
    for (size_t i = 0; i < f->founder_count && !f->retired; i++)
        is |= strcmp(f->founders[i], identity) == 0;
    return is;
}

bool mb_tx_is_member(struct mb_tx *tx, const char *identity)
{
    const struct mb_facts *f = mb_facts(tx->ledger);
    for (size_t i = 0; f && i < f->logic_count; i++)
        if (f->logics[i]->is_member)
            return f->logics[i]->is_member(tx, identity);
    return f && is_founder(f, identity);
}

int64_t mb_tx_weight(struct mb_tx *tx, const struct mb_context *ctx, const char *member,
                     const char *procedure)
{
    const struct mb_facts *f = mb_facts(tx->ledger);
    for (size_t i = 0; f && i < f->logic_count; i++)
        if (f->logics[i]->weight)
            return f->logics[i]->weight(tx, ctx, member, procedure);
    return 1;
}

bool mb_signer_of(struct mb_ledger *l, const struct mb_facts *f, const char *fingerprint,
                  struct mb_signer *out)
{
    memset(out, 0, sizeof *out);
    mb_snprintf(out->identity, sizeof out->identity, "%s", fingerprint);
    if (f->keys_replaced && !mb_tx_identity(&l->tx, fingerprint, out->identity))
        return false;
    out->founder = is_founder(f, out->identity);
    for (size_t i = 0; i < f->config.count; i++)
        out->replica |= strcmp(f->config.replicas[i].fingerprint, fingerprint) == 0;
    return true;
}

bool mb_tx_has_role(struct mb_tx *tx, const char *fingerprint)
{
    const struct mb_facts *f = mb_facts(tx->ledger);
    struct mb_signer signer;
    return f && mb_signer_of(tx->ledger, f, fingerprint, &signer) &&
           (signer.founder || signer.replica || mb_tx_is_member(tx, signer.identity));
}

static const struct mb_logic *logic_of(const struct mb_facts *f, const char *type)
{
    size_t len = strcspn(type, ".");
    for (size_t i = 0; i < f->logic_count; i++)
        if (strlen(f->logics[i]->name) == len && strncmp(f->logics[i]->name, type, len) == 0)
            return f->logics[i];
    return NULL;
}

unsigned mb_work_needed(struct mb_ledger *l, const struct mb_facts *f,
                        const struct mb_signer *signer, const char *type, const json_t *body)
{
    if (f->work_bits == 0 || signer->founder || signer->replica ||
        mb_tx_is_member(&l->tx, signer->identity))
        return 0;
    const struct mb_logic *logic = logic_of(f, type);
    if (logic && logic->has_role && logic->has_role(&l->tx, signer->identity, type, body))
        return 0;
    return f->work_bits;
}

static const struct mb_verb *find_verb(const struct mb_verb *verbs, const char *type)
{
    for (const struct mb_verb *v = verbs; v->name; v++)
        if (strcmp(v->name, type) == 0)
            return v;
    return NULL;
}

const struct mb_verb *mb_verb_find(const struct mb_facts *f, const char *type, const char **module)
{
    static const struct mb_verb *const core[] = {mb_org_verbs, mb_replica_verbs, mb_beacon_verbs};
    const struct mb_logic *logic = logic_of(f, type);
    const struct mb_verb *verb = logic ? find_verb(logic->verbs, type) : NULL;
    *module = logic ? logic->name : NULL;
    for (size_t i = 0; i < sizeof core / sizeof *core && !logic && !verb; i++)
        verb = find_verb(core[i], type);
    return verb;
}

enum mb_access mb_access_of(const struct mb_verb *verb, const json_t *body)
{
    if (strcmp(verb->name, "org.key.replace") == 0 && json_object_get(body, "old"))
        return MB_ORG;
    return verb->access;
}

int mb_access_check(struct mb_ledger *l, enum mb_access needed, const struct mb_signer *signer,
                    const char *type, struct mb_error *error)
{
    static const char *const names[] = {[MB_ANYONE] = "anyone",
                                        [MB_MEMBER] = "member",
                                        [MB_REPLICA] = "replica",
                                        [MB_ORG] = "org",
                                        [MB_FOUNDER] = "founder"};
    bool may = needed == MB_ANYONE    ? true
               : needed == MB_REPLICA ? signer->replica
               : needed == MB_MEMBER  ? mb_tx_is_member(&l->tx, signer->identity)
                                      : signer->founder;
    return may ? 0 : mb_refuse(error, "command.access", "ss", type, names[needed]);
}
