/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../m4/ed25519-vectors.h"
#include "../support/tools.h"
#include "base/encode.h"
#include "sign/armor.h"
#include "sign/key.h"
#include "sign_vectors.h"

#define PUBLIC "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOBNzUkjVQ9pn4a+aUUurRFYoIzwAQ5DInUigrdU4bPH"
#define LABEL  "OPENSSH PRIVATE KEY"

/* Where things stand in the binary form of key_file, whose comment fills a block. */
#define KDF_OPTIONS_AT 31
#define SECRET_LEN_AT  94
#define CHECK_AT       98
#define COMMENT_AT     229
#define COMMENT        "alice@example"

static void a_public_key_is_read_and_written(void **state)
{
    (void)state;
    struct mb_error error;
    struct mb_public_key key, other;
    assert_int_equal(mb_public_key_parse_line(&key, key_line, &error), 0);
    assert_int_equal(mb_public_key_parse(&other, PUBLIC, &error), 0);
    assert_true(mb_public_key_equal(&key, &other));

    char text[MB_PUBLIC_TEXT_SIZE], fingerprint[MB_FINGERPRINT_SIZE];
    mb_public_key_text(&key, text);
    assert_string_equal(text, PUBLIC);
    mb_public_key_fingerprint(&key, fingerprint);
    assert_string_equal(fingerprint, KEY_FINGERPRINT);
    assert_true(mb_is_fingerprint(fingerprint));

    uint8_t blob[MB_KEY_BLOB_LEN];
    mb_public_key_blob(&key, blob);
    struct mb_hash hash = mb_sha256(blob, sizeof blob), same = mb_public_key_hash(&key);
    assert_true(mb_hash_equal(&hash, &same));
    assert_int_equal(mb_public_key_from_blob(&other, mb_bytes(blob, sizeof blob)), 0);
    assert_true(mb_public_key_equal(&key, &other));
    assert_int_equal(mb_public_key_from_blob(&other, mb_bytes(blob, sizeof blob - 1)), MB_EINVAL);
    for (size_t i = 0; i < sizeof blob; i++) {
        blob[i] ^= 1;
        int err = mb_public_key_from_blob(&other, mb_bytes(blob, sizeof blob));
        assert_int_equal(err, i < 19 ? MB_EINVAL : 0);
        assert_true(err != 0 || !mb_public_key_equal(&key, &other));
        blob[i] ^= 1;
    }
}

static void only_one_spelling_of_a_public_key_is_taken(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool parses, parses_as_line;
    } cases[] = {
        {PUBLIC, true, true},
        {PUBLIC "\n", false, true},
        {PUBLIC " alice and bob\n", false, true},
        {PUBLIC " ", false, true},
        {PUBLIC "\n\n", false, false},
        {PUBLIC " a\nb", false, false},
        {PUBLIC "\r\n", false, false},
        {PUBLIC "=", false, false},
        {PUBLIC "AAAA", false, false},
        {" " PUBLIC, false, false},
        {"", false, false},
        {"ssh-ed25519", false, false},
        {"ssh-ed25519  AAAAC3NzaC1lZDI1NTE5AAAAIOBNzUkjVQ9pn4a+aUUurRFYoIzwAQ5DInUigrdU4bPH", false,
         false},
        {"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQDJ", false, false},
        {"SSH-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOBNzUkjVQ9pn4a+aUUurRFYoIzwAQ5DInUigrdU4bPH", false,
         false},
        /* another type within */
        {"ssh-ed25519 AAAAC3NzaC1lZDI1NTE4AAAAIOBNzUkjVQ9pn4a+aUUurRFYoIzwAQ5DInUigrdU4bPH", false,
         false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_public_key key;
        struct mb_error error = {0};
        int parsed = mb_public_key_parse(&key, cases[i].text, &error);
        if ((parsed == 0) != cases[i].parses ||
            (mb_public_key_parse_line(&key, cases[i].text, &error) == 0) != cases[i].parses_as_line)
            fail_msg("wrong about \"%s\"", cases[i].text);
        if (!cases[i].parses) {
            assert_int_equal(parsed, MB_EINVAL);
            assert_string_equal(error.code, "key.invalid");
        }
    }
}

