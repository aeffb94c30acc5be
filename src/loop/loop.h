/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The event loop: the only user of libevent. Everything of the world half runs on one thread, in
 * short callbacks; what blocks goes to a worker or a child and returns as an event.
 */
#ifndef MB_LOOP_LOOP_H
#define MB_LOOP_LOOP_H

#include <pthread.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "base/error.h"

struct mb_loop;

/* SIGPIPE and SIGXFSZ are ignored from then on: writes say so instead. */
struct mb_loop *mb_loop_new(void);
void mb_loop_free(struct mb_loop *l); /* after everything made on it has been freed */
/* Run until mb_loop_stop(), which is for the loop's thread (others post it). */
void mb_loop_run(struct mb_loop *l);
/* How often mb_loop_run() has looked for what is ready: what comes in one turn was ready together.
 */
uint64_t mb_loop_turn(const struct mb_loop *l);
void mb_loop_stop(struct mb_loop *l);
/* Run callbacks that are ready, waiting at most timeout_ms for one: for tests and short programs.
 */
void mb_loop_once(struct mb_loop *l, int timeout_ms);

/* Milliseconds of a clock that never jumps; and seconds since 1970 of the machine's clock. */
int64_t mb_now_ms(void);
int64_t mb_clock_s(void);

/* A timer that fires once, each time it is set. Setting it again moves it. */
struct mb_timer;
struct mb_timer *mb_timer_new(struct mb_loop *l, void (*fire)(void *arg), void *arg);
void mb_timer_set(struct mb_timer *t, int64_t after_ms);
void mb_timer_cancel(struct mb_timer *t);
void mb_timer_free(struct mb_timer *t);

/* A watched pipe, socket or the like (not owned; free the watch before the descriptor is closed).
 */
#define MB_READ  1u
#define MB_WRITE 2u
struct mb_watch;
struct mb_watch *mb_watch_new(struct mb_loop *l, int fd, void (*ready)(void *arg, unsigned what),
                              void *arg);
void mb_watch_set(struct mb_watch *w, unsigned what); /* 0: nothing for now */
void mb_watch_free(struct mb_watch *w);

/* A signal, delivered as an event. */
struct mb_signal;
struct mb_signal *mb_signal_new(struct mb_loop *l, int signo, void (*caught)(void *arg), void *arg);
void mb_signal_free(struct mb_signal *s);

/* Call fn(arg) on the loop's thread soon; from any thread. */
void mb_loop_post(struct mb_loop *l, void (*fn)(void *arg), void *arg);

/*
 * Run work(arg) on a worker thread, then done(arg) on the loop's thread. A pool of `threads`
 * (mb_work_threads, default: processors, at most 4; set it before the first work), first in, first
 * out. mb_work_queued counts what has not begun. mb_loop_free lets all of it end and calls done for
 * all. Workers run with every signal blocked.
 */
void mb_work(struct mb_loop *l, void (*work)(void *arg), void (*done)(void *arg), void *arg);
/* Let all of it end and call done for all, before what they work on is freed. NULL is fine. */
void mb_work_wait(struct mb_loop *l);
/* A thread that takes no signals, which are for the loop's; 0, or errno. */
int mb_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg);
size_t mb_work_queued(const struct mb_loop *l);
void mb_work_threads(struct mb_loop *l, unsigned threads);

/*
 * A child process. argv[0] is an absolute path; env is its whole environment (NULL-terminated);
 * dir its working directory or NULL. For each of stdin, stdout, stderr: a descriptor to inherit
 * (borrowed), MB_PIPE for a pipe whose other end (non-blocking, close-on-exec) is given back, or
 * MB_NULL for /dev/null. Every other descriptor is closed in the child; it is a process group of
 * its own and dies with the daemon (PR_SET_PDEATHSIG: more exactly, with the thread that spawned
 * it, which must be the loop's). Signals have their defaults. cpu_s, memory_bytes and file_bytes
 * bound CPU seconds, address space and file size (0: none). exited(arg, status) is called once, on
 * the loop's thread, with waitpid's status; what is left of the group is killed then. It may free
 * the child. NULL is fine.
 */
#define MB_PIPE (-1)
#define MB_NULL (-2)
struct mb_child;
struct mb_child_spec {
    const char *const *argv;
    const char *const *env;
    const char *dir;
    int std[3];
    int64_t cpu_s, memory_bytes, file_bytes;
    void (*exited)(void *arg, int status);
    void *arg;
};
/* pipes[i] is filled for each MB_PIPE and owned by the caller, -1 elsewhere (NULL is fine without
 * MB_PIPE). MB_EIO, code child.spawn: also if the program cannot be executed. */
int mb_child_spawn(struct mb_child **out, struct mb_loop *l, const struct mb_child_spec *spec,
                   int pipes[3], struct mb_error *error);
pid_t mb_child_pid(const struct mb_child *c);      /* 0 once it has exited */
void mb_child_kill(struct mb_child *c, int signo); /* the whole group; nothing if it has exited */
/* Forget the child: kills it if it runs; exited is not called any more. */
void mb_child_free(struct mb_child *c);

/* A listening Unix socket at path (an old socket there is replaced; mode is its file mode), or a
 * connection to one. Non-blocking, close-on-exec. The descriptor, or a negative enum mb_err:
 * MB_EINVAL socket.path, MB_EIO socket.listen, MB_EREACH or MB_EIO socket.connect. */
int mb_unix_listen(const char *path, unsigned mode, struct mb_error *error);
int mb_unix_connect(const char *path, struct mb_error *error);

#endif
