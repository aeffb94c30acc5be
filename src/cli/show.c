/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/show.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

__extension__ typedef unsigned __int128 wide;

/* Columns of cells that part of total fills. */
static int cells_of(int cells, int64_t part, int64_t total)
{
    if (total <= 0 || part <= 0)
        return 0;
    if (part >= total)
        return cells;
    return (int)((wide)(uint64_t)part * (unsigned)cells / (uint64_t)total);
}

void show_bar(struct mb_buf *out, int width, int64_t part, int64_t total, int64_t mark)
{
    int cells = width < 4 ? 2 : width - 2;
    int full = cells_of(cells, part, total), at = cells_of(cells, mark, total);
    bool marked = mark > 0 && mark <= total;
    if (at == cells)
        at--;
    mb_buf_add_u8(out, '[');
    for (int i = 0; i < cells; i++)
        mb_buf_add_u8(out, marked && i == at ? '|' : i < full ? '#' : '-');
    mb_buf_add_u8(out, ']');
}

int show_bar_width(int columns, int text)
{
    int left = columns - text;
    return left < 10 ? 10 : left > 60 ? 60 : left;
}

void show_left(struct mb_buf *out, int64_t seconds)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    if (seconds <= 0) {
        mb_buf_add_text(out, "now");
        return;
    }
    for (size_t i = 0; i < 4; i++) {
        int64_t n = seconds / units[i].seconds, rest = seconds % units[i].seconds;
        if (n == 0)
            continue;
        mb_buf_addf(out, "%" PRId64 " %s", n, units[i].name);
        if (i < 3 && rest / units[i + 1].seconds > 0)
            mb_buf_addf(out, " %" PRId64 " %s", rest / units[i + 1].seconds, units[i + 1].name);
        return;
    }
}

static void add_time(struct mb_buf *out, int64_t time, const char *format)
{
    char text[40] = "";
    time_t t = (time_t)time;
    struct tm tm;
    if (gmtime_r(&t, &tm) != NULL)
        strftime(text, sizeof text, format, &tm);
    mb_buf_add_text(out, text);
}

void show_time(struct mb_buf *out, int64_t time)
{
    add_time(out, time, "%Y-%m-%d %H:%M:%S UTC");
}

/* --- Calendars --- */

void show_ics_begin(struct mb_buf *out)
{
    mb_buf_add_text(out, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//magicbiz//magicbiz//EN\r\n");
}

void show_ics_end(struct mb_buf *out)
{
    mb_buf_add_text(out, "END:VCALENDAR\r\n");
}

/* Folded before byte 75, never inside a character (RFC 5545, 3.1). */
static void add_line(struct mb_buf *out, const char *line)
{
    size_t column = 0;
    for (const char *c = line; *c != 0; c++) {
        size_t bytes = 1;
        while ((c[bytes] & 0xc0) == 0x80)
            bytes++;
        if (column + bytes > 74) {
            mb_buf_add_text(out, "\r\n ");
            column = 1;
        }
        mb_buf_add(out, c, bytes);
        column += bytes;
        c += bytes - 1;
    }
    mb_buf_add_text(out, "\r\n");
}

/* RFC 5545, 3.3.11: backslash, semicolon, comma and newline escaped; other controls left out. */
static void add_escaped(struct mb_buf *out, const char *text)
{
    for (const char *c = text; *c != 0; c++) {
        if (*c == '\n')
            mb_buf_add_text(out, "\\n");
        else if (strchr("\\;,", *c) != NULL)
            mb_buf_addf(out, "\\%c", *c);
        else if ((unsigned char)*c >= ' ' && *c != 0x7f)
            mb_buf_add_u8(out, (uint8_t)*c);
    }
}

void show_ics_event(struct mb_buf *out, const char *uid, int64_t stamp, int64_t time,
                    const char *summary)
{
    struct mb_buf line = {0};
    mb_buf_add_text(out, "BEGIN:VEVENT\r\n");
    mb_buf_addf(&line, "UID:%s", uid);
    add_line(out, mb_buf_text(&line));
    mb_buf_reset(&line);
    add_time(&line, stamp, "DTSTAMP:%Y%m%dT%H%M%SZ");
    add_line(out, mb_buf_text(&line));
    mb_buf_reset(&line);
    add_time(&line, time, "DTSTART:%Y%m%dT%H%M%SZ");
    add_line(out, mb_buf_text(&line));
    mb_buf_reset(&line);
    mb_buf_add_text(&line, "SUMMARY:");
    add_escaped(&line, summary);
    add_line(out, mb_buf_text(&line));
    mb_buf_add_text(out, "END:VEVENT\r\n");
    mb_buf_clear(&line);
}
