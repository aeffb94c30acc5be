/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/tools.h"
#include "base/encode.h"
#include "sign/sshsig.h"
#include "sign_vectors.h"

#define NAMESPACE "magicbiz"
#define BEGIN     "-----BEGIN SSH SIGNATURE-----\n"
#define END       "-----END SSH SIGNATURE-----\n"

static struct mb_secret_key known_key(void)
{
    struct mb_secret_key key;
    assert_int_equal(mb_secret_key_parse(&key, mb_bytes_of(key_file), NULL), 0);
    return key;
}

static struct mb_buf binary_of(const char *armoured)
{
    struct mb_buf binary = {0};
    assert_int_equal(mb_sshsig_dearmor(&binary, mb_bytes_of(armoured), NULL), 0);
    return binary;
}

static int verify(const struct mb_buf *binary)
{
    return mb_sshsig_verify(mb_buf_bytes(binary), NAMESPACE, mb_bytes_of(MESSAGE), NULL, NULL);
}

static void a_signature_of_ssh_keygen_holds_and_ours_is_the_same(void **state)
{
    (void)state;
    struct mb_secret_key key = known_key();
    struct mb_buf binary = binary_of(sig), ours = {0}, text = {0};
    struct mb_sshsig s;
    struct mb_public_key signer = {{0}};
    assert_int_equal(mb_sshsig_parse(&s, mb_buf_bytes(&binary), NULL), 0);
    assert_string_equal(s.name_space, NAMESPACE);
    assert_true(mb_public_key_equal(&s.key, &key.public_key));
    assert_int_equal(
        mb_sshsig_verify(mb_buf_bytes(&binary), NAMESPACE, mb_bytes_of(MESSAGE), &signer, NULL), 0);
    assert_true(mb_public_key_equal(&signer, &key.public_key));

    mb_sshsig_sign(&key, NAMESPACE, mb_bytes_of(MESSAGE), &ours);
    assert_true(mb_bytes_equal(mb_buf_bytes(&ours), mb_buf_bytes(&binary)));
    mb_sshsig_armor(&text, mb_buf_bytes(&ours));
    assert_string_equal(mb_buf_text(&text), sig);
    mb_buf_clear(&binary);
    mb_buf_clear(&ours);
    mb_buf_clear(&text);
}

