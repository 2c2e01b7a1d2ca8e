// SHA-256 through libcrypto's low-level calls. They are marked deprecated in OpenSSL 3, and yet the right ones here:
// EVP sets up providers first, measured (OpenSSL 3.0.22, static, one process per layer in mind) as 1.4 ms of CPU and
// 2,980 KiB of private memory per process and 4.2 MiB of program text, for the same 1.7 GB/s with SHA extensions.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "stream/stream_int.h"

#include <openssl/sha.h>

struct st_sha256 {
    struct st_mem *mem;
    SHA256_CTX ctx;
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

static void final_hex(SHA256_CTX *ctx, char ret[static ST_DIGEST_HEX + 1])
{
    unsigned char md[SHA256_DIGEST_LENGTH];
    SHA256_Final(md, ctx);
    for (size_t i = 0; i < sizeof md; i++) {
        ret[2 * i] = "0123456789abcdef"[md[i] >> 4];
        ret[2 * i + 1] = "0123456789abcdef"[md[i] & 15];
    }
    ret[ST_DIGEST_HEX] = '\0';
}

void st_sha256_hex(struct st_sha256 *d, char ret[static ST_DIGEST_HEX + 1])
{
    final_hex(&d->ctx, ret);
}

void st_sha256_free(struct st_sha256 *d)
{
    if (d)
        st_mem_free(d->mem, d, sizeof *d);
}

struct digest {
    struct st_stream s;
    struct st_mem *mem;
    struct st_stream *inner; // owns
    struct st_sha256 *sha;   // borrowed
    uint64_t mark;           // 0: none
    bool marked;
    SHA256_CTX at_mark;
};

static int digest_fill(struct st_stream *s, struct st_err *err)
{
    struct digest *d = (struct digest *)s;
    int r = st_stream_fill(d->inner, err);
    if (r <= 0)
        return r;
    st_stream_pass(s, d->inner);
    size_t n = (size_t)(s->end - s->cur), before = 0;
    if (d->mark && !d->marked && s->end_pos >= d->mark) {
        before = n - (size_t)(s->end_pos - d->mark);
        SHA256_Update(&d->sha->ctx, s->cur, before);
        d->at_mark = d->sha->ctx;
        d->marked = true;
    }
    SHA256_Update(&d->sha->ctx, s->cur + before, n - before);
    return 1;
}

static void digest_free(struct st_stream *s)
{
    struct digest *d = (struct digest *)s;
    st_stream_free(d->inner);
    st_mem_free(d->mem, d, sizeof *d);
}

static const struct st_stream_ops digest_ops = {digest_fill, NULL, digest_free};

struct st_stream *st_stream_digest(struct st_mem *mem, struct st_stream *inner, struct st_sha256 *sha,
                                   struct st_err *err)
{
    struct digest *d = st_mem_alloc(mem, sizeof *d, err);
    if (!d) {
        st_stream_free(inner);
        return NULL;
    }
    *d = (struct digest){
        .s = {.ops = &digest_ops, .end_pos = st_stream_pos(inner)}, .mem = mem, .inner = inner, .sha = sha};
    return &d->s;
}

void st_stream_digest_mark(struct st_stream *s, uint64_t pos)
{
    ((struct digest *)s)->mark = pos;
}

bool st_stream_digest_marked(const struct st_stream *s, char ret[static ST_DIGEST_HEX + 1])
{
    const struct digest *d = (const struct digest *)s;
    SHA256_CTX ctx = d->at_mark;
    if (!d->marked)
        return false;
    final_hex(&ctx, ret);
    return true;
}

uint64_t st_stream_digest_now(const struct st_stream *s, char ret[static ST_DIGEST_HEX + 1])
{
    const struct digest *d = (const struct digest *)s;
    SHA256_CTX ctx = d->sha->ctx;
    final_hex(&ctx, ret);
    return s->end_pos;
}
