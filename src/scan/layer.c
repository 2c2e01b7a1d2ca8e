#include "scan/layer.h"

#include "archive/tar.h"
#include "base/ckd.h"
#include "base/map.h"

#include <stdio.h>
#include <sys/stat.h>

#define WANT_MAX 8                          // catalogers that one file may match
#define SPARSE_WHOLE ((uint64_t)256 * 1024) // executables up to this size are kept whole
#define LARGE_FILE ((uint64_t)4 << 20)      // larger files have a buffer of their own, in the spill file mostly
#define KEEP_RANGES ((size_t)1 << 20)       // a larger buffer for ranges is given back after its file
#define RESERVE_MAX ((uint64_t)64 << 20)    // taken at once for a file that says to be as large

// A file to be read in the second pass.
struct again {
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

struct scan {
    struct st_mem *mem;
    const struct st_layer_options *opt;
    struct st_frag_writer *out;
    struct st_stream *raw; // borrowed: the blob end of the chain
    struct st_tar *tar;
    bool can_reread;
    uint8_t by_magic[WANT_MAX]; // catalogers that are told by a file's bytes
    size_t n_by_magic;
    struct st_arena scratch; // of one parse
    struct st_arena arena;   // of the layer
    // The file in hand. Buffers stay from file to file: pages that are there already cost nothing.
    struct st_buf content, large; // of up to LARGE_FILE; of more
    struct st_buf ranges;         // of an executable
    struct st_map parsed;         // path hash -> FILE numbers that its bytes gave: first << 8 | count; 0: none
    struct st_map linked;         // path hash of a hard link -> index + 1 into `links`; 0: replaced since
    struct st_buf links;          // struct origin
    struct st_buf file_cats;      // a byte per FILE: its cataloger
    struct again *again;
    size_t n_again, cap_again;
    // Where the second pass can begin: the first file that has to be read again, unless a hard link's target, which may
    // be anywhere, is among them.
    struct st_place *place; // NULL: from the beginning only
    bool kept;              // place stays where it is: before the entry `from`
    bool anywhere;
    uint64_t from_offset, from_index;
    struct st_map again_by_path; // path hash -> index + 1
    struct st_layer_stats stats;
};

// ---- emitting: a FILE record is written when the first record of the file comes -------------------------------------

struct lazy {
    struct scan *s;
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
        st_buf_addc(&l->s->file_cats, (char)l->cataloger, err))
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

static struct lazy lazy_of(struct scan *s, const struct st_parse *p, uint64_t entry, uint8_t cataloger)
{
    return (struct lazy){
        .s = s,
        .p = p,
        .entry = entry,
        .cataloger = cataloger,
        .emit = {NULL, lazy_package, lazy_distro, lazy_owns, lazy_note, lazy_unknown},
    };
}

static int put_unknown(struct scan *s, struct lazy *l, enum st_unknown_reason reason, const char *text,
                       struct st_err *err)
{
    return start(l, err) ? -1 : st_frag_put_unknown(s->out, reason, ST_SV_NULL, st_sv_of(text), err);
}

// ---- parsing one file -----------------------------------------------------------------------------------------------

static void watch_parse(struct scan *s, struct st_sv path)
{
    struct st_layer_watch *w = s->opt->watch;
    if (!w)
        return;
    w->path_len = (uint32_t)ST_MIN(path.len, (size_t)ST_WATCH_PATH_MAX);
    memcpy(w->path, path.ptr, w->path_len);
    atomic_store_explicit(&w->parsing, 1, memory_order_release);
}

static void watch_done(struct scan *s)
{
    struct st_layer_watch *w = s->opt->watch;
    if (!w)
        return;
    atomic_store_explicit(&w->parsing, 0, memory_order_release);
    atomic_store_explicit(&w->used, s->mem->used, memory_order_relaxed);
    atomic_store_explicit(&w->peak, s->mem->peak, memory_order_relaxed);
    atomic_store_explicit(&w->spilled, s->mem->spill_peak, memory_order_relaxed);
}

static bool skipped(const struct scan *s, struct st_sv path)
{
    for (size_t i = 0; i < s->opt->n_skip; i++)
        if (st_sv_eq(st_sv_sub(path, 0, ST_WATCH_PATH_MAX), s->opt->skip[i]))
            return true;
    return false;
}

static int remember(struct scan *s, uint64_t path_hash, uint64_t number, struct st_err *err)
{
    bool fresh;
    uint64_t *v = st_map_put(&s->parsed, path_hash, &fresh, err);
    if (!v)
        return -1;
    // Several catalogers of one entry come one after the other; a later entry of the same path starts anew.
    bool follows = !fresh && (*v & 0xFF) && (*v >> 8) + (*v & 0xFF) == number && (*v & 0xFF) < 0xFF;
    *v = follows ? *v + 1 : number << 8 | 1;
    return 0;
}

static int want_again(struct scan *s, struct again want, struct st_sv as, struct st_err *err);

struct file {
    struct st_sv path;
    uint64_t hash; // of the path
    uint32_t mode;
    uint64_t size, entry, offset; // offset: of the entry's header
    bool link;                    // the bytes stand under another name: not remembered as target of further links
    bool anyway;                  // a FILE record even without records below it: it replaces an earlier reading
};

// Calls one cataloger and turns what it says about a bad file into an unknown. 1: wants the file again.
static int parse_one(struct scan *s, const struct file *f, uint8_t cataloger, const struct st_view *v,
                     struct st_err *err)
{
    const struct st_cataloger *c = st_catalogers[cataloger];
    struct st_parse p = {.path = f->path, .mode = f->mode, .size = f->size, .arena = &s->scratch, .mem = s->mem};
    struct lazy l = lazy_of(s, &p, f->entry, cataloger);
    l.emit.ctx = &l;
    p.emit = &l.emit;
    int rc;
    if (skipped(s, f->path)) {
        rc = put_unknown(s, &l, ST_UNKNOWN_CRASH, "the analyzer died while it read this file", err);
    } else if (f->size > c->max_size && c->need != ST_NEED_NAME) {
        struct st_err e;
        st_err_set(&e, ST_E_LIMIT, "file of %llu bytes is larger than the limit of %llu", (unsigned long long)f->size,
                   (unsigned long long)c->max_size);
        rc = put_unknown(s, &l, ST_UNKNOWN_LIMIT, e.text, err);
    } else {
        struct st_err e = {0};
        watch_parse(s, f->path);
        rc = c->parse(&p, v, &e);
        watch_done(s);
        if (rc < 0 && (e.code == ST_E_FORMAT || e.code == ST_E_LIMIT)) {
            size_t n = strlen(e.text);
            if (e.has_offset)
                snprintf(e.text + n, sizeof e.text - n, " at byte %llu", (unsigned long long)e.offset);
            rc = put_unknown(s, &l, e.code == ST_E_LIMIT ? ST_UNKNOWN_LIMIT : ST_UNKNOWN_FORMAT, e.text, err);
        } else if (rc < 0 && err) {
            *err = e;
        }
    }
    st_arena_reset(&s->scratch);
    if (rc == 0 && f->anyway)
        rc = start(&l, err);
    if (rc == 0 && l.started && !f->link)
        rc = remember(s, f->hash, l.number, err);
    return rc;
}

// The second pass begins at the first file that needs it.
static void keep_place(struct scan *s, const struct file *f)
{
    if (s->kept || s->anywhere)
        return;
    s->kept = s->place && st_place_pos(s->place) <= f->offset;
    s->anywhere = !s->kept;
    s->from_offset = f->offset;
    s->from_index = f->entry;
}

static int parse_all(struct scan *s, const struct file *f, const uint8_t *want, size_t n, const struct st_view *v,
                     bool whole, struct st_err *err)
{
    for (size_t i = 0; i < n; i++) {
        int rc = parse_one(s, f, want[i], v, err);
        if (rc < 0)
            return st_err_wrap(err, "%.*s", (int)ST_MIN(f->path.len, (size_t)256), f->path.ptr);
        if (rc == ST_PARSE_AGAIN && whole)
            return st_err_set(err, ST_E_INTERNAL, "%s asked again for a whole file", st_catalogers[want[i]]->name);
        if (rc == ST_PARSE_AGAIN) {
            struct again a = {
                .path_hash = f->hash, .exact = f->entry, .link_entry = f->entry, .mode = f->mode, .cataloger = want[i]};
            keep_place(s, f);
            if (want_again(s, a, f->path, err))
                return -1;
        }
    }
    return 0;
}

// ---- a file's bytes -------------------------------------------------------------------------------------------------

static struct st_buf *buffer_for(struct scan *s, uint64_t size)
{
    return size > LARGE_FILE ? &s->large : &s->content;
}

// The current entry's data appended to b, run by run, until there are at least `max` bytes or no more.
static int gather(struct scan *s, struct st_buf *b, uint64_t max, struct st_err *err)
{
    struct st_sv run;
    int rc = 0;
    // At once, so that a large file goes to the spill file from its first byte on.
    if (max > b->len && st_buf_reserve(b, (size_t)ST_MIN(max - b->len, RESERVE_MAX), err))
        return -1;
    while (b->len < max && (rc = st_tar_data(s->tar, &run, err)) > 0) {
        if (st_buf_add(b, run, err))
            return -1;
    }
    return rc < 0 ? -1 : 0;
}

static void drop_content(struct scan *s)
{
    if (st_buf_spilled(&s->content)) // small files are better off in memory
        st_buf_release(&s->content);
    st_buf_clear(&s->content);
    if (s->large.len && st_buf_spilled(&s->large))
        st_mem_trim(s->mem);
    st_buf_clear(&s->large);
}

// The whole file: straight from the stream's buffer when one run holds it all.
static int whole_file(struct scan *s, const struct file *f, struct st_sv head, const uint8_t *want, size_t n,
                      struct st_err *err)
{
    struct st_view v = {.size = f->size, .n = f->size > 0};
    struct st_span span = {0, head};
    v.spans = &span;
    if (head.len < f->size) {
        struct st_buf *b = buffer_for(s, f->size);
        if (head.ptr != b->ptr) {
            st_buf_clear(b);
            if (st_buf_reserve(b, (size_t)ST_MIN(f->size, RESERVE_MAX), err) || st_buf_add(b, head, err))
                return -1;
        }
        if (gather(s, b, f->size, err))
            return -1;
        span.data = st_buf_sv(b);
    }
    int rc = parse_all(s, f, want, n, &v, true, err);
    drop_content(s);
    return rc;
}

struct range {
    uint64_t off, end;
};

// The catalogers' plans as one sorted list without overlaps, clipped to the file.
static int make_ranges(const struct file *f, struct st_sv head, uint8_t *want, size_t *n, struct range *ret,
                       size_t *ret_n)
{
    size_t k = 0, kept = 0;
    ret[k++] = (struct range){0, ST_MIN(f->size, (uint64_t)ST_PLAN_HEAD)};
    for (size_t i = 0; i < *n; i++) {
        struct st_plan plan = {0};
        const struct st_cataloger *c = st_catalogers[want[i]];
        if (c->plan && (c->plan(st_sv_sub(head, 0, ST_PLAN_HEAD), f->size, &plan) || plan.n == 0))
            continue; // of no interest
        want[kept++] = want[i];
        uint64_t bytes = 0;
        for (size_t j = 0; j < plan.n && j < ST_PLAN_MAX; j++) {
            uint64_t off = ST_MIN(plan.range[j].off, f->size), len = ST_MIN(plan.range[j].len, f->size - off);
            len = ST_MIN(len, ST_PLAN_BYTES - bytes);
            bytes += len;
            if (len)
                ret[k++] = (struct range){off, off + len};
        }
    }
    *n = kept;
    for (size_t i = 1; i < k; i++) // few: insertion sort
        for (size_t j = i; j > 0 && ret[j - 1].off > ret[j].off; j--) {
            struct range t = ret[j];
            ret[j] = ret[j - 1];
            ret[j - 1] = t;
        }
    size_t m = 0;
    for (size_t i = 1; i < k; i++)
        if (ret[i].off <= ret[m].end)
            ret[m].end = ST_MAX(ret[m].end, ret[i].end);
        else
            ret[++m] = ret[i];
    *ret_n = m + 1;
    return kept != 0;
}

// Only the planned ranges of a large file are kept.
static int sparse_file(struct scan *s, const struct file *f, struct st_sv head, uint8_t *want, size_t n,
                       struct st_err *err)
{
    struct range ranges[1 + WANT_MAX * ST_PLAN_MAX];
    struct st_span spans[1 + WANT_MAX * ST_PLAN_MAX];
    size_t n_ranges;
    if (!make_ranges(f, head, want, &n, ranges, &n_ranges))
        return 0;
    size_t total = 0;
    for (size_t i = 0; i < n_ranges; i++)
        total += (size_t)(ranges[i].end - ranges[i].off);
    struct st_buf *kept = &s->ranges;
    st_buf_clear(kept);
    int rc = st_buf_reserve(kept, total, err); // no growth below: spans point into it
    uint64_t pos = 0;
    size_t r = 0;
    struct st_sv run = head;
    while (rc == 0 && r < n_ranges && run.len) {
        uint64_t run_end = pos + run.len;
        while (rc == 0 && r < n_ranges && ranges[r].off < run_end) {
            uint64_t from = ST_MAX(ranges[r].off, pos), to = ST_MIN(ranges[r].end, run_end);
            if (from == ranges[r].off)
                spans[r] = (struct st_span){from, {kept->ptr + kept->len, (size_t)(ranges[r].end - from)}};
            rc = st_buf_add(kept, st_sv_sub(run, (size_t)(from - pos), (size_t)(to - from)), err);
            if (ranges[r].end > run_end)
                break;
            r++;
        }
        pos = run_end;
        if (rc == 0 && r < n_ranges && (rc = st_tar_data(s->tar, &run, err)) >= 0) {
            if (rc == 0)
                run.len = 0;
            rc = 0;
        }
    }
    if (rc == 0) {
        struct st_view v = {.size = f->size, .spans = spans, .n = r};
        rc = parse_all(s, f, want, n, &v, false, err);
    }
    if (kept->cap > KEEP_RANGES)
        st_buf_release(kept);
    return rc;
}

// Asked of every file: the catalogers that go by magic were looked up once, and those that share a test stand together.
static size_t add_magic(const struct scan *s, struct st_sv head, uint64_t size, uint8_t *want, size_t n)
{
    bool (*asked)(struct st_sv, uint64_t) = NULL;
    bool yes = false;
    for (size_t i = 0; i < s->n_by_magic && n < WANT_MAX; i++) {
        bool (*magic)(struct st_sv, uint64_t) = st_catalogers[s->by_magic[i]]->magic;
        if (magic != asked)
            yes = magic(head, size);
        asked = magic;
        if (yes)
            want[n++] = s->by_magic[i];
    }
    return n;
}

static void find_by_magic(struct scan *s)
{
    for (uint8_t i = 0; st_catalogers[i] && s->n_by_magic < WANT_MAX; i++)
        if (!st_catalogers[i]->globs && st_catalogers[i]->magic)
            s->by_magic[s->n_by_magic++] = i;
}

static bool all_sparse(const uint8_t *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (st_catalogers[want[i]]->need != ST_NEED_SPARSE)
            return false;
    return true;
}

// Files too large for every cataloger that wants them are not gathered.
static bool all_too_large(const struct file *f, const uint8_t *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (f->size <= st_catalogers[want[i]]->max_size)
            return false;
    return true;
}

static int regular_file(struct scan *s, const struct file *f, uint8_t *want, size_t n, struct st_err *err)
{
    struct st_sv head = ST_SV_NULL;
    if (f->size) {
        int rc = st_tar_data(s->tar, &head, err);
        if (rc <= 0)
            return rc ? -1 : st_err_set(err, ST_E_CORRUPT, "file without data");
        if (head.len < f->size && head.len < ST_PLAN_HEAD) { // the run ends early: put the head together
            st_buf_clear(&s->content);
            if (st_buf_add(&s->content, head, err) ||
                gather(s, &s->content, ST_MIN(f->size, (uint64_t)ST_PLAN_HEAD), err))
                return -1;
            head = st_buf_sv(&s->content);
        }
    }
    n = add_magic(s, st_sv_sub(head, 0, 16), f->size, want, n);
    if (n == 0)
        return 0;
    if (all_too_large(f, want, n)) {
        struct st_view none = {.size = f->size};
        return parse_all(s, f, want, n, &none, true, err);
    }
    if (all_sparse(want, n) && f->size > SPARSE_WHOLE && s->can_reread) {
        if (s->place)
            st_place_hold(s->place, true);
        int rc = sparse_file(s, f, head, want, n, err);
        if (s->place)
            st_place_hold(s->place, s->kept);
        return rc;
    }
    return whole_file(s, f, head, want, n, err);
}

// ---- hard links and the second pass ---------------------------------------------------------------------------------

static int want_again(struct scan *s, struct again want, struct st_sv as, struct st_err *err)
{
    if (s->n_again == ST_LAYER_REREADS_MAX)
        return st_err_set(err, ST_E_LIMIT, "more than %d files have to be read twice", ST_LAYER_REREADS_MAX);
    if (s->n_again == s->cap_again) {
        size_t cap = s->cap_again ? s->cap_again * 2 : 16;
        struct again *p = st_mem_resize(s->mem, s->again, s->cap_again * sizeof *p, cap * sizeof *p, err);
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

// A name takes on other bytes: what was known of the old ones is not theirs.
static void forget(struct scan *s, uint64_t hash)
{
    uint64_t *v = st_map_get(&s->parsed, hash);
    if (v)
        *v = 0;
    if ((v = st_map_get(&s->linked, hash)))
        *v = 0;
}

static struct origin origin_of(const struct scan *s, uint64_t path_hash, uint64_t before)
{
    const uint64_t *v = st_map_get(&s->linked, path_hash);
    if (!v || !*v)
        return (struct origin){path_hash, before};
    struct origin o;
    memcpy(&o, s->links.ptr + (*v - 1) * sizeof o, sizeof o);
    return o;
}

// The link's name stands for the target's bytes from here on, and for what was read in them.
static int join_name(struct scan *s, uint64_t hash, struct origin o, uint64_t parsed, struct st_err *err)
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

static int hard_link(struct scan *s, const struct st_tar_entry *e, uint64_t hash, const uint8_t *want, size_t n,
                     struct st_err *err)
{
    uint64_t target = st_path_hash(e->link);
    if (target == hash) // to itself: changes nothing
        return 0;
    struct origin origin = origin_of(s, target, e->index);
    const uint64_t *at = st_map_get(&s->parsed, target);
    uint64_t known = at ? *at : 0;
    forget(s, hash);
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
        if (counts && st_frag_put_alias(s->out, e->index, e->path, number, err))
            return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (have >> i & 1 || st_catalogers[want[i]]->need == ST_NEED_NAME)
            continue;
        s->anywhere = true;
        struct again a = {.path_hash = origin.path_hash,
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

static int link_unknown(struct scan *s, const struct again *a, const char *text, struct st_err *err)
{
    struct st_parse p = {.path = a->as};
    struct lazy l = lazy_of(s, &p, a->link_entry, a->cataloger);
    return put_unknown(s, &l, ST_UNKNOWN_LINK, text, err);
}

// Every waiting file that the entry holds the bytes of.
static int reread_entry(struct scan *s, const struct st_tar_entry *e, uint64_t first, struct st_err *err)
{
    bool gathered = false;
    int rc = 0;
    for (uint64_t i = first; i && rc == 0; i = s->again[i - 1].next) {
        struct again *a = &s->again[i - 1];
        if (a->exact != UINT64_MAX ? e->index != a->exact : e->index >= a->before)
            continue;
        struct file f = {.path = a->as,
                         .hash = st_path_hash(a->as),
                         .mode = a->mode,
                         .size = e->size,
                         .entry = a->link_entry,
                         .link = true,
                         .anyway = a->found};
        a->found = true;
        struct st_view v = {.size = e->size, .n = e->size > 0};
        struct st_buf *b = buffer_for(s, e->size);
        if (!gathered && !all_too_large(&f, &a->cataloger, 1)) {
            st_buf_clear(b);
            rc = gather(s, b, e->size, err);
            gathered = true;
            s->stats.rereads++;
        }
        struct st_span span = {0, st_buf_sv(b)};
        v.spans = &span;
        if (rc == 0)
            rc = parse_all(s, &f, &a->cataloger, 1, &v, true, err);
    }
    drop_content(s);
    return rc;
}

// A layer holds what a container runtime finds in it, no more.
static struct st_tar *open_tar(struct scan *s, struct st_stream *in, struct st_err *err)
{
    struct st_tar *t = st_tar_new(s->mem, in, err);
    if (t)
        st_tar_as_runtime(t);
    return t;
}

static int second_pass(struct scan *s, struct st_stream *in, struct st_err *err)
{
    struct st_tar_entry e;
    uint64_t last = 0, start = st_stream_pos(in);
    for (size_t i = 0; i < s->n_again; i++)
        last = ST_MAX(last, s->again[i].exact == UINT64_MAX ? s->again[i].before : s->again[i].exact);
    s->tar = open_tar(s, in, err);
    int rc = s->tar ? 1 : -1;
    if (s->tar && !s->anywhere)
        st_tar_from(s->tar, s->from_index);
    while (rc > 0 && (rc = st_tar_next(s->tar, &e, err)) > 0) {
        if (e.index > last)
            break;
        const uint64_t *first = e.type == ST_TAR_FILE ? st_map_get(&s->again_by_path, st_path_hash(e.path)) : NULL;
        if (first && reread_entry(s, &e, *first, err))
            rc = -1;
    }
    st_tar_free(s->tar);
    s->tar = NULL;
    s->stats.reread_bytes = st_stream_pos(in) - start;
    return rc < 0 ? -1 : 0;
}

// The layer's tar stream once more: from the place that was kept, else from its beginning.
static struct st_stream *open_again(struct scan *s, const struct st_layer_source *src, struct st_err *err)
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

static int reread(struct scan *s, const struct st_layer_source *src, struct st_err *err)
{
    if (s->n_again == 0)
        return 0;
    int rc = 0;
    if (s->can_reread) {
        ST_AUTO_STREAM struct st_stream *in = open_again(s, src, err);
        rc = in ? second_pass(s, in, err) : -1;
    }
    for (size_t i = 0; rc == 0 && i < s->n_again; i++)
        if (!s->again[i].found)
            rc = link_unknown(
                s, &s->again[i],
                s->can_reread ? "hard link to a file that is not in the same layer"
                              : "hard link to a file that went by unread; scan the image from a file instead of a pipe",
                err);
    return rc;
}

// ---- the walk -------------------------------------------------------------------------------------------------------

// OCI image-spec, layer.md "Whiteouts": d/.wh.NAME hides d/NAME of lower layers, d/.wh..wh..opq all of d's children.
static bool whiteout(struct scan *s, struct st_sv path, int *ret_rc, struct st_err *err)
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
static int by_name(struct scan *s, const struct file *f, const uint8_t *want, size_t n, struct st_err *err)
{
    struct st_view none = {0};
    for (size_t i = 0; i < n; i++)
        if (st_catalogers[want[i]]->need == ST_NEED_NAME && parse_all(s, f, &want[i], 1, &none, true, err))
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

// A file of a directory that could not be read (src/image/rootfs.h). It belongs to no cataloger: the first lends its
// name.
static int unreadable(struct scan *s, const struct st_tar_entry *e, struct st_err *err)
{
    struct st_parse p = {.path = e->path};
    struct lazy l = lazy_of(s, &p, e->index, 0);
    if (start(&l, err))
        return -1;
    return st_frag_put_unknown(s->out, ST_UNKNOWN_UNREADABLE, ST_SV_NULL, e->error, err);
}

static uint32_t type_bits(enum st_tar_type type)
{
    return type == ST_TAR_DIR ? S_IFDIR : type == ST_TAR_SYMLINK ? S_IFLNK : S_IFREG;
}

static int entry(struct scan *s, const struct st_tar_entry *e, struct st_err *err)
{
    int rc = 0;
    if (e->type != ST_TAR_DIR && !s->opt->rootfs && whiteout(s, e->path, &rc, err))
        return rc;
    uint64_t hash = st_path_hash(e->path);
    if (st_frag_put_item(s->out, e->type == ST_TAR_DIR ? ST_ITEM_DIR : ST_ITEM_NONDIR, hash, err))
        return -1;
    if (e->path.len == 0)
        return 0;
    uint8_t want[WANT_MAX];
    size_t n = st_classify(s->opt->classifier, e->path, want, WANT_MAX);
    struct file f = {.path = e->path,
                     .hash = hash,
                     .mode = e->mode | type_bits(e->type),
                     .size = e->size,
                     .entry = e->index,
                     .offset = e->offset};
    if (n && by_name(s, &f, want, n, err))
        return -1;
    n = without_names(want, n);
    if (e->type != ST_TAR_HARDLINK && e->type != ST_TAR_DIR)
        forget(s, hash);
    if (s->opt->rootfs && e->error.len)
        return unreadable(s, e, err);
    if (s->opt->rootfs && e->full_size) { // left out: nobody wants it, or it is too large for whoever does
        struct st_view none = {.size = e->full_size};
        f.size = e->full_size;
        s->stats.files++;
        return parse_all(s, &f, want, n, &none, true, err);
    }
    switch (e->type) {
    case ST_TAR_FILE:
        s->stats.files++;
        return regular_file(s, &f, want, n, err);
    case ST_TAR_HARDLINK:
        s->stats.files++;
        return hard_link(s, e, hash, want, n, err);
    case ST_TAR_SYMLINK:
        return st_frag_put_symlink(s->out, e->index, e->path, e->link, err);
    default:
        return 0;
    }
}

static int walk(struct scan *s, struct st_stream *in, struct st_err *err)
{
    struct st_tar_entry e;
    struct st_layer_watch *w = s->opt->watch;
    s->tar = open_tar(s, in, err);
    int rc = s->tar ? 1 : -1;
    while (rc > 0 && (rc = st_tar_next(s->tar, &e, err)) > 0) {
        s->stats.entries = e.index + 1;
        if (entry(s, &e, err)) {
            rc = -1;
            break;
        }
        if (w && (e.index & 63) == 0) {
            atomic_store_explicit(&w->entries, e.index, memory_order_relaxed);
            atomic_store_explicit(&w->stored, st_stream_pos(s->raw), memory_order_relaxed);
            atomic_store_explicit(&w->bytes, st_stream_pos(in), memory_order_relaxed);
        }
    }
    st_tar_free(s->tar);
    s->tar = NULL;
    // What stands behind the end of the archive belongs to the blob and to its digests.
    return rc < 0 || st_stream_drain(in, err) < 0 ? -1 : 0;
}

static int check_digest(const char *what, const char *want, const char *have, struct st_err *err)
{
    if (!*want || strcmp(want, have) == 0)
        return 0;
    return st_err_set(err, ST_E_CORRUPT, "%s does not match: expected sha256:%s, the bytes give sha256:%s", what, want,
                      have);
}

// The blob's digest says more than the decoder's complaint about the damage it found: what is left is read for it.
static void blame_digest(struct scan *s, struct st_stream *tee, struct st_sha256 *blob, struct st_err *err)
{
    char hex[ST_DIGEST_HEX + 1];
    struct st_err e;
    if (!s->opt->digest[0] || !err || err->code != ST_E_CORRUPT || st_stream_drain(tee, NULL) < 0)
        return;
    st_sha256_hex(blob, hex);
    if (check_digest("blob digest", s->opt->digest, hex, &e))
        *err = e;
}

static int first_pass(struct scan *s, const struct st_layer_source *src, struct st_err *err)
{
    const struct st_layer_options *o = s->opt;
    struct st_stream *raw = NULL;
    if (src->open(src->ctx, &raw, err))
        return -1;
    s->raw = raw;
    struct st_sha256 *blob = NULL, *diff = NULL;
    int rc = 0;
    if (o->digest[0] || o->want_digest)
        rc = (blob = st_sha256_new(s->mem, err)) ? 0 : -1;
    if (rc == 0 && (o->diff_id[0] || o->want_diff_id))
        rc = (diff = st_sha256_new(s->mem, err)) ? 0 : -1;
    struct st_stream *in = raw, *tee = NULL; // tee: borrowed from the chain
    enum st_codec codec = ST_CODEC_NONE;
    if (rc == 0 && blob)
        in = tee = st_stream_digest(s->mem, in, blob, err);
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
    if (rc == 0)
        rc = in ? walk(s, in, err) : -1;
    if (rc && in && tee)
        blame_digest(s, tee, blob, err);
    if (rc == 0) {
        s->stats.bytes = st_stream_pos(in);
        s->stats.stored = st_stream_pos(raw);
        if (blob)
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

int st_layer_scan(struct st_mem *mem, const struct st_layer_source *src, const struct st_layer_options *opt,
                  struct st_frag_writer *out, struct st_layer_stats *ret_stats, struct st_err *err)
{
    struct scan s = {.mem = mem, .opt = opt, .out = out, .can_reread = src->again};
    find_by_magic(&s);
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
    int rc = first_pass(&s, src, err);
    if (rc == 0)
        rc = reread(&s, src, err);
    if (rc == 0) {
        s.stats.peak = mem->peak;
        s.stats.spilled = mem->spill_peak;
        rc = st_frag_finish(out, &s.stats, err);
    }
    st_mem_free(mem, s.again, s.cap_again * sizeof *s.again);
    st_place_free(s.place);
    st_map_release(&s.again_by_path);
    st_buf_release(&s.links);
    st_map_release(&s.linked);
    st_map_release(&s.parsed);
    st_buf_release(&s.file_cats);
    st_buf_release(&s.ranges);
    st_buf_release(&s.large);
    st_buf_release(&s.content);
    st_arena_release(&s.arena);
    st_arena_release(&s.scratch);
    if (rc == 0)
        *ret_stats = s.stats;
    return rc;
}
