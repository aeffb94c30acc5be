/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/scrub.h"

#include <stdlib.h>
#include <string.h>

#include "sign/key.h"

static bool begins(const char *line, size_t len, const char *with)
{
    size_t n = strlen(with);
    return len >= n && memcmp(line, with, n) == 0;
}

/* "author NAME <EMAIL> SECONDS ZONE": the seconds stay. */
static bool scrub_person(const struct scrub *s, const char *line, size_t len, struct mb_buf *out)
{
    const char *end = line + len, *open = memchr(line, '<', len), *last = NULL;
    const char *close = open != NULL ? memchr(open, '>', (size_t)(end - open)) : NULL;
    for (const char *c = line; c < end; c++)
        if (*c == '>')
            last = c;
    if (close == NULL || end - last < 3 || last[1] != ' ')
        return false;
    const char *seconds = last + 2, *space = seconds;
    while (space < end && *space >= '0' && *space <= '9')
        space++;
    if (space == seconds || space == end || *space != ' ')
        return false;
    size_t role = strcspn(line, " ");
    if (close == last && mb_is_pseudonym(open + 1, (size_t)(close - open - 1), s->org_name))
        mb_buf_add(out, line, (size_t)(close - line) + 1);
    else
        mb_buf_addf(out, "%.*s %s <%s>", (int)role, line, s->name, s->email);
    mb_buf_addf(out, " %.*s +0000\n", (int)(space - seconds), seconds);
    return true;
}

static void scrub_link(const struct scrub *s, const char *line, size_t len, struct mb_buf *out)
{
    char id[65];
    const char *space = memchr(line, ' ', len);
    size_t n = (size_t)(line + len - space - 1);
    const char *now = NULL;
    if (n < sizeof id) {
        memcpy(id, space + 1, n);
        id[n] = 0;
        now = s->renamed(s->arg, id);
    }
    if (now != NULL)
        mb_buf_addf(out, "%.*s %s\n", (int)(space - line), line, now);
    else
        mb_buf_addf(out, "%.*s\n", (int)len, line);
}

/* The message of a tag without a signature at its end. */
static void add_message(struct mb_bytes message, bool is_tag, struct mb_buf *out)
{
    const char *text = (const char *)message.data;
    size_t len = message.len;
    for (size_t at = 0; is_tag && at < len;) {
        const char *newline = memchr(text + at, '\n', len - at);
        if (begins(text + at, len - at, "-----BEGIN "))
            len = at;
        else
            at = newline != NULL ? (size_t)(newline - text) + 1 : len;
    }
    mb_buf_add(out, text, len);
}

bool scrub_object(const struct scrub *s, struct mb_bytes raw, struct mb_buf *out)
{
    const char *text = (const char *)raw.data;
    bool dropping = false, is_tag = begins(text, raw.len, "object ");
    size_t at = 0;
    while (at < raw.len) {
        const char *line = text + at, *newline = memchr(line, '\n', raw.len - at);
        size_t len = newline != NULL ? (size_t)(newline - line) : raw.len - at;
        if (newline == NULL)
            return false;
        at += len + 1;
        if (len == 0) {
            mb_buf_add_u8(out, '\n');
            add_message(mb_bytes(text + at, raw.len - at), is_tag, out);
            return true;
        }
        dropping = begins(line, len, "gpgsig ") || begins(line, len, "gpgsig-sha256 ") ||
                   begins(line, len, "mergetag ") || (dropping && line[0] == ' ');
        if (dropping)
            continue;
        if (begins(line, len, "author ") || begins(line, len, "committer ") ||
            begins(line, len, "tagger ")) {
            if (!scrub_person(s, line, len, out))
                return false;
        } else if (begins(line, len, "parent ") || begins(line, len, "object ")) {
            scrub_link(s, line, len, out);
        } else {
            mb_buf_add(out, line, len + 1);
        }
    }
    return true;
}
