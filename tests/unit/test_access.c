/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/org.h"
#include "ledger/message.h"

#define T0 ORG_CREATED

struct fixture {
    struct org o;
    struct mb_memory *memory;
};

static struct fixture *start(int founders, int threshold, const char *params)
{
    struct fixture *f = mb_calloc(1, sizeof *f);
    f->memory = mb_memory_new();
    org_found(&f->o, mb_memory_backend(f->memory), founders, threshold, params);
    return f;
}

static void stop(struct fixture *f)
{
    org_clear(&f->o);
    mb_memory_free(f->memory);
    free(f);
}

/* The code of a result's text, or "" if it is ok. Frees the text. */
static const char *code_of(char *result)
{
    static char code[MB_ERROR_CODE_MAX];
    json_t *json = json_loads(result, 0, NULL);
    mb_snprintf(code, sizeof code, "%s",
                mb_json_get_text(json_object_get(json, "error"), "code", ""));
    json_decref(json);
    free(result);
    return code;
}

/* Apply c in a block of time; its result's text. */
static char *apply(struct org *o, int64_t time, struct mb_checked *c)
{
    struct mb_outcome *outcome = org_block(o, time, &c, 1);
    assert_non_null(outcome);
    char *text = mb_strdup(mb_buf_text(&outcome->block.results[mb_outcome_index(outcome, 0)]));
    mb_outcome_free(outcome);
    return text;
}

static void expect_state(struct org *o, const char *key, const char *text)
{
    char *found = org_state(o, key);
    if (text)
        assert_string_equal(found ? found : "(none)", text);
    else
        assert_null(found);
    free(found);
}

/* --- Admissibility. --- */

static void the_edges_of_expiry(void **state)
{
    static const struct {
        int64_t expires; /* after the block's time */
        const char *door;
    } cases[] = {{-1, "command.expired"}, {0, ""}, {604800, ""}, {604801, "command.expires_late"}};
    struct fixture *f = start(1, 1, "{}");
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct mb_error error = {0};
        int64_t now = T0 + (int64_t)i;
        struct mb_checked *c =
            org_command(&f->o, &f->o.other, "toy.who", "{}", now + cases[i].expires);
        int rc = mb_ledger_try(f->o.ledger, c, now, &error);
        assert_int_equal(rc, *cases[i].door ? MB_EREFUSED : 0);
        assert_string_equal(rc ? error.code : "", cases[i].door);
        assert_true(rc == 0 || error.text[0] != '\0');
        assert_string_equal(code_of(apply(&f->o, now, c)),
                            *cases[i].door ? "command.inadmissible" : "");
    }
    stop(f);
}

static void what_is_inadmissible_is_not_taken_in(void **state)
{
    struct fixture *f = start(1, 1, "{}");
    struct mb_error error = {0};
    (void)state;
    char *text = mb_asprintf("{\"error\":{\"args\":[],\"code\":\"command.inadmissible\"},\"id\":");
    struct mb_checked *junk = org_envelope(&f->o.other, "junk");
    assert_int_equal(mb_ledger_try(f->o.ledger, junk, T0, &error), MB_EINVAL);
    assert_string_equal(error.code, "command.invalid");
    char *result = apply(&f->o, T0, junk);
    assert_memory_equal(result, text, strlen(text));
    assert_string_equal(code_of(result), "command.inadmissible");
    free(text);

    /* For another organisation. */
    struct fixture *g = start(2, 1, "{}");
    struct mb_checked *c = org_command(&g->o, &g->o.other, "toy.who", "{}", T0 + 60);
    assert_int_equal(mb_ledger_try(f->o.ledger, c, T0, &error), MB_EREFUSED);
    assert_string_equal(error.code, "command.org");
    assert_string_equal(code_of(apply(&f->o, T0, c)), "command.inadmissible");
    stop(g);

    /* Too late now, in time later: the id was not used up. */
    struct mb_checked *later =
        org_command(&f->o, &f->o.other, "toy.who", "{}", T0 + 10 + MB_COMMAND_LIFE_S);
    struct mb_envelope copy = {0};
    mb_buf_add_bytes(&copy.text, mb_buf_bytes(&later->envelope.text));
    mb_buf_add_bytes(&copy.signature, mb_buf_bytes(&later->envelope.signature));
    assert_string_equal(code_of(apply(&f->o, T0, later)), "command.inadmissible");
    assert_string_equal(code_of(apply(&f->o, T0 + 10, mb_checked_new(&copy))), "");
    stop(f);
}

