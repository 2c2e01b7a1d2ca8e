#include "base/ckd.h"
#include "scan/layer_int.h"

#include <sys/stat.h>

// OCI image-spec, layer.md "Whiteouts": d/.wh.NAME hides d/NAME of lower layers, d/.wh..wh..opq all of d's children.
static bool whiteout(struct layer_scan *s, struct st_sv path, int *ret_rc, struct st_err *err)
{
    struct st_sv base = st_sv_basename(path);
    if (!st_sv_starts(base, ST_SV(".wh.")))
        return false;
    struct st_sv dir = st_sv_dirname(path), name = st_sv_from(base, 4);
    if (st_sv_eq(name, ST_SV(".wh..opq"))) {
        *ret_rc = st_frag_put_item(s->out, ST_ITEM_OPAQUE, st_path_hash(dir), err);
        return true;
    }
    if (name.len == 0 || st_sv_starts(name, ST_SV(".wh."))) { // aufs metadata: not a file of the image, hides nothing
        *ret_rc = st_frag_put_item(s->out, ST_ITEM_NONDIR, st_path_hash(path), err);
        return true;
    }
    st_buf_clear(&s->content);
    *ret_rc = st_buf_add(&s->content, dir, err) || (dir.len && st_buf_addc(&s->content, '/', err)) ||
                      st_buf_add(&s->content, name, err)
                  ? -1
                  : st_frag_put_item(s->out, ST_ITEM_WHITEOUT, st_path_hash(st_buf_sv(&s->content)), err);
    return true;
}

// Catalogers that want nothing but the name.
static int by_name(struct layer_scan *s, const struct layer_file *f, const uint8_t *want, size_t n, struct st_err *err)
{
    struct st_view none = {0};
    for (size_t i = 0; i < n; i++)
        if (st_catalogers[want[i]]->need == ST_NEED_NAME && layer_parse(s, f, &want[i], 1, &none, true, err))
            return -1;
    return 0;
}

static size_t without_names(uint8_t *want, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (st_catalogers[want[i]]->need != ST_NEED_NAME)
            want[k++] = want[i];
    return k;
}

static uint32_t type_bits(enum st_tar_type type)
{
    return type == ST_TAR_DIR ? S_IFDIR : type == ST_TAR_SYMLINK ? S_IFLNK : S_IFREG;
}

static int entry(struct layer_scan *s, const struct st_tar_entry *e, struct st_err *err)
{
    int rc = 0;
    if (s->replaying && e->type != ST_TAR_DIR && st_sv_starts(st_sv_basename(e->path), ST_SV(".wh.")))
        return 0;
    if (e->type != ST_TAR_DIR && !s->opt->rootfs && whiteout(s, e->path, &rc, err))
        return rc;
    uint64_t hash = st_path_hash(e->path);
    if (!s->replaying && st_frag_put_item(s->out, e->type == ST_TAR_DIR ? ST_ITEM_DIR : ST_ITEM_NONDIR, hash, err))
        return -1;
    if (e->path.len == 0)
        return 0;
    uint8_t want[LAYER_WANT_MAX];
    size_t n = st_classify(s->opt->classifier, e->path, want, LAYER_WANT_MAX);
    struct layer_file f = {.path = e->path,
                           .hash = hash,
                           .mode = e->mode | type_bits(e->type),
                           .size = e->size,
                           .entry = e->index,
                           .offset = e->offset};
    if (s->replaying)
        return layer_part_replay(s, &f, e, want, without_names(want, n), err);
    s->naming = true;
    if (n && by_name(s, &f, want, n, err))
        return -1;
    s->naming = false;
    n = without_names(want, n);
    if (e->type != ST_TAR_HARDLINK && e->type != ST_TAR_DIR)
        layer_again_forget(s, hash);
    // A file of a directory that could not be read (src/image/rootfs.h). It belongs to no cataloger: the first lends
    // its name.
    if (s->opt->rootfs && e->error.len)
        return layer_unknown(s, e->path, e->index, 0, ST_UNKNOWN_UNREADABLE, e->error, err);
    if (s->opt->rootfs && e->full_size) { // left out: nobody wants it, or it is too large for whoever does
        struct st_view none = {.size = e->full_size};
        f.size = e->full_size;
        s->stats.files++;
        return layer_parse(s, &f, want, n, &none, true, err);
    }
    switch (e->type) {
    case ST_TAR_FILE:
        s->stats.files++;
        return layer_content(s, &f, want, n, err);
    case ST_TAR_HARDLINK:
        s->stats.files++;
        return layer_again_link(s, e, hash, want, n, err);
    case ST_TAR_SYMLINK:
        return st_frag_put_symlink(s->out, e->index, e->path, e->link, err);
    default:
        return 0;
    }
}

