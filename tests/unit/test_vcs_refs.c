/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../modules/vcs/vcs_world.h"
#include "../support/org.h"
#include "ledger/internal.h"

#define STEPS      2000
#define NAMES      60
#define MANY_STEPS 12000
#define MANY_NAMES 3000 /* some blocks of them */
#define MANY_EVERY 400

struct fixture {
    struct mb_memory *memory;
    struct mb_tx tx;
};

static int set_up(void **state)
{
    struct fixture *f = mb_calloc(1, sizeof *f);
    f->memory = mb_memory_new();
    mb_tx_init(&f->tx, mb_memory_backend(f->memory));
    f->tx.writable = true;
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    mb_tx_clear(&f->tx);
    mb_memory_free(f->memory);
    free(f);
    return 0;
}

static void put(struct mb_tx *tx, const char *ref, const char *id)
{
    char key[MB_STATE_KEY_MAX + 1];
    vcs_ref_key(key, "r", ref);
    if (id != NULL)
        mb_tx_set(tx, key, json_string(id));
    else
        mb_tx_remove(tx, key);
}

static void advertise(const struct vcs_refs *refs, const char *capabilities, bool sha256,
                      struct mb_buf *out)
{
    struct vcs_advert *a = vcs_refs_advertise(refs, mb_bytes_of(""), capabilities, sha256);
    for (size_t i = 0; i < a->count; i++) {
        assert_true(a->pieces[i].len > 0);
        mb_buf_add_bytes(out, a->pieces[i]);
    }
    vcs_advert_free(a);
}

static void expect_rebuilt(struct mb_tx *tx, const struct vcs_refs *refs, bool sha256)
{
    struct mb_buf a = {0}, b = {0};
    struct vcs_refs *fresh = vcs_refs_new(tx, "r");
    advertise(refs, "x", sha256, &a);
    advertise(fresh, "x", sha256, &b);
    assert_string_equal(mb_buf_text(&a), mb_buf_text(&b));
    assert_true(mb_bytes_equal(mb_buf_bytes(&a), mb_buf_bytes(&b)));
    vcs_refs_free(fresh);
    mb_buf_clear(&a);
    mb_buf_clear(&b);
}

static void walk(struct mb_tx *tx, bool sha256, unsigned steps, unsigned names, unsigned every)
{
    struct vcs_refs *refs = vcs_refs_new(tx, "r");
    uint64_t seed = 7;
    for (unsigned i = 0; i < steps; i++) {
        char ref[64], id[65];
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        unsigned n = (unsigned)(seed >> 33) % names, what = (unsigned)(seed >> 50) % 3;
        mb_snprintf(ref, sizeof ref, "refs/%s/%.*s%u", n % 4 == 0 ? "tags" : "heads", (int)(n % 7),
                    "a/b-cZ", n);
        mb_snprintf(id, sizeof id, "%0*x", sha256 ? 64 : 40, i + 1);
        put(tx, ref, what > 0 ? id : NULL);
        vcs_refs_set(refs, ref, what > 0 ? id : NULL);
        if (i % every == 0)
            expect_rebuilt(tx, refs, sha256);
    }
    vcs_refs_free(refs);
}

static void edits_equal_a_rebuild(void **state)
{
    struct fixture *f = *state;
    walk(&f->tx, false, STEPS, NAMES, 1);
}

static void with_sha256_too(void **state)
{
    struct fixture *f = *state;
    walk(&f->tx, true, STEPS, NAMES, 1);
}

static void in_many_blocks(void **state)
{
    struct fixture *f = *state;
    walk(&f->tx, false, MANY_STEPS, MANY_NAMES, MANY_EVERY);
}

/* What is being sent stays as it was. */
static void an_advert_does_not_change(void **state)
{
    struct fixture *f = *state;
    struct vcs_refs *refs = vcs_refs_new(&f->tx, "r");
    struct mb_buf before = {0}, after = {0}, sent = {0};
    char ref[64];
    for (unsigned i = 0; i < MANY_NAMES; i += 2) {
        mb_snprintf(ref, sizeof ref, "refs/heads/%05u", i);
        vcs_refs_set(refs, ref, "1111111111111111111111111111111111111111");
    }
    advertise(refs, "x", false, &before);
    struct vcs_advert *a = vcs_refs_advertise(refs, mb_bytes_of(""), "x", false);
    for (unsigned i = 0; i < MANY_NAMES; i++) {
        mb_snprintf(ref, sizeof ref, "refs/heads/%05u", i);
        vcs_refs_set(refs, ref, i % 3 == 0 ? NULL : "2222222222222222222222222222222222222222");
    }
    advertise(refs, "x", false, &after);
    assert_false(mb_bytes_equal(mb_buf_bytes(&before), mb_buf_bytes(&after)));
    vcs_refs_free(refs);
    for (size_t i = 0; i < a->count; i++)
        mb_buf_add_bytes(&sent, a->pieces[i]);
    assert_true(mb_bytes_equal(mb_buf_bytes(&before), mb_buf_bytes(&sent)));
    vcs_advert_free(a);
    mb_buf_clear(&before);
    mb_buf_clear(&after);
    mb_buf_clear(&sent);
}

static void the_text(void **state)
{
    struct fixture *f = *state;
    static const char none[] =
        "003f0000000000000000000000000000000000000000 capabilities^{}\0x\n0000";
    static const char two[] = "003e1111111111111111111111111111111111111111 refs/heads/a\0x y\n"
                              "00392222222222222222222222222222222222222222 refs/tags/v\n0000";
    struct mb_buf out = {0};
    struct vcs_refs *refs = vcs_refs_new(&f->tx, "r");
    advertise(refs, "x", false, &out);
    assert_true(mb_bytes_equal(mb_buf_bytes(&out), mb_bytes(none, sizeof none - 1)));
    vcs_refs_set(refs, "refs/tags/v", "2222222222222222222222222222222222222222");
    vcs_refs_set(refs, "refs/heads/a", "1111111111111111111111111111111111111111");
    vcs_refs_set(refs, "refs/proposals/1", "1111111111111111111111111111111111111111");
    mb_buf_reset(&out);
    advertise(refs, "x y", false, &out);
    assert_true(mb_bytes_equal(mb_buf_bytes(&out), mb_bytes(two, sizeof two - 1)));
    vcs_refs_free(refs);
    refs = vcs_refs_new(&f->tx, "r");
    mb_buf_reset(&out);
    advertise(refs, "x", true, &out);
    assert_int_equal(out.len, sizeof none - 1 + 24);
    vcs_refs_free(refs);
    mb_buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(edits_equal_a_rebuild, set_up, tear_down),
        cmocka_unit_test_setup_teardown(with_sha256_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(in_many_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_advert_does_not_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_text, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
