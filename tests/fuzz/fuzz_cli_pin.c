/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What parses as a pin comes back from its own text. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mb_pin pin, again;
    char *text = mb_strndup((const char *)data, size);
    if (mb_pin_parse(&pin, text, NULL) == 0) {
        char *first = mb_pin_text(&pin);
        check(pin.onion_count > 0 && mb_pin_parse(&again, first, NULL) == 0);
        char *second = mb_pin_text(&again);
        check(strcmp(first, second) == 0 && pin.slot == again.slot);
        check(mb_hash_equal(&pin.org, &again.org));
        free(first);
        free(second);
        mb_pin_clear(&again);
    }
    mb_pin_clear(&pin);
    free(text);
    return 0;
}
