/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * git-remote-magicbiz: what git runs for magicbiz://ORG/REPO (gitremote-helpers(7)). It resolves
 * the organisation's onion, runs git remote-http in an environment made clean, and stands between
 * it and git: refs that are about to be fetched are compared with what the state proves, and a push
 * gets its work where the organisation asks for it.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sodium.h>

#include "cli/cli.h"
#include "loop/loop.h"

#define WAIT_MS       65000 /* for a checkpoint that covers what is fetched (Clarification 16) */
#define AGAIN_MS      5000
#define SINGLE_PROOFS 16 /* more refs than this are proven by the whole module */

const struct cli_option cli_global_options[] = {{NULL, NULL, NULL}};
const struct cli_command *const cli_commands[] = {NULL};

struct remote {
    struct cli cli;
    struct cli_org *org;
    char *repo, *url;
    FILE *to, *from; /* git remote-http */
    pid_t child;
    char *line; /* the line last read from git */
    size_t room;
    bool signing;
    struct mb_error error;
};

const char *cli_option(const struct cli *c, const char *name)
{
    (void)c;
    (void)name;
    return NULL;
}

/* --- git remote-http --- */

static void set_config(unsigned *n, const char *key, const char *value)
{
    char name[40];
    mb_snprintf(name, sizeof name, "GIT_CONFIG_KEY_%u", *n);
    setenv(name, key, 1);
    mb_snprintf(name, sizeof name, "GIT_CONFIG_VALUE_%u", (*n)++);
    setenv(name, value, 1);
}

/* Settings for this one URL outrank any that the person has for others. */
static void set_http(unsigned *n, const struct remote *r, const char *name, const char *value)
{
    char *key = mb_asprintf("http.%s.%s", r->url, name);
    set_config(n, key, value);
    free(key);
}

static void clean_environment(const struct remote *r, const char *remote, const char *proxy)
{
    static const char *const away[] = {
        "LANG",        "LANGUAGE",     "LC_CTYPE",      "LC_MESSAGES",         "LC_TIME",
        "http_proxy",  "HTTP_PROXY",   "all_proxy",     "ALL_PROXY",           "no_proxy",
        "NO_PROXY",    "https_proxy",  "HTTPS_PROXY",   "GIT_HTTP_USER_AGENT", "GIT_ASKPASS",
        "SSH_ASKPASS", "GIT_PROTOCOL", "GIT_TRACE_CURL"};
    unsigned n = 0;
    char count[12];
    for (size_t i = 0; i < sizeof away / sizeof *away; i++)
        unsetenv(away[i]);
    setenv("LC_ALL", "C", 1);
    setenv("TZ", "UTC", 1);
    setenv("GIT_USER_AGENT", "git/2", 1);
    setenv("GIT_HTTP_USER_AGENT", "git/2", 1);
    setenv("GIT_ALLOW_PROTOCOL", "http", 1);
    setenv("GIT_TERMINAL_PROMPT", "0", 1);
    const char *given = getenv("GIT_CONFIG_COUNT");
    n = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 0;
    set_http(&n, r, "proxy", proxy);
    set_http(&n, r, "userAgent", "git/2");
    set_http(&n, r, "followRedirects", "false");
    set_http(&n, r, "extraHeader", "");
    set_http(&n, r, "cookieFile", "");
    set_http(&n, r, "saveCookies", "false");
    set_http(&n, r, "emptyAuth", "false");
    set_config(&n, "credential.helper", "");
    set_config(&n, "protocol.version", "0");
    set_config(&n, "transfer.advertiseSID", "false");
    char *key = mb_asprintf("remote.%s.proxy", remote);
    set_config(&n, key, proxy);
    free(key);
    mb_snprintf(count, sizeof count, "%u", n);
    setenv("GIT_CONFIG_COUNT", count, 1);
}

