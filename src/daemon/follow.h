/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A daemon that is no replica: it follows the organisation, and becomes one when it is added. */
#ifndef MB_DAEMON_FOLLOW_H
#define MB_DAEMON_FOLLOW_H

#include "daemon/node.h"

struct follow *follow_new(struct node *n, struct mb_error *error);
void follow_stop(struct follow *f); /* what is under way is broken off; NULL is fine */
void follow_free(struct follow *f); /* after the loop */
void follow_report(struct follow *f, struct mb_report *r);

#endif
