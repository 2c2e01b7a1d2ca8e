#include "scan/analyze_jobs.h"

#include "archive/tar.h"
#include "base/ckd.h"
#include "image/blobs.h"
#include "image/image.h"
#include "scan/scan.h"

#include <stdlib.h>

static void get_mem(struct st_proto_msg *m, int spill_fd, struct st_mem *mem)
{
    uint64_t limit = st_wire_u64(&m->in), spill_at = st_wire_u64(&m->in);
    st_mem_init(mem, (size_t)limit, spill_fd);
    mem->spill_at = (size_t)spill_at;
}

static void get_resolve(struct st_wire_in *in, struct st_resolve *ret)
{
    ret->pin = (enum st_image_pin)st_wire_max(in, ST_PIN_DOCKER);
    ret->foreign = st_wire_max(in, 1);
    ret->tag = st_wire_sv(in);
    struct st_sv *const texts[] = {&ret->want.os, &ret->want.arch, &ret->want.variant,
                                   &ret->host.os, &ret->host.arch, &ret->host.variant};
    for (size_t i = 0; i < ST_LEN(texts); i++)
        *texts[i] = st_wire_sv(in);
}

static int bad_message(struct st_err *err)
{
    return st_err_set(err, ST_E_INTERNAL, "damaged job message");
}

// ---- asking the parent ----------------------------------------------------------------------------------------------

struct part {
    uint64_t from, to; // ASK_BYTES
};

// One question, begun in `o`, and its answer in `in` (ST_PROTO_MAX bytes). FAIL is the parent's error.
static int exchange(struct st_wire_out *o, char *in, struct st_proto_msg *ret, struct st_err *err)
{
    if (st_proto_send(ST_PROTO_SOCKET, o, NULL, 0, err))
        return -1;
    int rc = st_proto_recv(ST_PROTO_SOCKET, in, ret, err);
    if (rc <= 0)
        return rc < 0 ? -1 : st_err_set(err, ST_E_CANCELLED, "stella is gone");
    if (ret->tag == ST_PROTO_FAIL) {
        st_proto_get_err(&ret->in, err ? err : &(struct st_err){0});
        st_proto_close_fds(ret);
        return -1;
    }
    return 0;
}

static int ask(enum st_proto_tag tag, struct st_sv name, struct part part, uint64_t *ret_size, int *ret_fd,
               struct st_err *err)
{
    struct st_mem mem;
    st_mem_init(&mem, 256 * 1024, -1);
    struct st_buf b;
    st_buf_init(&b, &mem);
    struct st_wire_out o = st_proto_begin(&b, tag);
    if (tag == ST_PROTO_ASK_BYTES) {
        st_wire_put_u64(&o, part.from);
        st_wire_put_u64(&o, part.to);
    } else {
        st_wire_put_sv(&o, name);
    }
    char *in = st_mem_alloc(&mem, ST_PROTO_MAX, err);
    struct st_proto_msg m = {0};
    int rc = in ? exchange(&o, in, &m, err) : -1;
    *ret_fd = -1;
    if (rc == 0) {
        *ret_size = st_wire_u64(&m.in);
        if (m.n_fds)
            *ret_fd = st_take_fd(&m.fds[0]);
        st_proto_close_fds(&m);
    }
    st_mem_free(&mem, in, ST_PROTO_MAX);
    st_buf_release(&b);
    st_mem_release(&mem);
    return rc;
}

