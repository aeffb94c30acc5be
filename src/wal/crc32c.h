/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * CRC-32C (Castagnoli; RFC 3720, appendix B.4), by the processor's instruction where it has one.
 * For damage by accident: it finds every burst of up to 32 bits and, in records of our sizes, any
 * three flipped bits, at a hundredth of the cost of a hash. Who can write these files on purpose is
 * the daemon's own user, against whom a hash without a key would not help either.
 */
#ifndef MB_WAL_CRC32C_H
#define MB_WAL_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of data behind what crc already covers; 0 to begin. */
uint32_t wal_crc32c(uint32_t crc, const void *data, size_t len);
/* The same without the instruction: for tests. */
uint32_t wal_crc32c_plain(uint32_t crc, const void *data, size_t len);

#endif
