/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a module may use of the base layer. */
#ifndef MAGICBIZ_BASE_H
#define MAGICBIZ_BASE_H

#include "base/bytes.h"
#include "base/encode.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"

#endif
