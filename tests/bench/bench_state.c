/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The state at scale, SQLite behind it: bench_state [KEYS [FOLDER]]. Loads KEYS keys (1,000,000)
 * with values of 100 bytes, changes them at random in blocks of 512 with a checkpoint every 64
 * blocks and a commit every 200 ms, as the daemon has it (daemon/sequence.c), makes and checks
 * proofs, opens and verifies the whole. Every figure is a line "name value unit".
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "merkle/tree.h"
#include "store/store.h"

#define BLOCK    512
#define COMMIT_S 0.2
#define BLOCKS   256
#define PROOFS   5000

static uint64_t rng = 88172645463325252u;

static uint64_t next(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Processor time of the process, user and system, in seconds. */
static double processor(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(int rc, const struct mb_error *error)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "bench_state: %d %s\n", rc, error ? error->text : "");
    exit(1);
}

static void key_of(char key[32], uint64_t n)
{
    must(mb_snprintf(key, 32, "bench/%08" PRIx64, n * 2654435761u % 4294967296u), NULL);
}

static void value_of(char value[101], uint64_t n, uint64_t slot)
{
    memset(value, 'x', 100);
    must(mb_snprintf(value, 101, "\"%020" PRIu64 "-%020" PRIu64, n, slot), NULL);
    value[42] = 'x';
    value[99] = '"';
    value[100] = '\0';
}

static double begun; /* when the transaction under way did, or 0 */

static void commit(struct mb_store *s)
{
    struct mb_error error;
    if (begun > 0)
        must(mb_store_commit_later(s, &error), &error);
    begun = 0;
}

/* Write value of slot to each key in keys, in one block. */
static void block(struct mb_store *s, uint64_t slot, const uint64_t *keys, size_t count,
                  struct mb_hash *root)
{
    struct mb_error error;
    struct mb_backend b = mb_store_backend(s);
    struct mb_tree_io io = {b.self, b.ops->page_load, b.ops->page_save};
    struct mb_tree_change *ch = mb_alloc(count * sizeof *ch), top = {.present = true};
    if (begun == 0) {
        must(mb_store_begin(s, &error), &error);
        begun = now();
    }
    for (size_t i = 0; i < count; i++) {
        char key[32], value[101];
        key_of(key, keys[i]);
        value_of(value, keys[i], slot);
        must(b.ops->put(b.self, slot, key, mb_bytes(value, 100)), &error);
        ch[i] = (struct mb_tree_change){mb_sha256(key, strlen(key)), mb_sha256(value, 100), true};
    }
    must(mb_tree_update(&io, "bench", ch, count, &top.value_hash, &error), &error);
    top.key_hash = mb_sha256("bench", 5);
    must(mb_tree_update(&io, "", &top, 1, root, &error), &error);
    if (slot % 64 == 0)
        must(mb_store_mark_checkpoint(s, slot, &error), &error);
    if (mb_store_block_done(s) || now() - begun >= COMMIT_S)
        commit(s);
    free(ch);
}

static uint64_t load(struct mb_store *s, uint64_t keys, struct mb_hash *root)
{
    uint64_t batch[10000], slot = 0;
    double start = now();
    for (uint64_t n = 0; n < keys;) {
        size_t count = 0;
        while (count < sizeof batch / sizeof *batch && n < keys)
            batch[count++] = n++;
        block(s, ++slot, batch, count, root);
    }
    commit(s);
    printf("state_load %.0f keys/s\n", (double)keys / (now() - start));
    return slot;
}

/* The daemon's worker: moves what is committed into the file, off the commit path. */
static struct {
    const char *path;
    atomic_bool stop;
} settling;

static void *settle_now_and_then(void *arg)
{
    struct mb_error error;
    (void)arg;
    while (!atomic_load(&settling.stop)) {
        must(mb_store_settle(settling.path, &error), &error);
        usleep(200000);
    }
    return NULL;
}

