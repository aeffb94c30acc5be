/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Any bytes as an envelope and as a command's text: fields are there exactly if it parses. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "ledger/command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct mb_envelope *e)
{
    struct mb_checked *c = mb_checked_new(e);
    if (c->json &&
        (!c->org || !c->key || !c->type || !json_is_object(c->body) || strlen(c->nonce) != 32))
        abort();
    if ((c->verdict == 0) != (c->error == NULL) || (c->verdict == 0 && !c->json))
        abort();
    mb_checked_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mb_envelope e = {0}, again;
    if (mb_envelope_parse(&e, mb_bytes(data, size), NULL) == 0) {
        json_t *json = mb_envelope_json(&e);
        char *text = mb_json_text(json);
        if (mb_envelope_parse(&again, mb_bytes_of(text), NULL) != 0 ||
            !mb_bytes_equal(mb_buf_bytes(&e.text), mb_buf_bytes(&again.text)) ||
            !mb_bytes_equal(mb_buf_bytes(&e.signature), mb_buf_bytes(&again.signature)))
            abort();
        mb_envelope_clear(&again);
        free(text);
        json_decref(json);
        check(&e);
    }
    mb_buf_add(&e.text, data, size);
    check(&e);
    return 0;
}
