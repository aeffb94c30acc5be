/* SPDX-License-Identifier: GPL-3.0-or-later */
/* log and audit: the ledger as a text, and the ledger as a proof. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "loop/loop.h"

/* --- log --- */

struct printing {
    struct cli *cli;
    uint64_t next;
};

static void print_time(int64_t seconds)
{
    struct tm tm;
    time_t t = (time_t)seconds;
    char text[32];
    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
    fputs(text, stdout);
}

static void print_result_line(const struct mb_buf *text)
{
    json_t *r;
    if (mb_json_parse(&r, text->data, text->len, NULL) != 0)
        return;
    const json_t *e = json_object_get(r, "error");
    const char *id = mb_json_get_text(r, "id", mb_json_get_text(r, "cause", ""));
    printf("  %.16s %s %s", id, e == NULL ? "ok" : "refused",
           e == NULL ? "" : mb_json_get_text(e, "code", ""));
    json_t *value = e == NULL ? json_object_get(r, "result") : json_object_get(e, "args");
    char *more = mb_json_text(value != NULL ? value : json_object());
    putchar(' ');
    cli_print_text(more);
    putchar('\n');
    free(more);
    json_decref(r);
}

static void print_command(struct mb_bytes text)
{
    json_t *command;
    if (mb_json_parse(&command, text.data, text.len, NULL) != 0)
        return;
    printf("  %s by %s\n", mb_json_get_text(command, "type", "?"),
           mb_json_get_text(command, "key", "?"));
    json_decref(command);
}

static int on_block(void *arg, json_t *line, struct mb_error *error)
{
    struct printing *p = arg;
    struct mb_block block = {0};
    struct mb_public_key proposer;
    struct mb_header header;
    struct mb_value value = {0};
    p->next = (uint64_t)mb_json_get_int(line, "slot", 0) + 1;
    if (p->cli->json) {
        char *text = mb_json_text(line);
        puts(text);
        free(text);
        return 0;
    }
    if (p->next == 1) {
        printf("slot 0: genesis of %s, ", p->cli->org->genesis.name);
        print_time(p->cli->org->genesis.created);
        putchar('\n');
        return 0;
    }
    int rc = mb_block_from_json(&block, &proposer, line, error);
    if (rc == 0)
        rc = mb_header_decode(&header, mb_buf_bytes(&block.header), error);
    if (rc == 0)
        rc = mb_value_decode(&value, mb_buf_bytes(&block.value), error);
    if (rc == 0) {
        printf("slot %" PRIu64 ": %zu command%s, ", header.slot, value.count,
               value.count == 1 ? "" : "s");
        print_time(header.time);
        putchar('\n');
        for (size_t i = 0; i < value.count; i++)
            print_command(value.texts[i]);
        for (size_t i = 0; i < block.result_count; i++)
            print_result_line(&block.results[i]);
    }
    mb_value_clear(&value);
    mb_block_clear(&block);
    return rc;
}

static int show_log(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    struct printing p = {.cli = c};
    int64_t from, limit;
    bool follow = cli_option(c, "follow") != NULL;
    int rc = cli_option_int(c, "from", 0, 0, INT64_MAX, &from, error);
    if (rc == 0)
        rc = cli_option_int(c, "limit", 1000, 1, INT64_MAX, &limit, error);
    if (rc == 0)
        rc = cli_open_org(c, &o, error);
    if (rc == 0 && !follow)
        cli_page(c);
    p.next = (uint64_t)from;
    while (rc == 0) {
        char *path = mb_asprintf("/v1/blocks?from=%" PRIu64 "&limit=%" PRId64, p.next, limit);
        rc = cli_get_lines(o, path, on_block, &p, error);
        free(path);
        if (!follow)
            break;
        fflush(stdout);
        sleep(5);
    }
    return rc;
}

const struct cli_command cmd_log = {
    .name = "log",
    .args = "",
    .summary = "print blocks and commands; with --json one line a block",
    .help = "The lines are what the organisation's replica says; magicbiz audit --full proves\n"
            "them.\n\n"
            "    magicbiz log --from 100 --follow",
    .options = (const struct cli_option[]){{"from", "SLOT", "begin here (0)"},
                                           {"limit", "N", "so many blocks (1000)"},
                                           {"follow", NULL, "go on as blocks come"},
                                           {NULL, NULL, NULL}},
    .run = show_log,
};

/* --- audit --- */

static int add_evidence(void *arg, const char *key, const json_t *value)
{
    json_t *list = arg;
    json_t *item = json_pack("{s:s, s:I, s:I}", "replica", strrchr(key, '/') + 1, "number",
                             (json_int_t)mb_json_get_int(value, "number", 0), "slot",
                             (json_int_t)mb_json_get_int(value, "slot", 0));
    json_array_append_new(list, item);
    return 0;
}

