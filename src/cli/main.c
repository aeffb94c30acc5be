/* SPDX-License-Identifier: GPL-3.0-or-later */
/* magicbiz: everything that a person does. See magicbiz(1). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "cli/cli.h"
#include "cli/help.h"

const struct cli_option cli_global_options[] = {
    {"org", "NAME", "the organisation, if more than one was joined ($MAGICBIZ_ORG)"},
    {"id", "NAME", "the identity that signs (default)"},
    {"json", NULL, "print one JSON document on standard output, and nothing else"},
    {"no-wait", NULL, "do not wait until a command was applied"},
    {"wait", NULL, "wait until a command was applied (the default)"},
    {"timeout", "SECONDS", "give up on an answer after so long (60)"},
    {"socks", "ADDRESS", "Tor's SOCKS port: 127.0.0.1:9050, or unix:/path ($MAGICBIZ_SOCKS)"},
    {"socket", "PATH", "talk to a daemon's Unix socket instead of Tor ($MAGICBIZ_SOCKET)"},
    {"help", NULL, "say what the command does"},
    {NULL, NULL, NULL},
};

static const struct cli_option *find_option(const struct cli_option *options, const char *name,
                                            size_t len)
{
    for (; options != NULL && options->name != NULL; options++)
        if (strlen(options->name) == len && memcmp(options->name, name, len) == 0)
            return options;
    return NULL;
}

/* The command whose words argv begins with, or whose short name; the longest name wins. */
static const struct cli_command *find_command(int argc, char **argv, int *words)
{
    const struct cli_command *found = NULL;
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        const struct cli_command *k = cli_commands[i];
        char name[64];
        int n = strchr(k->name, ' ') != NULL ? 2 : 1;
        if (argc > 0 && k->alias != NULL && strcmp(argv[0], k->alias) == 0) {
            *words = 1;
            return k;
        }
        if (argc < n)
            continue;
        if (mb_snprintf(name, sizeof name, "%s%s%s", argv[0], n == 2 ? " " : "",
                        n == 2 ? argv[1] : "") == 0 &&
            strcmp(name, k->name) == 0 && (found == NULL || n > *words)) {
            found = k;
            *words = n;
        }
    }
    return found;
}

static int usage(const struct cli *c, const char *what, const char *word)
{
    fprintf(stderr, "magicbiz: %s%s%s: see magicbiz %s%s--help\n", what, *word ? ": " : "", word,
            c->command != NULL ? c->command->name : "", c->command != NULL ? " " : "");
    return 2;
}

static int parse_option(struct cli *c, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '='), *value = "";
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct cli_option *o = find_option(cli_global_options, name, len);
    if (o == NULL && c->command != NULL)
        o = find_option(c->command->options, name, len);
    if (o == NULL)
        return usage(c, "there is no such option", argv[*i]);
    if (o->arg == NULL && equals != NULL)
        return usage(c, "this option takes no value", argv[*i]);
    if (o->arg != NULL && equals == NULL && *i + 1 >= argc)
        return usage(c, "this option needs a value", argv[*i]);
    if (o->arg != NULL)
        value = equals != NULL ? equals + 1 : argv[++*i];
    c->given[c->given_count++] = o->name;
    c->given[c->given_count++] = value;
    return 0;
}

/* Options may stand anywhere; after "--" everything is an argument. */
static int parse(struct cli *c, int argc, char **argv)
{
    bool only_args = false;
    for (int i = 0; i < argc; i++) {
        int rc = 0;
        if (!only_args && strcmp(argv[i], "--") == 0)
            only_args = true;
        else if (!only_args && strncmp(argv[i], "--", 2) == 0)
            rc = parse_option(c, argc, argv, &i);
        else
            c->args[c->arg_count++] = argv[i];
        if (rc != 0)
            return rc;
    }
    return 0;
}

const char *cli_option_at(const struct cli *c, const char *name, size_t i)
{
    for (size_t k = 0; k < c->given_count; k += 2)
        if (strcmp(c->given[k], name) == 0 && i-- == 0)
            return c->given[k + 1];
    return NULL;
}

