/* SPDX-License-Identifier: GPL-3.0-or-later */
/* vcs's verbs over a ledger in memory, with certificates signed here. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../modules/vcs/vcs.h"
#include "../support/org.h"
#include "base/encode.h"

#define T0   (ORG_CREATED + 7200)
#define ZERO "0000000000000000000000000000000000000000"
#define ONE  "1111111111111111111111111111111111111111"
#define TWO  "2222222222222222222222222222222222222222"

static const struct mb_logic *const modules[] = {&vcs_logic};

struct fixture {
    struct org o;
    struct mb_memory *memory;
    struct mb_backend backend;
    char *maintainer; /* founders[0]'s fingerprint */
    char org_onion[MB_ONION_SIZE], replica_onion[MB_ONION_SIZE];
    unsigned nonces;
};

static void onion_of(char out[MB_ONION_SIZE], uint8_t seed)
{
    struct mb_secret_key key = org_key(seed);
    mb_onion_encode(out, key.public_key.b);
}

static struct fixture *start(const char *params)
{
    struct fixture *f = mb_calloc(1, sizeof *f);
    struct org *o = &f->o;
    f->memory = mb_memory_new();
    f->backend = mb_memory_backend(f->memory);
    json_t *json = org_genesis_json(o, 1, 1);
    json_t *versions = json_object_get(json, "versions");
    json_object_del(versions, "toy");
    json_object_set_new(versions, "vcs", json_integer(1));
    json_object_set_new(json, "params", json_loads(params, 0, NULL));
    assert_int_equal(mb_json_canonical(&o->genesis, json, NULL), 0);
    json_decref(json);
    if (mb_ledger_found(&o->ledger, f->backend, modules, 1, mb_buf_bytes(&o->genesis), &o->error) !=
        0)
        fail_msg("%s", o->error.text);
    f->maintainer = org_fingerprint(&o->founders[0]);
    onion_of(f->replica_onion, 31);
    onion_of(f->org_onion, 32);
    return f;
}

static void stop(struct fixture *f)
{
    org_clear(&f->o);
    mb_memory_free(f->memory);
    free(f->maintainer);
    free(f);
}

/* Run it; the code must be this, "" being success. A refusal changes nothing of vcs's. */
static void expect_at(struct fixture *f, int64_t time, const struct mb_secret_key *key,
                      const char *type, const char *body, const char *code)
{
    struct mb_hash before = org_state_hash(f->backend, "vcs/");
    char *result = org_do(&f->o, time, key, type, body);
    json_t *json = json_loads(result, 0, NULL);
    const char *found = mb_json_get_text(json_object_get(json, "error"), "code", "");
    if (strcmp(found, code) != 0)
        fail_msg("%s instead of \"%s\" for %s %s", result, code, type, body);
    struct mb_hash after = org_state_hash(f->backend, "vcs/");
    if (*code != 0)
        assert_true(mb_hash_equal(&before, &after));
    json_decref(json);
    free(result);
}

static void expect(struct fixture *f, const struct mb_secret_key *key, const char *type,
                   const char *body, const char *code)
{
    expect_at(f, T0, key, type, body, code);
}

static void expect_state(struct fixture *f, const char *key, const char *text)
{
    char *found = org_state(&f->o, key);
    if (text != NULL)
        assert_string_equal(found != NULL ? found : "(none)", text);
    else if (found != NULL)
        fail_msg("%s is %s", key, found);
    free(found);
}

static int64_t repo_int(struct fixture *f, const char *name)
{
    char *text = org_state(&f->o, "vcs/repo/r");
    json_t *json = json_loads(text, 0, NULL);
    int64_t value = mb_json_get_int(json, name, -1);
    json_decref(json);
    free(text);
    return value;
}

/* The repository r, founders[0] maintaining it; more: further fields, each after a comma. */
static void create(struct fixture *f, const char *more)
{
    char *body = mb_asprintf("{\"name\":\"r\",\"maintainers\":[\"%s\"]%s}", f->maintainer, more);
    expect(f, &f->o.founders[0], "vcs.repo.create", body, "");
    free(body);
}

static void set(struct fixture *f, const char *more)
{
    char *body = mb_asprintf("{\"name\":\"r\",%s}", more);
    expect(f, &f->o.founders[0], "vcs.repo.set", body, "");
    free(body);
}

/* --- Pushes --- */

struct update {
    const char *old_id, *new_id, *ref;
};

/* Everything that a push says; what is NULL or 0 is as it should be. */
struct a_push {
    const struct mb_secret_key *key; /* who signs the certificate; NULL: unsigned */
    struct update updates[3];        /* ends with a NULL ref */
    int64_t time;                    /* of the block; 0: T0 */
    int64_t age;                     /* of the nonce at time */
    const char *repo, *pushee, *zone, *nonce, *nonce_org, *nonce_repo;
    unsigned random; /* of the nonce; 0: a new one */
    const char *work;
    const char *pack;
    /* Receipts. */
    const struct mb_secret_key *vouches; /* NULL: the replica */
    const char *receipt_key;             /* the fingerprint named; NULL: the replica's */
    const struct mb_secret_key *by[6];   /* one receipt of each, under its name */
    const char *receipt_pack, *receipt_repo;
    int64_t until; /* after time */
    bool no_receipt, other_updates, twice;
    /* Ways to spoil it. */
    bool spoilt_signature, spoilt_form, both, no_kind;
};

static size_t count_of(const struct a_push *p)
{
    size_t n = 0;
    while (n < 3 && p->updates[n].ref != NULL)
        n++;
    return n;
}

