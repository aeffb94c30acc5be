/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "host/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* The value of one option; words are for MB_OPTION_WORDS. */
struct setting {
    const char *section;
    const struct mb_option *option;
    char *text;
    int64_t number;
    char **words;
    size_t word_count;
    bool given;
};
struct mb_config {
    struct setting *settings;
    size_t count;
};
struct parser {
    struct mb_config *config;
    const struct mb_section *sections;
    const char *file;
    unsigned line;
    bool allow_unknown;
    const char *section; /* the current one; NULL: none yet, or one that is skipped */
    bool skipping;
    struct mb_error *error;
};

static int bad(const struct parser *p, const char *what, const char *detail)
{
    return mb_fail(p->error, MB_EINVAL, "config.invalid", "%s:%u: %s%s%s", p->file, p->line, what,
                   *detail ? ": " : "", detail);
}

/* A number with one of the suffixes (a letter and its factor each). */
static int parse_number(const char *text, const char *letters, const int64_t *factors, int64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)text[0]) && text[0] != '-')
        return MB_EINVAL;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno != 0 || end == text)
        return MB_EINVAL;
    int64_t factor = 1;
    if (*end != 0) {
        const char *at = strchr(letters, *end);
        if (at == NULL || end[1] != 0)
            return MB_EINVAL;
        factor = factors[at - letters];
    }
    return __builtin_mul_overflow((int64_t)v, factor, out) ? MB_EINVAL : 0;
}

static bool is_word_of(const char *text, const char *words)
{
    size_t n = strlen(text);
    for (const char *at = words; n > 0 && (at = strstr(at, text)) != NULL; at += n)
        if ((at == words || at[-1] == ' ') && (at[n] == ' ' || at[n] == 0))
            return true;
    return false;
}

static void add_words(struct setting *s, const char *text)
{
    while (*text != 0) {
        size_t skip = strspn(text, " \t,"), n = strcspn(text + skip, " \t,");
        text += skip;
        if (n == 0)
            break;
        s->words = mb_realloc(s->words, (s->word_count + 1) * sizeof *s->words);
        s->words[s->word_count++] = mb_strndup(text, n);
        text += n;
    }
}

static char *absolute_path(const char *file, const char *text)
{
    const char *slash = strrchr(file, '/');
    if (*text == 0 || *text == '/' || slash == NULL)
        return mb_strdup(text);
    return mb_asprintf("%.*s/%s", (int)(slash - file), file, text);
}

/* What is wrong with text as a value of option, or NULL; fills s. */
static const char *set_value(struct setting *s, const char *file, const char *text)
{
    static const int64_t sizes[] = {1024, 1024 * 1024, 1024 * 1024 * 1024};
    static const int64_t durations[] = {1, 60, 3600, 86400};
    const struct mb_option *o = s->option;
    const char *wrong = NULL;
    switch (o->kind) {
    case MB_OPTION_INT:
        wrong = parse_number(text, "", NULL, &s->number) ? "not a whole number" : NULL;
        break;
    case MB_OPTION_SIZE:
        wrong = parse_number(text, "kMG", sizes, &s->number) ? "not a size such as 64M" : NULL;
        break;
    case MB_OPTION_DURATION:
        wrong = parse_number(text, "smhd", durations, &s->number) ? "not a time such as 90s" : NULL;
        break;
    case MB_OPTION_FLAG:
        s->number = strcmp(text, "yes") == 0;
        wrong = s->number || strcmp(text, "no") == 0 ? NULL : "neither yes nor no";
        break;
    case MB_OPTION_CHOICE:
        wrong = is_word_of(text, o->choices) ? NULL : "not one of the choices";
        break;
    case MB_OPTION_WORDS:
        add_words(s, text);
        break;
    case MB_OPTION_TEXT:
    case MB_OPTION_PATH:
        break;
    }
    if (wrong != NULL)
        return wrong;
    if ((o->min != 0 || o->max != 0) && o->kind <= MB_OPTION_DURATION && o->kind >= MB_OPTION_INT &&
        (s->number < o->min || s->number > o->max))
        return "out of range";
    free(s->text);
    s->text = o->kind == MB_OPTION_PATH ? absolute_path(file, text) : mb_strdup(text);
    return NULL;
}

