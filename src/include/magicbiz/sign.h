/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a module may use of the signature layer. */
#ifndef MAGICBIZ_SIGN_H
#define MAGICBIZ_SIGN_H

#include "sign/key.h"
#include "sign/pushcert.h"
#include "sign/sshsig.h"

#endif
