/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the log share. */
#ifndef MB_WAL_INTERNAL_H
#define MB_WAL_INTERNAL_H

#include <linux/aio_abi.h>
#include <pthread.h>

#include "wal/segment.h"
#include "wal/wal.h"

#define WAL_SEGMENT_DEFAULT (16u << 20)
#define WAL_NAME_SIZE       32

/* Memory aligned for O_DIRECT. */
struct wal_area {
    uint8_t *data;
    size_t len, cap;
};
void wal_area_reserve(struct wal_area *a, size_t more);
void wal_area_clear(struct wal_area *a);

struct wal_call {
    void (*durable)(void *arg);
    void *arg;
};
struct wal_calls {
    struct wal_call *of;
    size_t count, cap;
};

/* Appended and not yet written: one batch. area begins with room for the batch's header. */
struct wal_pending {
    struct wal_area area;
    uint32_t body, count;
    uint64_t slot;             /* the greatest */
    struct mb_wal_stamp stamp; /* set when it is written */
    struct wal_calls calls;
};

struct wal_live {
    uint64_t sequence;
    uint64_t slot; /* the greatest in it */
};

struct mb_wal {
    struct mb_loop *loop;
    char *dir;
    int dir_fd;
    struct mb_wal_options options;
    struct mb_wal_damage damage;

    pthread_t thread;
    /* Belong to who set writing (and to mb_wal_open before the thread runs). */
    int fd;
    struct wal_segment segment; /* where batches go */
    uint64_t offset;            /* of the next batch in it */
    uint64_t sequence;          /* of the next batch */
    uint32_t previous;          /* crc of the last */
    uint64_t durable_slot;
    struct mb_wal_stamp durable_stamp;
    bool marked;                  /* the last batch was a mark: nothing hangs on it */
    aio_context_t aio;            /* 0: none yet */
    bool no_aio;                  /* tried, and it cannot be had */
    void (*meanwhile)(void *arg); /* while the batch is on its way, from mb_wal_append; or NULL */
    void *meanwhile_arg;
    int tail_fd;
    struct wal_tail tail; /* the last batch that was no mark */
    unsigned tail_turn;   /* which block of tail is written next */

    /* The loop's thread's own. */
    struct wal_calls calling; /* due calls, from next_call on */
    size_t next_call;
    bool in_callback, closed, told_failure;

    pthread_mutex_t lock;              /* guards the rest */
    pthread_cond_t wake;               /* there is something to write, or to close */
    pthread_cond_t free;               /* writing was unset */
    bool writing;                      /* a batch or a mark is on its way to the disk */
    uint64_t sync_us;                  /* what a fdatasync took of late */
    struct mb_wal_stamp stamp;         /* the newest appended */
    struct wal_pending pending, spare; /* spare: empty, unless a batch is being written */
    struct wal_calls due;
    bool posted, closing, failed;
    struct mb_error error;
    uint64_t released;
    uint64_t damaged; /* the last segment that is damaged, until its slots are released; or 0 */
    struct wal_live *live; /* oldest first; the last is segment */
    struct mb_wal_stats stats;
};

void wal_name(char name[WAL_NAME_SIZE], uint64_t sequence);
void wal_live_add(struct mb_wal *w, uint64_t sequence, uint64_t slot);

/* Write all, or fill error: wal.full where no room is left, wal.io else. */
int wal_write(struct mb_wal *w, int fd, const uint8_t *data, size_t len, uint64_t offset,
              struct mb_error *error);
int wal_sync(struct mb_wal *w, int fd, struct mb_error *error);
/* Both; meanwhile(arg) (NULL is fine) is called once while the disk is at work, or after it. Memory
 * and offset are as O_DIRECT has them. */
int wal_write_durable(struct mb_wal *w, int fd, const uint8_t *data, size_t len, uint64_t offset,
                      void (*meanwhile)(void *arg), void *arg, struct mb_error *error);
void wal_aio_end(struct mb_wal *w);
int wal_open_file(struct mb_wal *w, const char *name, int flags);

/* Make the segment s durable under its name; s->bytes is the least it must have, salt and bytes are
 * filled. The descriptor, or an error. */
int wal_segment_make(struct mb_wal *w, struct wal_segment *s, struct mb_error *error);
/* Keep a segment's file to be used again, or remove it: there is one already, or it was damaged. */
void wal_segment_retire(struct mb_wal *w, uint64_t sequence, bool damaged);

/* Make or open the file tail: its blocks, the newest first. Returns how many of them hold (0: there
 * may be no such file at all), or an error. */
int wal_tail_make(struct mb_wal *w, struct mb_error *error);
int wal_tail_open(struct mb_wal *w, struct wal_tail *t, struct mb_error *error);
/* Write tail: in one block, not synced; or in both, synced. */
int wal_tail_put(struct mb_wal *w, struct mb_error *error);
int wal_tail_settle(struct mb_wal *w, struct mb_error *error);

/* Make the first segment, where there is no log. */
int wal_begin(struct mb_wal *w, struct mb_error *error);
/* Read what is there, replay it, and stand behind the last batch. 1: there is no segment. */
int wal_recover(struct mb_wal *w, struct mb_error *error);

#endif
