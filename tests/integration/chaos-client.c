/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * chaos-client load HISTORY KEY ORG CLIENTS SOCKET…: until SIGTERM, each client sets one of a few
 * parameters to a value of its own after another, and sends the same envelope again, to the next
 * replica, until one has acknowledged it. At the end, HISTORY gets a line of JSON for each
 * command: {"id","name","value","start","end","slot","index"}; end 0 if nobody acknowledged it.
 *
 * chaos-client check HISTORY EVENTS LEDGER…: whether what clients saw can be true of the
 * ledgers, which are the answers of each replica to GET /v1/blocks from slot 1. EVENTS has a line
 * {"at","proposer","limit_ms"} for each leader killed: a block of another replica has to be
 * acknowledged within the limit. Other times are microseconds.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "host/config.h"
#include "ledger/command.h"

#define CLIENTS_MAX 64
#define SOCKETS_MAX 9
#define NAMES       8
#define ANSWER_S    4  /* for one answer; then the next replica is asked */
#define GRACE_S     60 /* for the last command, once the clients are to end */
#define PAUSE_US    5000
#define STAY        50 /* commands to one replica, if it answers */

static void die(const char *what)
{
    fprintf(stderr, "chaos-client: %s (%s)\n", what, strerror(errno));
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static json_t *json_of(const void *text, size_t len, const char *file)
{
    json_t *json;
    if (mb_json_parse(&json, text, len, NULL) != 0)
        die(file);
    return json;
}

/* --- Load. --- */

struct op {
    char id[MB_HASH_HEX_SIZE];
    unsigned name;
    int64_t value, start, end, slot, index;
};
struct client {
    pthread_t thread;
    unsigned number, replica, resent;
    int fd;
    struct op *ops;
    size_t count, cap;
};
static struct mb_secret_key founder;
static const char *org;
static char **sockets;
static unsigned socket_count;
static int64_t expires;
static atomic_bool ending, refused;
static atomic_int_least64_t ended_us;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&ended_us, now_us());
    atomic_store(&ending, true);
}

static void make_request(struct client *c, struct op *op, struct mb_buf *out)
{
    struct mb_envelope e = {0};
    uint8_t nonce[16] = {0};
    json_t *body = json_pack("{s:o, s:I}", "name", json_sprintf("chaos%u", op->name), "value",
                             (json_int_t)op->value);
    memcpy(nonce, &op->value, sizeof op->value);
    mb_command_make(&e, &founder, org, "org.param.set", nonce, expires, body, 0);
    json_decref(body);
    struct mb_hash id = mb_sha256(e.text.data, e.text.len);
    mb_hash_hex(&id, op->id);
    json_t *envelope = mb_envelope_json(&e);
    char *text = mb_json_text(envelope);
    mb_buf_addf(
        out,
        "POST /v1/commands?wait=%d HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\n\r\n%s",
        ANSWER_S - 1, strlen(text), text);
    free(text);
    json_decref(envelope);
    mb_envelope_clear(&e);
    (void)c;
}

static void leave(struct client *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->replica = (c->replica + 1) % socket_count;
}

static bool reach(struct client *c)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = ANSWER_S};
    const char *path = sockets[c->replica];
    if (c->fd >= 0)
        return true;
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || strlen(path) >= sizeof a.sun_path)
        die(path);
    memcpy(a.sun_path, path, strlen(path));
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return connect(c->fd, (struct sockaddr *)&a, sizeof a) == 0;
}

/* The status of the answer, and its body; 0: there was none. */
static unsigned ask(struct client *c, struct mb_bytes request, char *answer, size_t size,
                    const char **body)
{
    size_t len = 0;
    if (!reach(c) || send(c->fd, request.data, request.len, MSG_NOSIGNAL) != (ssize_t)request.len)
        return 0;
    for (;;) {
        ssize_t n = recv(c->fd, answer + len, size - 1 - len, 0);
        if (n <= 0)
            return 0;
        len += (size_t)n;
        answer[len] = 0;
        const char *end = strstr(answer, "\r\n\r\n"), *length = strstr(answer, "Content-Length: ");
        if (end == NULL || length == NULL || length > end)
            continue;
        *body = end + 4;
        if (strlen(*body) >= strtoul(length + 16, NULL, 10))
            return len < 12 ? 0 : (unsigned)strtoul(answer + 9, NULL, 10);
    }
}