static struct setting *find(const struct mb_config *c, const char *section, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->settings[i].section, section) == 0 &&
            strcmp(c->settings[i].option->name, name) == 0)
            return &c->settings[i];
    return NULL;
}

static void add_settings(struct mb_config *c, const struct mb_section *sections)
{
    for (const struct mb_section *s = sections; s->name != NULL; s++)
        for (const struct mb_option *o = s->options; o->name != NULL; o++) {
            c->settings = mb_realloc(c->settings, (c->count + 1) * sizeof *c->settings);
            c->settings[c->count++] = (struct setting){.section = s->name, .option = o};
        }
}

static int parse_section(struct parser *p, char *line)
{
    char *end = strchr(line, ']');
    if (end == NULL || end[1] != 0)
        return bad(p, "a section is written [name]", "");
    *end = 0;
    p->section = NULL;
    p->skipping = false;
    for (const struct mb_section *s = p->sections; s->name != NULL; s++)
        if (strcmp(s->name, line + 1) == 0)
            p->section = s->name;
    if (p->section == NULL && !p->allow_unknown)
        return bad(p, "there is no such section (is its module in [daemon] modules?)", line + 1);
    p->skipping = p->section == NULL;
    return 0;
}

static int parse_option(struct parser *p, char *line)
{
    if (p->skipping)
        return 0;
    char *equals = strchr(line, '=');
    if (equals == NULL)
        return bad(p, "a line is `name = value`, [section] or a comment", "");
    char *name_end = equals;
    while (name_end > line && isspace((unsigned char)name_end[-1]))
        name_end--;
    *name_end = 0;
    if (p->section == NULL)
        return bad(p, "no [section] before this option", line);
    struct setting *s = find(p->config, p->section, line);
    if (s == NULL)
        return bad(p, "there is no such option in this section", line);
    if (s->given && s->option->kind != MB_OPTION_WORDS)
        return bad(p, "given twice", line);
    s->given = true;
    const char *value = equals + 1 + strspn(equals + 1, " \t");
    const char *wrong = set_value(s, p->file, value);
    if (wrong == NULL)
        return 0;
    char detail[256];
    if (s->option->min != 0 || s->option->max != 0)
        mb_snprintf(detail, sizeof detail, "%s = %.60s (from %" PRId64 " to %" PRId64 ")", line,
                    value, s->option->min, s->option->max);
    else
        mb_snprintf(detail, sizeof detail, "%s = %.60s%s%s", line, value,
                    s->option->choices ? " (choices: " : "",
                    s->option->choices ? s->option->choices : "");
    return bad(p, wrong, detail);
}

static int parse_line(struct parser *p, char *line)
{
    for (const char *c = line; *c != 0; c++)
        if ((unsigned char)*c < ' ' && *c != '\t')
            return bad(p, "control character", "");
    line += strspn(line, " \t");
    size_t n = strlen(line);
    while (n > 0 && isspace((unsigned char)line[n - 1]))
        line[--n] = 0;
    if (n == 0 || *line == '#' || *line == ';')
        return 0;
    return *line == '[' ? parse_section(p, line) : parse_option(p, line);
}

static int fill_fallbacks(struct parser *p)
{
    for (size_t i = 0; i < p->config->count; i++) {
        struct setting *s = &p->config->settings[i];
        if (s->given)
            continue;
        if (s->option->fallback == NULL)
            return mb_fail(p->error, MB_EINVAL, "config.invalid",
                           "%s: [%s] %s is missing: it has no default", p->file, s->section,
                           s->option->name);
        const char *wrong = set_value(s, p->file, s->option->fallback);
        if (wrong != NULL)
            return mb_fail(p->error, MB_EINVAL, "config.invalid", "%s: default of [%s] %s: %s",
                           p->file, s->section, s->option->name, wrong);
    }
    return 0;
}

int mb_config_parse(struct mb_config **out, const char *file, struct mb_bytes text,
                    const struct mb_section *sections, bool allow_unknown, struct mb_error *error)
{
    struct parser p = {.config = mb_calloc(1, sizeof *p.config),
                       .sections = sections,
                       .file = file,
                       .allow_unknown = allow_unknown,
                       .error = error};
    add_settings(p.config, sections);
    int rc = text.len > MB_CONFIG_MAX || (text.len > 0 && memchr(text.data, 0, text.len) != NULL)
                 ? bad(&p, "too large, or not a text", "")
                 : 0;
    const char *at = (const char *)text.data, *end = at + text.len;
    while (rc == 0 && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((newline != NULL ? newline : end) - at);
        char *line = mb_strndup(at, n);
        p.line++;
        rc = parse_line(&p, line);
        free(line);
        at += n + (newline != NULL);
    }
    if (rc == 0)
        rc = fill_fallbacks(&p);
    if (rc != 0) {
        mb_config_free(p.config);
        p.config = NULL;
    }
    *out = p.config;
    return rc;
}

