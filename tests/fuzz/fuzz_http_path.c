/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is decoded keeps the promises of http/path.h. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "http/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
    if (!mb_utf8_valid(text, strlen(text)))
        abort();
    for (; *text != 0; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            abort();
}

static void check_path(const char *text, size_t size)
{
    struct mb_buf out = {0};
    mb_buf_add_text(&out, "kept");
    bool sound = mb_path_decode(&out, text, size);
    const char *path = mb_buf_text(&out) + 4;
    if (!sound && out.len != 4)
        abort();
    if (sound) {
        check_text(path);
        if (path[0] != '/' || strlen(path) != out.len - 4 || strchr(path, '\\') != NULL ||
            strstr(path, "//") != NULL || strstr(path, "/./") != NULL ||
            strstr(path, "/../") != NULL)
            abort();
    }
    mb_buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mb_strndup((const char *)data, size);
    struct mb_query q;
    check_path((const char *)data, size);
    if (mb_query_decode(&q, text, strlen(text)))
        for (size_t i = 0; i < q.count; i++) {
            check_text(q.key[i]);
            check_text(q.value[i]);
            if (mb_query_get(&q, q.key[i]) == NULL)
                abort();
        }
    mb_query_clear(&q);
    free(text);
    return 0;
}
