#include "scan/scan_int.h"

#include "base/ckd.h"
#include "base/fd.h"
#include "image/blobs.h"
#include "scan/analyze_jobs.h"
#include "scan/fragment_int.h"
#include "scan/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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

// ---- fragments and where they are kept

int st_scan_out(struct st_scan *s, struct st_err *err)
{
    struct st_fragstore *store = s->cache.dirfd >= 0 ? &s->cache : &s->job;
    if (store->dirfd >= 0) {
        int fd = st_fragstore_temp(store, NULL);
        if (fd >= 0)
            return fd;
    }
    if (!s->opt->spill_dir)
        return st_err_set(err, ST_E_SPILL, "no directory for temporary files is writable");
    return st_fd_temp(s->opt->spill_dir, err);
}

static void checkpoint_name(size_t i, char ret[static ST_FRAGSTORE_NAME])
{
    char digits[24];
    snprintf(digits, sizeof digits, "%04zu", i);
    st_fragstore_name(digits, ret);
}

// Was it read by the table of contents that the manifest names?
static bool by_table(const struct st_scan *s, size_t i)
{
    const struct st_toc_place *p = &s->image.layers[i].toc;
    return p->kind != ST_TOC_NONE && strcmp(s->layers[i].stats.toc, p->digest) == 0;
}

int st_scan_take(struct st_scan *s, size_t i, int fd, struct st_err *err)
{
    if (st_frag_stats(&s->mem, fd, &s->layers[i].stats, err)) {
        close(fd);
        return -1;
    }
    s->fragments[i] = fd;
    s->profile.spilled = ST_MAX(s->profile.spilled, s->layers[i].stats.spilled);
    char name[ST_FRAGSTORE_NAME];
    if (s->cache.dirfd >= 0 && s->layers[i].stats.digest[0]) {
        st_fragstore_name(s->layers[i].stats.digest, name);
        st_fragstore_put(&s->cache, fd, name);
    } else if (s->cache.dirfd >= 0 && by_table(s, i)) {
        st_fragstore_toc_name(&s->image.layers[i].toc, name);
        st_fragstore_put(&s->cache, fd, name);
    }
    if (s->job.dirfd >= 0) {
        checkpoint_name(i, name);
        st_fragstore_put(&s->job, fd, name);
    }
    return 0;
}

// Digests of the bytes that a fragment came from against those that the image names: the blob's, or the diff ID where
// the source has no blob digest; with `full` both. What was not computed matches nothing, unless nothing is verified.
static int check_digests(const struct st_scan *s, size_t i, struct st_err *err)
{
    const struct st_subject_layer *l = &s->image.subject.layers[i];
    const struct st_layer_stats *have = &s->layers[i].stats;
    struct st_sv blob = st_scan_hex(l->digest), diff = st_scan_hex(l->diff_id);
    struct st_sv have_blob = st_sv_of(have->digest), have_diff = have->diff_id[0] ? st_sv_of(have->diff_id) : have_blob;
    bool some = s->opt->verify != ST_VERIFY_NONE, both = s->opt->verify == ST_VERIFY_FULL;
    if (have->toc[0] && !both) // its digests are not known; that of its table is in the manifest, too
        return by_table(s, i) ? 0
                              : st_err_set(err, ST_E_CORRUPT, "layer %zu: it was read by another table of contents", i);
    if (blob.len && (some || have_blob.len) && !st_sv_eq(blob, have_blob))
        return st_err_set(err, ST_E_CORRUPT,
                          "layer %zu: blob digest does not match: expected sha256:" ST_SV_FMT
                          ", the bytes give sha256:" ST_SV_FMT,
                          i, ST_SV_ARG(blob), ST_SV_ARG(have_blob));
    if (diff.len && (both || (!blob.len && (some || have_diff.len))) && !st_sv_eq(diff, have_diff))
        return st_err_set(err, ST_E_CORRUPT,
                          "layer %zu: diff ID does not match: expected sha256:" ST_SV_FMT
                          ", the bytes give sha256:" ST_SV_FMT,
                          i, ST_SV_ARG(diff), ST_SV_ARG(have_diff));
    return 0;
}