void mb_config_free(struct mb_config *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++) {
        free(c->settings[i].text);
        for (size_t k = 0; k < c->settings[i].word_count; k++)
            free(c->settings[i].words[k]);
        free(c->settings[i].words);
    }
    free(c->settings);
    free(c);
}

/* Options come from tables in the program: one that is not there is a mistake of ours. */
static const struct setting *must_find(const struct mb_config *c, const char *section,
                                       const char *name)
{
    const struct setting *s = find(c, section, name);
    if (s == NULL)
        abort();
    return s;
}

const char *mb_config_text(const struct mb_config *c, const char *section, const char *name)
{
    return must_find(c, section, name)->text;
}

int64_t mb_config_int(const struct mb_config *c, const char *section, const char *name)
{
    return must_find(c, section, name)->number;
}

size_t mb_config_words(const struct mb_config *c, const char *section, const char *name,
                       const char *const **words)
{
    const struct setting *s = must_find(c, section, name);
    *words = (const char *const *)s->words;
    return s->word_count;
}

/* What stands behind "name =" in the manual, as mdoc. */
static void add_kind(struct mb_buf *out, const struct mb_option *o)
{
    static const char *const texts[] = {
        [MB_OPTION_TEXT] = "Ar text",        [MB_OPTION_PATH] = "Ar path",
        [MB_OPTION_INT] = "Ar number",       [MB_OPTION_SIZE] = "Ar bytes",
        [MB_OPTION_DURATION] = "Ar seconds", [MB_OPTION_FLAG] = "Cm yes | no",
        [MB_OPTION_WORDS] = "Ar words",
    };
    if (o->kind != MB_OPTION_CHOICE) {
        mb_buf_add_text(out, texts[o->kind]);
        return;
    }
    mb_buf_add_text(out, "Cm ");
    for (const char *c = o->choices; *c != 0; c++)
        if (*c == ' ')
            mb_buf_add_text(out, " | ");
        else
            mb_buf_add_u8(out, (uint8_t)*c);
}

void mb_manual_text(struct mb_buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool sentence = text[i] == ' ' && i > 0 && strchr(".?!)", text[i - 1]) != NULL &&
                        i + 1 < len && isupper((unsigned char)text[i + 1]);
        if (text[i] == '\\')
            mb_buf_add_text(out, "\\e");
        else
            mb_buf_add_u8(out, sentence ? '\n' : (uint8_t)text[i]);
    }
}

static void add_option(struct mb_buf *out, const struct mb_option *o)
{
    mb_buf_addf(out, ".It Cm %s No = ", o->name);
    add_kind(out, o);
    mb_buf_add_u8(out, '\n');
    mb_manual_text(out, o->help, strlen(o->help));
    mb_buf_add_u8(out, '\n');
    if (o->fallback == NULL)
        mb_buf_add_text(out, "It must be given.\n");
    else if (*o->fallback == 0)
        mb_buf_add_text(out, "Default: none.\n");
    else
        mb_buf_addf(out, "Default:\n.Ql %s .\n", o->fallback);
    if (o->min != 0 || o->max != 0)
        mb_buf_addf(out, "From %" PRId64 " to %" PRId64 ".\n", o->min, o->max);
    if (o->reload)
        mb_buf_add_text(out, ".Dv SIGHUP\ntakes over a change.\n");
}

void mb_config_manual(struct mb_buf *out, const struct mb_section *sections)
{
    for (const struct mb_section *s = sections; s->name != NULL; s++) {
        mb_buf_addf(out, ".Ss Section [%s]\n", s->name);
        mb_manual_text(out, s->help, strlen(s->help));
        mb_buf_add_text(out, "\n.Bl -tag -width Ds\n");
        for (const struct mb_option *o = s->options; o->name != NULL; o++)
            add_option(out, o);
        mb_buf_add_text(out, ".El\n");
    }
}
