/* SPDX-License-Identifier: GPL-3.0-or-later */
/* books: what daemon, simulator, auditor and tests link. See magicbiz-books(7). */
#ifndef MB_BOOKS_H
#define MB_BOOKS_H

#include <magicbiz/tx.h>

#define BOOKS_ASSET_MAX     32
#define BOOKS_ACCOUNT_MAX   128
#define BOOKS_ACCOUNTS_MAX  100 /* that one opens, unless books.accounts_max says otherwise */
#define BOOKS_SEGMENT_MAX   64
#define BOOKS_DEPTH_MAX     8   /* segments; a key's fingerprint counts as one */
#define BOOKS_ENTRIES_MAX   256 /* of a posting, and assertions */
#define BOOKS_HALF_LIFE_MAX 1000000
#define BOOKS_SCALE_MAX     18
#define BOOKS_MEMBER        "member"

extern const struct mb_logic books_logic;

/* 1 to 32 of a-z 0-9 -; begins with a letter, ends with a letter or digit; no "--". */
bool books_asset_name_valid(const char *name);
/* Segments joined by '/', each 1 to 64 of a-z 0-9 -, beginning and ending with a letter or digit,
 * without "--"; after key/ comes a fingerprint, and issue/ASSET has nothing below it. */
bool books_account_valid(const char *account);
/*
 * What is left of 2^62 after one epoch, if half of it is to be left after half_life (1 to
 * BOOKS_HALF_LIFE_MAX) of them: the greatest f < 2^62 whose power half_life is at most 2^61. The
 * power is taken bit by bit from the exponent's highest one down; x times y is x*y >> 62.
 */
uint64_t books_keep(int64_t half_life);

#endif
