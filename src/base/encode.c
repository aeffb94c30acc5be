/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Hex, base32 and base64 are one thing with 4, 5 and 6 bits a digit. */
#include "config.h"

#include "base/encode.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

struct alphabet {
    const char *digits;
    unsigned bits;            /* a digit */
    int (*value)(char digit); /* or -1 */
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int base32_value(char c)
{
    if (c >= 'a' && c <= 'z')
        return c - 'a';
    return c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static const struct alphabet hex = {"0123456789abcdef", 4, hex_value};
static const struct alphabet base32 = {"abcdefghijklmnopqrstuvwxyz234567", 5, base32_value};
static const struct alphabet base64 = {
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 6, base64_value};

/* The number of digits that len bytes become, without padding. */
static size_t digits_for(const struct alphabet *a, size_t len)
{
    return len / a->bits * 8 + (len % a->bits * 8 + a->bits - 1) / a->bits;
}

static void encode(struct mb_buf *out, const struct alphabet *a, const uint8_t *data, size_t len)
{
    mb_buf_reserve(out, digits_for(a, len));
    unsigned held = 0, bits = 0;
    for (size_t i = 0; i < len; i++) {
        held = (held << 8 | data[i]) & 0xffff;
        for (bits += 8; bits >= a->bits; bits -= a->bits)
            out->data[out->len++] =
                (uint8_t)a->digits[held >> (bits - a->bits) & ((1U << a->bits) - 1)];
    }
    if (bits > 0)
        out->data[out->len++] =
            (uint8_t)a->digits[held << (a->bits - bits) & ((1U << a->bits) - 1)];
    out->data[out->len] = 0;
}

/* text_len digits into the n bytes that they stand for, and no spare bit that is not zero. */
static int decode(uint8_t *out, size_t n, const struct alphabet *a, const char *text,
                  size_t text_len)
{
    if (n > SIZE_MAX / 8 || text_len != digits_for(a, n))
        return MB_EINVAL;
    unsigned held = 0, bits = 0;
    for (size_t i = 0; i < text_len; i++) {
        int v = a->value(text[i]);
        if (v < 0)
            return MB_EINVAL;
        held = (held << a->bits | (unsigned)v) & 0xffff;
        bits += a->bits;
        if (bits >= 8) {
            bits -= 8;
            *out++ = (uint8_t)(held >> bits);
        }
    }
    return (held & ((1U << bits) - 1)) == 0 ? 0 : MB_EINVAL;
}

void mb_hex_encode(struct mb_buf *out, const void *data, size_t len)
{
    encode(out, &hex, data, len);
}

int mb_hex_decode(uint8_t *out, size_t n, const char *text, size_t text_len)
{
    return decode(out, n, &hex, text, text_len);
}

bool mb_is_hex(const char *text, size_t digits)
{
    for (size_t i = 0; i < digits; i++)
        if (hex_value(text[i]) < 0)
            return false;
    return text[digits] == '\0';
}

void mb_base64_encode_nopad(struct mb_buf *out, const void *data, size_t len)
{
    encode(out, &base64, data, len);
}

void mb_base64_encode(struct mb_buf *out, const void *data, size_t len)
{
    encode(out, &base64, data, len);
    mb_buf_add(out, "==", (3 - len % 3) % 3);
}

int mb_base64_decode(struct mb_buf *out, const char *text, size_t text_len)
{
    if (text_len % 4 != 0)
        return MB_EINVAL;
    size_t padding = 0;
    while (padding < 2 && padding < text_len && text[text_len - 1 - padding] == '=')
        padding++;
    size_t n = text_len / 4 * 3 - padding;
    mb_buf_reserve(out, n);
    int err = decode(out->data + out->len, n, &base64, text, text_len - padding);
    if (err == 0)
        out->len += n;
    out->data[out->len] = 0;
    return err;
}

void mb_base32_encode(struct mb_buf *out, const void *data, size_t len)
{
    encode(out, &base32, data, len);
}

int mb_base32_decode(uint8_t *out, size_t n, const char *text, size_t text_len)
{
    return decode(out, n, &base32, text, text_len);
}

#define ONION_VERSION 3
#define ONION_DIGITS  56
#define ONION_SUFFIX  ".onion"

/* public_key || checksum:2 || version:1 */
static void onion_bytes(uint8_t out[35], const uint8_t public_key[32])
{
    static const char prefix[] = ".onion checksum";
    uint8_t input[sizeof prefix - 1 + 33], digest[32];
    memcpy(input, prefix, sizeof prefix - 1);
    memcpy(input + sizeof prefix - 1, public_key, 32);
    input[sizeof input - 1] = ONION_VERSION;
    if (EVP_Digest(input, sizeof input, digest, NULL, EVP_sha3_256(), NULL) != 1)
        abort();
    memcpy(out, public_key, 32);
    memcpy(out + 32, digest, 2);
    out[34] = ONION_VERSION;
}

void mb_onion_encode(char out[MB_ONION_SIZE], const uint8_t public_key[32])
{
    uint8_t bytes[35];
    struct mb_buf text = {0};
    onion_bytes(bytes, public_key);
    mb_base32_encode(&text, bytes, sizeof bytes);
    mb_buf_add_text(&text, ONION_SUFFIX);
    memcpy(out, mb_buf_text(&text), MB_ONION_SIZE);
    mb_buf_clear(&text);
}

bool mb_onion_decode(uint8_t public_key[32], const char *text)
{
    uint8_t bytes[35], expected[35];
    if (strnlen(text, MB_ONION_SIZE) != MB_ONION_LEN ||
        strcmp(text + ONION_DIGITS, ONION_SUFFIX) != 0 ||
        mb_base32_decode(bytes, sizeof bytes, text, ONION_DIGITS) != 0)
        return false;
    onion_bytes(expected, bytes);
    if (memcmp(bytes, expected, sizeof bytes) != 0)
        return false;
    if (public_key != NULL)
        memcpy(public_key, bytes, 32);
    return true;
}

/* The length of the character at p, of which left bytes are there; 0 if it is none. */
static size_t utf8_character(const uint8_t *p, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < n)
        return 0;
    uint32_t point = p[0] & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (p[i] & 0x3f);
    }
    bool surrogate = point >= 0xd800 && point <= 0xdfff;
    return point >= least[n] && point <= 0x10ffff && !surrogate ? n : 0;
}

bool mb_utf8_valid(const void *text, size_t len)
{
    const uint8_t *p = text;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_character(p + i, len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

void mb_json_escape(struct mb_buf *out, const char *text, size_t len)
{
    static const char shorts[][2] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
                                     {'\n', 'n'}, {'\r', 'r'},  {'\t', 't'}};
    size_t plain = 0; /* where what needs no escape began */
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        mb_buf_add(out, text + plain, i - plain);
        plain = i + 1;
        size_t s = 0;
        while (s < sizeof shorts / sizeof *shorts && shorts[s][0] != text[i])
            s++;
        if (s < sizeof shorts / sizeof *shorts)
            mb_buf_addf(out, "\\%c", shorts[s][1]);
        else
            mb_buf_addf(out, "\\u%04x", c);
    }
    mb_buf_add(out, text + plain, len - plain);
}
