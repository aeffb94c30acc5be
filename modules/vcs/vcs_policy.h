/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The anonymity policy `strict` (magicbiz-vcs(7), "Policy"): what a commit or an annotated tag may
 * tell. Pure.
 */
#ifndef MB_VCS_POLICY_H
#define MB_VCS_POLICY_H

#include <magicbiz/sign.h>

/*
 * What is wrong with a raw commit or tag (kind "commit" or "tag"), as a short text, or NULL: a zone
 * other than +0000; an e-mail that is neither …@NAME.invalid nor a key's fingerprint; a signature
 * that is no SSHSIG by signer (NULL: any signature); an embedded tag.
 */
const char *vcs_policy_check(const char *kind, struct mb_bytes raw, const char *name,
                             const struct mb_public_key *signer);

#endif
