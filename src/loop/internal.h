/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of src/loop share. */
#ifndef MB_LOOP_INTERNAL_H
#define MB_LOOP_INTERNAL_H

#include <pthread.h>

#include <event2/event.h>

#include "loop/loop.h"

/* One posted call, or one piece of work whose `call` is posted once `work` has returned. */
struct task {
    void (*work)(void *arg);
    void (*call)(void *arg);
    void *arg;
    struct task *next;
};
struct tasks {
    struct task *first, *last;
    size_t count;
};

void tasks_push(struct tasks *q, struct task *t);
struct task *tasks_pop(struct tasks *q); /* NULL if empty */

struct mb_loop {
    struct event_base *base;
    uint64_t turn;
    bool stopping;

    int wake_fd; /* eventfd: posted went from empty to not empty, while not awake */
    struct event *wake;

    pthread_mutex_t lock; /* guards all below but orphans */
    struct tasks posted;
    bool awake; /* in a callback: what is posted is called right after it */

    struct tasks queued;     /* work that has not begun */
    pthread_cond_t arrived;  /* queued grew, or quit was set */
    pthread_cond_t finished; /* a piece of work has ended */
    pthread_t *threads;
    unsigned thread_count, thread_max, idle;
    size_t running;
    bool quit;

    struct mb_child *orphans; /* killed and forgotten by their owner, not reaped yet */
};

/* Append to posted and wake the loop; the lock is held. */
void loop_post_locked(struct mb_loop *l, struct task *t);
/* Call what has been posted up to now; false if there was nothing. */
bool loop_run_posted(struct mb_loop *l);

void work_init(struct mb_loop *l);
void work_finish(struct mb_loop *l); /* until no work and no posted call is left */

void child_reap_orphans(struct mb_loop *l); /* waits for them */

#endif
