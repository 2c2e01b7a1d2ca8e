// Hard links, whose bytes stand elsewhere in the layer, and the second pass.
#include "base/ckd.h"
#include "scan/layer_int.h"

// A file to be read in the second pass.
struct layer_again {
    uint64_t path_hash;  // of the entry that holds the bytes
    uint64_t before;     // its index is below this (hard link) ...
    uint64_t exact;      // ... or exactly this; UINT64_MAX: see `before`
    uint64_t link_entry; // entry that the evidence counts for
    struct st_sv as;     // path of the evidence (arena)
    uint32_t mode;
    uint8_t cataloger;
    bool found;
    uint32_t next; // index + 1 of the next with the same hash
};

// Where the bytes of a hard link stand, for links to it: tar programs name the first of the names, but need not.
struct origin {
    uint64_t path_hash, before; // of the entry that holds the bytes: its index is below `before`
};

static int want_again(struct layer_scan *s, struct layer_again want, struct st_sv as, struct st_err *err)
{
    if (s->n_again == ST_LAYER_REREADS_MAX)
        return st_err_set(err, ST_E_LIMIT, "more than %d files have to be read twice", ST_LAYER_REREADS_MAX);
    if (s->n_again == s->cap_again) {
        size_t cap = s->cap_again ? s->cap_again * 2 : 16;
        struct layer_again *p = st_mem_resize(s->mem, s->again, s->cap_again * sizeof *p, cap * sizeof *p, err);
        if (!p)
            return -1;
        s->again = p;
        s->cap_again = cap;
    }
    uint64_t *first = st_map_put(&s->again_by_path, want.path_hash, NULL, err);
    if (!first || st_arena_dup(&s->arena, as, &want.as, err))
        return -1;
    want.next = (uint32_t)*first;
    s->again[s->n_again++] = want;
    *first = s->n_again;
    return 0;
}

// The second pass begins at the first file that needs it.
static void keep_place(struct layer_scan *s, const struct layer_file *f)
{
    if (s->kept || s->anywhere)
        return;
    s->kept = s->place && st_place_pos(s->place) <= f->offset;
    s->anywhere = !s->kept;
    s->from_offset = f->offset;
    s->from_index = f->entry;
}

int layer_again_whole(struct layer_scan *s, const struct layer_file *f, uint8_t cataloger, struct st_err *err)
{
    struct layer_again a = {
        .path_hash = f->hash, .exact = f->entry, .link_entry = f->entry, .mode = f->mode, .cataloger = cataloger};
    keep_place(s, f);
    return want_again(s, a, f->path, err) || layer_part_log(s, LAYER_EVENT_AGAIN, cataloger, err) ? -1 : 0;
}

void layer_again_forget(struct layer_scan *s, uint64_t hash)
{
    uint64_t *v = st_map_get(&s->parsed, hash);
    if (v)
        *v = 0;
    if ((v = st_map_get(&s->linked, hash)))
        *v = 0;
}

static struct origin origin_of(const struct layer_scan *s, uint64_t path_hash, uint64_t before)
{
    const uint64_t *v = st_map_get(&s->linked, path_hash);
    if (!v || !*v)
        return (struct origin){path_hash, before};
    struct origin o;
    memcpy(&o, s->links.ptr + (*v - 1) * sizeof o, sizeof o);
    return o;
}

// The link's name stands for the target's bytes from here on, and for what was read in them.
static int join_name(struct layer_scan *s, uint64_t hash, struct origin o, uint64_t parsed, struct st_err *err)
{
    uint64_t *v;
    if (parsed) {
        if (!(v = st_map_put(&s->parsed, hash, NULL, err)))
            return -1;
        *v = parsed;
    }
    if (!(v = st_map_put(&s->linked, hash, NULL, err)) || st_buf_add(&s->links, st_sv_mem(&o, sizeof o), err))
        return -1;
    *v = s->links.len / sizeof o;
    return 0;
}

int layer_again_link(struct layer_scan *s, const struct st_tar_entry *e, uint64_t hash, const uint8_t *want, size_t n,
                     struct st_err *err)
{
    uint64_t target = st_path_hash(e->link);
    if (target == hash) // to itself: changes nothing
        return 0;
    struct origin origin = origin_of(s, target, e->index);
    const uint64_t *at = st_map_get(&s->parsed, target);
    uint64_t known = at ? *at : 0;
    layer_again_forget(s, hash);
    uint64_t have = 0; // bit i: want[i] has read these bytes under the target's name
    for (uint64_t k = 0; k < (known & 0xFF); k++) {
        uint64_t number = (known >> 8) + k;
        uint8_t cat = (uint8_t)s->file_cats.ptr[number];
        bool counts = st_catalogers[cat]->globs == NULL; // told by its bytes, whatever its name
        for (size_t i = 0; i < n; i++)
            if (want[i] == cat) {
                counts = true;
                have |= 1ull << i;
            }
        if (counts && !s->replaying && st_frag_put_alias(s->out, e->index, e->path, number, err))
            return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (have >> i & 1 || st_catalogers[want[i]]->need == ST_NEED_NAME)
            continue;
        s->anywhere = true;
        struct layer_again a = {.path_hash = origin.path_hash,
                                .before = origin.before,
                                .exact = UINT64_MAX,
                                .link_entry = e->index,
                                .mode = e->mode,
                                .cataloger = want[i]};
        if (want_again(s, a, e->path, err))
            return -1;
    }
    return join_name(s, hash, origin, known, err);
}

