/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A folder that one process at a time may use. */
#ifndef MB_WAL_FOLDER_H
#define MB_WAL_FOLDER_H

#include "base/error.h"

/* Open dir, made (durably) if missing, and locked until the descriptor is closed. Fails with MB_EIO
 * and the code "<what>.io" or "<what>.locked". */
int wal_folder_open(const char *dir, const char *what, struct mb_error *error);

#endif
