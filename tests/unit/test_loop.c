/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop/loop.h"

static struct mb_loop *loop;

static int setup(void **state)
{
    (void)state;
    loop = mb_loop_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mb_loop_free(loop);
    return 0;
}

/* Run callbacks until *flag is at least n; false after ten seconds. */
static bool run_until(const atomic_int *flag, int n)
{
    int64_t end = mb_now_ms() + 10000;
    while (atomic_load(flag) < n && mb_now_ms() < end)
        mb_loop_once(loop, 100);
    return atomic_load(flag) >= n;
}

static void add_one(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

static void stop(void *arg)
{
    mb_loop_stop(arg);
}

/* Timers */

static int64_t fired_at;
static void note_time(void *arg)
{
    fired_at = mb_now_ms();
    add_one(arg);
}

static void test_timer_is_right_to_the_millisecond(void **state)
{
    (void)state;
    static const int64_t delays[] = {0, 1, 3, 10, 37};
    int64_t best_late = 1000;
    for (size_t i = 0; i < sizeof delays / sizeof *delays; i++) {
        atomic_int fired = 0;
        struct mb_timer *t = mb_timer_new(loop, note_time, &fired);
        int64_t start = mb_now_ms();
        mb_timer_set(t, delays[i]);
        assert_true(run_until(&fired, 1));
        assert_true(fired_at - start >= delays[i]); /* never early */
        if (fired_at - start - delays[i] < best_late)
            best_late = fired_at - start - delays[i];
        mb_loop_once(loop, 5);
        assert_int_equal(fired, 1); /* once each time it is set */
        mb_timer_free(t);
    }
    assert_true(best_late <= 1); /* a busy machine may be late now and then, not always */
}

static void test_timer_moved_and_cancelled(void **state)
{
    (void)state;
    atomic_int a = 0, b = 0;
    struct mb_timer *moved = mb_timer_new(loop, note_time, &a);
    struct mb_timer *cancelled = mb_timer_new(loop, add_one, &b);
    int64_t start = mb_now_ms();
    mb_timer_set(moved, 1);
    mb_timer_set(cancelled, 1);
    mb_timer_set(moved, 40);
    mb_timer_cancel(cancelled);
    assert_true(run_until(&a, 1));
    assert_true(fired_at - start >= 40);
    assert_int_equal(b, 0);
    mb_timer_set(cancelled, -5); /* the past is now */
    assert_true(run_until(&b, 1));
    mb_timer_free(moved);
    mb_timer_free(cancelled);
    mb_timer_free(NULL);
}

static void test_once_waits_no_longer_than_told(void **state)
{
    (void)state;
    int64_t start = mb_now_ms();
    mb_loop_once(loop, 20);
    assert_in_range(mb_now_ms() - start, 20, 5000);
}

/* Watches */

struct seen {
    atomic_int count;
    unsigned what;
};
static void note_ready(void *arg, unsigned what)
{
    struct seen *s = arg;
    s->what = what;
    atomic_fetch_add(&s->count, 1);
}

static void test_watch(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    struct seen s = {0};
    struct mb_watch *w = mb_watch_new(loop, fds[0], note_ready, &s);
    mb_loop_once(loop, 5);
    assert_int_equal(s.count, 0); /* nothing until it is set */
    mb_watch_set(w, MB_READ | MB_WRITE);
    assert_true(run_until(&s.count, 1));
    assert_int_equal(s.what, MB_WRITE);
    mb_watch_set(w, MB_READ);
    s.count = 0;
    mb_loop_once(loop, 5);
    assert_int_equal(s.count, 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_true(run_until(&s.count, 1));
    assert_int_equal(s.what, MB_READ);
    mb_watch_set(w, 0);
    s.count = 0;
    mb_loop_once(loop, 5);
    assert_int_equal(s.count, 0);
    mb_watch_free(w);
    close(fds[0]);
    close(fds[1]);
}

/* Signals */

static void test_signal(void **state)
{
    (void)state;
    atomic_int caught = 0;
    struct mb_signal *s = mb_signal_new(loop, SIGUSR1, add_one, &caught);
    raise(SIGUSR1);
    assert_true(run_until(&caught, 1));
    mb_signal_free(s);
}

/* Posts */

static void *post_many(void *arg)
{
    for (int i = 0; i < 1000; i++)
        mb_loop_post(loop, add_one, arg);
    return NULL;
}

static void test_post_from_threads(void **state)
{
    (void)state;
    atomic_int calls = 0;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &calls), 0);
    assert_true(run_until(&calls, 4000));
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(calls, 4000);
}

static void *post_stop(void *arg)
{
    usleep(10000);
    mb_loop_post(arg, stop, arg);
    return NULL;
}

