/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "peer/tls.h"

/* The verdict is known()'s alone: dates, names and signers of a certificate mean nothing here. That
 * the other side has the key is proved by its CertificateVerify. */
static int verify(X509_STORE_CTX *store, void *unused)
{
    (void)unused;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct peer_tls *t = SSL_get_app_data(ssl);
    X509 *cert = X509_STORE_CTX_get0_cert(store);
    EVP_PKEY *pkey = cert != NULL ? X509_get0_pubkey(cert) : NULL;
    struct mb_public_key key;
    size_t len = sizeof key.b;
    if (pkey != NULL && EVP_PKEY_get_id(pkey) == EVP_PKEY_ED25519 &&
        EVP_PKEY_get_raw_public_key(pkey, key.b, &len) == 1 && len == sizeof key.b &&
        t->known(t->arg, &key)) {
        t->key = key;
        return 1;
    }
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

static X509 *certificate(EVP_PKEY *pkey)
{
    X509 *cert = X509_new();
    if (cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1 &&
        ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) == 1 &&
        ASN1_TIME_set_string(X509_getm_notBefore(cert), "19700101000000Z") == 1 &&
        ASN1_TIME_set_string(X509_getm_notAfter(cert), "99991231235959Z") == 1 &&
        X509_set_pubkey(cert, pkey) == 1 && X509_sign(cert, pkey, NULL) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

static bool configure(SSL_CTX *c, EVP_PKEY *pkey, X509 *cert)
{
    SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(c, SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_max_cert_list(c, 4096);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(c, verify, NULL);
    return SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_num_tickets(c, 0) == 1 && SSL_CTX_set_max_early_data(c, 0) == 1 &&
           SSL_CTX_set_ciphersuites(c, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") ==
               1 &&
           SSL_CTX_set1_groups_list(c, "X25519") == 1 &&
           SSL_CTX_set1_sigalgs_list(c, "ed25519") == 1 &&
           SSL_CTX_set1_client_sigalgs_list(c, "ed25519") == 1 &&
           SSL_CTX_use_certificate(c, cert) == 1 && SSL_CTX_use_PrivateKey(c, pkey) == 1;
}

int peer_tls_context(SSL_CTX **out, const struct mb_secret_key *key, struct mb_error *error)
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, key->secret, 32);
    X509 *cert = pkey != NULL ? certificate(pkey) : NULL;
    SSL_CTX *c = SSL_CTX_new(TLS_method());
    bool made = cert != NULL && c != NULL && configure(c, pkey, cert);
    X509_free(cert);
    EVP_PKEY_free(pkey);
    if (made) {
        *out = c;
        return 0;
    }
    SSL_CTX_free(c);
    unsigned long why = ERR_peek_last_error();
    ERR_clear_error();
    return mb_fail(error, MB_EIO, "peer.tls", "OpenSSL refused to set up TLS 1.3: %s",
                   ERR_reason_error_string(why) != NULL ? ERR_reason_error_string(why) : "?");
}

void peer_tls_init(struct peer_tls *t, SSL_CTX *context, bool dialled,
                   bool (*known)(void *arg, const struct mb_public_key *key), void *arg)
{
    *t = (struct peer_tls){.ssl = SSL_new(context), .known = known, .arg = arg};
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    if (t->ssl == NULL || in == NULL || out == NULL)
        abort(); /* out of memory */
    SSL_set_bio(t->ssl, in, out);
    SSL_set_app_data(t->ssl, t);
    if (dialled)
        SSL_set_accept_state(t->ssl);
    else
        SSL_set_connect_state(t->ssl);
}

void peer_tls_clear(struct peer_tls *t)
{
    SSL_free(t->ssl);
    t->ssl = NULL;
}

void peer_tls_put(struct peer_tls *t, const void *bytes, size_t len)
{
    size_t put;
    if (len > 0 && (BIO_write_ex(SSL_get_rbio(t->ssl), bytes, len, &put) != 1 || put != len))
        abort(); /* a memory BIO fails for want of memory alone */
}

int peer_tls_handshake(struct peer_tls *t)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(t->ssl);
    if (rc == 1)
        return 1;
    if (SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_READ)
        return 0;
    ERR_clear_error();
    return SSL_get_verify_result(t->ssl) == X509_V_OK ? MB_EINVAL : MB_EPROOF;
}

int peer_tls_read(struct peer_tls *t, void *out, int len)
{
    ERR_clear_error();
    int n = SSL_read(t->ssl, out, len);
    if (n > 0)
        return n;
    if (SSL_get_error(t->ssl, n) == SSL_ERROR_WANT_READ)
        return 0;
    ERR_clear_error();
    return MB_EINVAL;
}

int peer_tls_write(struct peer_tls *t, const void *bytes, size_t len)
{
    size_t put;
    ERR_clear_error();
    if (SSL_write_ex(t->ssl, bytes, len, &put) == 1 && put == len)
        return 0;
    ERR_clear_error();
    return MB_EINVAL;
}

void peer_tls_take(struct peer_tls *t, struct mb_buf *out)
{
    BIO *b = SSL_get_wbio(t->ssl);
    size_t len = BIO_ctrl_pending(b), n;
    if (len == 0)
        return;
    mb_buf_reserve(out, len);
    if (BIO_read_ex(b, out->data + out->len, len, &n) == 1)
        out->data[out->len += n] = 0;
}
