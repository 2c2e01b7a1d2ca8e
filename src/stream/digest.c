// SHA-256 through OpenSSL's block functions (SHA extensions where the CPU has them). The EVP layer is not used: its
// first fetch loads the provider and its tables, which every start of the analyzer would pay for (docs/adr/0002).
#define OPENSSL_SUPPRESS_DEPRECATED
#include "stream/stream_int.h"

#include <openssl/sha.h>

struct st_sha256 {
    SHA256_CTX ctx;
    struct st_mem *mem;
};

struct st_sha256 *st_sha256_new(struct st_mem *mem, struct st_err *err)
{
    struct st_sha256 *d = st_mem_alloc(mem, sizeof *d, err);
    if (!d)
        return NULL;
    d->mem = mem;
    SHA256_Init(&d->ctx);
    return d;
}

void st_sha256_add(struct st_sha256 *d, const void *p, size_t n)
{
    if (n)
        SHA256_Update(&d->ctx, p, n);
}

void st_sha256_hex(struct st_sha256 *d, char ret[static ST_DIGEST_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[SHA256_DIGEST_LENGTH];
    SHA256_Final(raw, &d->ctx);
    for (size_t i = 0; i < sizeof raw; i++) {
        ret[2 * i] = digits[raw[i] >> 4];
        ret[2 * i + 1] = digits[raw[i] & 15];
    }
    ret[ST_DIGEST_HEX] = '\0';
}

void st_sha256_free(struct st_sha256 *d)
{
    if (d)
        st_mem_free(d->mem, d, sizeof *d);
}

// ---- the tee --------------------------------------------------------------------------------------------

struct tee {
    struct st_stream s;
    struct st_mem *mem;
    struct st_stream *inner; // owns
    struct st_sha256 *sha;   // borrowed
};

static int tee_fill(struct st_stream *s, struct st_err *err)
{
    struct tee *t = (struct tee *)s;
    int r = st_stream_fill(t->inner, err);
    if (r <= 0)
        return r;
    st_stream_pass(s, t->inner);
    st_sha256_add(t->sha, s->cur, (size_t)(s->end - s->cur));
    return 1;
}

static void tee_free(struct st_stream *s)
{
    struct tee *t = (struct tee *)s;
    st_stream_free(t->inner);
    st_mem_free(t->mem, t, sizeof *t);
}

static const struct st_stream_ops tee_ops = {tee_fill, NULL, tee_free};

struct st_stream *st_stream_digest(struct st_mem *mem, struct st_stream *inner, struct st_sha256 *d, struct st_err *err)
{
    struct tee *t = st_mem_alloc(mem, sizeof *t, err);
    if (!t) {
        st_stream_free(inner);
        return NULL;
    }
    *t = (struct tee){.s = {.ops = &tee_ops, .end_pos = st_stream_pos(inner)}, .mem = mem, .inner = inner, .sha = d};
    return &t->s;
}
