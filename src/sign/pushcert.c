/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "sign/pushcert.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

#define NAMESPACE  "git"
#define OPTION_MAX 1024 /* bytes of a push option */

static int invalid(struct mb_error *error, const char *what)
{
    return mb_fail(error, MB_EINVAL, "pushcert.invalid", "malformed push certificate: %s", what);
}

static int too_large(struct mb_error *error, const char *what)
{
    return mb_fail(error, MB_ELIMIT, "pushcert.too_large", "the push certificate has %s", what);
}

/* UTF-8, and of the control characters LF alone: what can stand in a log and in JSON. */
static bool is_plain_text(struct mb_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((text.data[i] < 0x20 && text.data[i] != '\n') || text.data[i] == 0x7f)
            return false;
    return mb_utf8_valid(text.data, text.len);
}

/* Decimal digits of exactly one spelling, within int64_t. */
static bool parse_decimal(int64_t *out, const char *digits, size_t len)
{
    if (len == 0 || (len > 1 && digits[0] == '0'))
        return false;
    int64_t v = 0;
    for (size_t i = 0; i < len; i++) {
        int64_t digit = digits[i] - '0';
        if (digit < 0 || digit > 9 || v > (INT64_MAX - digit) / 10)
            return false;
        v = 10 * v + digit;
    }
    *out = v;
    return true;
}

/* Take a line off *rest, without its LF; false if no LF is left. */
static bool take_line(struct mb_bytes *rest, struct mb_bytes *line)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;
    if (end == NULL)
        return false;
    *line = mb_bytes(rest->data, (size_t)(end - rest->data));
    rest->len -= line->len + 1;
    rest->data = end + 1;
    return true;
}

static bool starts_with(struct mb_bytes text, const char *start)
{
    size_t n = strlen(start);
    return text.len >= n && memcmp(text.data, start, n) == 0;
}

/* Take the line "NAME VALUE" off *rest: VALUE, owned by the caller; NULL if another line is next.
 */
static char *take_field(struct mb_bytes *rest, const char *name)
{
    struct mb_bytes line;
    size_t skip = strlen(name);
    if (!starts_with(*rest, name) || !take_line(rest, &line))
        return NULL;
    return mb_strndup((const char *)line.data + skip, line.len - skip);
}

static char *take_optional_field(struct mb_bytes *rest, const char *name)
{
    char *value = take_field(rest, name);
    return value != NULL ? value : mb_strdup("");
}

/* "IDENTITY SECONDS ZONE"; with an SSH key git writes its fingerprint and a space for IDENTITY. */
static bool parse_pusher(struct mb_pushcert *cert)
{
    const char *zone = strrchr(cert->pusher, ' ');
    if (zone == NULL || strlen(zone) != sizeof cert->pusher_zone ||
        (zone[1] != '+' && zone[1] != '-') || strspn(zone + 2, "0123456789") != 4)
        return false;
    memcpy(cert->pusher_zone, zone + 1, sizeof cert->pusher_zone);
    const char *seconds = memrchr(cert->pusher, ' ', (size_t)(zone - cert->pusher));
    return seconds != NULL && seconds != cert->pusher &&
           parse_decimal(&cert->pusher_time, seconds + 1, (size_t)(zone - seconds - 1));
}

static int parse_options(struct mb_pushcert *cert, struct mb_bytes *rest, struct mb_error *error)
{
    cert->options = mb_calloc(MB_PUSHCERT_OPTIONS_MAX, sizeof *cert->options);
    char *option;
    while ((option = take_field(rest, "push-option ")) != NULL) {
        if (cert->option_count == MB_PUSHCERT_OPTIONS_MAX || strlen(option) > OPTION_MAX) {
            free(option);
            return too_large(error, "too many push options, or too long ones");
        }
        cert->options[cert->option_count++] = option;
    }
    return 0;
}

/* The lines up to the empty one, in the order in which git writes them. */
static int parse_head(struct mb_pushcert *cert, struct mb_bytes *rest, struct mb_error *error)
{
    struct mb_bytes line;
    if (!take_line(rest, &line) || !mb_bytes_equal(line, mb_bytes_of("certificate version 0.1")))
        return invalid(error, "it is not of version 0.1");
    cert->pusher = take_field(rest, "pusher ");
    if (cert->pusher == NULL || !parse_pusher(cert))
        return invalid(error, "its pusher line");
    cert->pushee = take_optional_field(rest, "pushee ");
    cert->nonce = take_optional_field(rest, "nonce ");
    int err = parse_options(cert, rest, error);
    if (err != 0)
        return err;
    if (!take_line(rest, &line) || line.len != 0)
        return invalid(error, "a line of its head that git does not write there");
    return 0;
}

