/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a module may use of the rules layer. */
#ifndef MAGICBIZ_RULES_H
#define MAGICBIZ_RULES_H

#include "rules/cage.h"

#endif
