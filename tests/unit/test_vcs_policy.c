/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../modules/vcs/vcs_policy.h"
#include "../support/tools.h"

#define TREE         "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
#define GOOD         "a <a@acme.invalid> 1795226400 +0000\n"
#define FINGERPRINT  "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
#define ZONE         "a time zone other than +0000"
#define EMAIL        "an e-mail address that is no pseudonym's"
#define PERSON       "a person's line is malformed"
#define OTHER_KEY    "a signature by another key than the push's"
#define COMMIT(a, c) TREE "author " a "committer " c "\nmessage\n"
#define TAG(rest)    "object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype tree\ntag v1\n" rest

static struct mb_secret_key a_key(uint8_t seed)
{
    uint8_t bytes[32];
    struct mb_secret_key key;
    memset(bytes, seed, sizeof bytes);
    mb_secret_key_from_seed(&key, bytes);
    return key;
}

static void expect(const char *kind, struct mb_bytes raw, const struct mb_public_key *signer,
                   const char *wrong)
{
    const char *found = vcs_policy_check(kind, raw, "acme", signer);
    assert_string_equal(found != NULL ? found : "", wrong);
}

static void tables(void **state)
{
    static const struct {
        const char *kind, *raw, *wrong;
    } cases[] = {
        {"commit", COMMIT(GOOD, GOOD), ""},
        {"commit", COMMIT("a <" FINGERPRINT "> 1 +0000\n", GOOD), ""},
        {"commit", COMMIT("a <a@acme.invalid> 1 +0100\n", GOOD), ZONE},
        {"commit", COMMIT(GOOD, "a <a@acme.invalid> 1 -0000\n"), ZONE},
        {"commit", COMMIT(GOOD, "a <a@acme.invalid> 1 +00000\n"), ZONE},
        {"commit", COMMIT("a <a@example.org> 1 +0000\n", GOOD), EMAIL},
        {"commit", COMMIT("a <@acme.invalid> 1 +0000\n", GOOD), EMAIL},
        {"commit", COMMIT("a <a@acme.invalid.org> 1 +0000\n", GOOD), EMAIL},
        {"commit", COMMIT("a <a@other.invalid> 1 +0000\n", GOOD), EMAIL},
        {"commit", COMMIT("a <SHA256:x> 1 +0000\n", GOOD), EMAIL},
        {"commit", COMMIT("a <> 1 +0000\n", GOOD), EMAIL},
        {"commit", COMMIT("a <b@real.org> <a@acme.invalid> 1 +0000\n", GOOD), PERSON},
        {"commit", COMMIT("a a@acme.invalid 1 +0000\n", GOOD), PERSON},
        {"commit", COMMIT("a >a@acme.invalid< 1 +0000\n", GOOD), PERSON},
        {"commit", COMMIT("a <a@acme.invalid>\n", GOOD), PERSON},
        {"commit", COMMIT("a <a@acme.invalid> host 1 +0000\n", GOOD), PERSON},
        {"commit", TREE "author " GOOD "committer " GOOD "mergetag object x\n type commit\n\nm\n",
         "an embedded tag"},
        {"commit", TREE "author " GOOD "committer " GOOD "\nauthor not a header\n", ""},
        {"commit", TREE "author " GOOD "committer " GOOD "gpgsig x\n\nm\n", OTHER_KEY},
        {"commit", TREE "gpgsig x", OTHER_KEY},
        {"commit", TREE "author " GOOD "committer " GOOD "gpgsig-sha256 x\n y\n\nm\n", OTHER_KEY},
        {"tag", TAG("tagger " GOOD "\nm\n"), ""},
        {"tag", TAG("\nm\n"), ""},
        {"tag", TAG("tagger a <a@acme.invalid> 1 +0200\n\nm\n"), ZONE},
        {"tag", TAG("tagger a <a@example.org> 1 +0000\n\nm\n"), EMAIL},
        {"tag", TAG("tagger " GOOD "\ntagger a <a@example.org> 1 +0000\n"), ""},
        {"tag", TAG("tagger " GOOD "\nm\n-----BEGIN PGP SIGNATURE-----\nx\n"), OTHER_KEY},
        {"tag", TAG("tagger " GOOD "gpgsig-sha256 x\n y\n\nm\n"), OTHER_KEY},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(cases[i].kind, mb_bytes_of(cases[i].raw), NULL, cases[i].wrong);
}

static void sign(const struct mb_secret_key *key, const char *name_space, const char *text,
                 struct mb_buf *armour)
{
    struct mb_buf binary = {0};
    mb_sshsig_sign(key, name_space, mb_bytes_of(text), &binary);
    mb_buf_reset(armour);
    mb_sshsig_armor(armour, mb_buf_bytes(&binary));
    mb_buf_clear(&binary);
}

/* TREE, persons, the armour as header gpgsig, message. */
static void put_gpgsig(struct mb_buf *out, struct mb_buf *armour, const char *message)
{
    mb_buf_reset(out);
    mb_buf_add_text(out, TREE "author " GOOD "committer " GOOD "gpgsig");
    for (const char *line = mb_buf_text(armour); *line != 0;) {
        size_t n = strcspn(line, "\n") + 1;
        mb_buf_add_u8(out, ' ');
        mb_buf_add(out, line, n);
        line += n;
    }
    mb_buf_add_text(out, message);
}

static void signatures_made_here(void **state)
{
    struct mb_secret_key own = a_key(1), other = a_key(2);
    struct mb_buf armour = {0}, raw = {0};
    (void)state;
    sign(&own, "git", COMMIT(GOOD, GOOD), &armour);
    put_gpgsig(&raw, &armour, "\nmessage\n");
    expect("commit", mb_buf_bytes(&raw), &own.public_key, "");
    expect("commit", mb_buf_bytes(&raw), &other.public_key, OTHER_KEY);
    expect("commit", mb_buf_bytes(&raw), NULL, OTHER_KEY);
    put_gpgsig(&raw, &armour, "\nanother message\n");
    expect("commit", mb_buf_bytes(&raw), &own.public_key, OTHER_KEY);
    put_gpgsig(&raw, &armour, "gpgsig x\n\nmessage\n");
    expect("commit", mb_buf_bytes(&raw), &own.public_key, OTHER_KEY);
    sign(&own, "file", COMMIT(GOOD, GOOD), &armour);
    put_gpgsig(&raw, &armour, "\nmessage\n");
    expect("commit", mb_buf_bytes(&raw), &own.public_key, OTHER_KEY);

    static const char tag[] = TAG("tagger " GOOD "\nmessage\n");
    sign(&own, "git", tag, &armour);
    mb_buf_reset(&raw);
    mb_buf_add_text(&raw, tag);
    mb_buf_add_bytes(&raw, mb_buf_bytes(&armour));
    expect("tag", mb_buf_bytes(&raw), &own.public_key, "");
    expect("tag", mb_buf_bytes(&raw), &other.public_key, OTHER_KEY);
    mb_buf_add_text(&raw, "more\n");
    expect("tag", mb_buf_bytes(&raw), &own.public_key, OTHER_KEY);
    mb_buf_clear(&armour);
    mb_buf_clear(&raw);
}

static void run(const char *folder, struct mb_buf *out, const char *const argv[])
{
    if (tools_run(folder, mb_bytes(NULL, 0), out, argv) != 0)
        fail_msg("%s %s: %s", argv[0], argv[1], out != NULL ? mb_buf_text(out) : "");
}
#define RUN(out, ...) run(folder, out, (const char *const[]){__VA_ARGS__, NULL})
#define GIT(out, ...)                                                                              \
    RUN(out, "git", "-c", "user.name=a", "-c", "user.email=a@acme.invalid", "-c",                  \
        "gpg.format=ssh", "-c", "user.signingKey=k", __VA_ARGS__)

static void what_git_makes(void **state)
{
    char *folder = tools_open();
    struct mb_buf out = {0}, raw = {0};
    struct mb_secret_key key, other = a_key(2);
    (void)state;
    if (TOOLS_RUN(folder, NULL, "git", "init", "-q") == 127 ||
        TOOLS_RUN(folder, NULL, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "k") == 127) {
        tools_close(folder);
        skip();
    }
    tools_read(folder, "k", &out);
    assert_int_equal(mb_secret_key_parse(&key, mb_buf_bytes(&out), NULL), 0);
    GIT(NULL, "commit", "-q", "--allow-empty", "-m", "plain");
    GIT(&raw, "cat-file", "commit", "HEAD");
    expect("commit", mb_buf_bytes(&raw), NULL, "");
    GIT(NULL, "commit", "-q", "-S", "--allow-empty", "-m", "signed");
    GIT(&raw, "cat-file", "commit", "HEAD");
    assert_non_null(strstr(mb_buf_text(&raw), "gpgsig "));
    expect("commit", mb_buf_bytes(&raw), &key.public_key, "");
    expect("commit", mb_buf_bytes(&raw), &other.public_key, OTHER_KEY);
    GIT(NULL, "commit", "-q", "--allow-empty", "-m", "x", "--date", "1795226400 +0200");
    GIT(&raw, "cat-file", "commit", "HEAD");
    expect("commit", mb_buf_bytes(&raw), NULL, ZONE);
    GIT(NULL, "tag", "-s", "-m", "signed", "v1");
    GIT(&raw, "cat-file", "tag", "v1");
    expect("tag", mb_buf_bytes(&raw), &key.public_key, "");
    expect("tag", mb_buf_bytes(&raw), &other.public_key, OTHER_KEY);
    mb_buf_clear(&out);
    mb_buf_clear(&raw);
    mb_secret_key_clear(&key);
    tools_close(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),
        cmocka_unit_test(signatures_made_here),
        cmocka_unit_test(what_git_makes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
