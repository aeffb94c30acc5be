/* SPDX-License-Identifier: GPL-3.0-or-later */
/* OpenSSH's armour: base64 between lines "-----BEGIN LABEL-----" and "-----END LABEL-----". */
#ifndef MB_SIGN_ARMOR_H
#define MB_SIGN_ARMOR_H

#include "base/bytes.h"

/*
 * Append what one block stands for, at most max bytes. Lines end with LF alone and hold 1 to 76
 * characters; the last LF may be missing, and nothing else stands around the block. MB_EINVAL
 * leaves binary as it was. No copy of the content stays behind in memory, if binary was empty.
 */
int mb_armor_read(struct mb_buf *binary, struct mb_bytes text, const char *label, size_t max);
/* Append such a block, as ssh-keygen writes it: lines of 70, a final LF. */
void mb_armor_write(struct mb_buf *text, struct mb_bytes binary, const char *label);
/* Wipe and free. */
void mb_buf_wipe(struct mb_buf *b);

#endif
