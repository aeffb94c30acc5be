/* SPDX-License-Identifier: GPL-3.0-or-later */
/* completion and manual: both print what the commands' rows say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* What is a text for another program is {"text"} as JSON. */
static void print(const struct cli *c, void (*write)(FILE *to, const char *arg), const char *arg)
{
    char *text = NULL;
    size_t len;
    FILE *to = c->json ? open_memstream(&text, &len) : stdout;
    if (to == NULL)
        return;
    write(to, arg);
    if (c->json) {
        fclose(to);
        cli_print_json(json_pack("{s:s}", "text", text));
        free(text);
    }
}

static void print_words(FILE *to, const struct cli_option *o)
{
    for (; o != NULL && o->name != NULL; o++)
        fprintf(to, " --%s", o->name);
}

static void print_script(FILE *to, const char *shell)
{
    if (strcmp(shell, "zsh") == 0)
        fputs("autoload -U +X bashcompinit && bashcompinit\n", to);
    fputs("_magicbiz() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
          "    case \"$COMP_CWORD:${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n",
          to);
    fputs("    1:*) words='", to);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        size_t n = strcspn(cli_commands[i]->name, " ");
        if (i == 0 || strncmp(cli_commands[i - 1]->name, cli_commands[i]->name, n + 1) != 0)
            fprintf(to, "%.*s ", (int)n, cli_commands[i]->name);
        if (cli_commands[i]->alias != NULL)
            fprintf(to, "%s ", cli_commands[i]->alias);
    }
    fputs("';;\n", to);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        const char *space = strchr(cli_commands[i]->name, ' ');
        if (space != NULL)
            fprintf(to, "    2:'%.*s '*) words+=' %s';;&\n", (int)(space - cli_commands[i]->name),
                    cli_commands[i]->name, space + 1);
    }
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        const char *alias = cli_commands[i]->alias;
        fprintf(to, "    *:'%s'%s%s%s%s) words+='", cli_commands[i]->name,
                strchr(cli_commands[i]->name, ' ') != NULL ? "" : "' '*",
                alias != NULL ? "|*:'" : "", alias != NULL ? alias : "",
                alias != NULL ? " '*" : "");
        print_words(to, cli_commands[i]->options);
        print_words(to, cli_global_options);
        fputs("';;&\n", to);
    }
    fputs("    esac\n"
          "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "}\n"
          "complete -o default -F _magicbiz magicbiz\n",
          to);
}

static int completion(struct cli *c, struct mb_error *error)
{
    const char *shell = c->args[0];
    if (strcmp(shell, "bash") != 0 && strcmp(shell, "zsh") != 0) {
        mb_fail(error, MB_EINVAL, "usage", "%.20s: bash or zsh", shell);
        return CLI_USAGE;
    }
    print(c, print_script, shell);
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

static void print_mdoc(FILE *to, const char *text, size_t len)
{
    struct mb_buf out = {0};
    mb_manual_text(&out, text, len);
    fprintf(to, "%s%s", *text == '.' || *text == '\'' ? "\\&" : "", mb_buf_text(&out));
    mb_buf_clear(&out);
}

/* A phrase of a table as a sentence of its own. */
static void print_sentence(FILE *to, const char *phrase)
{
    size_t len = strlen(phrase);
    char *text = mb_strdup(phrase);
    if (text[0] >= 'a' && text[0] <= 'z')
        text[0] = (char)(text[0] - 'a' + 'A');
    print_mdoc(to, text, len);
    fprintf(to, "%s\n", len > 0 && text[len - 1] == '.' ? "" : ".");
    free(text);
}

/* Lines that begin with four spaces are examples. */
static void print_help(FILE *to, const char *text)
{
    bool literal = false, gap = true;
    while (*text != 0) {
        size_t n = strcspn(text, "\n");
        bool example = strncmp(text, "    ", 4) == 0;
        if (literal && !example && n > 0) {
            fputs(".Ed\n", to);
            literal = false;
        }
        if (example && !literal) {
            fputs(".Bd -literal -offset indent\n", to);
            literal = true;
        } else if (!example && n > 0 && gap) {
            fputs(".Pp\n", to);
        }
        gap = n == 0;
        if (n > 0) {
            print_mdoc(to, text + (example ? 4 : 0), example ? n - 4 : n);
            fputc('\n', to);
        }
        text += n + (text[n] == '\n');
    }
    if (literal)
        fputs(".Ed\n", to);
}

static void print_mdoc_options(FILE *to, const struct cli_option *o)
{
    if (o == NULL)
        return;
    fputs(".Bl -tag -width Ds\n", to);
    for (; o->name != NULL; o++) {
        fprintf(to, ".It Fl -%s%s%s\n", o->name, o->arg != NULL ? " Ar " : "",
                o->arg != NULL ? o->arg : "");
        print_sentence(to, o->help);
    }
    fputs(".El\n", to);
}

static void print_commands(FILE *to, const char *arg)
{
    (void)arg;
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        const struct cli_command *k = cli_commands[i];
        fprintf(to, ".Ss magicbiz %s%s%s\n", k->name, *k->args ? " " : "", k->args);
        print_sentence(to, k->summary);
        if (k->alias != NULL)
            fprintf(to, "Short:\n.Ic magicbiz %s .\n", k->alias);
        if (k->help != NULL)
            print_help(to, k->help);
        print_mdoc_options(to, k->options);
    }
    fputs(".Ss Options of every command\n", to);
    print_mdoc_options(to, cli_global_options);
}

static int manual(struct cli *c, struct mb_error *error)
{
    (void)error;
    print(c, print_commands, NULL);
    return 0;
}

const struct cli_command cmd_manual = {
    .name = "manual",
    .args = "",
    .summary = "print the commands' part of magicbiz(1), as mdoc",
    .help = "    magicbiz manual",
    .run = manual,
};
