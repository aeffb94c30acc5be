/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/tools.h"
#include "sign/pushcert.h"
#include "sign_vectors.h"

#define ZERO "0000000000000000000000000000000000000000"
#define ONE  "06382e34562ba148054ded73bc9a007623e6045a"

static struct mb_secret_key known_key(void)
{
    struct mb_secret_key key;
    assert_int_equal(mb_secret_key_parse(&key, mb_bytes_of(key_file), NULL), 0);
    return key;
}

static int parse_and_verify(struct mb_bytes text)
{
    struct mb_pushcert cert;
    int err = mb_pushcert_parse(&cert, text, NULL);
    if (err == 0)
        err = mb_pushcert_verify(&cert, NULL, NULL);
    mb_pushcert_clear(&cert);
    return err;
}

static void certificates_of_git_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text, *pushee, *nonce;
        int64_t time;
        size_t options;
        const char *updates[2][3];
    } certs[] = {
        {cert_options,
         "../r.git",
         "1795239425-f390dd4c33df225443828e7ba8882e0e504373aa",
         1795239425,
         2,
         {{ZERO, ONE, "refs/heads/main"}, {ZERO, ONE, "refs/for/main"}}},
        {cert_delete,
         "file:///tmp/signvec/r.git",
         "1795239425-4a1e5fef22195b02a278849defc5d81ed8b138b1",
         1795239425,
         0,
         {{ONE, ZERO, "refs/for/main"}, {ZERO, ONE, "refs/heads/\xc3\xa9"}}},
        {cert_sha256,
         "../r2.git",
         "1795239941-af85b1d445d252a9fae75abfd52d80a30de7b95894b2fad6a426ddbe28a27613",
         1795239941,
         0,
         {{"0000000000000000000000000000000000000000000000000000000000000000", CERT_SHA256_ID,
           "refs/heads/main"}}},
    };
    struct mb_secret_key key = known_key();
    for (size_t i = 0; i < sizeof certs / sizeof *certs; i++) {
        struct mb_pushcert cert;
        struct mb_public_key signer;
        struct mb_error error = {0};
        assert_int_equal(mb_pushcert_parse(&cert, mb_bytes_of(certs[i].text), &error), 0);
        assert_int_equal(mb_pushcert_verify(&cert, &signer, &error), 0);
        assert_true(mb_public_key_equal(&signer, &key.public_key));
        assert_int_equal(strncmp(cert.pusher, KEY_FINGERPRINT "  ", strlen(KEY_FINGERPRINT) + 2),
                         0);
        assert_string_equal(cert.pushee, certs[i].pushee);
        assert_string_equal(cert.nonce, certs[i].nonce);
        assert_int_equal(cert.pusher_time, certs[i].time);
        assert_string_equal(cert.pusher_zone, "+0000");
        assert_int_equal(cert.option_count, certs[i].options);
        for (size_t k = 0; k < cert.update_count; k++) {
            assert_string_equal(cert.updates[k].old_id, certs[i].updates[k][0]);
            assert_string_equal(cert.updates[k].new_id, certs[i].updates[k][1]);
            assert_string_equal(cert.updates[k].ref, certs[i].updates[k][2]);
        }
        assert_true(cert.update_count == 2 || certs[i].updates[1][0] == NULL);
        mb_pushcert_clear(&cert);
    }
    struct mb_pushcert cert;
    assert_int_equal(mb_pushcert_parse(&cert, mb_bytes_of(cert_options), NULL), 0);
    assert_string_equal(cert.options[0], "work=0123456789abcdef");
    assert_string_equal(cert.options[1], "two");
    mb_pushcert_clear(&cert);
}

static void each_bit_of_a_certificate_counts(void **state)
{
    (void)state;
    size_t len = strlen(cert_options);
    char *text = mb_strdup(cert_options);
    for (size_t i = 0; i < len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            text[i] = (char)(text[i] ^ 1 << bit);
            assert_int_not_equal(parse_and_verify(mb_bytes(text, len)), 0);
            text[i] = (char)(text[i] ^ 1 << bit);
        }
    struct mb_pushcert cert;
    for (size_t n = 0; n + 1 < len; n++)
        assert_int_equal(mb_pushcert_parse(&cert, mb_bytes(text, n), NULL), MB_EINVAL);
    assert_int_equal(parse_and_verify(mb_bytes(text, len - 1)), 0);
    free(text);
}

