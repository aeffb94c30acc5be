/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/amount.h"

#include <inttypes.h>

bool cli_amount_parse(const char *text, int64_t scale, int64_t *amount)
{
    bool negative = *text == '-', point = false;
    int64_t n = 0, decimals = 0;
    text += negative;
    if (*text < '0' || *text > '9')
        return false;
    for (; *text != '\0'; text++) {
        if (*text == '.' && !point && text[1] != '\0') {
            point = true;
            continue;
        }
        if (*text < '0' || *text > '9' || (point && ++decimals > scale) ||
            __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *text - '0', &n))
            return false;
    }
    for (; decimals < scale; decimals++)
        if (__builtin_mul_overflow(n, 10, &n))
            return false;
    *amount = negative ? -n : n;
    return true;
}

void cli_amount_print(struct mb_buf *out, int64_t amount, int64_t scale)
{
    char digits[24];
    uint64_t n = amount < 0 ? 0 - (uint64_t)amount : (uint64_t)amount;
    mb_snprintf(digits, sizeof digits, "%0*" PRIu64, (int)scale + 1, n);
    int whole = 0;
    while (digits[whole + (int)scale] != '\0')
        whole++;
    mb_buf_addf(out, "%s%.*s", amount < 0 ? "-" : "", whole, digits);
    if (scale > 0)
        mb_buf_addf(out, ".%s", digits + whole);
}
