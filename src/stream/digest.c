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
};

static int digest_fill(struct st_stream *s, struct st_err *err)
{
    struct digest *d = (struct digest *)s;
    int r = st_stream_fill(d->inner, err);
    if (r <= 0)
        return r;
    st_stream_pass(s, d->inner);
    SHA256_Update(&d->sha->ctx, s->cur, (size_t)(s->end - s->cur));
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

// ---- what was consumed

struct consumed {
    struct st_stream s;
    struct st_mem *mem;
    struct st_stream *inner;   // owns
    const unsigned char *from; // not hashed yet from here on
    SHA256_CTX ctx;
};

static int consumed_fill(struct st_stream *s, struct st_err *err)
{
    struct consumed *c = (struct consumed *)s;
    if (s->end != c->from)
        SHA256_Update(&c->ctx, c->from, (size_t)(s->end - c->from));
    c->from = s->end;
    int r = st_stream_fill(c->inner, err);
    if (r <= 0)
        return r;
    st_stream_pass(s, c->inner);
    c->from = s->cur;
    return 1;
}

static void consumed_free(struct st_stream *s)
{
    struct consumed *c = (struct consumed *)s;
    st_stream_free(c->inner);
    st_mem_free(c->mem, c, sizeof *c);
}

static const struct st_stream_ops consumed_ops = {consumed_fill, NULL, consumed_free};

struct st_stream *st_stream_consumed(struct st_mem *mem, struct st_stream *inner, struct st_err *err)
{
    struct consumed *c = st_mem_alloc(mem, sizeof *c, err);
    if (!c) {
        st_stream_free(inner);
        return NULL;
    }
    *c = (struct consumed){.s = {.ops = &consumed_ops, .end_pos = st_stream_pos(inner)}, .mem = mem, .inner = inner};
    SHA256_Init(&c->ctx);
    return &c->s;
}

void st_stream_consumed_hex(const struct st_stream *s, char ret[static ST_DIGEST_HEX + 1])
{
    const struct consumed *c = (const struct consumed *)s;
    SHA256_CTX ctx = c->ctx;
    if (s->cur != c->from)
        SHA256_Update(&ctx, c->from, (size_t)(s->cur - c->from));
    final_hex(&ctx, ret);
}