// At most ST_PROTO_SIZES names.
static int ask_sizes(const struct st_sv *names, size_t n, struct st_blob *ret, struct st_err *err)
{
    struct st_mem mem;
    st_mem_init(&mem, 256 * 1024, -1);
    struct st_buf b;
    st_buf_init(&b, &mem);
    struct st_wire_out o = st_proto_begin(&b, ST_PROTO_ASK_SIZES);
    st_wire_put_u64(&o, n);
    for (size_t i = 0; i < n; i++)
        st_wire_put_sv(&o, names[i]);
    char *in = st_mem_alloc(&mem, ST_PROTO_MAX, err);
    struct st_proto_msg m = {0};
    int rc = in ? exchange(&o, in, &m, err) : -1;
    static const enum st_blob_where where[] = {[ST_PROTO_NO_BLOB] = ST_BLOB_ABSENT,
                                               [ST_PROTO_BLOB_FILE] = ST_BLOB_FILE,
                                               [ST_PROTO_BLOB_REMOTE] = ST_BLOB_REMOTE};
    for (size_t i = 0; i < n && rc == 0; i++) {
        enum st_blob_where w = where[st_wire_max(&m.in, ST_LEN(where) - 1)];
        ret[i] = (struct st_blob){.where = w, .length = st_wire_u64(&m.in)};
    }
    if (rc == 0) {
        st_proto_close_fds(&m);
        rc = st_wire_ok(&m.in) ? 0 : bad_message(err);
    }
    st_mem_free(&mem, in, ST_PROTO_MAX);
    st_buf_release(&b);
    st_mem_release(&mem);
    return rc;
}

// Documents and blobs of a layout directory, opened by the parent; of a store, a layer's size and no file.
static int asked_find(void *ctx, struct st_sv name, struct st_blob *ret, struct st_err *err)
{
    (void)ctx;
    return ask_sizes(&name, 1, ret, err) ? -1 : ret->where != ST_BLOB_ABSENT;
}

static int asked_find_all(void *ctx, const struct st_sv *names, size_t n, struct st_blob *ret, struct st_err *err)
{
    (void)ctx;
    for (size_t i = 0; i < n; i += ST_PROTO_SIZES)
        if (ask_sizes(names + i, ST_MIN(n - i, (size_t)ST_PROTO_SIZES), ret + i, err))
            return -1;
    return 0;
}

static int asked_read(void *ctx, struct st_sv name, uint64_t max, struct st_arena *a, struct st_sv *ret,
                      struct st_err *err)
{
    (void)ctx;
    ST_AUTO_CLOSE int fd = -1;
    uint64_t size = 0;
    if (ask(ST_PROTO_ASK_BLOB, name, (struct part){0}, &size, &fd, err))
        return -1;
    if (fd < 0) // there is none, or it is a layer's name
        return 0;
    if (size > max)
        return st_err_set(err, ST_E_LIMIT, "%.*s is larger than %llu MiB", (int)ST_MIN(name.len, (size_t)200), name.ptr,
                          (unsigned long long)(max >> 20));
    char *p = st_arena_bytes(a, (size_t)size + 1, err);
    if (!p)
        return -1;
    ssize_t n = st_fd_pread(fd, p, (size_t)size, 0);
    if (n < 0)
        return st_err_sys(err, "%.*s", (int)ST_MIN(name.len, (size_t)200), name.ptr);
    *ret = st_sv_mem(p, (size_t)n);
    return 1;
}

// In a registry a manifest's word is taken for what is there; reading it shows.
static int remote_find(void *ctx, struct st_sv name, struct st_blob *ret, struct st_err *err)
{
    (void)ctx;
    (void)name;
    (void)err;
    *ret = (struct st_blob){.where = ST_BLOB_REMOTE};
    return 1;
}

// ---- index ----------------------------------------------------------------------------------------------------------

static int resolve_to(const struct st_blobs *blobs, const struct st_resolve *how, struct st_mem *mem, int out,
                      struct st_err *err)
{
    struct st_arena a;
    st_arena_init(&a, mem);
    struct st_buf b;
    st_buf_init(&b, mem);
    struct st_image img;
    int rc = st_image_resolve(blobs, how, &a, &img, err);
    if (rc == 0)
        rc = st_image_encode(&img, &b, err);
    if (rc == 0 && st_fd_pwrite(out, b.ptr, b.len, 0))
        rc = st_err_sys(err, "image description");
    st_buf_release(&b);
    st_arena_release(&a);
    return rc;
}

