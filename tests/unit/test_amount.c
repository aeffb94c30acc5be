/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Amounts as people write them. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/amount.h"

static void amounts_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t scale, amount;
        bool good;
    } cases[] = {
        {"0", 0, 0, true},
        {"12", 2, 1200, true},
        {"12.5", 2, 1250, true},
        {"-0.05", 2, -5, true},
        {"007", 0, 7, true},
        {"9223372036854775807", 0, INT64_MAX, true},
        {"-9.223372036854775807", 18, -INT64_MAX, true},
        {"9223372036854775808", 0, 0, false},
        {"9.223372036854775808", 18, 0, false},
        {"922337203685477581", 2, 0, false},
        {"1.001", 2, 0, false},
        {"1.0", 0, 0, false},
        {"", 2, 0, false},
        {"-", 2, 0, false},
        {".5", 2, 0, false},
        {"5.", 2, 0, false},
        {"1.2.3", 4, 0, false},
        {"--1", 0, 0, false},
        {"+1", 0, 0, false},
        {" 1", 0, 0, false},
        {"1e3", 0, 0, false},
        {"1,5", 2, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t amount = 0;
        bool good = cli_amount_parse(cases[i].text, cases[i].scale, &amount);
        if (good != cases[i].good || amount != cases[i].amount)
            fail_msg("%s with %" PRId64 " decimals: %" PRId64, cases[i].text, cases[i].scale,
                     amount);
    }
}

static void amounts_are_printed(void **state)
{
    static const struct {
        int64_t amount, scale;
        const char *text;
    } cases[] = {
        {0, 0, "0"},
        {0, 2, "0.00"},
        {5, 2, "0.05"},
        {-5, 2, "-0.05"},
        {1250, 2, "12.50"},
        {-7, 0, "-7"},
        {1, 18, "0.000000000000000001"},
        {INT64_MAX, 18, "9.223372036854775807"},
        {INT64_MIN, 0, "-9223372036854775808"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_buf out = {0};
        cli_amount_print(&out, cases[i].amount, cases[i].scale);
        assert_string_equal(mb_buf_text(&out), cases[i].text);
        mb_buf_clear(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amounts_are_read),
        cmocka_unit_test(amounts_are_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
