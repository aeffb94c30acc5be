/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Texts for people, from code and args, outside consensus. */
#ifndef MB_LEDGER_MESSAGE_H
#define MB_LEDGER_MESSAGE_H

#include <magicbiz/tx.h>

/* Append the text for code: from core's table, then from the modules'; the code itself with its
 * args if there is none. args is a JSON array. */
void mb_message(struct mb_buf *out, const char *code, const json_t *args,
                const struct mb_logic *const *modules, size_t module_count);
/* Fill error->text if it is empty. */
void mb_message_fill(struct mb_error *error, const struct mb_logic *const *modules,
                     size_t module_count);

#endif
