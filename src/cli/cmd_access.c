/* SPDX-License-Identifier: GPL-3.0-or-later */
/* access check, queue, submit: machines and doors that have no network most of the time. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli/access.h"
#include "cli/cli.h"
#include "cli/show.h"
#include "host/host.h"
#include "loop/loop.h"

#define MAX_AGE_S 86400

/* --- access check --- */

/* Read the extract that --extract names, for the pin, and refuse one that is too old. */
static int open_extract(struct cli *c, struct mb_pin *pin, struct access_extract *e,
                        struct mb_error *error)
{
    struct mb_buf text = {0};
    int64_t max_age = MAX_AGE_S;
    int rc = cli_option_int(c, "max-age", MAX_AGE_S, 1, MB_COMMAND_LIFE_S, &max_age, error);
    if (rc == 0)
        rc = cli_need(c, "extract", error);
    if (rc == 0)
        rc = cli_choose_pin(c, pin, error);
    if (rc == 0)
        rc = mb_read_file(cli_option(c, "extract"), ACCESS_EXTRACT_MAX, &text, error);
    if (rc == 0)
        rc = access_extract_read(e, mb_buf_bytes(&text), &pin->org, error);
    if (rc == 0)
        rc = access_extract_fresh(e, mb_clock_s(), max_age, error);
    mb_buf_clear(&text);
    return rc;
}

static int check_assets(struct cli *c, const struct access_extract *e, struct mb_error *error)
{
    const char *asset, *fingerprint = cli_option(c, "key");
    int rc = 0;
    for (size_t i = 0; rc == 0 && (asset = cli_option_at(c, "asset", i)) != NULL; i++) {
        char *key = mb_asprintf("books/balance/%s/key/%s", asset, fingerprint);
        int64_t has;
        rc = access_extract_get(e, key, &has, error);
        if (rc >= 0 && (rc == 0 || has <= 0))
            rc = mb_fail(error, MB_EREFUSED, "access.denied", "no: %s holds no %s", fingerprint,
                         asset);
        else if (rc == 1)
            rc = 0;
        free(key);
    }
    return rc;
}

static int access_check(struct cli *c, struct mb_error *error)
{
    struct mb_pin pin = {0};
    struct access_extract e = {0};
    int rc = cli_need(c, "asset", error);
    if (rc == 0)
        rc = cli_need(c, "key", error);
    if (rc == 0)
        rc = open_extract(c, &pin, &e, error);
    if (rc == 0)
        rc = check_assets(c, &e, error);
    int64_t age = mb_clock_s() - e.oldest;
    if (rc == 0 && c->json)
        cli_print_json(json_pack("{s:b, s:I}", "allowed", 1, "age_s", (json_int_t)age));
    else if (rc == 0)
        printf("yes, as of %" PRId64 " s ago\n", age);
    access_extract_clear(&e);
    mb_pin_clear(&pin);
    return rc;
}

#define EXTRACT_OPTIONS                                                                            \
    {"extract", "FILE", "what access extract wrote"},                                              \
    {                                                                                              \
        "max-age", "SECONDS", "refuse an older extract (86400; up to 604800)"                      \
    }

const struct cli_command cmd_access_check = {
    .name = "access check",
    .args = "",
    .summary = "decide without a network whether a key may come in",
    .help = "Exit status 0: the key holds some of each asset named, as the extract proves. 1: it\n"
            "does not, or the file is no extract. 4: the extract is false, or too old. It asks\n"
            "nobody and writes nothing.\n"
            "That the person at the door has the key, the door must find out itself.\n\n"
            "    magicbiz access check --extract laser.extract --asset cert-laser --key SHA256:...",
    .options =
        (const struct cli_option[]){EXTRACT_OPTIONS,
                                    {"asset", "NAME", "an asset; may be given more than once"},
                                    {"key", "FINGERPRINT", "the first fingerprint of who asks"},
                                    {NULL, NULL, NULL}},
    .run = access_check,
};

/* --- access queue --- */

