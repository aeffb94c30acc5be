/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * magicbizd join: a daemon for an organisation that exists. It makes its own keys, asks for the
 * genesis, which must hash to the invited id, and begins with an empty ledger; magicbizd run then
 * follows.
 */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/found.h"
#include "host/pin.h"
#include "http/client.h"

#define ANSWER_MAX (8u << 20)
#define TIMEOUT_MS 60000

struct joining {
    const char *invite, *data, *include, *socks, *socket;
    const char *tor_mode, *role;
    struct mb_pin pin;
    struct mb_buf genesis_text;
    struct mb_genesis genesis;
    const char *modules[MB_MODULES_MAX];
    size_t module_count;
};

static const char usage[] =
    "usage: magicbizd join --invite TEXT --data DIR [options]\n"
    "\n"
    "Make a daemon that follows an organisation, and may become a replica of it.\n"
    "\n"
    "  --invite TEXT   what `magicbiz replica invite` printed\n"
    "  --data DIR      folder to make; keep a copy of DIR/keys in a safe place\n"
    "  --role ROLE     replica or follower (replica): says what to do next\n"
    "  --socks ADDRESS Tor to ask through now: unix:/PATH or 127.0.0.1:PORT (127.0.0.1:9050)\n"
    "  --socket PATH   ask this replica's public socket instead, now and later: for tests\n"
    "  --tor MODE      child, running or none, for the configuration written (child)\n"
    "  --torrc FILE    torrc that the child includes: a private network, bridges\n"
    "\n"
    "example: magicbizd join --invite magicbiz:... --data /srv/acme\n";

