/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a module may use of the loop. */
#ifndef MAGICBIZ_LOOP_H
#define MAGICBIZ_LOOP_H

#include "loop/fault.h"
#include "loop/log.h"
#include "loop/loop.h"

#endif