int st_job_index(struct st_proto_msg *m, struct st_err *err)
{
    struct st_mem mem;
    struct st_resolve how;
    get_mem(m, -1, &mem);
    uint64_t size = st_wire_u64(&m->in);
    bool remote = st_wire_max(&m->in, 1);
    get_resolve(&m->in, &how);
    if (!st_wire_ok(&m->in) || m->n_fds < 1 + (size != UINT64_MAX))
        return bad_message(err);
    int rc = -1;
    if (size == UINT64_MAX) {
        struct st_blobs asked = {.find = remote ? remote_find : asked_find,
                                 .find_all = remote ? NULL : asked_find_all,
                                 .read_small = asked_read};
        rc = resolve_to(&asked, &how, &mem, m->fds[0], err);
    } else {
        struct st_members *members = st_members_new(&mem, err);
        if (members && st_members_index(members, m->fds[1], size, err) == 0) {
            struct st_blobs blobs = st_members_blobs(members);
            rc = resolve_to(&blobs, &how, &mem, m->fds[0], err);
        }
        st_members_free(members);
    }
    st_mem_release(&mem);
    return rc;
}

// ---- one layer ------------------------------------------------------------------------------------------------------

// A blob that comes through pipes: one from the parent for each run of bytes that is wanted.
struct asked {
    struct st_stream s;
    struct st_mem *mem;
    struct st_stream *pipe; // owns; NULL: nothing is open
    int fd;                 // of it
};

static int asked_fill(struct st_stream *s, struct st_err *err)
{
    struct asked *a = (struct asked *)s;
    uint64_t unused;
    if (!a->pipe) {
        if (ask(ST_PROTO_ASK_BYTES, ST_SV(""), (struct part){s->end_pos, 0}, &unused, &a->fd, err))
            return -1;
        if (a->fd < 0)
            return st_err_set(err, ST_E_INTERNAL, "no bytes were given");
        a->pipe = st_stream_pipe(a->mem, a->fd, err);
        if (!a->pipe)
            return -1;
    }
    int rc = st_stream_fill(a->pipe, err);
    if (rc > 0) {
        s->cur = a->pipe->cur;
        s->end = a->pipe->cur = a->pipe->end;
        s->end_pos += (uint64_t)(s->end - s->cur);
    }
    return rc;
}

// Only before anything was asked for: a new request costs more than reading on.
static int64_t asked_seek_over(struct st_stream *s, uint64_t n, struct st_err *err)
{
    struct asked *a = (struct asked *)s;
    (void)err;
    if (a->pipe || n > INT64_MAX)
        return 0;
    s->end_pos += n;
    return (int64_t)n;
}

static void asked_free(struct st_stream *s)
{
    struct asked *a = (struct asked *)s;
    st_stream_free(a->pipe);
    if (a->fd >= 0)
        close(a->fd);
    st_mem_free(a->mem, a, sizeof *a);
}

static struct st_stream *asked_new(struct st_mem *mem, struct st_err *err)
{
    static const struct st_stream_ops ops = {asked_fill, asked_seek_over, asked_free};
    struct asked *a = st_mem_alloc(mem, sizeof *a, err);
    if (!a)
        return NULL;
    a->s.ops = &ops;
    a->mem = mem;
    a->fd = -1;
    return &a->s;
}

struct blob_range {
    struct st_mem *mem;
    int fd;
    enum st_job_from from;
    uint64_t offset, length;
};

// A part is asked for at once, so that it is on its way while another is read.
static int asked_range(void *ctx, uint64_t from, uint64_t to, struct st_stream **ret, struct st_err *err)
{
    struct st_mem *mem = ((struct blob_range *)ctx)->mem;
    uint64_t unused;
    struct asked *a = (struct asked *)asked_new(mem, err);
    if (!a)
        return -1;
    if (ask(ST_PROTO_ASK_BYTES, ST_SV(""), (struct part){from, to}, &unused, &a->fd, err) == 0) {
        if (a->fd < 0)
            st_err_set(err, ST_E_INTERNAL, "no bytes were given");
        else
            a->pipe = st_stream_pipe(mem, a->fd, err);
    }
    if (!a->pipe) {
        asked_free(&a->s);
        return -1;
    }
    *ret = &a->s;
    return 0;
}

static int open_range(void *ctx, struct st_stream **ret, struct st_err *err)
{
    struct blob_range *r = ctx;
    *ret = r->from == ST_JOB_ASKED  ? asked_new(r->mem, err)
           : r->from == ST_JOB_PIPE ? st_stream_pipe(r->mem, r->fd, err)
                                    : st_stream_file(r->mem, r->fd, r->offset, r->length, err);
    return *ret ? 0 : -1;
}

