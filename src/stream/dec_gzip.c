// gzip (RFC 1952) and deflate buffers through ISA-L. The member header is parsed here: ISA-L 2.30 forgets the header's
// flags when a header with a name crosses the end of its input.
#include "stream/stream_int.h"

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>

// Measured on layers of many small and of large files (CPU, against 256 KiB): 64 KiB 1.03, 128 KiB 1.015, 512
// KiB 1.005; below, ISA-L's copy of 32 KiB of history on each call shows, above, the second-level cache (1 MiB) does.
#define OUT_SIZE (256 * 1024)
#define CACHE_LINE 64

enum { FLAG_HCRC = 2, FLAG_EXTRA = 4, FLAG_NAME = 8, FLAG_COMMENT = 16, FLAG_RESERVED = 0xe0 };
enum state { HEAD, BODY, END, BROKEN };

#define PLACE_STEP (4 * 1024 * 1024) // decoded bytes between two places

struct st_place {
    struct st_mem *mem;
    bool held;
    uint64_t in, out; // positions in the compressed and in the decoded stream
    enum state state;
    uint64_t members;
    struct inflate_state z; // holds its own history and pending input; no pointer in it outlives a call
};

struct gzip {
    struct st_stream s;
    struct st_place *place; // borrowed; NULL: nobody wants one
    struct st_mem *mem;
    struct st_stream *inner; // owns
    enum state state;
    uint64_t members;
    uint32_t head_crc;
    struct inflate_state z;
    unsigned char *out; // into room, at a cache line: headers of tar are looked at there
    unsigned char room[OUT_SIZE + CACHE_LINE];
};

static int ends_early(const struct gzip *g, struct st_err *err)
{
    return st_err_set_off(err, ST_E_CORRUPT, st_stream_pos(g->inner), ST_DEC_EARLY, "gzip");
}

static int damaged(const struct gzip *g, const char *what, struct st_err *err)
{
    return st_err_set_off(err, ST_E_CORRUPT, st_stream_pos(g->inner), "gzip stream is damaged: %s", what);
}

// Next byte of a member header.
static int head_byte(struct gzip *g, struct st_err *err)
{
    int r = st_stream_fill(g->inner, err);
    if (r <= 0)
        return r < 0 ? -1 : ends_early(g, err);
    g->head_crc = crc32_gzip_refl(g->head_crc, g->inner->cur, 1);
    return *g->inner->cur++;
}

static int head_number(struct gzip *g, unsigned bytes, struct st_err *err)
{
    int v = 0;
    for (unsigned i = 0; i < bytes; i++) {
        int b = head_byte(g, err);
        if (b < 0)
            return -1;
        v |= b << (8 * i);
    }
    return v;
}

static int head_string(struct gzip *g, struct st_err *err)
{
    int b;
    do
        b = head_byte(g, err);
    while (b > 0);
    return b;
}

// The optional fields in the order of RFC 1952, 2.3.
static int head_fields(struct gzip *g, int flags, struct st_err *err)
{
    if (flags & FLAG_EXTRA) {
        int n = head_number(g, 2, err);
        if (n < 0)
            return -1;
        while (n-- > 0)
            if (head_byte(g, err) < 0)
                return -1;
    }
    if ((flags & FLAG_NAME) && head_string(g, err) < 0)
        return -1;
    if ((flags & FLAG_COMMENT) && head_string(g, err) < 0)
        return -1;
    if (flags & FLAG_HCRC) {
        int want = (int)(g->head_crc & 0xffff), got = head_number(g, 2, err);
        if (got < 0)
            return -1;
        if (got != want)
            return damaged(g, "wrong header checksum", err);
    }
    return 0;
}

// 1: at a member; 0: end of the stream, zeros behind the last member passed over.
static int at_member(struct gzip *g, struct st_err *err)
{
    for (bool zeros = false;; zeros = true) {
        int r = st_stream_fill(g->inner, err);
        if (r < 0)
            return -1;
        if (r == 0)
            return g->members ? 0 : ends_early(g, err);
        if (!zeros && *g->inner->cur == 0x1f)
            return 1;
        if (g->members == 0)
            return damaged(g, "no gzip header", err);
        while (g->inner->cur < g->inner->end)
            if (*g->inner->cur++ != 0)
                return damaged(g, "other bytes behind its end", err);
    }
}

