/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names of refs: the rules of git-check-ref-format(1). */
#include "config.h"

#include <string.h>

#include "base/encode.h"
#include "sign/pushcert.h"

static bool component_valid(const char *c, size_t len)
{
    static const char lock[] = ".lock";
    const size_t lock_len = sizeof lock - 1;
    if (len == 0 || c[0] == '.' ||
        (len >= lock_len && memcmp(c + len - lock_len, lock, lock_len) == 0))
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)c[i] < 0x20 || c[i] == 0x7f || strchr(" ~^:?*[\\", c[i]) != NULL ||
            (c[i] == '.' && c[i + 1] == '.') || (c[i] == '@' && c[i + 1] == '{'))
            return false;
    return true;
}

bool mb_ref_valid(const char *ref)
{
    static const char top[] = "refs/";
    size_t len = strnlen(ref, MB_REF_MAX + 1);
    if (len > MB_REF_MAX || strncmp(ref, top, sizeof top - 1) != 0 || !mb_utf8_valid(ref, len) ||
        ref[len - 1] == '.')
        return false;
    for (const char *c = ref;; c++) {
        size_t n = strcspn(c, "/");
        if (!component_valid(c, n))
            return false;
        c += n;
        if (*c == '\0')
            return true;
    }
}
