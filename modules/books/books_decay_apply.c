/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Half-lives, in integers. What an asset loses in an epoch is worked out on its supply, the
 * fraction of a unit being carried to the next; it is shared among the holders by largest
 * remainder. A block comes to a bounded number of holders; the rest, in the order of their keys, in
 * the blocks after.
 */
#include <stdlib.h>

#include "books_state.h"

#define HOLDERS_MAX 2048 /* in a block or, where several epochs begin in it, for each of them */
#define DECAY       "books/decay/"

/* --- The fraction --- */

static uint64_t times(uint64_t x, uint64_t y)
{
    return (uint64_t)((books_wide)x * y >> 62);
}

static uint64_t power(uint64_t x, int64_t n)
{
    uint64_t r = BOOKS_UNIT;
    for (int bit = 62; bit >= 0; bit--) {
        r = times(r, r);
        if (n >> bit & 1)
            r = times(r, x);
    }
    return r;
}

uint64_t books_keep(int64_t half_life)
{
    uint64_t f = 0;
    for (int bit = 61; bit >= 0; bit--)
        if (power(f | UINT64_C(1) << bit, half_life) <= BOOKS_UNIT / 2)
            f |= UINT64_C(1) << bit;
    return f;
}

/* --- An asset's record: {"carry","epochs"}, and in the midst of one
 * {"after","loss","passed","supply"} too --- */

struct pass {
    struct mb_tx *tx;
    const char *asset;
    json_t *record;
    char prefix[MB_STATE_KEY_MAX + 1];
    int64_t supply, loss; /* at the beginning of the epoch's decay */
    int64_t passed;       /* the balances that it has come past */
    struct holder {
        char *key;
        int64_t balance, loses;
        uint64_t remainder;
    } * holders;
    size_t count, room;
    char *after;
    bool more;
};

static void set_int(json_t *json, const char *name, int64_t value)
{
    json_object_set_new(json, name, json_integer(value));
}

static void decay_key(char key[MB_STATE_KEY_MAX + 1], const char *asset)
{
    mb_snprintf(key, MB_STATE_KEY_MAX + 1, DECAY "%s", asset);
}

void books_decay_begin(struct mb_tx *tx, const char *asset)
{
    char key[MB_STATE_KEY_MAX + 1];
    json_t *record = json_object();
    decay_key(key, asset);
    set_int(record, "carry", 0);
    set_int(record, "epochs", 0);
    books_put_take(tx, key, record);
}

bool books_decaying(struct mb_tx *tx, const char *asset)
{
    char key[MB_STATE_KEY_MAX + 1];
    decay_key(key, asset);
    json_t *record = mb_tx_get(tx, key);
    bool midst = json_object_get(record, "after") != NULL;
    json_decref(record);
    return midst;
}

/* What the supply loses in this epoch; the rest of a unit is carried. */
static int64_t loss_of(struct mb_tx *tx, json_t *record, const char *asset, int64_t supply)
{
    struct books_asset a = {0};
    (void)books_asset(tx, asset, &a);
    books_wide lost = (books_wide)supply * (BOOKS_UNIT - books_keep(a.half_life)) +
                      (books_wide)mb_json_get_int(record, "carry", 0);
    set_int(record, "carry", (int64_t)(lost & (BOOKS_UNIT - 1)));
    return (int64_t)(lost >> 62);
}

static void begin(struct pass *p)
{
    char key[MB_STATE_KEY_MAX + 1];
    mb_snprintf(key, sizeof key, "%sissue/%s", p->prefix, p->asset);
    p->supply = -books_balance(p->tx, key);
    p->loss = loss_of(p->tx, p->record, p->asset, p->supply);
    p->passed = 0;
    p->after = mb_strdup("");
    set_int(p->record, "epochs", mb_json_get_int(p->record, "epochs", 1) - 1);
}

static void resume(struct pass *p)
{
    p->supply = mb_json_get_int(p->record, "supply", 0);
    p->loss = mb_json_get_int(p->record, "loss", 0);
    p->passed = mb_json_get_int(p->record, "passed", 0);
    p->after = mb_strdup(mb_json_get_text(p->record, "after", ""));
}

/* --- The holders --- */

static int64_t share(const struct pass *p, int64_t balance)
{
    return p->supply == 0
               ? 0
               : (int64_t)((books_wide)balance * (books_wide)p->loss / (books_wide)p->supply);
}

static int visit_holder(void *arg, const char *key, const json_t *value)
{
    struct pass *p = arg;
    int64_t balance = json_integer_value(value);
    if (*books_issues(key + strlen(p->prefix)) != '\0')
        return 0;
    if (p->count == p->room) {
        p->more = true;
        return 1;
    }
    struct holder *h = &p->holders[p->count++];
    books_wide product = (books_wide)balance * (books_wide)p->loss;
    *h = (struct holder){.key = mb_strdup(key), .balance = balance, .loses = share(p, balance)};
    h->remainder = (uint64_t)(product % (uint64_t)p->supply);
    return 0;
}