static int parse_arguments(struct joining *j, int argc, char **argv)
{
    static const struct option options[] = {{"invite", required_argument, NULL, 'i'},
                                            {"data", required_argument, NULL, 'd'},
                                            {"role", required_argument, NULL, 'r'},
                                            {"socks", required_argument, NULL, 's'},
                                            {"socket", required_argument, NULL, 'S'},
                                            {"tor", required_argument, NULL, 'T'},
                                            {"torrc", required_argument, NULL, 'I'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int c;
    *j = (struct joining){.tor_mode = "child", .role = "replica", .socks = "127.0.0.1:9050"};
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'i':
            j->invite = optarg;
            break;
        case 'd':
            j->data = optarg;
            break;
        case 'r':
            j->role = optarg;
            break;
        case 's':
            j->socks = optarg;
            break;
        case 'S':
            j->socket = optarg;
            break;
        case 'T':
            j->tor_mode = optarg;
            break;
        case 'I':
            j->include = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            fputs(usage, stderr);
            return 2;
        }
    }
    if (!found_tor_mode(j->tor_mode))
        return 2;
    if (strcmp(j->role, "replica") != 0 && strcmp(j->role, "follower") != 0) {
        fprintf(stderr, "magicbizd: --role %s: replica or follower\n", j->role);
        return 2;
    }
    if (j->invite == NULL || j->data == NULL || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    return 0;
}

static int ask(struct joining *j, const char *onion, struct mb_error *error)
{
    char hex[MB_HASH_HEX_SIZE];
    mb_hash_hex(&j->pin.org, hex);
    struct mb_http_client_options options = {.unix_path = j->socket,
                                             .onion = j->socket != NULL ? NULL : onion,
                                             .socks = j->socket != NULL ? NULL : j->socks,
                                             .isolation = hex,
                                             .timeout_ms = TIMEOUT_MS};
    struct mb_http_client *client = NULL;
    struct mb_buf body = {0};
    json_t *answer = NULL;
    unsigned status = 0;
    int rc = mb_http_client_new(&client, &options, error);
    if (rc == 0)
        rc = mb_http_get(client, "/v1/org", ANSWER_MAX, &status, &body, error);
    if (rc == 0)
        rc = mb_json_parse(&answer, body.data, body.len, error);
    if (rc == 0 && status != 200)
        rc = mb_fail(error, MB_EREACH, "http.status", "/v1/org is answered with status %u", status);
    if (rc == 0)
        mb_buf_add_text(&j->genesis_text, mb_json_get_text(answer, "genesis", ""));
    json_decref(answer);
    mb_buf_clear(&body);
    mb_http_client_free(client);
    return rc;
}

static int get_genesis(struct joining *j, struct mb_error *error)
{
    int rc = MB_EREACH;
    for (size_t i = 0; i < j->pin.onion_count && rc == MB_EREACH; i++)
        rc = ask(j, j->pin.onions[i], error);
    if (rc == 0)
        rc = mb_genesis_parse(&j->genesis, mb_buf_bytes(&j->genesis_text), error);
    if (rc == 0 && !mb_hash_equal(&j->genesis.org, &j->pin.org))
        rc = mb_fail(error, MB_EPROOF, "org.other",
                     "who answers is another organisation: do not trust this address");
    return rc;
}

/* The modules that the organisation began with; those that came later are added to the
 * configuration by hand, as the daemon says when it meets them. */
static int load_modules(struct joining *j, struct mb_modules *modules, struct mb_error *error)
{
    const char *name;
    json_t *version;
    int rc = 0;
    json_object_foreach(json_object_get(j->genesis.json, "versions"), name, version)
    {
        if (strcmp(name, "core") == 0 || strcmp(name, "lua") == 0 || rc != 0 ||
            j->module_count == MB_MODULES_MAX)
            continue;
        j->modules[j->module_count++] = name;
        rc = mb_modules_load(modules, mb_modules_dir(MB_MODULE_DIR), name, error);
    }
    return rc;
}

static int write_all(struct joining *j, const struct mb_modules *modules, struct mb_error *error)
{
    struct found_keys keys = {0};
    struct mb_buf more = {0};
    struct mb_tip tip;
    mb_buf_addf(&more, "\n[follow]\ninvite = %s\n", j->invite);
    if (j->socket != NULL)
        mb_buf_addf(&more, "sockets = %s\n", j->socket);
    int rc = found_make_keys(j->data, &keys, error);
    if (rc == 0)
        rc = found_genesis(j->data, mb_buf_bytes(&j->genesis_text), error);
    if (rc == 0)
        rc = found_config(j->data, j->modules, j->module_count, j->tor_mode, j->include,
                          mb_buf_text(&more), error);
    if (rc == 0)
        rc = found_history(j->data, modules, NULL, mb_buf_bytes(&j->genesis_text), &tip, error);
    if (rc == 0 && j->pin.slot == 0 && !mb_hash_equal(&tip.header_hash, &j->pin.header_hash))
        rc = mb_fail(error, MB_EPROOF, "checkpoint.fork",
                     "the genesis gives another header 0 than the invite says: are the modules of "
                     "the organisation's version?");
    found_keys_clear(&keys);
    mb_buf_clear(&more);
    return rc;
}

static int join(void *arg, struct mb_error *error)
{
    struct joining *j = arg;
    struct mb_modules modules = {0};
    int rc = mb_pin_parse(&j->pin, j->invite, error);
    if (rc == 0)
        rc = get_genesis(j, error);
    if (rc == 0)
        rc = load_modules(j, &modules, error);
    return rc == 0 ? write_all(j, &modules, error) : rc;
}

int join_main(int argc, char **argv)
{
    struct joining j;
    int rc = parse_arguments(&j, argc, argv);
    if (rc != 0)
        return rc;
    rc = found_run(j.data, join, &j);
    if (rc == 0) {
        printf("joined %s\n\nrun it:  magicbizd run --config %s/magicbiz.conf\n", j.genesis.name,
               j.data);
        if (strcmp(j.role, "replica") == 0)
            printf("once it has caught up, a founder makes it a replica:\n"
                   "         magicbiz replica add \"$(magicbiz replica request --socket "
                   "%s/run/operator.sock)\"\n",
                   j.data);
        printf("\nKeep a copy of %s/keys where nobody else can read it.\n", j.data);
    }
    mb_genesis_clear(&j.genesis);
    mb_buf_clear(&j.genesis_text);
    mb_pin_clear(&j.pin);
    return rc;
}
