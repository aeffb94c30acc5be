/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * magicbizd init: found an organisation with this daemon as its first replica. Every key and the
 * genesis are made here, before tor runs; from then on only the log and the archive count.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/found.h"
#include "rules/cage.h"

struct founding {
    const char *name, *data, *include, *rulebook;
    const char *founders[64];
    size_t founder_count;
    int64_t threshold, epoch_s, work_bits;
    const char *tor_mode;
    const char *modules[MB_MODULES_MAX];
    size_t module_count;
    const char *params[64]; /* NAME=INTEGER */
    size_t param_count;
    bool founders_retired, json;
};

static const char usage[] =
    "usage: magicbizd init --name NAME --founder PUBKEY... --data DIR [options]\n"
    "\n"
    "Found an organisation with this daemon as its first replica.\n"
    "\n"
    "  --name NAME        1 to 32 lower-case letters and digits\n"
    "  --founder PUBKEY   a founder's key: \"ssh-ed25519 AAAA...\" or a .pub file; repeatable\n"
    "  --data DIR         folder to make; keep a copy of DIR/keys in a safe place\n"
    "  --threshold M      how many founders must sign what the organisation does (1)\n"
    "  --founders-retired they decide nothing as founders, only as members; needs --module gov\n"
    "                     and --module books\n"
    "  --work-bits N      work asked of commands by keys without a role, 0 to 32 (0)\n"
    "  --epoch SECONDS    length of an epoch (3600)\n"
    "  --module NAME      a module that the organisation uses; repeatable (vcs)\n"
    "  --rulebook FILE    the first rulebook; needs --module rules\n"
    "  --param NAME=N     a parameter of the organisation, an integer; repeatable\n"
    "  --tor MODE         child, running or none, for the configuration written (child)\n"
    "  --torrc FILE       torrc that the child includes: a private network, bridges\n"
    "  --json             print one JSON document\n"
    "\n"
    "example: magicbizd init --name acme --founder \"$(magicbiz id show --public)\" --data "
    "/srv/acme\n";

/* A whole number, or usage. */
static bool number(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    if (errno == 0 && end != text && *end == 0)
        return true;
    fprintf(stderr, "magicbizd: %s is no number\n", text);
    return false;
}

static bool add_text(const char **texts, size_t *count, size_t most, const char *text)
{
    if (*count < most) {
        texts[(*count)++] = text;
        return true;
    }
    fprintf(stderr, "magicbizd: %s is one too many: %zu are the most\n", text, most);
    return false;
}

