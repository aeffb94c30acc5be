/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>

#include "cli/cli.h"

int cli_fail(int rc, const struct mb_error *error)
{
    if (rc == 0)
        return 0;
    fprintf(stderr, "magicbiz: %s", error->text[0] != 0 ? error->text : error->code);
    fprintf(stderr, rc == MB_EPROOF && error->text[0] != 0 ? " (%s)\n" : "\n", error->code);
    return rc == CLI_USAGE ? 2 : rc == MB_EREACH ? 3 : rc == MB_EPROOF ? 4 : 1;
}