const char *cli_option(const struct cli *c, const char *name)
{
    const char *value = NULL, *next;
    for (size_t i = 0; (next = cli_option_at(c, name, i)) != NULL; i++)
        value = next;
    return value;
}

int cli_option_int(const struct cli *c, const char *name, int64_t fallback, int64_t min,
                   int64_t max, int64_t *out, struct mb_error *error)
{
    const char *text = cli_option(c, name);
    char *end;
    *out = fallback;
    if (text == NULL)
        return 0;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    *out = v;
    if (errno == 0 && end != text && *end == 0 && v >= min && v <= max)
        return 0;
    mb_fail(error, MB_EINVAL, "usage", "--%s %s: a number from %lld to %lld", name, text,
            (long long)min, (long long)max);
    return CLI_USAGE;
}

int cli_need(const struct cli *c, const char *name, struct mb_error *error)
{
    if (cli_option(c, name) != NULL)
        return 0;
    mb_fail(error, MB_EINVAL, "usage", "--%s is needed", name);
    return CLI_USAGE;
}

static int run(struct cli *c)
{
    struct mb_error error = {0};
    int64_t timeout_s = 60;
    int rc = cli_option_int(c, "timeout", 60, 1, 86400, &timeout_s, &error);
    c->timeout_ms = timeout_s * 1000;
    c->json = cli_option(c, "json") != NULL;
    c->quiet = !isatty(STDERR_FILENO);
    cli_find_dirs(c);
    if (rc == 0)
        rc = c->command->run(c, &error);
    if (fflush(stdout) != 0 && rc == 0)
        rc = mb_fail(&error, MB_EIO, "output", "standard output: %s", strerror(errno));
    help_end_page();
    int status = cli_fail(rc, &error);
    if (rc == CLI_USAGE)
        fprintf(stderr, "see magicbiz %s --help\n", c->command->name);
    cli_org_free(c->org);
    free(c->config_dir);
    free(c->state_dir);
    return status;
}

/* What to do where no command is named: the commands of a noun, or all of them. */
static int show_commands(const char *noun, bool asked)
{
    FILE *to = asked ? stdout : stderr;
    if (noun == NULL)
        help_overview(to);
    else if (!help_noun(noun, to))
        return 2;
    return asked ? 0 : 2;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0)
            return true;
    return false;
}

/* Options of every command may stand before it, as all may behind it. "help" is --help. */
static int dispatch(struct cli *c, int argc, char **argv)
{
    int at = 0, words = 0, status = 0;
    for (; status == 0 && at < argc && strncmp(argv[at], "--", 2) == 0; at++)
        status = parse_option(c, argc, argv, &at);
    if (status != 0)
        return status;
    bool asked = cli_option(c, "help") != NULL;
    if (at < argc && strcmp(argv[at], "help") == 0) {
        asked = true;
        at++;
    }
    c->command = find_command(argc - at, argv + at, &words);
    if (c->command == NULL)
        return show_commands(at < argc ? argv[at] : NULL,
                             asked || asks_for_help(argc - at, argv + at));
    status = parse(c, argc - at - words, argv + at + words);
    if (status != 0)
        return status;
    if (asked || cli_option(c, "help") != NULL) {
        help_command(c->command, stdout);
        return 0;
    }
    if ((int)c->arg_count < c->command->min_args ||
        (c->command->max_args >= 0 && (int)c->arg_count > c->command->max_args))
        return usage(c, "arguments are", *c->command->args ? c->command->args : "none");
    return run(c);
}

int main(int argc, char **argv)
{
    struct rlimit none = {0, 0};
    struct cli c = {0};
    setrlimit(RLIMIT_CORE, &none); /* keys stay out of core dumps */
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    if (sodium_init() < 0)
        return 1;
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts(PACKAGE_STRING);
        return 0;
    }
    c.args = mb_calloc((size_t)argc + 1, sizeof *c.args);
    c.given = mb_calloc((size_t)argc * 2 + 2, sizeof *c.given);
    int status = dispatch(&c, argc - 1, argv + 1);
    free(c.args);
    free(c.given);
    return status;
}
