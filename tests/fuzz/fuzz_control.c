/* SPDX-License-Identifier: GPL-3.0-or-later */
/* However the bytes are cut into pieces, the same replies and the same error come out. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "tor/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void note(void *arg, const struct mb_control_reply *r)
{
    static const char *const keys[] = {"METHODS", "COOKIEFILE", "Tor", "PROGRESS", "SKEW"};
    struct mb_buf *out = arg;
    unsigned v[4];
    mb_buf_add_u16(out, (uint16_t)r->status);
    for (size_t i = 0; i < r->count; i++) {
        mb_buf_add_string(out, mb_bytes_of(r->lines[i]));
        (void)mb_tor_version_parse(v, r->lines[i]);
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            char *value = mb_control_value(r->lines[i], keys[k]);
            if (value != NULL && strlen(value) > strlen(r->lines[i]))
                abort();
            free(value);
        }
    }
}

static int feed(const uint8_t *data, size_t size, size_t piece, struct mb_buf *out)
{
    struct mb_control_parser *p = mb_control_parser_new();
    int rc = 0;
    for (size_t at = 0; at < size && rc == 0; at += piece)
        rc = mb_control_feed(p, mb_bytes(data + at, size - at < piece ? size - at : piece), note,
                             out, NULL);
    mb_control_parser_free(p);
    return rc;
}

static void quoting_comes_back(const uint8_t *data, size_t size)
{
    struct mb_buf line = {0};
    mb_buf_add_text(&line, "x=\"\\\"k=1\" k=");
    mb_control_quote(&line, mb_bytes(data, size));
    char *value = mb_control_value(mb_buf_text(&line), "k");
    bool zero = memchr(data, 0, size) != NULL;
    if ((value == NULL) != zero ||
        (value != NULL && (strlen(value) != size || memcmp(value, data, size) != 0)))
        abort();
    free(value);
    mb_buf_clear(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mb_buf whole = {0}, pieces = {0};
    int rc = feed(data, size, size + 1, &whole);
    if (feed(data, size, 1 + size / 7, &pieces) != rc ||
        !mb_bytes_equal(mb_buf_bytes(&whole), mb_buf_bytes(&pieces)))
        abort();
    mb_buf_clear(&whole);
    mb_buf_clear(&pieces);
    if (size > 0)
        quoting_comes_back(data, size);
    return 0;
}