static int begin_member(struct gzip *g, struct st_err *err)
{
    int r = at_member(g, err);
    if (r <= 0) {
        g->state = END;
        return r;
    }
    g->head_crc = 0;
    int magic = head_number(g, 2, err), method = magic < 0 ? -1 : head_byte(g, err);
    int flags = method < 0 ? -1 : head_byte(g, err);
    if (flags < 0)
        return -1;
    if (magic != 0x8b1f)
        return damaged(g, g->members ? "other bytes behind its end" : "no gzip header", err);
    if (method != 8 || (flags & FLAG_RESERVED))
        return damaged(g, "unknown method or flags", err);
    for (int i = 0; i < 6; i++) // time, extra flags, system
        if (head_byte(g, err) < 0)
            return -1;
    if (head_fields(g, flags, err))
        return -1;
    isal_inflate_reset(&g->z);
    g->z.crc_flag = ISAL_GZIP_NO_HDR_VER; // only the trailer is left to ISA-L
    g->z.crc = 0;
    g->state = BODY;
    return 0;
}

static const char *fault(int rc)
{
    return rc == ISAL_INCORRECT_CHECKSUM ? "wrong checksum or length"
           : rc == ISAL_INVALID_LOOKBACK ? "invalid distance"
           : rc == ISAL_INVALID_SYMBOL   ? "invalid symbol"
                                         : "invalid block";
}

static int body(struct gzip *g, struct st_err *err)
{
    int r = st_stream_fill(g->inner, err);
    if (r < 0)
        return -1;
    uint32_t room = g->z.avail_out;
    g->z.next_in = (uint8_t *)g->inner->cur;
    g->z.avail_in = (uint32_t)ST_MIN((size_t)(g->inner->end - g->inner->cur), (size_t)UINT32_MAX);
    int rc = isal_inflate(&g->z);
    g->inner->cur = g->z.next_in;
    if (rc != ISAL_DECOMP_OK && rc != ISAL_END_INPUT && rc != ISAL_OUT_OVERFLOW)
        return damaged(g, fault(rc), err);
    if (g->z.block_state == ISAL_BLOCK_FINISH) {
        g->members++;
        g->state = HEAD;
    } else if (r == 0 && g->z.avail_out == room) {
        return ends_early(g, err); // no input left and nothing held back
    }
    return 0;
}

static void note_place(const struct gzip *g, struct st_place *p)
{
    p->in = st_stream_pos(g->inner);
    p->out = g->s.end_pos;
    p->state = g->state;
    p->members = g->members;
    p->z = g->z;
}

static int gzip_fill(struct st_stream *s, struct st_err *err)
{
    struct gzip *g = (struct gzip *)s;
    if (g->state == BROKEN)
        return st_err_set(err, ST_E_CORRUPT, ST_DEC_BROKEN, "gzip");
    if (g->place && !g->place->held && s->end_pos - g->place->out >= PLACE_STEP)
        note_place(g, g->place);
    g->z.next_out = g->out;
    g->z.avail_out = OUT_SIZE;
    while (g->z.avail_out > 0 && g->state != END)
        if (g->state == HEAD ? begin_member(g, err) : body(g, err)) {
            g->state = BROKEN;
            return -1;
        }
    s->cur = g->out;
    s->end = g->z.next_out;
    s->end_pos += (uint64_t)(s->end - s->cur);
    return s->cur < s->end;
}

static void gzip_free(struct st_stream *s)
{
    struct gzip *g = (struct gzip *)s;
    st_stream_free(g->inner);
    st_mem_free(g->mem, g, sizeof *g);
}

void st_gzip_again(struct st_stream *s, struct st_stream *inner)
{
    struct gzip *g = (struct gzip *)s;
    st_stream_free(g->inner);
    g->inner = inner;
    g->state = HEAD;
    g->members = 0;
    s->cur = s->end = g->out;
    s->end_pos = 0;
}

static const struct st_stream_ops gzip_ops = {gzip_fill, NULL, gzip_free};

struct st_stream *st_gzip_new(struct st_mem *mem, struct st_stream *inner, struct st_err *err)
{
    struct gzip *g = st_mem_alloc(mem, sizeof *g, err);
    if (!g)
        return NULL;
    g->s.ops = &gzip_ops;
    g->mem = mem;
    g->inner = inner;
    g->out = g->room + (-(uintptr_t)g->room & (CACHE_LINE - 1));
    isal_inflate_init(&g->z);
    return &g->s;
}

// ---- a place to go on from ------------------------------------------------------------------------------

