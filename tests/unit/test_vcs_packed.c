/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../modules/vcs/vcs_packed.h"

#define HEADER "# pack-refs with: peeled fully-peeled sorted \n"
#define A      "1111111111111111111111111111111111111111"
#define B      "2222222222222222222222222222222222222222"
#define STEPS  3000
#define NAMES  50

static void merges(void **state)
{
    static const struct {
        const char *old, *ref, *id, *peeled, *fresh;
    } cases[] = {
        {"", "refs/heads/a", A, NULL, HEADER A " refs/heads/a\n"},
        {"", "refs/heads/a", NULL, NULL, HEADER},
        {HEADER, "refs/tags/v", A, B, HEADER A " refs/tags/v\n^" B "\n"},
        {HEADER A " refs/tags/v\n^" B "\n", "refs/tags/u", B, NULL,
         HEADER B " refs/tags/u\n" A " refs/tags/v\n^" B "\n"},
        {HEADER A " refs/tags/v\n^" B "\n", "refs/tags/w", B, NULL,
         HEADER A " refs/tags/v\n^" B "\n" B " refs/tags/w\n"},
        {HEADER A " refs/tags/v\n^" B "\n", "refs/tags/v", B, NULL, HEADER B " refs/tags/v\n"},
        {HEADER A " refs/tags/v\n^" B "\n", "refs/tags/v", NULL, NULL, HEADER},
        {HEADER A " refs/heads/a\n" A " refs/heads/c\n", "refs/heads/b", B, NULL,
         HEADER A " refs/heads/a\n" B " refs/heads/b\n" A " refs/heads/c\n"},
        {"# pack-refs with: peeled \n" A " refs/heads/a\n", "refs/heads/ab", B, NULL,
         HEADER A " refs/heads/a\n" B " refs/heads/ab\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vcs_changes c = {0};
        struct mb_buf out = {0};
        vcs_changes_set(&c, cases[i].ref, cases[i].id, cases[i].peeled);
        vcs_packed_merge(mb_bytes_of(cases[i].old), &c, &out);
        assert_string_equal(mb_buf_text(&out), cases[i].fresh);
        vcs_changes_clear(&c);
        mb_buf_clear(&out);
    }
}

/* Merged in small steps, or written at once: the same file, in which each ref is found. */
static void steps_equal_one_write(void **state)
{
    struct vcs_changes all = {0}, some = {0};
    struct mb_buf file = {0}, next = {0}, whole = {0};
    uint64_t seed = 5;
    (void)state;
    for (unsigned i = 0; i < STEPS; i++) {
        char ref[64], id[41], tag[41];
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        unsigned n = (unsigned)(seed >> 33) % NAMES, what = (unsigned)(seed >> 50) % 3;
        mb_snprintf(ref, sizeof ref, "refs/%s/%.*s%u", n % 4 == 0 ? "tags" : "heads", (int)(n % 7),
                    "a/b-cZ", n);
        mb_snprintf(id, sizeof id, "%040x", i + 1);
        mb_snprintf(tag, sizeof tag, "%040x", i + 7);
        const char *peeled = what == 2 ? tag : NULL;
        vcs_changes_set(&all, ref, what > 0 ? id : NULL, peeled);
        vcs_changes_set(&some, ref, what > 0 ? id : NULL, peeled);
        if (i % 5 != 0)
            continue;
        mb_buf_reset(&next);
        vcs_packed_merge(mb_buf_bytes(&file), &some, &next);
        vcs_changes_clear(&some);
        mb_buf_reset(&file);
        mb_buf_add_bytes(&file, mb_buf_bytes(&next));
        mb_buf_reset(&whole);
        vcs_packed_merge(mb_bytes_of(""), &all, &whole);
        assert_string_equal(mb_buf_text(&whole), mb_buf_text(&file));
        for (size_t k = 0; k < all.count; k++) {
            struct mb_bytes found, found_peeled;
            const struct vcs_change *c = &all.items[k];
            assert_int_equal(vcs_packed_find(mb_buf_bytes(&file), c->ref, &found, &found_peeled),
                             c->id != NULL);
            if (c->id == NULL)
                continue;
            assert_true(mb_bytes_equal(found, mb_bytes_of(c->id)));
            assert_true(mb_bytes_equal(found_peeled, mb_bytes_of(c->peeled ? c->peeled : "")));
        }
    }
    vcs_changes_clear(&all);
    vcs_changes_clear(&some);
    mb_buf_clear(&file);
    mb_buf_clear(&next);
    mb_buf_clear(&whole);
}

/* What a crash may leave is searched and merged without harm; nothing is said of the result. */
static void garbage_is_harmless(void **state)
{
    static const char letters[] = "\n^ #a1/\0";
    uint64_t seed = 9;
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct mb_buf text = {0}, out = {0};
        struct vcs_changes c = {0};
        struct mb_bytes id, peeled;
        for (unsigned n = round % 24; n > 0; n--) {
            seed = seed * 6364136223846793005U + 1442695040888963407U;
            mb_buf_add_u8(&text, (uint8_t)letters[(seed >> 40) % (sizeof letters - 1)]);
        }
        struct mb_bytes exact = mb_bytes(mb_memdup(text.data, text.len), text.len);
        (void)vcs_packed_find(exact, "a", &id, &peeled);
        vcs_changes_set(&c, "a", A, NULL);
        vcs_changes_set(&c, "a1", NULL, NULL);
        vcs_packed_merge(exact, &c, &out);
        assert_memory_equal(out.data, HEADER, sizeof HEADER - 1);
        free((void *)(uintptr_t)exact.data);
        vcs_changes_clear(&c);
        mb_buf_clear(&text);
        mb_buf_clear(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges),
        cmocka_unit_test(steps_equal_one_write),
        cmocka_unit_test(garbage_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
