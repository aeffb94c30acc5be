/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tor/internal.h"

#define PASSWORD_MAX 1024

struct tor_auth {
    struct tor_link *link;
    char *password_file, *cookie_file, *version;
    bool local;
    uint8_t cookie[32], nonce[32];
    void (*done)(void *arg, const char *version);
    void *arg;
};

void tor_auth_free(struct tor_auth *a)
{
    if (a == NULL)
        return;
    free(a->password_file);
    free(a->cookie_file);
    free(a->version);
    explicit_bzero(a, sizeof *a);
    free(a);
}

static void fail(struct tor_auth *a, const char *code, const char *text)
{
    struct mb_error e;
    mb_fail(&e, MB_EREFUSED, code, "%s", text);
    tor_link_fail(a->link, &e);
}

static const char *hint(int err)
{
    if (err == EACCES)
        return "Permission denied: is this user in the group debian-tor?";
    return err == 0 ? "it does not have the right length" : strerror(err);
}

/* Up to size bytes of a small file; their number, or -1 and the link has failed. */
static ssize_t read_secret(struct tor_auth *a, const char *path, void *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size);
    int err = errno;
    if (fd >= 0)
        close(fd);
    if (n >= 0)
        return n;
    struct mb_error e;
    mb_fail(&e, MB_EREFUSED, "tor.auth", "cannot read %s: %s", path, hint(err));
    tor_link_fail(a->link, &e);
    return -1;
}

/* A cookie has exactly 32 bytes; nothing else is ever shown to a control port (control-spec 3.5).
 */
static bool read_cookie(struct tor_auth *a)
{
    uint8_t bytes[33];
    if (a->cookie_file == NULL) {
        fail(a, "tor.auth", "the control port does not say where its cookie is: set cookie_file");
        return false;
    }
    ssize_t n = read_secret(a, a->cookie_file, bytes, sizeof bytes);
    if (n < 0)
        return false;
    if (n != 32) {
        fail(a, "tor.auth", "the control port's cookie file does not hold 32 bytes: is it tor's?");
        return false;
    }
    memcpy(a->cookie, bytes, 32);
    return true;
}

static void on_authenticated(void *arg, unsigned tag, const struct mb_control_reply *r)
{
    (void)tag;
    struct tor_auth *a = arg;
    if (r->status == 250)
        a->done(a->arg, a->version);
    else
        fail(a, "tor.auth",
             a->password_file != NULL
                 ? "control port refused the password: is it the one of HashedControlPassword?"
                 : "control port refused the cookie: is it this tor's, and did tor restart?");
}

static void send_authenticate(struct tor_auth *a, const void *bytes, size_t len)
{
    struct mb_buf hex = {0};
    mb_hex_encode(&hex, bytes, len);
    tor_link_send(a->link, on_authenticated, a, 0, "AUTHENTICATE %s", mb_buf_text(&hex));
    mb_buf_clear(&hex);
}

static void send_password(struct tor_auth *a)
{
    char text[PASSWORD_MAX];
    ssize_t n = read_secret(a, a->password_file, text, sizeof text);
    if (n < 0)
        return;
    if (n == PASSWORD_MAX) {
        fail(a, "tor.auth", "the file with the control port's password is too long");
        return;
    }
    const char *end = memchr(text, '\n', (size_t)n);
    struct mb_buf quoted = {0};
    mb_control_quote(&quoted, mb_bytes(text, end != NULL ? (size_t)(end - text) : (size_t)n));
    tor_link_send(a->link, on_authenticated, a, 0, "AUTHENTICATE %s", mb_buf_text(&quoted));
    mb_buf_clear(&quoted);
    explicit_bzero(text, sizeof text);
}

/* 32 bytes in hex, upper or lower case, after key. */
static bool hex_value(const char *line, const char *key, uint8_t out[32])
{
    char *text = mb_control_value(line, key);
    if (text == NULL)
        return false;
    for (char *p = text; *p != '\0'; p++)
        *p = *p >= 'A' && *p <= 'F' ? (char)(*p + ('a' - 'A')) : *p;
    bool ok = mb_hex_decode(out, 32, text, strlen(text)) == 0;
    free(text);
    return ok;
}

