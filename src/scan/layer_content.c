// The bytes of one file, as its catalogers need them.
#include "base/ckd.h"
#include "scan/layer_int.h"

#define LARGE_FILE ((uint64_t)4 << 20)   // larger files have a buffer of their own, in the spill file mostly
#define KEEP_RANGES ((size_t)1 << 20)    // a larger buffer for ranges is given back after its file
#define RESERVE_MAX ((uint64_t)64 << 20) // taken at once for a file that says to be as large

static struct st_buf *buffer_for(struct layer_scan *s, uint64_t size)
{
    return size > LARGE_FILE ? &s->large : &s->content;
}

// The current entry's data appended to b, run by run, until there are at least `max` bytes or no more.
static int gather(struct layer_scan *s, struct st_buf *b, uint64_t max, struct st_err *err)
{
    struct st_sv run;
    int rc = 0;
    // At once, so that a large file goes to the spill file from its first byte on.
    if (max > b->len && st_buf_reserve(b, (size_t)ST_MIN(max - b->len, RESERVE_MAX), err))
        return -1;
    while (b->len < max && (rc = layer_data(s, &run, err)) > 0) {
        if (st_buf_add(b, run, err))
            return -1;
    }
    return rc < 0 ? -1 : 0;
}

int layer_content_read(struct layer_scan *s, uint64_t size, struct st_sv *ret, struct st_err *err)
{
    struct st_buf *b = buffer_for(s, size);
    st_buf_clear(b);
    int rc = gather(s, b, size, err);
    *ret = st_buf_sv(b);
    return rc;
}

void layer_content_drop(struct layer_scan *s)
{
    if (st_buf_spilled(&s->content)) // small files are better off in memory
        st_buf_release(&s->content);
    st_buf_clear(&s->content);
    if (s->large.len && st_buf_spilled(&s->large))
        st_mem_trim(s->mem);
    st_buf_clear(&s->large);
}

// The whole file: straight from the stream's buffer when one run holds it all.
static int whole_file(struct layer_scan *s, const struct layer_file *f, struct st_sv head, const uint8_t *want,
                      size_t n, struct st_err *err)
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
    int rc = layer_parse(s, f, want, n, &v, true, err);
    layer_content_drop(s);
    return rc;
}

struct range {
    uint64_t off, end;
};

// The catalogers' plans as one sorted list without overlaps, clipped to the file.
static int make_ranges(const struct layer_file *f, struct st_sv head, uint8_t *want, size_t *n, struct range *ret,
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
static int sparse_file(struct layer_scan *s, const struct layer_file *f, struct st_sv head, uint8_t *want, size_t n,
                       struct st_err *err)
{
    struct range ranges[1 + LAYER_WANT_MAX * ST_PLAN_MAX];
    struct st_span spans[1 + LAYER_WANT_MAX * ST_PLAN_MAX];
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
        if (rc == 0 && r < n_ranges && ranges[r].off > pos)
            rc = layer_seek(s, ranges[r].off, ranges[r].end, &pos, err);
        if (rc == 0 && r < n_ranges && (rc = layer_data(s, &run, err)) >= 0) {
            if (rc == 0)
                run.len = 0;
            rc = 0;
        }
    }
    if (rc == 0) {
        struct st_view v = {.size = f->size, .spans = spans, .n = r};
        rc = layer_parse(s, f, want, n, &v, false, err);
    }
    if (kept->cap > KEEP_RANGES)
        st_buf_release(kept);
    return rc;
}

// Asked of every file: the catalogers that go by magic were looked up once, and those that share a test stand together.
static size_t add_magic(const struct layer_scan *s, struct st_sv head, uint64_t size, uint8_t *want, size_t n)
{
    bool (*asked)(struct st_sv, uint64_t) = NULL;
    bool yes = false;
    for (size_t i = 0; i < s->n_by_magic && n < LAYER_WANT_MAX; i++) {
        bool (*magic)(struct st_sv, uint64_t) = st_catalogers[s->by_magic[i]]->magic;
        if (magic != asked)
            yes = magic(head, size);
        asked = magic;
        if (yes)
            want[n++] = s->by_magic[i];
    }
    return n;
}

static bool all_sparse(const uint8_t *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (st_catalogers[want[i]]->need != ST_NEED_SPARSE)
            return false;
    return true;
}

bool layer_too_large(const struct layer_file *f, const uint8_t *want, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (f->size <= st_catalogers[want[i]]->max_size)
            return false;
    return true;
}

int layer_content(struct layer_scan *s, const struct layer_file *f, uint8_t *want, size_t n, struct st_err *err)
{
    struct st_sv head = ST_SV_NULL;
    if (f->size) {
        int rc = layer_data(s, &head, err);
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
    if (layer_too_large(f, want, n)) {
        struct st_view none = {.size = f->size};
        return layer_parse(s, f, want, n, &none, true, err);
    }
    if (all_sparse(want, n) && f->size > LAYER_SPARSE_WHOLE && s->can_reread) {
        if (s->place)
            st_place_hold(s->place, true);
        int rc = sparse_file(s, f, head, want, n, err);
        if (s->place)
            st_place_hold(s->place, s->kept);
        return rc;
    }
    return whole_file(s, f, head, want, n, err);
}

void layer_content_init(struct layer_scan *s)
{
    for (uint8_t i = 0; st_catalogers[i] && s->n_by_magic < LAYER_WANT_MAX; i++)
        if (!st_catalogers[i]->globs && st_catalogers[i]->magic)
            s->by_magic[s->n_by_magic++] = i;
}
