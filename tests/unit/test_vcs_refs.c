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

#define STEPS 2000
#define NAMES 60

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

static void expect_rebuilt(struct mb_tx *tx, const struct vcs_refs *refs, bool sha256)
{
    struct mb_buf a = {0}, b = {0};
    struct vcs_refs *fresh = vcs_refs_new(tx, "r");
    vcs_refs_advertise(refs, "x", sha256, &a);
    vcs_refs_advertise(fresh, "x", sha256, &b);
    assert_string_equal(mb_buf_text(&a), mb_buf_text(&b));
    assert_true(mb_bytes_equal(mb_buf_bytes(&a), mb_buf_bytes(&b)));
    vcs_refs_free(fresh);
    mb_buf_clear(&a);
    mb_buf_clear(&b);
}

static void walk(struct mb_tx *tx, bool sha256)
{
    struct vcs_refs *refs = vcs_refs_new(tx, "r");
    uint64_t seed = 7;
    for (unsigned i = 0; i < STEPS; i++) {
        char ref[64], id[65];
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        unsigned n = (unsigned)(seed >> 33) % NAMES, what = (unsigned)(seed >> 50) % 3;
        mb_snprintf(ref, sizeof ref, "refs/%s/%.*s%u", n % 4 == 0 ? "tags" : "heads", (int)(n % 7),
                    "a/b-cZ", n);
        mb_snprintf(id, sizeof id, "%0*x", sha256 ? 64 : 40, i + 1);
        put(tx, ref, what > 0 ? id : NULL);
        vcs_refs_set(refs, ref, what > 0 ? id : NULL);
        expect_rebuilt(tx, refs, sha256);
    }
    vcs_refs_free(refs);
}

static void edits_equal_a_rebuild(void **state)
{
    struct fixture *f = *state;
    walk(&f->tx, false);
}

static void with_sha256_too(void **state)
{
    struct fixture *f = *state;
    walk(&f->tx, true);
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
    vcs_refs_advertise(refs, "x", false, &out);
    assert_true(mb_bytes_equal(mb_buf_bytes(&out), mb_bytes(none, sizeof none - 1)));
    vcs_refs_set(refs, "refs/tags/v", "2222222222222222222222222222222222222222");
    vcs_refs_set(refs, "refs/heads/a", "1111111111111111111111111111111111111111");
    vcs_refs_set(refs, "refs/proposals/1", "1111111111111111111111111111111111111111");
    mb_buf_reset(&out);
    vcs_refs_advertise(refs, "x y", false, &out);
    assert_true(mb_bytes_equal(mb_buf_bytes(&out), mb_bytes(two, sizeof two - 1)));
    vcs_refs_free(refs);
    refs = vcs_refs_new(&f->tx, "r");
    mb_buf_reset(&out);
    vcs_refs_advertise(refs, "x", true, &out);
    assert_int_equal(out.len, sizeof none - 1 + 24);
    vcs_refs_free(refs);
    mb_buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(edits_equal_a_rebuild, set_up, tear_down),
        cmocka_unit_test_setup_teardown(with_sha256_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_text, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