static void print_audit(struct cli *c, const struct mb_audit_stats *s, uint64_t slot,
                        size_t handovers, const json_t *diverged)
{
    const json_t *one;
    size_t i;
    if (c->json)
        cli_print_json(json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "holds", 1,
                                 "slot", (json_int_t)slot, "blocks", (json_int_t)s->blocks,
                                 "commands", (json_int_t)s->envelopes, "admissible",
                                 (json_int_t)s->admissible, "internal", (json_int_t)s->internal,
                                 "checkpoints", (json_int_t)s->checkpoints, "checkpoint_slots",
                                 (json_int_t)s->checkpoint_slots, "handovers",
                                 (json_int_t)handovers, "diverged", diverged));
    else
        printf("everything holds up to slot %" PRIu64 ": %" PRIu64 " blocks, %" PRIu64
               " commands, %" PRIu64 " internal, %" PRIu64
               " checkpoint slots; the newest and %zu handovers with their signatures\n",
               slot, s->blocks, s->envelopes, s->internal, s->checkpoint_slots, handovers);
    json_array_foreach(diverged, i, one) if (!c->json)
        printf("replica %" PRId64 " (%s) signed a header for slot %" PRId64
               " that is not the ledger's: remove it\n",
               mb_json_get_int(one, "number", 0), mb_json_get_text(one, "replica", ""),
               mb_json_get_int(one, "slot", 0));
}

/* Every handover up to the newest checkpoint is shown, and signed by those before it. */
static int audit_handovers(struct mb_audit *audit, struct cli_org *o, struct mb_error *error)
{
    size_t count, done = 0;
    const uint64_t *slots = mb_audit_handovers(audit, &count);
    int rc = 0;
    while (rc == 0 && done < count) {
        char *path = mb_asprintf("/v1/handovers?from=%zu", done + 2);
        json_t *answer = NULL, *item;
        size_t i;
        rc = cli_get(o, path, &answer, error);
        const json_t *list = json_object_get(answer, "handovers");
        if (rc == 0 && json_array_size(list) == 0)
            rc = mb_fail(error, MB_EPROOF, "audit.checkpoint",
                         "slot %" PRIu64 ": the handover's checkpoint is not shown", slots[done]);
        json_array_foreach(list, i, item)
        {
            const json_t *checkpoint = json_object_get(item, "checkpoint");
            if (rc != 0 || done == count)
                break;
            if (mb_json_get_int(checkpoint, "slot", -1) != (int64_t)slots[done])
                rc = mb_fail(error, MB_EPROOF, "audit.checkpoint",
                             "slot %" PRIu64 ": another handover is shown instead", slots[done]);
            else
                rc = mb_audit_checkpoint(audit, checkpoint, error);
            done++;
        }
        json_decref(answer);
        free(path);
    }
    return rc;
}

static int audit_all(struct cli *c, struct cli_org *o, const struct mb_modules *modules,
                     struct mb_error *error)
{
    struct mb_memory *memory = mb_memory_new();
    struct mb_audit *audit;
    int rc = mb_audit_new(&audit, mb_memory_backend(memory), modules->logics, modules->count,
                          &o->pin.org, mb_buf_bytes(&o->genesis_text), error);
    if (rc == 0)
        rc = cli_replay(o, audit, NULL, error);
    if (rc == 0)
        rc = audit_handovers(audit, o, error);
    if (rc == 0)
        rc = mb_audit_checkpoint(audit, json_object_get(o->summary, "checkpoint"), error);
    if (rc == 0)
        rc = mb_audit_pin(audit, o->pin.slot, &o->pin.header_hash, error);
    if (rc == 0) {
        struct mb_audit_stats stats = mb_audit_stats(audit);
        size_t handovers;
        mb_audit_handovers(audit, &handovers);
        json_t *diverged = json_array();
        mb_tx_scan(mb_ledger_reader(mb_audit_ledger(audit)), "org/attest/", "", add_evidence,
                   diverged);
        print_audit(c, &stats, o->newest.slot, handovers, diverged);
        json_decref(diverged);
    }
    mb_audit_free(audit);
    mb_memory_free(memory);
    return rc;
}

static int audit(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    struct mb_modules modules = {0};
    int rc = cli_open_org(c, &o, error);
    if (rc == 0 && cli_option(c, "full") == NULL) {
        if (c->json)
            cli_print_json(
                json_pack("{s:b, s:I}", "holds", 1, "checkpoint", (json_int_t)o->newest.slot));
        else
            printf("the newest checkpoint (slot %" PRIu64
                   ") is signed by a majority and consistent with all that was seen here; --full "
                   "replays the whole ledger\n",
                   o->newest.slot);
        return 0;
    }
    if (rc == 0)
        rc = cli_load_modules(o, &modules, error);
    return rc == 0 ? audit_all(c, o, &modules, error) : rc;
}

const struct cli_command cmd_audit = {
    .name = "audit",
    .args = "",
    .summary = "check the organisation's ledger; --full replays all of it",
    .help = "With --full it fetches every block, replays it with the deterministic half of the\n"
            "modules, and checks every id, signature, result, root, the history, the handovers\n"
            "from replicas to replicas, the newest checkpoint and the pin, and tells of replicas\n"
            "that are on the record for having signed another history. It prints the first "
            "thing that does not hold, and exits\n"
            "with status 4.\n\n"
            "    magicbiz audit --full",
    .options =
        (const struct cli_option[]){{"full", NULL, "replay the whole ledger"}, {NULL, NULL, NULL}},
    .run = audit,
};
