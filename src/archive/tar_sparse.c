// Sparse members (GNU tar manual, "Storing Sparse Files"): old GNU format, pax formats 0.0, 0.1 and 1.0.
#include "archive/tar_int.h"

#include "base/ckd.h"

static const char zeros[16 * 1024];

static const struct tar_seg *seg_at(const struct st_tar *t, size_t i)
{
    return (const struct tar_seg *)(const void *)t->segs.ptr + i; // the block is from malloc or mmap
}

static size_t seg_count(const struct st_tar *t)
{
    return t->segs.len / sizeof(struct tar_seg);
}

void tar_sparse_clear(struct st_tar *t)
{
    st_buf_clear(&t->segs);
    t->has_map = t->has_seg_offset = t->sparse = false;
}

int tar_sparse_add(struct st_tar *t, uint64_t offset, uint64_t length, struct st_err *err)
{
    if (seg_count(t) >= ST_TAR_SPARSE_MAX)
        return st_err_set_off(err, ST_E_LIMIT, st_stream_pos(t->in), "tar: sparse file with more than %d segments",
                              ST_TAR_SPARSE_MAX);
    struct tar_seg s = {offset, length};
    return st_buf_add(&t->segs, st_sv_mem(&s, sizeof s), err);
}

// 1: more may follow, 0: the list ends here.
static int add_gnu(struct st_tar *t, const struct tar_gnu_seg *segs, size_t n, struct st_err *err)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t offset, length;
        if (segs[i].offset[0] == '\0')
            return 0;
        if (!tar_number(segs[i].offset, sizeof segs[i].offset, &offset) ||
            !tar_number(segs[i].length, sizeof segs[i].length, &length))
            return tar_corrupt(t, "bad number in sparse map", err);
        if (tar_sparse_add(t, offset, length, err))
            return -1;
    }
    return 1;
}

int tar_sparse_gnu(struct st_tar *t, const struct tar_gnu_header *h, struct st_err *err)
{
    bool more = h->is_extended != 0;
    if (add_gnu(t, h->segs, TAR_GNU_SEGS, err) < 0)
        return -1;
    while (more) {
        const unsigned char *b;
        int r = tar_block(t, &b, err);
        if (r <= 0)
            return r < 0 ? -1 : tar_ends_early(t, err);
        const struct tar_gnu_more *m = (const struct tar_gnu_more *)b;
        r = add_gnu(t, m->segs, TAR_GNU_MORE, err);
        if (r < 0)
            return -1;
        more = m->is_extended != 0;
        if (more && r == 0)
            return tar_corrupt(t, "sparse map goes on behind its end", err);
    }
    return 0;
}

// A decimal number and its newline from the data.
static int map_number(struct st_tar *t, uint64_t *ret, struct st_err *err)
{
    uint64_t v = 0;
    for (unsigned digits = 0;; digits++) {
        if (st_stream_pos(t->in) >= t->raw_end)
            return tar_corrupt(t, "sparse map does not end", err);
        int r = st_stream_fill(t->in, err);
        if (r <= 0)
            return r < 0 ? -1 : tar_ends_early(t, err);
        unsigned char c = *t->in->cur++;
        if (c == '\n' && digits > 0) {
            *ret = v;
            return 0;
        }
        if (c < '0' || c > '9' || st_ckd_mul(&v, v, (uint64_t)10) || st_ckd_add(&v, v, (uint64_t)(c - '0')))
            return tar_corrupt(t, "bad number in sparse map", err);
    }
}

int tar_sparse_map(struct st_tar *t, struct st_err *err)
{
    uint64_t start = st_stream_pos(t->in), n, offset, length;
    tar_sparse_clear(t);
    if (map_number(t, &n, err))
        return -1;
    for (; n; n--)
        if (map_number(t, &offset, err) || map_number(t, &length, err) || tar_sparse_add(t, offset, length, err))
            return -1;
    uint64_t pad = (start - st_stream_pos(t->in)) & (TAR_BLOCK - 1);
    if (pad > t->raw_end - st_stream_pos(t->in))
        return tar_corrupt(t, "sparse map does not end", err);
    int64_t r = st_stream_skip(t->in, pad, err);
    return r < 0 ? -1 : (uint64_t)r < pad ? tar_ends_early(t, err) : 0;
}

int tar_sparse_begin(struct st_tar *t, uint64_t size, struct st_err *err)
{
    uint64_t end = 0, stored = 0, there = t->raw_end - st_stream_pos(t->in);
    for (size_t i = 0; i < seg_count(t); i++) {
        const struct tar_seg *s = seg_at(t, i);
        if (s->offset < end || st_ckd_add(&end, s->offset, s->length) || end > size)
            return tar_corrupt(t, "sparse map out of order or beyond the file's size", err);
        stored += s->length; // no more than end
    }
    if (stored > there)
        return tar_corrupt(t, "sparse map claims more data than there is", err);
    t->sparse = true;
    t->size = size;
    t->logical = t->seg = 0;
    return 0;
}

int tar_sparse_data(struct st_tar *t, struct st_sv *ret, struct st_err *err)
{
    size_t n = seg_count(t);
    while (t->seg < n && seg_at(t, t->seg)->offset + seg_at(t, t->seg)->length <= t->logical)
        t->seg++;
    const struct tar_seg *s = t->seg < n ? seg_at(t, t->seg) : NULL;
    if (s && s->offset <= t->logical) {
        int r = tar_raw_data(t, s->offset + s->length - t->logical, ret, err);
        if (r > 0)
            t->logical += ret->len;
        return r;
    }
    uint64_t hole = (s ? s->offset : t->size) - t->logical;
    if (hole == 0)
        return 0;
    *ret = st_sv_mem(zeros, (size_t)ST_MIN(hole, (uint64_t)sizeof zeros));
    t->logical += ret->len;
    return 1;
}
