/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "ledger/internal.h"

/* --- The tip. --- */

/* header_len:2 || header || checkpoint slot:8 || its time:8 || history size:8 || peaks */
void mb_meta_tip(struct mb_buf *out, const struct mb_tip *tip)
{
    uint8_t header[MB_HEADER_MAX];
    size_t len = mb_header_encode(&tip->header, header);
    mb_buf_add_u16(out, (uint16_t)len);
    mb_buf_add(out, header, len);
    mb_buf_add_u64(out, tip->checkpoint_slot);
    mb_buf_add_u64(out, (uint64_t)tip->checkpoint_time);
    mb_buf_add_u64(out, tip->history.size);
    for (unsigned i = 0; i < tip->history.count; i++)
        mb_buf_add(out, tip->history.peaks[i].b, 32);
}

static bool read_tip(struct mb_ledger *l, struct mb_bytes meta)
{
    struct mb_tip *tip = &l->tip;
    struct mb_cursor c = mb_cursor(meta);
    if (mb_header_decode(&tip->header, mb_cursor_take(&c, mb_cursor_u16(&c)), NULL) != 0)
        return false;
    tip->header_hash = mb_header_hash(&tip->header);
    tip->time = tip->header.slot == 0 ? l->genesis.created : tip->header.time;
    tip->checkpoint_slot = mb_cursor_u64(&c);
    tip->checkpoint_time = (int64_t)mb_cursor_u64(&c);
    tip->history.size = mb_cursor_u64(&c);
    for (uint64_t size = tip->history.size; size > 0; size &= size - 1) {
        struct mb_bytes peak = mb_cursor_take(&c, 32);
        if (peak.len == 32)
            memcpy(tip->history.peaks[tip->history.count++].b, peak.data, 32);
    }
    return mb_cursor_done(&c) && tip->history.size == tip->header.slot + 1 &&
           mb_hash_equal(&tip->header.org, &l->genesis.org);
}

/* The first thing due, or the end of the epoch. */
static void find_next_due(struct mb_ledger *l)
{
    static const char folder[] = "core/due/";
    const struct mb_facts *f = mb_facts(l);
    struct mb_walk w;
    if (!f)
        return;
    l->tip.next_due = l->genesis.created + (mb_tx_int(&l->tx, "core/epoch") + 1) * f->epoch_s;
    mb_walk_init(&w, &l->tx, folder, "");
    if (mb_walk_next(&w)) {
        int64_t time = strtoll(mb_buf_text(&w.key) + strlen(folder), NULL, 10);
        if (time < l->tip.next_due)
            l->tip.next_due = time;
    }
    mb_walk_clear(&w);
}

static void keep_subtree(void *arg, unsigned level, uint64_t index, const struct mb_hash *hash)
{
    struct mb_tx *tx = arg;
    int rc = tx->backend.ops->history_put(tx->backend.self, level, index, hash);
    if (rc < 0)
        mb_tx_stop(tx, rc, "history");
}

void mb_tip_advance(struct mb_ledger *l, const struct mb_header *header, size_t envelopes)
{
    uint8_t bytes[MB_HEADER_MAX];
    struct mb_tip *tip = &l->tip;
    struct mb_buf meta = {0};
    int64_t time = header->slot == 0 ? l->genesis.created : header->time;
    size_t len = mb_header_encode(header, bytes);
    struct mb_hash leaf = mb_history_leaf(mb_bytes(bytes, len));
    if (mb_is_checkpoint_slot(header, envelopes, &tip->header.config_hash, tip->checkpoint_time)) {
        tip->checkpoint_slot = header->slot;
        tip->checkpoint_time = time;
    }
    tip->header = *header;
    tip->header_hash = mb_sha256(bytes, len);
    tip->time = time;
    mb_frontier_add(&tip->history, &leaf, keep_subtree, &l->tx);
    mb_meta_tip(&meta, tip);
    int rc = l->backend.ops->meta_put(l->backend.self, MB_META_TIP, mb_buf_bytes(&meta));
    if (rc < 0)
        mb_tx_stop(&l->tx, rc, MB_META_TIP);
    mb_buf_clear(&meta);
    find_next_due(l);
}

