/* SPDX-License-Identifier: GPL-3.0-or-later */
/* books: its table. Everything it does is in the state, which the daemon itself serves. */
#include "config.h"

#include <magicbiz/module.h>

#include "books.h"

extern const struct mb_module mb_module_books;
const struct mb_module mb_module_books = {
    .abi = MB_MODULE_ABI,
    .summary = "Assets, accounts and postings.",
    .logic = &books_logic,
};