// A fragment that was kept, if it is of these very bytes. One that is not makes room for the one that will be made now:
// a checkpoint of another blob under the same configuration, a cached layer whose diff ID nobody asked for then.
static bool take_kept(struct st_scan *s, size_t i, struct st_fragstore *store, const char *name)
{
    ST_AUTO_CLOSE int fd = st_fragstore_get(store, &s->mem, name);
    if (fd < 0)
        return false;
    if (st_frag_stats(&s->mem, fd, &s->layers[i].stats, NULL) || check_digests(s, i, NULL)) {
        s->layers[i].stats = (struct st_layer_stats){0};
        st_fragstore_drop(store, name);
        return false;
    }
    s->fragments[i] = st_take_fd(&fd);
    return true;
}

// A layer that need not be read: the same blob twice, a checkpoint, the cache. Only digests of stored blobs count: a
// diff ID in a config is a claim that reading nothing cannot check.
static bool have_already(struct st_scan *s, size_t i)
{
    char name[ST_FRAGSTORE_NAME];
    struct st_sv hex = st_scan_hex(s->image.subject.layers[i].digest);
    for (size_t k = 0; k < i && hex.len; k++)
        if (st_sv_eq(s->image.subject.layers[k].digest, s->image.subject.layers[i].digest) &&
            s->layers[k].how != ST_LAYER_FOREIGN) {
            s->layers[i].how = ST_LAYER_SAME;
            s->layers[i].same_as = k;
            return true;
        }
    checkpoint_name(i, name);
    if (s->opt->resume && take_kept(s, i, &s->job, name)) {
        s->layers[i].how = ST_LAYER_RESUMED;
        return true;
    }
    if (!hex.len || s->opt->verify == ST_VERIFY_NONE)
        return false;
    st_fragstore_name(hex.ptr, name);
    bool have = take_kept(s, i, &s->cache, name);
    if (!have && s->image.layers[i].toc.kind != ST_TOC_NONE && s->opt->verify == ST_VERIFY_BLOB) {
        st_fragstore_toc_name(&s->image.layers[i].toc, name);
        have = take_kept(s, i, &s->cache, name);
    }
    if (have)
        s->layers[i].how = ST_LAYER_CACHED;
    return have;
}

static void open_stores(struct st_scan *s)
{
    struct st_err e = {0};
    if (s->opt->cache_dir && st_fragstore_open(s->opt->cache_dir, "layers", true, &s->cache, &e))
        st_scan_warn(s, "the layer cache cannot be used, the scan goes on without it");
    if (!s->opt->state_dir || s->image.subject.rootfs)
        return;
    st_fragstore_sweep(s->opt->state_dir, "jobs", ST_CHECKPOINT_AGE_MAX);
    struct st_sv id = st_scan_hex(s->image.subject.config_digest);
    if (s->opt->checkpoints)
        snprintf(s->job_sub, sizeof s->job_sub, "%s", s->opt->checkpoints);
    else
        snprintf(s->job_sub, sizeof s->job_sub, "jobs/%.*s", (int)ST_MIN(id.len, (size_t)ST_DIGEST_HEX),
                 id.ptr ? id.ptr : "");
    snprintf(s->state_dir, sizeof s->state_dir, "%s", s->opt->state_dir);
    if (!s->opt->resume)
        st_fragstore_remove(s->state_dir, s->job_sub);
    st_fragstore_open(s->state_dir, s->job_sub, true, &s->job, NULL);
}

void st_scan_forget(struct st_scan *s)
{
    if (s->job.dirfd >= 0)
        st_fragstore_remove(s->state_dir, s->job_sub);
    st_fragstore_close(&s->job);
}

// ---- index: which image it is ---------------------------------------------------------------------------------------

static void put_resolve(struct st_wire_out *o, const struct st_scan_request *opt)
{
    struct st_platform host = st_platform_host();
    st_wire_put_u64(o, opt->pin);
    st_wire_put_u64(o, opt->foreign);
    st_wire_put_sv(o, opt->tag);
    const struct st_sv texts[] = {opt->platform.os, opt->platform.arch, opt->platform.variant,
                                  host.os,          host.arch,          host.variant};
    for (size_t i = 0; i < ST_LEN(texts); i++)
        st_wire_put_sv(o, texts[i]);
}

