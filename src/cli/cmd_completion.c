/* SPDX-License-Identifier: GPL-3.0-or-later */
/* completion and manual: both print what the commands' rows say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static void print_words(const struct cli_option *o)
{
    for (; o != NULL && o->name != NULL; o++)
        printf(" --%s", o->name);
}

static int completion(struct cli *c, struct mb_error *error)
{
    const char *shell = c->args[0];
    if (strcmp(shell, "bash") != 0 && strcmp(shell, "zsh") != 0)
        return mb_fail(error, MB_EINVAL, "completion.shell", "%.20s: bash or zsh", shell);
    if (strcmp(shell, "zsh") == 0)
        puts("autoload -U +X bashcompinit && bashcompinit");
    puts("_magicbiz() {\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
         "    case \"$COMP_CWORD:${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in");
    fputs("    1:*) words='", stdout);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        size_t n = strcspn(cli_commands[i]->name, " ");
        if (i == 0 || strncmp(cli_commands[i - 1]->name, cli_commands[i]->name, n + 1) != 0)
            printf("%.*s ", (int)n, cli_commands[i]->name);
    }
    puts("';;");
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        const char *space = strchr(cli_commands[i]->name, ' ');
        if (space != NULL)
            printf("    2:'%.*s '*) words+=' %s';;&\n", (int)(space - cli_commands[i]->name),
                   cli_commands[i]->name, space + 1);
    }
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        printf("    [2-9]*:'%s'*) words+='", cli_commands[i]->name);
        print_words(cli_commands[i]->options);
        print_words(cli_global_options);
        puts("';;&");
    }
    puts("    esac\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
         "}\n"
         "complete -o default -F _magicbiz magicbiz");
    return 0;
}

const struct cli_command cmd_completion = {
    .name = "completion",
    .args = "bash|zsh",
    .min_args = 1,
    .max_args = 1,
    .summary = "print a completion script for a shell",
    .help = "    eval \"$(magicbiz completion bash)\"",
    .run = completion,
};

static void print_mdoc(const char *text, size_t len)
{
    struct mb_buf out = {0};
    mb_manual_text(&out, text, len);
    printf("%s%s", *text == '.' || *text == '\'' ? "\\&" : "", mb_buf_text(&out));
    mb_buf_clear(&out);
}

/* A phrase of a table as a sentence of its own. */
static void print_sentence(const char *phrase)
{
    size_t len = strlen(phrase);
    char *text = mb_strdup(phrase);
    if (text[0] >= 'a' && text[0] <= 'z')
        text[0] = (char)(text[0] - 'a' + 'A');
    print_mdoc(text, len);
    puts(len > 0 && text[len - 1] == '.' ? "" : ".");
    free(text);
}

/* Lines that begin with four spaces are examples. */
static void print_help(const char *text)
{
    bool literal = false, gap = true;
    while (*text != 0) {
        size_t n = strcspn(text, "\n");
        bool example = strncmp(text, "    ", 4) == 0;
        if (literal && !example && n > 0) {
            puts(".Ed");
            literal = false;
        }
        if (example && !literal) {
            puts(".Bd -literal -offset indent");
            literal = true;
        } else if (!example && n > 0 && gap) {
            puts(".Pp");
        }
        gap = n == 0;
        if (n > 0) {
            print_mdoc(text + (example ? 4 : 0), example ? n - 4 : n);
            putchar('\n');
        }
        text += n + (text[n] == '\n');
    }
    if (literal)
        puts(".Ed");
}

static void print_mdoc_options(const struct cli_option *o)
{
    if (o == NULL)
        return;
    puts(".Bl -tag -width Ds");
    for (; o->name != NULL; o++) {
        printf(".It Fl -%s%s%s\n", o->name, o->arg != NULL ? " Ar " : "",
               o->arg != NULL ? o->arg : "");
        print_sentence(o->help);
    }
    puts(".El");
}

static int manual(struct cli *c, struct mb_error *error)
{
    (void)c;
    (void)error;
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        const struct cli_command *k = cli_commands[i];
        printf(".Ss magicbiz %s%s%s\n", k->name, *k->args ? " " : "", k->args);
        print_sentence(k->summary);
        if (k->help != NULL)
            print_help(k->help);
        print_mdoc_options(k->options);
    }
    puts(".Ss Options of every command");
    print_mdoc_options(cli_global_options);
    return 0;
}

const struct cli_command cmd_manual = {
    .name = "manual",
    .args = "",
    .summary = "print the commands' part of magicbiz(1), as mdoc",
    .run = manual,
};
