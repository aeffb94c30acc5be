/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Figures for people, and calendars: pure, from what they are given. Times are UTC. */
#ifndef MB_CLI_SHOW_H
#define MB_CLI_SHOW_H

#include "base/bytes.h"

/* Append a bar of width columns, brackets included (4 at least): the part of total filled with '#';
 * a '|' stands where mark of total is, if 0 < mark <= total. Nothing but ASCII. */
void show_bar(struct mb_buf *out, int width, int64_t part, int64_t total, int64_t mark);
/* How wide a bar can be beside text of so many columns: 10 to 60. columns: of the terminal. */
int show_bar_width(int columns, int text);
/* Append "3 d 4 h", "12 min", "5 s"; "now" for 0 and less. */
void show_left(struct mb_buf *out, int64_t seconds);
/* Append "2026-11-21 12:00:00 UTC". */
void show_time(struct mb_buf *out, int64_t time);
/*
 * One event without length, as RFC 5545 has it (lines of at most 75 bytes, CRLF): stamp is when
 * what it tells was true. Texts may hold anything.
 */
void show_ics_begin(struct mb_buf *out);
void show_ics_event(struct mb_buf *out, const char *uid, int64_t stamp, int64_t time,
                    const char *summary);
void show_ics_end(struct mb_buf *out);

#endif