static int give(struct st_analyzer *a, struct st_buf *b, int fd, uint64_t size, const struct st_err *refusal,
                struct st_err *err)
{
    struct st_wire_out o = st_proto_begin(b, refusal ? ST_PROTO_FAIL : ST_PROTO_GIVE);
    if (refusal)
        st_proto_put_err(&o, refusal);
    else
        st_wire_put_u64(&o, size);
    return st_proto_send(a->sock, &o, &fd, fd >= 0 ? 1 : 0, err);
}

static int keep_passed(struct st_scan *s, int fd, struct st_err *err)
{
    int *p = st_arena_array(&s->arena, s->n_passed + 1, sizeof *p, err); // few: one a blob of the archive
    if (!p)
        return -1;
    if (s->n_passed)
        memcpy(p, s->passed, s->n_passed * sizeof *p);
    p[s->n_passed++] = fd;
    s->passed = p;
    return 0;
}

#define PASSED_MAX 8192 // blobs of one streamed archive

static int serve_ask(struct st_scan *s, struct st_analyzer *a, struct st_proto_msg *m, struct st_buf *b,
                     struct st_err *err)
{
    struct st_err why = {0};
    if (m->tag == ST_PROTO_ASK_OUT) {
        if (s->n_passed == PASSED_MAX)
            return st_err_set(err, ST_E_LIMIT, "the archive has more than %d layers", PASSED_MAX);
        int fd = st_scan_out(s, err);
        if (fd < 0)
            return -1;
        if (keep_passed(s, fd, err)) {
            close(fd);
            return -1;
        }
        return give(a, b, fd, 0, NULL, err);
    }
    ST_AUTO_CLOSE int fd = -1;
    uint64_t size = 0;
    const struct st_opened *o = s->opt->opened;
    struct st_sv name = st_wire_sv(&m->in);
    int rc = o->kind == ST_OPENED_REMOTE ? o->remote->document(o->remote, name, &fd, &size, &why)
             : o->digest[0]              ? st_blobs_store_open(o->dirfd, st_sv_of(o->digest), name, &fd, &size, &why)
                                         : st_blobs_dir_open(o->dirfd, name, &fd, &size, &why);
    return give(a, b, rc > 0 ? fd : -1, size, rc < 0 ? &why : NULL, err);
}

// Answers the analyzer's questions until it is done.
static int converse(struct st_scan *s, struct st_analyzer *a, struct st_buf *b, struct st_err *err)
{
    ST_AUTO_FREE char *buf = malloc(ST_PROTO_MAX);
    if (!buf)
        return st_err_nomem(err);
    for (;;) {
        struct pollfd fd = {.fd = a->sock, .events = POLLIN};
        int k = poll(&fd, 1, ST_SCAN_TICK_MS);
        if (st_scan_check_time(s, err))
            return -1;
        if (k <= 0) {
            if (s->opt->opened->kind == ST_OPENED_STREAM)
                st_scan_tell(s, 0, a->watch, atomic_load(&a->watch->archive) + atomic_load(&a->watch->stored));
            st_scan_sample(s, "layers", SIZE_MAX, &a->pid, 1);
            continue;
        }
        struct st_proto_msg m;
        int rc = st_proto_recv(a->sock, buf, &m, err);
        if (rc == 0) {
            uint32_t len = ST_MIN(a->watch->path_len, 300u);
            bool parsing = atomic_load(&a->watch->parsing) != 0;
            return st_err_set(err, ST_E_CRASH, "the analyzer died%s%.*s",
                              parsing ? " while it read " : " while it read the manifest", parsing ? (int)len : 0,
                              a->watch->path);
        }
        if (rc < 0)
            return -1;
        if (m.tag == ST_PROTO_DONE) {
            st_proto_close_fds(&m);
            return 0;
        }
        if (m.tag == ST_PROTO_FAIL) {
            st_proto_get_err(&m.in, err ? err : &(struct st_err){0});
            rc = -1;
        } else if (m.tag == ST_PROTO_ASK_BLOB || m.tag == ST_PROTO_ASK_OUT) {
            rc = serve_ask(s, a, &m, b, err);
        } else {
            rc = st_err_set(err, ST_E_CRASH, "the analyzer sent an unexpected message");
        }
        st_proto_close_fds(&m);
        if (rc < 0)
            return -1;
    }
}

