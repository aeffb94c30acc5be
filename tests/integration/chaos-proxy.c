/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * chaos-proxy CONTROL FROM TO LISTEN TARGET…: streams between Unix sockets, of which each LISTEN
 * leads replica FROM to replica TO, that can be held up. Lines of the FIFO CONTROL say how:
 *   delay MS   what is read from now on arrives so much later, each way
 *   cut A B    nothing moves from A to B any more, not even the end of a stream
 *   break      every stream ends
 *   heal       no delay, and nothing is cut
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define REPLICAS  16
#define LINKS     (REPLICAS * REPLICAS)
#define STREAMS   256
#define PIECE     65536
#define QUEUE_MAX (4u << 20)

struct piece {
    int64_t due_ms;
    size_t len, at;
    struct piece *next;
    char bytes[];
};
/* One way of a stream. */
struct way {
    unsigned from, to;
    struct piece *head, **tail;
    size_t queued;
    bool ended; /* its source has, and the queue is all there is */
};
struct stream {
    int fd[2];         /* of who dialled, and of whom it led to */
    struct way way[2]; /* way[i] reads fd[i] and writes fd[!i] */
    struct stream *next;
};
static struct link {
    unsigned from, to;
    int fd;
    const char *target;
} links[LINKS];
static size_t link_count, stream_count;
static struct stream *streams;
static bool cut[REPLICAS][REPLICAS];
static int64_t delay_ms;

