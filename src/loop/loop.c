/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "loop/internal.h"

#define ROUNDS 3

struct mb_timer {
    struct event *event;
    void (*fire)(void *arg);
    void *arg;
};

struct mb_watch {
    struct mb_loop *loop;
    struct event *event;
    int fd;
    unsigned what;
    void (*ready)(void *arg, unsigned what);
    void *arg;
};

struct mb_signal {
    struct event *event;
    void (*caught)(void *arg);
    void *arg;
};

/* For what fails only when the machine is out of memory or descriptors, or by a mistake of ours. */
static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "loop: %s failed\n", what);
    abort();
}

static struct timeval milliseconds(int64_t ms)
{
    if (ms < 0)
        ms = 0;
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
}

int64_t mb_now_ms(void)
{
    struct timespec t;
    must(clock_gettime(CLOCK_MONOTONIC, &t) == 0, "clock_gettime");
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t mb_clock_s(void)
{
    return (int64_t)time(NULL);
}

void tasks_push(struct tasks *q, struct task *t)
{
    t->next = NULL;
    if (q->first == NULL)
        q->first = t;
    else
        q->last->next = t;
    q->last = t;
    q->count++;
}

struct task *tasks_pop(struct tasks *q)
{
    struct task *t = q->first;
    if (t == NULL)
        return NULL;
    q->first = t->next;
    q->count--;
    return t;
}

void loop_post_locked(struct mb_loop *l, struct task *t)
{
    bool wake = l->posted.first == NULL && !l->awake;
    tasks_push(&l->posted, t);
    if (wake)
        must(eventfd_write(l->wake_fd, 1) == 0, "eventfd");
}

bool loop_run_posted(struct mb_loop *l)
{
    pthread_mutex_lock(&l->lock);
    struct tasks due = l->posted;
    l->posted = (struct tasks){0};
    pthread_mutex_unlock(&l->lock);
    if (due.first == NULL)
        return false;
    for (struct task *t; (t = tasks_pop(&due)) != NULL;) {
        t->call(t->arg);
        free(t);
    }
    return true;
}

static void begin_callback(struct mb_loop *l)
{
    pthread_mutex_lock(&l->lock);
    l->awake = true;
    pthread_mutex_unlock(&l->lock);
}

/* Call what was posted meanwhile, which saves the loop a turn; what comes of that in a few rounds
 * waits for the next one, in which descriptors have theirs. */
static void end_callback(struct mb_loop *l)
{
    for (int round = 0; round < ROUNDS && loop_run_posted(l); round++) {
    }
    pthread_mutex_lock(&l->lock);
    l->awake = false;
    if (l->posted.first != NULL)
        must(eventfd_write(l->wake_fd, 1) == 0, "eventfd");
    pthread_mutex_unlock(&l->lock);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    eventfd_t n;
    (void)eventfd_read((int)fd, &n); /* before taking the list: a later post wakes again */
    begin_callback(arg);
    end_callback(arg);
}

void mb_loop_post(struct mb_loop *l, void (*fn)(void *arg), void *arg)
{
    struct task *t = mb_alloc(sizeof *t);
    *t = (struct task){.call = fn, .arg = arg};
    pthread_mutex_lock(&l->lock);
    loop_post_locked(l, t);
    pthread_mutex_unlock(&l->lock);
}

static struct event_base *base_new(void)
{
    struct event_config *config = event_config_new();
    must(config != NULL, "event_config_new");
    /* Timers are to be right to the millisecond: no coarse clock, and no time cached before a
     * callback that took long. */
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME);
    event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
    struct event_base *base = event_base_new_with_config(config);
    must(base != NULL, "event_base_new");
    event_config_free(config);
    return base;
}

struct mb_loop *mb_loop_new(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    struct mb_loop *l = mb_calloc(1, sizeof *l);
    l->base = base_new();
    must(pthread_mutex_init(&l->lock, NULL) == 0, "pthread_mutex_init");
    work_init(l);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    must(l->wake_fd >= 0, "eventfd");
    l->wake = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
    must(l->wake != NULL && event_add(l->wake, NULL) == 0, "event_add");
    return l;
}

