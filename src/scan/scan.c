#include "scan/scan_int.h"

#include "base/ckd.h"
#include "base/fd.h"
#include "scan/fragment_int.h"
#include "scan/helper.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#define SAMPLE_MS 50 // between two samples of one phase

uint64_t st_scan_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int st_scan_check_time(const struct st_scan *s, struct st_err *err)
{
    if (s->opt->interrupted && *s->opt->interrupted)
        return st_err_set(err, ST_E_CANCELLED, "interrupted");
    if (s->opt->deadline_ms && st_scan_now_ms() > s->opt->deadline_ms)
        return st_err_set(err, ST_E_TIMEOUT,
                          "the scan took longer than --timeout allows; what is finished is kept for --retry");
    return 0;
}

void st_scan_log(const struct st_scan *s, const char *fmt, ...)
{
    char text[400];
    const struct st_scan_observer *o = s->opt->observer;
    if (!o || !o->log)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    o->log(o->ctx, text);
}

void st_scan_tell(const struct st_scan *s, size_t i, const struct st_layer_watch *w, uint64_t bytes)
{
    const struct st_scan_observer *o = s->opt->observer;
    if (o && o->layer_bytes)
        o->layer_bytes(o->ctx, i, bytes);
    if (!o || !o->layer_at)
        return;
    char path[ST_WATCH_PATH_MAX];
    uint32_t n = atomic_load(&w->parsing) ? ST_MIN(w->path_len, (uint32_t)sizeof path) : 0;
    memcpy(path, w->path, n);
    o->layer_at(o->ctx, i, atomic_load_explicit(&w->entries, memory_order_relaxed), st_sv_mem(path, n));
}

// ---- memory of the tree, as seen from outside

static uint64_t pss_of(pid_t pid)
{
    char path[64], text[2048];
    if (pid)
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    else
        snprintf(path, sizeof path, "/proc/self/smaps_rollup");
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? st_fd_read(fd, text, sizeof text - 1) : -1;
    if (n <= 0)
        return 0;
    struct st_sv rest = st_sv_mem(text, (size_t)n), line, word;
    uint64_t kib = 0;
    while (st_sv_line(&rest, &line))
        if (st_sv_starts(line, ST_SV("Pss:"))) {
            line = st_sv_from(line, 4);
            if (st_sv_word(&line, &word))
                st_sv_u64(word, 10, &kib);
            break;
        }
    return kib * 1024;
}

void st_scan_sample(struct st_scan *s, const char *phase, size_t layer, const pid_t *pids, size_t n)
{
    uint64_t now = st_scan_now_ms(); // the kernel walks page tables for an answer: not for every small layer
    if (s->sampled_phase == phase && now - s->sampled_ms < SAMPLE_MS)
        return;
    s->sampled_phase = phase;
    s->sampled_ms = now;
    uint64_t sum = pss_of(0);
    for (size_t i = 0; i < n; i++)
        sum += pss_of(pids[i]);
    if (s->opt->opened->remote)
        sum += pss_of(s->opt->opened->remote->pid);
    if (sum > s->profile.peak_tree) {
        s->profile.peak_tree = sum;
        s->profile.peak_phase = phase;
        s->profile.peak_layer = layer;
    }
}

// ---- layers

static int add_unknown(struct st_scan *s, const struct st_unknown *u, struct st_err *err)
{
    struct st_unknown *p = st_arena_array(&s->arena, s->n_unknowns + 1, sizeof *p, err); // one a foreign layer
    if (!p)
        return -1;
    if (s->n_unknowns)
        memcpy(p, s->unknowns, s->n_unknowns * sizeof *p);
    p[s->n_unknowns++] = *u;
    s->unknowns = p;
    return 0;
}

static int foreign(struct st_scan *s, size_t i, struct st_err *err)
{
    struct st_unknown u = {.path = s->image.subject.layers[i].digest,
                           .reason = ST_UNKNOWN_FOREIGN,
                           .text =
                               ST_SV("the layer's bytes are not in the image; of a registry's image --foreign-layers "
                                     "fetches them")};
    s->layers[i].how = ST_LAYER_FOREIGN;
    return add_unknown(s, &u, err);
}

