// A layer read by its table of contents (archive/toc.h) instead of its tar stream: the same entries in the same order,
// with the bytes of those files that a cataloger may want. docs/adr/0014 has what is trusted and why.
//
// A file's first bytes tell whether it is an executable, and a chunk can only be verified whole: so the first chunk of
// every file is read, all chunks of a file whose name is wanted, and of an executable those that its plan names. What
// is known from the table alone is asked for ahead, in order; the rest when it is needed. Bytes are handed out before
// their chunk is at its end; every chunk that was begun is read to its end and verified before the layer is done, and
// with one that does not fit all that was made of the layer is thrown away.
#include "base/ckd.h"
#include "scan/layer_int.h"

#include <stdio.h>

#define INDEX_HEAD ST_PLAN_HEAD // bytes of eStargz's table that are kept as those of a file

struct run {
    uint64_t from, to;
};

// A range of the blob that was asked for; raw is NULL: none.
struct window {
    struct st_stream *raw; // owns
    uint64_t from, to;
};

struct layer_lazy {
    struct st_mem *mem;
    const struct st_layer_source *src; // borrowed
    uint64_t length;                   // of the blob
    uint64_t asked;                    // bytes of it
    struct st_toc *toc;                // owns
    enum st_codec codec;
    // What is asked for ahead.
    struct st_buf runs_buf;
    const struct run *runs;
    size_t n_runs, run;                     // run: the first that is not behind us
    struct window ahead[1 + ST_LAZY_AHEAD]; // run i is in ahead[i % n]
    size_t opened;                          // runs before this were asked for
    struct window extra;                    // asked for when it was needed
    bool all_extra;                         // the second pass
    // The decoder, and the member that it stands in.
    struct st_stream *decoder; // owns; NULL: not made yet
    const struct window *of;   // that it reads from; NULL: it stands nowhere
    uint64_t member;           // offset in the blob
    // The file in hand.
    size_t next; // index of the file behind it
    const struct st_toc_file *file;
    uint64_t pos, want;              // in the file: where its data was read to; up to where it will be wanted
    size_t chunk;                    // at pos, or behind the one that is open
    const struct st_toc_chunk *open; // NULL: none
    uint64_t left;                   // bytes of it
    struct st_sha256 *sha;
    // eStargz: its table is the last file of the tar.
    bool has_index, at_index;
    struct st_tar_entry index;
    char index_head[INDEX_HEAD];
};

// ---- asking for parts of the blob -----------------------------------------------------------------------------------

static void window_close(struct layer_lazy *z, struct window *w)
{
    if (z->of == w)
        z->of = NULL;
    st_stream_free(w->raw);
    w->raw = NULL;
}

static int window_open(struct layer_lazy *z, struct window *w, uint64_t from, uint64_t to, struct st_err *err)
{
    window_close(z, w);
    if (from >= to || to > z->length)
        return st_err_set(err, ST_E_FORMAT, "the table of contents names bytes behind the blob's end");
    if (z->src->range(z->src->ctx, from, to, &w->raw, err))
        return -1;
    w->from = from;
    w->to = to;
    z->asked += to - from;
    return 0;
}

static uint64_t window_pos(const struct window *w)
{
    return w->from + st_stream_pos(w->raw);
}

// Whole, into `b`.
static int read_part(struct layer_lazy *z, uint64_t from, uint64_t to, struct st_buf *b, struct st_err *err)
{
    struct window w = {NULL, 0, 0};
    if (st_buf_reserve(b, (size_t)(to - from), err) || window_open(z, &w, from, to, err))
        return -1;
    int64_t n = st_stream_read(w.raw, b->ptr + b->len, (size_t)(to - from), err);
    window_close(z, &w);
    if (n >= 0 && (uint64_t)n < to - from)
        return st_err_set(err, ST_E_CORRUPT, "no bytes of a part of the blob");
    b->len += n > 0 ? (size_t)n : 0;
    return n < 0 ? -1 : 0;
}

// ---- the table ------------------------------------------------------------------------------------------------------

static int check_table(const struct st_toc_place *p, struct st_sha256 *sha, struct st_err *err)
{
    char hex[ST_DIGEST_HEX + 1];
    st_sha256_hex(sha, hex);
    return strcmp(hex, p->digest) == 0
               ? 0
               : st_err_set(err, ST_E_CORRUPT, "the table of contents is not the one that the manifest names");
}

