/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a daemon that catches up decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/plan.h"

static void batches_fill_an_answer(void **state)
{
    static const struct {
        uint64_t batch, count, bytes, want;
    } cases[] = {
        {256, 256, 256 * 100, 512},                /* small: twice as many, */
        {PLAN_BLOCKS_MAX, 4096, 4096 * 100, 4096}, /* up to the most */
        {3000, 3000, 3000 * 100, 4096},            /* which need not be a power of 2 */
        {256, 256, PLAN_BYTES, 256},               /* just right */
        {256, 256, 2 * PLAN_BYTES, 128},           /* too large */
        {256, 256, UINT64_C(100) * PLAN_BYTES, 2}, /* much too large */
        {1, 1, UINT64_C(2) * PLAN_BYTES, 1},       /* one block is one block */
        {1, 1, 100, 2},                            /* and grows again */
        {256, 10, 10 * 100, 256},                  /* no more were missing */
        {256, 10, 10 * (uint64_t)PLAN_BYTES, 1},   /* and yet too large */
        {256, 256, 0, 512},                        /* no division by 0 */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(plan_batch(cases[i].batch, cases[i].count, cases[i].bytes), cases[i].want);
    assert_int_equal(plan_smaller(256), 64);
    assert_int_equal(plan_smaller(4), 1);
    assert_int_equal(plan_smaller(1), 1);
}

static void ranges_end_with_the_checkpoint(void **state)
{
    (void)state;
    assert_int_equal(plan_range(0, 64, 256), 64);
    assert_int_equal(plan_range(0, 1000, 256), 256);
    assert_int_equal(plan_range(999, 1000, 256), 1);
    assert_int_equal(plan_range(1000, 1000, 256), 0);
    assert_int_equal(plan_range(1001, 1000, 256), 0);
}

static void a_snapshot_beats_blocks(void **state)
{
    (void)state;
    assert_true(plan_snapshot(0, 200, 200, false));
    assert_false(plan_snapshot(1, 200, 200, false));
    assert_true(plan_snapshot(1, 200, 200, true)); /* blocks are not to be had */
    assert_false(plan_snapshot(0, 200, 0, false)); /* never, */
    assert_false(plan_snapshot(0, 200, 0, true));  /* whatever */
    assert_false(plan_snapshot(200, 200, 10, true));
    assert_false(plan_snapshot(201, 200, 10, true)); /* we are ahead */
}

static void a_member_waits_for_the_others_first(void **state)
{
    struct plan_stall stall = {0};
    (void)state;
    /* Far behind: at once. */
    assert_true(plan_member_needs(&stall, 10, 510, 64, 500, 1000));
    assert_false(plan_member_needs(&stall, 11, 510, 64, 500, 2000));
    /* Learning nothing: after a minute. */
    assert_false(plan_member_needs(&stall, 11, 510, 64, 500, 2000 + PLAN_STALLED_MS));
    assert_true(plan_member_needs(&stall, 11, 510, 64, 500, 2001 + PLAN_STALLED_MS));
    /* A slot learned: another minute. */
    assert_false(plan_member_needs(&stall, 12, 510, 64, 500, 2001 + PLAN_STALLED_MS));
    /* Within the window nothing is wrong, for however long. */
    assert_false(plan_member_needs(&stall, 12, 76, 64, 500, 1000000));
    assert_false(plan_member_needs(&stall, 12, 76, 64, 500, 2000000));
    assert_false(plan_member_needs(&stall, 12, 77, 64, 500, 2000000 + PLAN_STALLED_MS));
    assert_true(plan_member_needs(&stall, 12, 77, 64, 500, 2000001 + PLAN_STALLED_MS));
    /* Never by snapshots. */
    assert_false(plan_member_needs(&stall, 12, 9999, 64, 0, 9000000));
}

static void sources_take_turns(void **state)
{
    size_t turn = 0;
    (void)state;
    assert_int_equal(plan_source(&turn, 3, SIZE_MAX), 0);
    turn = 4;
    assert_int_equal(plan_source(&turn, 3, SIZE_MAX), 1);
    assert_int_equal(plan_source(&turn, 3, 1), 2); /* never ourselves */
    assert_int_equal(turn, 5);
    assert_int_equal(plan_source(&turn, 3, 2), 0);
    assert_int_equal(plan_source(&turn, 1, 0), 0); /* unless there is nobody else */
}

static void the_lease_ends_in_time(void **state)
{
    (void)state;
    assert_int_equal(plan_lease_left(true, 1500, 1000), 500);
    assert_int_equal(plan_lease_left(true, 1000, 1000), 0);
    assert_int_equal(plan_lease_left(true, 0, 1000), 0);
    assert_int_equal(plan_lease_left(true, INT64_MAX, 1000), INT64_MAX); /* alone */
    assert_int_equal(plan_lease_left(false, 1500, 1000), 0);
    assert_int_equal(plan_lease_left(false, INT64_MAX, 1000), 0);
    assert_int_equal(plan_lease_wait(500, 1000), 500); /* withdrawn when it ends */
    assert_int_equal(plan_lease_wait(1500, 1000), 1000);
    assert_int_equal(plan_lease_wait(0, 1000), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_fill_an_answer),
        cmocka_unit_test(ranges_end_with_the_checkpoint),
        cmocka_unit_test(a_snapshot_beats_blocks),
        cmocka_unit_test(a_member_waits_for_the_others_first),
        cmocka_unit_test(sources_take_turns),
        cmocka_unit_test(the_lease_ends_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
