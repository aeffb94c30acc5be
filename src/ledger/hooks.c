/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where modules have a say in what others do, and what the ledger runs for them. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "ledger/internal.h"

/* A signed command's context, whatever authority it runs with. */
static struct mb_context signed_context(const struct mb_run *run, const struct mb_facts *f,
                                        const struct mb_checked *c, const char *id,
                                        const struct mb_signer *signer, size_t index)
{
    struct mb_context ctx = mb_context_of(run->l, f, run->slot, run->time);
    ctx.index = (uint32_t)index;
    ctx.id = id;
    ctx.as_org = false;
    ctx.signer = signer->identity;
    ctx.signer_key = &c->signer;
    return ctx;
}

int mb_run_authorize(struct mb_run *run, const struct mb_checked *c, const char *id,
                     const struct mb_signer *signer, struct mb_error *error)
{
    const struct mb_facts *f = mb_facts(run->l);
    int said = 0;
    for (size_t i = 0; f && i < f->logic_count && said >= 0; i++) {
        struct mb_context ctx = signed_context(run, f, c, id, signer, run->count);
        if (!f->logics[i]->authorize)
            continue;
        int one = f->logics[i]->authorize(&run->l->tx, &ctx, c->type, c->body, error);
        said = one != 0 ? one : said;
    }
    return said;
}

static const struct mb_logic *logic_named(const struct mb_facts *f, const char *name)
{
    for (size_t i = 0; i < f->logic_count; i++)
        if (strcmp(f->logics[i]->name, name) == 0)
            return f->logics[i];
    return NULL;
}

static int run_one(struct mb_run *run, json_t *command, const char *cause, struct mb_error *error)
{
    return mb_run_internal(run, mb_json_get_text(command, "type", ""),
                           json_object_get(command, "body"), cause, command, error);
}

void mb_run_batch(struct mb_run *run)
{
    struct mb_tx *tx = &run->l->tx;
    struct mb_batch batch = tx->batch;
    struct mb_error error = {0}, ignored;
    size_t first = run->count, failing = 0;
    int rc = 0;
    if (!batch.id)
        return;
    memset(&tx->batch, 0, sizeof tx->batch);
    char *cause = mb_asprintf("proposal:%s", batch.id);
    mb_tx_hold(tx);
    for (size_t i = 0; i < json_array_size(batch.commands) && rc == 0; i++) {
        failing = i;
        rc = run_one(run, json_array_get(batch.commands, i), cause, &error);
    }
    mb_tx_release(tx, rc == 0);
    if (rc != 0)
        mb_run_forget(run, first, true);
    const struct mb_facts *f = mb_facts(run->l);
    const struct mb_logic *logic = f ? logic_named(f, batch.module) : NULL;
    if (logic && logic->batch_done) {
        struct mb_context ctx = mb_context_of(run->l, f, run->slot, run->time);
        mb_tx_open(tx, logic->name);
        logic->batch_done(tx, &ctx, batch.id, rc == 0, failing, &error);
        (void)mb_tx_close(tx, 0, &ignored);
    }
    mb_batch_clear(&batch);
    free(cause);
}

/* A hook has returned rc, within an open savepoint: what it wrote is kept or undone, and what it
 * wants is run. Takes commands. */
static void finish_hook(struct mb_run *run, const char *module, const char *hook, const char *cause,
                        int rc, json_t *commands_take, struct mb_error *error)
{
    struct mb_tx *tx = &run->l->tx;
    if (json_array_size(commands_take) > MB_BATCH_MAX)
        tx->fault = "command.batch";
    rc = mb_tx_close(tx, rc, error);
    if (rc == MB_EREFUSED) {
        char *type = mb_asprintf("%s.%s", module, hook);
        mb_run_note(run, type, cause, NULL, error);
        free(type);
    }
    for (size_t i = 0; rc == 0 && i < json_array_size(commands_take); i++)
        (void)run_one(run, json_array_get(commands_take, i), cause, error);
    json_decref(commands_take);
}