static void test_run_and_stop(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) { /* a loop may be run again */
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, post_stop, loop), 0);
        mb_loop_run(loop);
        pthread_join(t, NULL);
    }
}

/* Work */

static pthread_t loop_thread;
static atomic_int begun, overlap, most_overlap, wrong_thread;
static int order[64], order_count;
static void work(void *arg)
{
    (void)arg;
    if (pthread_equal(pthread_self(), loop_thread))
        atomic_fetch_add(&wrong_thread, 1);
    int now = atomic_fetch_add(&overlap, 1) + 1;
    if (now > most_overlap)
        most_overlap = now;
    usleep(2000);
    atomic_fetch_sub(&overlap, 1);
    atomic_fetch_add(&begun, 1);
}

static atomic_int done_count;
static void work_done(void *arg)
{
    if (!pthread_equal(pthread_self(), loop_thread))
        atomic_fetch_add(&wrong_thread, 1);
    order[order_count++] = (int)(intptr_t)arg;
    atomic_fetch_add(&done_count, 1);
}

static void start_work(int count)
{
    loop_thread = pthread_self();
    begun = overlap = most_overlap = wrong_thread = done_count = 0;
    order_count = 0;
    for (intptr_t i = 0; i < count; i++)
        mb_work(loop, work, work_done, (void *)i);
}

static void test_work_in_order(void **state)
{
    (void)state;
    mb_work_threads(loop, 1);
    start_work(20);
    assert_in_range(mb_work_queued(loop), 1, 20);
    assert_true(run_until(&done_count, 20));
    assert_int_equal(mb_work_queued(loop), 0);
    assert_int_equal(wrong_thread, 0);
    assert_int_equal(most_overlap, 1);
    for (int i = 0; i < 20; i++)
        assert_int_equal(order[i], i);
}

static void test_work_in_parallel(void **state)
{
    (void)state;
    mb_work_threads(loop, 4);
    start_work(40);
    assert_true(run_until(&done_count, 40));
    assert_in_range(most_overlap, 2, 4);
    assert_int_equal(wrong_thread, 0);
}

static void test_free_finishes_work_and_posts(void **state)
{
    (void)state;
    start_work(10);
    atomic_int posted = 0;
    mb_loop_post(loop, add_one, &posted);
    mb_loop_free(loop);
    loop = NULL; /* for teardown */
    assert_int_equal(begun, 10);
    assert_int_equal(done_count, 10);
    assert_int_equal(posted, 1);
}

/* Children */

static int exit_status;
static void note_exit(void *arg, int status)
{
    exit_status = status;
    add_one(arg);
}

static const char *const environment[] = {"A=b", NULL};

struct run {
    struct mb_child *child;
    atomic_int exited;
    int pipes[3];
};

static void spawn(struct run *r, const char *script, struct mb_child_spec spec)
{
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    struct mb_error e;
    spec.argv = argv;
    spec.env = environment;
    spec.exited = note_exit;
    spec.arg = &r->exited;
    r->exited = 0;
    assert_int_equal(mb_child_spawn(&r->child, loop, &spec, r->pipes, &e), 0);
    assert_true(mb_child_pid(r->child) > 0);
}

/* Read a non-blocking pipe to its end into a text. */
static const char *read_all(int fd)
{
    static char text[4096];
    size_t len = 0;
    int64_t end = mb_now_ms() + 10000;
    while (len < sizeof text - 1 && mb_now_ms() < end) {
        ssize_t n = read(fd, text + len, sizeof text - 1 - len);
        if (n == 0)
            break;
        if (n > 0)
            len += (size_t)n;
        else if (errno == EAGAIN)
            mb_loop_once(loop, 5);
        else
            fail_msg("read: %s", strerror(errno));
    }
    close(fd);
    text[len] = '\0';
    return text;
}

#define OUT_PIPE                                                                                   \
    {                                                                                              \
        .std = { MB_NULL, MB_PIPE, MB_NULL }                                                       \
    }

static void assert_output(const char *script, struct mb_child_spec spec, const char *expected)
{
    struct run r;
    spawn(&r, script, spec);
    assert_string_equal(read_all(r.pipes[1]), expected);
    assert_true(run_until(&r.exited, 1));
    assert_int_equal(mb_child_pid(r.child), 0);
    mb_child_kill(r.child, SIGKILL); /* does nothing now */
    mb_child_free(r.child);
}

static void test_child_talks_and_exits(void **state)
{
    (void)state;
    struct run r;
    spawn(&r, "cat; echo oops >&2; exit 3",
          (struct mb_child_spec){.std = {MB_PIPE, MB_PIPE, MB_PIPE}});
    assert_int_equal(write(r.pipes[0], "hello", 5), 5);
    close(r.pipes[0]);
    assert_string_equal(read_all(r.pipes[1]), "hello");
    assert_string_equal(read_all(r.pipes[2]), "oops\n");
    assert_true(run_until(&r.exited, 1));
    assert_true(WIFEXITED(exit_status));
    assert_int_equal(WEXITSTATUS(exit_status), 3);
    mb_child_free(r.child);
}