static void on_challenge(void *arg, unsigned tag, const struct mb_control_reply *r)
{
    (void)tag;
    struct tor_auth *a = arg;
    uint8_t claimed[32], server_nonce[32], server_hash[32], client_hash[32];
    if (r->status != 250 || r->count != 1 || !hex_value(r->lines[0], "SERVERHASH", claimed) ||
        !hex_value(r->lines[0], "SERVERNONCE", server_nonce)) {
        fail(a, "tor.auth", "the control port refused SAFECOOKIE authentication");
        return;
    }
    mb_safecookie_hashes(a->cookie, a->nonce, server_nonce, server_hash, client_hash);
    if (!mb_equal_secret(claimed, server_hash, 32)) {
        fail(a, "tor.auth",
             "the control port does not know the cookie: is the cookie file this tor's?");
        return;
    }
    send_authenticate(a, client_hash, 32);
}

static void send_challenge(struct tor_auth *a)
{
    if (!read_cookie(a))
        return;
    if (getentropy(a->nonce, sizeof a->nonce) != 0)
        abort();
    struct mb_buf hex = {0};
    mb_hex_encode(&hex, a->nonce, sizeof a->nonce);
    tor_link_send(a->link, on_challenge, a, 0, "AUTHCHALLENGE SAFECOOKIE %s", mb_buf_text(&hex));
    mb_buf_clear(&hex);
}

static bool offers(const char *methods, const char *method)
{
    size_t len = strlen(method);
    for (const char *p = methods; *p != '\0'; p += strspn(p, ",")) {
        size_t n = strcspn(p, ",");
        if (n == len && memcmp(p, method, n) == 0)
            return true;
        p += n;
    }
    return false;
}

static void choose_method(struct tor_auth *a, const char *methods)
{
    if (offers(methods, "NULL"))
        fail(a, "tor.open",
             "this tor's control port lets anybody in: set CookieAuthentication 1 in its torrc");
    else if (a->password_file != NULL && !offers(methods, "HASHEDPASSWORD"))
        fail(a, "tor.auth", "the control port takes no password: set HashedControlPassword");
    else if (a->password_file != NULL)
        send_password(a);
    else if (offers(methods, "SAFECOOKIE"))
        send_challenge(a);
    else if (!offers(methods, "COOKIE"))
        fail(a, "tor.auth",
             "the control port takes no cookie: set CookieAuthentication 1 in its torrc, or name "
             "a password_file");
    else if (!a->local) /* whoever listens there could only want to learn the cookie */
        fail(a, "tor.auth", "a bare cookie is not sent over TCP");
    else if (read_cookie(a))
        send_authenticate(a, a->cookie, 32);
}

static bool check_version(struct tor_auth *a)
{
    unsigned v[4];
    if (a->version == NULL || mb_tor_version_parse(v, a->version) != 0) {
        fail(a, "tor.protocol", "the control port does not tell tor's version: is it tor's?");
        return false;
    }
    if (!tor_version_too_old(v))
        return true;
    struct mb_error e;
    mb_fail(&e, MB_EREFUSED, "tor.old",
            "tor %u.%u.%u.%u is too old: 0.4.8 brought the proof-of-work defence of onion "
            "services, and nothing before it gets security fixes; install a newer one",
            v[0], v[1], v[2], v[3]);
    tor_link_fail(a->link, &e);
    return false;
}

static void on_info(void *arg, unsigned tag, const struct mb_control_reply *r)
{
    (void)tag;
    struct tor_auth *a = arg;
    char *methods = NULL;
    if (r->status != 250) {
        fail(a, "tor.protocol", "what listens on the control port does not speak tor's protocol");
        return;
    }
    for (size_t i = 0; i < r->count; i++) {
        const char *line = r->lines[i];
        if (methods == NULL && strncmp(line, "AUTH ", 5) == 0) {
            methods = mb_control_value(line, "METHODS");
            if (a->cookie_file == NULL)
                a->cookie_file = mb_control_value(line, "COOKIEFILE");
        } else if (a->version == NULL && strncmp(line, "VERSION ", 8) == 0) {
            a->version = mb_control_value(line, "Tor");
        }
    }
    if (check_version(a))
        choose_method(a, methods != NULL ? methods : "");
    free(methods);
}

static char *copy(const char *text)
{
    return text != NULL ? mb_strdup(text) : NULL;
}

struct tor_auth *tor_auth_start(struct tor_link *l, const struct tor_auth_options *options,
                                void (*done)(void *arg, const char *version), void *arg)
{
    struct tor_auth *a = mb_calloc(1, sizeof *a);
    a->link = l;
    a->password_file = copy(options->password_file);
    a->cookie_file = copy(options->cookie_file);
    a->local = options->local;
    a->done = done;
    a->arg = arg;
    tor_link_send(l, on_info, a, 0, "PROTOCOLINFO 1");
    return a;
}