static void what_does_not_hold_says_why(void **state)
{
    (void)state;
    static const struct {
        const char *armoured, *name_space, *message;
        int err;
        const char *code;
    } cases[] = {
        {sig, NAMESPACE, MESSAGE "!", MB_EPROOF, "signature.false"},
        {sig, NAMESPACE, "", MB_EPROOF, "signature.false"},
        {sig, "git", MESSAGE, MB_EPROOF, "signature.namespace"},
        {sig, "magicbi", MESSAGE, MB_EPROOF, "signature.namespace"},
        {sig, "magicbiz-block", MESSAGE, MB_EPROOF, "signature.namespace"},
        {sig, "", MESSAGE, MB_EPROOF, "signature.namespace"},
        {sig_sha256, NAMESPACE, MESSAGE, MB_EINVAL, "signature.invalid"},
        {sig_rsa, NAMESPACE, MESSAGE, MB_EINVAL, "signature.invalid"},
        {sig_ecdsa, NAMESPACE, MESSAGE, MB_EINVAL, "signature.invalid"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_buf binary = binary_of(cases[i].armoured), text = {0};
        struct mb_public_key signer = {{7}};
        struct mb_error error = {0};
        struct mb_bytes message = mb_bytes_of(cases[i].message);
        assert_int_equal(
            mb_sshsig_verify(mb_buf_bytes(&binary), cases[i].name_space, message, &signer, &error),
            cases[i].err);
        assert_string_equal(error.code, cases[i].code);
        assert_int_equal(signer.b[0], 7);
        mb_base64_encode(&text, binary.data, binary.len);
        assert_int_equal(
            mb_sshsig_verify_base64(mb_buf_text(&text), cases[i].name_space, message, NULL, &error),
            cases[i].err);
        assert_string_equal(error.code, cases[i].code);
        mb_buf_clear(&binary);
        mb_buf_clear(&text);
    }
}

static void each_bit_of_a_signature_counts(void **state)
{
    (void)state;
    struct mb_buf binary = binary_of(sig);
    for (size_t i = 0; i < binary.len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            binary.data[i] ^= (uint8_t)(1U << bit);
            assert_int_not_equal(verify(&binary), 0);
            binary.data[i] ^= (uint8_t)(1U << bit);
        }
    struct mb_sshsig s;
    for (size_t n = 0; n < binary.len; n++)
        assert_int_equal(mb_sshsig_parse(&s, mb_bytes(binary.data, n), NULL), MB_EINVAL);
    mb_buf_add_u8(&binary, 0);
    assert_int_equal(verify(&binary), MB_EINVAL);
    mb_buf_clear(&binary);
}

/* An SSHSIG of the empty message by hand. Its key signs whatever namespace, reserved bytes and hash
 * it says, so that its form alone can refuse it. */
struct shape {
    const char *what, *magic;
    uint32_t version;
    const char *name_space;
    size_t name_space_len;
    const char *reserved, *hash, *key_type, *sig_type;
    size_t sig_len;
    const char *sig_rest, *rest;
    bool holds;
};

static struct mb_buf shaped(const struct shape *f, const struct mb_secret_key *key)
{
    struct mb_buf binary = {0}, data = {0}, part = {0};
    uint8_t sig_bytes[96] = {0};
    struct mb_bytes name_space = mb_bytes(f->name_space, f->name_space_len);
    /* SHA-512 of nothing (FIPS 180-4's example values) */
    uint8_t hash[64];
    assert_int_equal(
        mb_hex_decode(hash, sizeof hash,
                      "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
                      "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
                      128),
        0);
    mb_buf_add_text(&data, "SSHSIG");
    mb_buf_add_string(&data, name_space);
    mb_buf_add_string(&data, mb_bytes_of(f->reserved));
    mb_buf_add_string(&data, mb_bytes_of(f->hash));
    mb_buf_add_string(&data, mb_bytes(hash, sizeof hash));
    mb_ed25519_sign(key, mb_buf_bytes(&data), sig_bytes);

    mb_buf_add_text(&binary, f->magic);
    mb_buf_add_u32(&binary, f->version);
    mb_buf_add_string(&part, mb_bytes_of(f->key_type));
    mb_buf_add_string(&part, mb_bytes(key->public_key.b, 32));
    mb_buf_add_string(&binary, mb_buf_bytes(&part));
    mb_buf_add_string(&binary, name_space);
    mb_buf_add_string(&binary, mb_bytes_of(f->reserved));
    mb_buf_add_string(&binary, mb_bytes_of(f->hash));
    mb_buf_reset(&part);
    mb_buf_add_string(&part, mb_bytes_of(f->sig_type));
    mb_buf_add_string(&part, mb_bytes(sig_bytes, f->sig_len));
    mb_buf_add_text(&part, f->sig_rest);
    mb_buf_add_string(&binary, mb_buf_bytes(&part));
    mb_buf_add_text(&binary, f->rest);
    mb_buf_clear(&data);
    mb_buf_clear(&part);
    return binary;
}

#define X16 "xxxxxxxxxxxxxxxx"
#define ED  "ssh-ed25519"

static void only_one_shape_is_taken(void **state)
{
    (void)state;
    static const struct shape shapes[] = {
        {"right", "SSHSIG", 1, "git", 3, "", "sha512", ED, ED, 64, "", "", true},
        {"longest namespace", "SSHSIG", 1, X16 X16 X16 X16, 64, "", "sha512", ED, ED, 64, "", "",
         true},
        {"namespace too long", "SSHSIG", 1, X16 X16 X16 X16 "x", 65, "", "sha512", ED, ED, 64, "",
         "", false},
        {"no namespace", "SSHSIG", 1, "", 0, "", "sha512", ED, ED, 64, "", "", false},
        {"NUL in the namespace", "SSHSIG", 1, "git\0x", 5, "", "sha512", ED, ED, 64, "", "", false},
        {"magic", "SSHSIH", 1, "git", 3, "", "sha512", ED, ED, 64, "", "", false},
        {"version 0", "SSHSIG", 0, "git", 3, "", "sha512", ED, ED, 64, "", "", false},
        {"version 2", "SSHSIG", 2, "git", 3, "", "sha512", ED, ED, 64, "", "", false},
        {"reserved", "SSHSIG", 1, "git", 3, "x", "sha512", ED, ED, 64, "", "", false},
        {"hash sha256", "SSHSIG", 1, "git", 3, "", "sha256", ED, ED, 64, "", "", false},
        {"hash SHA512", "SSHSIG", 1, "git", 3, "", "SHA512", ED, ED, 64, "", "", false},
        {"no hash", "SSHSIG", 1, "git", 3, "", "", ED, ED, 64, "", "", false},
        {"security key", "SSHSIG", 1, "git", 3, "", "sha512", "sk-ssh-ed25519@openssh.com", ED, 64,
         "", "", false},
        {"type of the signature", "SSHSIG", 1, "git", 3, "", "sha512", ED, "ssh-ed25518", 64, "",
         "", false},
        {"short signature", "SSHSIG", 1, "git", 3, "", "sha512", ED, ED, 63, "", "", false},
        {"long signature", "SSHSIG", 1, "git", 3, "", "sha512", ED, ED, 65, "", "", false},
        {"after the signature", "SSHSIG", 1, "git", 3, "", "sha512", ED, ED, 64, "x", "", false},
        {"after the end", "SSHSIG", 1, "git", 3, "", "sha512", ED, ED, 64, "", "x", false},
    };
    struct mb_secret_key key = known_key();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct shape *f = &shapes[i];
        struct mb_buf binary = shaped(f, &key);
        struct mb_error error = {0};
        int err =
            mb_sshsig_verify(mb_buf_bytes(&binary), f->name_space, mb_bytes_of(""), NULL, &error);
        if (err != (f->holds ? 0 : MB_EINVAL))
            fail_msg("wrong about %s: %d", f->what, err);
        if (!f->holds)
            assert_string_equal(error.code, "signature.invalid");
        mb_buf_clear(&binary);
    }
}