static void test_child_has_nothing_it_was_not_given(void **state)
{
    (void)state;
    int leak = open("/dev/null", O_RDONLY); /* not close-on-exec */
    assert_true(leak > 2);
    assert_output("cd /proc/self/fd; for i in 3 4 5 6 7 8 9; do test -e $i && echo $i; done; "
                  "readlink /proc/$$/fd/0; env | grep -v -e ^PWD= -e ^OLDPWD= -e ^_= -e ^SHLVL=",
                  (struct mb_child_spec)OUT_PIPE, "/dev/null\nA=b\n");
    close(leak);
}

static void test_child_directory_and_inherited_descriptors(void **state)
{
    (void)state;
    assert_output("pwd", (struct mb_child_spec){.std = {MB_NULL, MB_PIPE, MB_NULL}, .dir = "/usr"},
                  "/usr\n");
    /* 0, 1 and 2 handed over in another order: what is written to 2 arrives at our 1's pipe. */
    int fds[2], saved = dup(1);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(dup2(fds[1], 1), 1);
    struct run r;
    spawn(&r, "echo crossed >&2", (struct mb_child_spec){.std = {2, 0, 1}});
    dup2(saved, 1);
    close(saved);
    close(fds[1]);
    assert_string_equal(read_all(fds[0]), "crossed\n");
    assert_true(run_until(&r.exited, 1));
    mb_child_free(r.child);
}

