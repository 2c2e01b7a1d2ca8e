// One file and its catalogers: a FILE record is written when the first record of the file comes.
#include "base/ckd.h"
#include "scan/layer_int.h"

#include <stdio.h>

struct lazy {
    struct layer_scan *s;
    const struct st_parse *p;
    uint64_t entry;
    uint8_t cataloger;
    bool started;
    uint64_t number;
    uint64_t packages;
    struct st_emit emit;
};

static int start(struct lazy *l, struct st_err *err)
{
    if (l->started)
        return 0;
    const char *name = st_catalogers[l->cataloger]->name;
    if (st_frag_put_file(l->s->out, l->entry, l->p->path, name, &l->number, err) ||
        st_buf_addc(&l->s->file_cats, (char)l->cataloger, err) ||
        layer_part_log(l->s, LAYER_EVENT_FILE, l->cataloger, err))
        return -1;
    l->started = true;
    return 0;
}

static int lazy_package(void *ctx, const struct st_package *pkg, struct st_err *err)
{
    struct lazy *l = ctx;
    if (start(l, err))
        return -1;
    if (++l->packages > ST_FILE_PACKAGES_MAX)
        return st_err_set(err, ST_E_LIMIT, "more than %d packages in one file", ST_FILE_PACKAGES_MAX);
    const struct st_emit *e = st_frag_emit(l->s->out);
    return e->package(e->ctx, pkg, err);
}

static int lazy_distro(void *ctx, const struct st_distro *d, struct st_err *err)
{
    struct lazy *l = ctx;
    const struct st_emit *e = st_frag_emit(l->s->out);
    return start(l, err) ? -1 : e->distro(e->ctx, d, err);
}

static int lazy_owns(void *ctx, enum st_pkg_type type, struct st_sv owner, struct st_sv path, struct st_err *err)
{
    struct lazy *l = ctx;
    const struct st_emit *e = st_frag_emit(l->s->out);
    return start(l, err) ? -1 : e->owns(e->ctx, type, owner, path, err);
}

static int lazy_note(void *ctx, const struct st_note *n, struct st_err *err)
{
    struct lazy *l = ctx;
    const struct st_emit *e = st_frag_emit(l->s->out);
    return start(l, err) ? -1 : e->note(e->ctx, n, err);
}

static int lazy_unknown(void *ctx, enum st_unknown_reason reason, struct st_sv inner, struct st_sv text,
                        struct st_err *err)
{
    struct lazy *l = ctx;
    const struct st_emit *e = st_frag_emit(l->s->out);
    return start(l, err) ? -1 : e->unknown(e->ctx, reason, inner, text, err);
}

static struct lazy lazy_of(struct layer_scan *s, const struct st_parse *p, uint64_t entry, uint8_t cataloger)
{
    return (struct lazy){
        .s = s,
        .p = p,
        .entry = entry,
        .cataloger = cataloger,
        .emit = {NULL, lazy_package, lazy_distro, lazy_owns, lazy_note, lazy_unknown},
    };
}

static int put_unknown(struct layer_scan *s, struct lazy *l, enum st_unknown_reason reason, struct st_sv text,
                       struct st_err *err)
{
    return start(l, err) ? -1 : st_frag_put_unknown(s->out, reason, ST_SV_NULL, text, err);
}

// ---- parsing one file -----------------------------------------------------------------------------------------------

static void watch_parse(struct layer_scan *s, struct st_sv path)
{
    struct st_layer_watch *w = s->opt->watch;
    if (!w)
        return;
    w->path_len = (uint32_t)ST_MIN(path.len, (size_t)ST_WATCH_PATH_MAX);
    memcpy(w->path, path.ptr, w->path_len);
    atomic_store_explicit(&w->parsing, 1, memory_order_release);
}

static void watch_done(struct layer_scan *s)
{
    struct st_layer_watch *w = s->opt->watch;
    if (!w)
        return;
    atomic_store_explicit(&w->parsing, 0, memory_order_release);
    atomic_store_explicit(&w->used, s->mem->used, memory_order_relaxed);
    atomic_store_explicit(&w->peak, s->mem->peak, memory_order_relaxed);
    atomic_store_explicit(&w->spilled, s->mem->spill_peak, memory_order_relaxed);
}

