/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Signatures are most of the work of catching up, and there are several processors: so each block
 * is parsed and checked by whichever thread is free, while the next ones are on their way. */
#include "daemon/pull.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define THREADS_MAX 8

struct checkers {
    struct pull *pull;
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    pthread_t threads[THREADS_MAX];
    size_t thread_count;
    size_t given, taken;
    bool ended;
    size_t failed; /* the first block with a failure; SIZE_MAX: none */
    int rc;        /* its */
    struct mb_error error;
};

const struct mb_membership *pull_config(const struct pull *p, uint64_t slot)
{
    size_t i = p->config_count - 1;
    while (i > 0 && p->configs[i].from > slot)
        i--;
    return &p->configs[i];
}

void pull_add_config(struct pull *p, const struct mb_membership *config)
{
    p->configs = mb_realloc(p->configs, (p->config_count + 1) * sizeof *p->configs);
    p->configs[p->config_count++] = *config;
}

/* The value is the one of its header, whole. */
static int check_value(const struct pull *p, struct pulled *b, uint64_t slot,
                       struct mb_error *error)
{
    struct mb_public_key keys[MB_REPLICAS_MAX];
    size_t count = mb_membership_keys(pull_config(p, slot), keys);
    struct mb_header h;
    struct mb_value v = {0};
    int rc = mb_header_decode(&h, mb_buf_bytes(&b->block.header), error);
    if (rc == 0)
        rc = mb_value_decode(&v, mb_buf_bytes(&b->block.value), error);
    if (rc != 0)
        return rc;
    rc = mb_value_verify(&v, &p->org, slot, keys, count, error);
    if (rc == 0 && (!mb_hash_equal(&v.commands_root, &h.commands_root) ||
                    !mb_hash_equal(&v.proposer, &h.proposer)))
        rc = mb_fail(error, MB_EPROOF, "blocks.false",
                     "slot %" PRIu64 " does not hold what its header says", slot);
    if (rc == 0) {
        b->time = v.time;
        b->header_time = h.time;
        b->checked = mb_value_check(&v);
        b->count = v.count;
    }
    mb_value_clear(&v);
    return rc;
}

static int check_line(const struct pull *p, size_t i, struct mb_error *error)
{
    struct pulled *b = &p->blocks[i];
    struct mb_public_key proposer;
    json_t *json;
    int rc = mb_json_parse(&json, b->line.data, b->line.len, error);
    mb_buf_clear(&b->line);
    if (rc != 0)
        return rc;
    rc = mb_block_from_json(&b->block, &proposer, json, error);
    json_decref(json);
    return rc == 0 ? check_value(p, b, p->tip + 1 + i, error) : rc;
}

/* Take blocks until there are none; wait: until no more come. */
static void check_some(struct checkers *c, bool wait)
{
    pthread_mutex_lock(&c->lock);
    for (;;) {
        while (wait && c->taken == c->given && !c->ended)
            pthread_cond_wait(&c->arrived, &c->lock);
        if (c->taken == c->given)
            break;
        size_t i = c->taken++;
        if (i > c->failed)
            continue;
        struct mb_error error = {0};
        pthread_mutex_unlock(&c->lock);
        int rc = check_line(c->pull, i, &error);
        pthread_mutex_lock(&c->lock);
        if (rc != 0 && i < c->failed) {
            c->failed = i;
            c->rc = rc;
            c->error = error;
        }
    }
    pthread_mutex_unlock(&c->lock);
}

static void *checker(void *arg)
{
    check_some(arg, true);
    return NULL;
}

struct checkers *checkers_start(struct pull *p)
{
    struct checkers *c = mb_calloc(1, sizeof *c);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t most = processors < 1 ? 1 : processors > THREADS_MAX ? THREADS_MAX : (size_t)processors;
    c->pull = p;
    c->failed = SIZE_MAX;
    if (pthread_mutex_init(&c->lock, NULL) != 0 || pthread_cond_init(&c->arrived, NULL) != 0)
        abort();
    /* Without any, checkers_end() does it all. */
    while (c->thread_count < most && mb_thread_start(&c->threads[c->thread_count], checker, c) == 0)
        c->thread_count++;
    return c;
}

int checkers_give(struct checkers *c, struct mb_error *error)
{
    pthread_mutex_lock(&c->lock);
    c->given++;
    int rc = c->rc;
    if (rc != 0)
        *error = c->error;
    pthread_mutex_unlock(&c->lock);
    pthread_cond_signal(&c->arrived);
    return rc;
}

int checkers_end(struct checkers *c, struct mb_error *error)
{
    pthread_mutex_lock(&c->lock);
    c->ended = true;
    pthread_mutex_unlock(&c->lock);
    pthread_cond_broadcast(&c->arrived);
    check_some(c, false);
    for (size_t i = 0; i < c->thread_count; i++)
        pthread_join(c->threads[i], NULL);
    int rc = c->rc;
    if (rc != 0)
        *error = c->error;
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->arrived);
    free(c);
    return rc;
}