static void die(const char *what)
{
    fprintf(stderr, "chaos-proxy: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static unsigned replica(const char *text)
{
    unsigned long n = strtoul(text, NULL, 10);
    if (n >= REPLICAS)
        die(text);
    return (unsigned)n;
}

static int unix_socket(const char *path, struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (fd < 0 || strlen(path) >= sizeof a->sun_path)
        die(path);
    memcpy(a->sun_path, path, strlen(path));
    return fd;
}

static void no_waiting(int fd)
{
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        die("fcntl");
}

static void stream_free(struct stream *s)
{
    for (int i = 0; i < 2; i++) {
        close(s->fd[i]);
        while (s->way[i].head != NULL) {
            struct piece *p = s->way[i].head;
            s->way[i].head = p->next;
            free(p);
        }
    }
    free(s);
    stream_count--;
}

static void break_all(void)
{
    while (streams != NULL) {
        struct stream *s = streams;
        streams = s->next;
        stream_free(s);
    }
}

static void take_in(const struct link *l)
{
    struct sockaddr_un a;
    int fd = accept(l->fd, NULL, NULL);
    if (fd < 0)
        return;
    int to = unix_socket(l->target, &a);
    if (stream_count == STREAMS || connect(to, (struct sockaddr *)&a, sizeof a) != 0) {
        close(fd);
        close(to);
        return;
    }
    no_waiting(fd);
    no_waiting(to);
    struct stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        die("calloc");
    s->fd[0] = fd;
    s->fd[1] = to;
    s->way[0].from = s->way[1].to = l->from;
    s->way[0].to = s->way[1].from = l->to;
    for (int i = 0; i < 2; i++)
        s->way[i].tail = &s->way[i].head;
    s->next = streams;
    streams = s;
    stream_count++;
}

static void control(int fd)
{
    static char text[4096];
    static size_t len;
    ssize_t n = read(fd, text + len, sizeof text - 1 - len);
    if (n <= 0)
        return;
    len += (size_t)n;
    for (char *end; (end = memchr(text, '\n', len)) != NULL;) {
        *end = 0;
        if (strncmp(text, "delay ", 6) == 0) {
            delay_ms = (int64_t)strtoul(text + 6, NULL, 10);
        } else if (strncmp(text, "cut ", 4) == 0 && strchr(text + 4, ' ') != NULL) {
            cut[replica(text + 4)][replica(strchr(text + 4, ' ') + 1)] = true;
        } else if (strcmp(text, "break") == 0) {
            break_all();
        } else if (strcmp(text, "heal") == 0) {
            delay_ms = 0;
            memset(cut, 0, sizeof cut);
        } else {
            die(text);
        }
        len -= (size_t)(end + 1 - text);
        memmove(text, end + 1, len);
    }
}

static bool is_cut(const struct way *w)
{
    return cut[w->from][w->to];
}

static void take(struct way *w, int fd)
{
    static char bytes[PIECE];
    ssize_t n = read(fd, bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        w->ended = true;
        return;
    }
    struct piece *p = malloc(sizeof *p + (size_t)n);
    if (p == NULL)
        die("malloc");
    *p = (struct piece){.due_ms = now_ms() + delay_ms, .len = (size_t)n};
    memcpy(p->bytes, bytes, (size_t)n);
    *w->tail = p;
    w->tail = &p->next;
    w->queued += p->len;
}

/* False: the stream is over. */
static bool give(struct way *w, int fd, int64_t now)
{
    while (w->head != NULL && w->head->due_ms <= now) {
        struct piece *p = w->head;
        ssize_t n = send(fd, p->bytes + p->at, p->len - p->at, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (n < 0)
            return false;
        p->at += (size_t)n;
        w->queued -= (size_t)n;
        if (p->at < p->len)
            continue;
        w->head = p->next;
        if (w->head == NULL)
            w->tail = &w->head;
        free(p);
    }
    return !w->ended || w->head != NULL;
}

static void give_all(int64_t now)
{
    for (struct stream **at = &streams; *at != NULL;) {
        struct stream *s = *at;
        bool alive = true;
        for (int i = 0; i < 2; i++)
            alive = (is_cut(&s->way[i]) || give(&s->way[i], s->fd[!i], now)) && alive;
        if (alive) {
            at = &s->next;
        } else {
            *at = s->next;
            stream_free(s);
        }
    }
}

/* What a descriptor is watched for; -1 where nothing may come of it, its end included. */
static size_t watch(struct pollfd *fds, int64_t now, int *wait_ms)
{
    size_t count = 0;
    for (size_t i = 0; i < link_count; i++)
        fds[count++] = (struct pollfd){.fd = links[i].fd, .events = POLLIN};
    for (struct stream *s = streams; s != NULL; s = s->next)
        for (int i = 0; i < 2; i++) {
            const struct way *in = &s->way[i], *out = &s->way[!i];
            struct pollfd *p = &fds[count++];
            *p = (struct pollfd){.fd = s->fd[i]};
            if (!is_cut(in) && !in->ended && in->queued < QUEUE_MAX)
                p->events |= POLLIN;
            if (!is_cut(out) && out->head != NULL) {
                int64_t left = out->head->due_ms - now;
                if (left <= 0)
                    p->events |= POLLOUT;
                else if (left < *wait_ms)
                    *wait_ms = (int)left;
            }
            if (p->events == 0)
                p->fd = -1;
        }
    return count;
}

int main(int argc, char **argv)
{
    static struct pollfd fds[1 + LINKS + 2 * STREAMS];
    if (argc < 6 || (argc - 2) % 4 != 0 || (argc - 2) / 4 > LINKS) {
        fprintf(stderr, "chaos-proxy CONTROL FROM TO LISTEN TARGET...\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int commands = open(argv[1], O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (commands < 0)
        die(argv[1]);
    for (int i = 2; i < argc; i += 4) {
        struct sockaddr_un a;
        struct link *l = &links[link_count++];
        *l = (struct link){.from = replica(argv[i]), .to = replica(argv[i + 1])};
        l->target = argv[i + 3];
        l->fd = unix_socket(argv[i + 2], &a);
        if (bind(l->fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(l->fd, 16) != 0)
            die(argv[i + 2]);
        no_waiting(l->fd);
    }
    for (;;) {
        int wait_ms = 1000;
        fds[0] = (struct pollfd){.fd = commands, .events = POLLIN};
        size_t count = 1 + watch(fds + 1, now_ms(), &wait_ms), next = 1 + link_count;
        if (poll(fds, count, wait_ms) < 0 && errno != EINTR)
            die("poll");
        for (struct stream *s = streams; s != NULL; s = s->next)
            for (int i = 0; i < 2; i++, next++)
                if ((fds[next].events & POLLIN) != 0 &&
                    (fds[next].revents & (POLLIN | POLLHUP | POLLERR)) != 0)
                    take(&s->way[i], s->fd[i]);
        give_all(now_ms());
        for (size_t i = 0; i < link_count; i++)
            if (fds[1 + i].revents != 0)
                take_in(&links[i]);
        if (fds[0].revents != 0)
            control(commands);
    }
}