static bool acknowledged(struct client *c, struct op *op, struct mb_bytes request)
{
    char answer[16384];
    const char *body;
    unsigned status = ask(c, request, answer, sizeof answer, &body);
    if (status == 0)
        return false;
    json_t *json = json_of(body, strlen(body), "an answer");
    op->slot = mb_json_get_int(json, "slot", 0);
    op->index = mb_json_get_int(json, "index", -1);
    bool ok = status == 200 && mb_json_get_flag(json, "ok", false);
    if (!ok && op->slot > 0) { /* a block has it, and says no */
        fprintf(stderr, "chaos-client: %s\n", body);
        atomic_store(&refused, true);
    }
    json_decref(json);
    return ok;
}

static void one(struct client *c)
{
    struct mb_buf request = {0};
    if (c->count == c->cap) {
        c->cap = 2 * c->cap + 1024;
        c->ops = mb_realloc(c->ops, c->cap * sizeof *c->ops);
    }
    struct op *op = &c->ops[c->count];
    *op = (struct op){.value = c->number * INT64_C(10000000) + (int64_t)c->count,
                      .name = (unsigned)((c->count * 7 + c->number * 3) % NAMES)};
    make_request(c, op, &request);
    if (c->count++ % STAY == STAY - 1)
        leave(c);
    op->start = now_us();
    while (!acknowledged(c, op, mb_buf_bytes(&request))) {
        leave(c);
        c->resent++;
        if (atomic_load(&ending) && now_us() > atomic_load(&ended_us) + GRACE_S * 1000000)
            goto out;
        usleep(20000);
    }
    op->end = now_us();
out:
    mb_buf_clear(&request);
}

static void *work(void *arg)
{
    while (!atomic_load(&ending)) {
        one(arg);
        usleep(PAUSE_US);
    }
    return NULL;
}

static void write_history(FILE *f, const struct client *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct op *o = &c->ops[i];
        fprintf(f,
                "{\"id\":\"%s\",\"name\":\"chaos%u\",\"value\":%" PRId64 ",\"start\":%" PRId64
                ",\"end\":%" PRId64 ",\"slot\":%" PRId64 ",\"index\":%" PRId64 "}\n",
                o->id, o->name, o->value, o->start, o->end, o->slot, o->index);
    }
}

static int load_main(int argc, char **argv)
{
    static struct client clients[CLIENTS_MAX];
    struct mb_buf pem = {0};
    unsigned long count = argc < 7 ? 0 : strtoul(argv[5], NULL, 10);
    if (count < 1 || count > CLIENTS_MAX || argc - 6 > SOCKETS_MAX)
        die("load HISTORY KEY ORG CLIENTS SOCKET...");
    FILE *f = fopen(argv[2], "w");
    if (f == NULL)
        die(argv[2]);
    if (mb_read_file(argv[3], 16384, &pem, NULL) != 0 ||
        mb_secret_key_parse(&founder, mb_buf_bytes(&pem), NULL) != 0)
        die(argv[3]);
    mb_buf_clear(&pem);
    org = argv[4];
    sockets = argv + 6;
    socket_count = (unsigned)(argc - 6);
    expires = (now_us() / 1000000 / 3600 + 24) * 3600;
    json_object_seed(0);
    signal(SIGTERM, on_signal);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    for (unsigned i = 0; i < count; i++) {
        clients[i] = (struct client){.number = i, .replica = i % socket_count, .fd = -1};
        if (pthread_create(&clients[i].thread, NULL, work, &clients[i]) != 0)
            die("pthread_create");
    }
    unsigned resent = 0;
    for (unsigned i = 0; i < count; i++) {
        pthread_join(clients[i].thread, NULL);
        write_history(f, &clients[i]);
        resent += clients[i].resent;
        free(clients[i].ops);
        if (clients[i].fd >= 0)
            close(clients[i].fd);
    }
    mb_secret_key_clear(&founder);
    if (fclose(f) != 0)
        die(argv[2]);
    printf("resent %u\n", resent);
    return atomic_load(&refused);
}

/* --- Check. --- */

struct place {
    char id[MB_HASH_HEX_SIZE];
    int64_t slot, index;
};
struct done { /* a command of the history that a block has */
    const char *id;
    struct place at;
    int64_t start, end;
};
struct ledger {
    json_t **blocks;
    size_t count;
};
static unsigned faults;

__attribute__((format(printf, 1, 2))) static void fault(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (faults++ < 20) {
        vprintf(format, args);
        printf("\n");
    }
    va_end(args);
}