static struct mb_checked *copy_of(const struct mb_checked *c)
{
    struct mb_envelope copy = {0};
    mb_buf_add_bytes(&copy.text, mb_buf_bytes(&c->envelope.text));
    mb_buf_add_bytes(&copy.signature, mb_buf_bytes(&c->envelope.signature));
    return mb_checked_new(&copy);
}

static void an_id_is_taken_in_once(void **state)
{
    struct fixture *f = start(1, 1, "{}");
    struct mb_error error = {0};
    struct mb_checked *c[3];
    (void)state;
    /* A refused command uses its id like any other. */
    c[0] = org_command(&f->o, &f->o.other, "toy.who", "{}", T0 + 7200);
    c[1] = org_command(&f->o, &f->o.other, "toy.del", "{\"key\":\"x\"}", T0 + 7200);
    c[2] = copy_of(c[1]);
    struct mb_checked *again = copy_of(c[1]), *other = copy_of(c[0]);
    struct mb_outcome *outcome = org_block(&f->o, T0, c, 3);
    assert_non_null(strstr(mb_buf_text(&outcome->block.results[1]), "toy.absent"));
    assert_non_null(strstr(mb_buf_text(&outcome->block.results[2]),
                           "{\"error\":{\"args\":[1,1],\"code\":\"command.repeated\"},\"id\":"));
    mb_outcome_free(outcome);
    assert_int_equal(mb_ledger_try(f->o.ledger, again, T0, &error), MB_EREFUSED);
    assert_string_equal(error.code, "command.repeated");
    assert_string_equal(error.args, "[1,1]");

    /* Until the very second it expires; the bucket stays until its hour has passed. */
    assert_string_equal(code_of(apply(&f->o, T0 + 7200, other)), "command.repeated");
    char *bucket = mb_asprintf("core/seen/%d", (T0 + 7200) / 3600);
    char *text = org_state(&f->o, bucket);
    assert_non_null(text);
    assert_memory_equal(text, "{\"count\":2,\"hash\":\"", 19);
    free(text);
    mb_outcome_free(org_block(&f->o, T0 + 10799, NULL, 0));
    text = org_state(&f->o, bucket);
    assert_non_null(text);
    free(text);
    mb_outcome_free(org_block(&f->o, T0 + 10800, NULL, 0));
    expect_state(&f->o, bucket, NULL);
    assert_string_equal(code_of(apply(&f->o, T0 + 10800, again)), "command.inadmissible");
    free(bucket);
    stop(f);
}

static void the_running_hash_of_ids(void **state)
{
    struct fixture *f = start(1, 1, "{}");
    struct mb_checked *c[2];
    struct mb_hash ids[2], h = mb_hash_zero;
    char hex[MB_HASH_HEX_SIZE], bucket[64];
    (void)state;
    for (int i = 0; i < 2; i++) {
        c[i] = org_command(&f->o, &f->o.other, "toy.who", "{}", T0 + 60);
        ids[i] = c[i]->id;
    }
    mb_outcome_free(org_block(&f->o, T0, c, 2));
    for (uint32_t i = 0; i < 2; i++) {
        struct mb_buf b = {0};
        mb_buf_add(&b, h.b, 32);
        mb_buf_add(&b, ids[i].b, 32);
        mb_buf_add_u64(&b, 1);
        mb_buf_add_u32(&b, i);
        h = mb_sha256(b.data, b.len);
        mb_buf_clear(&b);
    }
    mb_hash_hex(&h, hex);
    mb_snprintf(bucket, sizeof bucket, "core/seen/%d", T0 / 3600);
    char *expected = mb_asprintf("{\"count\":2,\"hash\":\"%s\"}", hex);
    expect_state(&f->o, bucket, expected);
    free(expected);
    stop(f);
}