// eStargz: the JSON out of the tar member that begins the stream; what follows it must be the end.
static int read_index(struct layer_lazy *z, struct st_stream *in, struct st_sha256 *sha, struct st_buf *json,
                      struct st_err *err)
{
    struct st_tar_entry e = {0};
    struct st_sv run;
    struct st_tar *tar = st_tar_new(z->mem, in, err);
    int rc = tar ? 1 : -1;
    if (tar) {
        st_tar_as_runtime(tar);
        rc = st_tar_next(tar, &e, err);
    }
    if (rc >= 0 &&
        (rc == 0 || e.type != ST_TAR_FILE || !st_sv_eq(e.path, ST_SV(ST_TOC_NAME)) || e.size > ST_TOC_BYTES_MAX))
        rc = st_err_set(err, ST_E_FORMAT, "no table of contents, or one that is too large");
    if (rc > 0) {
        z->has_index = true;
        z->index =
            (struct st_tar_entry){.path = ST_SV(ST_TOC_NAME), .type = ST_TAR_FILE, .mode = e.mode, .size = e.size};
    }
    while (rc > 0 && (rc = st_tar_data(tar, &run, err)) > 0) {
        st_sha256_add(sha, run.ptr, run.len);
        rc = st_buf_add(json, run, err) ? -1 : 1;
    }
    if (rc == 0 && (rc = st_tar_next(tar, &e, err)) > 0)
        rc = st_err_set(err, ST_E_FORMAT, "there are files behind the table of contents");
    st_tar_free(tar);
    return rc;
}

// The end of the blob has the footer, and most often the table too.
static int estargz_tail(struct layer_lazy *z, struct st_buf *tail, uint64_t *ret_offset, struct st_err *err)
{
    uint64_t size = ST_MIN(ST_MAX(z->length / 64, 64u << 10), (uint64_t)ST_LAZY_TAIL_MAX);
    size = ST_MIN(size, z->length);
    if (read_part(z, z->length - size, z->length, tail, err))
        return -1;
    struct st_sv footer = st_sv_from(st_buf_sv(tail), tail->len - ST_MIN(tail->len, (size_t)ST_TOC_FOOTER));
    if (!st_toc_footer(footer, ret_offset) || *ret_offset >= z->length - ST_TOC_FOOTER)
        return st_err_set(err, ST_E_FORMAT, "the blob has no footer of eStargz");
    if (*ret_offset >= z->length - size)
        return 0;
    st_buf_clear(tail);
    if (z->length - *ret_offset > ST_TOC_BYTES_MAX)
        return st_err_set(err, ST_E_LIMIT, "its table of contents is too large");
    return read_part(z, *ret_offset, z->length, tail, err);
}

static int estargz_table(struct layer_lazy *z, const struct st_toc_place *p, struct st_sha256 *sha, struct st_buf *json,
                         uint64_t *ret_end, struct st_err *err)
{
    struct st_buf tail;
    st_buf_init(&tail, z->mem);
    int rc = estargz_tail(z, &tail, ret_end, err);
    struct st_stream *in = NULL;
    if (rc == 0) {
        size_t table = (size_t)(z->length - *ret_end);
        in = st_stream_memory(z->mem, st_sv_from(st_buf_sv(&tail), tail.len - table), err);
        in = in ? st_stream_decode(z->mem, in, ST_CODEC_GZIP, err) : NULL;
        rc = in ? read_index(z, in, sha, json, err) : -1;
    }
    st_stream_free(in);
    st_buf_release(&tail);
    return rc ? -1 : check_table(p, sha, err);
}

static int zstd_table(struct layer_lazy *z, const struct st_toc_place *p, struct st_sha256 *sha, struct st_buf *json,
                      struct st_err *err)
{
    struct window w = {NULL, 0, 0};
    if (p->unpacked > ST_TOC_BYTES_MAX || p->length > ST_TOC_BYTES_MAX)
        return st_err_set(err, ST_E_LIMIT, "its table of contents is too large");
    if (window_open(z, &w, p->offset, p->offset + p->length, err))
        return -1;
    struct st_stream *tee = st_stream_digest(z->mem, w.raw, sha, err);
    struct st_stream *in = tee ? st_stream_decode(z->mem, tee, ST_CODEC_ZSTD, err) : NULL;
    int rc = in ? st_buf_reserve(json, (size_t)p->unpacked, err) : -1;
    int64_t n = rc ? -1 : st_stream_read(in, json->ptr, (size_t)p->unpacked, err);
    json->len = n > 0 ? (size_t)n : 0;
    rc = n < 0 ? -1 : st_stream_fill(in, err);
    if (rc > 0 || (rc == 0 && (uint64_t)n != p->unpacked))
        rc = st_err_set(err, ST_E_FORMAT, "the table of contents is of another size than its manifest says");
    st_stream_free(in);
    return rc ? -1 : check_table(p, sha, err);
}