void mb_run_epoch(struct mb_run *run, int64_t n)
{
    const struct mb_facts *f;
    char *cause = mb_asprintf("epoch:%lld", (long long)n);
    for (size_t i = 0; (f = mb_facts(run->l)) && i < f->logic_count; i++) {
        const struct mb_logic *logic = f->logics[i];
        struct mb_context ctx = mb_context_of(run->l, f, run->slot, run->time);
        struct mb_error error = {0};
        json_t *commands = NULL;
        if (!logic->on_epoch)
            continue;
        mb_tx_open(&run->l->tx, logic->name);
        int rc = logic->on_epoch(&run->l->tx, &ctx, n, &commands, &error);
        finish_hook(run, logic->name, "on_epoch", cause, rc, commands, &error);
    }
    free(cause);
}

void mb_run_applied(struct mb_run *run, const struct mb_checked *c, const char *id,
                    const struct mb_signer *signer, size_t at)
{
    const struct mb_facts *f;
    char *cause = mb_asprintf("applied:%s", id);
    for (size_t i = 0; (f = mb_facts(run->l)) && i < f->logic_count; i++) {
        const struct mb_logic *logic = f->logics[i];
        struct mb_context ctx = signed_context(run, f, c, id, signer, at);
        struct mb_error error = {0};
        json_t *commands = NULL;
        if (!logic->on_applied)
            continue;
        bool ok = run->executed[at].ok;
        const json_t *outcome = run->executed[at].outcome;
        mb_tx_open(&run->l->tx, logic->name);
        int rc =
            logic->on_applied(&run->l->tx, &ctx, c->type, c->body, ok, outcome, &commands, &error);
        finish_hook(run, logic->name, "on_applied", cause, rc, commands, &error);
    }
    free(cause);
}

/* --- Versions. --- */

/* Put version of name in use, and the module's state into its form. */
static int change_version(struct mb_run *run, const char *name, int64_t version,
                          struct mb_error *error)
{
    struct mb_ledger *l = run->l;
    json_t *versions = mb_tx_get(&l->tx, "core/versions");
    int64_t from = mb_json_get_int(versions, name, 0);
    json_object_set_new(versions, name, json_integer(version));
    mb_tx_open(&l->tx, NULL);
    mb_tx_set(&l->tx, "core/versions", versions);
    int rc = mb_tx_close(&l->tx, 0, error);
    if (rc != 0)
        return rc;
    /* A replica that lacks it stops here, before this block: with another program it goes on. */
    if ((l->tx.err = mb_versions_check(l, &l->tx.error)) != 0)
        return l->tx.err;
    const struct mb_facts *f = mb_facts(l);
    const struct mb_logic *logic = f ? logic_named(f, name) : NULL;
    if (!logic)
        return l->tx.err;
    struct mb_context ctx = mb_context_of(l, f, run->slot, run->time);
    mb_tx_open(&l->tx, name);
    if (from == 0 && logic->genesis)
        rc = logic->genesis(&l->tx, &ctx, l->genesis.json, error);
    else if (from != 0 && logic->upgrade)
        rc = logic->upgrade(&l->tx, &ctx, (uint32_t)from, error);
    return mb_tx_close(&l->tx, rc, error);
}

void mb_run_upgrades(struct mb_run *run)
{
    struct mb_tx *tx = &run->l->tx;
    const struct mb_facts *f = mb_facts(run->l);
    const char *name;
    json_t *value;
    if (!f || run->slot + 1 < f->upgrade_at)
        return;
    json_t *upgrades = mb_tx_get(tx, "core/upgrade"), *left = json_object();
    json_object_foreach(upgrades, name, value)
    {
        int64_t version = mb_json_get_int(value, "version", 0);
        struct mb_error error = {0};
        if ((uint64_t)mb_json_get_int(value, "at_slot", 0) > run->slot + 1) {
            json_object_set(left, name, value);
            continue;
        }
        mb_tx_hold(tx);
        int rc = change_version(run, name, version, &error);
        mb_tx_release(tx, rc == 0);
        char *cause = mb_asprintf("upgrade:%s", name);
        mb_run_note(run, "org.upgrade", cause, json_pack("{s:I}", "version", (json_int_t)version),
                    rc != 0 ? &error : NULL);
        free(cause);
    }
    json_decref(upgrades);
    if (json_object_size(left) > 0) {
        mb_tx_set(tx, "core/upgrade", left);
    } else {
        mb_tx_remove(tx, "core/upgrade");
        json_decref(left);
    }
}