// Every waiting file that the entry holds the bytes of.
static int reread_entry(struct layer_scan *s, const struct st_tar_entry *e, uint64_t first, struct st_err *err)
{
    struct st_span span = {0};
    bool gathered = false;
    int rc = 0;
    for (uint64_t i = first; i && rc == 0; i = s->again[i - 1].next) {
        struct layer_again *a = &s->again[i - 1];
        if (a->exact != UINT64_MAX ? e->index != a->exact : e->index >= a->before)
            continue;
        struct layer_file f = {.path = a->as,
                               .hash = st_path_hash(a->as),
                               .mode = a->mode,
                               .size = e->size,
                               .entry = a->link_entry,
                               .link = true,
                               .anyway = a->found};
        a->found = true;
        struct st_view v = {.size = e->size, .spans = &span, .n = e->size > 0};
        if (!gathered && !layer_too_large(&f, &a->cataloger, 1)) {
            rc = layer_content_read(s, e->size, &span.data, err);
            gathered = true;
            s->stats.rereads++;
        }
        if (rc == 0)
            rc = layer_parse(s, &f, &a->cataloger, 1, &v, true, err);
    }
    layer_content_drop(s);
    return rc;
}

static int reread_entries(struct layer_scan *s, struct st_err *err)
{
    struct st_tar_entry e;
    uint64_t last = 0;
    int rc;
    for (size_t i = 0; i < s->n_again; i++)
        last = ST_MAX(last, s->again[i].exact == UINT64_MAX ? s->again[i].before : s->again[i].exact);
    while ((rc = layer_next(s, &e, err)) > 0 && e.index <= last) {
        const uint64_t *first = e.type == ST_TAR_FILE ? st_map_get(&s->again_by_path, st_path_hash(e.path)) : NULL;
        if (first && reread_entry(s, &e, *first, err))
            return -1;
    }
    return rc < 0 ? -1 : 0;
}

static int second_pass(struct layer_scan *s, struct st_stream *in, struct st_err *err)
{
    uint64_t start = st_stream_pos(in);
    s->tar = layer_tar(s, in, err);
    if (s->tar && !s->anywhere)
        st_tar_from(s->tar, s->from_index);
    int rc = s->tar ? reread_entries(s, err) : -1;
    st_tar_free(s->tar);
    s->tar = NULL;
    s->stats.reread_bytes = st_stream_pos(in) - start;
    return rc;
}

// The layer's tar stream once more: from the place that was kept, else from its beginning.
static struct st_stream *open_again(struct layer_scan *s, const struct st_layer_source *src, struct st_err *err)
{
    struct st_stream *raw = NULL;
    enum st_codec codec;
    if (src->open(src->ctx, &raw, err))
        return NULL;
    if (s->anywhere)
        return st_stream_detect(s->mem, raw, &codec, err);
    struct st_stream *in = st_place_resume(s->place, s->mem, raw, err);
    uint64_t skip = s->from_offset - st_place_pos(s->place);
    if (in && st_stream_skip(in, skip, err) != (int64_t)skip) {
        st_stream_free(in);
        return st_err_set(err, ST_E_CORRUPT, "the layer is shorter than it was"), NULL;
    }
    return in;
}

int layer_again_read(struct layer_scan *s, const struct st_layer_source *src, struct st_err *err)
{
    if (s->n_again == 0)
        return 0;
    int rc = 0;
    if (s->lazy) {
        layer_lazy_again(s->lazy);
        rc = reread_entries(s, err);
    } else if (s->can_reread) {
        ST_AUTO_STREAM struct st_stream *in = open_again(s, src, err);
        rc = in ? second_pass(s, in, err) : -1;
    }
    for (size_t i = 0; rc == 0 && i < s->n_again; i++)
        if (!s->again[i].found)
            rc = layer_unknown(s, s->again[i].as, s->again[i].link_entry, s->again[i].cataloger, ST_UNKNOWN_LINK,
                               s->can_reread ? ST_SV("hard link to a file that is not in the same layer")
                                             : ST_SV("hard link to a file that went by unread; scan the image from a "
                                                     "file instead of a pipe"),
                               err);
    return rc;
}

void layer_again_free(struct layer_scan *s)
{
    st_mem_free(s->mem, s->again, s->cap_again * sizeof *s->again);
    st_place_free(s->place);
    st_map_release(&s->again_by_path);
    st_buf_release(&s->links);
    st_map_release(&s->linked);
}
