/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Pattern and path, parted by the first newline: params lie in them, none empty but a rest. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "http/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mb_param params[MB_PARAMS_MAX];
    size_t count;
    char *pattern = mb_strndup((const char *)data, size);
    char *path = strchr(pattern, '\n');
    if (path != NULL) {
        *path++ = 0;
        size_t len = strlen(path);
        if (mb_path_match(pattern, path, params, &count))
            for (size_t i = 0; i < count; i++) {
                const char *p = (const char *)params[i].value.data;
                if (p < path || p + params[i].value.len > path + len ||
                    (params[i].value.len == 0 && (i + 1 < count || p != path + len)))
                    abort();
            }
        if (strpbrk(pattern, "{}") == NULL &&
            mb_path_match(pattern, pattern, params, &count) != (pattern[0] == '/' || !pattern[0]))
            abort();
    }
    free(pattern);
    return 0;
}
