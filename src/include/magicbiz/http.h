/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a module may use of the HTTP server. */
#ifndef MAGICBIZ_HTTP_H
#define MAGICBIZ_HTTP_H

#include "http/server.h"

#endif
