// The stream core, and the streams that make no bytes: files, pipes, memory, a part of another stream.
#include "stream/stream.h"

#include "base/ckd.h"
#include "base/fd.h"

#include <errno.h>
#include <sys/stat.h>

#define READ_MAX (256 * 1024)
#define READ_MIN (32 * 1024) // after a seek: mostly one header is wanted; doubled while reading goes on

int64_t st_stream_read(struct st_stream *s, void *buf, size_t n, struct st_err *err)
{
    size_t got = 0;
    while (got < n) {
        int r = st_stream_fill(s, err);
        if (r < 0)
            return -1;
        if (r == 0)
            break;
        size_t take = ST_MIN((size_t)(s->end - s->cur), n - got);
        memcpy((char *)buf + got, s->cur, take);
        s->cur += take;
        got += take;
    }
    return (int64_t)got;
}

int64_t st_stream_skip(struct st_stream *s, uint64_t n, struct st_err *err)
{
    uint64_t left = n;
    for (;;) {
        size_t ready = (size_t)(s->end - s->cur);
        if (left <= ready) {
            if (left)
                s->cur += left;
            return (int64_t)n;
        }
        left -= ready;
        s->cur = s->end;
        if (s->ops->seek_over) {
            int64_t r = s->ops->seek_over(s, left, err);
            if (r < 0)
                return -1;
            left -= (uint64_t)r;
            if (left == 0)
                return (int64_t)n;
        }
        int r = s->ops->fill(s, err);
        if (r < 0)
            return -1;
        if (r == 0)
            return (int64_t)(n - left);
    }
}

int64_t st_stream_drain(struct st_stream *s, struct st_err *err)
{
    uint64_t n = 0;
    for (;;) {
        n += (uint64_t)(s->end - s->cur);
        s->cur = s->end;
        int r = s->ops->fill(s, err);
        if (r <= 0)
            return r < 0 ? -1 : (int64_t)n;
    }
}

void st_stream_free(struct st_stream *s)
{
    if (s)
        s->ops->free(s);
}

// ---- files and pipes ----------------------------------------------------------------------------------

struct source {
    struct st_stream s;
    struct st_mem *mem;
    int fd;            // borrowed
    uint64_t offset;   // of the part in the file
    uint64_t length;   // of the part
    uint64_t seekable; // bytes of the part that are known to be there
    size_t chunk;      // of the next read
    unsigned char buf[READ_MAX];
};

static void source_free(struct st_stream *s)
{
    struct source *f = (struct source *)s;
    st_mem_free(f->mem, f, sizeof *f);
}

static int file_fill(struct st_stream *s, struct st_err *err)
{
    struct source *f = (struct source *)s;
    uint64_t left = f->length - s->end_pos;
    if (left == 0)
        return 0;
    ssize_t n = st_fd_pread(f->fd, f->buf, (size_t)ST_MIN(left, f->chunk), f->offset + s->end_pos);
    if (n < 0)
        return st_err_sys(err, "read");
    if (n == 0)
        return st_err_set_off(err, ST_E_CORRUPT, s->end_pos, "file ends early");
    f->chunk = ST_MIN(f->chunk * 2, (size_t)READ_MAX);
    s->cur = f->buf;
    s->end = f->buf + n;
    s->end_pos += (uint64_t)n;
    return 1;
}

static int64_t file_seek_over(struct st_stream *s, uint64_t n, struct st_err *err)
{
    struct source *f = (struct source *)s;
    uint64_t there = f->seekable > s->end_pos ? f->seekable - s->end_pos : 0;
    n = ST_MIN(n, there);
    if (n < READ_MIN)
        return 0; // reading on costs no more than a new read
    s->end_pos += n;
    f->chunk = READ_MIN;
    return (int64_t)n;
}

static const struct st_stream_ops file_ops = {file_fill, file_seek_over, source_free};

static struct source *source_new(struct st_mem *mem, int fd, const struct st_stream_ops *ops, struct st_err *err)
{
    struct source *f = st_mem_alloc(mem, sizeof *f, err);
    if (!f)
        return NULL;
    f->s.ops = ops;
    f->s.cur = f->s.end = f->buf;
    f->mem = mem;
    f->fd = fd;
    f->chunk = READ_MAX;
    return f;
}