static int read_table(struct layer_lazy *z, const struct st_toc_place *p, struct st_err *err)
{
    struct st_buf json;
    struct st_sha256 *sha = st_sha256_new(z->mem, err);
    uint64_t end = p->offset;
    st_buf_init(&json, z->mem);
    int rc = !sha                        ? -1
             : p->kind == ST_TOC_ESTARGZ ? estargz_table(z, p, sha, &json, &end, err)
                                         : zstd_table(z, p, sha, &json, err);
    if (rc == 0) {
        if (json.len)
            memcpy(z->index_head, json.ptr, ST_MIN(json.len, sizeof z->index_head));
        rc = st_toc_parse(z->mem, p->kind, st_buf_sv(&json), end, &z->toc, err);
    }
    st_sha256_free(sha);
    st_buf_release(&json);
    return rc;
}

// ---- the plan -------------------------------------------------------------------------------------------------------

static int plan_range(struct layer_lazy *z, uint64_t from, uint64_t to, struct st_err *err)
{
    struct run r = {from, to}, *last = z->n_runs ? (struct run *)(void *)z->runs_buf.ptr + z->n_runs - 1 : NULL;
    if (last && from < last->to + ST_LAZY_GAP) {
        last->to = ST_MAX(last->to, to);
        return 0;
    }
    z->n_runs++;
    return st_buf_add(&z->runs_buf, st_sv_mem(&r, sizeof r), err);
}

// Is all of the file wanted, as far as its name and mode tell? That an executable is one is a guess: a wrong one costs
// bytes or a request, nothing else.
static bool all_wanted(const struct layer_scan *s, const struct st_toc_file *f)
{
    uint8_t want[LAYER_WANT_MAX];
    size_t n = st_classify(s->opt->classifier, f->path, want, LAYER_WANT_MAX);
    bool sparse = true, any = false;
    for (size_t i = 0; i < n; i++) {
        const struct st_cataloger *c = st_catalogers[want[i]];
        if (c->need == ST_NEED_NAME || f->size > c->max_size)
            continue;
        any = true;
        sparse &= c->need == ST_NEED_SPARSE;
    }
    if (any)
        return !sparse || f->size <= LAYER_SPARSE_WHOLE;
    bool program = (f->mode & 0111) || st_sv_search(st_sv_basename(f->path), ST_SV(".so")) != ST_SV_NPOS;
    return program && f->size <= LAYER_SPARSE_WHOLE;
}

static int plan(struct layer_scan *s, struct layer_lazy *z, struct st_err *err)
{
    for (size_t i = 0; i < z->toc->n_files; i++) {
        const struct st_toc_file *f = &z->toc->files[i];
        size_t n = f->n > 1 && all_wanted(s, f) ? f->n : ST_MIN(f->n, (size_t)1);
        for (size_t k = 0; k < n; k++) {
            const struct st_toc_chunk *c = &z->toc->chunks[f->first + k];
            if (!c->zeros && plan_range(z, c->offset, c->end, err))
                return -1;
        }
    }
    uint64_t sum = z->asked;
    z->runs = (const struct run *)(const void *)z->runs_buf.ptr;
    for (size_t i = 0; i < z->n_runs; i++)
        sum += z->runs[i].to - z->runs[i].from;
    if (sum > z->length * ST_LAZY_SHARE)
        return st_err_set(err, ST_E_LIMIT, "%llu of its %llu bytes are wanted", (unsigned long long)sum,
                          (unsigned long long)z->length);
    return 0;
}

int layer_lazy_open(struct layer_scan *s, const struct st_layer_source *src, struct st_err *err)
{
    const struct st_toc_place *p = s->opt->toc;
    struct layer_lazy *z = st_mem_alloc(s->mem, sizeof *z, err);
    if (!z)
        return -1;
    s->lazy = z;
    z->mem = s->mem;
    z->src = src;
    z->length = s->opt->length;
    z->codec = p->kind == ST_TOC_ESTARGZ ? ST_CODEC_GZIP : ST_CODEC_ZSTD;
    st_buf_init(&z->runs_buf, s->mem);
    if (z->length < ST_LAZY_BLOB_MIN)
        return st_err_set(err, ST_E_LIMIT, "it is small");
    return read_table(z, p, err) || plan(s, z, err) ? -1 : 0;
}

