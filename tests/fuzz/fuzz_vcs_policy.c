/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What strict lets pass tells no zone and no address in the persons' lines, and no foreign key. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "../../modules/vcs/vcs_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static bool begins(const char *line, size_t len, const char *with)
{
    size_t n = strlen(with);
    return len >= n && memcmp(line, with, n) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mb_secret_key key;
    uint8_t seed[32] = {1};
    mb_secret_key_from_seed(&key, seed);
    vcs_policy_check("commit", mb_bytes(data, size), "acme", &key.public_key);
    vcs_policy_check("tag", mb_bytes(data, size), "acme", &key.public_key);
    bool commit = vcs_policy_check("commit", mb_bytes(data, size), "acme", NULL) == NULL;
    bool tag = vcs_policy_check("tag", mb_bytes(data, size), "acme", NULL) == NULL;
    const char *text = (const char *)data;
    for (size_t at = 0; at < size && text[at] != '\n';) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t len = end != NULL ? (size_t)(end - text) - at : size - at;
        const char *line = text + at;
        bool clean = len > 6 && memcmp(line + len - 6, " +0000", 6) == 0;
        if (begins(line, len, "author ") || begins(line, len, "committer "))
            check(!commit || clean);
        if (begins(line, len, "tagger "))
            check(!tag || clean);
        check(!commit || !begins(line, len, "mergetag "));
        check((!commit && !tag) || !begins(line, len, "gpgsig "));
        at += len + 1;
    }
    return 0;
}
