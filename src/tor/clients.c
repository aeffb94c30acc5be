/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Restricted discovery (control-spec, ADD_ONION and ONION_CLIENT_AUTH_ADD; tor 0.4.6 and later). */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "tor/internal.h"

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, 32);
}

void tor_clients_text(struct mb_buf *out, const struct mb_onion_service *service)
{
    uint8_t keys[MB_TOR_CLIENTS_MAX][32];
    for (size_t i = 0; i < service->client_count; i++)
        memcpy(keys[i], service->clients[i], 32);
    qsort(keys, service->client_count, 32, by_bytes);
    for (size_t i = 0; i < service->client_count; i++) {
        mb_buf_add_text(out, " ClientAuthV3=");
        mb_base32_encode(out, keys[i], 32);
    }
}

static void on_told(void *arg, unsigned tag, const struct mb_control_reply *r)
{
    (void)tag;
    struct mb_error e;
    if (r->status / 10 == 25) /* 250 new, 251 replaced or not there, 252 with its descriptor */
        return;
    mb_fail(&e, MB_EREFUSED, "tor.clients", "tor refused the key for a restricted onion: %d",
            r->status);
    tor_note_error(arg, &e);
}

static void tell(struct mb_tor *t, const struct tor_client *c)
{
    struct mb_buf key = {0};
    mb_base64_encode(&key, c->key, sizeof c->key);
    tor_link_send(t->link, on_told, t, 0, "ONION_CLIENT_AUTH_ADD %.*s x25519:%s", MB_ONION_LEN - 6,
                  c->onion, mb_buf_text(&key));
    explicit_bzero(key.data, key.len);
    mb_buf_clear(&key);
}

void tor_clients_send(struct mb_tor *t)
{
    for (size_t i = 0; i < t->client_count; i++)
        tell(t, &t->clients[i]);
}

static void forget(struct mb_tor *t, struct tor_client *c)
{
    if (t->ready)
        tor_link_send(t->link, on_told, t, 0, "ONION_CLIENT_AUTH_REMOVE %.*s", MB_ONION_LEN - 6,
                      c->onion);
    *c = t->clients[--t->client_count];
    explicit_bzero(&t->clients[t->client_count], sizeof *c);
}

int mb_tor_client_auth(struct mb_tor *t, const char *onion, const uint8_t key[32],
                       struct mb_error *error)
{
    if (!mb_onion_decode(NULL, onion))
        return mb_fail(error, MB_EINVAL, "tor.onion", "%s is no onion address", onion);
    struct tor_client *c = t->clients, *end = t->clients + t->client_count;
    while (c < end && strcmp(c->onion, onion) != 0)
        c++;
    if (key == NULL) {
        if (c < end)
            forget(t, c);
        return 0;
    }
    if (c < end && mb_equal_secret(c->key, key, 32))
        return 0;
    if (c == t->clients + MB_TOR_CLIENTS_MAX)
        return mb_fail(error, MB_ELIMIT, "tor.clients", "at most %d restricted onions",
                       MB_TOR_CLIENTS_MAX);
    if (c == end)
        t->client_count++;
    mb_snprintf(c->onion, sizeof c->onion, "%s", onion);
    memcpy(c->key, key, 32);
    if (t->ready)
        tell(t, c);
    return 0;
}
