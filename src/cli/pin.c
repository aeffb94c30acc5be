/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The text by which an organisation is joined. Pure. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define ONIONS_MAX 16

void cli_pin_clear(struct cli_pin *pin)
{
    for (size_t i = 0; i < pin->onion_count; i++)
        free(pin->onions[i]);
    free(pin->onions);
    free(pin->name);
    *pin = (struct cli_pin){0};
}

static int bad_pin(struct cli_pin *pin, struct mb_error *error, const char *what)
{
    cli_pin_clear(pin);
    return mb_fail(error, MB_EINVAL, "pin.invalid",
                   "this is no organisation's text (%s): it is written "
                   "magicbiz:ORGID@ONION[,ONION]#SLOT.HASH",
                   what);
}

static bool add_onions(struct cli_pin *pin, const char *text, size_t len)
{
    pin->onions = mb_calloc(ONIONS_MAX, sizeof *pin->onions);
    while (len > 0 && pin->onion_count < ONIONS_MAX) {
        const char *comma = memchr(text, ',', len);
        size_t n = comma != NULL ? (size_t)(comma - text) : len;
        char *onion = mb_strndup(text, n);
        pin->onions[pin->onion_count++] = onion;
        if (!mb_onion_decode(NULL, onion))
            return false;
        text += n + (comma != NULL);
        len -= n + (comma != NULL);
    }
    return len == 0 && pin->onion_count > 0;
}

int cli_pin_parse(struct cli_pin *pin, const char *text, struct mb_error *error)
{
    char hex[MB_HASH_HEX_SIZE];
    *pin = (struct cli_pin){0};
    if (strncmp(text, "magicbiz:", 9) != 0)
        return bad_pin(pin, error, "it does not begin with magicbiz:");
    text += 9;
    const char *at = strchr(text, '@'), *hash = strchr(text, '#');
    if (at == NULL || at - text != 64 || hash == NULL || hash < at)
        return bad_pin(pin, error, "the organisation's id");
    memcpy(hex, text, 64);
    hex[64] = 0;
    if (mb_hash_from_hex(&pin->org, hex) != 0)
        return bad_pin(pin, error, "the organisation's id");
    if (!add_onions(pin, at + 1, (size_t)(hash - at - 1)))
        return bad_pin(pin, error, "an onion address");
    char *end;
    errno = 0;
    pin->slot = strtoull(hash + 1, &end, 10);
    if (errno != 0 || hash[1] < '0' || hash[1] > '9' || *end != '.' || pin->slot > INT64_MAX ||
        mb_hash_from_hex(&pin->header_hash, end + 1) != 0)
        return bad_pin(pin, error, "the header");
    return 0;
}

char *cli_pin_text(const struct cli_pin *pin)
{
    struct mb_buf text = {0};
    char org[MB_HASH_HEX_SIZE], hash[MB_HASH_HEX_SIZE];
    mb_hash_hex(&pin->org, org);
    mb_hash_hex(&pin->header_hash, hash);
    mb_buf_addf(&text, "magicbiz:%s@", org);
    for (size_t i = 0; i < pin->onion_count; i++)
        mb_buf_addf(&text, "%s%s", i > 0 ? "," : "", pin->onions[i]);
    mb_buf_addf(&text, "#%" PRIu64 ".%s", pin->slot, hash);
    return mb_buf_take_text(&text);
}
