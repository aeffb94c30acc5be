/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Commands and envelopes (magicbiz-protocol(7), "Command"). */
#ifndef MB_LEDGER_COMMAND_H
#define MB_LEDGER_COMMAND_H

#include "base/json.h"
#include "sign/sshsig.h"

#define MB_COMMAND_MAX       524288
#define MB_COMMAND_LIFE_S    604800
#define MB_NAMESPACE_COMMAND "magicbiz"

/* An envelope: the command's bytes as the client sent them, and the binary SSHSIG. Owned. */
struct mb_envelope {
    struct mb_buf text, signature;
};
void mb_envelope_clear(struct mb_envelope *e);
/* From {"command":"…","signature":"<base64>"}, strict JSON. MB_EINVAL, code envelope.invalid;
 * MB_ELIMIT, code command.too_large. */
int mb_envelope_parse(struct mb_envelope *e, struct mb_bytes json, struct mb_error *error);
json_t *mb_envelope_json(const struct mb_envelope *e);

/*
 * An envelope that has been looked at: the fields of its command, and whether the signature holds.
 * This is all that can be known without the state: it is pure and takes most of the time, so that
 * workers do it ahead of apply.
 */
struct mb_checked {
    struct mb_envelope envelope;
    struct mb_hash id;      /* H(text), always */
    struct mb_hash leaf;    /* mb_history_leaf(H(text) || H(signature)), always */
    int verdict;            /* 0: it parses, and its signature is by key and holds */
    struct mb_error *error; /* why not; NULL: verdict is 0, for many are kept at once */
    /* Set if the text parses as a command: */
    json_t *json; /* the whole command */
    const char *org, *key, *type, *nonce;
    int64_t expires;
    const json_t *body;
    struct mb_public_key signer;
};
/* Take the envelope and check it. The id is there whatever the verdict. */
struct mb_checked *mb_checked_new(struct mb_envelope *envelope_take);
void mb_checked_free(struct mb_checked *c);

/*
 * The text of a command: {"org","key","type","nonce","expires","body"} in that order, nonce 32 hex
 * digits, body canonical. Varies nothing: the caller brings the nonce.
 */
void mb_command_text(struct mb_buf *out, const char *org, const char *fingerprint, const char *type,
                     const char *nonce, int64_t expires, const json_t *body);
/* Make and sign, trying nonces nonce_seed, nonce_seed+1, … (128 bits, big-endian) until the id has
 * work_bits leading zero bits. */
void mb_command_make(struct mb_envelope *out, const struct mb_secret_key *key, const char *org,
                     const char *type, const uint8_t nonce_seed[16], int64_t expires,
                     const json_t *body, unsigned work_bits);
/* Only the search: returns the text whose id has work_bits; for keys that sign elsewhere. */
void mb_command_text_with_work(struct mb_buf *out, const char *org, const char *fingerprint,
                               const char *type, const uint8_t nonce_seed[16], int64_t expires,
                               const json_t *body, unsigned work_bits);
/* ledger time + 86,400, rounded up to a multiple of 3,600 (Clarification 2). */
int64_t mb_command_expiry(int64_t ledger_time);

#endif
