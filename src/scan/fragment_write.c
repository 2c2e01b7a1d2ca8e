#include "base/wire.h"
#include "scan/fragment.h"
#include "scan/fragment_int.h"

#include "base/ckd.h"
#include "base/out.h"

#define ITEMS_MAX 1024 // items gathered before a PATHS or OWNED record is written

struct st_frag_writer {
    struct st_mem *mem;
    struct st_out out;
    struct st_sha256 *sha;
    struct st_buf payload;
    struct st_emit emit;
    uint64_t files;
    uint64_t items[ITEMS_MAX], owned[ITEMS_MAX]; // waiting to be written
    size_t n_items, n_owned;
    // OWNER record that is in force, so that it is not repeated for every path.
    enum st_pkg_type owner_type;
    struct st_buf owner;
    bool has_owner;
};

static int put_bytes(struct st_frag_writer *w, struct st_sv s, struct st_err *err)
{
    st_sha256_add(w->sha, s.ptr, s.len);
    st_out_write(&w->out, s);
    if (w->out.err.code) {
        if (err)
            *err = w->out.err;
        return -1;
    }
    return 0;
}

static int put_record(struct st_frag_writer *w, enum st_frag_tag tag, struct st_sv payload, struct st_err *err)
{
    if (payload.len > ST_FRAGMENT_RECORD_MAX)
        return st_err_set(err, ST_E_LIMIT, "record of %zu bytes is larger than %u", payload.len,
                          ST_FRAGMENT_RECORD_MAX);
    char head[12] = {(char)tag};
    size_t n = 1;
    uint64_t len = payload.len;
    do {
        head[n++] = (char)((len & 0x7F) | (len > 0x7F ? 0x80 : 0));
        len >>= 7;
    } while (len);
    return put_bytes(w, st_sv_mem(head, n), err) || put_bytes(w, payload, err) ? -1 : 0;
}

static int flush_u64(struct st_frag_writer *w, enum st_frag_tag tag, const uint64_t *at, size_t *n, struct st_err *err)
{
    if (*n == 0)
        return 0;
    size_t bytes = *n * sizeof *at;
    *n = 0;
    return put_record(w, tag, st_sv_mem(at, bytes), err);
}

// Items and owned paths that wait must not be overtaken by a record that is about them.
static int flush_owned(struct st_frag_writer *w, struct st_err *err)
{
    return flush_u64(w, ST_FRAG_OWNED, w->owned, &w->n_owned, err);
}

// A record is built in w->payload: begin, put, end.
static struct st_wire_out begin(struct st_frag_writer *w)
{
    st_buf_clear(&w->payload);
    return (struct st_wire_out){.buf = &w->payload};
}

static int end(struct st_frag_writer *w, struct st_wire_out *o, enum st_frag_tag tag, struct st_err *err)
{
    if (o->failed) {
        if (err)
            *err = o->err;
        return -1;
    }
    return put_record(w, tag, st_buf_sv(&w->payload), err);
}

int st_frag_put_item(struct st_frag_writer *w, enum st_item_kind kind, uint64_t path_hash, struct st_err *err)
{
    w->items[w->n_items++] = path_hash | kind;
    return w->n_items < ITEMS_MAX ? 0 : flush_u64(w, ST_FRAG_PATHS, w->items, &w->n_items, err);
}

int st_frag_put_symlink(struct st_frag_writer *w, uint64_t entry, struct st_sv path, struct st_sv target,
                        struct st_err *err)
{
    struct st_wire_out o = begin(w);
    st_wire_put_u64(&o, entry);
    st_wire_put_sv(&o, path);
    st_wire_put_sv(&o, target);
    return end(w, &o, ST_FRAG_SYMLINK, err);
}

