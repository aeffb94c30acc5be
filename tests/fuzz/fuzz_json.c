/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What parses has one canonical text, and that text parses to the same value. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value, *again;
    struct mb_error error = {0};
    if (mb_json_parse(&value, data, size, &error) != 0) {
        if (value != NULL || strcmp(error.code, "json.invalid") != 0 ||
            !mb_utf8_valid(error.text, strlen(error.text)))
            abort();
        return 0;
    }
    struct mb_buf text = {0}, text_again = {0};
    if (mb_json_canonical(&text, value, &error) == 0) {
        if (mb_json_parse(&again, text.data, text.len, NULL) != 0 || !json_equal(value, again) ||
            mb_json_canonical(&text_again, again, NULL) != 0 ||
            !mb_bytes_equal(mb_buf_bytes(&text), mb_buf_bytes(&text_again)))
            abort();
        json_decref(again);
    }
    mb_buf_clear(&text);
    mb_buf_clear(&text_again);
    json_decref(value);
    return 0;
}
