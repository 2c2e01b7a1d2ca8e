#include "act/jwt.h"

#include "base/ckd.h"
#include "base/cleanup.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define CLAIMS_MAX (ST_JWT_ISSUER_MAX + 128)
#define BASE64_MAX(n) (((n) + 2) / 3 * 4)

static void free_key(EVP_PKEY **k)
{
    EVP_PKEY_free(*k);
}
static void free_md(EVP_MD_CTX **m)
{
    EVP_MD_CTX_free(*m);
}
static void free_bio(BIO **b)
{
    BIO_free(*b);
}

// base64url without padding (RFC 4648, 5). Returns the length.
static size_t base64url(const uint8_t *p, size_t n, char *ret)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t len = 0;
    for (size_t i = 0; i < n; i += 3) {
        size_t k = ST_MIN(n - i, (size_t)3);
        uint32_t v = (uint32_t)p[i] << 16 | (k > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (k > 2 ? p[i + 2] : 0);
        for (size_t j = 0; j <= k; j++)
            ret[len++] = digits[v >> (18 - 6 * j) & 63];
    }
    return len;
}

// A key with a passphrase is refused instead of asking a terminal for it.
static int no_passphrase(char *buf, int size, int rwflag, void *ctx)
{
    return -1;
}

static EVP_PKEY *read_key(const struct st_secret *pem, struct st_err *err)
{
    struct st_sv text = st_secret_reveal(pem);
    ST_AUTO(free_bio) BIO *bio = BIO_new_mem_buf(text.ptr, (int)ST_MIN(text.len, (size_t)ST_SECRET_MAX));
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    ERR_clear_error();
    if (!key) {
        st_err_set(err, ST_E_AUTH, "the App's private key is not a PEM key without a passphrase");
        return NULL;
    }
    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key) < RSA_BITS_MIN ||
        EVP_PKEY_get_bits(key) > RSA_BITS_MAX) {
        EVP_PKEY_free(key);
        st_err_set(err, ST_E_AUTH, "the App's private key is not an RSA key of %d to %d bits", RSA_BITS_MIN,
                   RSA_BITS_MAX);
        return NULL;
    }
    return key;
}

static bool good_issuer(struct st_sv s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' || c == '_' ||
              c == '-'))
            return false;
    }
    return s.len > 0 && s.len <= ST_JWT_ISSUER_MAX;
}

int st_jwt_bearer(const struct st_secret *key_pem, struct st_sv issuer, int64_t now_s, struct st_secret *ret,
                  struct st_err *err)
{
    static const char header[] = "{\"alg\":\"RS256\",\"typ\":\"JWT\"}";
    char claims[CLAIMS_MAX], text[BASE64_MAX(sizeof header) + 1 + BASE64_MAX(CLAIMS_MAX)];
    uint8_t signature[RSA_BITS_MAX / 8];
    char signature_text[BASE64_MAX(sizeof signature)];
    if (!good_issuer(issuer))
        return st_err_set(err, ST_E_INPUT, "the App's id is not one (digits, or a client id)");
    // The issuer is a string also when it is a number: GitHub takes both, the RFC only a string.
    int n = snprintf(claims, sizeof claims, "{\"iat\":%lld,\"exp\":%lld,\"iss\":\"" ST_SV_FMT "\"}",
                     (long long)(now_s - ST_JWT_BEFORE_S), (long long)(now_s + ST_JWT_AFTER_S), ST_SV_ARG(issuer));
    if (n < 0 || n >= (int)sizeof claims)
        return st_err_set(err, ST_E_INTERNAL, "claims do not fit");
    size_t len = base64url((const uint8_t *)header, sizeof header - 1, text);
    text[len++] = '.';
    len += base64url((const uint8_t *)claims, (size_t)n, text + len);

    ST_AUTO(free_key) EVP_PKEY *key = read_key(key_pem, err);
    if (!key)
        return -1;
    ST_AUTO(free_md) EVP_MD_CTX *md = EVP_MD_CTX_new();
    size_t signature_len = sizeof signature;
    if (!md || EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) != 1 ||
        EVP_DigestSign(md, signature, &signature_len, (const uint8_t *)text, len) != 1) {
        ERR_clear_error();
        return st_err_set(err, ST_E_AUTH, "the App's private key does not sign");
    }
    size_t signature_text_len = base64url(signature, signature_len, signature_text);
    const struct st_sv parts[] = {ST_SV("Bearer "), {text, len}, ST_SV("."), {signature_text, signature_text_len}};
    return st_secret_join(ret, parts, ST_LEN(parts), err);
}