void mb_loop_free(struct mb_loop *l)
{
    if (l == NULL)
        return;
    work_finish(l);
    child_reap_orphans(l);
    event_free(l->wake);
    close(l->wake_fd);
    event_base_free(l->base);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void mb_loop_run(struct mb_loop *l)
{
    for (; !l->stopping; l->turn++)
        must(event_base_loop(l->base, EVLOOP_ONCE) >= 0, "event_base_loop");
    l->stopping = false;
}

uint64_t mb_loop_turn(const struct mb_loop *l)
{
    return l->turn;
}

void mb_loop_stop(struct mb_loop *l)
{
    l->stopping = true;
}

static void do_nothing(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what, (void)arg;
}

void mb_loop_once(struct mb_loop *l, int timeout_ms)
{
    if (timeout_ms <= 0) {
        must(event_base_loop(l->base, EVLOOP_NONBLOCK) >= 0, "event_base_loop");
        return;
    }
    struct event *limit = evtimer_new(l->base, do_nothing, NULL);
    struct timeval tv = milliseconds(timeout_ms);
    must(limit != NULL && evtimer_add(limit, &tv) == 0, "evtimer_add");
    must(event_base_loop(l->base, EVLOOP_ONCE) >= 0, "event_base_loop");
    event_free(limit);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    struct mb_timer *t = arg;
    t->fire(t->arg); /* may free t */
}

struct mb_timer *mb_timer_new(struct mb_loop *l, void (*fire)(void *arg), void *arg)
{
    struct mb_timer *t = mb_alloc(sizeof *t);
    *t = (struct mb_timer){.event = evtimer_new(l->base, on_timer, t), .fire = fire, .arg = arg};
    must(t->event != NULL, "evtimer_new");
    return t;
}

void mb_timer_set(struct mb_timer *t, int64_t after_ms)
{
    struct timeval tv = milliseconds(after_ms);
    must(evtimer_add(t->event, &tv) == 0, "evtimer_add");
}

void mb_timer_cancel(struct mb_timer *t)
{
    evtimer_del(t->event);
}

void mb_timer_free(struct mb_timer *t)
{
    if (t == NULL)
        return;
    event_free(t->event);
    free(t);
}

static void on_watch(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    struct mb_watch *w = arg;
    struct mb_loop *l = w->loop;
    begin_callback(l);
    w->ready(w->arg, (what & EV_READ ? MB_READ : 0) | (what & EV_WRITE ? MB_WRITE : 0));
    end_callback(l);
}

struct mb_watch *mb_watch_new(struct mb_loop *l, int fd, void (*ready)(void *arg, unsigned what),
                              void *arg)
{
    struct mb_watch *w = mb_alloc(sizeof *w);
    *w = (struct mb_watch){.loop = l, .fd = fd, .ready = ready, .arg = arg};
    w->event = event_new(l->base, fd, EV_READ | EV_PERSIST, on_watch, w);
    must(w->event != NULL, "event_new");
    return w;
}

void mb_watch_set(struct mb_watch *w, unsigned what)
{
    if (what == w->what)
        return;
    event_del(w->event);
    w->what = what;
    if (what == 0)
        return;
    short flags =
        (short)((what & MB_READ ? EV_READ : 0) | (what & MB_WRITE ? EV_WRITE : 0) | EV_PERSIST);
    must(event_assign(w->event, w->loop->base, w->fd, flags, on_watch, w) == 0, "event_assign");
    must(event_add(w->event, NULL) == 0, "event_add");
}

void mb_watch_free(struct mb_watch *w)
{
    if (w == NULL)
        return;
    event_free(w->event);
    free(w);
}

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
    (void)signo, (void)what;
    struct mb_signal *s = arg;
    s->caught(s->arg);
}

struct mb_signal *mb_signal_new(struct mb_loop *l, int signo, void (*caught)(void *arg), void *arg)
{
    struct mb_signal *s = mb_alloc(sizeof *s);
    *s = (struct mb_signal){
        .event = evsignal_new(l->base, signo, on_signal, s), .caught = caught, .arg = arg};
    must(s->event != NULL && evsignal_add(s->event, NULL) == 0, "evsignal_add");
    return s;
}

void mb_signal_free(struct mb_signal *s)
{
    if (s == NULL)
        return;
    event_free(s->event);
    free(s);
}
