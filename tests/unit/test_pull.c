/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Lines of GET /v1/blocks, checked on threads: what is not so is found, whoever is first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../support/chain.h"
#include "daemon/pull.h"

#define BLOCKS 40

static struct chain chain;

static int set_up(void **state)
{
    (void)state;
    chain_found(&chain, ORG_CREATED);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    chain_clear(&chain);
    return 0;
}

/* The lines of slots 1 to BLOCKS through the checkers; that of slot `other` is text instead. */
static int check(struct pull *p, uint64_t other, const char *text)
{
    struct mb_membership config;
    int given = 0;
    *p = (struct pull){.org = chain.org, .batch = BLOCKS};
    assert_int_equal(mb_ledger_config_at(chain.o.ledger, 1, &config), 1);
    pull_add_config(p, &config);
    p->blocks = mb_calloc(BLOCKS, sizeof *p->blocks);
    struct checkers *c = checkers_start(p);
    for (size_t i = 0; i < BLOCKS && given == 0; i++) {
        char *line =
            i + 1 == other ? mb_strdup(text) : mb_json_text(json_array_get(chain.lines, i + 1));
        mb_buf_add_text(&p->blocks[p->block_count++].line, line);
        given = checkers_give(c, &p->error);
        free(line);
    }
    int rc = checkers_end(c, &p->error);
    if (given != 0)
        assert_int_equal(rc, given);
    return rc;
}

static void clear(struct pull *p)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        for (size_t k = 0; k < p->blocks[i].count; k++)
            mb_checked_free(p->blocks[i].checked[k]);
        free(p->blocks[i].checked);
        mb_buf_clear(&p->blocks[i].line);
        mb_block_clear(&p->blocks[i].block);
    }
    free(p->blocks);
    free(p->configs);
}

static void true_blocks_are_taken(void **state)
{
    struct pull p;
    size_t commands = 0;
    (void)state;
    assert_int_equal(check(&p, 0, NULL), 0);
    for (size_t i = 0; i < BLOCKS; i++) {
        assert_true(p.blocks[i].block.header.len > 0);
        assert_true(p.blocks[i].time > 0);
        assert_int_equal(p.blocks[i].time, p.blocks[i].header_time);
        for (size_t k = 0; k < p.blocks[i].count; k++)
            assert_int_equal(p.blocks[i].checked[k]->verdict, 0);
        commands += p.blocks[i].count;
    }
    assert_true(commands > 0);
    clear(&p);
}

/* The line of a slot, with one character of a field's text another. */
static char *changed(uint64_t slot, const char *name, size_t at)
{
    json_t *line = json_deep_copy(json_array_get(chain.lines, slot));
    char *text = mb_strdup(json_string_value(json_object_get(line, name)));
    assert_true(at < strlen(text));
    text[at] = text[at] == '0' ? '1' : '0';
    json_object_set_new(line, name, json_string(text));
    free(text);
    text = mb_json_text(line);
    json_decref(line);
    return text;
}

static void refused(uint64_t slot, char *line_take, const char *code)
{
    struct pull p;
    assert_true(check(&p, slot, line_take) < 0);
    assert_string_equal(p.error.code, code);
    clear(&p);
    free(line_take);
}

/* The first slot with a command. */
static uint64_t with_command(void)
{
    for (uint64_t slot = 1; slot <= BLOCKS; slot++)
        if (json_array_size(json_object_get(json_array_get(chain.lines, slot), "envelopes")) > 0)
            return slot;
    fail();
    return 0;
}

static void false_ones_are_not(void **state)
{
    (void)state;
    refused(7, mb_strdup("no JSON"), "json.invalid");
    refused(7, mb_strdup("{}"), "block.invalid");
    refused(7, mb_json_text(json_array_get(chain.lines, 8)), "value.invalid");
    refused(7, changed(7, "signature", 130), "value.invalid"); /* of the proposer */
    refused(7, changed(7, "head", 2 * 51), "value.invalid");   /* the time, which is signed */
    refused(7, changed(7, "header", 2 * 84), "blocks.false");  /* commands_root */
    refused(7, changed(7, "header", 2 * 52), "blocks.false");  /* proposer */
    uint64_t slot = with_command();
    json_t *line = json_deep_copy(json_array_get(chain.lines, slot));
    json_array_clear(json_object_get(line, "envelopes"));
    refused(slot, mb_json_text(line), "value.invalid");
    json_decref(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(true_blocks_are_taken),
        cmocka_unit_test(false_ones_are_not),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
