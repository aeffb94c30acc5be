/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The head of a push: what precedes the pack in the body of git-receive-pack (git:
 * Documentation/gitprotocol-pack.txt, "Reference Update Request and Packfile Transfer"). Pure:
 * bytes in, a parsed head out; the unit test, the fuzzer and the daemon feed the same function.
 */
#ifndef MB_VCS_HEAD_H
#define MB_VCS_HEAD_H

#include <magicbiz/sign.h>

#define VCS_HEAD_MAX 524288 /* bytes of commands or certificate, options and shallow lines */

struct vcs_head {
    struct mb_buf text; /* what has not been parsed yet */
    size_t size;        /* bytes fed so far */
    enum {
        VCS_HEAD_COMMANDS,
        VCS_HEAD_CERT,
        VCS_HEAD_AFTER_CERT,
        VCS_HEAD_OPTIONS,
        VCS_HEAD_DONE
    } at;
    bool first_seen; /* the first line, with the capabilities, was read */
    bool report_status, side_band, push_options, atomic;
    char object_format[8]; /* "sha1" unless the client says otherwise */
    bool shallow;          /* the client's repository is shallow */
    bool is_signed;
    struct mb_buf certificate;     /* its text */
    struct mb_pushcert cert;       /* parsed; empty where the push is unsigned */
    struct mb_ref_update *updates; /* of an unsigned push; owned */
    size_t update_count;
    char **options; /* push options outside the certificate; owned */
    size_t option_count;
};
void vcs_head_clear(struct vcs_head *h);

/*
 * Feed bytes. 1: the head is complete, *used bytes of these belong to it, the rest is the pack's;
 * 0: more is needed (all were used); MB_EINVAL (vcs.head), MB_ELIMIT (vcs.head_large), or what
 * mb_pushcert_parse() says. A head that is a single flush-pkt is complete with no updates.
 */
int vcs_head_feed(struct vcs_head *h, struct mb_bytes bytes, size_t *used, struct mb_error *error);

/* The updates: the certificate's, or those of the unsigned push. */
const struct mb_ref_update *vcs_head_updates(const struct vcs_head *h, size_t *count);

#endif
