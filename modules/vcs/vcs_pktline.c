/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vcs_pktline.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

enum vcs_pkt vcs_pkt_read(struct mb_bytes bytes, struct mb_bytes *payload, size_t *used)
{
    size_t len = 0;
    *payload = mb_bytes(NULL, 0);
    *used = 0;
    for (size_t i = 0; i < 4; i++) {
        if (i == bytes.len)
            return VCS_PKT_MORE;
        int digit = hex_digit(bytes.data[i]);
        if (digit < 0)
            return VCS_PKT_BAD;
        len = len * 16 + (size_t)digit;
    }
    if (len == 0) {
        *used = 4;
        return VCS_PKT_FLUSH;
    }
    if (len < 4 || len > VCS_PKT_MAX)
        return VCS_PKT_BAD;
    if (bytes.len < len)
        return VCS_PKT_MORE;
    *payload = mb_bytes(bytes.data + 4, len - 4);
    *used = len;
    return VCS_PKT_DATA;
}

void vcs_pkt_add(struct mb_buf *out, struct mb_bytes payload)
{
    mb_buf_addf(out, "%04zx", payload.len + 4);
    mb_buf_add_bytes(out, payload);
}

void vcs_pkt_addf(struct mb_buf *out, const char *format, ...)
{
    char text[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    vcs_pkt_add(out, mb_bytes_of(text));
}

void vcs_pkt_flush(struct mb_buf *out)
{
    mb_buf_add_text(out, "0000");
}

void vcs_pkt_band(struct mb_buf *out, uint8_t band, struct mb_bytes payload)
{
    const size_t most = 65515;
    while (payload.len > 0) {
        size_t n = payload.len < most ? payload.len : most;
        mb_buf_addf(out, "%04zx", n + 5);
        mb_buf_add_u8(out, band);
        mb_buf_add(out, payload.data, n);
        payload = mb_bytes(payload.data + n, payload.len - n);
    }
}