static json_t **read_lines(const char *file, size_t *count)
{
    json_t **lines = NULL;
    size_t cap = 0, size = 0;
    char *line = NULL;
    ssize_t len;
    FILE *f = fopen(file, "r");
    if (f == NULL)
        die(file);
    *count = 0;
    while ((len = getline(&line, &size, f)) > 0) {
        if (*count == cap) {
            cap = 2 * cap + 1024;
            lines = mb_realloc(lines, cap * sizeof *lines);
        }
        lines[(*count)++] = json_of(line, (size_t)len - (line[len - 1] == '\n'), file);
    }
    free(line);
    fclose(f);
    return lines;
}

static void free_lines(json_t **lines, size_t count)
{
    for (size_t i = 0; i < count; i++)
        json_decref(lines[i]);
    free(lines);
}

static const char *proposer_of(const struct ledger *l, int64_t slot)
{
    return slot < 1 || (size_t)slot > l->count
               ? ""
               : mb_json_get_text(l->blocks[slot - 1], "proposer", "");
}

static void check_same(const struct ledger *a, const struct ledger *b, size_t number)
{
    if (a->count != b->count)
        fault("ledger %zu has %zu slots, the first one has %zu", number, b->count, a->count);
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (strcmp(mb_json_get_text(a->blocks[i], "header", "a"),
                   mb_json_get_text(b->blocks[i], "header", "b")) != 0)
            fault("ledger %zu has another header for slot %zu than the first one", number, i + 1);
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct place *)a)->id, ((const struct place *)b)->id);
}

static struct place *places_of(const struct ledger *l, size_t *count)
{
    struct place *places = NULL;
    size_t cap = 0;
    *count = 0;
    for (size_t i = 0; i < l->count; i++) {
        const json_t *results = json_object_get(l->blocks[i], "results"), *result;
        size_t k;
        if (mb_json_get_int(l->blocks[i], "slot", 0) != (int64_t)i + 1)
            fault("the ledger's line %zu is not of that slot", i + 1);
        json_array_foreach(results, k, result)
        {
            json_t *r = json_of(json_string_value(result), json_string_length(result), "result");
            if (*count == cap) {
                cap = 2 * cap + 1024;
                places = mb_realloc(places, cap * sizeof *places);
            }
            struct place *p = &places[*count];
            *p = (struct place){.slot = (int64_t)i + 1, .index = (int64_t)k};
            if (mb_json_get_flag(r, "ok", false) &&
                mb_snprintf(p->id, sizeof p->id, "%s", mb_json_get_text(r, "id", "")) == 0 &&
                p->id[0] != 0)
                ++*count;
            json_decref(r);
        }
    }
    if (*count > 0)
        qsort(places, *count, sizeof *places, by_id);
    for (size_t i = 1; i < *count; i++)
        if (strcmp(places[i].id, places[i - 1].id) == 0)
            fault("%s was carried out twice: in slots %" PRId64 " and %" PRId64, places[i].id,
                  places[i - 1].slot, places[i].slot);
    return places;
}

/* False: no block has it, and nobody was told that one has. */
static bool check_op(const json_t *op, const struct place *places, size_t count, struct done *out)
{
    struct place key;
    *out = (struct done){.id = mb_json_get_text(op, "id", ""),
                         .start = mb_json_get_int(op, "start", 0),
                         .end = mb_json_get_int(op, "end", 0)};
    mb_snprintf(key.id, sizeof key.id, "%s", out->id);
    const struct place *found =
        count == 0 ? NULL : bsearch(&key, places, count, sizeof *places, by_id);
    int64_t slot = mb_json_get_int(op, "slot", 0), index = mb_json_get_int(op, "index", 0);
    if (found == NULL) {
        if (out->end != 0)
            fault("%s was acknowledged for slot %" PRId64 ", and is lost", out->id, slot);
        return false;
    }
    out->at = *found;
    if (out->end != 0 && (found->slot != slot || found->index != index))
        fault("%s was acknowledged for slot %" PRId64 ".%" PRId64 ", and is in %" PRId64
              ".%" PRId64,
              out->id, slot, index, found->slot, found->index);
    return true;
}

static int by_start(const void *a, const void *b)
{
    int64_t x = ((const struct done *)a)->start, y = ((const struct done *)b)->start;
    return (x > y) - (x < y);
}

