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

/* The command whose words argv begins with; the longest name wins. */
static const struct cli_command *find_command(int argc, char **argv, int *words)
{
    const struct cli_command *found = NULL;
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        char name[64];
        int n = strchr(cli_commands[i]->name, ' ') != NULL ? 2 : 1;
        if (argc < n)
            continue;
        if (mb_snprintf(name, sizeof name, "%s%s%s", argv[0], n == 2 ? " " : "",
                        n == 2 ? argv[1] : "") == 0 &&
            strcmp(name, cli_commands[i]->name) == 0 && (found == NULL || n > *words)) {
            found = cli_commands[i];
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

static int exit_status(int rc)
{
    switch (rc) {
    case 0:
        return 0;
    case CLI_USAGE:
        return 2;
    case MB_EREACH:
        return 3;
    case MB_EPROOF:
        return 4;
    default:
        return 1;
    }
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
    if (rc != 0) {
        struct mb_buf text = {0};
        mb_buf_add_text(&text, error.text[0] != 0 ? error.text : error.code);
        fprintf(stderr, "magicbiz: %s\n", mb_buf_text(&text));
        mb_buf_clear(&text);
        if (rc == CLI_USAGE)
            fprintf(stderr, "see magicbiz %s --help\n", c->command->name);
    }
    cli_org_free(c->org);
    free(c->config_dir);
    free(c->state_dir);
    return exit_status(rc);
}

int main(int argc, char **argv)
{
    struct rlimit none = {0, 0};
    struct cli c = {0};
    int words = 0, status;
    setrlimit(RLIMIT_CORE, &none); /* keys stay out of core dumps */
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    if (sodium_init() < 0)
        return 1;
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        help_overview(argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts(PACKAGE_STRING);
        return 0;
    }
    c.command = find_command(argc - 1, argv + 1, &words);
    if (c.command == NULL) {
        help_noun(argv[1], stderr);
        return 2;
    }
    c.args = mb_calloc((size_t)argc + 1, sizeof *c.args);
    c.given = mb_calloc((size_t)argc * 2 + 2, sizeof *c.given);
    status = parse(&c, argc - 1 - words, argv + 1 + words);
    if (status == 0 && cli_option(&c, "help") != NULL)
        help_command(c.command, stdout);
    else if (status == 0 && ((int)c.arg_count < c.command->min_args ||
                             (c.command->max_args >= 0 && (int)c.arg_count > c.command->max_args)))
        status = usage(&c, "arguments are", c.command->args);
    else if (status == 0)
        status = run(&c);
    free(c.args);
    free(c.given);
    return status;
}
