/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Resident memory of a real magicbizd: idle, and while 256 connections at once send what is too
 * large, each kind for a few seconds; a connection that is closed is made again.
 * bench_memory [FOLDER].
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon.h"

#define CONNECTIONS 256
#define FLOOD_S     4.0
#define PIECE       16384u

struct kind {
    const char *name;
    struct mb_bytes head;
    /* Sent over and over behind the head, at most `most` bytes of it: what is left of a body that
     * would be taken never comes. */
    const char *piece;
    size_t most;
};

struct flooder {
    int fd;
    size_t sent; /* of head and body together */
    bool done;   /* all that it sends is sent: it keeps the connection */
};

/* A chunk of PIECE bytes, with the pkt-lines of a certificate in it if lines. Owned. */
static char *chunk_of(bool lines)
{
    struct mb_buf out = {0};
    mb_buf_addf(&out, "%x\r\n", PIECE);
    for (size_t i = 0; i < PIECE / 64; i++)
        mb_buf_addf(&out, "%s%060zu", lines ? "0040" : "aaaa", i);
    mb_buf_add_text(&out, "\r\n");
    return mb_buf_take_text(&out);
}

#define HEAD(text) mb_bytes(text, sizeof(text) - 1)

static int connect_again(const struct daemon *d)
{
    int fd = daemon_connect(d);
    must(fcntl(fd, F_SETFL, O_NONBLOCK) == 0, "fcntl");
    return fd;
}

/* Send more; false if the connection is over. */
static bool flood(struct flooder *f, const struct kind *k)
{
    size_t head = k->head.len, piece = strlen(k->piece);
    while (!f->done) {
        size_t at = f->sent < head ? f->sent : (f->sent - head) % piece;
        const char *from = f->sent < head ? (const char *)k->head.data : k->piece;
        size_t left = (f->sent < head ? head : piece) - at;
        if (f->sent >= head && left > k->most - (f->sent - head))
            left = k->most - (f->sent - head);
        ssize_t n = left == 0 ? 0 : send(f->fd, from + at, left, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN;
        f->sent += (size_t)n;
        f->done = n == 0;
    }
    return true;
}

static void measure(const struct daemon *d, const struct kind *k)
{
    static struct flooder flooders[CONNECTIONS];
    static struct pollfd polls[CONNECTIONS];
    uint64_t made = 0, bytes = 0;
    char answer[4096];
    daemon_forget_peak(d);
    for (size_t i = 0; i < CONNECTIONS; i++)
        flooders[i] = (struct flooder){.fd = -1};
    for (double start = seconds(); seconds() - start < FLOOD_S;) {
        for (size_t i = 0; i < CONNECTIONS; i++) {
            if (flooders[i].fd < 0) {
                flooders[i] = (struct flooder){.fd = connect_again(d)};
                made++;
            }
            polls[i] = (struct pollfd){.fd = flooders[i].fd,
                                       .events = flooders[i].done ? POLLIN : POLLIN | POLLOUT};
        }
        must(poll(polls, CONNECTIONS, 100) >= 0, "poll");
        for (size_t i = 0; i < CONNECTIONS; i++) {
            struct flooder *f = &flooders[i];
            size_t before = f->sent;
            bool over =
                (polls[i].revents & POLLIN) != 0 && recv(f->fd, answer, sizeof answer, 0) <= 0;
            over = over || ((polls[i].revents & POLLOUT) != 0 && !flood(f, k));
            bytes += f->sent - before;
            if (over) {
                close(f->fd);
                f->fd = -1;
            }
        }
    }
    for (size_t i = 0; i < CONNECTIONS; i++)
        if (flooders[i].fd >= 0)
            close(flooders[i].fd);
    figure("MB", daemon_resident_peak(d), "resident_flood_%s", k->name);
    figure("MB", (double)bytes / 1e6, "resident_flood_%s_sent", k->name);
    figure("connections", (double)made, "resident_flood_%s_connections", k->name);
}

int main(int argc, char **argv)
{
    struct daemon d;
    char *text = chunk_of(false), *lines = chunk_of(true), body[160];
    const struct kind kinds[] = {
        {"of_declared_gigabytes",
         HEAD("POST /v1/commands HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"), text,
         100u << 20},
        {"of_endless_bodies",
         HEAD("POST /v1/commands HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), text,
         100u << 20},
        {"of_megabytes_that_never_end",
         HEAD("POST /v1/commands HTTP/1.1\r\nHost: x\r\nContent-Length: 1050000\r\n\r\n"), text,
         1040000},
        {"of_certificates",
         HEAD("POST /bench.git/git-receive-pack HTTP/1.1\r\nHost: x\r\n"
              "Content-Type: application/x-git-receive-pack-request\r\n"
              "Transfer-Encoding: chunked\r\n\r\n"
              "1c\r\n001cpush-cert\0report-status\n\r\n"),
         lines, 100u << 20},
    };
    daemon_found(&d, argc > 1 ? argv[1] : ".", "vcs");
    daemon_start(&d);
    must(mb_snprintf(body, sizeof body, "{\"name\":\"bench\",\"maintainers\":[\"%s\"]}",
                     d.fingerprint) == 0,
         "body");
    daemon_do(&d, "vcs.repo.create", body);
    sleep(2);
    figure("MB", daemon_resident(&d), "resident_idle");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        measure(&d, &kinds[i]);
    sleep(1);
    figure("MB", daemon_resident(&d), "resident_after_the_floods");
    daemon_do(&d, "vcs.repo.set", "{\"name\":\"bench\",\"title\":\"still here\"}");
    daemon_close(&d);
    free(text);
    free(lines);
    return 0;
}
