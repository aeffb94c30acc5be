/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a door reads. First byte q: the rest is a queue, whose lines come to just what was taken
 * off. x: an extract of the organisation whose genesis it brings, so that all that comes behind
 * that is reached; no key has a proof in it that is not its own.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/access.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void queue(struct mb_bytes rest)
{
    struct mb_bytes line, all = rest;
    size_t taken = 0;
    while (access_queue_next(&rest, &line, NULL, NULL) == 1) {
        if (line.data != all.data + taken)
            abort();
        taken += line.len;
    }
    if (taken + rest.len != all.len)
        abort();
}

static void extract(struct mb_bytes text)
{
    struct access_extract e;
    json_t *json = NULL;
    int64_t value;
    (void)mb_json_parse(&json, text.data, text.len, NULL);
    const char *genesis = mb_json_get_text(json, "genesis", "");
    struct mb_hash org = mb_sha256(genesis, strlen(genesis));
    if (access_extract_read(&e, text, &org, NULL) == 0) {
        (void)access_extract_get(&e, "org/epoch_s", &value, NULL);
        if (access_extract_get(&e, "org/nothing", &value, NULL) > 0)
            abort();
    }
    access_extract_clear(&e);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == 'q')
        queue(mb_bytes(data + 1, size - 1));
    else if (size > 0 && data[0] == 'x')
        extract(mb_bytes(data + 1, size - 1));
    return 0;
}