static int parse_arguments(struct founding *f, int argc, char **argv)
{
    static const struct option options[] = {{"name", required_argument, NULL, 'n'},
                                            {"founder", required_argument, NULL, 'f'},
                                            {"data", required_argument, NULL, 'd'},
                                            {"threshold", required_argument, NULL, 't'},
                                            {"founders-retired", no_argument, NULL, 'R'},
                                            {"work-bits", required_argument, NULL, 'w'},
                                            {"epoch", required_argument, NULL, 'e'},
                                            {"module", required_argument, NULL, 'm'},
                                            {"rulebook", required_argument, NULL, 'r'},
                                            {"param", required_argument, NULL, 'p'},
                                            {"tor", required_argument, NULL, 'T'},
                                            {"torrc", required_argument, NULL, 'i'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int c;
    *f = (struct founding){.threshold = 1, .epoch_s = 3600, .tor_mode = "child"};
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'n':
            f->name = optarg;
            break;
        case 'd':
            f->data = optarg;
            break;
        case 'i':
            f->include = optarg;
            break;
        case 'r':
            f->rulebook = optarg;
            break;
        case 'p':
            if (!add_text(f->params, &f->param_count, sizeof f->params / sizeof *f->params, optarg))
                return 2;
            break;
        case 'T':
            f->tor_mode = optarg;
            break;
        case 'j':
            f->json = true;
            break;
        case 'R':
            f->founders_retired = true;
            break;
        case 't':
            if (!number(optarg, &f->threshold))
                return 2;
            break;
        case 'w':
            if (!number(optarg, &f->work_bits))
                return 2;
            break;
        case 'e':
            if (!number(optarg, &f->epoch_s))
                return 2;
            break;
        case 'f':
            if (!add_text(f->founders, &f->founder_count, sizeof f->founders / sizeof *f->founders,
                          optarg))
                return 2;
            break;
        case 'm':
            if (!add_text(f->modules, &f->module_count, MB_MODULES_MAX, optarg))
                return 2;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (!found_tor_mode(f->tor_mode))
        return 2;
    if (f->name == NULL || f->data == NULL || f->founder_count == 0 || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    if (f->module_count == 0)
        f->modules[f->module_count++] = "vcs";
    return 0;
}

static int founder_key(const char *given, struct mb_public_key *key, struct mb_error *error)
{
    struct mb_buf text = {0};
    int rc = 0;
    if (strncmp(given, "ssh-", 4) == 0)
        mb_buf_add_text(&text, given);
    else
        rc = mb_read_file(given, 4096, &text, error);
    if (rc == 0)
        rc = mb_public_key_parse_line(key, mb_buf_text(&text), error);
    mb_buf_clear(&text);
    return rc;
}

static json_t *text_of_key(const struct mb_public_key *key)
{
    char text[MB_PUBLIC_TEXT_SIZE];
    mb_public_key_text(key, text);
    return json_string(text);
}

static json_t *versions_of(const struct mb_modules *modules)
{
    json_t *versions = json_pack("{s:i, s:s}", "core", MB_CORE_VERSION, "lua", MB_LUA_RELEASE);
    for (size_t i = 0; i < modules->count; i++)
        json_object_set_new(versions, modules->logics[i]->name,
                            json_integer(modules->logics[i]->version));
    return versions;
}

/* --param's, and work_bits. */
static int params_of(const struct founding *f, json_t *params, struct mb_error *error)
{
    if (f->work_bits > 0)
        json_object_set_new(params, "work_bits", json_integer(f->work_bits));
    for (size_t i = 0; i < f->param_count; i++) {
        const char *equals = strchr(f->params[i], '=');
        char *end = NULL;
        errno = 0;
        long long value = equals != NULL ? strtoll(equals + 1, &end, 10) : 0;
        if (end == NULL || end == equals + 1 || *end != 0 || errno != 0)
            return mb_fail(error, MB_EINVAL, "init.param", "--param %s: NAME=INTEGER is wanted",
                           f->params[i]);
        char *name = mb_strndup(f->params[i], (size_t)(equals - f->params[i]));
        json_object_set_new(params, name, json_integer(value));
        free(name);
    }
    return 0;
}

/* The rulebook's source ("" where none is given), which must compile. */
static int rulebook_of(const struct founding *f, struct mb_buf *source, struct mb_error *error)
{
    struct mb_cage *cage;
    if (f->rulebook == NULL)
        return 0;
    int rc = mb_read_file(f->rulebook, MB_RULES_SOURCE_MAX, source, error);
    if (rc != 0)
        return rc;
    struct mb_error why = {0};
    if ((rc = mb_cage_new(&cage, mb_buf_bytes(source), &why)) != 0)
        mb_fail(error, rc, "init.rulebook", "%s: %s %s", f->rulebook, why.code,
                why.text[0] != 0 ? why.text : why.args);
    mb_cage_free(cage);
    return rc;
}

static int make_genesis(const struct founding *f, const struct mb_modules *modules,
                        struct found_keys *keys, struct mb_buf *genesis, struct mb_error *error)
{
    char onion[MB_ONION_SIZE];
    json_t *founders = json_array();
    int rc = 0;
    for (size_t i = 0; i < f->founder_count && rc == 0; i++) {
        struct mb_public_key founder;
        rc = founder_key(f->founders[i], &founder, error);
        if (rc == 0)
            json_array_append_new(founders, text_of_key(&founder));
    }
    /* The founding hour is enough for a public record; the minute would tell more. */
    int64_t created = mb_clock_s() / 3600 * 3600;
    json_t *params = json_object();
    struct mb_buf rulebook = {0};
    if (rc == 0)
        rc = found_onion(f->data, "organisation.onion", onion, error);
    if (rc == 0)
        rc = params_of(f, params, error);
    if (rc == 0)
        rc = rulebook_of(f, &rulebook, error);
    if (rc != 0) {
        json_decref(founders);
        json_decref(params);
        mb_buf_clear(&rulebook);
        return rc;
    }
    json_t *json = json_pack(
        "{s:i, s:s, s:I, s:I, s:o, s:I, s:[{s:i, s:o, s:s, s:s, s:s}], s:s, s:o, s:s, s:o}",
        "format", 1, "name", f->name, "created", (json_int_t)created, "epoch_s",
        (json_int_t)f->epoch_s, "founders", founders, "founder_threshold", (json_int_t)f->threshold,
        "replicas", "number", 1, "public_key", text_of_key(&keys->replica.public_key), "peer_onion",
        keys->peer_onion, "onion", keys->onion, "tor_auth", mb_buf_text(&keys->tor_auth), "onion",
        onion, "versions", versions_of(modules), "rulebook", mb_buf_text(&rulebook), "params",
        params);
    if (f->founders_retired)
        json_object_set_new(json, "founders_retired", json_integer(1));
    rc = json != NULL ? mb_json_canonical(genesis, json, error) : rc;
    if (json == NULL)
        rc = mb_fail(error, MB_EINVAL, "init.rulebook", "%s: is not UTF-8", f->rulebook);
    json_decref(json);
    mb_buf_clear(&rulebook);
    return rc;
}

static void print_result(const struct founding *f, const struct mb_genesis *genesis,
                         const struct mb_tip *tip, const struct mb_secret_key *key)
{
    char org[MB_HASH_HEX_SIZE], hash[MB_HASH_HEX_SIZE], fingerprint[MB_FINGERPRINT_SIZE];
    const char *onion = mb_json_get_text(genesis->json, "onion", "");
    mb_hash_hex(&genesis->org, org);
    mb_hash_hex(&tip->header_hash, hash);
    mb_public_key_fingerprint(&key->public_key, fingerprint);
    char *pin = mb_asprintf("magicbiz:%s@%s#0.%s", org, onion, hash);
    if (f->json) {
        json_t *json =
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", f->name, "org", org, "onion", onion,
                      "replica", fingerprint, "join", pin, "data", f->data);
        char *text = mb_json_text(json);
        puts(text);
        free(text);
        json_decref(json);
    } else {
        printf("founded %s\norg      %s\nonion    %s\nreplica  %s\n\n", f->name, org, onion,
               fingerprint);
        printf("run it:  magicbizd run --config %s/magicbiz.conf\n", f->data);
        printf("join it: magicbiz org join %s %s\n", f->name, pin);
        printf("\nKeep a copy of %s/keys where nobody else can read it.\n", f->data);
    }
    free(pin);
}

static int write_all(const struct founding *f, const struct mb_modules *modules,
                     struct mb_error *error)
{
    struct found_keys keys = {0};
    struct mb_buf genesis_text = {0};
    struct mb_genesis genesis = {0};
    struct mb_tip tip;
    int rc = found_make_keys(f->data, &keys, error);
    if (rc == 0)
        rc = make_genesis(f, modules, &keys, &genesis_text, error);
    if (rc == 0)
        rc = mb_genesis_parse(&genesis, mb_buf_bytes(&genesis_text), error);
    if (rc == 0)
        rc = found_genesis(f->data, mb_buf_bytes(&genesis_text), error);
    if (rc == 0)
        rc = found_config(f->data, f->modules, f->module_count, f->tor_mode, f->include, "", error);
    if (rc == 0)
        rc = found_history(f->data, modules, &keys.replica, mb_buf_bytes(&genesis_text), &tip,
                           error);
    if (rc == 0)
        print_result(f, &genesis, &tip, &keys.replica);
    mb_genesis_clear(&genesis);
    mb_buf_clear(&genesis_text);
    found_keys_clear(&keys);
    return rc;
}

static int found(void *arg, struct mb_error *error)
{
    const struct founding *f = arg;
    struct mb_modules modules = {0};
    int rc = 0;
    for (size_t i = 0; i < f->module_count && rc == 0; i++)
        rc = mb_modules_load(&modules, mb_modules_dir(MB_MODULE_DIR), f->modules[i], error);
    return rc == 0 ? write_all(f, &modules, error) : rc;
}

int init_main(int argc, char **argv)
{
    struct founding f;
    int rc = parse_arguments(&f, argc, argv);
    return rc == 0 ? found_run(f.data, found, &f) : rc;
}
