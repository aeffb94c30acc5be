/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The text by which an organisation is joined, and what it is checked against. Pure. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "host/pin.h"
#include "merkle/tree.h"

#define ONIONS_MAX 16

void mb_pin_clear(struct mb_pin *pin)
{
    for (size_t i = 0; i < pin->onion_count; i++)
        free(pin->onions[i]);
    free(pin->onions);
    free(pin->name);
    *pin = (struct mb_pin){0};
}

static int bad_pin(struct mb_pin *pin, struct mb_error *error, const char *what)
{
    mb_pin_clear(pin);
    return mb_fail(error, MB_EINVAL, "pin.invalid",
                   "this is no organisation's text (%s): it is written "
                   "magicbiz:ORGID@ONION[,ONION]#SLOT.HASH",
                   what);
}

static bool add_onions(struct mb_pin *pin, const char *text, size_t len)
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

int mb_pin_parse(struct mb_pin *pin, const char *text, struct mb_error *error)
{
    char hex[MB_HASH_HEX_SIZE];
    *pin = (struct mb_pin){0};
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

char *mb_pin_text(const struct mb_pin *pin)
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

static size_t read_path(const json_t *array, struct mb_hash path[MB_HISTORY_PATH_MAX])
{
    const json_t *item;
    size_t i, count = 0;
    json_array_foreach(
        array, i, item) if (count < MB_HISTORY_PATH_MAX && json_is_string(item) &&
                            mb_hash_from_hex(&path[count], json_string_value(item)) == 0) count++;
    return count == json_array_size(array) ? count : SIZE_MAX;
}

bool mb_history_holds(const json_t *answer, uint64_t slot, const struct mb_hash *hash,
                      const struct mb_header *to, struct mb_header *out)
{
    struct mb_hash inclusion[MB_HISTORY_PATH_MAX], path[MB_HISTORY_PATH_MAX];
    struct mb_buf bytes = {0};
    struct mb_header header;
    const char *hex = mb_json_get_text(answer, "header", "");
    size_t len = strlen(hex) / 2;
    bool ok = len <= MB_HEADER_MAX;
    if (ok) {
        mb_buf_reserve(&bytes, len);
        ok = mb_hex_decode(bytes.data, len, hex, strlen(hex)) == 0;
        bytes.len = ok ? len : 0;
    }
    ok = ok && mb_header_decode(&header, mb_buf_bytes(&bytes), NULL) == 0 && header.slot == slot;
    struct mb_hash is = mb_sha256(bytes.data, bytes.len);
    struct mb_hash leaf = mb_history_leaf(mb_buf_bytes(&bytes));
    ok = ok && (hash == NULL || mb_hash_equal(&is, hash));
    size_t inclusion_len = read_path(json_object_get(answer, "inclusion"), inclusion);
    size_t path_len = read_path(json_object_get(answer, "path"), path);
    ok = ok && inclusion_len != SIZE_MAX && path_len != SIZE_MAX &&
         mb_history_verify_inclusion(&leaf, slot, to->slot, inclusion, inclusion_len,
                                     &to->history_root);
    if (ok && slot > 0)
        ok = mb_history_verify_consistency(slot, &header.history_root, to->slot, &to->history_root,
                                           path, path_len);
    mb_buf_clear(&bytes);
    if (ok && out != NULL)
        *out = header;
    return ok;
}
