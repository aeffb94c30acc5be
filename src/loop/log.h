/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The structured log: one line an event, `level subsystem event key=value …`, on standard error or
 * in a file of mode 0600. It never holds an address, a path outside the data folder, a host name,
 * or a key of a user: callers pass slots, sizes, durations, error codes and names of our own. No
 * time is written (systemd's journal has its own). Any thread may log; the configuration is for one
 * thread.
 */
#ifndef MB_LOOP_LOG_H
#define MB_LOOP_LOG_H

#include <stdbool.h>

enum mb_log_level {
    MB_LOG_ERROR,
    MB_LOG_WARN,
    MB_LOG_INFO,
    MB_LOG_DEBUG,
};

/* "info" or "info,tor=debug,http=warn": a level for all, then for single subsystems. False if the
 * text makes no sense; nothing is changed then. */
bool mb_log_configure(const char *text);
/* Append to a file (opened again by mb_log_reopen, for rotation), or NULL for standard error. */
bool mb_log_file(const char *path);
void mb_log_reopen(void);
bool mb_log_wants(enum mb_log_level level, const char *subsystem);

/* event is a stable word; format gives `key=value` pairs, cut at 2 KiB (then `cut=1` follows). All
 * but printing ASCII becomes \xNN, and a backslash is doubled. errno is kept. */
void mb_log(enum mb_log_level level, const char *subsystem, const char *event, const char *format,
            ...) __attribute__((format(printf, 4, 5)));

/* How many events of a level there were since start, written or not: for health and metrics. */
unsigned long mb_log_count(enum mb_log_level level);

#endif
