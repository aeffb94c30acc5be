/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What parses keeps its bounds, and its payload is the beginning of the text. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "sign/pushcert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void check_nonce(const char *text)
{
    struct mb_push_nonce nonce;
    char again[160];
    if (mb_push_nonce_parse(&nonce, text) != 0)
        return;
    mb_push_nonce_text(&nonce, again);
    check(strcmp(again, text) == 0);
}

static void check_certificate(struct mb_bytes text)
{
    struct mb_pushcert cert;
    struct mb_public_key signer;
    if (mb_pushcert_parse(&cert, text, NULL) == 0) {
        check(cert.payload.data == text.data && cert.payload.len < text.len);
        check(cert.update_count > 0 && cert.update_count <= MB_PUSHCERT_UPDATES_MAX);
        check(cert.option_count <= MB_PUSHCERT_OPTIONS_MAX && cert.signature.len <= MB_SSHSIG_MAX);
        for (size_t i = 0; i < cert.update_count; i++) {
            const struct mb_ref_update *u = &cert.updates[i];
            check(mb_ref_valid(u->ref) && strlen(u->old_id) == strlen(u->new_id));
        }
        check_nonce(cert.nonce);
        mb_pushcert_verify(&cert, &signer, NULL);
    }
    mb_pushcert_clear(&cert);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_certificate(mb_bytes(data, size));
    char *copy = mb_strndup((const char *)data, size);
    check_nonce(copy);
    check(!mb_ref_valid(copy) || strlen(copy) <= MB_REF_MAX);
    free(copy);
    return 0;
}