/* --- Roles, access, work. --- */

static void access_by_role(void **state)
{
    static const struct {
        const char *type;
        const char *other, *founder, *replica; /* codes */
    } cases[] = {
        {"toy.who", "", "", ""},
        {"toy.member", "command.access", "", "command.access"},
        {"toy.replica", "command.access", "command.access", ""},
        {"toy.org", "command.access", "", "command.access"},
        {"toy.keeper", "command.access", "", "command.access"},
    };
    struct fixture *f = start(2, 1, "{}");
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(code_of(org_do(&f->o, T0, &f->o.other, cases[i].type, "{}")),
                            cases[i].other);
        assert_string_equal(code_of(org_do(&f->o, T0, &f->o.founders[1], cases[i].type, "{}")),
                            cases[i].founder);
        assert_string_equal(code_of(org_do(&f->o, T0, &f->o.founders[2], cases[i].type, "{}")),
                            cases[i].other);
        assert_string_equal(code_of(org_do(&f->o, T0, &f->o.replica, cases[i].type, "{}")),
                            cases[i].replica);
    }
    char *text = org_do(&f->o, T0, &f->o.other, "toy.org", "{}");
    assert_non_null(strstr(text, "{\"args\":[\"toy.org\",\"org\"],\"code\":\"command.access\"}"));
    free(text);
    /* The founders' say is the organisation's own; a member speaks for himself. */
    text = org_do(&f->o, T0, &f->o.founders[0], "toy.org", "{}");
    assert_non_null(strstr(text, "{\"as_org\":1,"));
    assert_non_null(strstr(text, "\"signer\":\"\""));
    free(text);
    char *fingerprint = org_fingerprint(&f->o.founders[0]);
    text = org_do(&f->o, T0, &f->o.founders[0], "toy.member", "{}");
    assert_non_null(strstr(text, "{\"as_org\":0,"));
    assert_non_null(strstr(text, fingerprint));
    free(text);
    free(fingerprint);
    stop(f);
}

static void give_role(struct org *o, const struct mb_secret_key *key)
{
    char *fingerprint = org_fingerprint(key);
    char *body = mb_asprintf("{\"key\":\"role\",\"value\":\"%s\"}", fingerprint);
    assert_string_equal(code_of(org_do(o, T0, &o->founders[0], "toy.put", body)), "");
    free(body);
    free(fingerprint);
}

static void a_module_gives_roles(void **state)
{
    struct fixture *f = start(2, 2, "{\"work_bits\":32}");
    (void)state;
    give_role(&f->o, &f->o.other);
    /* Neither work nor founders are needed; it runs as the signer. */
    char *text = org_do(&f->o, T0, &f->o.other, "toy.keeper", "{}");
    assert_non_null(strstr(text, "\"result\":{\"as_org\":0,"));
    free(text);
    assert_string_equal(code_of(org_do(&f->o, T0, &f->o.other, "toy.org", "{}")), "command.access");
    stop(f);
}