static void base64_is_strict(void **state)
{
    (void)state;
    struct mb_buf binary = binary_of(sig), text = {0}, changed = {0};
    struct mb_public_key signer;
    struct mb_error error = {0};
    mb_base64_encode(&text, binary.data, binary.len);
    assert_int_equal(
        mb_sshsig_verify_base64(mb_buf_text(&text), NAMESPACE, mb_bytes_of(MESSAGE), &signer, NULL),
        0);
    static const char *const around[][2] = {{"", "\n"}, {" ", ""}, {"", "="}, {"", "AAAA"}};
    for (size_t i = 0; i < sizeof around / sizeof *around; i++) {
        mb_buf_reset(&changed);
        mb_buf_addf(&changed, "%s%s%s", around[i][0], mb_buf_text(&text), around[i][1]);
        assert_int_equal(mb_sshsig_verify_base64(mb_buf_text(&changed), NAMESPACE,
                                                 mb_bytes_of(MESSAGE), NULL, &error),
                         MB_EINVAL);
        assert_string_equal(error.code, "signature.invalid");
    }
    for (size_t n = 0; n < text.len; n++) {
        char *cut = mb_strndup(mb_buf_text(&text), n);
        assert_int_equal(mb_sshsig_verify_base64(cut, NAMESPACE, mb_bytes_of(MESSAGE), NULL, NULL),
                         MB_EINVAL);
        free(cut);
    }
    mb_buf_reset(&changed);
    for (size_t i = 0; i < 100000; i++)
        mb_buf_add_text(&changed, "AAAA");
    assert_int_equal(
        mb_sshsig_verify_base64(mb_buf_text(&changed), NAMESPACE, mb_bytes_of(MESSAGE), NULL, NULL),
        MB_EINVAL);
    mb_buf_clear(&binary);
    mb_buf_clear(&text);
    mb_buf_clear(&changed);
}