struct st_stream *st_stream_file(struct st_mem *mem, int fd, uint64_t offset, uint64_t length, struct st_err *err)
{
    uint64_t end;
    struct stat st;
    if (st_ckd_add(&end, offset, length) || end > INT64_MAX)
        return st_err_set(err, ST_E_CORRUPT, "part of a file ends beyond 2^63"), NULL;
    if (fstat(fd, &st))
        return st_err_sys(err, "stat"), NULL;
    struct source *f = source_new(mem, fd, &file_ops, err);
    if (!f)
        return NULL;
    f->offset = offset;
    f->length = length;
    // Where the file is shorter, reads (which notice) take over from seeks (which would not).
    uint64_t size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    f->seekable = size > offset ? ST_MIN(size - offset, length) : 0;
    return &f->s;
}

static int pipe_fill(struct st_stream *s, struct st_err *err)
{
    struct source *f = (struct source *)s;
    ssize_t n;
    do
        n = read(f->fd, f->buf, sizeof f->buf); // what is there: a slow writer must not hold back a full block
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return st_err_sys(err, "read");
    if (n == 0)
        return 0;
    s->cur = f->buf;
    s->end = f->buf + n;
    s->end_pos += (uint64_t)n;
    return 1;
}

static const struct st_stream_ops pipe_ops = {pipe_fill, NULL, source_free};

struct st_stream *st_stream_pipe(struct st_mem *mem, int fd, struct st_err *err)
{
    struct source *f = source_new(mem, fd, &pipe_ops, err);
    return f ? &f->s : NULL;
}

// ---- memory -------------------------------------------------------------------------------------------

struct memory {
    struct st_stream s;
    struct st_mem *mem;
};

static int memory_fill(struct st_stream *s, struct st_err *err)
{
    return 0;
}

static void memory_free(struct st_stream *s)
{
    struct memory *m = (struct memory *)s;
    st_mem_free(m->mem, m, sizeof *m);
}

static const struct st_stream_ops memory_ops = {memory_fill, NULL, memory_free};

struct st_stream *st_stream_memory(struct st_mem *mem, struct st_sv bytes, struct st_err *err)
{
    struct memory *m = st_mem_alloc(mem, sizeof *m, err);
    if (!m)
        return NULL;
    const char *p = bytes.len ? bytes.ptr : "";
    m->s = (struct st_stream){.cur = (const unsigned char *)p,
                              .end = (const unsigned char *)p + bytes.len,
                              .end_pos = bytes.len,
                              .ops = &memory_ops};
    m->mem = mem;
    return &m->s;
}

// ---- part of another stream -----------------------------------------------------------------------------

struct part {
    struct st_stream s;
    struct st_mem *mem;
    struct st_stream *inner; // borrowed
    uint64_t length;
};

static int part_fill(struct st_stream *s, struct st_err *err)
{
    struct part *p = (struct part *)s;
    uint64_t left = p->length - s->end_pos;
    if (left == 0)
        return 0;
    int r = st_stream_fill(p->inner, err);
    if (r < 0)
        return -1;
    if (r == 0)
        return st_err_set_off(err, ST_E_CORRUPT, st_stream_pos(p->inner), "outer stream ends early");
    size_t n = (size_t)ST_MIN(left, (uint64_t)(p->inner->end - p->inner->cur));
    s->cur = p->inner->cur;
    s->end = s->cur + n;
    s->end_pos += n;
    p->inner->cur += n;
    return 1;
}

static int64_t part_seek_over(struct st_stream *s, uint64_t n, struct st_err *err)
{
    struct part *p = (struct part *)s;
    n = ST_MIN(n, p->length - s->end_pos);
    int64_t r = st_stream_skip(p->inner, n, err);
    if (r >= 0)
        s->end_pos += (uint64_t)r;
    return r;
}

static void part_free(struct st_stream *s)
{
    struct part *p = (struct part *)s;
    st_mem_free(p->mem, p, sizeof *p);
}

static const struct st_stream_ops part_ops = {part_fill, part_seek_over, part_free};

struct st_stream *st_stream_part(struct st_mem *mem, struct st_stream *inner, uint64_t length, struct st_err *err)
{
    struct part *p = st_mem_alloc(mem, sizeof *p, err);
    if (!p)
        return NULL;
    p->s.ops = &part_ops;
    p->mem = mem;
    p->inner = inner;
    p->length = length;
    return &p->s;
}