/* --- Opening. --- */

static struct mb_ledger *new_ledger(struct mb_backend backend,
                                    const struct mb_logic *const *modules, size_t module_count)
{
    struct mb_ledger *l = mb_calloc(1, sizeof *l);
    l->backend = backend;
    l->modules = modules;
    l->module_count = module_count;
    mb_tx_init(&l->tx, backend);
    l->tx.ledger = l;
    return l;
}

void mb_ledger_free(struct mb_ledger *l)
{
    if (!l)
        return;
    mb_tx_clear(&l->tx);
    mb_facts_clear(&l->facts);
    mb_genesis_clear(&l->genesis);
    free(l->genesis_text);
    free(l);
}

static int take_genesis(struct mb_ledger *l, struct mb_bytes text, struct mb_error *error)
{
    int rc = mb_genesis_parse(&l->genesis, text, error);
    if (rc != 0)
        return rc;
    l->genesis_text = mb_strndup((const char *)text.data, text.len);
    mb_hash_hex(&l->genesis.org, l->org);
    return 0;
}

static int corrupt(struct mb_error *error, const char *what)
{
    return mb_fail(error, MB_ECORRUPT, "ledger.corrupt",
                   "the stored state is damaged (%s): it has to be rebuilt from the archive", what);
}

static int check_root(struct mb_ledger *l, struct mb_error *error)
{
    struct mb_tree_io io = mb_backend_trees(&l->backend);
    struct mb_hash root;
    int rc = mb_tree_root(&io, "", &root, error);
    if (rc != 0)
        return rc;
    return mb_hash_equal(&root, &l->tip.header.state_root) ? 0
                                                           : corrupt(error, "its root is wrong");
}

static int load(struct mb_ledger *l, struct mb_error *error)
{
    struct mb_buf genesis = {0}, tip = {0};
    int rc = l->backend.ops->meta_get(l->backend.self, MB_META_TIP, &tip);
    if (rc == 1)
        rc = l->backend.ops->meta_get(l->backend.self, MB_META_GENESIS, &genesis);
    if (rc == 0)
        rc = mb_fail(error, MB_ENOENT, "ledger.empty", "there is no ledger here yet");
    else if (rc < 0)
        mb_fail(error, rc, "ledger.backend", "the stored state cannot be read");
    else if (take_genesis(l, mb_buf_bytes(&genesis), NULL) != 0)
        rc = corrupt(error, "its genesis");
    else
        rc = read_tip(l, mb_buf_bytes(&tip)) ? 0 : corrupt(error, "its tip");
    mb_buf_clear(&genesis);
    mb_buf_clear(&tip);
    if (rc != 0 || (rc = mb_versions_check(l, error)) != 0 || (rc = check_root(l, error)) != 0)
        return rc;
    find_next_due(l);
    if (l->tx.err != 0 && error)
        *error = l->tx.error;
    return l->tx.err;
}

int mb_ledger_open(struct mb_ledger **out, struct mb_backend backend,
                   const struct mb_logic *const *modules, size_t module_count,
                   struct mb_error *error)
{
    struct mb_ledger *l = new_ledger(backend, modules, module_count);
    int rc = load(l, error);
    *out = rc == 0 ? l : NULL;
    if (rc != 0)
        mb_ledger_free(l);
    return rc;
}

struct mb_context mb_context_of(struct mb_ledger *l, const struct mb_facts *f, uint64_t slot,
                                int64_t time)
{
    return (struct mb_context){
        .org = l->org,
        .name = f->name,
        .slot = slot,
        .time = time,
        .id = "",
        .as_org = true,
        .signer = "",
        .replicas = f->config.replicas,
        .replica_count = f->config.count,
        .onion = f->onion,
    };
}