static void get_hex(struct st_wire_in *in, char *ret)
{
    struct st_sv s = st_wire_sv(in);
    if (s.len == ST_DIGEST_HEX)
        memcpy(ret, s.ptr, s.len);
    else if (s.len)
        in->failed = true;
}

// Scan one blob into an out descriptor.
static int scan_to(struct st_mem *mem, const struct st_layer_source *src, struct st_layer_options *opt, int out,
                   struct st_layer_stats *stats, struct st_err *err)
{
    struct st_classifier *classifier = st_classifier_new(mem, st_catalogers, err);
    struct st_frag_writer *w = classifier ? st_frag_writer_new(mem, out, NULL, err) : NULL;
    opt->classifier = classifier;
    int rc = w ? st_layer_scan(mem, src, opt, w, stats, err) : -1;
    st_frag_writer_free(w);
    st_classifier_free(classifier);
    return rc;
}

static int begin_anew(int out, struct st_err *err)
{
    return ftruncate(out, 0) || lseek(out, 0, SEEK_SET) ? st_err_sys(err, "fragment") : 0;
}

// The same for a layer: by its table of contents where it has one, else, or when that does not do, as a stream; from
// the checkpoint in `part`, else, or when it is of other bytes, from the beginning.
static int scan_some_way(struct st_mem *mem, const struct st_layer_source *src, struct st_layer_options *opt,
                         const struct st_toc_place *toc, struct st_layer_part *part, int out, struct st_err *ret_whole,
                         struct st_err *err)
{
    struct st_layer_stats stats = {0};
    struct st_layer_options lazy = *opt;
    lazy.part = NULL;
    lazy.digest[0] = lazy.diff_id[0] = '\0';
    lazy.toc = toc;
    if (toc->kind != ST_TOC_NONE && scan_to(mem, src, &lazy, out, &stats, ret_whole) == 0)
        return 0;
    if (toc->kind != ST_TOC_NONE && begin_anew(out, err))
        return -1;
    struct st_err why = {0};
    opt->before = stats.stored;
    int rc = scan_to(mem, src, opt, out, &stats, &why);
    if (rc && why.code == ST_E_CONFLICT && opt->part) { // the checkpoint is of other bytes
        part->resume = false;
        rc = begin_anew(out, &why) || scan_to(mem, src, opt, out, &stats, &why) ? -1 : 0;
    }
    if (rc && err)
        *err = why;
    return rc;
}

int st_job_layer(struct st_proto_msg *m, struct st_layer_watch *watch, struct st_err *ret_whole, struct st_err *err)
{
    struct st_mem mem;
    struct st_layer_options opt = {.watch = watch};
    struct blob_range blob = {.mem = &mem, .fd = -1};
    uint64_t limit = st_wire_u64(&m->in), spill_at = st_wire_u64(&m->in);
    blob.from = (enum st_job_from)st_wire_max(&m->in, ST_JOB_FROM_MAX - 1);
    struct st_layer_part part = {.fd = -1};
    part.every = st_wire_u64(&m->in);
    part.resume = st_wire_max(&m->in, 1);
    size_t needs = (blob.from == ST_JOB_ASKED ? 1 : 2) + (part.every != 0); // out, blob, checkpoints
    if (m->n_fds < needs)
        return bad_message(err);
    if (blob.from != ST_JOB_ASKED)
        blob.fd = m->fds[1];
    if (part.every) {
        part.fd = m->fds[needs - 1];
        part.out = m->fds[0];
        opt.part = &part;
    }
    st_mem_init(&mem, (size_t)limit, m->n_fds > needs ? m->fds[needs] : -1);
    mem.spill_at = (size_t)spill_at;
    opt.rootfs = blob.from == ST_JOB_PIPE;
    blob.offset = st_wire_u64(&m->in);
    blob.length = st_wire_u64(&m->in);
    opt.want_digest = st_wire_max(&m->in, 1);
    opt.want_diff_id = st_wire_max(&m->in, 1);
    get_hex(&m->in, opt.digest);
    get_hex(&m->in, opt.diff_id);
    struct st_toc_place toc = st_toc_get_place(&m->in);
    opt.length = blob.length;
    struct st_sv skip[16];
    opt.n_skip = st_wire_count(&m->in, 1);
    if (opt.n_skip > ST_LEN(skip))
        return bad_message(err);
    for (size_t i = 0; i < opt.n_skip; i++)
        skip[i] = st_wire_sv(&m->in);
    opt.skip = skip;
    if (!st_wire_ok(&m->in) || (toc.kind != ST_TOC_NONE && blob.from != ST_JOB_ASKED))
        return bad_message(err);
    struct st_layer_source src = {.open = open_range,
                                  .ctx = &blob,
                                  .again = blob.from != ST_JOB_PIPE,
                                  .range = blob.from == ST_JOB_ASKED ? asked_range : NULL};
    int rc = scan_some_way(&mem, &src, &opt, &toc, &part, m->fds[0], ret_whole, err);
    st_mem_release(&mem);
    return rc;
}