struct st_tar *layer_tar(struct layer_scan *s, struct st_stream *in, struct st_err *err)
{
    struct st_tar *t = st_tar_new(s->mem, in, err);
    if (t)
        st_tar_as_runtime(t);
    return t;
}

static int walk_entries(struct layer_scan *s, struct st_err *err)
{
    struct st_tar_entry e;
    struct st_layer_watch *w = s->opt->watch;
    int rc;
    while ((rc = layer_next(s, &e, err)) > 0) {
        s->stats.entries = e.index + 1;
        if (layer_part_entry(s, e.index, err) || entry(s, &e, err))
            return -1;
        if (w && (e.index & 63) == 0) {
            atomic_store_explicit(&w->entries, e.index, memory_order_relaxed);
            if (s->lazy) // else the stream tells
                atomic_store_explicit(&w->stored, layer_lazy_asked(s->lazy), memory_order_relaxed);
        }
    }
    return rc;
}

static int walk(struct layer_scan *s, struct st_stream *in, struct st_err *err)
{
    s->tar = layer_tar(s, in, err);
    int rc = s->tar ? walk_entries(s, err) : -1;
    st_tar_free(s->tar);
    s->tar = NULL;
    // What stands behind the end of the archive belongs to the blob and to its digests.
    rc = rc < 0 || st_stream_drain(in, err) < 0 ? -1 : 0;
    if (rc == 0 && s->part_on)
        rc = layer_part_end(s, err);
    s->part_on = false; // the second pass is done as a whole
    return rc;
}

static int check_digest(const char *what, const char *want, const char *have, struct st_err *err)
{
    if (!*want || strcmp(want, have) == 0)
        return 0;
    return st_err_set(err, ST_E_CORRUPT, "%s does not match: expected sha256:%s, the bytes give sha256:%s", what, want,
                      have);
}

// The blob's digest says more than the decoder's complaint about the damage it found: what is left is read for it.
static void blame_digest(struct layer_scan *s, struct st_stream *tee, struct st_sha256 *blob, struct st_err *err)
{
    char hex[ST_DIGEST_HEX + 1];
    struct st_err e;
    if (!s->opt->digest[0] || !err || err->code != ST_E_CORRUPT || st_stream_drain(tee, NULL) < 0)
        return;
    st_sha256_hex(blob, hex);
    if (check_digest("blob digest", s->opt->digest, hex, &e))
        *err = e;
}