static void test_child_signals_are_the_default(void **state)
{
    (void)state;
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    signal(SIGHUP, SIG_IGN);
    /* Signals 1 to 31: the two after them are the C library's own. */
    assert_output("while read -r k v; do case $k in SigBlk:|SigIgn:) "
                  "echo $(($(printf %d 0x$v) & 0x7fffffff));; esac; done </proc/self/status",
                  (struct mb_child_spec)OUT_PIPE, "0\n0\n");
    signal(SIGHUP, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
}

static void test_child_limits(void **state)
{
    (void)state;
    assert_output("ulimit -t; ulimit -v; ulimit -f",
                  (struct mb_child_spec){.std = {MB_NULL, MB_PIPE, MB_NULL},
                                         .cpu_s = 7,
                                         .memory_bytes = 1 << 30,
                                         .file_bytes = 1 << 20},
                  "7\n1048576\n2048\n");
}

static void test_child_cannot_be_run(void **state)
{
    (void)state;
    static const char *const paths[] = {"/nonexistent/program", "/etc/passwd", "/"};
    for (size_t i = 0; i < 3; i++) {
        const char *const argv[] = {paths[i], NULL};
        struct mb_child_spec spec = {
            .argv = argv, .env = environment, .std = {MB_PIPE, MB_PIPE, MB_PIPE}};
        struct mb_child *c;
        struct mb_error e;
        int pipes[3];
        assert_int_equal(mb_child_spawn(&c, loop, &spec, pipes, &e), MB_EIO);
        assert_string_equal(e.code, "child.spawn");
        assert_non_null(strstr(e.text, paths[i]));
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie is left */
    assert_int_equal(errno, ECHILD);
}

/* True once no process has that number. */
static bool gone(pid_t pid)
{
    for (int i = 0; i < 500; i++, usleep(10000)) {
        if (kill(pid, 0) != 0)
            return true;
        char path[64], text[512] = {0};
        mb_snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return true;
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        if (n > 0 && strstr(text, ") Z ") != NULL)
            return true; /* killed; whoever is init here may be slow to reap it */
    }
    return false;
}

static pid_t read_pid(int fd)
{
    char line[32] = {0};
    for (int i = 0; i < 500 && strchr(line, '\n') == NULL; i++) {
        ssize_t n = read(fd, line + strlen(line), sizeof line - 1 - strlen(line));
        if (n <= 0)
            usleep(10000);
    }
    return (pid_t)strtol(line, NULL, 10);
}

static void test_child_group_is_killed(void **state)
{
    (void)state;
    struct run r;
    spawn(&r, "sleep 100 & echo $!; wait", (struct mb_child_spec)OUT_PIPE);
    pid_t grandchild = read_pid(r.pipes[1]);
    assert_true(grandchild > 0);
    mb_child_kill(r.child, SIGTERM);
    assert_true(run_until(&r.exited, 1));
    assert_true(WIFSIGNALED(exit_status));
    assert_int_equal(WTERMSIG(exit_status), SIGTERM);
    assert_true(gone(grandchild));
    close(r.pipes[1]);
    mb_child_free(r.child);

    spawn(&r, "sleep 100 & echo $!", (struct mb_child_spec)OUT_PIPE); /* a leader that leaves */
    grandchild = read_pid(r.pipes[1]);
    assert_true(run_until(&r.exited, 1));
    assert_true(gone(grandchild));
    close(r.pipes[1]);
    mb_child_free(r.child);
}

static void test_child_freed_while_it_runs(void **state)
{
    (void)state;
    struct run r;
    pid_t pids[2];
    for (int i = 0; i < 2; i++) {
        spawn(&r, "sleep 100", (struct mb_child_spec){.std = {MB_NULL, MB_NULL, MB_NULL}});
        assert_int_equal(r.pipes[1], -1);
        pids[i] = mb_child_pid(r.child);
        mb_child_free(r.child);
        for (int j = 0; i == 0 && j < 500 && kill(pids[0], 0) == 0; j++)
            mb_loop_once(loop, 10); /* the first is reaped by the loop, the second by its free */
    }
    assert_int_equal(kill(pids[0], 0), -1);
    mb_loop_free(loop);
    loop = NULL;
    assert_int_equal(kill(pids[1], 0), -1);
    assert_int_equal(r.exited, 0);
    mb_child_free(NULL);
}

static void test_child_dies_with_its_parent(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t parent = fork();
    if (parent == 0) {
        struct mb_loop *own = mb_loop_new();
        const char *const argv[] = {"/bin/sleep", "100", NULL};
        struct mb_child_spec spec = {
            .argv = argv, .env = environment, .std = {MB_NULL, MB_NULL, MB_NULL}};
        struct mb_child *c;
        if (mb_child_spawn(&c, own, &spec, NULL, NULL) != 0)
            _exit(1);
        dprintf(fds[1], "%d\n", (int)mb_child_pid(c));
        pause();
        _exit(0);
    }
    pid_t child = read_pid(fds[0]);
    assert_true(child > 0);
    assert_int_equal(kill(child, 0), 0);
    kill(parent, SIGKILL);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    assert_true(gone(child));
    close(fds[0]);
    close(fds[1]);
}

/* Unix sockets */

static void test_unix_sockets(void **state)
{
    (void)state;
    char dir[] = "/tmp/mb-test-loop-XXXXXX", path[64], file[64], longer[200];
    assert_non_null(mkdtemp(dir));
    mb_snprintf(path, sizeof path, "%s/socket", dir);
    mb_snprintf(file, sizeof file, "%s/file", dir);
    struct mb_error e;

    assert_int_equal(mb_unix_connect(path, &e), MB_EREACH);
    assert_string_equal(e.code, "socket.connect");
    mode_t before = umask(077);
    int first = mb_unix_listen(path, 0660, &e);
    umask(before);
    assert_true(first >= 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    assert_int_equal(fcntl(first, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(fcntl(first, F_GETFL) & O_NONBLOCK, O_NONBLOCK);

    int second = mb_unix_listen(path, 0600, &e); /* takes the place of the first */
    assert_true(second >= 0);
    int client = mb_unix_connect(path, &e);
    assert_true(client >= 0);
    int server = accept4(second, NULL, NULL, SOCK_CLOEXEC);
    assert_true(server >= 0);
    assert_int_equal(accept4(first, NULL, NULL, SOCK_CLOEXEC), -1);

    int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(mb_unix_listen(file, 0600, &e), MB_EINVAL); /* a file is never removed */
    assert_int_equal(access(file, F_OK), 0);
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(mb_unix_listen(longer, 0600, &e), MB_EINVAL);
    assert_int_equal(mb_unix_connect(longer, &e), MB_EINVAL);
    assert_string_equal(e.code, "socket.path");

    close(first);
    close(second);
    close(client);
    close(server);
    unlink(path);
    unlink(file);
    rmdir(dir);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_timer_is_right_to_the_millisecond),
        TEST(test_timer_moved_and_cancelled),
        TEST(test_once_waits_no_longer_than_told),
        TEST(test_watch),
        TEST(test_signal),
        TEST(test_post_from_threads),
        TEST(test_run_and_stop),
        TEST(test_work_in_order),
        TEST(test_work_in_parallel),
        TEST(test_free_finishes_work_and_posts),
        TEST(test_child_talks_and_exits),
        TEST(test_child_has_nothing_it_was_not_given),
        TEST(test_child_directory_and_inherited_descriptors),
        TEST(test_child_signals_are_the_default),
        TEST(test_child_limits),
        TEST(test_child_cannot_be_run),
        TEST(test_child_group_is_killed),
        TEST(test_child_freed_while_it_runs),
        TEST(test_child_dies_with_its_parent),
        TEST(test_unix_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