/* "OLD NEW REF", both ids of id_len digits. u->ref is to be freed even if it fails. */
static bool parse_update(struct mb_ref_update *u, struct mb_bytes line, size_t id_len)
{
    const char *text = (const char *)line.data;
    if (line.len < 2 * id_len + 2 || text[id_len] != ' ' || text[2 * id_len + 1] != ' ')
        return false;
    memcpy(u->old_id, text, id_len);
    memcpy(u->new_id, text + id_len + 1, id_len);
    u->ref = mb_strndup(text + 2 * id_len + 2, line.len - 2 * id_len - 2);
    return mb_is_hex(u->old_id, id_len) && mb_is_hex(u->new_id, id_len) && mb_ref_valid(u->ref);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool refs_are_distinct(const struct mb_pushcert *cert)
{
    char **refs = mb_calloc(cert->update_count, sizeof *refs);
    for (size_t i = 0; i < cert->update_count; i++)
        refs[i] = cert->updates[i].ref;
    qsort(refs, cert->update_count, sizeof *refs, compare_texts);
    bool distinct = true;
    for (size_t i = 1; i < cert->update_count; i++)
        distinct = distinct && strcmp(refs[i - 1], refs[i]) != 0;
    free(refs);
    return distinct;
}

/* The lines up to the signature, of which there is at least one. */
static int parse_updates(struct mb_pushcert *cert, struct mb_bytes *rest, struct mb_error *error)
{
    struct mb_bytes line;
    size_t id_len = 0;
    while (!starts_with(*rest, "-") && take_line(rest, &line)) {
        if (cert->update_count == MB_PUSHCERT_UPDATES_MAX)
            return too_large(error, "too many updates: push fewer refs at once");
        if (id_len == 0)
            id_len = line.len > 40 && line.data[40] == ' ' ? 40 : 64;
        cert->updates = mb_realloc(cert->updates, (cert->update_count + 1) * sizeof *cert->updates);
        struct mb_ref_update *u = &cert->updates[cert->update_count++];
        *u = (struct mb_ref_update){0};
        if (!parse_update(u, line, id_len))
            return invalid(error, "a line that should be OLD NEW REF, or a ref's name that is not "
                                  "allowed");
    }
    if (cert->update_count == 0)
        return invalid(error, "it updates nothing");
    if (!refs_are_distinct(cert))
        return invalid(error, "a ref that it updates twice");
    return 0;
}

static int parse(struct mb_pushcert *cert, struct mb_bytes text, struct mb_error *error)
{
    struct mb_bytes rest = text;
    if (text.len > MB_PUSHCERT_MAX)
        return too_large(error, "too many bytes");
    if (!is_plain_text(text))
        return invalid(error, "it is not UTF-8, or holds control characters");
    int err = parse_head(cert, &rest, error);
    if (err == 0)
        err = parse_updates(cert, &rest, error);
    if (err != 0)
        return err;
    cert->payload = mb_bytes(text.data, text.len - rest.len);
    if (mb_sshsig_dearmor(&cert->signature, rest, NULL) != 0)
        return invalid(error, "its signature is not an SSH signature: git config gpg.format ssh");
    return 0;
}

int mb_pushcert_parse(struct mb_pushcert *cert, struct mb_bytes text, struct mb_error *error)
{
    *cert = (struct mb_pushcert){0};
    int err = parse(cert, text, error);
    if (err != 0)
        mb_pushcert_clear(cert);
    return err;
}

void mb_pushcert_clear(struct mb_pushcert *cert)
{
    for (size_t i = 0; i < cert->option_count; i++)
        free(cert->options[i]);
    for (size_t i = 0; i < cert->update_count; i++)
        free(cert->updates[i].ref);
    free(cert->options);
    free(cert->updates);
    free(cert->pusher);
    free(cert->pushee);
    free(cert->nonce);
    mb_buf_clear(&cert->signature);
    *cert = (struct mb_pushcert){0};
}

int mb_pushcert_verify(const struct mb_pushcert *cert, struct mb_public_key *signer,
                       struct mb_error *error)
{
    return mb_sshsig_verify(mb_buf_bytes(&cert->signature), NAMESPACE, cert->payload, signer,
                            error);
}

/* Copy n lower-case hex digits and skip the byte behind them, which must be end. */
static bool take_hex(char *out, const char **text, size_t n, char end)
{
    if (strnlen(*text, n) != n || (*text)[n] != end)
        return false;
    memcpy(out, *text, n);
    out[n] = '\0';
    *text += n + 1;
    return mb_is_hex(out, n);
}

int mb_push_nonce_parse(struct mb_push_nonce *nonce, const char *text)
{
    if (!take_hex(nonce->org, &text, 64, '-') || !take_hex(nonce->repo, &text, 16, '-'))
        return MB_EINVAL;
    size_t digits = strcspn(text, "-");
    if (text[digits] != '-' || !parse_decimal(&nonce->time, text, digits))
        return MB_EINVAL;
    text += digits + 1;
    return take_hex(nonce->random, &text, 32, '\0') ? 0 : MB_EINVAL;
}

void mb_push_nonce_text(const struct mb_push_nonce *nonce, char out[160])
{
    mb_snprintf(out, 160, "%s-%s-%lld-%s", nonce->org, nonce->repo, (long long)nonce->time,
                nonce->random);
}

struct mb_hash mb_push_work(const char *org, const char *repo, const char *fingerprint,
                            const char *new_id, const char *work)
{
    static const char zero = 0;
    const struct mb_bytes parts[] = {
        mb_bytes_of("magicbiz-push-work"),
        mb_bytes(&zero, 1),
        mb_bytes_of(org),
        mb_bytes(&zero, 1),
        mb_bytes_of(repo),
        mb_bytes(&zero, 1),
        mb_bytes_of(fingerprint),
        mb_bytes(&zero, 1),
        mb_bytes_of(new_id),
        mb_bytes(&zero, 1),
        mb_bytes_of(work),
    };
    return mb_sha256_parts(parts, sizeof parts / sizeof *parts);
}
