/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "rules/source.h"

#include <string.h>

#include "rules/cage.h"

#define HEAD "local __int=...;"
/* Lua's parser takes time with their square, within one expression or if. */
#define BRANCHES_MAX 8192

enum kind { END, NAME, NUMBER, TEXT, MARK };
struct token {
    enum kind kind;
    const char *at;
    size_t len;
};
struct lexer {
    const char *p, *end, *copied; /* copied: what out has already */
    struct mb_buf *out;
    int64_t line;
    int branches; /* and, or, elseif so far */
    struct mb_error *error;
    bool failed;
};

static void refuse(struct lexer *l, const char *what)
{
    if (!l->failed)
        mb_refuse(l->error, "rules.source", "ds", l->line, what);
    l->failed = true;
}

/* No locale has a say. */
static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(int c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static int peek(const struct lexer *l, size_t ahead)
{
    return (size_t)(l->end - l->p) > ahead ? (unsigned char)l->p[ahead] : -1;
}

/* How many '=' a long bracket that opens or closes here has, or -1. */
static int long_bracket(const struct lexer *l, int bracket)
{
    size_t n = 0;
    if (peek(l, 0) != bracket)
        return -1;
    while (peek(l, n + 1) == '=')
        n++;
    return peek(l, n + 1) == bracket ? (int)n : -1;
}

static void skip_long(struct lexer *l, int level)
{
    l->p += level + 2;
    while (l->p < l->end && long_bracket(l, ']') != level) {
        l->line += *l->p == '\n';
        l->p++;
    }
    if (l->p >= l->end)
        refuse(l, "a long text or comment does not end");
    else
        l->p += level + 2;
}

static void skip_comment(struct lexer *l)
{
    l->p += 2;
    int level = long_bracket(l, '[');
    if (level >= 0) {
        skip_long(l, level);
        return;
    }
    while (l->p < l->end && *l->p != '\n')
        l->p++;
}

/* Escapes need no understanding here, but for what they hide: quotes, line ends, \z. */
static void skip_text(struct lexer *l)
{
    int quote = *l->p++;
    while (l->p < l->end && *l->p != quote) {
        if (*l->p == '\\' && l->p + 1 < l->end) {
            l->line += l->p[1] == '\n';
            l->p += 2;
        } else if (*l->p == '\n') {
            break;
        } else {
            l->p++;
        }
    }
    if (l->p >= l->end || *l->p != quote)
        refuse(l, "a text does not end");
    else
        l->p++;
}

static void check_number(struct lexer *l, const char *at, size_t len)
{
    static const char most[] = "9223372036854775807";
    bool hex = len > 2 && at[0] == '0' && (at[1] | 0x20) == 'x';
    size_t i = hex ? 2 : 0;
    while (i < len && at[i] == '0')
        i++;
    size_t digits = len - i;
    for (size_t k = i; k < len; k++)
        if (!is_digit(at[k]) && !(hex && (at[k] | 0x20) >= 'a' && (at[k] | 0x20) <= 'f')) {
            refuse(l, "numbers are integers");
            return;
        }
    if (hex ? digits > 16
            : digits > 19 || (digits == 19 && memcmp(at + i, most, sizeof most - 1) > 0))
        refuse(l, "an integer is over 64 bits");
}

static struct token next(struct lexer *l)
{
    static const char marks[] = "+-*%&~|<>=(){}[];:,.#";
    for (;;) {
        int c = peek(l, 0);
        if (c == '-' && peek(l, 1) == '-')
            skip_comment(l);
        else if (c == ' ' || c == '\t' || c == '\n')
            l->line += *l->p++ == '\n';
        else
            break;
        if (l->failed)
            break;
    }
    struct token t = {END, l->p, 0};
    int c = peek(l, 0);
    if (c < 0 || l->failed)
        return t;
    if (is_digit(c) || (c == '.' && is_digit(peek(l, 1)))) {
        t.kind = NUMBER;
        while (is_word(peek(l, 0)) || peek(l, 0) == '.')
            l->p++;
        check_number(l, t.at, (size_t)(l->p - t.at));
    } else if (is_word(c)) {
        t.kind = NAME;
        while (is_word(peek(l, 0)))
            l->p++;
    } else if (c == '"' || c == '\'') {
        t.kind = TEXT;
        skip_text(l);
    } else if (c == '[' && long_bracket(l, '[') >= 0) {
        t.kind = TEXT;
        skip_long(l, long_bracket(l, '['));
    } else if (c == '/' && peek(l, 1) == '/') {
        t.kind = MARK;
        l->p += 2;
    } else if (c == '.' && peek(l, 1) == '.') { /* before the 2 of 1 ..2 could be a .2 */
        t.kind = MARK;
        l->p += peek(l, 2) == '.' ? 3 : 2;
    } else if (c == ':' && peek(l, 1) == ':') {
        refuse(l, "there are no labels");
    } else if (c == '/' || c == '^') {
        refuse(l, c == '/' ? "there is no /, for it makes floats: use //, or mb.muldiv"
                           : "there is no ^, for it makes floats: multiply");
    } else if (strchr(marks, c) != NULL && c != 0) {
        t.kind = MARK;
        l->p++;
    } else {
        refuse(l, "there is a byte that begins nothing");
    }
    t.len = (size_t)(l->p - t.at);
    return t;
}

static bool is(const struct token *t, const char *text)
{
    return (t->kind == NAME || t->kind == MARK) && t->len == strlen(text) &&
           memcmp(t->at, text, t->len) == 0;
}

static void copy_until(struct lexer *l, const char *at)
{
    mb_buf_add(l->out, l->copied, (size_t)(at - l->copied));
    l->copied = at;
}

static struct token checked(struct lexer *l)
{
    struct token t = next(l);
    if (t.kind == NAME && t.len >= 2 && t.at[0] == '_' && t.at[1] == '_')
        refuse(l, "names do not begin with two underscores");
    if (is(&t, "goto"))
        refuse(l, "there is no goto");
    l->branches += is(&t, "and") || is(&t, "or") || is(&t, "elseif");
    if (l->branches > BRANCHES_MAX)
        refuse(l, "over 8192 of and, or, elseif");
    return t;
}

/* Behind `for NAME =`: up to `do`, wrap each expression. */
static void wrap_bounds(struct lexer *l, const char *behind_equals)
{
    int depth = 0;
    copy_until(l, behind_equals);
    mb_buf_add_text(l->out, "__int(");
    for (;;) {
        struct token t = checked(l);
        if (l->failed)
            return;
        if (t.kind == END || is(&t, "function")) {
            refuse(l, "the bounds of a for end with do, and have no function in them");
            return;
        }
        if (is(&t, "(") || is(&t, "{") || is(&t, "["))
            depth++;
        if (is(&t, ")") || is(&t, "}") || is(&t, "]"))
            depth--;
        bool ends = depth == 0 && is(&t, "do");
        if (!ends && !(depth == 0 && is(&t, ",")))
            continue;
        copy_until(l, t.at);
        mb_buf_add_text(l->out, ends ? ") " : "),__int(");
        if (ends)
            return;
        l->copied = t.at + t.len;
    }
}

int mb_rules_source(struct mb_buf *out, struct mb_bytes source, struct mb_error *error)
{
    const char *text = (const char *)source.data;
    struct lexer l = {text, text + source.len, text, out, 1, 0, error, false};
    struct token before[2] = {{END, text, 0}, {END, text, 0}};
    if (source.len > MB_RULES_SOURCE_MAX)
        return mb_refuse(error, "rules.budget", "sd", "source", (int64_t)MB_RULES_SOURCE_MAX);
    /* Lua ends lines, and comments, at a carriage return too. */
    if (source.len > 0 && memchr(text, '\r', source.len) != NULL)
        refuse(&l, "lines end with a line feed alone");
    mb_buf_add_text(out, HEAD);
    for (;;) {
        struct token t = checked(&l);
        if (l.failed)
            return MB_EREFUSED;
        if (t.kind == END)
            break;
        if (is(&t, "=") && is(&before[0], "for") && before[1].kind == NAME)
            wrap_bounds(&l, t.at + t.len);
        if (l.failed)
            return MB_EREFUSED;
        before[0] = before[1];
        before[1] = t;
    }
    copy_until(&l, l.end);
    return 0;
}
