/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Children are started by vfork(2): the daemon is not copied, and an exec that fails is seen at
 * once. Between vfork and exec only system calls are made, with every signal blocked. They are
 * reaped through a pidfd each (pidfd_open(2)), so nothing else in the process has to know.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/internal.h"

struct mb_child {
    struct mb_loop *loop;
    pid_t pid; /* 0 once reaped */
    int pidfd;
    struct mb_watch *watch;
    void (*exited)(void *arg, int status);
    void *arg;
    struct mb_child *next; /* among the orphans */
};

/* What the new process needs: it shares the parent's memory until exec. */
struct plan {
    const struct mb_child_spec *spec;
    int std[3];
    pid_t parent;
    volatile int err; /* set by the child if exec was not reached */
};

static bool limit(int resource, int64_t soft, int64_t hard)
{
    struct rlimit r = {.rlim_cur = (rlim_t)soft, .rlim_max = (rlim_t)hard};
    return soft <= 0 || setrlimit((__rlimit_resource_t)resource, &r) == 0;
}

static bool limit_all(const struct mb_child_spec *s)
{
    return limit(RLIMIT_CPU, s->cpu_s, s->cpu_s + 1) && /* SIGXCPU first, then SIGKILL */
           limit(RLIMIT_AS, s->memory_bytes, s->memory_bytes) &&
           limit(RLIMIT_FSIZE, s->file_bytes, s->file_bytes);
}

static bool place_descriptors(const int std[3])
{
    int high[3];
    for (int i = 0; i < 3; i++) /* above 2 first: std may name 0, 1 and 2 in another order */
        if ((high[i] = fcntl(std[i], F_DUPFD, 3)) < 0)
            return false;
    for (int i = 0; i < 3; i++)
        if (dup2(high[i], i) < 0)
            return false;
    return close_range(3, ~0u, 0) == 0;
}

static void default_signals(void)
{
    struct sigaction sa = {.sa_handler = SIG_DFL};
    for (int i = 1; i < NSIG; i++)
        sigaction(i, &sa, NULL);
    sigprocmask(SIG_SETMASK, &sa.sa_mask, NULL);
}

static _Noreturn void become(struct plan *p)
{
    const struct mb_child_spec *s = p->spec;
    bool ready = setpgid(0, 0) == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
    if (getppid() != p->parent) /* it died before prctl */
        _exit(127);
    if (ready && place_descriptors(p->std) && (s->dir == NULL || chdir(s->dir) == 0) &&
        limit_all(s)) {
        default_signals();
        execve(s->argv[0], (char *const *)s->argv, (char *const *)s->env);
    }
    p->err = errno;
    _exit(127);
}

static pid_t start(struct plan *p)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = vfork();
    if (pid == 0)
        become(p);
    if (pid < 0)
        p->err = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

static void close_all(int fds[3])
{
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* Open what the child's descriptors need: theirs[i] is for it (to be closed here), ours[i] the
 * other end of a pipe. Both hold -1 where there is nothing to close. */
static int open_ends(const int std[3], int theirs[3], int ours[3])
{
    for (int i = 0; i < 3; i++)
        theirs[i] = ours[i] = -1;
    for (int i = 0; i < 3; i++) {
        int ends[2];
        if (std[i] == MB_NULL && (theirs[i] = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
            return -1;
        if (std[i] != MB_PIPE)
            continue;
        if (pipe2(ends, O_CLOEXEC) != 0)
            return -1;
        theirs[i] = ends[i == 0 ? 0 : 1];
        ours[i] = ends[i == 0 ? 1 : 0];
        if (fcntl(ours[i], F_SETFL, O_NONBLOCK) != 0)
            return -1;
    }
    return 0;
}

static void on_exit_ready(void *arg, unsigned what);

/* Take the status of a child that has ended or is about to (a killed one). */
static int reap(struct mb_child *c)
{
    int status = 0;
    kill(-c->pid, SIGKILL); /* what is left of its group; the zombie keeps the number taken */
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    c->pid = 0;
    mb_watch_free(c->watch);
    close(c->pidfd);
    return status;
}

static void forget_orphan(struct mb_child *c)
{
    struct mb_child **at = &c->loop->orphans;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    free(c);
}

static void on_exit_ready(void *arg, unsigned what)
{
    (void)what;
    struct mb_child *c = arg;
    int status = reap(c);
    if (c->exited != NULL)
        c->exited(c->arg, status); /* may free c */
    else
        forget_orphan(c);
}

static void ignore_exit(void *arg, int status)
{
    (void)arg, (void)status;
}

static struct mb_child *child_new(struct mb_loop *l, pid_t pid, const struct mb_child_spec *spec)
{
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0)
        return NULL;
    struct mb_child *c = mb_calloc(1, sizeof *c);
    *c = (struct mb_child){.loop = l,
                           .pid = pid,
                           .pidfd = pidfd,
                           .exited = spec->exited != NULL ? spec->exited : ignore_exit,
                           .arg = spec->arg};
    c->watch = mb_watch_new(l, pidfd, on_exit_ready, c);
    mb_watch_set(c->watch, MB_READ);
    return c;
}

int mb_child_spawn(struct mb_child **out, struct mb_loop *l, const struct mb_child_spec *spec,
                   int pipes[3], struct mb_error *error)
{
    int theirs[3], ours[3];
    struct plan p = {.spec = spec, .parent = getpid()};
    struct mb_child *c = NULL;
    if (open_ends(spec->std, theirs, ours) != 0) {
        p.err = errno;
    } else {
        for (int i = 0; i < 3; i++)
            p.std[i] = theirs[i] >= 0 ? theirs[i] : spec->std[i];
        pid_t pid = start(&p);
        if (p.err == 0 && (c = child_new(l, pid, spec)) == NULL) {
            p.err = errno;
            kill(-pid, SIGKILL);
        }
        if (p.err != 0 && pid > 0)
            waitpid(pid, NULL, 0);
    }
    close_all(theirs);
    if (p.err != 0) {
        close_all(ours);
        return mb_fail(error, MB_EIO, "child.spawn", "cannot run %s: %s", spec->argv[0],
                       strerror(p.err));
    }
    if (pipes != NULL)
        memcpy(pipes, ours, sizeof ours);
    *out = c;
    return 0;
}

pid_t mb_child_pid(const struct mb_child *c)
{
    return c->pid;
}

void mb_child_kill(struct mb_child *c, int signo)
{
    if (c->pid > 0)
        kill(-c->pid, signo);
}

void mb_child_free(struct mb_child *c)
{
    if (c == NULL)
        return;
    if (c->pid == 0) {
        free(c);
        return;
    }
    kill(-c->pid, SIGKILL);
    c->exited = NULL;
    c->next = c->loop->orphans;
    c->loop->orphans = c;
}

void child_reap_orphans(struct mb_loop *l)
{
    while (l->orphans != NULL) {
        reap(l->orphans);
        forget_orphan(l->orphans);
    }
}