// ---- an archive that cannot be read twice ---------------------------------------------------------------------------

struct streaming {
    struct st_mem mem;
    struct st_tar *tar;
    struct st_sv head; // first run of the member in hand
    struct st_members *members;
    struct st_arena arena;
    struct st_layer_watch *watch;
    const struct st_stream *raw; // borrowed: the outer archive as stored
    enum st_verify verify;
    uint64_t fragments;
    struct failed {
        struct failed *next;
        uint64_t ordinal;
        struct st_err err;
    } * failed; // layers that could not be read: they matter only when the image that is asked for has them
};

static int open_member(void *ctx, struct st_stream **ret, struct st_err *err)
{
    struct streaming *s = ctx;
    atomic_store_explicit(&s->watch->archive, st_stream_pos(s->raw), memory_order_relaxed);
    *ret = st_tar_stream(&s->mem, s->tar, err);
    if (!*ret)
        return -1;
    // What was looked at to tell the member's kind comes first.
    (*ret)->cur = (const unsigned char *)s->head.ptr;
    (*ret)->end = (*ret)->cur + s->head.len;
    (*ret)->end_pos = s->head.len;
    return 0;
}

static int stream_layer(struct streaming *s, const struct st_tar_entry *e, struct st_err *err)
{
    ST_AUTO_CLOSE int out = -1;
    uint64_t unused;
    if (ask(ST_PROTO_ASK_OUT, ST_SV(""), (struct part){0}, &unused, &out, err))
        return -1;
    struct st_sv name; // the entry's path does not outlive the scan
    if (st_arena_dup(&s->arena, e->path, &name, err))
        return -1;
    uint64_t size = e->size, ordinal = s->fragments++;
    struct st_layer_options opt = {.watch = s->watch};
    opt.want_digest = s->verify != ST_VERIFY_NONE;
    opt.want_diff_id = s->verify == ST_VERIFY_FULL || (opt.want_digest && !st_sv_starts(name, ST_SV("blobs/")));
    struct st_layer_source src = {.open = open_member, .ctx = s};
    struct st_layer_stats stats;
    struct st_err why = {0};
    if (scan_to(&s->mem, &src, &opt, out, &stats, &why)) {
        if (why.code != ST_E_CORRUPT && why.code != ST_E_LIMIT && why.code != ST_E_FORMAT) {
            if (err)
                *err = why;
            return -1;
        }
        struct failed *f = ST_ARENA_NEW(&s->arena, struct failed, err);
        if (!f)
            return -1;
        *f = (struct failed){s->failed, ordinal, why};
        s->failed = f;
    }
    return st_members_passed(s->members, name, ordinal, size, err);
}

static int stream_document(struct streaming *s, const struct st_tar_entry *e, struct st_err *err)
{
    struct st_buf b;
    st_buf_init(&b, &s->mem);
    int rc = st_buf_add(&b, s->head, err) ? -1 : 1;
    struct st_sv run;
    while (rc > 0 && (rc = st_tar_data(s->tar, &run, err)) > 0)
        if (st_buf_add(&b, run, err))
            rc = -1;
    if (rc == 0)
        rc = st_members_document(s->members, e->path, st_buf_sv(&b), err);
    st_buf_release(&b);
    return rc;
}