static void keys_without_a_role_bring_work(void **state)
{
    struct fixture *f = start(1, 1, "{\"work_bits\":8}");
    struct mb_error error = {0};
    char *other = org_fingerprint(&f->o.other), *founder = org_fingerprint(&f->o.founders[0]);
    char *replica = org_fingerprint(&f->o.replica);
    json_t *body = json_object();
    (void)state;
    assert_int_equal(mb_ledger_work(f->o.ledger, other, "toy.who", body), 8);
    assert_int_equal(mb_ledger_work(f->o.ledger, founder, "toy.who", body), 0);
    assert_int_equal(mb_ledger_work(f->o.ledger, replica, "toy.who", body), 0);
    assert_true(mb_ledger_has_role(f->o.ledger, founder));
    assert_true(mb_ledger_has_role(f->o.ledger, replica));
    assert_false(mb_ledger_has_role(f->o.ledger, other));

    struct mb_envelope e;
    uint8_t nonce[16] = {9};
    mb_command_make(&e, &f->o.other, mb_ledger_org(f->o.ledger), "toy.who", nonce, T0 + 60, body,
                    8);
    assert_string_equal(code_of(apply(&f->o, T0, mb_checked_new(&e))), "");
    /* The first command in a row whose id happens to lack the work. */
    struct mb_checked *c = org_command(&f->o, &f->o.other, "toy.who", "{}", T0 + 60);
    while (mb_hash_has_work(&c->id, 8)) {
        mb_checked_free(c);
        c = org_command(&f->o, &f->o.other, "toy.who", "{}", T0 + 60);
    }
    struct mb_checked *again = copy_of(c);
    assert_int_equal(mb_ledger_try(f->o.ledger, c, T0, &error), MB_EREFUSED);
    assert_string_equal(error.code, "command.work");
    assert_string_equal(error.args, "[8]");
    assert_string_equal(code_of(apply(&f->o, T0, c)), "command.work");
    assert_string_equal(code_of(apply(&f->o, T0, again)), "command.repeated");
    assert_string_equal(code_of(org_do(&f->o, T0, &f->o.founders[0], "toy.who", "{}")), "");

    /* The parameter can be changed, from the very next command on. */
    assert_string_equal(code_of(org_do(&f->o, T0, &f->o.founders[0], "org.param.set",
                                       "{\"name\":\"work_bits\",\"value\":0}")),
                        "");
    assert_int_equal(mb_ledger_work(f->o.ledger, other, "toy.who", body), 0);
    json_decref(body);
    free(other);
    free(founder);
    free(replica);
    stop(f);
}

static void parameters(void **state)
{
    static const struct {
        const char *body, *code;
    } cases[] = {
        {"{\"name\":\"work_bits\",\"value\":32}", ""},
        {"{\"name\":\"work_bits\",\"value\":33}", "org.param_value"},
        {"{\"name\":\"work_bits\",\"value\":-1}", "org.param_value"},
        {"{\"name\":\"work_bits\",\"value\":\"1\"}", "org.param_value"},
        {"{\"name\":\"beacon\",\"value\":1}", ""},
        {"{\"name\":\"beacon\",\"value\":2}", "org.param_value"},
        {"{\"name\":\"beacon\",\"value\":-1}", "org.param_value"},
        {"{\"name\":\"beacon\",\"value\":\"1\"}", "org.param_value"},
        {"{\"name\":\"vcs.pack_max\",\"value\":-7}", ""},
        {"{\"name\":\"motto\",\"value\":\"x\"}", ""},
        {"{\"name\":\"motto\",\"value\":true}", "org.param_value"},
        {"{\"name\":\"motto\",\"value\":[]}", "org.param_value"},
        {"{\"name\":\"a/b\",\"value\":1}", "org.param_name"},
        {"{\"name\":\"\",\"value\":1}", "org.param_name"},
        {"{\"name\":\"A\",\"value\":1}", "org.param_name"},
        {"{\"name\":7,\"value\":1}", "body.invalid"},
        {"{\"value\":1}", "body.invalid"},
        {"{\"name\":\"a\",\"value\":1,\"x\":1}", "body.invalid"},
    };
    struct fixture *f = start(1, 1, "{}");
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(
            code_of(org_do(&f->o, T0, &f->o.founders[0], "org.param.set", cases[i].body)),
            cases[i].code);
    expect_state(&f->o, "org/params/work_bits", "32");
    expect_state(&f->o, "org/params/vcs.pack_max", "-7");
    stop(f);
}

