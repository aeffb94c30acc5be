/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vcs_policy.h"

#include <stdlib.h>
#include <string.h>

struct line {
    const char *text;
    size_t len;
};

static bool next_line(struct mb_bytes raw, size_t *at, struct line *line)
{
    if (*at >= raw.len)
        return false;
    const char *start = (const char *)raw.data + *at;
    const char *end = memchr(start, '\n', raw.len - *at);
    *line = (struct line){start, end != NULL ? (size_t)(end - start) : raw.len - *at};
    *at += line->len + (end != NULL);
    return true;
}

static bool begins(const struct line *line, const char *text)
{
    size_t n = strlen(text);
    return line->len >= n && memcmp(line->text, text, n) == 0;
}

static bool is_signature(const struct line *line)
{
    return begins(line, "gpgsig ") || begins(line, "gpgsig-sha256 ");
}

/* "author NAME <EMAIL> SECONDS ZONE" */
static const char *check_person(const struct line *line, const char *name)
{
    const char *end = line->text + line->len, *open = memchr(line->text, '<', line->len);
    const char *close = open != NULL ? memchr(open, '>', (size_t)(end - open)) : NULL;
    if (close == NULL || end - close < 3 || close[1] != ' ')
        return "a person's line is malformed";
    const char *zone = close + 2;
    while (zone < end && *zone >= '0' && *zone <= '9')
        zone++;
    if (zone == close + 2 || zone == end || *zone != ' ')
        return "a person's line is malformed";
    if (end - zone != 6 || memcmp(zone, " +0000", 6) != 0)
        return "a time zone other than +0000";
    if (!mb_is_pseudonym(open + 1, (size_t)(close - open - 1), name))
        return "an e-mail address that is no pseudonym's";
    return NULL;
}

/* What a signature covers: the object without it. */
static bool is_own_signature(struct mb_bytes armour, struct mb_bytes signed_text,
                             const struct mb_public_key *signer)
{
    struct mb_buf binary = {0};
    struct mb_public_key by;
    bool own = signer != NULL && mb_sshsig_dearmor(&binary, armour, NULL) == 0 &&
               mb_sshsig_verify(mb_buf_bytes(&binary), "git", signed_text, &by, NULL) == 0 &&
               mb_public_key_equal(&by, signer);
    mb_buf_clear(&binary);
    return own;
}

static const char *check_commit(struct mb_bytes raw, const char *name,
                                const struct mb_public_key *signer)
{
    struct mb_buf rest = {0}, armour = {0};
    struct line line;
    size_t at = 0, begin = 0;
    bool in_signature = false, has_signature = false;
    const char *wrong = NULL;
    while (wrong == NULL && next_line(raw, &at, &line) && line.len > 0) {
        bool continued = line.text[0] == ' ';
        bool starts = is_signature(&line);
        if (starts || (continued && in_signature)) {
            size_t skip = starts ? strcspn(line.text, " ") + 1 : 1;
            mb_buf_add(&armour, line.text + skip, line.len - skip);
            mb_buf_add_u8(&armour, '\n');
            in_signature = has_signature = true;
        } else {
            in_signature = false;
            mb_buf_add(&rest, line.text, line.len);
            mb_buf_add_u8(&rest, '\n');
        }
        if (begins(&line, "author ") || begins(&line, "committer "))
            wrong = check_person(&line, name);
        else if (begins(&line, "mergetag "))
            wrong = "an embedded tag";
        begin = at;
    }
    if (wrong == NULL && has_signature) {
        mb_buf_add(&rest, raw.data + begin, raw.len - begin);
        if (!is_own_signature(mb_buf_bytes(&armour), mb_buf_bytes(&rest), signer))
            wrong = "a signature by another key than the push's";
    }
    mb_buf_clear(&rest);
    mb_buf_clear(&armour);
    return wrong;
}

static const char *check_tag(struct mb_bytes raw, const char *name,
                             const struct mb_public_key *signer)
{
    struct line line;
    size_t at = 0, start = 0;
    bool body = false;
    for (; next_line(raw, &at, &line); start = at) {
        if (!body && begins(&line, "tagger ")) {
            const char *wrong = check_person(&line, name);
            if (wrong != NULL)
                return wrong;
        }
        if (!body && is_signature(&line))
            return "a signature by another key than the push's";
        body = body || line.len == 0;
        if (body && begins(&line, "-----BEGIN ")) {
            struct mb_bytes armour = mb_bytes(raw.data + start, raw.len - start);
            return is_own_signature(armour, mb_bytes(raw.data, start), signer)
                       ? NULL
                       : "a signature by another key than the push's";
        }
    }
    return NULL;
}

const char *vcs_policy_check(const char *kind, struct mb_bytes raw, const char *name,
                             const struct mb_public_key *signer)
{
    return strcmp(kind, "tag") == 0 ? check_tag(raw, name, signer)
                                    : check_commit(raw, name, signer);
}
