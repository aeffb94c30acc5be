/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The pool of worker threads. They are started when work arrives and none is idle. */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "loop/internal.h"
#include "loop/log.h"

static void *worker(void *arg)
{
    struct mb_loop *l = arg;
    pthread_mutex_lock(&l->lock);
    for (;;) {
        struct task *t = tasks_pop(&l->queued);
        if (t == NULL) {
            if (l->quit)
                break;
            l->idle++;
            pthread_cond_wait(&l->arrived, &l->lock);
            l->idle--;
            continue;
        }
        l->running++;
        pthread_mutex_unlock(&l->lock);
        t->work(t->arg);
        pthread_mutex_lock(&l->lock);
        l->running--;
        loop_post_locked(l, t);
        pthread_cond_signal(&l->finished);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

int mb_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

/* The lock is held. */
static void start_worker(struct mb_loop *l)
{
    l->threads = mb_realloc(l->threads, (l->thread_count + 1) * sizeof *l->threads);
    int err = mb_thread_start(&l->threads[l->thread_count], worker, l);
    if (err == 0) {
        l->thread_count++;
        return;
    }
    if (l->thread_count == 0) /* nobody would ever do the work */
        abort();
    mb_log(MB_LOG_WARN, "loop", "worker_not_started", "errno=%d have=%u", err, l->thread_count);
}

void work_init(struct mb_loop *l)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    l->thread_max = processors < 1 ? 1 : processors > 4 ? 4 : (unsigned)processors;
    if (pthread_cond_init(&l->arrived, NULL) != 0 || pthread_cond_init(&l->finished, NULL) != 0)
        abort();
}

void mb_work_wait(struct mb_loop *l)
{
    bool more = l != NULL;
    while (more) {
        pthread_mutex_lock(&l->lock);
        while (l->running > 0 || l->queued.first != NULL)
            pthread_cond_wait(&l->finished, &l->lock);
        pthread_mutex_unlock(&l->lock);
        more = loop_run_posted(l); /* which may bring new work */
    }
}

void work_finish(struct mb_loop *l)
{
    mb_work_wait(l);
    pthread_mutex_lock(&l->lock);
    l->quit = true;
    pthread_cond_broadcast(&l->arrived);
    pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < l->thread_count; i++)
        pthread_join(l->threads[i], NULL);
    free(l->threads);
    pthread_cond_destroy(&l->arrived);
    pthread_cond_destroy(&l->finished);
}

void mb_work(struct mb_loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct task *t = mb_alloc(sizeof *t);
    *t = (struct task){.work = work, .call = done, .arg = arg};
    pthread_mutex_lock(&l->lock);
    tasks_push(&l->queued, t);
    if (l->idle < l->queued.count && l->thread_count < l->thread_max)
        start_worker(l);
    pthread_mutex_unlock(&l->lock);
    pthread_cond_signal(&l->arrived); /* who wakes up needs the lock */
}

size_t mb_work_queued(const struct mb_loop *l)
{
    struct mb_loop *m = (struct mb_loop *)l; /* to take the lock */
    pthread_mutex_lock(&m->lock);
    size_t n = m->queued.count;
    pthread_mutex_unlock(&m->lock);
    return n;
}

void mb_work_threads(struct mb_loop *l, unsigned threads)
{
    pthread_mutex_lock(&l->lock);
    l->thread_max = threads < 1 ? 1 : threads;
    pthread_mutex_unlock(&l->lock);
}
