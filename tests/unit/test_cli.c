/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The command line's pure parsers: pins, and the rewriting of commits and tags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/encode.h"
#include "cli/cli.h"
#include "cli/scrub.h"
#include "cli/show.h"

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ONE  "1111111111111111111111111111111111111111"
#define TWO  "2222222222222222222222222222222222222222"

/* --- Pins --- */

static void pins_go_round(void **state)
{
    char onion[2][MB_ONION_SIZE];
    uint8_t key[32] = {1};
    struct mb_pin pin;
    (void)state;
    mb_onion_encode(onion[0], key);
    key[0] = 2;
    mb_onion_encode(onion[1], key);
    static const char *const slots[] = {"0", "17", "9223372036854775807"};
    for (size_t i = 0; i < 3; i++) {
        char *text = mb_asprintf("magicbiz:" HASH "@%s,%s#%s." HASH, onion[0], onion[1], slots[i]);
        assert_int_equal(mb_pin_parse(&pin, text, NULL), 0);
        assert_int_equal(pin.onion_count, 2);
        assert_string_equal(pin.onions[1], onion[1]);
        assert_int_equal(pin.slot, strtoull(slots[i], NULL, 10));
        char *again = mb_pin_text(&pin);
        assert_string_equal(again, text);
        free(again);
        free(text);
        mb_pin_clear(&pin);
    }
}

/* O stands for a good onion, X for one whose checksum does not hold. */
static void pins_are_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "magicbiz:",
        "Magicbiz:" HASH "@O#1." HASH,
        "magicbiz:" HASH "O#1." HASH,
        "magicbiz:0" HASH "@O#1." HASH,
        "magicbiz:Z123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef@O#1." HASH,
        "magicbiz:" HASH "@#1." HASH,
        "magicbiz:" HASH "@X#1." HASH,
        "magicbiz:" HASH "@,O#1." HASH,
        "magicbiz:" HASH "@O,,O#1." HASH,
        "magicbiz:" HASH "@O,O,O,O,O,O,O,O,O,O,O,O,O,O,O,O,O#1." HASH,
        "magicbiz:" HASH "@O" HASH,
        "magicbiz:" HASH "@O#" HASH,
        "magicbiz:" HASH "@O#." HASH,
        "magicbiz:" HASH "@O#-1." HASH,
        "magicbiz:" HASH "@O# 1." HASH,
        "magicbiz:" HASH "@O#9223372036854775808." HASH,
        "magicbiz:" HASH "@O#99999999999999999999." HASH,
        "magicbiz:" HASH "@O#1." HASH "0",
        "magicbiz:" HASH "@O#1." HASH " ",
        "magicbiz:" HASH "#1.@O" HASH,
    };
    char onion[MB_ONION_SIZE], bad[MB_ONION_SIZE];
    uint8_t key[32] = {1};
    (void)state;
    mb_onion_encode(onion, key);
    memcpy(bad, onion, sizeof bad);
    bad[0] = bad[0] == 'a' ? 'b' : 'a';
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_buf text = {0};
        struct mb_error error = {0};
        struct mb_pin pin;
        for (const char *c = cases[i]; *c != 0; c++)
            if (*c == 'O')
                mb_buf_add_text(&text, onion);
            else if (*c == 'X')
                mb_buf_add_text(&text, bad);
            else
                mb_buf_add_u8(&text, (uint8_t)*c);
        assert_int_equal(mb_pin_parse(&pin, mb_buf_text(&text), &error), MB_EINVAL);
        assert_string_equal(error.code, "pin.invalid");
        assert_null(pin.onions);
        mb_buf_clear(&text);
    }
}

/* --- Scrubbing --- */

#define TREE      "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
#define REAL      "Jane Doe <jane@example.org> 1795226400 +0200\n"
#define NOBODY    "nobody <n@acme.invalid> 1795226400 +0000\n"
#define SIGNATURE "-----BEGIN SSH SIGNATURE-----\nx\n-----END SSH SIGNATURE-----\n"

static const char *renamed(void *arg, const char *id)
{
    (void)arg;
    return strcmp(id, ONE) == 0 ? TWO : NULL;
}

