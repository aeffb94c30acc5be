/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What was scrubbed passes the policy strict. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "../../modules/vcs/vcs_policy.h"
#include "cli/scrub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *same(void *arg, const char *id)
{
    (void)arg;
    return strlen(id) == 40 ? "2222222222222222222222222222222222222222" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct scrub s = {
        .org_name = "acme", .name = "nobody", .email = "n@acme.invalid", .renamed = same};
    struct mb_buf out = {0};
    bool is_tag = size >= 7 && memcmp(data, "object ", 7) == 0;
    if (scrub_object(&s, mb_bytes(data, size), &out) &&
        vcs_policy_check(is_tag ? "tag" : "commit", mb_buf_bytes(&out), "acme", NULL) != NULL)
        abort();
    mb_buf_clear(&out);
    return 0;
}