static int stream_member(struct streaming *s, const struct st_tar_entry *e, struct st_err *err)
{
    if (e->type == ST_TAR_SYMLINK || e->type == ST_TAR_HARDLINK)
        return st_members_link(s->members, e->path, e->link, e->type == ST_TAR_SYMLINK, err);
    if (e->type != ST_TAR_FILE)
        return 0;
    s->head = ST_SV_NULL;
    if (e->size && st_tar_data(s->tar, &s->head, err) < 0)
        return -1;
    switch (st_member_guess(e->path, e->size, st_sv_sub(s->head, 0, ST_MEMBER_HEAD))) {
    case ST_MEMBER_DOCUMENT:
        return stream_document(s, e, err);
    case ST_MEMBER_LAYER:
        return stream_layer(s, e, err);
    default:
        return 0;
    }
}

static int stream_archive(struct streaming *s, struct st_stream *in, struct st_err *err)
{
    struct st_tar_entry e;
    s->tar = st_tar_new(&s->mem, in, err);
    int rc = s->tar ? 1 : -1;
    struct st_err why = {0};
    if (rc > 0 && (rc = st_tar_next(s->tar, &e, &why)) < 0) {
        if (why.code == ST_E_CORRUPT && why.has_offset && why.offset == 0) // nothing was read as an archive
            st_err_set(err, ST_E_INPUT, "the archive is neither a tar archive nor a compressed one");
        else if (err)
            *err = why;
    }
    while (rc > 0)
        rc = stream_member(s, &e, err) ? -1 : st_tar_next(s->tar, &e, err);
    st_tar_free(s->tar);
    return rc < 0 || st_stream_drain(in, err) < 0 ? -1 : 0;
}

// The image that is asked for must not have a layer that failed.
static int check_failed(const struct streaming *s, const struct st_image *img, struct st_err *err)
{
    for (size_t i = 0; i < img->subject.n_layers; i++)
        for (const struct failed *f = s->failed; f; f = f->next)
            if (img->layers[i].blob.where == ST_BLOB_PASSED && img->layers[i].blob.offset == f->ordinal) {
                if (err)
                    *err = f->err;
                return st_err_wrap(err, "layer %zu", i);
            }
    return 0;
}

static int stream_resolve(struct streaming *s, const struct st_resolve *how, int out, struct st_err *err)
{
    struct st_blobs blobs = st_members_blobs(s->members);
    struct st_buf b;
    st_buf_init(&b, &s->mem);
    struct st_image img;
    int rc = st_image_resolve(&blobs, how, &s->arena, &img, err);
    if (rc == 0)
        rc = check_failed(s, &img, err);
    if (rc == 0)
        rc = st_image_encode(&img, &b, err);
    if (rc == 0 && st_fd_pwrite(out, b.ptr, b.len, 0))
        rc = st_err_sys(err, "image description");
    st_buf_release(&b);
    return rc;
}

int st_job_stream(struct st_proto_msg *m, struct st_layer_watch *watch, uint64_t *ret_fragments, struct st_err *err)
{
    struct streaming s = {.watch = watch};
    struct st_resolve how;
    get_mem(m, m->n_fds > 2 ? m->fds[2] : -1, &s.mem);
    s.verify = (enum st_verify)st_wire_max(&m->in, ST_VERIFY_FULL);
    get_resolve(&m->in, &how);
    if (!st_wire_ok(&m->in) || m->n_fds < 2)
        return bad_message(err);
    st_arena_init(&s.arena, &s.mem);
    s.members = st_members_new(&s.mem, err);
    struct st_stream *raw = s.members ? st_stream_pipe(&s.mem, m->fds[1], err) : NULL;
    enum st_codec codec;
    s.raw = raw;
    struct st_stream *in = raw ? st_stream_detect(&s.mem, raw, &codec, err) : NULL;
    if (in)
        in = st_stream_limit(&s.mem, in, raw, ST_LAYER_BYTES_MAX, ST_LAYER_RATIO_MAX, err);
    int rc = in ? stream_archive(&s, in, err) : -1;
    st_stream_free(in);
    if (rc == 0)
        rc = stream_resolve(&s, &how, m->fds[0], err);
    *ret_fragments = s.fragments;
    st_members_free(s.members);
    st_arena_release(&s.arena);
    st_mem_release(&s.mem);
    return rc;
}