static void objects_are_scrubbed(void **state)
{
    static const struct {
        const char *raw, *scrubbed; /* NULL: it is malformed */
    } cases[] = {
        {TREE "author " REAL "committer " REAL "\nm\n",
         TREE "author " NOBODY "committer " NOBODY "\nm\n"},
        /* A pseudonym stays, in UTC. */
        {TREE "author x <x@acme.invalid> 5 -0330\ncommitter " REAL "\n",
         TREE "author x <x@acme.invalid> 5 +0000\ncommitter " NOBODY "\n"},
        {TREE "author x <SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU> 5 +0100\n\n",
         TREE "author x <SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU> 5 +0000\n\n"},
        {TREE "author x <j@example.org> <x@acme.invalid> 1795226400 +0000\n\n",
         TREE "author " NOBODY "\n"},
        {TREE "author x <> 1795226400 +0000\n\n", TREE "author " NOBODY "\n"},
        /* A merge: each parent by its own new name. */
        {TREE "parent " ONE "\nparent 3333333333333333333333333333333333333333\nauthor " REAL
              "committer " REAL "\nm\n",
         TREE "parent " TWO "\nparent 3333333333333333333333333333333333333333\nauthor " NOBODY
              "committer " NOBODY "\nm\n"},
        /* Signatures and embedded tags go, other headers stay with their lines. */
        {TREE "author " REAL "committer " REAL "gpgsig -----BEGIN\n x\n \n y\nencoding latin1\n\nm",
         TREE "author " NOBODY "committer " NOBODY "encoding latin1\n\nm"},
        {TREE "gpgsig-sha256 x\n y\nother a\n b\n\nm\n", TREE "other a\n b\n\nm\n"},
        {TREE "mergetag object " ONE "\n type commit\n tagger " REAL " \n m\nauthor " REAL "\nm\n",
         TREE "author " NOBODY "\nm\n"},
        /* The message is the author's own business. */
        {TREE "author " REAL "\nauthor " REAL "gpgsig x\n" SIGNATURE,
         TREE "author " NOBODY "\nauthor " REAL "gpgsig x\n" SIGNATURE},
        {"object " ONE "\ntype commit\ntag v1\ntagger " REAL "\nm\n" SIGNATURE,
         "object " TWO "\ntype commit\ntag v1\ntagger " NOBODY "\nm\n"},
        {"object " TWO "\ntype commit\ntag v1\ntagger " REAL "gpgsig x\n y\n\nm\n",
         "object " TWO "\ntype commit\ntag v1\ntagger " NOBODY "\nm\n"},
        {"object " ONE "\ntype commit\ntag v1\n\nm\n",
         "object " TWO "\ntype commit\ntag v1\n\nm\n"},
        {TREE "author x\n\n", NULL},
        {TREE "author x <y> +0000\n\n", NULL},
        {TREE "author x <y>1795226400 +0000\n\n", NULL},
        {TREE "author x >y< 1 +0000\n\n", NULL},
        {TREE "author x <y> 1\n\n", NULL},
        {TREE "author " REAL "committer", NULL},
    };
    const struct scrub s = {
        .org_name = "acme", .name = "nobody", .email = "n@acme.invalid", .renamed = renamed};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_buf out = {0}, again = {0};
        bool fine = scrub_object(&s, mb_bytes_of(cases[i].raw), &out);
        assert_int_equal(fine, cases[i].scrubbed != NULL);
        if (fine) {
            assert_string_equal(mb_buf_text(&out), cases[i].scrubbed);
            assert_true(scrub_object(&s, mb_buf_bytes(&out), &again));
            assert_string_equal(mb_buf_text(&again), cases[i].scrubbed);
        }
        mb_buf_clear(&out);
        mb_buf_clear(&again);
    }
}

/* --- Figures and calendars --- */

static void bars_show_part_and_mark(void **state)
{
    static const struct {
        int width;
        int64_t part, total, mark;
        const char *bar;
    } cases[] = {
        {12, 0, 0, 0, "[----------]"},   {12, 5, 10, 0, "[#####-----]"},
        {12, 1, 3, 0, "[###-------]"},   {12, 12, 40, 40, "[###------|]"},
        {12, 2, 20, 2, "[#|--------]"},  {12, 20, 10, 0, "[##########]"},
        {12, -1, 10, 0, "[----------]"}, {12, INT64_MAX - 1, INT64_MAX, 0, "[#########-]"},
        {12, 3, 10, 11, "[###-------]"}, {0, 1, 1, 0, "[##]"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_buf out = {0};
        show_bar(&out, cases[i].width, cases[i].part, cases[i].total, cases[i].mark);
        assert_string_equal(mb_buf_text(&out), cases[i].bar);
        mb_buf_clear(&out);
    }
    assert_int_equal(show_bar_width(20, 30), 10);
    assert_int_equal(show_bar_width(80, 30), 50);
    assert_int_equal(show_bar_width(300, 30), 60);
}

static void time_left_is_told_in_two_units(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {{-5, "now"},         {0, "now"},
                 {1, "1 s"},          {60, "1 min"},
                 {61, "1 min 1 s"},   {3600, "1 h"},
                 {3661, "1 h 1 min"}, {86400 * 3 + 4 * 3600 + 59, "3 d 4 h"},
                 {86400 + 59, "1 d"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_buf out = {0};
        show_left(&out, cases[i].seconds);
        assert_string_equal(mb_buf_text(&out), cases[i].text);
        mb_buf_clear(&out);
    }
}

/* Lines of at most 75 bytes, nothing of a text that could begin a line of its own, UTC. */
static void calendars_fold_and_escape(void **state)
{
    struct mb_buf out = {0};
    (void)state;
    show_ics_begin(&out);
    show_ics_event(&out, "1-voting@x", 1795226400, 1795226461,
                   "a,b;c\\d\nEND:VEVENT\r\x01 \xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                   "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
                   "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4");
    show_ics_end(&out);
    const char *text = mb_buf_text(&out);
    assert_non_null(strstr(text, "\r\nDTSTAMP:20261121T020000Z\r\nDTSTART:20261121T020101Z\r\n"));
    assert_non_null(strstr(text, "\r\nSUMMARY:a\\,b\\;c\\\\d\\nEND:VEVENT \xc3\xa4"));
    for (const char *line = text; *line != 0;) {
        const char *end = strstr(line, "\r\n");
        assert_non_null(end);
        assert_in_range(end - line, 1, 75);
        assert_true(mb_utf8_valid(line, (size_t)(end - line)));
        line = end + 2;
    }
    mb_buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pins_go_round),
        cmocka_unit_test(pins_are_refused),
        cmocka_unit_test(objects_are_scrubbed),
        cmocka_unit_test(bars_show_part_and_mark),
        cmocka_unit_test(time_left_is_told_in_two_units),
        cmocka_unit_test(calendars_fold_and_escape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