static char *nonce_of(struct fixture *f, const struct a_push *p, int64_t time)
{
    struct mb_push_nonce nonce = {.time = time - p->age};
    char hex[MB_HASH_HEX_SIZE], text[160];
    const char *repo = p->nonce_repo != NULL ? p->nonce_repo : p->repo != NULL ? p->repo : "r";
    struct mb_hash h = mb_sha256(repo, strlen(repo));
    mb_hash_hex(&h, hex);
    mb_snprintf(nonce.org, sizeof nonce.org, "%s",
                p->nonce_org != NULL ? p->nonce_org : mb_ledger_org(f->o.ledger));
    mb_snprintf(nonce.repo, sizeof nonce.repo, "%.16s", hex);
    mb_snprintf(nonce.random, sizeof nonce.random, "%032x",
                p->random != 0 ? p->random : 0x10000 + f->nonces++);
    mb_push_nonce_text(&nonce, text);
    return mb_strdup(p->nonce != NULL ? p->nonce : text);
}

static char *certificate(struct fixture *f, const struct a_push *p, int64_t time)
{
    struct mb_buf text = {0}, binary = {0};
    char *nonce = nonce_of(f, p, time);
    mb_buf_addf(&text, "certificate version 0.1\npusher a <a> %" PRId64 " %s\n", time,
                p->zone != NULL ? p->zone : "+0000");
    if (p->pushee != NULL)
        mb_buf_addf(&text, "pushee %s\n", p->pushee);
    else
        mb_buf_addf(&text, "pushee http://%s/%s.git\n", f->org_onion,
                    p->repo != NULL ? p->repo : "r");
    mb_buf_addf(&text, "nonce %s\n", nonce);
    if (p->work != NULL)
        mb_buf_addf(&text, "push-option x=y\npush-option work=%s\n", p->work);
    mb_buf_add_text(&text, "\n");
    for (size_t i = 0; i < count_of(p); i++)
        mb_buf_addf(&text, "%s %s %s\n", p->updates[i].old_id, p->updates[i].new_id,
                    p->updates[i].ref);
    mb_sshsig_sign(p->key, p->spoilt_signature ? "file" : "git", mb_buf_bytes(&text), &binary);
    mb_sshsig_armor(&text, mb_buf_bytes(&binary));
    if (p->spoilt_form)
        mb_buf_add_text(&text, "more\n");
    mb_buf_clear(&binary);
    free(nonce);
    return mb_buf_take_text(&text);
}

static json_t *receipt(struct fixture *f, const struct a_push *p, int64_t until)
{
    struct mb_ref_update updates[3] = {0};
    struct mb_buf text = {0}, binary = {0}, base64 = {0};
    for (size_t i = 0; i < count_of(p); i++) {
        mb_snprintf(updates[i].old_id, sizeof updates[i].old_id, "%s", p->updates[i].old_id);
        mb_snprintf(updates[i].new_id, sizeof updates[i].new_id, "%s", p->updates[i].new_id);
        updates[i].ref = mb_strdup(p->other_updates ? "refs/heads/else" : p->updates[i].ref);
    }
    const char *repo = p->repo != NULL ? p->repo : "r";
    vcs_receipt_text(
        &text, mb_ledger_org(f->o.ledger), p->receipt_repo != NULL ? p->receipt_repo : repo,
        p->receipt_pack != NULL ? p->receipt_pack : p->pack, until, updates, count_of(p));
    mb_sshsig_sign(p->vouches != NULL ? p->vouches : &f->o.replica, VCS_NAMESPACE_RECEIPT,
                   mb_buf_bytes(&text), &binary);
    mb_base64_encode(&base64, binary.data, binary.len);
    char *own = org_fingerprint(&f->o.replica);
    json_t *json =
        json_pack("{s:s, s:s, s:I}", "key", p->receipt_key != NULL ? p->receipt_key : own,
                  "signature", mb_buf_text(&base64), "until", (json_int_t)until);
    free(own);
    for (size_t i = 0; i < 3; i++)
        free(updates[i].ref);
    mb_buf_clear(&text);
    mb_buf_clear(&binary);
    mb_buf_clear(&base64);
    return json;
}

static char *push_body(struct fixture *f, const struct a_push *p, int64_t time)
{
    json_t *body = json_object(), *receipts = json_array(), *updates = json_array();
    json_object_set_new(body, "repo", json_string(p->repo != NULL ? p->repo : "r"));
    for (size_t i = 0; i < count_of(p); i++)
        json_array_append_new(updates,
                              json_pack("{s:s, s:s, s:s}", "new", p->updates[i].new_id, "old",
                                        p->updates[i].old_id, "ref", p->updates[i].ref));
    if (p->key != NULL && !p->no_kind) {
        char *text = certificate(f, p, time);
        json_object_set_new(body, "certificate", json_string(text));
        free(text);
    }
    if ((p->key == NULL && !p->no_kind) || p->both)
        json_object_set(body, "updates", updates);
    if (p->key == NULL && p->work != NULL)
        json_object_set_new(body, "work", json_string(p->work));
    if (p->pack != NULL)
        json_object_set_new(body, "pack", json_string(p->pack));
    for (size_t i = 0; i < 6 && p->by[i] != NULL; i++) {
        struct a_push one = *p;
        char *fingerprint = org_fingerprint(p->by[i]);
        one.vouches = p->by[i];
        one.receipt_key = fingerprint;
        json_array_append_new(receipts, receipt(f, &one, time + p->until));
        free(fingerprint);
    }
    if (p->by[0] == NULL)
        json_array_append_new(receipts,
                              p->no_receipt ? json_object() : receipt(f, p, time + p->until));
    if (p->twice)
        json_array_append(receipts, json_array_get(receipts, 0));
    json_object_set_new(body, "receipts", receipts);
    json_decref(updates);
    char *text = mb_json_text(body);
    json_decref(body);
    return text;
}