/* Keys of a block are drawn without repeats by stepping through them. */
static uint64_t change(struct mb_store *s, uint64_t keys, uint64_t slot, unsigned blocks,
                       const char *name, struct mb_hash *root)
{
    double start = now(), busy = processor(), slowest = 0;
    for (unsigned i = 0; i < blocks; i++) {
        uint64_t list[BLOCK], part = keys / BLOCK;
        for (unsigned k = 0; k < BLOCK; k++)
            list[k] = k * part + next() % part;
        double t = now();
        block(s, ++slot, list, BLOCK, root);
        slowest = now() - t > slowest ? now() - t : slowest;
    }
    commit(s);
    printf("%s %.0f keys/s\n", name, blocks * BLOCK / (now() - start));
    printf("%s_processor %.1f us/key\n", name, (processor() - busy) / (blocks * BLOCK) * 1e6);
    printf("%s_slowest_block %.1f ms\n", name, slowest * 1e3);
    return slot;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print_times(const char *name, double *times, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += times[i];
    qsort(times, count, sizeof *times, by_value);
    printf("%s_mean %.1f us\n", name, sum / (double)count * 1e6);
    printf("%s_p99 %.1f us\n", name, times[count * 99 / 100] * 1e6);
}

static void prove(struct mb_backend b, uint64_t keys, const struct mb_hash *root, const char *name)
{
    static double made[PROOFS], checked[PROOFS];
    struct mb_tree_io io = {b.self, b.ops->page_load, b.ops->page_save};
    struct mb_error error;
    struct mb_buf proof = {0}, value = {0};
    size_t longest = 0;
    char key[32], label[64];
    for (size_t i = 0; i < PROOFS; i++) {
        key_of(key, next() % keys);
        mb_buf_reset(&proof);
        mb_buf_reset(&value);
        double t = now();
        must(b.ops->get(b.self, key, &value) == 1 ? 0 : MB_ENOENT, &error);
        must(mb_state_prove(&io, key, &proof, &error), &error);
        made[i] = now() - t;
        t = now();
        must(mb_state_verify(mb_buf_bytes(&proof), root, key, mb_buf_bytes(&value), &error),
             &error);
        checked[i] = now() - t;
        longest = proof.len + value.len > longest ? proof.len + value.len : longest;
    }
    must(mb_snprintf(label, sizeof label, "proof_made_%s", name), NULL);
    print_times(label, made, PROOFS);
    must(mb_snprintf(label, sizeof label, "proof_checked_%s", name), NULL);
    print_times(label, checked, PROOFS);
    printf("proof_and_value_longest_%s %zu B\n", name, longest);
    mb_buf_clear(&proof);
    mb_buf_clear(&value);
}

int main(int argc, char **argv)
{
    uint64_t keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    char folder[] = "/tmp/bench_state.XXXXXX";
    if (keys < BLOCK || (argc <= 2 && !mkdtemp(folder)))
        return 2;
    char *path = mb_asprintf("%s/store.db", argc > 2 ? argv[2] : folder);
    char *wal = mb_asprintf("%s-wal", path);
    struct mb_store *s;
    struct mb_error error;
    struct mb_hash root, marked;
    must(mb_store_open(&s, path, &error), &error);
    printf("state_keys %" PRIu64 " keys\n", keys);
    uint64_t slot = load(s, keys, &root);

    pthread_t thread;
    settling.path = path;
    if (pthread_create(&thread, NULL, settle_now_and_then, NULL) != 0)
        return 1;
    slot = change(s, keys, (slot + 63) / 64 * 64, BLOCKS, "state_changes", &root);
    uint64_t checkpoint = slot;
    marked = root;
    change(s, keys, slot, 64, "state_changes_more", &root);
    atomic_store(&settling.stop, true);
    pthread_join(thread, NULL);
    prove(mb_store_backend(s), keys, &root, "newest");
    struct mb_store_view *view;
    must(mb_store_view_new(&view, s, checkpoint, &error), &error);
    prove(mb_store_view_backend(view), keys, &marked, "checkpoint");
    mb_store_view_free(view);

    double t = now();
    must(mb_store_settle(path, &error), &error);
    printf("store_settle %.1f ms\n", (now() - t) * 1e3);
    mb_store_close(s);
    struct stat st;
    if (stat(path, &st) == 0)
        printf("store_file %.1f MB\n", (double)st.st_size / 1e6);

    t = now();
    must(mb_store_open(&s, path, &error), &error);
    printf("store_open %.1f ms\n", (now() - t) * 1e3);
    must(mb_store_verify(s, &root, &error), &error);
    printf("store_open_and_verify %.0f ms\n", (now() - t) * 1e3);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("resident_most %.1f MB\n", (double)usage.ru_maxrss / 1024);
    mb_store_close(s);
    if (argc <= 2) {
        unlink(path);
        unlink(wal);
        rmdir(folder);
    }
    free(path);
    free(wal);
    return 0;
}