/* Largest remainder first; equal ones in the order of the keys. */
static int by_remainder(const void *a, const void *b)
{
    const struct holder *x = a, *y = b;
    if (x->remainder != y->remainder)
        return x->remainder > y->remainder ? -1 : 1;
    return strcmp(x->key, y->key);
}

/* These holders lose what the asset's loss comes to between passed before and after them. */
static void take_loss(struct pass *p)
{
    int64_t before = share(p, p->passed), given = 0;
    char issue[MB_STATE_KEY_MAX + 1];
    for (size_t i = 0; i < p->count; i++) {
        p->passed += p->holders[i].balance;
        given += p->holders[i].loses;
    }
    int64_t total = share(p, p->passed) - before;
    qsort(p->holders, p->count, sizeof *p->holders, by_remainder);
    for (size_t i = 0; i < p->count; i++) {
        struct holder *h = &p->holders[i];
        int64_t loses = h->loses + (given < total ? 1 : 0);
        given += loses - h->loses;
        if (loses > 0)
            books_set_balance(p->tx, h->key, h->balance - loses);
    }
    mb_snprintf(issue, sizeof issue, "%sissue/%s", p->prefix, p->asset);
    if (total > 0)
        books_set_balance(p->tx, issue, books_balance(p->tx, issue) + total);
}

/* One epoch's decay of an asset, or as much of it as *room holders. */
static void work_on(struct pass *p, size_t *room)
{
    if (json_object_get(p->record, "after") != NULL)
        resume(p);
    else
        begin(p);
    p->holders = mb_calloc(*room, sizeof *p->holders);
    p->room = *room;
    if (p->loss > 0)
        mb_tx_scan(p->tx, p->prefix, p->after, visit_holder, p);
    if (p->more)
        json_object_set_new(p->record, "after", json_string(p->holders[p->count - 1].key));
    take_loss(p);
    if (p->more) {
        set_int(p->record, "loss", p->loss);
        set_int(p->record, "passed", p->passed);
        set_int(p->record, "supply", p->supply);
    } else {
        static const char *const midst[] = {"after", "loss", "passed", "supply"};
        for (size_t i = 0; i < sizeof midst / sizeof *midst; i++)
            json_object_del(p->record, midst[i]);
    }
    *room -= p->count > 0 ? p->count : 1;
    for (size_t i = 0; i < p->count; i++)
        free(p->holders[i].key);
    free(p->holders);
    free(p->after);
}

/* --- All assets --- */

struct work {
    struct mb_tx *tx;
    size_t room;
    bool epoch, more;
};

static int visit_asset(void *arg, const char *key, const json_t *value)
{
    struct work *w = arg;
    json_t *record = json_deep_copy(value);
    const char *asset = key + strlen(DECAY);
    if (w->epoch)
        set_int(record, "epochs", mb_json_get_int(record, "epochs", 0) + 1);
    while (w->room > 0 &&
           (mb_json_get_int(record, "epochs", 0) > 0 || json_object_get(record, "after") != NULL)) {
        struct pass p = {.tx = w->tx, .asset = asset, .record = record};
        mb_snprintf(p.prefix, sizeof p.prefix, "books/balance/%s/", asset);
        work_on(&p, &w->room);
    }
    w->more |= mb_json_get_int(record, "epochs", 0) > 0 || json_object_get(record, "after") != NULL;
    if (!json_equal(record, value))
        mb_tx_put(w->tx, key, record);
    json_decref(record);
    return 0;
}

/* At most one command that goes on waits at a time: books/waiting is there while one does. */
static void work(struct mb_tx *tx, const struct mb_context *ctx, bool epoch)
{
    struct work w = {.tx = tx, .room = HOLDERS_MAX, .epoch = epoch};
    bool waiting = mb_tx_has(tx, "books/waiting");
    mb_tx_scan(tx, DECAY, "", visit_asset, &w);
    if (w.more && !(waiting && epoch)) {
        json_t *body = json_object();
        mb_tx_due(tx, ctx->time, "books.decay", body);
        json_decref(body);
        books_put_take(tx, "books/waiting", json_integer(1));
    } else if (!w.more && waiting && !epoch) {
        mb_tx_delete(tx, "books/waiting");
    }
}

int books_on_epoch(struct mb_tx *tx, const struct mb_context *ctx, int64_t n, json_t **commands,
                   struct mb_error *error)
{
    (void)n;
    (void)commands;
    (void)error;
    work(tx, ctx, true);
    return 0;
}

int books_decay(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
                struct mb_error *error)
{
    (void)body;
    (void)result;
    if (*ctx->id != '\0' || !mb_tx_has(tx, "books/waiting"))
        return mb_refuse(error, "books.internal", "s", "books.decay");
    work(tx, ctx, false);
    return 0;
}
