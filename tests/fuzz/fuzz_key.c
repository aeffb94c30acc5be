/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A key has one spelling; a key file that is taken can be written, and is then the same key. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "sign/key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_file(struct mb_bytes pem)
{
    struct mb_secret_key key, again;
    struct mb_buf written = {0};
    if (mb_secret_key_parse(&key, pem, NULL) != 0)
        return;
    mb_secret_key_write(&key, "", 7, &written);
    if (mb_secret_key_parse(&again, mb_buf_bytes(&written), NULL) != 0 ||
        memcmp(&key, &again, sizeof key) != 0)
        abort();
    mb_buf_clear(&written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mb_public_key key, line_key;
    char text[MB_PUBLIC_TEXT_SIZE], fingerprint[MB_FINGERPRINT_SIZE];
    char *copy = mb_strndup((const char *)data, size);
    check_file(mb_bytes(data, size));
    if (mb_public_key_parse_line(&line_key, copy, NULL) == 0) {
        mb_public_key_text(&line_key, text);
        if (strncmp(text, copy, strlen(text)) != 0)
            abort();
    }
    if (mb_public_key_parse(&key, copy, NULL) == 0) {
        mb_public_key_text(&key, text);
        mb_public_key_fingerprint(&key, fingerprint);
        if (strcmp(text, copy) != 0 || !mb_is_fingerprint(fingerprint) ||
            !mb_public_key_equal(&key, &line_key))
            abort();
    }
    if (mb_is_fingerprint(copy) && strlen(copy) != MB_FINGERPRINT_SIZE - 1)
        abort();
    free(copy);
    return 0;
}
