/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a decoder takes, its encoder writes just so. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(struct mb_buf *encoded, const char *text, size_t len)
{
    if (!mb_bytes_equal(mb_buf_bytes(encoded), mb_bytes(text, len)))
        abort();
    mb_buf_clear(encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct mb_buf bytes = {0}, encoded = {0};
    if (mb_base64_decode(&bytes, text, size) == 0) {
        mb_base64_encode(&encoded, bytes.data, bytes.len);
        expect(&encoded, text, size);
    }
    mb_buf_reset(&bytes);
    mb_buf_reserve(&bytes, size);
    if (mb_hex_decode(bytes.data, size / 2, text, size) == 0) {
        mb_hex_encode(&encoded, bytes.data, size / 2);
        expect(&encoded, text, size);
    }
    if (mb_base32_decode(bytes.data, size * 5 / 8, text, size) == 0) {
        mb_base32_encode(&encoded, bytes.data, size * 5 / 8);
        expect(&encoded, text, size);
    }
    mb_buf_clear(&bytes);

    char *copy = mb_strndup(text, size), onion[MB_ONION_SIZE];
    uint8_t key[32];
    struct mb_hash hash;
    if (mb_onion_decode(key, copy)) {
        mb_onion_encode(onion, key);
        if (strcmp(onion, copy) != 0)
            abort();
    }
    if ((mb_hash_from_hex(&hash, copy) == 0) != mb_is_hex(copy, 64))
        abort();
    free(copy);

    if (mb_utf8_valid(data, size)) { /* then escaping keeps it valid */
        mb_json_escape(&encoded, text, size);
        if (!mb_utf8_valid(encoded.data, encoded.len))
            abort();
        mb_buf_clear(&encoded);
    }
    return 0;
}
