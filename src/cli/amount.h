/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Amounts as people write them: 12.50 is 1250 of the smallest unit where scale is 2. */
#ifndef MB_CLI_AMOUNT_H
#define MB_CLI_AMOUNT_H

#include "base/bytes.h"

/* -?DIGITS[.DIGITS], at most scale (0 to 18) decimals, within -(2^63-1) to 2^63-1. False: it is
 * none. */
bool cli_amount_parse(const char *text, int64_t scale, int64_t *amount);
/* Append it with exactly scale decimals. */
void cli_amount_print(struct mb_buf *out, int64_t amount, int64_t scale);

#endif