static int first_pass(struct layer_scan *s, const struct st_layer_source *src, struct st_err *err)
{
    const struct st_layer_options *o = s->opt;
    struct st_stream *raw = NULL;
    if (src->open(src->ctx, &raw, err))
        return -1;
    s->raw = raw;
    struct st_sha256 *blob = NULL, *diff = NULL;
    int rc = 0;
    bool asked = o->digest[0] || o->want_digest;
    if (asked || s->part_on)
        rc = (blob = st_sha256_new(s->mem, err)) ? 0 : -1;
    if (rc == 0 && (o->diff_id[0] || o->want_diff_id))
        rc = (diff = st_sha256_new(s->mem, err)) ? 0 : -1;
    struct st_stream *in = raw, *tee = NULL; // tee: borrowed from the chain
    enum st_codec codec = ST_CODEC_NONE;
    if (rc == 0 && blob)
        in = tee = st_stream_digest(s->mem, in, blob, err);
    if (tee && s->part_on)
        layer_part_follow(s, tee);
    if (rc == 0 && in)
        in = st_stream_detect(s->mem, in, &codec, err);
    if (rc == 0 && in && codec == ST_CODEC_GZIP && s->can_reread) {
        s->place = st_place_new(s->mem, err);
        if (s->place)
            st_place_follow(s->place, in);
        else
            rc = -1;
    }
    if (rc == 0 && in && diff)
        in = st_stream_digest(s->mem, in, diff, err);
    if (rc == 0 && in)
        in = st_stream_limit(s->mem, in, raw, ST_LAYER_BYTES_MAX, ST_LAYER_RATIO_MAX, err);
    if (in && o->watch)
        st_stream_limit_show(in, &o->watch->stored, &o->watch->bytes);
    if (rc == 0)
        rc = in ? walk(s, in, err) : -1;
    if (rc && in && tee)
        blame_digest(s, tee, blob, err);
    if (rc == 0) {
        s->stats.bytes = st_stream_pos(in);
        s->stats.stored = o->before + st_stream_pos(raw);
        if (asked)
            st_sha256_hex(blob, s->stats.digest);
        if (diff)
            st_sha256_hex(diff, s->stats.diff_id);
        rc = check_digest("blob digest", o->digest, s->stats.digest, err) ||
                     check_digest("diff ID", o->diff_id, s->stats.diff_id, err)
                 ? -1
                 : 0;
    }
    st_stream_free(in);
    s->raw = NULL;
    st_sha256_free(blob);
    st_sha256_free(diff);
    return rc;
}

// By the table of contents: every byte that is looked at is of a chunk that the table has the digest of, and the table
// is the one that the manifest names.
static int lazy_pass(struct layer_scan *s, const struct st_layer_source *src, struct st_err *err)
{
    if (layer_lazy_open(s, src, err) || walk_entries(s, err) || layer_again_read(s, src, err))
        return -1;
    s->stats.stored = layer_lazy_asked(s->lazy);
    memcpy(s->stats.toc, s->opt->toc->digest, sizeof s->stats.toc);
    return 0;
}

int st_layer_scan(struct st_mem *mem, const struct st_layer_source *src, const struct st_layer_options *opt,
                  struct st_frag_writer *out, struct st_layer_stats *ret_stats, struct st_err *err)
{
    struct layer_scan s = {.mem = mem, .opt = opt, .out = out, .can_reread = src->again};
    layer_content_init(&s);
    st_arena_init(&s.scratch, mem);
    st_arena_init(&s.arena, mem);
    st_buf_init(&s.content, mem);
    st_buf_init(&s.large, mem);
    st_buf_init(&s.ranges, mem);
    st_buf_init(&s.file_cats, mem);
    st_map_init(&s.parsed, mem);
    st_map_init(&s.linked, mem);
    st_buf_init(&s.links, mem);
    st_map_init(&s.again_by_path, mem);
    st_buf_init(&s.events, mem);
    int rc = layer_part_begin(&s, err);
    if (rc == 0 && opt->toc)
        rc = lazy_pass(&s, src, err);
    else if (rc == 0)
        rc = first_pass(&s, src, err) || layer_again_read(&s, src, err) ? -1 : 0;
    if (rc == 0) {
        s.stats.peak = mem->peak;
        s.stats.spilled = mem->spill_peak;
        rc = st_frag_finish(out, &s.stats, err);
    }
    if (s.lazy)
        s.stats.stored = layer_lazy_asked(s.lazy);
    layer_again_free(&s);
    layer_lazy_close(&s);
    st_buf_release(&s.events);
    st_map_release(&s.parsed);
    st_buf_release(&s.file_cats);
    st_buf_release(&s.ranges);
    st_buf_release(&s.large);
    st_buf_release(&s.content);
    st_arena_release(&s.arena);
    st_arena_release(&s.scratch);
    if (rc == 0 || opt->toc)
        *ret_stats = s.stats;
    return rc;
}