/* --- The founders' threshold. --- */

/* Send an ORG command by the first founder; its id. */
static void propose(struct org *o, const char *type, const char *body, char id[MB_HASH_HEX_SIZE])
{
    struct mb_checked *c = org_command(o, &o->founders[0], type, body, T0 + 1000);
    mb_hash_hex(&c->id, id);
    char *text = apply(o, T0, c);
    assert_non_null(strstr(text, "\"ok\":true,\"result\":{\"pending\":"));
    free(text);
}

static struct mb_outcome *approve(struct org *o, int64_t time, const struct mb_secret_key *key,
                                  const char *id)
{
    char *body = mb_asprintf("{\"id\":\"%s\"}", id);
    struct mb_checked *c = org_command(o, key, "org.approve", body, time + 60);
    free(body);
    struct mb_outcome *outcome = org_block(o, time, &c, 1);
    assert_non_null(outcome);
    return outcome;
}

static void approve_code(struct org *o, int64_t time, const struct mb_secret_key *key,
                         const char *id, const char *code)
{
    struct mb_outcome *outcome = approve(o, time, key, id);
    assert_string_equal(code_of(mb_strdup(mb_buf_text(&outcome->block.results[0]))), code);
    assert_int_equal(outcome->block.result_count, 1);
    mb_outcome_free(outcome);
}

static void founders_agree(void **state)
{
    struct fixture *f = start(3, 3, "{}");
    struct org *o = &f->o;
    char id[MB_HASH_HEX_SIZE];
    (void)state;
    propose(o, "toy.org", "{}", id);
    char *key = mb_asprintf("core/pending/%s", id), *first = org_fingerprint(&o->founders[0]);
    char *second = org_fingerprint(&o->founders[1]);
    char *text = mb_asprintf("{\"approvals\":[\"%s\"],\"body\":{},\"expires\":%d,\"key\":\"%s\","
                             "\"type\":\"toy.org\"}",
                             first, T0 + 1000, first);
    expect_state(o, key, text);
    free(text);

    approve_code(o, T0, &o->founders[0], id, "org.approved");
    approve_code(o, T0, &o->other, id, "command.access");
    approve_code(o, T0, &o->replica, id, "command.access");
    approve_code(o, T0, &o->founders[1],
                 "0000000000000000000000000000000000000000000000000000000000000000",
                 "org.no_pending");
    struct mb_outcome *outcome = approve(o, T0 + 1, &o->founders[1], id);
    assert_non_null(strstr(mb_buf_text(&outcome->block.results[0]), "\"result\":{\"pending\":1}"));
    assert_int_equal(outcome->block.result_count, 1);
    mb_outcome_free(outcome);
    text = mb_asprintf("{\"approvals\":[\"%s\",\"%s\"],\"body\":{},\"expires\":%d,\"key\":\"%s\","
                       "\"type\":\"toy.org\"}",
                       first, second, T0 + 1000, first);
    expect_state(o, key, text);
    free(text);

    outcome = approve(o, T0 + 2, &o->founders[2], id);
    text = mb_asprintf("{\"cause\":\"approved:%s\",\"ok\":true,\"result\":{\"as_org\":1,"
                       "\"id\":\"\",\"index\":1,\"name\":\"acme\",\"signer\":\"\",\"slot\":%d,"
                       "\"time\":%d},\"type\":\"toy.org\"}",
                       id, 7, T0 + 2);
    assert_non_null(strstr(mb_buf_text(&outcome->block.results[0]), "\"result\":{\"pending\":0}"));
    assert_string_equal(mb_buf_text(&outcome->block.results[1]), text);
    assert_int_equal(outcome->block.result_count, 2);
    mb_outcome_free(outcome);
    expect_state(o, key, NULL);
    approve_code(o, T0 + 2, &o->founders[1], id, "org.no_pending");
    free(text);
    free(key);
    free(first);
    free(second);
    stop(f);
}