void layer_lazy_close(struct layer_scan *s)
{
    struct layer_lazy *z = s->lazy;
    if (!z)
        return;
    st_stream_free(z->decoder);
    for (size_t i = 0; i < ST_LEN(z->ahead); i++)
        window_close(z, &z->ahead[i]);
    window_close(z, &z->extra);
    st_sha256_free(z->sha);
    st_buf_release(&z->runs_buf);
    st_toc_free(z->toc);
    st_mem_free(z->mem, z, sizeof *z);
    s->lazy = NULL;
}

void layer_lazy_again(struct layer_lazy *z)
{
    for (size_t i = 0; i < ST_LEN(z->ahead); i++)
        window_close(z, &z->ahead[i]);
    z->run = z->opened = z->n_runs;
    z->all_extra = true;
    z->next = 0;
    z->file = NULL;
    z->at_index = false;
}

uint64_t layer_lazy_asked(const struct layer_lazy *z)
{
    return z->asked;
}

// ---- chunks ---------------------------------------------------------------------------------------------------------

// The window that has the bytes from `offset` to `end` before it, if they were asked for ahead: 1, 0, -1.
static int find_ahead(struct layer_lazy *z, uint64_t offset, uint64_t end, struct window **ret, struct st_err *err)
{
    const size_t n = ST_LEN(z->ahead);
    while (z->run < z->n_runs && z->runs[z->run].to <= offset) {
        window_close(z, &z->ahead[z->run % n]);
        z->run++;
    }
    z->opened = ST_MAX(z->opened, z->run);
    for (; z->opened < z->n_runs && z->opened < z->run + n; z->opened++) {
        const struct run *r = &z->runs[z->opened];
        if (window_open(z, &z->ahead[z->opened % n], r->from, r->to, err))
            return -1;
    }
    if (z->run == z->n_runs)
        return 0;
    *ret = &z->ahead[z->run % n];
    return (*ret)->raw && (*ret)->from <= offset && end <= (*ret)->to && window_pos(*ret) <= offset;
}

// Where the bytes end that are wanted of the file from chunk c on.
static uint64_t extra_end(const struct layer_lazy *z, const struct st_toc_chunk *c)
{
    uint64_t end = c->end;
    size_t last = z->file->first + z->file->n;
    for (size_t i = (size_t)(c - z->toc->chunks) + 1; i < last && z->toc->chunks[i].at < z->want; i++)
        if (!z->toc->chunks[i].zeros)
            end = z->toc->chunks[i].end;
    return end;
}

static int find_window(struct layer_lazy *z, const struct st_toc_chunk *c, struct window **ret, struct st_err *err)
{
    int rc = find_ahead(z, c->offset, c->end, ret, err);
    if (rc)
        return rc < 0 ? -1 : 0;
    struct window *x = *ret = &z->extra;
    if (x->raw && window_pos(x) <= c->offset && c->offset - window_pos(x) <= ST_LAZY_GAP && c->end <= x->to)
        return 0;
    return window_open(z, x, c->offset, extra_end(z, c), err);
}

static int skip_in(struct st_stream *s, uint64_t n, struct st_err *err)
{
    int64_t k = n ? st_stream_skip(s, n, err) : 0;
    return k < 0 ? -1 : (uint64_t)k == n ? 0 : st_err_set(err, ST_E_CORRUPT, "a part of the blob is short");
}

// The decoder at the beginning of a member.
static int enter_member(struct layer_lazy *z, struct window *w, const struct st_toc_chunk *c, struct st_err *err)
{
    z->of = NULL;
    if (skip_in(w->raw, c->offset - window_pos(w), err))
        return -1;
    struct st_stream *part = st_stream_part(z->mem, w->raw, c->end - c->offset, err);
    if (!part)
        return -1;
    if (z->decoder)
        st_stream_decode_again(z->codec, z->decoder, part);
    else if (!(z->decoder = st_stream_decode(z->mem, part, z->codec, err)))
        return -1;
    z->of = w;
    z->member = c->offset;
    return 0;
}