/* sig again, in lines of this width. */
static struct mb_buf wrapped(size_t width, const char *line_end)
{
    struct mb_buf binary = binary_of(sig), digits = {0}, text = {0};
    mb_base64_encode(&digits, binary.data, binary.len);
    mb_buf_add_text(&text, BEGIN);
    for (size_t at = 0; at < digits.len; at += width) {
        mb_buf_add(&text, digits.data + at, digits.len - at < width ? digits.len - at : width);
        mb_buf_add_text(&text, line_end);
    }
    mb_buf_add_text(&text, END);
    mb_buf_clear(&binary);
    mb_buf_clear(&digits);
    return text;
}

static void armour_is_strict(void **state)
{
    (void)state;
    static const struct {
        size_t width;
        const char *line_end;
        bool fine;
    } wraps[] = {
        {70, "\n", true},    {76, "\n", true},    {1, "\n", true},
        {64, "\n", true},    {77, "\n", false},   {1000, "\n", false},
        {70, "\r\n", false}, {70, "\n\n", false}, {70, " \n", false},
    };
    for (size_t i = 0; i < sizeof wraps / sizeof *wraps; i++) {
        struct mb_buf text = wrapped(wraps[i].width, wraps[i].line_end), binary = {0};
        assert_int_equal(mb_sshsig_dearmor(&binary, mb_buf_bytes(&text), NULL),
                         wraps[i].fine ? 0 : MB_EINVAL);
        if (wraps[i].fine)
            assert_int_equal(verify(&binary), 0);
        mb_buf_clear(&text);
        mb_buf_clear(&binary);
    }
    static const char *const around[][2] = {{"", "\n"}, {"\n", ""},   {" ", ""},  {"", " "},
                                            {"", sig},  {"", "text"}, {BEGIN, ""}};
    struct mb_buf binary = {0}, text = {0};
    struct mb_error error;
    mb_buf_add_text(&binary, "kept");
    for (size_t i = 0; i < sizeof around / sizeof *around; i++) {
        mb_buf_reset(&text);
        mb_buf_addf(&text, "%s%s%s", around[i][0], sig, around[i][1]);
        assert_int_equal(mb_sshsig_dearmor(&binary, mb_buf_bytes(&text), &error), MB_EINVAL);
        assert_string_equal(error.code, "signature.invalid");
    }
    assert_int_equal(mb_sshsig_dearmor(&binary, mb_bytes_of(key_file), NULL), MB_EINVAL);
    assert_string_equal(mb_buf_text(&binary), "kept");
    mb_buf_clear(&binary);
    mb_buf_clear(&text);
}

static void each_byte_of_the_armour_counts(void **state)
{
    (void)state;
    size_t len = strlen(sig);
    char *text = mb_strdup(sig);
    for (size_t i = 0; i < len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            struct mb_buf binary = {0};
            text[i] = (char)(text[i] ^ 1 << bit);
            assert_true(mb_sshsig_dearmor(&binary, mb_bytes(text, len), NULL) != 0 ||
                        verify(&binary) != 0);
            text[i] = (char)(text[i] ^ 1 << bit);
            mb_buf_clear(&binary);
        }
    struct mb_buf binary = {0};
    for (size_t n = 0; n + 1 < len; n++)
        assert_int_equal(mb_sshsig_dearmor(&binary, mb_bytes(text, n), NULL), MB_EINVAL);
    assert_int_equal(mb_sshsig_dearmor(&binary, mb_bytes(text, len - 1), NULL), 0);
    assert_int_equal(verify(&binary), 0);
    mb_buf_clear(&binary);
    free(text);
}