/* cert_options with the first place of a replaced by b. */
static struct mb_buf edited(const char *a, const char *b)
{
    struct mb_buf text = {0};
    const char *at = strstr(cert_options, a);
    assert_non_null(at);
    mb_buf_add(&text, cert_options, (size_t)(at - cert_options));
    mb_buf_add_text(&text, b);
    mb_buf_add_text(&text, at + strlen(a));
    return text;
}

#define PUSHEE "pushee ../r.git\n"
#define NONCE  "nonce 1795239425-f390dd4c33df225443828e7ba8882e0e504373aa\n"
#define MAIN   ZERO " " ONE " refs/heads/main\n"
#define FOR    ZERO " " ONE " refs/for/main\n"
#define WHEN   "1795239425 +0000"

static void malformed_certificates_are_refused(void **state)
{
    (void)state;
    static const char *const edits[][2] = {
        {"version 0.1", "version 0.2"},
        {"certificate version 0.1\n", ""},
        {"pusher ", "Pusher "},
        {"pusher " KEY_FINGERPRINT "  " WHEN "\n", ""},
        {KEY_FINGERPRINT "  " WHEN, WHEN},
        {KEY_FINGERPRINT "  " WHEN, " " WHEN},
        {WHEN, "1795239425"},
        {WHEN, "1795239425 +000"},
        {WHEN, "1795239425 +00000"},
        {WHEN, "1795239425 0000"},
        {WHEN, "1795239425 +00:0"},
        {WHEN, "1795239425 +0000 "},
        {WHEN, "01795239425 +0000"},
        {WHEN, "-1795239425 +0000"},
        {WHEN, "0x6b0159c1 +0000"},
        {WHEN, "9223372036854775808 +0000"},
        {PUSHEE NONCE, NONCE PUSHEE},
        {PUSHEE, PUSHEE PUSHEE},
        {PUSHEE, "pushee\n"},
        {NONCE, NONCE NONCE},
        {NONCE, NONCE "extra x\n"},
        {"push-option two\n\n", "push-option two\n"},
        {"push-option two\n\n", "push-option two\n\n\n"},
        {"push-option two", "push-option t\two"},
        {"push-option two", "push-option t\x7fo"},
        {"push-option two", "push-option \xff"},
        {"push-option two\n", "push-option two\r\n"},
        {MAIN, MAIN "\n"},
        {MAIN FOR, ""},
        {MAIN, MAIN MAIN},
        {FOR, MAIN},
        {MAIN, ZERO "  " ONE " refs/heads/main\n"},
        {MAIN, ZERO " " ONE "  refs/heads/main\n"},
        {MAIN, ZERO " " ONE " refs/heads/main \n"},
        {MAIN, ZERO " " ONE " \n"},
        {MAIN, ZERO " " ONE "\n"},
        {MAIN, ZERO " " ONE "xrefs/heads/main\n"},
        {MAIN, ZERO "x" ONE " refs/heads/main\n"},
        {MAIN, "06382E34562BA148054DED73BC9A007623E6045A " ONE " refs/heads/main\n"},
        {MAIN, ZERO "\n"},
        {MAIN, ZERO " " ONE " HEAD\n"},
        {MAIN, ZERO " " ONE " refs/heads/a..b\n"},
        {MAIN, ZERO " 06382E34562BA148054DED73BC9A007623E6045A refs/heads/main\n"},
        {MAIN, ZERO " 06382e34562ba148054ded73bc9a007623e6045g refs/heads/main\n"},
        {MAIN, ZERO " 06382e34562ba148054ded73bc9a007623e6045 refs/heads/main\n"},
        {MAIN, ZERO "000000000000000000000000 " ONE "000000000000000000000000 refs/heads/main\n"},
        {FOR, ZERO "000000000000000000000000 " ONE "000000000000000000000000 refs/for/main\n"},
        {FOR, ZERO " " ONE " refs/for/main"},
        {"-----BEGIN SSH", "-----BEGIN PGP"},
        {"-----BEGIN SSH SIGNATURE-----\n", ""},
        {"-----END SSH SIGNATURE-----\n", ""},
        {"-----END SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n\n"},
        {"-----END SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n" MAIN},
    };
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        struct mb_buf text = edited(edits[i][0], edits[i][1]);
        struct mb_pushcert cert;
        struct mb_error error = {0};
        if (mb_pushcert_parse(&cert, mb_buf_bytes(&text), &error) != MB_EINVAL ||
            strcmp(error.code, "pushcert.invalid") != 0)
            fail_msg("taken: \"%s\" in place of \"%s\"", edits[i][1], edits[i][0]);
        assert_null(cert.updates);
        mb_buf_clear(&text);
    }
    struct mb_buf text = edited(MAIN, MAIN);
    text.data[40] = '\0';
    struct mb_pushcert cert;
    assert_int_equal(mb_pushcert_parse(&cert, mb_buf_bytes(&text), NULL), MB_EINVAL);
    mb_buf_clear(&text);
}