static int send_index(struct st_scan *s, struct st_analyzer *a, struct st_buf *b, int out, int spill,
                      struct st_err *err)
{
    const struct st_opened *o = s->opt->opened;
    bool stream = o->kind == ST_OPENED_STREAM;
    uint64_t limit = s->opt->memory - st_scan_base(s) - ST_SCAN_ANALYZER_BASE;
    struct st_wire_out w = st_proto_begin(b, stream ? ST_PROTO_STREAM : ST_PROTO_INDEX);
    st_job_put_mem(&w, (struct st_job_mem){limit, ST_MIN(limit, ST_SCAN_SPILL_AT)});
    bool by_name = o->kind == ST_OPENED_OCI_DIR || o->kind == ST_OPENED_REMOTE;
    st_wire_put_u64(&w, stream ? s->opt->verify : by_name ? UINT64_MAX : o->size);
    if (!stream)
        st_wire_put_u64(&w, o->kind == ST_OPENED_REMOTE && !o->remote->lists);
    put_resolve(&w, s->opt);
    int fds[3] = {out, o->fd, spill};
    size_t n = by_name ? 1 : spill >= 0 && stream ? 3 : 2;
    return st_proto_send(a->sock, &w, fds, n, err);
}

static int index_image(struct st_scan *s, struct st_err *err)
{
    if (s->opt->opened->kind == ST_OPENED_ROOTFS)
        return st_image_rootfs(&s->arena, &s->image, err);
    struct st_analyzer *a = &s->idle; // the first to read a layer, afterwards
    struct st_sv text;
    struct st_buf b;
    st_buf_init(&b, &s->mem);
    if (st_analyzer_start(s->analyzer, (size_t)s->opt->memory + (64u << 20), a, err))
        return -1;
    s->profile.analyzers++;
    ST_AUTO_CLOSE int out = s->opt->spill_dir ? st_fd_temp(s->opt->spill_dir, NULL) : -1;
    ST_AUTO_CLOSE int spill = s->opt->spill_dir ? st_fd_temp(s->opt->spill_dir, NULL) : -1;
    int rc = out >= 0 ? send_index(s, a, &b, out, spill, err)
                      : st_err_set(err, ST_E_SPILL, "no directory for temporary files is writable; set TMPDIR");
    const struct st_scan_observer *ob = s->opt->opened->kind == ST_OPENED_STREAM ? s->opt->observer : NULL;
    if (ob && ob->begin)
        ob->begin(ob->ctx, 1, s->opt->opened->size);
    if (ob && ob->layer_begin) // the archive as a whole
        ob->layer_begin(ob->ctx, 0, ST_SV(""), s->opt->opened->size);
    if (rc == 0)
        rc = converse(s, a, &b, err);
    struct st_remote *from = s->opt->opened->remote;
    struct st_err why = {0};
    if (s->opt->opened->ticket &&
        from->failed(from, s->opt->opened->ticket, &why)) { // an archive that a daemon cut off
        rc = -1;
        if (err)
            *err = why;
    }
    if (ob && ob->end)
        ob->end(ob->ctx);
    if (rc == 0) {
        st_scan_sample(s, "index", SIZE_MAX, &a->pid, 1);
        rc = st_image_encoded(out, &s->arena, &text, err) || st_image_decode(text, &s->arena, &s->image, err) ? -1 : 0;
    }
    st_buf_release(&b);
    return rc;
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
    return check_digests(s, i, err);
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
        } else if (have_already(s, i)) {
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
    open_stores(s);
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
    if (index_image(s, err))
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
        rc = index_image(s, err);
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