// A layer that went by in a stream: its digests against the manifest's.
static int take_passed(struct st_scan *s, size_t i, struct st_err *err)
{
    uint64_t k = s->image.layers[i].blob.offset;
    if (k >= s->n_passed)
        return st_err_set(err, ST_E_CRASH, "the analyzer named a blob that did not come by");
    for (size_t j = 0; j < i; j++)
        if (s->image.layers[j].blob.where == ST_BLOB_PASSED && s->image.layers[j].blob.offset == k) {
            s->layers[i].how = ST_LAYER_SAME;
            s->layers[i].same_as = j;
            return 0;
        }
    int fd = s->passed[k];
    s->passed[k] = -1;
    if (st_scan_take(s, i, fd, err))
        return -1;
    return st_scan_check_digests(s, i, err);
}

static int sort_layers(struct st_scan *s, size_t *todo, size_t *ret_n, struct st_err *err)
{
    const struct st_scan_observer *ob = s->opt->observer;
    size_t n = 0;
    for (size_t i = 0; i < s->n_layers; i++) {
        enum st_blob_where where = s->image.layers[i].blob.where;
        if (where == ST_BLOB_ABSENT) {
            if (foreign(s, i, err))
                return -1;
        } else if (where == ST_BLOB_PASSED) {
            if (take_passed(s, i, err))
                return -1;
        } else if (st_scan_have_already(s, i)) {
            const struct st_subject_layer *l = &s->image.subject.layers[i];
            if (ob && ob->layer_begin)
                ob->layer_begin(ob->ctx, i, l->digest.len ? l->digest : l->diff_id, l->size);
            if (ob && ob->layer_done)
                ob->layer_done(ob->ctx, i, true);
        } else {
            todo[n++] = i;
        }
    }
    *ret_n = n;
    return 0;
}

// What this scan did to the cache is counted; one that added to it keeps it within its limits.
static void keep_limits(struct st_scan *s)
{
    struct st_fragstore_counts count = {0};
    struct st_fragstore_pruned pruned;
    const struct st_scan_request *q = s->opt;
    struct st_fragstore_limits limits = st_fragstore_limits_of(q->cache_bytes ? q->cache_bytes : ST_CACHE_BYTES_MAX,
                                                               q->cache_age_s ? q->cache_age_s : ST_CACHE_AGE_MAX);
    if (s->cache.dirfd < 0)
        return;
    for (size_t i = 0; i < s->n_layers; i++) {
        count.hits += s->layers[i].how == ST_LAYER_CACHED;
        count.misses += s->layers[i].how == ST_LAYER_SCANNED;
    }
    st_fragstore_count(&s->cache, &count);
    if (count.misses)
        st_fragstore_prune(&s->cache, &limits, &pruned, NULL);
}

// What layers side by side would take: what spills is in memory up to where it does.
static uint64_t estimate(const struct st_scan *s)
{
    return st_scan_base(s) + s->mem.spill_at +
           st_pool_count(s, s->n_layers) * (ST_SCAN_ANALYZER_BASE + ST_SCAN_SPILL_AT);
}

static void choose_way(struct st_scan *s)
{
    const struct st_scan_stream *w = &s->opt->stream;
    uint64_t size = s->image.subject.size, needs = estimate(s);
    bool large = w->sized && size >= w->from, tight = w->above && needs > w->above;
    if (large)
        st_scan_log(s, "streaming: the image has %llu bytes, the threshold is %llu: one layer at a time, early spill",
                    (unsigned long long)size, (unsigned long long)w->from);
    else if (tight)
        st_scan_log(s,
                    "streaming forced by memory limit: layers side by side would take about %llu MiB, more than half "
                    "of the limit",
                    (unsigned long long)(needs >> 20));
    s->streaming = large || tight;
    if (s->streaming)
        s->mem.spill_at = ST_MIN(s->mem.limit, (size_t)(2 * ST_SCAN_SPILL_EARLY));
    else
        st_scan_log(s, "%zu layers, %zu at a time", s->n_layers, st_pool_count(s, s->n_layers));
}