static void what_git_may_leave_out_or_vary_is_taken(void **state)
{
    (void)state;
    static const char *const edits[][2] = {
        {PUSHEE, ""},
        {NONCE, ""},
        {PUSHEE NONCE "push-option work=0123456789abcdef\npush-option two\n", ""},
        {"push-option two", "push-option "},
        {"push-option two", "push-option \xc3\xa9"},
        {KEY_FINGERPRINT "  " WHEN, "A U Thor <a@b.invalid> 0 -1130"},
        {WHEN, "9223372036854775807 +0000"},
        {MAIN, ""},
        {MAIN, ZERO " " ZERO " refs/heads/main\n"},
    };
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        struct mb_buf text = edited(edits[i][0], edits[i][1]);
        struct mb_pushcert cert;
        struct mb_error error = {0};
        if (mb_pushcert_parse(&cert, mb_buf_bytes(&text), &error) != 0)
            fail_msg("refused: \"%s\": %s", edits[i][1], error.text);
        assert_int_equal(mb_pushcert_verify(&cert, NULL, &error), MB_EPROOF);
        assert_string_equal(error.code, "signature.false");
        if (strcmp(edits[i][0], PUSHEE) == 0)
            assert_string_equal(cert.pushee, "");
        if (strcmp(edits[i][0], NONCE) == 0)
            assert_string_equal(cert.nonce, "");
        mb_pushcert_clear(&cert);
        mb_buf_clear(&text);
    }
    struct mb_buf text = edited(KEY_FINGERPRINT "  " WHEN, "A U Thor <a@b.invalid> 12 -1130");
    struct mb_pushcert cert;
    assert_int_equal(mb_pushcert_parse(&cert, mb_buf_bytes(&text), NULL), 0);
    assert_string_equal(cert.pusher, "A U Thor <a@b.invalid> 12 -1130");
    assert_int_equal(cert.pusher_time, 12);
    assert_string_equal(cert.pusher_zone, "-1130");
    mb_pushcert_clear(&cert);
    mb_buf_clear(&text);
}

/* A certificate that holds, with so many options of such a length, and so many updates. */
static struct mb_buf certificate(size_t options, size_t option_len, size_t updates,
                                 const char *name_space)
{
    struct mb_secret_key key = known_key();
    struct mb_buf text = {0}, binary = {0};
    mb_buf_add_text(&text, "certificate version 0.1\npusher x " WHEN "\n" PUSHEE NONCE);
    for (size_t i = 0; i < options; i++) {
        mb_buf_add_text(&text, "push-option ");
        for (size_t k = 0; k < option_len; k++)
            mb_buf_add_u8(&text, 'o');
        mb_buf_add_u8(&text, '\n');
    }
    mb_buf_add_u8(&text, '\n');
    for (size_t i = 0; i < updates; i++)
        mb_buf_addf(&text, ZERO " " ONE " refs/heads/%zu\n", i * 7919 % updates);
    mb_sshsig_sign(&key, name_space, mb_buf_bytes(&text), &binary);
    mb_sshsig_armor(&text, mb_buf_bytes(&binary));
    mb_buf_clear(&binary);
    return text;
}