static bool skipped(const struct layer_scan *s, struct st_sv path)
{
    for (size_t i = 0; i < s->opt->n_skip; i++)
        if (st_sv_eq(st_sv_sub(path, 0, ST_WATCH_PATH_MAX), s->opt->skip[i]))
            return true;
    return false;
}

size_t layer_catalogers(void)
{
    size_t n = 0;
    while (st_catalogers[n])
        n++;
    return n;
}

int layer_remember(struct layer_scan *s, uint64_t path_hash, uint64_t number, struct st_err *err)
{
    bool fresh;
    uint64_t *v = st_map_put(&s->parsed, path_hash, &fresh, err);
    if (!v)
        return -1;
    // Several catalogers of one entry come one after the other; a later entry of the same path starts anew.
    bool follows = !fresh && (*v & 0xFF) && (*v >> 8) + (*v & 0xFF) == number && (*v & 0xFF) < 0xFF;
    *v = follows ? *v + 1 : number << 8 | 1;
    return layer_part_log(s, LAYER_EVENT_PARSED, number, err);
}

// Calls one cataloger and turns what it says about a bad file into an unknown. 1: wants the file again.
static int parse_one(struct layer_scan *s, const struct layer_file *f, uint8_t cataloger, const struct st_view *v,
                     struct st_err *err)
{
    const struct st_cataloger *c = st_catalogers[cataloger];
    struct st_parse p = {.path = f->path, .mode = f->mode, .size = f->size, .arena = &s->scratch, .mem = s->mem};
    struct lazy l = lazy_of(s, &p, f->entry, cataloger);
    l.emit.ctx = &l;
    p.emit = &l.emit;
    int rc;
    if (skipped(s, f->path)) {
        rc = put_unknown(s, &l, ST_UNKNOWN_CRASH, ST_SV("the analyzer died while it read this file"), err);
    } else if (f->size > c->max_size && c->need != ST_NEED_NAME) {
        struct st_err e;
        st_err_set(&e, ST_E_LIMIT, "file of %llu bytes is larger than the limit of %llu", (unsigned long long)f->size,
                   (unsigned long long)c->max_size);
        rc = put_unknown(s, &l, ST_UNKNOWN_LIMIT, st_sv_of(e.text), err);
    } else {
        struct st_err e = {0};
        watch_parse(s, f->path);
        rc = c->parse(&p, v, &e);
        watch_done(s);
        if (rc < 0 && (e.code == ST_E_FORMAT || e.code == ST_E_LIMIT)) {
            size_t n = strlen(e.text);
            if (e.has_offset)
                snprintf(e.text + n, sizeof e.text - n, " at byte %llu", (unsigned long long)e.offset);
            rc = put_unknown(s, &l, e.code == ST_E_LIMIT ? ST_UNKNOWN_LIMIT : ST_UNKNOWN_FORMAT, st_sv_of(e.text), err);
        } else if (rc < 0 && err) {
            *err = e;
        }
    }
    st_arena_reset(&s->scratch);
    if (rc == 0 && f->anyway)
        rc = start(&l, err);
    if (rc == 0 && l.started && !f->link)
        rc = layer_remember(s, f->hash, l.number, err);
    return rc;
}

int layer_parse(struct layer_scan *s, const struct layer_file *f, const uint8_t *want, size_t n,
                const struct st_view *v, bool whole, struct st_err *err)
{
    for (size_t i = 0; i < n; i++) {
        int rc = parse_one(s, f, want[i], v, err);
        if (rc < 0)
            return st_err_wrap(err, "%.*s", (int)ST_MIN(f->path.len, (size_t)256), f->path.ptr);
        if (rc == ST_PARSE_AGAIN && whole)
            return st_err_set(err, ST_E_INTERNAL, "%s asked again for a whole file", st_catalogers[want[i]]->name);
        if (rc == ST_PARSE_AGAIN && layer_again_whole(s, f, want[i], err))
            return -1;
    }
    return 0;
}
int layer_unknown(struct layer_scan *s, struct st_sv path, uint64_t entry, uint8_t cataloger,
                  enum st_unknown_reason reason, struct st_sv text, struct st_err *err)
{
    struct st_parse p = {.path = path};
    struct lazy l = lazy_of(s, &p, entry, cataloger);
    return put_unknown(s, &l, reason, text, err);
}