static int modules_genesis(struct mb_ledger *l, const struct mb_facts *f, struct mb_error *error)
{
    int rc = 0;
    if (f->retired && !mb_is_governed(f))
        return mb_fail(
            error, MB_EINVAL, "genesis.invalid",
            "founders_retired goes with the modules gov and books in versions alone: nobody "
            "could act");
    for (size_t i = 0; i < f->logic_count && rc == 0; i++) {
        struct mb_context ctx = mb_context_of(l, f, 0, l->genesis.created);
        if (!f->logics[i]->genesis)
            continue;
        mb_tx_open(&l->tx, f->logics[i]->name);
        rc = f->logics[i]->genesis(&l->tx, &ctx, l->genesis.json, error);
        rc = mb_tx_close(&l->tx, rc, error);
    }
    return rc;
}

static int found(struct mb_ledger *l, struct mb_bytes genesis, struct mb_error *error)
{
    struct mb_buf old = {0};
    struct mb_header h = {0};
    int rc = l->backend.ops->meta_get(l->backend.self, MB_META_TIP, &old);
    mb_buf_clear(&old);
    if (rc != 0)
        return mb_fail(error, rc < 0 ? rc : MB_EINVAL, "ledger.not_empty",
                       "there is a ledger here already, or it cannot be read");
    if ((rc = take_genesis(l, genesis, error)) != 0)
        return rc;
    l->tx.writable = true;
    mb_genesis_write(&l->tx, &l->genesis);
    if ((rc = mb_versions_check(l, error)) != 0)
        return rc;
    const struct mb_facts *f = mb_facts(l);
    if (f && (rc = modules_genesis(l, f, error)) != 0)
        return rc;
    h.org = l->genesis.org;
    if (f)
        h.config_hash = f->config.hash;
    if (mb_tx_flush(&l->tx, 0, &h.state_root, error) == 0) {
        rc = l->backend.ops->meta_put(l->backend.self, MB_META_GENESIS, genesis);
        if (rc < 0)
            mb_tx_stop(&l->tx, rc, MB_META_GENESIS);
        mb_tip_advance(l, &h, 0);
    }
    l->tx.writable = false;
    if (l->tx.err != 0 && error)
        *error = l->tx.error;
    return l->tx.err;
}

int mb_ledger_found(struct mb_ledger **out, struct mb_backend backend,
                    const struct mb_logic *const *modules, size_t module_count,
                    struct mb_bytes genesis, struct mb_error *error)
{
    struct mb_ledger *l = new_ledger(backend, modules, module_count);
    int rc = found(l, genesis, error);
    *out = rc == 0 ? l : NULL;
    if (rc != 0)
        mb_ledger_free(l);
    return rc;
}

/* --- Looking. --- */

const struct mb_tip *mb_ledger_tip(const struct mb_ledger *l)
{
    return &l->tip;
}

const struct mb_genesis *mb_ledger_genesis(const struct mb_ledger *l)
{
    return &l->genesis;
}

const char *mb_ledger_genesis_text(const struct mb_ledger *l)
{
    return l->genesis_text;
}

const char *mb_ledger_org(const struct mb_ledger *l)
{
    return l->org;
}

const struct mb_replica *mb_ledger_replicas(const struct mb_ledger *l, size_t *count)
{
    *count = l->facts.config.count;
    return l->facts.config.replicas;
}

int mb_ledger_get(struct mb_ledger *l, const char *key, struct mb_buf *text)
{
    return mb_tx_text(&l->tx, key, text);
}

struct mb_tx *mb_ledger_reader(struct mb_ledger *l)
{
    return &l->tx;
}

unsigned mb_ledger_work(struct mb_ledger *l, const char *fingerprint, const char *type,
                        const json_t *body)
{
    const struct mb_facts *f = mb_facts(l);
    struct mb_signer signer;
    if (!f || !mb_signer_of(l, f, fingerprint, &signer))
        return 0;
    return mb_work_needed(l, f, &signer, type, body);
}

bool mb_ledger_has_role(struct mb_ledger *l, const char *fingerprint)
{
    return mb_tx_has_role(&l->tx, fingerprint);
}