static void bounds_are_kept(void **state)
{
    (void)state;
    static const struct {
        size_t options, option_len, updates;
        int err;
    } cases[] = {
        {MB_PUSHCERT_OPTIONS_MAX, 1024, 1, 0},
        {MB_PUSHCERT_OPTIONS_MAX + 1, 1, 1, MB_ELIMIT},
        {1, 1025, 1, MB_ELIMIT},
        {0, 0, MB_PUSHCERT_UPDATES_MAX, 0},
        {0, 0, MB_PUSHCERT_UPDATES_MAX + 1, MB_ELIMIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_buf text =
            certificate(cases[i].options, cases[i].option_len, cases[i].updates, "git");
        struct mb_pushcert cert;
        struct mb_error error = {0};
        assert_int_equal(mb_pushcert_parse(&cert, mb_buf_bytes(&text), &error), cases[i].err);
        if (cases[i].err == 0)
            assert_int_equal(mb_pushcert_verify(&cert, NULL, &error), 0);
        else
            assert_string_equal(error.code, "pushcert.too_large");
        mb_pushcert_clear(&cert);
        mb_buf_clear(&text);
    }
    struct mb_buf large = {0};
    struct mb_error error;
    struct mb_pushcert cert;
    while (large.len <= MB_PUSHCERT_MAX)
        mb_buf_add_u8(&large, 'x');
    assert_int_equal(mb_pushcert_parse(&cert, mb_buf_bytes(&large), &error), MB_ELIMIT);
    assert_string_equal(error.code, "pushcert.too_large");
    large.len--;
    assert_int_equal(mb_pushcert_parse(&cert, mb_buf_bytes(&large), &error), MB_EINVAL);
    mb_buf_clear(&large);
}

static void signatures_of_other_namespaces_are_no_certificates(void **state)
{
    (void)state;
    struct mb_buf text = certificate(0, 0, 1, "magicbiz");
    struct mb_pushcert cert;
    struct mb_error error;
    assert_int_equal(mb_pushcert_parse(&cert, mb_buf_bytes(&text), NULL), 0);
    assert_int_equal(mb_pushcert_verify(&cert, NULL, &error), MB_EPROOF);
    assert_string_equal(error.code, "signature.namespace");
    mb_pushcert_clear(&cert);
    mb_buf_clear(&text);
}

#define ORG    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define REPO   "fedcba9876543210"
#define RANDOM "00112233445566778899aabbccddeeff"

static void a_nonce_has_one_form(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid;
        int64_t time;
    } cases[] = {
        {ORG "-" REPO "-1795226700-" RANDOM, true, 1795226700},
        {ORG "-" REPO "-0-" RANDOM, true, 0},
        {ORG "-" REPO "-9223372036854775807-" RANDOM, true, INT64_MAX},
        {ORG "-" REPO "-9223372036854775808-" RANDOM, false, 0},
        {ORG "-" REPO "-99999999999999999999999999999999999-" RANDOM, false, 0},
        {ORG "-" REPO "-01-" RANDOM, false, 0},
        {ORG "-" REPO "--" RANDOM, false, 0},
        {ORG "-" REPO "--1-" RANDOM, false, 0},
        {ORG "-" REPO "-+1-" RANDOM, false, 0},
        {ORG "-" REPO "- 1-" RANDOM, false, 0},
        {ORG "-" REPO "-1x-" RANDOM, false, 0},
        {ORG "-" REPO "-1-" RANDOM "0", false, 0},
        {ORG "-" REPO "-1-" RANDOM "\n", false, 0},
        {ORG "-" REPO "-1-0112233445566778899aabbccddeeff", false, 0},
        {ORG "-" REPO "-1-00112233445566778899AABBCCDDEEFF", false, 0},
        {ORG "-" REPO "-1-", false, 0},
        {ORG "-" REPO "-1", false, 0},
        {ORG "-" REPO, false, 0},
        {ORG, false, 0},
        {"", false, 0},
        {"0" ORG "-" REPO "-1-" RANDOM, false, 0},
        {ORG "-0" REPO "-1-" RANDOM, false, 0},
        {ORG "_" REPO "-1-" RANDOM, false, 0},
        {"1795239425-f390dd4c33df225443828e7ba8882e0e504373aa", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_push_nonce nonce;
        char text[160];
        int err = mb_push_nonce_parse(&nonce, cases[i].text);
        if (err != (cases[i].valid ? 0 : MB_EINVAL))
            fail_msg("wrong about \"%s\"", cases[i].text);
        if (!cases[i].valid)
            continue;
        assert_string_equal(nonce.org, ORG);
        assert_string_equal(nonce.repo, REPO);
        assert_string_equal(nonce.random, RANDOM);
        assert_int_equal(nonce.time, cases[i].time);
        mb_push_nonce_text(&nonce, text);
        assert_string_equal(text, cases[i].text);
    }
}

#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct {
    const char *ref;
    bool valid, git; /* what git check-ref-format says: it has fewer rules */
} refs[] = {
    {"refs/heads/main", true, true},
    {"refs/for/main", true, true},
    {"refs/x", true, true},
    {"refs/tags/v1.0", true, true},
    {"refs/heads/feature/a-b_c+d,e=f%g&h", true, true},
    {"refs/heads/\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x99", true, true},
    {"refs/heads/-x", true, true},
    {"refs/heads/@", true, true},
    {"refs/heads/@x", true, true},
    {"refs/heads/a@", true, true},
    {"refs/heads/{a}", true, true},
    {"refs/heads/a.b", true, true},
    {"refs/heads/a./b", true, true},
    {"refs/heads/a.lockx", true, true},
    {"refs/heads/lock", true, true},
    {"refs/heads/a.LOCK", true, true},
    {"refs/heads/\"'$(x)|;<>!#", true, true},
    {"refs/" X50 X50 X50 X50 "", false, true},
    {"refs/" X50 X50 X50 "/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", true, true},
    {"refs/" X50 X50 X50 "/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", false, true},
    {"", false, false},
    {"refs", false, false},
    {"refs/", false, false},
    {"HEAD", false, false},
    {"main", false, false},
    {"heads/main", false, true},
    {"Refs/heads/main", false, true},
    {"/refs/heads/main", false, false},
    {"refs//heads", false, false},
    {"refs/heads/", false, false},
    {"refs/heads/a//b", false, false},
    {"refs/heads/..", false, false},
    {"refs/heads/../../config", false, false},
    {"refs/heads/.", false, false},
    {"refs/heads/./a", false, false},
    {"refs/heads/.a", false, false},
    {"refs/.heads/a", false, false},
    {"refs/heads/a..b", false, false},
    {"refs/heads/a.", false, false},
    {"refs/heads/a.lock", false, false},
    {"refs/heads/a.lock/b", false, false},
    {"refs/heads/.lock", false, false},
    {"refs/heads/a.lock.lock", false, false},
    {"refs/heads/@{", false, false},
    {"refs/heads/a@{1}", false, false},
    {"refs/heads/a b", false, false},
    {"refs/heads/a~1", false, false},
    {"refs/heads/a^", false, false},
    {"refs/heads/a:b", false, false},
    {"refs/heads/a?", false, false},
    {"refs/heads/*", false, false},
    {"refs/heads/a[b", false, false},
    {"refs/heads/a\\b", false, false},
    {"refs/heads/a\nb", false, false},
    {"refs/heads/a\x7f", false, false},
    {"refs/heads/\xff", false, true},
    {"refs/heads/\xc3", false, true},
    {"refs/heads/\xc0\xaf", false, true},
    {"refs/heads/\xed\xa0\x80", false, true},
};