/* Held until the process closes it. */
static int lock_queue(const char *queue, struct mb_error *error)
{
    char *path = mb_asprintf("%s.lock", queue);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) != 0) {
        mb_fail(error, MB_EIO, "access.lock", "%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    free(path);
    return fd;
}

/* The whole queue; where there is no file it is empty. */
static int read_queue(const char *queue, struct mb_buf *text, struct mb_error *error)
{
    struct mb_bytes rest, line;
    int rc = 0;
    if (access(queue, F_OK) != 0)
        return 0;
    rc = mb_read_file(queue, ACCESS_QUEUE_MAX, text, error);
    rest = mb_buf_bytes(text);
    while (rc == 0 && (rc = access_queue_next(&rest, &line, NULL, error)) == 1)
        rc = 0;
    return rc;
}

/* Written beside it, synced, and put in its place: there is never half a command. */
static int append(const char *queue, struct mb_bytes line, struct mb_error *error)
{
    struct mb_buf text = {0};
    int lock = lock_queue(queue, error);
    int rc = lock < 0 ? MB_EIO : read_queue(queue, &text, error);
    mb_buf_add_bytes(&text, line);
    if (rc == 0 && text.len > ACCESS_QUEUE_MAX)
        rc = mb_fail(error, MB_ELIMIT, "access.queue_full",
                     "%s: %u bytes are the most: magicbiz access submit empties it", queue,
                     ACCESS_QUEUE_MAX);
    if (rc == 0)
        rc = mb_write_file(queue, mb_buf_bytes(&text), 0600, error);
    mb_buf_clear(&text);
    if (lock >= 0)
        close(lock);
    return rc;
}

/* An issue of 1 to the key; the memo says when it was, by this clock. */
static json_t *event_body(const struct cli *c)
{
    const char *asset = cli_option(c, "asset"), *memo = cli_option(c, "memo");
    char *issue = mb_asprintf("issue/%s", asset),
         *who = mb_asprintf("key/%s", cli_option(c, "key"));
    struct mb_buf text = {0};
    show_time(&text, mb_clock_s());
    if (memo != NULL)
        mb_buf_addf(&text, " %s", memo);
    json_t *body = json_pack("{s:[{s:s, s:i, s:s}, {s:s, s:i, s:s}], s:s}", "entries", "account",
                             issue, "amount", -1, "asset", asset, "account", who, "amount", 1,
                             "asset", asset, "memo", mb_buf_text(&text));
    mb_buf_clear(&text);
    free(issue);
    free(who);
    return body;
}

/* It may wait as long as any command: a week from the newest time that is known of the ledger. */
static int sign_event(struct cli *c, const struct mb_pin *pin, const struct access_extract *e,
                      unsigned work, struct mb_envelope *envelope, struct mb_error *error)
{
    struct cli_identity id = {0};
    char org[MB_HASH_HEX_SIZE];
    uint8_t nonce[16];
    int64_t expires = (e->newest + MB_COMMAND_LIFE_S) / 3600 * 3600;
    int rc = cli_identity(c, &id, error);
    if (rc != 0)
        return rc;
    json_t *body = event_body(c);
    mb_hash_hex(&pin->org, org);
    mb_random(nonce, sizeof nonce);
    if (body == NULL)
        rc = mb_fail(error, MB_EINVAL, "access.text", "asset, key and memo are UTF-8");
    else
        mb_command_text_with_work(&envelope->text, org, id.fingerprint, "books.post", nonce,
                                  expires, body, work);
    if (rc == 0)
        rc = cli_sign(&id, MB_NAMESPACE_COMMAND, mb_buf_bytes(&envelope->text),
                      &envelope->signature, error);
    json_decref(body);
    cli_identity_clear(&id);
    return rc;
}

static void print_queued(const struct cli *c, const struct mb_envelope *e)
{
    struct mb_hash id = mb_sha256(e->text.data, e->text.len);
    char hex[MB_HASH_HEX_SIZE];
    mb_hash_hex(&id, hex);
    if (c->json)
        cli_print_json(json_pack("{s:s}", "id", hex));
    else
        printf("%s  queued\n", hex);
}

static int access_queue(struct cli *c, struct mb_error *error)
{
    static const char *const wanted[] = {"queue", "asset", "key"};
    struct mb_pin pin = {0};
    struct access_extract e = {0};
    struct mb_envelope envelope = {0};
    int64_t work = 0;
    int rc = cli_option_int(c, "work", 0, 0, 40, &work, error);
    for (size_t i = 0; rc == 0 && i < sizeof wanted / sizeof *wanted; i++)
        rc = cli_need(c, wanted[i], error);
    if (rc == 0)
        rc = open_extract(c, &pin, &e, error);
    if (rc == 0)
        rc = sign_event(c, &pin, &e, (unsigned)work, &envelope, error);
    if (rc == 0) {
        json_t *json = mb_envelope_json(&envelope);
        char *text = mb_json_text(json), *line = mb_asprintf("%s\n", text);
        rc = append(cli_option(c, "queue"), mb_bytes_of(line), error);
        free(line);
        free(text);
        json_decref(json);
    }
    if (rc == 0)
        print_queued(c, &envelope);
    mb_envelope_clear(&envelope);
    access_extract_clear(&e);
    mb_pin_clear(&pin);
    return rc;
}

const struct cli_command cmd_access_queue = {
    .name = "access queue",
    .args = "",
    .summary = "sign an access event and keep it until there is a network",
    .help = "The event is a books.post of 1 of an asset, issued to the key that came in. It is in\n"
            "the queue for good when this returns. It has to be submitted within a week of the\n"
            "extract's checkpoint: so long may a command wait.\n\n"
            "    magicbiz access queue --id laser --extract laser.extract --queue laser.queue \\\n"
            "        --asset visit-laser --key SHA256:...",
    .options =
        (const struct cli_option[]){
            EXTRACT_OPTIONS,
            {"queue", "FILE", "the queue, made if it is missing"},
            {"asset", "NAME", "the asset that counts such events"},
            {"key", "FINGERPRINT", "the first fingerprint of who came in"},
            {"memo", "TEXT", "what stands behind the time in its memo"},
            {"work", "BITS", "the organisation's work_bits, if it has some"},
            {NULL, NULL, NULL}},
    .run = access_queue,
};

/* --- access submit --- */

/* It is too late to send it; but it may have been taken in before, the answer being lost. */
static bool was_taken(struct cli_org *o, const struct mb_envelope *e)
{
    struct mb_hash id = mb_sha256(e->text.data, e->text.len);
    char hex[MB_HASH_HEX_SIZE];
    json_t *answer = NULL;
    mb_hash_hex(&id, hex);
    char *path = mb_asprintf("/v1/commands/%s", hex);
    bool taken = cli_get(o, path, &answer, NULL) == 0 && json_object_get(answer, "error") == NULL;
    json_decref(answer);
    free(path);
    return taken;
}

struct sent {
    size_t len; /* bytes from the queue's beginning that are decided */
    int64_t done, refused;
    struct mb_buf refusals; /* their lines */
};

static int send_all(struct cli_org *o, struct mb_bytes rest, struct sent *sent,
                    struct mb_error *error)
{
    struct mb_bytes line;
    struct mb_envelope e;
    int rc;
    while ((rc = access_queue_next(&rest, &line, &e, error)) == 1) {
        json_t *json = mb_envelope_json(&e), *result = NULL;
        struct mb_error why = {0};
        rc = cli_submit_envelope(o, json, &result, &why);
        if (rc == MB_EREFUSED && strcmp(why.code, "command.expired") == 0 && was_taken(o, &e))
            rc = 0;
        bool waits = rc == 0 && result != NULL && json_object_get(result, "slot") == NULL;
        if (waits) {
            rc = mb_fail(error, MB_EREACH, "access.waits",
                         "it was not applied yet: submit again; the command counts once");
        } else if (rc == MB_EREFUSED) {
            fprintf(stderr, "magicbiz: refused: %s\n", why.text);
            mb_buf_add_bytes(&sent->refusals, line);
            sent->refused++;
            rc = 0;
        } else if (rc == 0) {
            sent->done++;
        } else if (error != NULL) {
            *error = why;
        }
        json_decref(json);
        json_decref(result);
        mb_envelope_clear(&e);
        if (rc != 0)
            return rc;
        sent->len += line.len;
    }
    return rc;
}

/* The queue may have grown meanwhile, or another may have emptied it: only what was sent is taken
 * from its beginning. Refused commands are first kept beside it. */
static int settle(const char *queue, struct mb_bytes before, const struct sent *sent,
                  struct mb_error *error)
{
    struct mb_buf text = {0};
    int rc = 0, lock;
    if (sent->len == 0)
        return 0;
    if (sent->refused > 0) {
        char *path = mb_asprintf("%s.refused", queue);
        rc = append(path, mb_buf_bytes(&sent->refusals), error);
        free(path);
    }
    if (rc != 0 || (lock = lock_queue(queue, error)) < 0)
        return rc != 0 ? rc : MB_EIO;
    rc = read_queue(queue, &text, error);
    if (rc == 0 && text.len >= sent->len && memcmp(text.data, before.data, sent->len) == 0) {
        mb_buf_consume(&text, sent->len);
        rc = mb_write_file(queue, mb_buf_bytes(&text), 0600, error);
    }
    mb_buf_clear(&text);
    close(lock);
    return rc;
}

static int access_submit(struct cli *c, struct mb_error *error)
{
    const char *queue = cli_option(c, "queue");
    struct cli_org *o;
    struct mb_buf text = {0};
    struct sent sent = {0};
    int rc = cli_need(c, "queue", error);
    if (rc == 0)
        rc = read_queue(queue, &text, error);
    if (rc == 0 && text.len > 0)
        rc = cli_open_org(c, &o, error);
    if (rc == 0 && text.len > 0)
        rc = send_all(o, mb_buf_bytes(&text), &sent, error);
    int kept = settle(queue, mb_buf_bytes(&text), &sent, rc == 0 ? error : NULL);
    rc = rc == 0 ? kept : rc;
    if (c->json)
        cli_print_json(json_pack("{s:I, s:I}", "submitted", (json_int_t)sent.done, "refused",
                                 (json_int_t)sent.refused));
    else if (rc == 0 || sent.done > 0)
        printf("%" PRId64 " submitted, %" PRId64 " refused\n", sent.done, sent.refused);
    if (rc == 0 && sent.refused > 0)
        rc = mb_fail(error, MB_EREFUSED, "access.refused", "what was refused is in %s.refused",
                     queue);
    mb_buf_clear(&sent.refusals);
    mb_buf_clear(&text);
    return rc;
}

const struct cli_command cmd_access_submit = {
    .name = "access submit",
    .args = "",
    .summary = "send a queue of signed events, each counted once",
    .help = "The same bytes are sent however often it is tried, and the ledger takes an id once:\n"
            "so no event is lost, and none counts twice, whatever is interrupted. What the\n"
            "organisation refuses is kept in FILE.refused (exit status 1); what could not be\n"
            "reached stays in the queue (exit status 3).\n\n"
            "    magicbiz access submit --queue laser.queue",
    .options = (const struct cli_option[]){{"queue", "FILE", "the queue"}, {NULL, NULL, NULL}},
    .run = access_submit,
};