struct st_place *st_place_new(struct st_mem *mem, struct st_err *err)
{
    struct st_place *p = st_mem_alloc(mem, sizeof *p, err);
    if (p)
        p->mem = mem;
    return p;
}

void st_place_free(struct st_place *p)
{
    if (p)
        st_mem_free(p->mem, p, sizeof *p);
}

void st_place_follow(struct st_place *p, struct st_stream *gzip)
{
    struct gzip *g = (struct gzip *)gzip;
    if (gzip->ops != &gzip_ops)
        return;
    note_place(g, p);
    g->place = p;
}

void st_place_hold(struct st_place *p, bool hold)
{
    p->held = hold;
}

uint64_t st_place_pos(const struct st_place *p)
{
    return p->out;
}

struct st_stream *st_place_resume(const struct st_place *p, struct st_mem *mem, struct st_stream *raw,
                                  struct st_err *err)
{
    struct st_stream *s = NULL;
    int64_t n = st_stream_skip(raw, p->in, err);
    if (n >= 0 && (uint64_t)n < p->in)
        st_err_set(err, ST_E_CORRUPT, "the stream is shorter than it was");
    else if (n >= 0)
        s = st_gzip_new(mem, raw, err);
    if (!s) {
        st_stream_free(raw);
        return NULL;
    }
    struct gzip *g = (struct gzip *)s;
    g->z = p->z;
    g->state = p->state;
    g->members = p->members;
    s->end_pos = p->out;
    return s;
}

// ---- one buffer -----------------------------------------------------------------------------------------

#define INFLATE_STEP (64 * 1024)
#define INFLATE_TRIM (1024 * 1024) // made at once, and between two trims once there is a spill file

static int inflate_all(struct inflate_state *z, struct st_sv in, uint64_t max, struct st_buf *out, struct st_err *err)
{
    uint64_t made = 0;
    size_t used = 0;
    for (;;) {
        if (made == max) // one byte more than allowed, to tell a full stream from one that goes on
            if (st_buf_reserve(out, 1, err))
                return -1;
        if (made < max && out->cap - out->len < INFLATE_STEP / 4)
            if (st_buf_reserve(out, (size_t)ST_MIN(max - made, (uint64_t)INFLATE_STEP), err))
                return -1;
        uint64_t room = ST_MIN((uint64_t)(out->cap - out->len), max - made + 1);
        uint32_t give = (uint32_t)ST_MIN(room, (uint64_t)INFLATE_TRIM);
        z->next_out = (uint8_t *)out->ptr + out->len;
        z->avail_out = give;
        z->next_in = (uint8_t *)(in.len ? in.ptr : "") + used;
        z->avail_in = (uint32_t)ST_MIN(in.len - used, (size_t)UINT32_MAX);
        uint32_t fed = z->avail_in;
        int rc = isal_inflate(z);
        if (st_mem_spilled(out->mem) && made / INFLATE_TRIM != (made + give - z->avail_out) / INFLATE_TRIM)
            st_mem_trim(out->mem);
        used += fed - z->avail_in;
        made += give - z->avail_out;
        out->len += give - z->avail_out;
        if (made > max)
            return st_err_set_off(err, ST_E_LIMIT, used, "deflate data is larger than its limit");
        if (rc != ISAL_DECOMP_OK && rc != ISAL_END_INPUT && rc != ISAL_OUT_OVERFLOW)
            return st_err_set_off(err, ST_E_FORMAT, used, "deflate data is damaged: %s", fault(rc));
        if (z->block_state == ISAL_BLOCK_FINISH)
            return 0;
        if (used == in.len && z->avail_out == give)
            return st_err_set_off(err, ST_E_FORMAT, used, "deflate data ends early");
    }
}

int st_inflate(struct st_sv in, enum st_deflate_wrap wrap, uint64_t max, struct st_buf *out, struct st_err *err)
{
    // Not zeroed: 87 KiB for every member of a zip would cost more than unpacking a small one.
    struct inflate_state *z = st_mem_resize(out->mem, NULL, 0, sizeof *z, err);
    if (!z)
        return -1;
    isal_inflate_init(z);
    z->crc_flag = wrap == ST_DEFLATE_ZLIB ? ISAL_ZLIB : ISAL_DEFLATE;
    size_t before = out->len;
    int rc = inflate_all(z, in, ST_MIN(max, (uint64_t)INT64_MAX), out, err);
    if (rc)
        out->len = before;
    st_mem_free(out->mem, z, sizeof *z);
    return rc;
}