static int read_layers(struct st_scan *s, struct st_err *err)
{
    s->n_layers = s->image.subject.n_layers;
    s->layers = st_arena_array(&s->arena, s->n_layers + 1, sizeof *s->layers, err);
    s->fragments = st_arena_array(&s->arena, s->n_layers + 1, sizeof *s->fragments, err);
    size_t *todo = st_arena_array(&s->arena, s->n_layers + 1, sizeof *todo, err), n;
    if (!s->layers || !s->fragments || !todo)
        return -1;
    for (size_t i = 0; i < s->n_layers; i++)
        s->fragments[i] = -1;
    st_scan_open_stores(s);
    choose_way(s);
    const struct st_scan_observer *ob = s->opt->observer;
    bool stream = s->opt->opened->kind == ST_OPENED_STREAM; // all is read already
    if (ob && ob->begin && !stream)
        ob->begin(ob->ctx, s->n_layers, s->image.subject.size);
    if (sort_layers(s, todo, &n, err))
        return -1;
    int rc = st_pool_run(s, todo, n, err);
    st_analyzer_stop(&s->idle, NULL); // nothing to read
    if (ob && ob->end && !stream)
        ob->end(ob->ctx);
    if (rc)
        return -1;
    for (size_t i = 0; i < s->n_layers; i++)
        if (s->layers[i].how == ST_LAYER_SAME) {
            s->layers[i].stats = s->layers[s->layers[i].same_as].stats;
            s->failed += s->layers[s->layers[i].same_as].how == ST_LAYER_FAILED;
        }
    keep_limits(s);
    return 0;
}

static int fragment_of(const struct st_scan *s, size_t i)
{
    return s->fragments[s->layers[i].how == ST_LAYER_SAME ? s->layers[i].same_as : i];
}

static int hash_fragment(int fd, struct st_sha256 *sha, struct st_err *err)
{
    char buf[16 * 1024];
    struct stat st;
    if (fstat(fd, &st))
        return st_err_sys(err, "fragment");
    uint64_t end = (uint64_t)st.st_size > ST_FRAG_TAIL ? (uint64_t)st.st_size - ST_FRAG_TAIL : 0;
    for (uint64_t at = 0; at < end;) {
        ssize_t n = st_fd_pread(fd, buf, ST_MIN(sizeof buf, end - at), at);
        if (n <= 0)
            return n ? st_err_sys(err, "fragment") : st_err_set(err, ST_E_CORRUPT, "a fragment became shorter");
        st_sha256_add(sha, buf, (size_t)n);
        at += (uint64_t)n;
    }
    return 0;
}

int st_scan_fragment_hash(const struct st_scan *s, size_t layer, char ret[static ST_DIGEST_HEX + 1], struct st_err *err)
{
    int fd = fragment_of(s, layer);
    if (fd < 0)
        return 0;
    struct st_mem mem;
    st_mem_init(&mem, 4096, -1);
    struct st_sha256 *sha = st_sha256_new(&mem, err);
    int rc = sha ? hash_fragment(fd, sha, err) : -1;
    if (rc == 0)
        st_sha256_hex(sha, ret);
    st_sha256_free(sha);
    st_mem_release(&mem);
    return rc ? -1 : 1;
}

static int merge(struct st_scan *s, struct st_err *err)
{
    int *fds = st_arena_array(&s->arena, s->n_layers + 1, sizeof *fds, err);
    if (!fds)
        return -1;
    for (size_t i = 0; i < s->n_layers; i++)
        fds[i] = fragment_of(s, i);
    s->merge =
        st_merge_new(&s->mem, &s->image.subject, fds, s->n_layers, s->unknowns, s->n_unknowns, s->failed == 0, err);
    if (!s->merge)
        return -1;
    s->profile.spilled = ST_MAX(s->profile.spilled, s->mem.spill_peak);
    st_scan_sample(s, "merge", SIZE_MAX, NULL, 0);
    return 0;
}

// ---- the whole

static int begin(const struct st_scan_request *opt, struct st_scan **ret, struct st_err *err)
{
    if (opt->memory < ST_SCAN_MEMORY_MIN)
        return st_err_set(err, ST_E_USAGE, "--memory must be at least 16Mi");
    struct st_scan *s = calloc(1, sizeof *s);
    if (!s)
        return st_err_nomem(err);
    s->opt = opt;
    s->idle = ST_ANALYZER_NONE;
    s->cache.dirfd = s->job.dirfd = -1;
    s->spill_fd = opt->spill_dir ? st_fd_temp(opt->spill_dir, NULL) : -1;
    st_mem_init(&s->mem, (size_t)(opt->memory - st_scan_base(s)), s->spill_fd);
    s->mem.spill_at = ST_MIN(s->mem.limit, (size_t)(2 * ST_SCAN_SPILL_AT));
    st_arena_init(&s->arena, &s->mem);
    *ret = s;
    return st_helper_find(ST_ANALYZER_NAME, s->analyzer, sizeof s->analyzer, err);
}