static void an_approved_command_may_still_fail(void **state)
{
    struct fixture *f = start(2, 2, "{}");
    char id[MB_HASH_HEX_SIZE], nested[MB_HASH_HEX_SIZE];
    (void)state;
    propose(&f->o, "org.param.set", "{\"name\":\"A\",\"value\":1}", id);
    struct mb_outcome *outcome = approve(&f->o, T0, &f->o.founders[1], id);
    char *text = mb_asprintf("{\"cause\":\"approved:%s\",\"error\":{\"args\":[\"A\"],\"code\":"
                             "\"org.param_name\"},\"ok\":false,\"type\":\"org.param.set\"}",
                             id);
    assert_string_equal(mb_buf_text(&outcome->block.results[1]), text);
    free(text);
    mb_outcome_free(outcome);

    /* A malformed body does not wait. */
    assert_string_equal(
        code_of(org_do(&f->o, T0, &f->o.founders[0], "org.param.set", "{\"name\":\"a\"}")),
        "body.invalid");

    /* At the door nothing stays of it. */
    struct mb_error error;
    propose(&f->o, "org.param.set", "{\"name\":\"a\",\"value\":1}", nested);
    char *body = mb_asprintf("{\"id\":\"%s\"}", nested);
    struct mb_checked *c = org_command(&f->o, &f->o.founders[1], "org.approve", body, T0 + 60);
    assert_int_equal(mb_ledger_try(f->o.ledger, c, T0, &error), 0);
    assert_int_equal(mb_ledger_try(f->o.ledger, c, T0, &error), 0);
    expect_state(&f->o, "org/params/a", NULL);
    mb_outcome_free(org_block(&f->o, T0, &c, 1));
    expect_state(&f->o, "org/params/a", "1");
    free(body);
    stop(f);
}

static void pending_expires(void **state)
{
    struct fixture *f = start(2, 2, "{}");
    char id[MB_HASH_HEX_SIZE], other[MB_HASH_HEX_SIZE];
    (void)state;
    propose(&f->o, "toy.org", "{}", id);
    propose(&f->o, "toy.org", "{}", other);
    char *key = mb_asprintf("core/pending/%s", id);
    /* Up to the second it expires in, and not after. */
    struct mb_outcome *outcome = approve(&f->o, T0 + 1000, &f->o.founders[1], other);
    assert_int_equal(outcome->block.result_count, 2);
    mb_outcome_free(outcome);
    char *text = org_state(&f->o, key);
    assert_non_null(text);
    free(text);
    approve_code(&f->o, T0 + 1001, &f->o.founders[1], id, "org.no_pending");
    expect_state(&f->o, key, NULL);
    free(key);
    stop(f);
}

/* --- Keys that were replaced. --- */

/* The body of org.key.replace: new for old (a first fingerprint), proved by prover. */
static char *replace_body(struct org *o, const struct mb_secret_key *new_key, const char *old,
                          const struct mb_secret_key *prover, bool name_old)
{
    char new_text[MB_PUBLIC_TEXT_SIZE];
    struct mb_buf signature = {0}, base64 = {0};
    mb_public_key_text(&new_key->public_key, new_text);
    char *message = mb_asprintf("{\"new\":\"%s\",\"old\":\"%s\",\"org\":\"%s\"}", new_text, old,
                                mb_ledger_org(o->ledger));
    mb_sshsig_sign(prover, "magicbiz-key", mb_bytes_of(message), &signature);
    mb_base64_encode(&base64, signature.data, signature.len);
    char *body =
        name_old ? mb_asprintf("{\"new\":\"%s\",\"old\":\"%s\",\"proof\":\"%s\"}", new_text, old,
                               mb_buf_text(&base64))
                 : mb_asprintf("{\"new\":\"%s\",\"proof\":\"%s\"}", new_text, mb_buf_text(&base64));
    free(message);
    mb_buf_clear(&signature);
    mb_buf_clear(&base64);
    return body;
}