/* At most what is as long as a signature may be. */
static void armour_is_bounded(void **state)
{
    (void)state;
    static const uint8_t zeros[MB_SSHSIG_MAX + 1];
    struct mb_buf text = {0}, binary = {0};
    for (size_t n = MB_SSHSIG_MAX - 3; n <= sizeof zeros; n++) {
        mb_buf_reset(&text);
        mb_buf_reset(&binary);
        mb_sshsig_armor(&text, mb_bytes(zeros, n));
        assert_int_equal(mb_sshsig_dearmor(&binary, mb_buf_bytes(&text), NULL),
                         n <= MB_SSHSIG_MAX ? 0 : MB_EINVAL);
        assert_int_equal(binary.len, n <= MB_SSHSIG_MAX ? n : 0);
    }
    mb_buf_clear(&text);
    mb_buf_clear(&binary);
}

static void sign_there_verify_here(const char *folder, const struct mb_public_key *key,
                                   struct mb_bytes message)
{
    struct mb_buf out = {0}, binary = {0};
    struct mb_public_key signer;
    static const char *const sign[] = {"ssh-keygen", "-q", "-Y", "sign", "-n",
                                       NAMESPACE,    "-f", "k",  NULL};
    assert_int_equal(tools_run(folder, message, &out, sign), 0);
    assert_int_equal(mb_sshsig_dearmor(&binary, mb_buf_bytes(&out), NULL), 0);
    assert_int_equal(mb_sshsig_verify(mb_buf_bytes(&binary), NAMESPACE, message, &signer, NULL), 0);
    assert_true(mb_public_key_equal(&signer, key));
    mb_buf_clear(&out);
    mb_buf_clear(&binary);
}

static void sign_here_verify_there(const char *folder, const struct mb_secret_key *key,
                                   struct mb_bytes message)
{
    static const char *const novalidate[] = {
        "ssh-keygen", "-Y", "check-novalidate", "-n", NAMESPACE, "-s", "m.sig", NULL};
    static const char *const check[] = {"ssh-keygen", "-Y", "verify",  "-f", "allowed", "-I",
                                        "me",         "-n", NAMESPACE, "-s", "m.sig",   NULL};
    struct mb_buf binary = {0}, text = {0};
    mb_sshsig_sign(key, NAMESPACE, message, &binary);
    mb_sshsig_armor(&text, mb_buf_bytes(&binary));
    tools_write(folder, "m.sig", mb_buf_bytes(&text), 0600);
    assert_int_equal(tools_run(folder, message, NULL, novalidate), 0);
    assert_int_equal(tools_run(folder, message, NULL, check), 0);
    assert_int_not_equal(tools_run(folder, mb_bytes_of("another message"), NULL, check), 0);
    mb_buf_clear(&binary);
    mb_buf_clear(&text);
}

static void ssh_keygen_and_we_verify_each_other(void **state)
{
    (void)state;
    char *folder = tools_open(), text[MB_PUBLIC_TEXT_SIZE];
    if (TOOLS_RUN(folder, NULL, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "k") == 127) {
        tools_close(folder);
        skip();
    }
    struct mb_buf file = {0};
    struct mb_secret_key key;
    tools_read(folder, "k", &file);
    assert_int_equal(mb_secret_key_parse(&key, mb_buf_bytes(&file), NULL), 0);
    mb_public_key_text(&key.public_key, text);
    mb_buf_reset(&file);
    mb_buf_addf(&file, "me %s\n", text);
    tools_write(folder, "allowed", mb_buf_bytes(&file), 0600);
    static uint8_t message[100000];
    static const size_t sizes[] = {0, 1, 111, 112, 128, 300, sizeof message};
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)(i * 167 + 13);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        sign_there_verify_here(folder, &key.public_key, mb_bytes(message, sizes[i]));
        sign_here_verify_there(folder, &key, mb_bytes(message, sizes[i]));
    }
    mb_buf_clear(&file);
    tools_close(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signature_of_ssh_keygen_holds_and_ours_is_the_same),
        cmocka_unit_test(what_does_not_hold_says_why),
        cmocka_unit_test(each_bit_of_a_signature_counts),
        cmocka_unit_test(only_one_shape_is_taken),
        cmocka_unit_test(base64_is_strict),
        cmocka_unit_test(armour_is_strict),
        cmocka_unit_test(each_byte_of_the_armour_counts),
        cmocka_unit_test(armour_is_bounded),
        cmocka_unit_test(ssh_keygen_and_we_verify_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