static int run(struct st_scan *s, struct st_err *err)
{
    uint64_t t0 = st_scan_now_ms();
    if (st_scan_index(s, err))
        return -1;
    s->image.subject.name = st_sv_of(s->opt->name);
    uint64_t t1 = st_scan_now_ms();
    if (s->opt->observer && s->opt->observer->subject)
        s->opt->observer->subject(s->opt->observer->ctx, &s->image.subject);
    if (read_layers(s, err))
        return -1;
    uint64_t t2 = st_scan_now_ms();
    if (merge(s, err))
        return -1;
    s->profile.index_ms = t1 - t0;
    s->profile.layers_ms = t2 - t1;
    s->profile.merge_ms = st_scan_now_ms() - t2;
    return 0;
}

int st_scan_run(const struct st_scan_request *opt, struct st_scan **ret, struct st_err *err)
{
    struct st_scan *s = NULL;
    if (begin(opt, &s, err) || run(s, err)) {
        st_scan_free(s);
        return -1;
    }
    *ret = s;
    return 0;
}

void st_scan_free(struct st_scan *s)
{
    if (!s)
        return;
    st_analyzer_stop(&s->idle, NULL);
    st_merge_free(s->merge);
    for (size_t i = 0; i < s->n_layers && s->fragments; i++)
        if (s->fragments[i] >= 0)
            close(s->fragments[i]);
    for (size_t i = 0; i < s->n_passed; i++)
        if (s->passed[i] >= 0)
            close(s->passed[i]);
    st_fragstore_close(&s->cache);
    st_fragstore_close(&s->job);
    st_arena_release(&s->arena);
    st_mem_release(&s->mem);
    if (s->spill_fd >= 0)
        close(s->spill_fd);
    free(s);
}

int st_scan_resolve(const struct st_scan_request *opt, struct st_arena *a, struct st_image *ret, struct st_err *err)
{
    struct st_scan *s = NULL;
    int rc = begin(opt, &s, err);
    if (rc == 0)
        rc = st_scan_index(s, err);
    if (rc == 0) { // into the caller's arena, in the form that crosses processes
        struct st_buf b;
        struct st_sv own;
        st_buf_init(&b, &s->mem);
        s->image.subject.name = st_sv_of(opt->name);
        rc = st_image_encode(&s->image, &b, err);
        if (rc == 0)
            rc = st_arena_dup(a, st_buf_sv(&b), &own, err);
        if (rc == 0)
            rc = st_image_decode(own, a, ret, err);
        st_buf_release(&b);
    }
    st_scan_free(s);
    return rc;
}

int st_scan_sandbox(struct st_sandbox_report *ret, struct st_err *err)
{
    char path[PATH_MAX];
    struct st_analyzer a;
    if (st_helper_find(ST_ANALYZER_NAME, path, sizeof path, err) || st_analyzer_start(path, 64u << 20, &a, err))
        return -1;
    *ret = a.sandbox;
    st_analyzer_stop(&a, NULL);
    return 0;
}

const struct st_inventory *st_scan_inventory(const struct st_scan *s)
{
    return st_merge_inventory(s->merge);
}

const struct st_image *st_scan_image_of(const struct st_scan *s)
{
    return &s->image;
}

const struct st_scan_layer *st_scan_layers(const struct st_scan *s)
{
    return s->layers;
}

const struct st_scan_profile *st_scan_profile(const struct st_scan *s)
{
    return &s->profile;
}

struct st_fetched st_scan_fetched(const struct st_scan *s)
{
    struct st_fetched f = {0};
    for (size_t i = 0; i < s->n_layers; i++) {
        const struct st_layer_stats *t = &s->layers[i].stats;
        uint64_t size = s->image.subject.layers[i].size;
        bool scanned = s->layers[i].how == ST_LAYER_SCANNED;
        f.of += size;
        f.bytes += scanned ? (t->stored ? t->stored : size) : 0;
        f.by_table += scanned && t->toc[0];
    }
    return f;
}

size_t st_scan_failed(const struct st_scan *s)
{
    return s->failed;
}