static void replace(struct org *o, const struct mb_secret_key *by,
                    const struct mb_secret_key *new_key, const char *old,
                    const struct mb_secret_key *prover, bool name_old, const char *code)
{
    char *body = replace_body(o, new_key, old, prover, name_old);
    assert_string_equal(code_of(org_do(o, T0, by, "org.key.replace", body)), code);
    free(body);
}

static void a_key_is_replaced_twice(void **state)
{
    struct fixture *f = start(1, 1, "{}");
    struct org *o = &f->o;
    struct mb_secret_key second = org_key(40), third = org_key(41);
    char *first_fp = org_fingerprint(&o->founders[0]), *second_fp = org_fingerprint(&second);
    (void)state;
    replace(o, &o->founders[0], &second, first_fp, &second, false, "");
    char *state_key = mb_asprintf("org/key/%s", first_fp), text[MB_PUBLIC_TEXT_SIZE];
    mb_public_key_text(&second.public_key, text);
    char *expected = mb_asprintf("\"%s\"", text);
    expect_state(o, state_key, expected);
    free(expected);
    free(state_key);
    state_key = mb_asprintf("org/first/%s", second_fp);
    expected = mb_asprintf("\"%s\"", first_fp);
    expect_state(o, state_key, expected);
    free(expected);
    free(state_key);

    /* The new key is the founder now, under the name of the first. */
    assert_string_equal(code_of(org_do(o, T0, &o->founders[0], "toy.who", "{}")), "command.key");
    char *result = org_do(o, T0, &second, "toy.member", "{}");
    assert_non_null(strstr(result, first_fp));
    free(result);
    assert_true(mb_ledger_has_role(o->ledger, second_fp));
    assert_false(mb_ledger_has_role(o->ledger, first_fp));

    replace(o, &second, &third, first_fp, &third, false, "");
    assert_string_equal(code_of(org_do(o, T0, &second, "toy.who", "{}")), "command.key");
    assert_string_equal(code_of(org_do(o, T0, &o->founders[0], "toy.who", "{}")), "command.key");
    assert_string_equal(code_of(org_do(o, T0, &third, "toy.org", "{}")), "");
    /* Keys that were used once are no new keys. */
    replace(o, &third, &second, first_fp, &second, false, "org.key_used");
    replace(o, &third, &o->founders[0], first_fp, &o->founders[0], false, "org.key_used");
    replace(o, &third, &third, first_fp, &third, false, "org.key_used");
    replace(o, &o->other, &third, first_fp, &third, false, "org.key_used");
    free(first_fp);
    free(second_fp);
    stop(f);
}

static void replacements_that_are_refused(void **state)
{
    struct fixture *f = start(2, 1, "{}");
    struct org *o = &f->o;
    struct mb_secret_key fresh = org_key(40), newer = org_key(41);
    char *own = org_fingerprint(&o->other), *replica = org_fingerprint(&o->replica);
    char *fresh_fp = org_fingerprint(&fresh);
    (void)state;
    replace(o, &o->other, &fresh, own, &o->other, false, "org.key_proof");
    replace(o, &o->other, &fresh, replica, &fresh, false, "org.key_proof");
    replace(o, &o->other, &o->founders[1], own, &o->founders[1], false, "org.key_used");
    replace(o, &o->other, &o->replica, own, &o->replica, false, "org.key_used");
    replace(o, &o->replica, &fresh, replica, &fresh, false, "org.key_replica");
    assert_string_equal(code_of(org_do(o, T0, &o->other, "org.key.replace",
                                       "{\"new\":\"ssh-rsa x\",\"proof\":\"\"}")),
                        "org.key_invalid");
    /* For somebody else: the founders only, after a loss. */
    replace(o, &o->other, &fresh, own, &fresh, true, "command.access");
    replace(o, &o->founders[0], &fresh, replica, &fresh, true, "org.key_replica");
    replace(o, &o->founders[0], &fresh, "SHA256:x", &fresh, true, "org.key_old");
    replace(o, &o->founders[0], &fresh, own, &fresh, true, "");
    assert_string_equal(code_of(org_do(o, T0, &o->other, "toy.who", "{}")), "command.key");
    assert_string_equal(code_of(org_do(o, T0, &fresh, "toy.who", "{}")), "");
    replace(o, &o->founders[0], &newer, fresh_fp, &newer, true, "org.key_old");
    free(own);
    free(replica);
    free(fresh_fp);
    stop(f);
}

