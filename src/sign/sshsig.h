/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * SSHSIG (OpenSSH PROTOCOL.sshsig), as `ssh-keygen -Y sign` makes it: version 1, reserved empty,
 * hash sha512 only, key type ssh-ed25519 only, nothing after the end.
 */
#ifndef MB_SIGN_SSHSIG_H
#define MB_SIGN_SSHSIG_H

#include "sign/key.h"

#define MB_SSHSIG_MAX           1024 /* a binary SSHSIG is never longer here */
#define MB_SSHSIG_NAMESPACE_MAX 64

struct mb_sshsig {
    struct mb_public_key key;
    char name_space[MB_SSHSIG_NAMESPACE_MAX + 1];
    uint8_t sig[64];
};

/* Parse a binary SSHSIG. MB_EINVAL, code signature.invalid. */
int mb_sshsig_parse(struct mb_sshsig *s, struct mb_bytes binary, struct mb_error *error);
/* Check that binary is a signature of message in name_space; fills *signer (unless NULL).
 * MB_EINVAL (signature.invalid) or MB_EPROOF (signature.namespace, signature.false), and *signer
 * stays as it was. */
int mb_sshsig_verify(struct mb_bytes binary, const char *name_space, struct mb_bytes message,
                     struct mb_public_key *signer, struct mb_error *error);
/* Append the binary SSHSIG. name_space has 1 to MB_SSHSIG_NAMESPACE_MAX bytes, else this aborts. */
void mb_sshsig_sign(const struct mb_secret_key *key, const char *name_space,
                    struct mb_bytes message, struct mb_buf *binary);

/* Padded base64 of the binary SSHSIG, as envelopes and bodies carry it; verify like above. */
int mb_sshsig_verify_base64(const char *text, const char *name_space, struct mb_bytes message,
                            struct mb_public_key *signer, struct mb_error *error);

/* The armoured form (-----BEGIN SSH SIGNATURE----- …). dearmor takes exactly one block, with an
 * optional final newline. */
int mb_sshsig_dearmor(struct mb_buf *binary, struct mb_bytes text, struct mb_error *error);
void mb_sshsig_armor(struct mb_buf *text, struct mb_bytes binary);

#endif
