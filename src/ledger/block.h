/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Values, headers, blocks and checkpoints (magicbiz-protocol(7), "Value and block", "Checkpoint").
 */
#ifndef MB_LEDGER_BLOCK_H
#define MB_LEDGER_BLOCK_H

#include "ledger/command.h"
#include "merkle/history.h"

#define MB_VALUE_ENVELOPES_MAX  1024
#define MB_VALUE_BODIES_MAX     1048576 /* bytes; one larger command may stand alone */
#define MB_HEADER_LEN           244
#define MB_HEADER0_LEN          100
#define MB_HEADER_MAX           MB_HEADER_LEN
#define MB_SLOT_MAX             INT64_MAX
#define MB_TIME_MAX             INT64_C(253402300799) /* the end of the year 9999 */
#define MB_NAMESPACE_BLOCK      "magicbiz-block"
#define MB_NAMESPACE_CHECKPOINT "magicbiz-checkpoint"

/* What Paxos chooses. Envelopes' bytes are borrowed from the value that was decoded. */
struct mb_value {
    struct mb_hash org, proposer, commands_root;
    uint64_t slot;
    int64_t time;
    struct mb_bytes head, signature; /* borrowed */
    size_t count;
    struct mb_bytes *texts, *signatures; /* count each; arrays owned, bytes borrowed */
};
/* Checks lengths, limits, commands_root, and that commands are UTF-8 without U+0000 (a JSON line of
 * the API has to carry them); not org, slot, proposer and signature, which need the state: see
 * mb_value_verify(). MB_EINVAL, code value.invalid. */
int mb_value_decode(struct mb_value *v, struct mb_bytes bytes, struct mb_error *error);
void mb_value_clear(struct mb_value *v);
/* org and slot as expected, signed by proposer (found by its hash among keys). value.invalid. */
int mb_value_verify(const struct mb_value *v, const struct mb_hash *org, uint64_t slot,
                    const struct mb_public_key *keys, size_t key_count, struct mb_error *error);
/* Check every command of it: count entries, owned, each with its verdict. */
struct mb_checked **mb_value_check(const struct mb_value *v);
/* Append the value of these envelopes, signed by the proposer. */
void mb_value_encode(struct mb_buf *out, const struct mb_secret_key *proposer,
                     const struct mb_hash *org, uint64_t slot, int64_t time,
                     struct mb_checked *const *envelopes, size_t count);

struct mb_header {
    uint64_t slot;
    int64_t time; /* 0 in header 0 */
    struct mb_hash org, proposer, commands_root, results_root, state_root, history_root,
        config_hash;
};
/* Returns the length: MB_HEADER_LEN, or MB_HEADER0_LEN for slot 0. */
size_t mb_header_encode(const struct mb_header *h, uint8_t out[MB_HEADER_MAX]);
int mb_header_decode(struct mb_header *h, struct mb_bytes bytes, struct mb_error *error);
struct mb_hash mb_header_hash(const struct mb_header *h); /* H(header bytes) */

/* A block as the archive keeps it and the API shows it: value, header, results. Slot 0: header
 * only. */
struct mb_block {
    struct mb_buf value; /* empty for slot 0 */
    struct mb_buf header;
    struct mb_buf *results; /* canonical texts */
    size_t result_count;
};
void mb_block_clear(struct mb_block *b);
/* value_len:4 || value || header_len:2 || header || count:4 || count × (len:4 || text) */
void mb_block_encode(const struct mb_block *b, struct mb_buf *out);
int mb_block_decode(struct mb_block *b, struct mb_bytes bytes, struct mb_error *error);
/* The JSON line of GET /v1/blocks, and back. proposer is the public key of the value's proposer. */
json_t *mb_block_to_json(const struct mb_block *b, const struct mb_public_key *proposer);
int mb_block_from_json(struct mb_block *b, struct mb_public_key *proposer, const json_t *line,
                       struct mb_error *error);

/* Checkpoints: a header and signatures of it. */
struct mb_signature {
    struct mb_public_key key;
    struct mb_buf signature; /* binary SSHSIG */
};
struct mb_checkpoint {
    struct mb_buf header;
    struct mb_signature *signatures;
    size_t count;
};
void mb_checkpoint_clear(struct mb_checkpoint *c);
void mb_checkpoint_encode(const struct mb_checkpoint *c, struct mb_buf *out); /* for the archive */
int mb_checkpoint_decode(struct mb_checkpoint *c, struct mb_bytes bytes, struct mb_error *error);
json_t *mb_checkpoint_to_json(const struct mb_checkpoint *c);
/* Signatures name fingerprints there: keys is where they are looked up; others are dropped. */
int mb_checkpoint_from_json(struct mb_checkpoint *c, const json_t *json,
                            const struct mb_public_key *keys, size_t key_count,
                            struct mb_error *error);
/* Whether a signature of this key is there and holds. */
bool mb_checkpoint_signed_by(const struct mb_checkpoint *c, const struct mb_public_key *key);
/* Signed by more than half of keys, each counted once. MB_EPROOF, code checkpoint.unsigned. */
int mb_checkpoint_verify(const struct mb_checkpoint *c, const struct mb_public_key *keys,
                         size_t key_count, struct mb_error *error);

/* Whether a slot is a checkpoint slot (with Clarification 5). last is the checkpoint slot before
 * it. */
bool mb_is_checkpoint_slot(const struct mb_header *h, size_t envelopes,
                           const struct mb_hash *config_hash_before, int64_t last_time);

#endif