static void each_byte_of_a_public_key_counts(void **state)
{
    (void)state;
    char text[] = PUBLIC, again[MB_PUBLIC_TEXT_SIZE];
    struct mb_public_key key;
    for (size_t n = 0; n < strlen(PUBLIC); n++) {
        text[n] = '\0';
        assert_int_equal(mb_public_key_parse(&key, text, NULL), MB_EINVAL);
        assert_int_equal(mb_public_key_parse_line(&key, text, NULL), MB_EINVAL);
        text[n] = PUBLIC[n];
    }
    for (size_t i = 0; i < strlen(PUBLIC); i++) {
        for (int c = 1; c < 256; c++) {
            text[i] = (char)c;
            if (mb_public_key_parse(&key, text, NULL) != 0)
                continue;
            mb_public_key_text(&key, again);
            assert_string_equal(again, text);
            assert_true(c == PUBLIC[i] || i >= 36);
        }
        text[i] = PUBLIC[i];
    }
}

static void a_fingerprint_has_one_form(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is;
    } cases[] = {
        {KEY_FINGERPRINT, true},
        {"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", true},
        {"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB", false}, /* spare bits */
        {"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", false},
        {"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", false},
        {"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", false},
        {"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-", false},
        {"sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", false},
        {"MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48", false},
        {KEY_FINGERPRINT "\n", false},
        {"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (mb_is_fingerprint(cases[i].text) != cases[i].is)
            fail_msg("wrong about \"%s\"", cases[i].text);
}

/* Parse a file that holds these bytes. */
static int parse_form(struct mb_bytes binary, struct mb_secret_key *key)
{
    struct mb_buf text = {0};
    mb_armor_write(&text, binary, LABEL);
    int err = mb_secret_key_parse(key, mb_buf_bytes(&text), NULL);
    mb_buf_clear(&text);
    return err;
}

static struct mb_buf binary_form(const char *file)
{
    struct mb_buf binary = {0};
    assert_int_equal(mb_armor_read(&binary, mb_bytes_of(file), LABEL, 16384), 0);
    return binary;
}

static void a_key_file_is_read_and_written_again(void **state)
{
    (void)state;
    struct mb_secret_key key;
    struct mb_public_key public_key;
    struct mb_error error = {0};
    struct mb_buf binary = binary_form(key_file), text = {0};
    assert_int_equal(mb_secret_key_parse(&key, mb_bytes_of(key_file), &error), 0);
    assert_int_equal(mb_public_key_parse(&public_key, PUBLIC, NULL), 0);
    assert_true(mb_public_key_equal(&key.public_key, &public_key));

    struct mb_cursor c = mb_cursor(mb_bytes(binary.data + CHECK_AT, 4));
    mb_secret_key_write(&key, COMMENT, mb_cursor_u32(&c), &text);
    assert_string_equal(mb_buf_text(&text), key_file);
    mb_buf_clear(&text);
    mb_buf_clear(&binary);

    uint8_t seed[32];
    memcpy(seed, key.secret, sizeof seed);
    struct mb_secret_key again;
    mb_secret_key_from_seed(&again, seed);
    assert_memory_equal(&again, &key, sizeof key);
    mb_secret_key_clear(&key);
    for (size_t i = 0; i < sizeof key; i++)
        assert_int_equal(((uint8_t *)&key)[i], 0);
}

static void a_key_file_has_room_for_any_comment(void **state)
{
    (void)state;
    struct mb_secret_key key, again;
    const uint8_t seed[32] = {7};
    mb_secret_key_from_seed(&key, seed);
    char comment[20] = "";
    for (size_t n = 0; n < sizeof comment - 1; n++) {
        struct mb_buf text = {0};
        mb_secret_key_write(&key, comment, 0x01020304, &text);
        assert_int_equal(mb_secret_key_parse(&again, mb_buf_bytes(&text), NULL), 0);
        assert_memory_equal(&again, &key, sizeof key);
        mb_buf_clear(&text);
        comment[n] = 'x';
    }
}

static void each_byte_of_a_key_file_counts(void **state)
{
    (void)state;
    struct mb_buf binary = binary_form(key_file);
    struct mb_secret_key good, key;
    assert_int_equal(mb_secret_key_parse(&good, mb_bytes_of(key_file), NULL), 0);
    for (size_t i = 0; i < binary.len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            binary.data[i] ^= (uint8_t)(1U << bit);
            int err = parse_form(mb_buf_bytes(&binary), &key);
            assert_int_equal(err, i >= COMMENT_AT ? 0 : MB_EINVAL);
            assert_true(err != 0 || memcmp(&key, &good, sizeof key) == 0);
            binary.data[i] ^= (uint8_t)(1U << bit);
        }
    for (size_t n = 0; n < binary.len; n++)
        assert_int_equal(parse_form(mb_bytes(binary.data, n), &key), MB_EINVAL);
    mb_buf_add_u8(&binary, 0);
    assert_int_equal(parse_form(mb_buf_bytes(&binary), &key), MB_EINVAL);
    mb_buf_clear(&binary);

    const size_t len = strlen(key_file);
    for (size_t n = 0; n + 1 < len; n++)
        assert_int_equal(mb_secret_key_parse(&key, mb_bytes(key_file, n), NULL), MB_EINVAL);
    assert_int_equal(mb_secret_key_parse(&key, mb_bytes(key_file, len - 1), NULL), 0);
}

/* key_file with these bytes behind its secret part instead of none. */
static int parse_padded(const uint8_t *padding, uint8_t n)
{
    struct mb_buf binary = binary_form(key_file);
    struct mb_secret_key key;
    binary.data[SECRET_LEN_AT + 3] = (uint8_t)(binary.data[SECRET_LEN_AT + 3] + n);
    mb_buf_add(&binary, padding, n);
    int err = parse_form(mb_buf_bytes(&binary), &key);
    mb_buf_clear(&binary);
    return err;
}

static void padding_is_the_least_there_can_be(void **state)
{
    (void)state;
    static const uint8_t block[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (uint8_t n = 0; n <= sizeof block; n++)
        assert_int_equal(parse_padded(block, n), n == 0 ? 0 : MB_EINVAL);

    struct mb_secret_key key;
    const uint8_t seed[32] = {7};
    struct mb_buf text = {0};
    mb_secret_key_from_seed(&key, seed);
    mb_secret_key_write(&key, "1234567890", 0, &text); /* three bytes of padding */
    struct mb_buf binary = binary_form(mb_buf_text(&text));
    assert_int_equal(parse_form(mb_buf_bytes(&binary), &key), 0);
    for (size_t i = 1; i <= 3; i++) {
        binary.data[binary.len - i]++;
        assert_int_equal(parse_form(mb_buf_bytes(&binary), &key), MB_EINVAL);
        binary.data[binary.len - i]--;
    }
    mb_buf_clear(&binary);
    mb_buf_clear(&text);
}

/* What a cipher would need, where there is none. */
static void a_key_derivation_needs_a_cipher(void **state)
{
    (void)state;
    struct mb_buf binary = binary_form(key_file), more = {0};
    struct mb_secret_key key;
    mb_buf_add(&more, binary.data, KDF_OPTIONS_AT);
    mb_buf_add_string(&more, mb_bytes_of("salt"));
    mb_buf_add(&more, binary.data + KDF_OPTIONS_AT + 4, binary.len - KDF_OPTIONS_AT - 4);
    assert_int_equal(parse_form(mb_buf_bytes(&more), &key), MB_EINVAL);
    mb_buf_clear(&binary);
    mb_buf_clear(&more);
}

static void other_files_are_refused(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        {key_encrypted, "key.encrypted"},
        {key_rsa, "key.invalid"},
        {sig, "key.invalid"},
        {PUBLIC "\n", "key.invalid"},
        {"", "key.invalid"},
        {"-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n", "key.invalid"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct mb_secret_key key;
        struct mb_error error = {0};
        assert_int_equal(mb_secret_key_parse(&key, mb_bytes_of(files[i][0]), &error), MB_EINVAL);
        assert_string_equal(error.code, files[i][1]);
        assert_true(strlen(error.text) > 0);
    }
    struct mb_buf large = {0};
    mb_buf_add_text(&large, "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    for (size_t i = 0; i < 1000; i++)
        mb_buf_add_text(&large, "AAAAAAAAAAAAAAAAAAAAAAAAAAAA\n");
    mb_buf_add_text(&large, "-----END OPENSSH PRIVATE KEY-----\n");
    struct mb_secret_key key;
    assert_int_equal(mb_secret_key_parse(&key, mb_buf_bytes(&large), NULL), MB_EINVAL);
    mb_buf_clear(&large);
}

static size_t unhex(uint8_t *out, size_t size, const char *hex)
{
    size_t n = strlen(hex) / 2;
    assert_true(n <= size);
    assert_int_equal(mb_hex_decode(out, n, hex, strlen(hex)), 0);
    return n;
}

static void signatures_follow_the_one_rule(void **state)
{
    (void)state;
    uint8_t message[64], sig_bytes[64], mine[64], seed[32];
    struct mb_public_key key;
    for (size_t i = 0; i < sizeof ed25519_vectors / sizeof *ed25519_vectors; i++) {
        const struct ed25519_vector *v = &ed25519_vectors[i];
        size_t len = unhex(message, sizeof message, v->message);
        unhex(key.b, sizeof key.b, v->public_key);
        unhex(sig_bytes, sizeof sig_bytes, v->signature);
        if (mb_ed25519_verify(&key, mb_bytes(message, len), sig_bytes) != (v->holds == 1))
            fail_msg("wrong about this case: %s", v->what);
    }
    /* RFC 8032, 7.1, test 2: the seed of the first vector */
    unhex(seed, sizeof seed, "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    struct mb_secret_key secret;
    mb_secret_key_from_seed(&secret, seed);
    unhex(key.b, sizeof key.b, ed25519_vectors[0].public_key);
    assert_true(mb_public_key_equal(&secret.public_key, &key));
    size_t len = unhex(message, sizeof message, ed25519_vectors[0].message);
    mb_ed25519_sign(&secret, mb_bytes(message, len), mine);
    unhex(sig_bytes, sizeof sig_bytes, ed25519_vectors[0].signature);
    assert_memory_equal(mine, sig_bytes, sizeof mine);
}

static void ssh_keygen_and_we_read_each_other(void **state)
{
    (void)state;
    char *folder = tools_open();
    struct mb_buf out = {0}, file = {0};
    if (TOOLS_RUN(folder, NULL, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a b", "-f",
                  "k") == 127) {
        tools_close(folder);
        skip();
    }
    struct mb_secret_key key;
    struct mb_public_key public_key;
    tools_read(folder, "k", &file);
    assert_int_equal(mb_secret_key_parse(&key, mb_buf_bytes(&file), NULL), 0);
    tools_read(folder, "k.pub", &file);
    assert_int_equal(mb_public_key_parse_line(&public_key, mb_buf_text(&file), NULL), 0);
    assert_true(mb_public_key_equal(&public_key, &key.public_key));
    char fingerprint[MB_FINGERPRINT_SIZE], text[MB_PUBLIC_TEXT_SIZE];
    mb_public_key_fingerprint(&public_key, fingerprint);
    assert_int_equal(TOOLS_RUN(folder, &out, "ssh-keygen", "-l", "-f", "k.pub"), 0);
    assert_non_null(strstr(mb_buf_text(&out), fingerprint));

    char comment[] = "xxxxxxxx";
    for (uint8_t n = 0; n <= 8; n++) {
        const uint8_t seed[32] = {n};
        comment[8 - n] = '\0';
        mb_secret_key_from_seed(&key, seed);
        mb_buf_reset(&file);
        mb_secret_key_write(&key, comment, 0xfeedface, &file);
        tools_write(folder, "ours", mb_buf_bytes(&file), 0600);
        assert_int_equal(TOOLS_RUN(folder, &out, "ssh-keygen", "-y", "-f", "ours"), 0);
        mb_public_key_text(&key.public_key, text);
        char *line = mb_asprintf("%s%s%s\n", text, n < 8 ? " " : "", comment);
        assert_string_equal(mb_buf_text(&out), line);
        free(line);
    }
    mb_buf_clear(&out);
    mb_buf_clear(&file);
    tools_close(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_public_key_is_read_and_written),
        cmocka_unit_test(only_one_spelling_of_a_public_key_is_taken),
        cmocka_unit_test(each_byte_of_a_public_key_counts),
        cmocka_unit_test(a_fingerprint_has_one_form),
        cmocka_unit_test(a_key_file_is_read_and_written_again),
        cmocka_unit_test(a_key_file_has_room_for_any_comment),
        cmocka_unit_test(each_byte_of_a_key_file_counts),
        cmocka_unit_test(padding_is_the_least_there_can_be),
        cmocka_unit_test(a_key_derivation_needs_a_cipher),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(signatures_follow_the_one_rule),
        cmocka_unit_test(ssh_keygen_and_we_read_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
