#include <sodium.h>
#include <string.h>

static int verify(const char *msg, const char *pk, const char *sig)
{
    unsigned char m[64], k[32], s[64];
    size_t n = 0;
    if (sodium_hex2bin(m, sizeof m, msg, strlen(msg), NULL, &n, NULL) != 0 ||
        sodium_hex2bin(k, sizeof k, pk, strlen(pk), NULL, NULL, NULL) != 0 ||
        sodium_hex2bin(s, sizeof s, sig, strlen(sig), NULL, NULL, NULL) != 0)
        return -2;
    return crypto_sign_verify_detached(s, m, n, k);
}

int main(void)
{
    if (sodium_init() < 0)
        return 2;
    return 0;
}