static int by_end(const void *a, const void *b)
{
    int64_t x = (*(struct done *const *)a)->end, y = (*(struct done *const *)b)->end;
    return (x > y) - (x < y);
}

static bool after(const struct place *a, const struct place *b)
{
    return a->slot > b->slot || (a->slot == b->slot && a->index > b->index);
}

/* Linearizable, and over all names at once: what was sent after an acknowledgement stands behind
 * what that was for. */
static void check_order(struct done *all, size_t count)
{
    struct done **ends = mb_calloc(count + 1, sizeof *ends);
    const struct done *newest = NULL;
    size_t acknowledged = 0, next = 0;
    for (size_t i = 0; i < count; i++)
        if (all[i].end != 0)
            ends[acknowledged++] = &all[i];
    qsort(ends, acknowledged, sizeof(struct done *), by_end);
    for (size_t i = 0; i < count; i++) {
        for (; next < acknowledged && ends[next]->end < all[i].start; next++)
            if (newest == NULL || after(&ends[next]->at, &newest->at))
                newest = ends[next];
        if (newest != NULL && !after(&all[i].at, &newest->at))
            fault("%s in slot %" PRId64 " was sent after %s in slot %" PRId64
                  " had been acknowledged",
                  all[i].id, all[i].at.slot, newest->id, newest->at.slot);
    }
    double latency = 0, pause = 0;
    for (size_t i = 0; i < acknowledged; i++) {
        double l = (double)(ends[i]->end - ends[i]->start) / 1e3;
        double p = i == 0 ? 0 : (double)(ends[i]->end - ends[i - 1]->end) / 1e3;
        latency = l > latency ? l : latency;
        pause = p > pause ? p : pause;
    }
    printf("acknowledged %zu, in the ledger without that %zu, longest wait %.0f ms, longest pause "
           "%.0f ms\n",
           acknowledged, count - acknowledged, latency, pause);
    free(ends);
}

static void check_failover(const json_t *event, const struct ledger *l, const struct done *all,
                           size_t count)
{
    int64_t at = mb_json_get_int(event, "at", 0), next = INT64_MAX;
    int64_t limit_ms = mb_json_get_int(event, "limit_ms", 0);
    const char *killed = mb_json_get_text(event, "proposer", "");
    for (size_t i = 0; i < count; i++)
        if (all[i].end > at && all[i].end < next &&
            strcmp(proposer_of(l, all[i].at.slot), killed) != 0)
            next = all[i].end;
    if (next == INT64_MAX) {
        fault("nothing was acknowledged after a leader had been killed");
        return;
    }
    int64_t took = (next - at) / 1000;
    printf("failover %" PRId64 " ms of %" PRId64 "\n", took, limit_ms);
    if (took > limit_ms)
        fault("that is over %" PRId64 " ms", limit_ms);
}

static int check_main(int argc, char **argv)
{
    struct ledger ledgers[SOCKETS_MAX] = {0};
    size_t ledger_count = argc < 5 ? 0 : (size_t)argc - 4, op_count, event_count, place_count;
    if (ledger_count < 1 || ledger_count > SOCKETS_MAX)
        die("check HISTORY EVENTS LEDGER...");
    for (size_t i = 0; i < ledger_count; i++) {
        ledgers[i].blocks = read_lines(argv[4 + i], &ledgers[i].count);
        check_same(&ledgers[0], &ledgers[i], i + 1);
    }
    json_t **ops = read_lines(argv[2], &op_count), **events = read_lines(argv[3], &event_count);
    struct place *places = places_of(&ledgers[0], &place_count);
    struct done *all = mb_calloc(op_count + 1, sizeof *all);
    size_t count = 0;
    for (size_t i = 0; i < op_count; i++)
        count += check_op(ops[i], places, place_count, &all[count]);
    if (op_count == 0)
        fault("there is no history");
    qsort(all, count, sizeof *all, by_start);
    check_order(all, count);
    for (size_t i = 0; i < event_count; i++)
        check_failover(events[i], &ledgers[0], all, count);
    printf("%u faults\n", faults);
    free(all);
    free(places);
    free_lines(ops, op_count);
    free_lines(events, event_count);
    for (size_t i = 0; i < ledger_count; i++)
        free_lines(ledgers[i].blocks, ledgers[i].count);
    return faults > 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "load") == 0)
        return load_main(argc, argv);
    if (argc > 1 && strcmp(argv[1], "check") == 0)
        return check_main(argc, argv);
    die("load or check");
}
