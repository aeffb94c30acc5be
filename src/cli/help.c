/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/help.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"

static FILE *pager;

static void print_line(const struct cli_command *command, FILE *to)
{
    fprintf(to, "  %-18s %s\n", command->name, command->summary);
}

void help_overview(FILE *to)
{
    fputs("usage: magicbiz NOUN VERB [ARGS] [--options]\n\n", to);
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        print_line(cli_commands[i], to);
    fputs("\nshort names:\n\n", to);
    for (size_t i = 0; cli_commands[i] != NULL; i++)
        if (cli_commands[i]->alias != NULL)
            fprintf(to, "  %-18s %s\n", cli_commands[i]->alias, cli_commands[i]->name);
    fputs("\nEach takes --help. A first tour is in magicbiz(1).\n", to);
}

bool help_noun(const char *noun, FILE *to)
{
    size_t len = strlen(noun), shown = 0;
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        const char *name = cli_commands[i]->name;
        if (strncmp(name, noun, len) != 0 || name[len] != ' ')
            continue;
        if (shown++ == 0)
            fputs("magicbiz: which of these:\n", to);
        print_line(cli_commands[i], to);
    }
    if (shown == 0)
        fprintf(stderr, "magicbiz: there is no command %.40s: see magicbiz --help\n", noun);
    return shown > 0;
}

static void print_options(const struct cli_option *o, FILE *to)
{
    for (; o != NULL && o->name != NULL; o++) {
        char left[64];
        mb_snprintf(left, sizeof left, "--%s%s%s", o->name, o->arg != NULL ? " " : "",
                    o->arg != NULL ? o->arg : "");
        fprintf(to, "  %-22s %s\n", left, o->help);
    }
}

void help_command(const struct cli_command *command, FILE *to)
{
    fprintf(to, "usage: magicbiz %s%s%s%s\n\n%s\n", command->name, *command->args ? " " : "",
            command->args, command->options != NULL ? " [options]" : "", command->summary);
    if (command->alias != NULL)
        fprintf(to, "short: magicbiz %s\n", command->alias);
    if (command->help != NULL)
        fprintf(to, "\n%s\n", command->help);
    if (command->options != NULL) {
        fputs("\noptions:\n", to);
        print_options(command->options, to);
    }
    fputs("\nfor every command:\n", to);
    print_options(cli_global_options, to);
}

int cli_read(const char *file, struct mb_buf *out, struct mb_error *error)
{
    return mb_read_file(strcmp(file, "-") == 0 ? "/dev/stdin" : file, MB_COMMAND_MAX, out, error);
}

int cli_read_json(const char *file, json_t **out, struct mb_error *error)
{
    struct mb_buf text = {0};
    struct mb_error why = {0};
    int rc = cli_read(file, &text, error);
    if (rc == 0 && (rc = mb_json_parse(out, text.data, text.len, &why)) != 0)
        mb_fail(error, rc, why.code, "%s: %s", file, why.text);
    mb_buf_clear(&text);
    return rc;
}

void cli_print_json(json_t *json_take)
{
    char *text = json_dumps(json_take, JSON_INDENT(2) | JSON_SORT_KEYS);
    if (text != NULL)
        puts(text);
    free(text);
    json_decref(json_take);
}

void cli_print_text(const char *text)
{
    for (; *text != 0; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
}

void cli_progress(struct cli *c, const char *what, uint64_t done, uint64_t total)
{
    static int64_t began_ms, shown_ms;
    static bool shown;
    int64_t now = mb_now_ms();
    if (began_ms == 0)
        began_ms = now;
    bool ends = total != 0 && done >= total;
    if (c->quiet || (!shown && now - began_ms < 2000) || (!ends && now - shown_ms < 100))
        return;
    shown_ms = now;
    shown = true;
    if (total == 0) {
        fprintf(stderr, "\r%s %llu ", what, (unsigned long long)done);
    } else {
        int width = (int)(done >= total ? 30 : done * 30 / total);
        fprintf(stderr, "\r%s [%.*s%*s] %3d%% ", what, width, "##############################",
                30 - width, "", (int)(done >= total ? 100 : done * 100 / total));
    }
    if (ends) {
        fputc('\n', stderr);
        began_ms = 0;
        shown = false;
    }
}

void cli_page(struct cli *c)
{
    const char *program = getenv("PAGER");
    int ends[2];
    if (c->json || pager != NULL || !isatty(STDOUT_FILENO) || pipe(ends) != 0)
        return;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[0], STDIN_FILENO);
        close(ends[0]);
        close(ends[1]);
        setenv("LESS", "FRX", 0);
        execlp("/bin/sh", "sh", "-c", program != NULL && *program ? program : "less", (char *)NULL);
        _exit(127);
    }
    if (child > 0)
        dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    pager = child > 0 ? stdout : NULL;
}

void help_end_page(void)
{
    if (pager == NULL)
        return;
    fclose(stdout);
    while (wait(NULL) > 0)
        continue;
}
