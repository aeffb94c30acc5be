/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Git's pkt-line framing (git: Documentation/gitprotocol-common.txt). Pure. */
#ifndef MB_VCS_PKTLINE_H
#define MB_VCS_PKTLINE_H

#include <magicbiz/base.h>

#define VCS_PKT_MAX 65520 /* bytes of a whole pkt-line */

enum vcs_pkt {
    VCS_PKT_DATA,
    VCS_PKT_FLUSH,
    VCS_PKT_MORE, /* not all there yet */
    VCS_PKT_BAD,  /* no pkt-line */
};
/* The pkt-line at the start of bytes: its payload (borrowed) and how many bytes it takes. */
enum vcs_pkt vcs_pkt_read(struct mb_bytes bytes, struct mb_bytes *payload, size_t *used);
void vcs_pkt_add(struct mb_buf *out, struct mb_bytes payload);
void vcs_pkt_addf(struct mb_buf *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void vcs_pkt_flush(struct mb_buf *out);
/* Append payload on a side band (1: data, 2: text for people), cut as side-band-64k wants. */
void vcs_pkt_band(struct mb_buf *out, uint8_t band, struct mb_bytes payload);

#endif
