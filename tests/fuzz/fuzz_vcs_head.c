/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A push's head is the same in one piece and by the byte, within its limits. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "../../modules/vcs/vcs_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static int by_the_byte(struct vcs_head *h, const uint8_t *data, size_t size, size_t *total)
{
    int rc = 0;
    *total = 0;
    for (size_t i = 0; i < size && rc == 0; i++) {
        size_t used;
        rc = vcs_head_feed(h, mb_bytes(data + i, 1), &used, NULL);
        check(rc < 0 || used == 1);
        *total += used;
    }
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vcs_head one = {0}, many = {0};
    size_t used, total, a, b;
    int rc = vcs_head_feed(&one, mb_bytes(data, size), &used, NULL);
    check(by_the_byte(&many, data, size, &total) == rc);
    if (rc == 1) {
        check(used == total && used <= size && one.size == used && used <= VCS_HEAD_MAX);
        const struct mb_ref_update *u = vcs_head_updates(&one, &a);
        vcs_head_updates(&many, &b);
        check(a == b && a <= MB_PUSHCERT_UPDATES_MAX && one.option_count == many.option_count);
        check(one.option_count <= MB_PUSHCERT_OPTIONS_MAX);
        for (size_t i = 0; i < a; i++)
            check(mb_ref_valid(u[i].ref) && strlen(u[i].old_id) == strlen(u[i].new_id));
    }
    vcs_head_clear(&one);
    vcs_head_clear(&many);
    return 0;
}
