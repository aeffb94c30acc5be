/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Git push certificates (git: Documentation/gitprotocol-pack.txt, "Push Certificate"), version 0.1,
 * signed with SSHSIG in the namespace "git".
 */
#ifndef MB_SIGN_PUSHCERT_H
#define MB_SIGN_PUSHCERT_H

#include "sign/sshsig.h"

#define MB_PUSHCERT_MAX         262144 /* bytes of the whole certificate */
#define MB_PUSHCERT_UPDATES_MAX 1000
#define MB_PUSHCERT_OPTIONS_MAX 16
#define MB_REF_MAX              200 /* bytes of a ref's name */

struct mb_ref_update {
    char old_id[65], new_id[65]; /* 40 or 64 lower-case hex digits; all zero: absent */
    char *ref;
};
struct mb_pushcert {
    char *pusher;         /* the line's text: identity, seconds and zone */
    int64_t pusher_time;  /* seconds of that line */
    char pusher_zone[6];  /* "+0000" */
    char *pushee, *nonce; /* "" where the line is missing */
    char **options;       /* push options, at most MB_PUSHCERT_OPTIONS_MAX of ≤ 1,024 bytes */
    size_t option_count;
    struct mb_ref_update *updates;
    size_t update_count;
    struct mb_bytes payload; /* what is signed: borrowed from the text that was parsed */
    struct mb_buf signature; /* binary SSHSIG */
};

/*
 * Parse the text of a certificate (payload, then the armoured signature). Checks form and bounds
 * only: the lines of git, in git's order; UTF-8 without control characters; object ids of one
 * length; refs that mb_ref_valid() takes, at least one and none twice. On failure cert is empty.
 * MB_EINVAL, code pushcert.invalid; MB_ELIMIT, code pushcert.too_large.
 */
int mb_pushcert_parse(struct mb_pushcert *cert, struct mb_bytes text, struct mb_error *error);
void mb_pushcert_clear(struct mb_pushcert *cert);
/* Check the signature; fills *signer (unless NULL). Errors as mb_sshsig_verify(). */
int mb_pushcert_verify(const struct mb_pushcert *cert, struct mb_public_key *signer,
                       struct mb_error *error);

/* The push nonce of protocol "Pushes": ORG-REPO16-TIME-RANDOM32. */
struct mb_push_nonce {
    char org[65], repo[17], random[33];
    int64_t time;
};
int mb_push_nonce_parse(struct mb_push_nonce *nonce, const char *text);
void mb_push_nonce_text(const struct mb_push_nonce *nonce, char out[160]);

/* The hash whose leading zero bits are a push's work (magicbiz-protocol(7), "Pushes"): fingerprint
 * "" for an unsigned push, new_id that of the first update, work 16 hex digits. */
struct mb_hash mb_push_work(const char *org, const char *repo, const char *fingerprint,
                            const char *new_id, const char *work);

/* A ref name that git check-ref-format takes, starts with "refs/", has no byte ≥ 0x80 that is not
 * UTF-8, and is at most MB_REF_MAX bytes. */
bool mb_ref_valid(const char *ref);

#endif
