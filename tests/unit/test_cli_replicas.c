/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A client before replicas that come and go: what it asks for, believes, and keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/chain.h"
#include "cli/cli.h"
#include "loop/loop.h"

#define PAGE 2 /* handovers in an answer */

static struct chain chain;
static char folder[] = "/tmp/magicbiz-test-XXXXXX";

/* --- What the organisation answers. --- */

static struct {
    size_t shown;    /* handovers that it shows */
    int asked;       /* how often it was asked for some */
    json_t *instead; /* of the last one, or NULL */
} server;

static json_t *path_json(const struct mb_hash *path, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        char hex[MB_HASH_HEX_SIZE];
        mb_hash_hex(&path[i], hex);
        json_array_append_new(list, json_string(hex));
    }
    return list;
}

static json_t *consistency(uint64_t from, uint64_t to)
{
    struct mb_backend b = mb_memory_backend(chain.memory);
    struct mb_history_source source = {.self = b.self, .get = b.ops->history_get};
    struct mb_hash inclusion[MB_HISTORY_PATH_MAX], path[MB_HISTORY_PATH_MAX];
    size_t inclusion_count = 0, path_count = 0;
    assert_int_equal(mb_history_prove_inclusion(&source, from, to, inclusion, &inclusion_count), 0);
    if (from > 0)
        assert_int_equal(mb_history_prove_consistency(&source, from, to, path, &path_count), 0);
    return json_pack("{s:O, s:o, s:o}", "header",
                     json_object_get(json_array_get(chain.lines, from), "header"), "inclusion",
                     path_json(inclusion, inclusion_count), "path", path_json(path, path_count));
}

static json_t *handovers(uint64_t version)
{
    json_t *list = json_array();
    server.asked++;
    for (size_t i = (size_t)version - 2; i < server.shown && json_array_size(list) < PAGE; i++)
        json_array_append(list, i + 1 == server.shown && server.instead
                                    ? server.instead
                                    : json_array_get(chain.handovers, i));
    return json_pack("{s:o}", "handovers", list);
}

int cli_get(struct cli_org *o, const char *path, json_t **out, struct mb_error *error)
{
    static const char page[] = "/v1/handovers?from=", proof[] = "/v1/consistency?from=";
    char *end;
    (void)o;
    *out = NULL;
    if (strncmp(path, page, strlen(page)) == 0) {
        *out = handovers(strtoull(path + strlen(page), NULL, 10));
    } else if (strncmp(path, proof, strlen(proof)) == 0) {
        uint64_t from = strtoull(path + strlen(proof), &end, 10);
        *out = consistency(from, strtoull(end + strlen("&to="), NULL, 10));
    }
    return *out ? 0 : mb_fail(error, MB_ENOENT, "http.unknown", "%s", path);
}

void cli_escape(struct mb_buf *out, const char *text)
{
    mb_buf_add_text(out, text);
}

/* --- The client. --- */

struct client {
    struct cli cli;
    struct cli_org org;
};

/* pinned at slot 0 */
static void open_client(struct client *c)
{
    struct mb_header h;
    struct mb_buf bytes = {0};
    const char *hex = mb_json_get_text(json_array_get(chain.lines, 0), "header", "");
    memset(c, 0, sizeof *c);
    c->cli.state_dir = folder;
    c->org.cli = &c->cli;
    c->org.pin.org = chain.org;
    mb_buf_reserve(&bytes, MB_HEADER_MAX);
    assert_int_equal(mb_hex_decode(bytes.data, strlen(hex) / 2, hex, strlen(hex)), 0);
    bytes.len = strlen(hex) / 2;
    assert_int_equal(mb_header_decode(&h, mb_buf_bytes(&bytes), NULL), 0);
    c->org.pin.header_hash = mb_header_hash(&h);
    mb_buf_clear(&bytes);
    assert_int_equal(mb_genesis_parse(&c->org.genesis, mb_buf_bytes(&chain.o.genesis), NULL), 0);
    c->org.seen = (struct cli_seen){0, c->org.pin.header_hash};
    cli_configs_begin(&c->org);
}

static void close_client(struct client *c)
{
    mb_genesis_clear(&c->org.genesis);
    free(c->org.configs);
    json_decref(c->org.walked);
}

/* A new client looks at the newest checkpoint, signed by who; "" is that it holds. */
static void expect(unsigned who, const char *code)
{
    struct client c;
    struct mb_header h;
    struct mb_error error = {0};
    json_t *checkpoint = chain_checkpoint(&chain, who);
    open_client(&c);
    int rc = cli_verify_checkpoint(&c.org, checkpoint, &h, &error);
    assert_string_equal(rc == 0 ? "" : error.code, code);
    close_client(&c);
    json_decref(checkpoint);
}

static char *kept_path(void)
{
    char hex[MB_HASH_HEX_SIZE];
    mb_hash_hex(&chain.org, hex);
    return mb_asprintf("%s/%s.replicas", folder, hex);
}

static int set_up(void **state)
{
    char *path = kept_path();
    (void)state;
    (void)unlink(path);
    free(path);
    server.shown = CHAIN_CHANGES;
    server.asked = 0;
    server.instead = NULL;
    return 0;
}