int st_frag_put_file(struct st_frag_writer *w, uint64_t entry, struct st_sv path, const char *cataloger,
                     uint64_t *ret_number, struct st_err *err)
{
    if (flush_owned(w, err))
        return -1;
    w->has_owner = false;
    struct st_wire_out o = begin(w);
    st_wire_put_u64(&o, entry);
    st_wire_put_sv(&o, path);
    st_wire_put_sv(&o, st_sv_of(cataloger));
    if (end(w, &o, ST_FRAG_FILE, err))
        return -1;
    *ret_number = w->files++;
    return 0;
}

int st_frag_put_alias(struct st_frag_writer *w, uint64_t entry, struct st_sv path, uint64_t number, struct st_err *err)
{
    struct st_wire_out o = begin(w);
    st_wire_put_u64(&o, entry);
    st_wire_put_sv(&o, path);
    st_wire_put_u64(&o, number);
    return end(w, &o, ST_FRAG_ALIAS, err);
}

int st_frag_put_unknown(struct st_frag_writer *w, enum st_unknown_reason reason, struct st_sv inner, struct st_sv text,
                        struct st_err *err)
{
    struct st_wire_out o = begin(w);
    st_wire_put_u64(&o, reason);
    st_wire_put_sv(&o, inner);
    st_wire_put_sv(&o, text);
    return end(w, &o, ST_FRAG_UNKNOWN, err);
}

static void put_svs(struct st_wire_out *o, struct st_svs l)
{
    st_wire_put_u64(o, l.n);
    for (size_t i = 0; i < l.n; i++)
        st_wire_put_sv(o, l.at[i]);
}

static void put_kvs(struct st_wire_out *o, struct st_kvs l)
{
    st_wire_put_u64(o, l.n);
    for (size_t i = 0; i < l.n; i++) {
        st_wire_put_sv(o, l.at[i].key);
        st_wire_put_sv(o, l.at[i].value);
    }
}

static int emit_package(void *ctx, const struct st_package *p, struct st_err *err)
{
    struct st_frag_writer *w = ctx;
    struct st_wire_out o = begin(w);
    st_wire_put_u64(&o, p->type);
    for (size_t i = 0; i < ST_PACKAGE_TEXTS; i++)
        st_wire_put_sv(&o, *st_package_text((struct st_package *)p, i));
    put_svs(&o, p->licenses);
    put_kvs(&o, p->quals);
    put_kvs(&o, p->meta);
    put_svs(&o, p->depends);
    put_svs(&o, p->provides);
    return end(w, &o, ST_FRAG_PACKAGE, err);
}

static int emit_distro(void *ctx, const struct st_distro *d, struct st_err *err)
{
    struct st_frag_writer *w = ctx;
    struct st_wire_out o = begin(w);
    st_wire_put_u64(&o, d->from_release_file);
    for (size_t i = 0; i < ST_DISTRO_TEXTS; i++)
        st_wire_put_sv(&o, *st_distro_text((struct st_distro *)d, i));
    return end(w, &o, ST_FRAG_DISTRO, err);
}

static int emit_owns(void *ctx, enum st_pkg_type type, struct st_sv owner, struct st_sv path, struct st_err *err)
{
    struct st_frag_writer *w = ctx;
    if (!w->has_owner || w->owner_type != type || !st_sv_eq(st_buf_sv(&w->owner), owner)) {
        if (flush_owned(w, err))
            return -1;
        st_buf_clear(&w->owner);
        if (st_buf_add(&w->owner, owner, err))
            return -1;
        w->owner_type = type;
        w->has_owner = true;
        struct st_wire_out o = begin(w);
        st_wire_put_u64(&o, type);
        st_wire_put_sv(&o, owner);
        if (end(w, &o, ST_FRAG_OWNER, err))
            return -1;
    }
    w->owned[w->n_owned++] = st_path_hash(path);
    return w->n_owned < ITEMS_MAX ? 0 : flush_owned(w, err);
}

static int emit_note(void *ctx, const struct st_note *n, struct st_err *err)
{
    struct st_frag_writer *w = ctx;
    struct st_wire_out o = begin(w);
    st_wire_put_sv(&o, n->path);
    st_wire_put_u64(&o, n->type);
    st_wire_put_sv(&o, n->name);
    st_wire_put_sv(&o, n->key);
    st_wire_put_sv(&o, n->value);
    return end(w, &o, ST_FRAG_NOTE, err);
}

