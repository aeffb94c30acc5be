/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "peer/internal.h"

int bulk_message(struct stream *s, struct mb_bytes payload)
{
    (void)s;
    (void)payload;
    return MB_EINVAL;
}
void bulk_carrier(struct peer *peer)
{
    (void)peer;
}
bool bulk_next(struct stream *s)
{
    (void)s;
    return false;
}
void bulk_new_life(struct peer *peer)
{
    (void)peer;
}
void bulk_forget(struct peer *peer, const char *code)
{
    (void)peer;
    (void)code;
}