/* --- The door, and texts. --- */

static void the_door_changes_nothing(void **state)
{
    struct fixture *f = start(1, 1, "{}");
    struct mb_error error;
    (void)state;
    struct mb_checked *put =
        org_command(&f->o, &f->o.other, "toy.put", "{\"key\":\"a\",\"value\":1}", T0 + 60);
    struct mb_checked *del = org_command(&f->o, &f->o.other, "toy.del", "{\"key\":\"a\"}", T0 + 60);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mb_ledger_try(f->o.ledger, put, T0, &error), 0);
        expect_state(&f->o, "toy/a", NULL);
        assert_int_equal(mb_ledger_try(f->o.ledger, del, T0, &error), MB_EREFUSED);
        assert_string_equal(error.code, "toy.absent");
        assert_string_equal(error.text, "there is no a: list the keys first");
    }
    /* It takes the later of ledger time and its own clock. */
    assert_int_equal(mb_ledger_try(f->o.ledger, put, T0 - 5000, &error), 0);
    assert_int_equal(mb_ledger_try(f->o.ledger, put, T0 + 61, &error), MB_EREFUSED);
    assert_string_equal(error.code, "command.expired");
    mb_outcome_free(org_block(&f->o, T0, &put, 1));
    assert_int_equal(mb_ledger_try(f->o.ledger, del, T0, &error), 0);
    mb_checked_free(del);
    stop(f);
}

static void texts_for_people(void **state)
{
    static const struct {
        const char *code, *args, *text;
    } cases[] = {
        {"command.type", "[\"x.y\"]",
         "this organisation has no command x.y; \"magicbiz org show\" lists the modules that it runs"},
        {"toy.absent", "[\"k\"]", "there is no k: list the keys first"},
        {"toy.absent", "[]", "there is no : list the keys first"},
        {"no.such_code", "[\"a\",7]", "no.such_code: a, 7"},
        {"no.such_code", "[]", "no.such_code"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_buf text = {0};
        json_t *args = json_loads(cases[i].args, 0, NULL);
        mb_message(&text, cases[i].code, args, toy_modules, 1);
        assert_string_equal(mb_buf_text(&text), cases[i].text);
        json_decref(args);
        mb_buf_clear(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_edges_of_expiry),
        cmocka_unit_test(what_is_inadmissible_is_not_taken_in),
        cmocka_unit_test(an_id_is_taken_in_once),
        cmocka_unit_test(the_running_hash_of_ids),
        cmocka_unit_test(access_by_role),
        cmocka_unit_test(a_module_gives_roles),
        cmocka_unit_test(keys_without_a_role_bring_work),
        cmocka_unit_test(parameters),
        cmocka_unit_test(founders_agree),
        cmocka_unit_test(an_approved_command_may_still_fail),
        cmocka_unit_test(pending_expires),
        cmocka_unit_test(a_key_is_replaced_twice),
        cmocka_unit_test(replacements_that_are_refused),
        cmocka_unit_test(the_door_changes_nothing),
        cmocka_unit_test(texts_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