static int open_chunk(struct layer_lazy *z, struct st_err *err)
{
    const struct st_toc_chunk *c = &z->toc->chunks[z->chunk++];
    z->open = c;
    z->left = c->size;
    if (c->zeros)
        return 0;
    st_sha256_free(z->sha);
    if (!(z->sha = st_sha256_new(z->mem, err)))
        return -1;
    bool there = z->of && z->member == c->offset && st_stream_pos(z->decoder) <= c->inner;
    struct window *w;
    if (!there && (find_window(z, c, &w, err) || enter_member(z, w, c, err)))
        return -1;
    return skip_in(z->decoder, c->inner - st_stream_pos(z->decoder), err);
}

static const char zeros[16 * 1024];

// The next run of the open chunk; verified with its last byte.
static int chunk_data(struct layer_lazy *z, struct st_sv *ret, struct st_err *err)
{
    if (z->open->zeros) {
        *ret = st_sv_mem(zeros, (size_t)ST_MIN(z->left, (uint64_t)sizeof zeros));
    } else {
        int rc = st_stream_fill(z->decoder, err);
        if (rc <= 0)
            return rc < 0 ? -1 : st_err_set(err, ST_E_CORRUPT, "a chunk is short");
        size_t n = (size_t)ST_MIN(z->left, (uint64_t)(z->decoder->end - z->decoder->cur));
        *ret = st_sv_mem(z->decoder->cur, n);
        z->decoder->cur += n;
        st_sha256_add(z->sha, ret->ptr, n);
    }
    z->left -= ret->len;
    z->pos += ret->len;
    if (z->left)
        return 1;
    const struct st_toc_chunk *c = z->open;
    z->open = NULL;
    char hex[ST_DIGEST_HEX + 1];
    if (c->zeros)
        return 1;
    st_sha256_hex(z->sha, hex);
    return st_toc_matches(c, hex) ? 1
                                  : st_err_set(err, ST_E_CORRUPT, "a chunk of %.*s has another digest",
                                               (int)ST_MIN(z->file->path.len, (size_t)200), z->file->path.ptr);
}

// A chunk that was begun is verified.
static int end_chunk(struct layer_lazy *z, struct st_err *err)
{
    struct st_sv run;
    while (z->open)
        if (chunk_data(z, &run, err) < 0)
            return -1;
    return 0;
}

// ---- entries and their data -----------------------------------------------------------------------------------------

int layer_lazy_next(struct layer_lazy *z, struct st_tar_entry *ret, struct st_err *err)
{
    if (end_chunk(z, err))
        return -1;
    z->pos = 0;
    z->want = 0;
    if (z->next == z->toc->n_files) {
        if (!z->has_index || z->at_index)
            return 0;
        z->at_index = true;
        z->file = NULL;
        *ret = z->index;
        ret->index = z->next;
        return 1;
    }
    const struct st_toc_file *f = z->file = &z->toc->files[z->next];
    *ret = (struct st_tar_entry){
        .path = f->path, .link = f->link, .type = f->type, .mode = f->mode, .size = f->size, .index = z->next++};
    z->chunk = f->first;
    if (z->all_extra)
        z->want = f->size;
    return 1;
}

static int index_data(struct layer_lazy *z, struct st_sv *ret, struct st_err *err)
{
    uint64_t kept = ST_MIN(z->index.size, (uint64_t)sizeof z->index_head);
    if (z->pos == z->index.size)
        return 0;
    if (z->pos >= kept)
        return st_err_set(err, ST_E_FAILED, "the table of contents is wanted as a file");
    *ret = st_sv_mem(z->index_head, (size_t)kept);
    z->pos = kept;
    return 1;
}

int layer_lazy_data(struct layer_lazy *z, struct st_sv *ret, struct st_err *err)
{
    if (z->at_index)
        return index_data(z, ret, err);
    if (z->pos == z->file->size)
        return 0;
    if (!z->open && open_chunk(z, err))
        return -1;
    return chunk_data(z, ret, err);
}

int layer_lazy_seek(struct layer_lazy *z, uint64_t from, uint64_t to, uint64_t *pos, struct st_err *err)
{
    if (z->at_index)
        return 0;
    const struct st_toc_chunk *all = z->toc->chunks;
    size_t last = z->file->first + z->file->n;
    z->want = to;
    if (z->open && from < z->open->at + z->open->size)
        return 0;
    if (end_chunk(z, err))
        return -1;
    while (z->chunk + 1 < last && all[z->chunk + 1].at <= from)
        z->chunk++;
    if (z->chunk < last)
        z->pos = *pos = all[z->chunk].at;
    return 0;
}
