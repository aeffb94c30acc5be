/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The parser asks for a bounded number of bytes, never takes back what it asked for, and comes to
 * an end. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "tor/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    enum tor_socks_phase phase = (enum tor_socks_phase)(data[0] % 3);
    bool authenticated = (data[0] & 4) != 0;
    uint8_t message[TOR_SOCKS_MESSAGE_MAX];
    size_t len = 0;
    data++;
    size--;
    for (int last = 0;;) {
        struct mb_error error = {0};
        int whole = tor_socks_parse(phase, authenticated, message, len, &error);
        if (whole < 0) {
            if (strcmp(error.code, whole == MB_EREACH ? "socks.unreachable" : "socks.protocol") !=
                0)
                abort();
            return 0;
        }
        if ((size_t)whole < len || whole > TOR_SOCKS_MESSAGE_MAX || whole < last)
            abort();
        last = whole;
        size_t more = (size_t)whole - len;
        if (more == 0 || more > size)
            return 0;
        memcpy(message + len, data, more);
        len += more;
        data += more;
        size -= more;
    }
}