static void handovers_are_walked_once(void **state)
{
    (void)state;
    expect(0x1e, "");
    assert_int_equal(server.asked, 4); /* 2, 2, 2, none */
    expect(0x0e, "");
    assert_int_equal(server.asked, 4);
    /* What was kept is no use when it is damaged. */
    char *path = kept_path();
    assert_int_equal(mb_write_file(path, mb_bytes_of("[{}"), 0600, NULL), 0);
    expect(0x0e, "");
    assert_int_equal(server.asked, 8);
    /* Newer ones are asked for alone. */
    struct mb_buf text = {0};
    json_t *list;
    assert_int_equal(mb_read_file(path, 1 << 20, &text, NULL), 0);
    assert_int_equal(mb_json_parse(&list, text.data, text.len, NULL), 0);
    assert_int_equal(json_array_size(list), CHAIN_CHANGES);
    json_array_remove(list, 4); /* with a gap, what comes after is dropped */
    char *gap = mb_json_text(list);
    assert_int_equal(mb_write_file(path, mb_bytes_of(gap), 0600, NULL), 0);
    expect(0x1e, "");
    assert_int_equal(server.asked, 10); /* 6 and 7, none */
    json_decref(list);
    free(gap);
    free(path);
    mb_buf_clear(&text);
}

static void those_in_force_for_the_slot_sign(void **state)
{
    (void)state;
    /* Slot 384 is the last of 2, 3, 4, 5: three of them are needed. */
    expect(0x06, "checkpoint.unsigned");
    expect(0x21, "checkpoint.unsigned");
    expect(0x1c, "");
}

static void a_handover_that_is_hidden_or_false_is_seen(void **state)
{
    (void)state;
    server.shown = CHAIN_CHANGES - 1;
    expect(0x1e, "handover.missing");
    server.shown = 0;
    expect(0x1e, "handover.missing");
    /* By fewer than a majority of those before. */
    server.shown = CHAIN_CHANGES;
    server.instead = json_deep_copy(json_array_get(chain.handovers, CHAIN_CHANGES - 1));
    json_t *signatures =
        json_object_get(json_object_get(server.instead, "checkpoint"), "signatures");
    json_array_remove(signatures, 0);
    json_array_remove(signatures, 0);
    expect(0x1e, "checkpoint.unsigned");
    json_decref(server.instead);
    server.instead = json_integer(1);
    expect(0x1e, "handover.invalid");
    json_decref(server.instead);
    server.instead = NULL;
    /* None of it was kept: an honest answer is believed after all. */
    char *path = kept_path();
    assert_int_not_equal(access(path, F_OK), 0);
    free(path);
    expect(0x1e, "");
}

/* Replicas 2 and 3, who were a majority once, make a history of their own from there on. */
static void a_majority_of_the_past_is_none(void **state)
{
    struct client c;
    struct mb_error error = {0};
    struct mb_header h;
    (void)state;
    chain_block(&chain, NULL, 0);
    while (mb_ledger_tip(chain.o.ledger)->checkpoint_slot !=
           mb_ledger_tip(chain.o.ledger)->header.slot)
        chain_block(&chain, NULL, 0);
    expect(0x06, "checkpoint.unsigned"); /* of 2, 4 and 5 */
    expect(0x07, "checkpoint.unsigned");
    expect(0x0a, "");
    /* While a client is at work the replicas may change: it asks again by itself. */
    open_client(&c);
    c.org.config_count = 3;
    json_t *checkpoint = chain_checkpoint(&chain, 0x1a);
    while (json_array_size(c.org.walked) > 2)
        json_array_remove(c.org.walked, 2);
    assert_int_equal(cli_verify_checkpoint(&c.org, checkpoint, &h, &error), 0);
    assert_int_equal(cli_config_for(&c.org, h.slot)->version, CHAIN_CHANGES + 1);
    assert_int_equal(cli_config_for(&c.org, 0)->version, 1);
    assert_int_equal(cli_config_for(&c.org, 64)->version, 1);
    assert_int_equal(cli_config_for(&c.org, 65)->version, 2);
    json_decref(checkpoint);
    close_client(&c);
}

static int found(void **state)
{
    (void)state;
    chain_found(&chain, mb_clock_s());
    return mkdtemp(folder) ? 0 : -1;
}

static int end(void **state)
{
    char hex[MB_HASH_HEX_SIZE];
    (void)state;
    mb_hash_hex(&chain.org, hex);
    char *seen = mb_asprintf("%s/%s", folder, hex), *kept = kept_path();
    (void)unlink(seen);
    (void)unlink(kept);
    free(seen);
    free(kept);
    chain_clear(&chain);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(handovers_are_walked_once, set_up),
        cmocka_unit_test_setup(those_in_force_for_the_slot_sign, set_up),
        cmocka_unit_test_setup(a_handover_that_is_hidden_or_false_is_seen, set_up),
        cmocka_unit_test_setup(a_majority_of_the_past_is_none, set_up),
    };
    return cmocka_run_group_tests(tests, found, end);
}