static int start_http(struct remote *r, const char *remote, const char *proxy)
{
    int in[2], out[2];
    if (pipe(in) != 0 || pipe(out) != 0)
        return mb_fail(&r->error, MB_EIO, "run", "%s", strerror(errno));
    r->child = fork();
    if (r->child == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        for (int i = 0; i < 2; i++) {
            close(in[i]);
            close(out[i]);
        }
        clean_environment(r, remote, proxy);
        execlp("git", "git", "remote-http", remote, r->url, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    r->to = fdopen(in[1], "w");
    r->from = fdopen(out[0], "r");
    return r->child < 0 ? mb_fail(&r->error, MB_EIO, "run", "git cannot be run") : 0;
}

/* --- Lines --- */

/* The next line from git without its end, or NULL. */
static const char *read_line(struct remote *r)
{
    ssize_t n = getline(&r->line, &r->room, stdin);
    if (n < 0)
        return NULL;
    if (n > 0 && r->line[n - 1] == '\n')
        r->line[n - 1] = 0;
    return r->line;
}

static void say(FILE *to, const char *line)
{
    fprintf(to, "%s\n", line);
}

/* Pass lines from git remote-http to git; until_empty: up to an empty one, else a single one. */
static int relay(struct remote *r, bool until_empty, bool (*keep)(const char *line))
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    int rc = MB_EREACH;
    while ((n = getline(&line, &room, r->from)) > 0) {
        if (line[n - 1] == '\n')
            line[n - 1] = 0;
        if (keep == NULL || keep(line))
            say(stdout, line);
        if (!until_empty || *line == 0) {
            rc = 0;
            break;
        }
    }
    free(line);
    fflush(stdout);
    return rc;
}

/* Only what passes through this program is offered: no connection that git makes by itself. */
static bool is_offered(const char *line)
{
    return strcmp(line, "stateless-connect") != 0 && strcmp(line, "get") != 0 &&
           strcmp(line, "connect") != 0;
}

/* --- Comparing refs with the state --- */

struct wanted {
    char id[65];
    char *ref;
    bool proven;
};

static int prove_one(struct remote *r, struct wanted *w)
{
    char *key = mb_asprintf("vcs/ref/%s/%s", r->repo, w->ref);
    json_t *value = NULL;
    int rc = cli_state(r->org, key, &value, &r->error);
    w->proven = rc == 1 && json_is_string(value) && strcmp(json_string_value(value), w->id) == 0;
    json_decref(value);
    free(key);
    return rc < 0 ? rc : 0;
}

static int prove_by_module(struct remote *r, struct wanted *w, size_t count)
{
    char *prefix = mb_asprintf("vcs/ref/%s/", r->repo);
    json_t *items = NULL, *item, *refs = json_object();
    size_t i;
    int rc = cli_list_proven(r->org, prefix, &items, &r->error);
    json_array_foreach(items, i, item) json_object_set(
        refs, mb_json_get_text(item, "key", "") + strlen(prefix), json_object_get(item, "value"));
    for (i = 0; i < count && rc == 0; i++)
        w[i].proven = strcmp(mb_json_get_text(refs, w[i].ref, ""), w[i].id) == 0;
    json_decref(items);
    json_decref(refs);
    free(prefix);
    return rc;
}

static int prove(struct remote *r, struct wanted *w, size_t count, bool *all)
{
    int rc = 0;
    if (count > SINGLE_PROOFS)
        rc = prove_by_module(r, w, count);
    for (size_t i = 0; i < count && count <= SINGLE_PROOFS && rc == 0; i++)
        if (!w[i].proven)
            rc = prove_one(r, &w[i]);
    *all = true;
    for (size_t i = 0; i < count; i++)
        *all = *all && w[i].proven;
    return rc == MB_EREACH && strcmp(r->error.code, "checkpoint.moved") == 0 ? 0 : rc;
}

/* What is shown may be newer than the newest checkpoint: wait for one that covers it. */
static int prove_all(struct remote *r, struct wanted *w, size_t count)
{
    int64_t until = mb_now_ms() + WAIT_MS;
    bool all = count == 0, told = false;
    while (!all) {
        int rc = prove(r, w, count, &all);
        if (rc != 0)
            return rc;
        if (!all && mb_now_ms() + AGAIN_MS > until)
            break;
        if (!all && !told)
            fprintf(stderr, "magicbiz: waiting for a checkpoint that covers these refs ...\n");
        told = true;
        if (!all)
            usleep(AGAIN_MS * 1000);
    }
    for (size_t i = 0; i < count; i++)
        if (!w[i].proven)
            return mb_fail(&r->error, MB_EPROOF, "ref.unproven",
                           "%s: the replica shows %.12s, and no checkpoint proves it: do not use "
                           "what was fetched; try again, and ask the organisation if it stays",
                           w[i].ref, w[i].id);
    return 0;
}

static char *default_ref(struct remote *r)
{
    char *key = mb_asprintf("vcs/repo/%s", r->repo), *ref = NULL;
    json_t *repo = NULL;
    if (cli_state(r->org, key, &repo, &r->error) == 1)
        ref = mb_asprintf("refs/heads/%s", mb_json_get_text(repo, "default_branch", "main"));
    json_decref(repo);
    free(key);
    return ref != NULL ? ref : mb_strdup("refs/heads/main");
}

/* "fetch ID REF": ID alone is content that its hash proves; a peeled tag is proven by its tag. */
static void want(struct remote *r, struct wanted **w, size_t *count, const char *line)
{
    const char *id = line + 6, *space = strchr(id, ' ');
    size_t n = space != NULL ? (size_t)(space - id) : 0;
    if (n == 0 || n > 64 || strncmp(space + 1, id, n) == 0)
        return;
    *w = mb_realloc(*w, (*count + 1) * sizeof **w);
    struct wanted *next = &(*w)[(*count)++];
    *next = (struct wanted){.ref = NULL};
    memcpy(next->id, id, n);
    next->ref = strcmp(space + 1, "HEAD") == 0 ? default_ref(r) : mb_strdup(space + 1);
    char *peeled = strstr(next->ref, "^{}");
    if (peeled != NULL) {
        free(next->ref);
        (*count)--;
    }
}

static int do_fetch(struct remote *r, const char *first)
{
    struct wanted *w = NULL;
    size_t count = 0;
    struct mb_buf batch = {0};
    for (const char *line = first; line != NULL && *line != 0; line = read_line(r)) {
        mb_buf_addf(&batch, "%s\n", line);
        want(r, &w, &count, line);
    }
    int rc = prove_all(r, w, count);
    if (rc == 0) {
        fprintf(r->to, "%s\n", mb_buf_text(&batch));
        fflush(r->to);
        rc = relay(r, true, NULL);
    }
    for (size_t i = 0; i < count; i++)
        free(w[i].ref);
    free(w);
    mb_buf_clear(&batch);
    return rc;
}

/* --- Work for a push --- */

/* The fingerprint of the key that git signs with; "" for an unsigned push. */
static int signing_key(struct remote *r, char fingerprint[MB_FINGERPRINT_SIZE])
{
    static const char *const argv[] = {"git", "config", "user.signingKey", NULL};
    struct mb_public_key key;
    struct mb_buf text = {0};
    fingerprint[0] = 0;
    if (!r->signing)
        return 0;
    char *given = cli_git_line(argv);
    if (given == NULL)
        return mb_fail(&r->error, MB_EINVAL, "push.key",
                       "a signed push needs user.signingKey: magicbiz repo setup sets it");
    int rc = 0;
    if (strncmp(given, "key::", 5) == 0 || strncmp(given, "ssh-", 4) == 0) {
        mb_buf_add_text(&text, given + (given[0] == 'k' ? 5 : 0));
    } else {
        size_t len = strlen(given);
        bool is_public = len > 4 && strcmp(given + len - 4, ".pub") == 0;
        char *path = mb_asprintf("%s%s", given, is_public ? "" : ".pub");
        rc = mb_read_file(path, 4096, &text, &r->error);
        free(path);
    }
    if (rc == 0)
        rc = mb_public_key_parse_line(&key, mb_buf_text(&text), &r->error);
    if (rc == 0)
        mb_public_key_fingerprint(&key, fingerprint);
    free(given);
    mb_buf_clear(&text);
    return rc;
}

static unsigned work_bits(struct remote *r)
{
    json_t *answer = NULL;
    unsigned bits = 0;
    if (cli_get(r->org, "/v1/state?key=org%2Fparams%2Fwork_bits", &answer, NULL) == 0)
        bits = (unsigned)mb_json_get_int(answer, "value", 0);
    json_decref(answer);
    return bits <= 40 ? bits : 0;
}

/* "push [+]SRC:DST" */
static char *new_id(const char *line)
{
    const char *src = line + 5 + (line[5] == '+'), *colon = strchr(src, ':');
    char *name = mb_strndup(src, colon != NULL ? (size_t)(colon - src) : 0);
    const char *argv[] = {"git", "rev-parse", "--verify", "--quiet", name, NULL};
    char *id =
        *name != 0 ? cli_git_line(argv) : mb_strdup("0000000000000000000000000000000000000000");
    free(name);
    return id;
}

static int bring_work(struct remote *r, const char *first_push, unsigned bits)
{
    char fingerprint[MB_FINGERPRINT_SIZE], work[17], org[MB_HASH_HEX_SIZE];
    int rc = signing_key(r, fingerprint);
    char *id = rc == 0 ? new_id(first_push) : NULL;
    if (rc != 0 || id == NULL)
        return rc != 0 ? rc : mb_fail(&r->error, MB_EINVAL, "push.ref", "no such ref");
    mb_hash_hex(&r->org->pin.org, org);
    for (uint64_t w = 0;; w++) {
        mb_snprintf(work, sizeof work, "%016llx", (unsigned long long)w);
        struct mb_hash h = mb_push_work(org, r->repo, fingerprint, id, work);
        if (mb_hash_has_work(&h, bits))
            break;
    }
    free(id);
    fprintf(r->to, "option push-option work=%s\n", work);
    fflush(r->to);
    char *line = NULL;
    size_t room = 0;
    if (getline(&line, &room, r->from) <= 0 || strncmp(line, "ok", 2) != 0)
        rc = mb_fail(&r->error, MB_EIO, "push.option", "this git takes no push options");
    free(line);
    return rc;
}

static int do_push(struct remote *r, const char *first)
{
    struct mb_buf batch = {0};
    char *first_line = mb_strdup(first);
    size_t count = 0;
    for (const char *line = first; line != NULL && *line != 0; line = read_line(r), count++)
        mb_buf_addf(&batch, "%s\n", line);
    unsigned bits = work_bits(r);
    int rc = 0;
    if (bits > 0 && count == 1)
        rc = bring_work(r, first_line, bits);
    else if (bits > 0)
        fprintf(stderr,
                "magicbiz: keys without a role push one ref at a time here: the work is for "
                "the first of several only if you give it yourself (-o work=W)\n");
    if (rc == 0) {
        fprintf(r->to, "%s\n", mb_buf_text(&batch));
        fflush(r->to);
        rc = relay(r, true, NULL);
    }
    free(first_line);
    mb_buf_clear(&batch);
    return rc;
}

/* --- The conversation --- */

static int serve_one(struct remote *r, const char *line)
{
    if (strncmp(line, "fetch ", 6) == 0)
        return do_fetch(r, line);
    if (strncmp(line, "push ", 5) == 0)
        return do_push(r, line);
    if (strncmp(line, "option pushcert ", 16) == 0)
        r->signing = strcmp(line + 16, "false") != 0;
    say(r->to, line);
    fflush(r->to);
    if (strcmp(line, "capabilities") == 0)
        return relay(r, true, is_offered);
    return relay(r, strncmp(line, "list", 4) == 0, NULL);
}

static int serve(struct remote *r)
{
    const char *line;
    int rc = 0;
    while (rc == 0 && (line = read_line(r)) != NULL && *line != 0)
        rc = serve_one(r, line);
    return rc;
}

/* --- Setting out --- */

static int parse_url(struct remote *r, const char *url, char **org)
{
    const char *start = strncmp(url, "magicbiz://", 11) == 0 ? url + 11 : "";
    const char *slash = strchr(start, '/');
    if (slash == NULL || slash == start || slash[1] == 0 || strchr(slash + 1, '/') != NULL)
        return mb_fail(&r->error, MB_EINVAL, "url", "%s: write magicbiz://ORG/REPO", url);
    *org = mb_strndup(start, (size_t)(slash - start));
    r->repo = mb_strdup(slash + 1);
    size_t len = strlen(r->repo);
    if (len > 4 && strcmp(r->repo + len - 4, ".git") == 0)
        r->repo[len - 4] = 0;
    return 0;
}

static int resolve(struct remote *r)
{
    json_t *onion = NULL;
    int rc = cli_state(r->org, "org/onion", &onion, &r->error);
    if (rc == 1) {
        const char *current = mb_json_get_text(onion, "current", "");
        const char *fallback = cli_fallback(r->org);
        rc = mb_onion_decode(NULL, current) ? 0 : MB_EPROOF;
        if (fallback != NULL) /* a replica's own: the organisation's did not answer just now */
            current = fallback;
        r->url = mb_asprintf("http://%s/%s.git", current, r->repo);
    } else if (rc == 0) {
        rc = mb_fail(&r->error, MB_EPROOF, "org.onion", "the organisation publishes no onion");
    }
    json_decref(onion);
    return rc;
}

static int proxy_of(struct remote *r, char **proxy)
{
    const char *socks = getenv("MAGICBIZ_SOCKS");
    socks = socks != NULL && *socks != 0 ? socks : "127.0.0.1:9050";
    if (strncmp(socks, "unix:", 5) == 0)
        return mb_fail(&r->error, MB_EINVAL, "socks.unix",
                       "git speaks to SOCKS ports on loopback only: set MAGICBIZ_SOCKS to Tor's "
                       "127.0.0.1:PORT");
    *proxy = mb_asprintf("socks5h://%s", socks);
    return 0;
}

int main(int argc, char **argv)
{
    struct remote r = {.cli = {.quiet = true, .timeout_ms = 60000}};
    char *org = NULL, *proxy = NULL;
    if (argc < 3 || sodium_init() < 0) {
        fputs("git-remote-magicbiz is run by git for magicbiz://ORG/REPO: see magicbiz(1)\n",
              stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    cli_find_dirs(&r.cli);
    int rc = parse_url(&r, argv[2], &org);
    if (rc == 0) {
        setenv("MAGICBIZ_ORG", org, 1);
        rc = cli_open_org(&r.cli, &r.org, &r.error);
    }
    if (rc == 0)
        rc = resolve(&r);
    if (rc == 0)
        rc = proxy_of(&r, &proxy);
    if (rc == 0)
        rc = start_http(&r, argv[1], proxy);
    if (rc == 0) {
        rc = serve(&r);
        fclose(r.to);
        fclose(r.from);
        waitpid(r.child, NULL, 0);
        if (rc == MB_EREACH && r.error.code[0] == 0)
            return 3; /* git remote-http has said why */
    }
    int status = cli_fail(rc, &r.error);
    cli_org_free(r.org);
    free(r.cli.config_dir);
    free(r.cli.state_dir);
    free(r.repo);
    free(r.url);
    free(r.line);
    free(org);
    free(proxy);
    return status;
}
