// Sparse files: the old GNU header, and GNU's pax forms 0.0, 0.1 and 1.0 (GNU tar manual, "Storing Sparse Files").
#include "archive/tar_int.h"

int st_tar_sparse_add(struct st_tar *t, uint64_t off, uint64_t len, struct st_err *err)
{
    if (t->map.len / sizeof(struct st_tar_segment) >= ST_TAR_SPARSE_MAX)
        return st_tar_fail(t, ST_E_LIMIT, "sparse file has more than 65,536 segments", err);
    struct st_tar_segment s = {off, len};
    return st_buf_add(&t->map, st_sv_mem(&s, sizeof s), err);
}

// `n` pairs of 12-byte numbers; an empty one ends the list.
static int pairs(struct st_tar *t, const char *p, size_t n, struct st_err *err)
{
    for (size_t i = 0; i < n; i++, p += 24) {
        uint64_t off, len;
        if (p[0] == '\0')
            return 0;
        if (!st_tar_number(p, 12, &off) || !st_tar_number(p + 12, 12, &len))
            return st_tar_fail(t, ST_E_CORRUPT, "sparse map has a bad number", err);
        if (st_tar_sparse_add(t, off, len, err))
            return -1;
    }
    return 0;
}

enum { OLD_MAP = 386, OLD_MORE = 482, OLD_SIZE = 483, MORE_PAIRS = 21, MORE_MORE = 504 }; // offsets in the blocks

int st_tar_sparse_old(struct st_tar *t, const unsigned char *header, struct st_err *err)
{
    const char *h = (const char *)header;
    t->sparse = true;
    st_buf_clear(&t->map);
    if (!st_tar_number(h + OLD_SIZE, 12, &t->size))
        return st_tar_fail(t, ST_E_CORRUPT, "sparse file has a bad size", err);
    if (pairs(t, h + OLD_MAP, 4, err))
        return -1;
    bool more = h[OLD_MORE] != 0;
    while (more) {
        bool end;
        const unsigned char *b = st_tar_block(t, &end, err);
        if (!b)
            return end ? st_tar_fail(t, ST_E_CORRUPT, "ends early, inside a sparse map", err) : -1;
        more = b[MORE_MORE] != 0;
        if (pairs(t, (const char *)b, MORE_PAIRS, err))
            return -1;
    }
    return 0;
}

struct text {
    struct st_tar *t;
    struct st_sv run;
    uint64_t used;
};

// A decimal number and its newline, from the data.
static int text_number(struct text *x, uint64_t *ret, struct st_err *err)
{
    char digits[24];
    size_t n = 0;
    for (;;) {
        if (x->run.len == 0) {
            int rc = st_tar_stored(x->t, ST_TAR_BLOCK - x->used % ST_TAR_BLOCK, &x->run, err);
            if (rc < 0)
                return -1;
            if (rc == 0)
                return st_tar_fail(x->t, ST_E_CORRUPT, "sparse map is cut short", err);
        }
        char c = x->run.ptr[0];
        x->run = st_sv_from(x->run, 1);
        x->used++;
        if (c == '\n')
            break;
        if (n == sizeof digits)
            return st_tar_fail(x->t, ST_E_CORRUPT, "sparse map has a bad number", err);
        digits[n++] = c;
    }
    if (!st_sv_u64(st_sv_mem(digits, n), 10, ret) || *ret > INT64_MAX)
        return st_tar_fail(x->t, ST_E_CORRUPT, "sparse map has a bad number", err);
    return 0;
}

// 1.0: the map stands before the data, padded to a block.
int st_tar_sparse_text(struct st_tar *t, struct st_err *err)
{
    struct text x = {.t = t};
    uint64_t n, off, len;
    t->sparse = true;
    st_buf_clear(&t->map);
    if (text_number(&x, &n, err))
        return -1;
    for (uint64_t i = 0; i < n; i++)
        if (text_number(&x, &off, err) || text_number(&x, &len, err) || st_tar_sparse_add(t, off, len, err))
            return -1;
    uint64_t pad = -x.used & (ST_TAR_BLOCK - 1);
    pad -= ST_MIN(pad, (uint64_t)x.run.len); // what was taken from the stream with the last digits
    while (pad) {
        int rc = st_tar_stored(t, pad, &x.run, err);
        if (rc < 0)
            return -1;
        if (rc == 0)
            return st_tar_fail(t, ST_E_CORRUPT, "sparse map is cut short", err);
        pad -= x.run.len;
    }
    return 0;
}

// Ascending, inside the file, and as much data as is stored.
int st_tar_sparse_check(struct st_tar *t, struct st_err *err)
{
    const struct st_tar_segment *s = (const struct st_tar_segment *)(const void *)t->map.ptr;
    size_t n = t->map.len / sizeof *s;
    uint64_t end = 0, sum = 0, to;
    for (size_t i = 0; i < n; i++) {
        if (s[i].off < end || st_ckd_add(&to, s[i].off, s[i].len) || to > t->size)
            return st_tar_fail(t, ST_E_CORRUPT, "sparse map does not fit the file", err);
        end = to;
        sum += s[i].len;
    }
    if (sum != t->stored)
        return st_tar_fail(t, ST_E_CORRUPT, "sparse map does not fit the data", err);
    t->segment = 0;
    return 0;
}

int st_tar_sparse_data(struct st_tar *t, struct st_sv *ret, struct st_err *err)
{
    static const char zeros[64 * 1024];
    const struct st_tar_segment *s = (const struct st_tar_segment *)(const void *)t->map.ptr;
    size_t n = t->map.len / sizeof *s;
    while (t->segment < n && t->pos >= s[t->segment].off + s[t->segment].len)
        t->segment++;
    if (t->pos >= t->size)
        return 0;
    uint64_t hole_end = t->segment < n ? s[t->segment].off : t->size;
    if (t->pos < hole_end) {
        size_t len = (size_t)ST_MIN(hole_end - t->pos, (uint64_t)sizeof zeros);
        *ret = st_sv_mem(zeros, len);
        t->pos += len;
        return 1;
    }
    int rc = st_tar_stored(t, s[t->segment].off + s[t->segment].len - t->pos, ret, err);
    if (rc > 0)
        t->pos += ret->len;
    return rc;
}