static void refs_are_named_by_the_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refs / sizeof *refs; i++)
        if (mb_ref_valid(refs[i].ref) != refs[i].valid)
            fail_msg("wrong about \"%s\"", refs[i].ref);
}

static bool git_takes(const char *folder, const char *ref)
{
    return TOOLS_RUN(folder, NULL, "git", "check-ref-format", ref) == 0;
}

static void git_has_the_same_rules(void **state)
{
    (void)state;
    char *folder = tools_open();
    if (TOOLS_RUN(folder, NULL, "git", "--version") != 0) {
        tools_close(folder);
        skip();
    }
    for (size_t i = 0; i < sizeof refs / sizeof *refs; i++)
        if (git_takes(folder, refs[i].ref) != refs[i].git)
            fail_msg("the table is wrong about git and \"%s\"", refs[i].ref);
    for (char c = 1; c < 127; c++) {
        char ref[] = {'r', 'e', 'f', 's', '/', 'a', c, 'b', '\0'};
        if (git_takes(folder, ref) != mb_ref_valid(ref))
            fail_msg("git does not agree about byte %d", c);
    }
    tools_close(folder);
}

/* What a hook of a real receive-pack sees of a real signed push. */
static void push_signed(const char *folder, const char *format)
{
    static const char hook[] = "#!/bin/sh\nexec git cat-file blob \"$GIT_PUSH_CERT\" >../cert\n";
    static const char config[] = "[init]\ndefaultBranch = main\n[user]\nname = x\nemail = x@y\n"
                                 "signingKey = ../k\n[gpg]\nformat = ssh\n[receive]\n"
                                 "certNonceSeed = s\nadvertisePushOptions = true\n";
    struct mb_buf text = {0}, out = {0};
    struct mb_pushcert cert;
    struct mb_public_key signer, key;
    char *object_format = mb_asprintf("--object-format=%s", format);
    tools_write(folder, ".gitconfig", mb_bytes_of(config), 0600);
    assert_int_equal(TOOLS_RUN(folder, NULL, "git", "init", "-q", "--bare", object_format, "r"), 0);
    assert_int_equal(TOOLS_RUN(folder, NULL, "git", "init", "-q", object_format, "w"), 0);
    tools_write(folder, "r/hooks/pre-receive", mb_bytes_of(hook), 0700);
    assert_int_equal(
        TOOLS_RUN(folder, NULL, "git", "-C", "w", "commit", "-q", "--allow-empty", "-m", "1"), 0);
    if (TOOLS_RUN(folder, &out, "git", "-C", "w", "push", "-q", "--signed", "-o", "work=1", "../r",
                  "HEAD:refs/heads/a", "HEAD:refs/for/main") != 0)
        fail_msg("git push: %s", mb_buf_text(&out));

    tools_read(folder, "cert", &text);
    assert_int_equal(mb_pushcert_parse(&cert, mb_buf_bytes(&text), NULL), 0);
    assert_int_equal(mb_pushcert_verify(&cert, &signer, NULL), 0);
    tools_read(folder, "k.pub", &out);
    assert_int_equal(mb_public_key_parse_line(&key, mb_buf_text(&out), NULL), 0);
    assert_true(mb_public_key_equal(&key, &signer));
    assert_int_equal(TOOLS_RUN(folder, &out, "git", "-C", "w", "rev-parse", "HEAD"), 0);
    assert_int_equal(cert.update_count, 2);
    assert_int_equal(strncmp(cert.updates[0].new_id, mb_buf_text(&out), out.len - 1), 0);
    assert_int_equal(strlen(cert.updates[1].new_id), out.len - 1);
    assert_string_equal(cert.pushee, "../r");
    assert_int_equal(cert.option_count, 1);
    assert_string_equal(cert.options[0], "work=1");
    assert_string_equal(cert.pusher_zone, "+0000");
    assert_true(strlen(cert.nonce) > 0);
    mb_pushcert_clear(&cert);
    mb_buf_clear(&text);
    mb_buf_clear(&out);
    free(object_format);
}

static void fresh_certificates_of_git_hold(void **state)
{
    (void)state;
    static const char *const formats[] = {"sha1", "sha256"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        char *folder = tools_open();
        if (TOOLS_RUN(folder, NULL, "git", "--version") != 0 ||
            TOOLS_RUN(folder, NULL, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "k") !=
                0) {
            tools_close(folder);
            skip();
        }
        push_signed(folder, formats[i]);
        tools_close(folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_of_git_are_read),
        cmocka_unit_test(each_bit_of_a_certificate_counts),
        cmocka_unit_test(malformed_certificates_are_refused),
        cmocka_unit_test(what_git_may_leave_out_or_vary_is_taken),
        cmocka_unit_test(bounds_are_kept),
        cmocka_unit_test(signatures_of_other_namespaces_are_no_certificates),
        cmocka_unit_test(a_nonce_has_one_form),
        cmocka_unit_test(refs_are_named_by_the_rules),
        cmocka_unit_test(git_has_the_same_rules),
        cmocka_unit_test(fresh_certificates_of_git_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