static void push(struct fixture *f, struct a_push p, const char *code)
{
    int64_t time = p.time != 0 ? p.time : T0;
    char *body = push_body(f, &p, time);
    expect_at(f, time, &f->o.replica, "vcs.push", body, code);
    free(body);
}

#define PUSH(f, code, ...) push(f, (struct a_push){__VA_ARGS__}, code)
#define NEW_MAIN           .updates = {{ZERO, ONE, "refs/heads/main"}}
#define PROPOSE            .updates = {{ZERO, TWO, "refs/for/main"}}

/* --- Repositories --- */

static void names_of_repositories(void **state)
{
    static const struct {
        const char *name;
        bool valid;
    } cases[] = {
        {"a", true},
        {"a-b.c_9", true},
        {"", false},
        {"A", false},
        {"-a", false},
        {"a.", false},
        {"a..b", false},
        {"a.git", false},
        {"a.lock", false},
        {"a/b", false},
        {"git", true},
        {".git", false},
        {"a\xc3\xa9", false},
        {"0123456789012345678901234567890123456789", true},
        {"01234567890123456789012345678901234567890", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(vcs_repo_name_valid(cases[i].name), cases[i].valid);
}

static void repositories_are_created_and_set(void **state)
{
    struct fixture *f = start("{}");
    struct mb_secret_key *boss = &f->o.founders[0], *other = &f->o.other;
    char *other_fp = org_fingerprint(other);
    (void)state;
    create(f, "");
    char *expected = mb_asprintf(
        "{\"created\":1,\"default_branch\":\"main\",\"limits\":{\"object_bytes\":134217728,"
        "\"pack_bytes\":536870912,\"proposal_bytes\":33554432,\"proposals\":1000,\"proposals_per_"
        "key\":20},\"maintainers\":"
        "[\"%s\"],\"next_proposal\":1,\"next_push\":1,\"object_format\":\"sha1\",\"policy\":"
        "\"strict\",\"proposals\":0,\"rewind\":0,\"title\":\"\",\"unsigned\":0}",
        f->maintainer);
    expect_state(f, "vcs/repo/r", expected);
    free(expected);

    static const struct {
        const char *type, *fields, *code;
    } cases[] = {
        {"vcs.repo.create", "\"name\":\"r\"", "vcs.repo_exists"},
        {"vcs.repo.create", "\"name\":\"R\"", "vcs.repo_name"},
        {"vcs.repo.create", "\"name\":\"s\",\"object_format\":\"md5\"", "vcs.object_format"},
        {"vcs.repo.create", "\"name\":\"s\",\"policy\":\"lax\"", "vcs.policy"},
        {"vcs.repo.create", "\"name\":\"s\",\"default_branch\":\"a..b\"", "vcs.ref"},
        {"vcs.repo.create", "\"name\":\"s\",\"limits\":{\"proposals\":-1}", "body.invalid"},
        {"vcs.repo.create", "\"name\":\"s\",\"limits\":{\"x\":1}", "body.invalid"},
        {"vcs.repo.create", "\"name\":\"s\",\"unsigned\":2", "body.invalid"},
        {"vcs.repo.set", "\"name\":\"s\"", "vcs.repo_unknown"},
        {"vcs.repo.set", "\"name\":\"../r\"", "vcs.repo_unknown"},
        {"vcs.repo.set", "\"name\":\"r\",\"object_format\":\"sha256\"", "body.invalid"},
        {"vcs.repo.set", "\"name\":\"r\",\"policy\":\"\"", "vcs.policy"},
        {"vcs.repo.set", "\"name\":\"r\",\"default_branch\":\" \"", "vcs.ref"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *body = mb_asprintf("{%s,\"maintainers\":[\"%s\"]}", cases[i].fields, f->maintainer);
        expect(f, boss, cases[i].type, body, cases[i].code);
        free(body);
    }
    expect(f, boss, "vcs.repo.create", "{\"name\":\"s\",\"maintainers\":[\"x\"]}",
           "vcs.maintainer");
    expect(f, boss, "vcs.repo.create", "{\"name\":\"s\",\"maintainers\":[1]}", "vcs.maintainer");
    expect(f, boss, "vcs.repo.create", "{\"name\":\"s\",\"maintainers\":[]}", "body.invalid");
    char *twice =
        mb_asprintf("{\"name\":\"r\",\"maintainers\":[\"%s\",\"%s\"]}", other_fp, other_fp);
    expect(f, boss, "vcs.repo.set", twice, "vcs.maintainer");
    free(twice);
    expect(f, other, "vcs.repo.create", "{\"name\":\"s\",\"maintainers\":[\"x\"]}",
           "command.access");
    expect(f, other, "vcs.repo.set", "{\"name\":\"r\",\"title\":\"x\"}", "command.access");

    /* Whoever maintains it may set it; limits are laid over one by one. */
    char *body =
        mb_asprintf("\"maintainers\":[\"%s\"],\"limits\":{\"proposals\":7},\"rewind\":1", other_fp);
    set(f, body);
    free(body);
    expect(f, other, "vcs.repo.set", "{\"name\":\"r\",\"title\":\"x\",\"unsigned\":1}", "");
    assert_int_equal(repo_int(f, "unsigned"), 1);
    assert_int_equal(repo_int(f, "rewind"), 1);
    char *text = org_state(&f->o, "vcs/repo/r");
    assert_non_null(strstr(text, "\"proposal_bytes\":33554432,\"proposals\":7,"));
    free(text);
    free(other_fp);
    stop(f);
}

/* --- Branches and tags --- */

static void a_maintainer_pushes(void **state)
{
    struct fixture *f = start("{}");
    const struct mb_secret_key *boss = &f->o.founders[0];
    (void)state;
    create(f, "");
    PUSH(f, "", .key = boss,
         .updates = {{ZERO, ONE, "refs/heads/main"}, {ZERO, ONE, "refs/tags/v1"}},
         .pack = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
    expect_state(f, "vcs/ref/r/refs/heads/main", "\"" ONE "\"");
    expect_state(f, "vcs/ref/r/refs/tags/v1", "\"" ONE "\"");
    char *expected = mb_asprintf(
        "{\"author\":\"%s\",\"pack\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789"
        "abcdef\",\"slot\":2,\"time\":%d,\"updates\":[{\"new\":\"" ONE "\",\"old\":\"" ZERO
        "\",\"ref\":\"refs/heads/main\"},{\"new\":\"" ONE "\",\"old\":\"" ZERO
        "\",\"ref\":\"refs/tags/v1\"}]}",
        f->maintainer, T0);
    expect_state(f, "vcs/push/r/0000000001", expected);
    free(expected);
    assert_int_equal(repo_int(f, "next_push"), 2);
    /* Compare and swap. */
    PUSH(f, "vcs.ref_moved", .key = boss, NEW_MAIN);
    PUSH(f, "vcs.ref_moved", .key = boss, .updates = {{TWO, ONE, "refs/heads/main"}});
    PUSH(f, "vcs.ref_moved", .key = boss, .updates = {{TWO, ZERO, "refs/heads/main"}});
    PUSH(f, "vcs.ref_moved", .key = boss, .updates = {{ONE, TWO, "refs/heads/none"}});
    PUSH(f, "vcs.ref_moved", .key = boss, .updates = {{ZERO, ZERO, "refs/heads/none"}});
    PUSH(f, "", .key = boss, .updates = {{ONE, TWO, "refs/heads/main"}});
    expect_state(f, "vcs/ref/r/refs/heads/main", "\"" TWO "\"");
    PUSH(f, "vcs.tag_moved", .key = boss, .updates = {{ONE, TWO, "refs/tags/v1"}});
    /* One that cannot be: none is. */
    PUSH(f, "vcs.ref_moved", .key = boss,
         .updates = {{ZERO, ONE, "refs/heads/new"}, {ZERO, ONE, "refs/heads/main"}});
    expect_state(f, "vcs/ref/r/refs/heads/new", NULL);
    PUSH(f, "", .key = boss,
         .updates = {{TWO, ZERO, "refs/heads/main"}, {ONE, ZERO, "refs/tags/v1"}});
    expect_state(f, "vcs/ref/r/refs/heads/main", NULL);
    expect_state(f, "vcs/fold/r/refs/heads/main", NULL);
    expect_state(f, "vcs/ref/r/refs/tags/v1", NULL);
    PUSH(f, "", .key = boss, NEW_MAIN);
    PUSH(f, "vcs.ref", .key = boss, .updates = {{ZERO, ONE, "refs/notes/x"}});
    PUSH(f, "vcs.ref", .key = boss, .updates = {{ZERO, ONE, "refs/proposals/1"}});
    PUSH(f, "vcs.ref", .key = boss,
         .updates = {{"0000000000000000000000000000000000000000000000000000000000000000",
                      "1111111111111111111111111111111111111111111111111111111111111111",
                      "refs/heads/x"}});
    PUSH(f, "vcs.forbidden", .key = &f->o.other, .updates = {{ZERO, ONE, "refs/heads/x"}});
    PUSH(f, "vcs.repo_unknown", .key = boss, .repo = "none", NEW_MAIN);
    PUSH(f, "vcs.unsigned", .updates = {{ZERO, ONE, "refs/heads/x"}});
    /* A replica's business alone. */
    struct a_push p = {.key = boss, .updates = {{ZERO, ONE, "refs/heads/x"}}};
    char *body = push_body(f, &p, T0);
    expect(f, boss, "vcs.push", body, "command.access");
    free(body);
    stop(f);
}

static void names_that_collide(void **state)
{
    struct fixture *f = start("{}");
    const struct mb_secret_key *boss = &f->o.founders[0];
    static const struct {
        const char *ref, *code;
    } cases[] = {
        {"refs/heads/a/B", ""},
        {"refs/heads/A/b", "vcs.ref_twin"},
        {"refs/heads/a", "vcs.ref_twin"},
        {"refs/heads/A", "vcs.ref_twin"},
        {"refs/heads/a/b/c", "vcs.ref_twin"},
        {"refs/heads/A/B/C/d", "vcs.ref_twin"},
        {"refs/heads/a/b2", ""},
        {"refs/heads/a-b", ""},
        {"refs/tags/a", ""},
        {"refs/heads/\xc3\xa9", ""},
        {"refs/heads/\xc3\x89", ""}, /* ASCII alone is folded */
    };
    (void)state;
    create(f, "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        PUSH(f, cases[i].code, .key = boss, .updates = {{ZERO, ONE, cases[i].ref}});
    PUSH(f, "vcs.ref_twin", .key = boss,
         .updates = {{ZERO, ONE, "refs/heads/x"}, {ZERO, ONE, "refs/heads/X"}});
    PUSH(f, "", .key = boss,
         .updates = {{ONE, ZERO, "refs/heads/a-b"}, {ZERO, ONE, "refs/heads/A-B"}});
    stop(f);
}

/* --- Certificates --- */

static void what_a_certificate_must_say(void **state)
{
    struct fixture *f = start("{}");
    const struct mb_secret_key *boss = &f->o.founders[0];
    char *pushee[9], *foreign = mb_strdup(mb_ledger_org(f->o.ledger));
    static const char *const pushee_code[] = {"",           "",           "",
                                              "vcs.pushee", "vcs.pushee", "vcs.pushee",
                                              "vcs.pushee", "vcs.pushee", "vcs.pushee"};
    char stranger[MB_ONION_SIZE];
    (void)state;
    create(f, "");
    onion_of(stranger, 33);
    pushee[0] = mb_asprintf("http://%s/r.git", f->org_onion);
    pushee[1] = mb_asprintf("http://%s/r.git/", f->org_onion);
    pushee[2] = mb_asprintf("http://%s/r.git", f->replica_onion);
    pushee[3] = mb_asprintf("http://%s/r.git//", f->org_onion);
    pushee[4] = mb_asprintf("http://%s/s.git", f->org_onion);
    pushee[5] = mb_asprintf("http://%s/r.git", stranger);
    pushee[6] = mb_asprintf("https://%s/r.git", f->org_onion);
    pushee[7] = mb_asprintf("http://%s", f->org_onion);
    pushee[8] = mb_asprintf("http://x%s/r.git", f->org_onion);
    for (size_t i = 0; i < 9; i++) {
        char ref[32];
        mb_snprintf(ref, sizeof ref, "refs/heads/p%zu", i);
        PUSH(f, pushee_code[i], .key = boss, .pushee = pushee[i], .updates = {{ZERO, ONE, ref}});
        free(pushee[i]);
    }
    PUSH(f, "vcs.certificate", .key = boss, NEW_MAIN, .spoilt_signature = true);
    PUSH(f, "vcs.certificate", .key = boss, NEW_MAIN, .spoilt_form = true);
    PUSH(f, "vcs.certificate", .key = boss, NEW_MAIN, .both = true);
    PUSH(f, "vcs.certificate", .key = boss, NEW_MAIN, .no_kind = true);
    PUSH(f, "vcs.certificate", .key = boss, .updates = {{NULL, NULL, NULL}});
    PUSH(f, "body.invalid", .updates = {{NULL, NULL, NULL}});
    PUSH(f, "body.invalid", .key = boss, NEW_MAIN, .pack = "0123");
    PUSH(f, "vcs.nonce_foreign", .key = boss, NEW_MAIN, .nonce = "x");
    PUSH(f, "vcs.nonce_foreign", .key = boss, NEW_MAIN, .nonce_repo = "s");
    foreign[0] = foreign[0] == '0' ? '1' : '0';
    PUSH(f, "vcs.nonce_foreign", .key = boss, NEW_MAIN, .nonce_org = foreign);
    PUSH(f, "vcs.nonce_stale", .key = boss, NEW_MAIN, .age = -1);
    PUSH(f, "vcs.nonce_stale", .key = boss, NEW_MAIN, .age = 3601);
    PUSH(f, "vcs.zone", .key = boss, NEW_MAIN, .zone = "+0100");
    PUSH(f, "vcs.zone", .key = boss, NEW_MAIN, .zone = "-0000");
    set(f, "\"policy\":\"open\"");
    PUSH(f, "", .key = boss, NEW_MAIN, .zone = "+0100", .age = 3600);
    free(foreign);
    stop(f);
}

static void a_nonce_is_used_once_and_swept(void **state)
{
    struct fixture *f = start("{}");
    const struct mb_secret_key *boss = &f->o.founders[0];
    char key[96];
    (void)state;
    create(f, "");
    PUSH(f, "", .key = boss, NEW_MAIN, .random = 5);
    PUSH(f, "vcs.nonce_used", .key = boss, .updates = {{ONE, TWO, "refs/heads/main"}}, .random = 5);
    mb_snprintf(key, sizeof key, "vcs/nonce/%020d/%032x", T0, 5);
    expect_state(f, key, "1");
    /* One that was refused is not used up. */
    PUSH(f, "vcs.ref_moved", .key = boss, NEW_MAIN, .random = 6);
    PUSH(f, "", .key = boss, .updates = {{ONE, TWO, "refs/heads/main"}}, .random = 6);
    mb_outcome_free(org_block(&f->o, T0 + 3600, NULL, 0));
    expect_state(f, key, "1");
    PUSH(f, "vcs.nonce_used", .key = boss, .updates = {{TWO, ONE, "refs/heads/main"}}, .random = 5,
         .time = T0 + 3600, .age = 3600);
    mb_outcome_free(org_block(&f->o, T0 + 3601, NULL, 0));
    expect_state(f, key, NULL);
    PUSH(f, "vcs.nonce_stale", .key = boss, .updates = {{TWO, ONE, "refs/heads/main"}}, .random = 5,
         .time = T0 + 3601, .age = 3601);
    stop(f);
}

static void replicas_vouch(void **state)
{
    struct fixture *f = start("{}");
    const struct mb_secret_key *boss = &f->o.founders[0];
    static const char pack[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    (void)state;
    create(f, "");
    PUSH(f, "vcs.receipts", .key = boss, NEW_MAIN, .no_receipt = true);
    PUSH(f, "vcs.receipts", .key = boss, NEW_MAIN, .until = -1);
    PUSH(f, "vcs.receipts", .key = boss, NEW_MAIN, .vouches = boss);
    PUSH(f, "vcs.receipts", .key = boss, NEW_MAIN, .vouches = boss, .receipt_key = f->maintainer);
    PUSH(f, "vcs.receipts", .key = boss, NEW_MAIN, .receipt_key = f->maintainer);
    PUSH(f, "vcs.receipts", .key = boss, NEW_MAIN, .other_updates = true);
    PUSH(f, "vcs.receipts", .key = boss, NEW_MAIN, .receipt_repo = "s");
    PUSH(f, "vcs.receipts", .key = boss, NEW_MAIN, .receipt_pack = pack);
    PUSH(f, "", .key = boss, NEW_MAIN, .pack = pack, .twice = true);
    stop(f);
}

/* The configuration for the slot counts, each replica once: 1, 2, 3, then without 3. */
static void a_majority_of_the_replicas_vouches(void **state)
{
    struct fixture *f = start("{}");
    const struct mb_secret_key *boss = &f->o.founders[0], *one = &f->o.replica, *none = &f->o.other;
    const struct mb_secret_key keys[2] = {org_key(40), org_key(41)};
    const struct mb_secret_key *two = &keys[0], *three = &keys[1];
    int64_t t = T0;
    (void)state;
    create(f, "");
    for (uint8_t i = 0; i < 2; i++) {
        json_t *json = org_add_body(&f->o, &keys[i], (uint8_t)(60 + 2 * i));
        char *body = mb_json_text(json);
        expect_at(f, t, boss, "org.replica.add", body, "");
        /* Up to the last slot before, the old configuration decides. */
        t = org_fill(&f->o, t, mb_ledger_tip(f->o.ledger)->header.slot + 62) + 1;
        if (i == 0)
            PUSH(f, "", .key = boss, NEW_MAIN, .by = {one}, .time = t++);
        else
            PUSH(f, "vcs.receipts", .key = boss, .updates = {{ONE, TWO, "refs/heads/main"}},
                 .by = {one, three}, .time = t++);
        json_decref(json);
        free(body);
    }
    static const struct update to_two = {ONE, TWO, "refs/heads/main"};
    static const struct update to_one = {TWO, ONE, "refs/heads/main"};
    const struct {
        struct update update;
        const struct mb_secret_key *by[6];
        const char *code;
        bool other_updates;
    } cases[] = {
        {to_two, {one}, "vcs.receipts", false},
        {to_two, {one, one, one, one}, "vcs.receipts", false},
        {to_two, {one, none, boss}, "vcs.receipts", false},
        {to_two, {one, two, three}, "vcs.receipts", true},
        {to_two, {one, two}, "", false},
        {to_one, {three, two}, "", false},
        {to_two, {none, one, one, three}, "", false},
        {to_one, {one, two, three}, "", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct a_push p = {.key = boss, .updates = {cases[i].update}, .time = t++};
        memcpy(p.by, cases[i].by, sizeof p.by);
        p.other_updates = cases[i].other_updates;
        push(f, p, cases[i].code);
    }
    /* Removed: its receipts count up to the handover, and then no more; of two, both are needed. */
    expect_at(f, t, boss, "org.replica.remove", "{\"number\":3}", "");
    t = org_fill(&f->o, t, mb_ledger_tip(f->o.ledger)->header.slot + 62) + 1;
    PUSH(f, "", .key = boss, .updates = {to_two}, .by = {one, three}, .time = t++);
    PUSH(f, "vcs.receipts", .key = boss, .updates = {to_one}, .by = {one, three}, .time = t++);
    PUSH(f, "vcs.receipts", .key = boss, .updates = {to_one}, .by = {three, two}, .time = t++);
    PUSH(f, "vcs.receipts", .key = boss, .updates = {to_one}, .by = {two}, .time = t++);
    PUSH(f, "", .key = boss, .updates = {to_one}, .by = {two, three, one}, .time = t++);
    stop(f);
}

static void a_replaced_key_pushes_no_more(void **state)
{
    struct fixture *f = start("{}");
    struct mb_secret_key second = org_key(40);
    char text[MB_PUBLIC_TEXT_SIZE];
    struct mb_buf signature = {0}, base64 = {0};
    (void)state;
    create(f, "");
    mb_public_key_text(&second.public_key, text);
    char *message = mb_asprintf("{\"new\":\"%s\",\"old\":\"%s\",\"org\":\"%s\"}", text,
                                f->maintainer, mb_ledger_org(f->o.ledger));
    mb_sshsig_sign(&second, "magicbiz-key", mb_bytes_of(message), &signature);
    mb_base64_encode(&base64, signature.data, signature.len);
    char *body = mb_asprintf("{\"new\":\"%s\",\"proof\":\"%s\"}", text, mb_buf_text(&base64));
    expect(f, &f->o.founders[0], "org.key.replace", body, "");
    PUSH(f, "vcs.key_replaced", .key = &f->o.founders[0], NEW_MAIN);
    PUSH(f, "", .key = &second, NEW_MAIN); /* the maintainer still */
    char *pushed = org_state(&f->o, "vcs/push/r/0000000001");
    assert_non_null(strstr(pushed, f->maintainer));
    free(pushed);
    free(message);
    free(body);
    mb_buf_clear(&signature);
    mb_buf_clear(&base64);
    stop(f);
}

/* --- Proposals --- */

static void proposals_open_and_close(void **state)
{
    struct fixture *f = start("{}");
    const struct mb_secret_key *boss = &f->o.founders[0], *other = &f->o.other;
    struct mb_secret_key third = org_key(50);
    char *other_fp = org_fingerprint(other), key[128];
    (void)state;
    create(f, ",\"limits\":{\"proposals\":4,\"proposals_per_key\":2}");
    PUSH(f, "vcs.branch_unknown", .key = other, PROPOSE);
    PUSH(f, "", .key = boss, NEW_MAIN);
    PUSH(f, "vcs.ref_moved", .key = other, .updates = {{ONE, TWO, "refs/for/main"}});
    PUSH(f, "vcs.ref_moved", .key = other, .updates = {{ZERO, ZERO, "refs/for/main"}});
    PUSH(f, "", .key = other, PROPOSE);
    char *expected = mb_asprintf(
        "{\"author\":\"%s\",\"branch\":\"main\",\"commit\":\"" TWO "\",\"slot\":6}", other_fp);
    expect_state(f, "vcs/proposal/r/0000000001", expected);
    free(expected);
    expect_state(f, "vcs/ref/r/refs/proposals/1", "\"" TWO "\"");
    mb_snprintf(key, sizeof key, "vcs/open/r/%s", other_fp);
    expect_state(f, key, "1");
    PUSH(f, "", .key = other, PROPOSE);
    expect_state(f, key, "2");
    PUSH(f, "vcs.proposals_per_key", .key = other, PROPOSE);
    PUSH(f, "vcs.unsigned", PROPOSE);
    set(f, "\"unsigned\":1");
    PUSH(f, "", PROPOSE);
    expect_state(f, "vcs/open/r/anonymous", "1");
    PUSH(f, "vcs.unsigned", .updates = {{ZERO, ONE, "refs/heads/x"}});
    PUSH(f, "", .key = boss, PROPOSE);
    PUSH(f, "vcs.proposals", .key = &third, PROPOSE);
    assert_int_equal(repo_int(f, "proposals"), 4);

    static const char close1[] = "{\"repo\":\"r\",\"proposal\":1}";
    expect(f, &third, "vcs.proposal.close", close1, "vcs.forbidden");
    expect(f, other, "vcs.proposal.close", "{\"repo\":\"s\",\"proposal\":1}", "vcs.repo_unknown");
    expect(f, other, "vcs.proposal.close", "{\"repo\":\"r\",\"proposal\":9}",
           "vcs.proposal_unknown");
    expect(f, other, "vcs.proposal.close", close1, "");
    expect(f, other, "vcs.proposal.close", close1, "vcs.proposal_unknown");
    expect_state(f, key, "1");
    expect_state(f, "vcs/ref/r/refs/proposals/1", NULL);
    expect_state(f, "vcs/fold/r/refs/proposals/1", NULL);
    expect_state(f, "vcs/proposal/r/0000000001", NULL);
    expect(f, boss, "vcs.proposal.close", "{\"repo\":\"r\",\"proposal\":2}", "");
    expect(f, boss, "vcs.proposal.close", "{\"repo\":\"r\",\"proposal\":3}", "");
    expect_state(f, key, NULL);
    expect_state(f, "vcs/open/r/anonymous", NULL);
    assert_int_equal(repo_int(f, "proposals"), 1);
    /* Numbers are not given again; a maintainer's own are not counted against the key. */
    set(f, "\"limits\":{\"proposals_per_key\":0}");
    PUSH(f, "vcs.proposals_per_key", .key = &third, PROPOSE);
    PUSH(f, "", .key = boss, PROPOSE);
    expect_state(f, "vcs/ref/r/refs/proposals/5", "\"" TWO "\"");
    /* Several in one push count one by one. */
    set(f, "\"limits\":{\"proposals\":3,\"proposals_per_key\":9}");
    PUSH(f, "", .key = boss, .updates = {{ZERO, ONE, "refs/heads/b"}});
    PUSH(f, "vcs.proposals", .key = &third,
         .updates = {{ZERO, TWO, "refs/for/main"}, {ZERO, TWO, "refs/for/b"}});
    free(other_fp);
    stop(f);
}

static char *merge_body(const char *repo, int proposal, const char *old_id, const char *new_id)
{
    return mb_asprintf("{\"repo\":\"%s\",\"proposal\":%d,\"old\":\"%s\",\"new\":\"%s\"}", repo,
                       proposal, old_id, new_id);
}

static void the_organisation_merges_a_proposal(void **state)
{
    struct fixture *f = start("{}");
    const struct mb_secret_key *boss = &f->o.founders[0], *other = &f->o.other;
    static const char three[] = "3333333333333333333333333333333333333333";
    char *other_fp = org_fingerprint(other), key[128];
    (void)state;
    create(f, "");
    PUSH(f, "", .key = boss, NEW_MAIN);
    PUSH(f, "", .key = other, PROPOSE);                                     /* 1: TWO */
    PUSH(f, "", .key = other, .updates = {{ZERO, ONE, "refs/for/main"}});   /* 2: what is there */
    PUSH(f, "", .key = other, .updates = {{ZERO, three, "refs/for/main"}}); /* 3 */
    static const struct {
        const char *repo;
        int proposal;
        const char *old_id, *new_id, *code;
    } rows[] = {
        {"s", 1, ONE, TWO, "vcs.repo_unknown"},
        {"r", 9, ONE, TWO, "vcs.proposal_unknown"},
        {"r", 1, ONE, three, "vcs.proposal_commit"},
        {"r", 1, TWO, TWO, "vcs.ref_moved"},
        {"r", 1, ZERO, TWO, "vcs.ref_moved"},
        {"r", 2, ONE, ONE, "vcs.empty"},
        {"r", 1, ONE, TWO, ""},
        {"r", 1, ONE, TWO, "vcs.proposal_unknown"}, /* once */
        {"r", 3, ONE, three, "vcs.ref_moved"},      /* made on what was there before */
        {"r", 3, TWO, three, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *body = merge_body(rows[i].repo, rows[i].proposal, rows[i].old_id, rows[i].new_id);
        expect(f, other, "vcs.merge", body, "command.access");
        expect(f, boss, "vcs.merge", body, rows[i].code); /* all founders: the organisation */
        free(body);
    }
    expect_state(f, "vcs/ref/r/refs/heads/main", "\"3333333333333333333333333333333333333333\"");
    expect_state(f, "vcs/ref/r/refs/proposals/1", NULL);
    expect_state(f, "vcs/fold/r/refs/proposals/1", NULL);
    expect_state(f, "vcs/proposal/r/0000000001", NULL);
    mb_snprintf(key, sizeof key, "vcs/open/r/%s", other_fp);
    expect_state(f, key, "1");
    assert_int_equal(repo_int(f, "proposals"), 1);
    /* The branch has gone. */
    PUSH(f, "", .key = boss, .updates = {{three, ZERO, "refs/heads/main"}});
    char *body = merge_body("r", 2, three, ONE);
    expect(f, boss, "vcs.merge", body, "vcs.ref_moved");
    free(body);
    free(other_fp);
    stop(f);
}

/* --- Work --- */

static void do_work(struct fixture *f, const char *fingerprint, unsigned bits, bool enough,
                    char work[17])
{
    for (unsigned i = 0;; i++) {
        mb_snprintf(work, 17, "%016x", i);
        struct mb_hash h = mb_push_work(mb_ledger_org(f->o.ledger), "r", fingerprint, TWO, work);
        if (mb_hash_has_work(&h, bits) == enough)
            return;
    }
}

static void those_without_a_role_work(void **state)
{
    struct fixture *f = start("{\"work_bits\":8}");
    const struct mb_secret_key *boss = &f->o.founders[0], *other = &f->o.other;
    char *other_fp = org_fingerprint(other), work[17], little[17], none[17];
    (void)state;
    create(f, ",\"unsigned\":1");
    PUSH(f, "", .key = boss, NEW_MAIN);
    do_work(f, other_fp, 8, true, work);
    do_work(f, other_fp, 8, false, little);
    do_work(f, "", 8, true, none);
    PUSH(f, "vcs.work", .key = other, PROPOSE);
    PUSH(f, "vcs.work", .key = other, PROPOSE, .work = little);
    PUSH(f, "vcs.work", .key = other, PROPOSE, .work = "0");
    PUSH(f, "", .key = other, PROPOSE, .work = work);
    PUSH(f, "vcs.work", PROPOSE);
    PUSH(f, "vcs.work", PROPOSE, .work = "zzzzzzzzzzzzzzzz");
    PUSH(f, "", PROPOSE, .work = none);
    PUSH(f, "vcs.certificate", .key = other, PROPOSE, .work = work, .both = true);
    free(other_fp);
    stop(f);
}

/* --- Before there is a pack --- */

static void a_head_is_refused_early(void **state)
{
    struct fixture *f = start("{}");
    struct mb_tx *tx = mb_ledger_reader(f->o.ledger);
    struct mb_context ctx = {.org = mb_ledger_org(f->o.ledger), .time = T0, .onion = f->org_onion};
    char author[MB_FINGERPRINT_SIZE], ref[] = "refs/for/main";
    struct mb_ref_update u = {.old_id = ZERO, .new_id = ONE, .ref = ref};
    struct mb_error error;
    (void)state;
    assert_int_equal(vcs_check_head(tx, &ctx, "r", NULL, &u, 1, "", author, &error), MB_EREFUSED);
    assert_string_equal(error.code, "vcs.repo_unknown");
    create(f, ",\"unsigned\":1");
    PUSH(f, "", .key = &f->o.founders[0], NEW_MAIN);
    tx = mb_ledger_reader(f->o.ledger);
    assert_int_equal(vcs_check_head(tx, &ctx, "r", NULL, &u, 0, "", author, &error), MB_EREFUSED);
    assert_string_equal(error.code, "vcs.empty");
    assert_int_equal(vcs_check_head(tx, &ctx, "r", NULL, &u, 1, "", author, &error), 0);
    assert_string_equal(author, VCS_ANONYMOUS);

    struct a_push p = {.key = &f->o.founders[0], .updates = {{ONE, TWO, "refs/heads/main"}}};
    struct mb_hash before = org_state_hash(f->backend, "vcs/");
    for (int i = 0; i < 2; i++) {
        char *text = certificate(f, &p, T0);
        struct mb_pushcert cert;
        assert_int_equal(mb_pushcert_parse(&cert, mb_bytes_of(text), NULL), 0);
        int rc = vcs_check_head(tx, &ctx, "r", &cert, cert.updates, cert.update_count, "", author,
                                &error);
        assert_int_equal(rc, i == 0 ? 0 : MB_EREFUSED);
        assert_string_equal(i == 0 ? author : error.code,
                            i == 0 ? f->maintainer : "vcs.nonce_stale");
        mb_pushcert_clear(&cert);
        free(text);
        p.age = 3601;
    }
    struct mb_hash after = org_state_hash(f->backend, "vcs/");
    assert_true(mb_hash_equal(&before, &after));
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_repositories),
        cmocka_unit_test(repositories_are_created_and_set),
        cmocka_unit_test(a_maintainer_pushes),
        cmocka_unit_test(names_that_collide),
        cmocka_unit_test(what_a_certificate_must_say),
        cmocka_unit_test(a_nonce_is_used_once_and_swept),
        cmocka_unit_test(replicas_vouch),
        cmocka_unit_test(a_majority_of_the_replicas_vouches),
        cmocka_unit_test(a_replaced_key_pushes_no_more),
        cmocka_unit_test(proposals_open_and_close),
        cmocka_unit_test(the_organisation_merges_a_proposal),
        cmocka_unit_test(those_without_a_role_work),
        cmocka_unit_test(a_head_is_refused_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
