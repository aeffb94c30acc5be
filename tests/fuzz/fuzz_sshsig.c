/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What parses verifies as a proof that holds or not, never as malformed, and survives its armour.
 */
#include "config.h"

#include <stdlib.h>

#include "sign/sshsig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_binary(struct mb_bytes binary)
{
    struct mb_sshsig s;
    struct mb_buf text = {0}, again = {0};
    if (mb_sshsig_parse(&s, binary, NULL) != 0)
        return;
    if (mb_sshsig_verify(binary, s.name_space, mb_bytes_of("hello magicbiz"), NULL, NULL) ==
        MB_EINVAL)
        abort();
    mb_sshsig_armor(&text, binary);
    if (mb_sshsig_dearmor(&again, mb_buf_bytes(&text), NULL) != 0 ||
        !mb_bytes_equal(mb_buf_bytes(&again), binary))
        abort();
    mb_buf_clear(&text);
    mb_buf_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mb_buf binary = {0};
    check_binary(mb_bytes(data, size));
    if (mb_sshsig_dearmor(&binary, mb_bytes(data, size), NULL) == 0)
        check_binary(mb_buf_bytes(&binary));
    mb_buf_clear(&binary);
    char *copy = mb_strndup((const char *)data, size);
    mb_sshsig_verify_base64(copy, "magicbiz", mb_bytes_of("hello magicbiz"), NULL, NULL);
    free(copy);
    return 0;
}