static int emit_unknown(void *ctx, enum st_unknown_reason reason, struct st_sv inner, struct st_sv text,
                        struct st_err *err)
{
    return st_frag_put_unknown(ctx, reason, inner, text, err);
}

const struct st_emit *st_frag_emit(struct st_frag_writer *w)
{
    return &w->emit;
}

struct st_frag_writer *st_frag_writer_new(struct st_mem *mem, int fd, struct st_buf *to, struct st_err *err)
{
    struct st_frag_writer *w = st_mem_alloc(mem, sizeof *w, err);
    if (!w)
        return NULL;
    w->mem = mem;
    w->emit = (struct st_emit){w, emit_package, emit_distro, emit_owns, emit_note, emit_unknown};
    st_buf_init(&w->payload, mem);
    st_buf_init(&w->owner, mem);
    if (fd >= 0)
        st_out_init_fd(&w->out, fd);
    else
        st_out_init_buf(&w->out, to);
    struct st_buf head;
    st_buf_init(&head, mem);
    struct st_wire_out o = {.buf = &head};
    w->sha = st_sha256_new(mem, err);
    bool ok = w->sha && st_buf_add(&head, ST_FRAGMENT_MAGIC, err) == 0;
    if (ok) {
        st_wire_put_u64(&o, ST_FRAGMENT_VERSION);
        st_wire_put_u64(&o, st_catalogers_version());
        ok = !o.failed && put_bytes(w, st_buf_sv(&head), err) == 0;
        if (o.failed && err)
            *err = o.err;
    }
    st_buf_release(&head);
    if (!ok) {
        st_frag_writer_free(w);
        return NULL;
    }
    return w;
}

void st_frag_writer_free(struct st_frag_writer *w)
{
    if (!w)
        return;
    st_out_finish(&w->out, NULL);
    st_sha256_free(w->sha);
    st_buf_release(&w->payload);
    st_buf_release(&w->owner);
    st_mem_free(w->mem, w, sizeof *w);
}

int st_frag_writer_mark(struct st_frag_writer *w, uint64_t *ret_length, struct st_err *err)
{
    if (flush_owned(w, err) || flush_u64(w, ST_FRAG_PATHS, w->items, &w->n_items, err))
        return -1;
    st_out_flush(&w->out);
    if (w->out.err.code) {
        if (err)
            *err = w->out.err;
        return -1;
    }
    *ret_length = w->out.total;
    return 0;
}

int st_frag_writer_raw(struct st_frag_writer *w, struct st_sv bytes, struct st_err *err)
{
    return put_bytes(w, bytes, err);
}

void st_frag_writer_files(struct st_frag_writer *w, uint64_t files)
{
    w->files = files;
}

int st_frag_finish(struct st_frag_writer *w, const struct st_layer_stats *s, struct st_err *err)
{
    if (flush_owned(w, err) || flush_u64(w, ST_FRAG_PATHS, w->items, &w->n_items, err))
        return -1;
    struct st_frag_end fixed = {
        .entries = s->entries,
        .files = s->files,
        .bytes = s->bytes,
        .stored = s->stored,
        .rereads = s->rereads,
        .reread_bytes = s->reread_bytes,
        .spilled = s->spilled,
        .peak = s->peak,
    };
    memcpy(fixed.digest, s->digest, ST_DIGEST_HEX);
    memcpy(fixed.diff_id, s->diff_id, ST_DIGEST_HEX);
    memcpy(fixed.toc, s->toc, ST_DIGEST_HEX);
    if (put_record(w, ST_FRAG_END, st_sv_mem(&fixed, sizeof fixed), err))
        return -1;
    char hex[ST_DIGEST_HEX + 1];
    st_sha256_hex(w->sha, hex);
    st_out_write(&w->out, st_sv_mem(hex, ST_DIGEST_HEX));
    return st_out_finish(&w->out, err);
}
