// Analyzers at work on the layers of an image: who does which, how much memory each has, what happens when one dies.
#include "base/ckd.h"
#include "base/sort.h"
#include "image/blobs.h"
#include "image/rootfs.h"
#include "scan/analyze_jobs.h"
#include "scan/scan_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#define WORTH_A_PROCESS (1u << 20) // stored bytes: reading as much takes as long as starting an analyzer

struct task {
    size_t layer;
    uint64_t size;
    bool solo;  // needs the whole budget: runs alone
    bool alone; // ran alone already
    unsigned crashes;
    char skip[ST_WATCH_PATH_MAX]; // what the analyzer died on
    size_t skip_len;
};

struct worker {
    struct st_analyzer a;
    struct task *task; // NULL: idle
    int out, spill;    // owned
    int part;          // owned: checkpoints within the layer; -1: none
    int blob;          // owned when own_blob
    bool own_blob;
    enum st_job_from from;
    uint64_t ticket; // of the last reading of a remote blob; 0: none
    pid_t writer;    // of a pipe
    uint64_t since;
};

struct pool {
    struct st_scan *s;
    struct worker workers[ST_SCAN_ANALYZERS_MAX];
    size_t n_workers, busy;
    struct task *tasks;
    size_t n_tasks, next, n_retry;
    uint64_t left;       // stored bytes of the tasks from `next` on
    struct task **retry; // tasks to do again
    struct st_buf msg;
    char *in;
};

static uint64_t slice(const struct pool *p, bool alone)
{
    uint64_t all = p->s->opt->memory - st_scan_base(p->s);
    uint64_t each = all / (alone ? 1 : p->n_workers);
    return each - ST_SCAN_ANALYZER_BASE;
}

size_t st_pool_count(const struct st_scan *s, size_t n_tasks)
{
    if (s->streaming)
        return 1;
    uint64_t fit = (s->opt->memory - st_scan_base(s)) / (ST_SCAN_ANALYZER_BASE + ST_SCAN_SLICE_MIN);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t want = s->opt->threads ? s->opt->threads : cpus > 0 ? (size_t)cpus : 1;
    want = ST_MIN(ST_MIN(want, n_tasks), ST_MIN((size_t)fit, (size_t)ST_SCAN_ANALYZERS_MAX));
    return ST_MAX(want, (size_t)1);
}

// Largest first, so that the last to end is not the largest.
static int by_size(const void *a, const void *b)
{
    const struct task *x = a, *y = b;
    return x->size != y->size ? (x->size > y->size ? -1 : 1) : (x->layer > y->layer) - (x->layer < y->layer);
}

// ---- the directory as a pipe

struct wants {
    struct st_classifier *c;
};

static bool want_file(void *ctx, struct st_sv path, uint32_t mode, uint64_t size, struct st_sv head)
{
    (void)mode;
    uint8_t cats[8];
    size_t n = st_classify(((struct wants *)ctx)->c, path, cats, ST_LEN(cats));
    for (size_t i = 0; i < n; i++)
        if (size <= st_catalogers[cats[i]]->max_size)
            return true;
    for (size_t i = 0; n == 0 && st_catalogers[i]; i++) {
        const struct st_cataloger *c = st_catalogers[i];
        if (!c->globs && c->magic && size <= c->max_size && c->magic(head, size))
            return true;
    }
    return false;
}

static int write_tree(struct st_scan *s, int out)
{
    struct st_mem mem;
    st_mem_init(&mem, 4 << 20, s->spill_fd);
    struct wants w = {st_classifier_new(&mem, st_catalogers, NULL)};
    struct st_rootfs_how how = {.want = want_file, .ctx = &w};
    struct st_rootfs_stats stats;
    struct st_err err = {0};
    int rc = w.c ? st_rootfs_write(&mem, s->opt->opened->dirfd, out, &how, &stats, &err) : -1;
    if (rc)
        fprintf(stderr, "stella: %s\n", err.text);
    return rc;
}

int st_pool_rootfs(struct st_scan *s, int *ret_fd, pid_t *ret_pid, struct st_err *err)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC))
        return st_err_sys(err, "pipe");
    fcntl(fds[0], F_SETPIPE_SZ, 1 << 20);
    pid_t pid = fork();
    if (pid < 0) {
        close(fds[0]);
        close(fds[1]);
        return st_err_sys(err, "fork");
    }
    if (pid == 0) {
        close(fds[0]);
        signal(SIGPIPE, SIG_DFL);
        _exit(write_tree(s, fds[1]) ? 1 : 0);
    }
    close(fds[1]);
    *ret_fd = fds[0];
    *ret_pid = pid;
    return 0;
}

// ---- one job

static int open_blob(struct pool *p, struct worker *w, size_t i, uint64_t *ret_off, uint64_t *ret_len,
                     struct st_err *err)
{
    struct st_scan *s = p->s;
    const struct st_image_layer *l = &s->image.layers[i];
    w->own_blob = false;
    w->from = ST_JOB_FILE;
    w->ticket = 0;
    w->writer = 0;
    *ret_off = l->blob.offset;
    *ret_len = l->blob.length;
    switch (l->blob.where) {
    case ST_BLOB_RANGE:
        w->blob = s->opt->opened->fd;
        return 0;
    case ST_BLOB_FILE: {
        int rc = st_blobs_dir_open(s->opt->opened->dirfd, l->name, &w->blob, ret_len, err);
        if (rc == 0)
            rc = st_err_set(err, ST_E_CORRUPT, "blob %.*s is missing", (int)l->name.len, l->name.ptr);
        w->own_blob = rc > 0;
        *ret_off = 0;
        return rc > 0 ? 0 : -1;
    }
    case ST_BLOB_TREE:
        w->own_blob = true;
        w->from = ST_JOB_PIPE;
        return st_pool_rootfs(s, &w->blob, &w->writer, err);
    case ST_BLOB_REMOTE:
        w->from = ST_JOB_ASKED;
        if (s->opt->opened->remote)
            return 0;
        return st_err_set(err, ST_E_CRASH, "the analyzer found a remote layer in a local image");
    default:
        return st_err_set(err, ST_E_INTERNAL, "layer %zu has no bytes", i);
    }
}

// Which digests are checked: the blob's, or the diff ID where the source has no blob digest; with `full` both.
static void put_digests(struct st_wire_out *o, const struct st_scan *s, size_t i)
{
    const struct st_subject_layer *l = &s->image.subject.layers[i];
    struct st_sv blob = st_scan_hex(l->digest), diff = st_scan_hex(l->diff_id), none = ST_SV_NULL;
    enum st_verify v = s->opt->verify;
    bool check_blob = v != ST_VERIFY_NONE && blob.len;
    bool check_diff = v == ST_VERIFY_FULL || (v == ST_VERIFY_BLOB && !blob.len && diff.len);
    st_wire_put_u64(o, 0);
    st_wire_put_u64(o, 0);
    st_wire_put_sv(o, check_blob ? blob : none);
    st_wire_put_sv(o, check_diff ? diff : none);
}

// The table of contents that the layer may be read by.
static void put_toc(struct st_wire_out *o, const struct st_scan *s, size_t i, enum st_job_from from)
{
    static const struct st_toc_place none = {.kind = ST_TOC_NONE};
    bool may = from == ST_JOB_ASKED && s->opt->verify != ST_VERIFY_FULL && s->opt->opened->remote->range;
    st_toc_put_place(o, may ? &s->image.layers[i].toc : &none);
}

static void part_name(size_t layer, char ret[static 32])
{
    snprintf(ret, 32, "%04zu.part", layer);
}

// A directory is read through a pipe, which cannot be read again.
static void open_part(struct pool *p, struct worker *w, const struct task *t)
{
    char name[32];
    const struct st_scan *s = p->s;
    if (!s->opt->checkpoint_files || s->job.dirfd < 0 || w->from == ST_JOB_PIPE)
        return;
    part_name(t->layer, name);
    w->part = openat(s->job.dirfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static int send_job(struct pool *p, struct worker *w, struct task *t, struct st_err *err)
{
    uint64_t off, len;
    if (open_blob(p, w, t->layer, &off, &len, err))
        return -1;
    uint64_t limit = slice(p, t->solo);
    struct st_wire_out o = st_proto_begin(&p->msg, ST_PROTO_LAYER);
    st_job_put_mem(&o, (struct st_job_mem){limit, ST_MIN(limit, st_scan_spill_at(p->s))});
    st_wire_put_u64(&o, w->from);
    open_part(p, w, t);
    st_wire_put_u64(&o, w->part >= 0 ? p->s->opt->checkpoint_files : 0);
    st_wire_put_u64(&o, p->s->opt->resume || t->crashes);
    st_wire_put_u64(&o, off);
    st_wire_put_u64(&o, len);
    put_digests(&o, p->s, t->layer);
    put_toc(&o, p->s, t->layer, w->from);
    st_wire_put_u64(&o, t->crashes ? 1 : 0);
    if (t->crashes)
        st_wire_put_sv(&o, st_sv_mem(t->skip, t->skip_len));
    int fds[4] = {w->out};
    size_t n = 1;
    if (w->from != ST_JOB_ASKED)
        fds[n++] = w->blob;
    if (w->part >= 0)
        fds[n++] = w->part;
    if (w->spill >= 0)
        fds[n++] = w->spill;
    memset(w->a.watch, 0, offsetof(struct st_layer_watch, path));
    return st_proto_send(w->a.sock, &o, fds, n, err);
}

static int start_worker(struct pool *p, struct worker *w, struct st_err *err)
{
    w->out = w->spill = w->blob = w->part = -1;
    bool idle = p->s->idle.pid > 0;
    if (idle) {
        w->a = p->s->idle;
        p->s->idle = ST_ANALYZER_NONE;
    } else if (st_analyzer_start(p->s->analyzer, (size_t)slice(p, true) + (64u << 20), &w->a, err)) {
        return -1;
    }
    struct st_err no_spill;
    w->spill = p->s->opt->spill_dir ? st_fd_temp(p->s->opt->spill_dir, &no_spill) : -1;
    p->s->profile.analyzers += !idle;
    return 0;
}

static int begin_task(struct pool *p, struct worker *w, struct task *t, struct st_err *err)
{
    if (w->a.pid < 0 && start_worker(p, w, err))
        return -1;
    w->out = st_scan_out(p->s, err);
    if (w->out < 0)
        return -1;
    w->task = t;
    w->since = st_scan_now_ms();
    p->busy++;
    t->alone |= t->solo;
    const struct st_scan_observer *o = p->s->opt->observer;
    const struct st_subject_layer *l = &p->s->image.subject.layers[t->layer];
    if (o && o->layer_begin)
        o->layer_begin(o->ctx, t->layer, l->digest.len ? l->digest : l->diff_id, t->size);
    return send_job(p, w, t, err);
}

static int reap_writer(struct worker *w, bool kill_it)
{
    int status = 0;
    if (w->writer <= 0)
        return 0;
    if (kill_it)
        kill(w->writer, SIGKILL);
    while (waitpid(w->writer, &status, 0) < 0 && errno == EINTR)
        ;
    w->writer = 0;
    return status;
}

static void end_task(struct pool *p, struct worker *w)
{
    if (w->own_blob && w->blob >= 0)
        close(w->blob);
    w->blob = -1;
    if (w->out >= 0)
        close(w->out);
    w->out = -1;
    if (w->part >= 0)
        close(w->part);
    w->part = -1;
    reap_writer(w, true);
    if (w->spill >= 0 && ftruncate(w->spill, 0)) {
        // A spill file that cannot be cut is only larger than it need be.
    }
    w->task = NULL;
    p->busy--;
}

static void stop_worker(struct pool *p, struct worker *w, int *ret_status)
{
    (void)p;
    st_analyzer_stop(&w->a, ret_status);
    if (w->spill >= 0)
        close(w->spill);
    w->spill = -1;
}

// ---- what comes back

static int fail_layer(struct pool *p, size_t i, struct st_err *why, struct st_err *err)
{
    struct st_scan *s = p->s;
    const struct st_subject_layer *l = &s->image.subject.layers[i];
    struct st_sv id = l->digest.len ? l->digest : l->diff_id;
    if (id.len)
        st_err_wrap(why, "layer %zu (%.*s)", i, (int)ST_MIN(id.len, (size_t)80), id.ptr);
    else if (!s->image.subject.rootfs)
        st_err_wrap(why, "layer %zu", i);
    s->layers[i].how = ST_LAYER_FAILED;
    s->layers[i].err = *why;
    bool of_layer =
        why->code == ST_E_CORRUPT || why->code == ST_E_LIMIT || why->code == ST_E_CRASH || why->code == ST_E_FORMAT;
    if (s->opt->keep_going && of_layer) {
        s->failed++;
        st_scan_warn(s, why->text);
        return 0;
    }
    if (err)
        *err = *why;
    return -1;
}

static int again(struct pool *p, struct task *t)
{
    p->retry[p->n_retry++] = t;
    return 0;
}

// A window that does not fit an analyzer's share may fit the whole budget.
static int needs_memory(struct pool *p, struct task *t, struct st_err *why, struct st_err *err)
{
    if (!t->alone && p->n_workers > 1) {
        t->solo = true;
        return again(p, t);
    }
    if (why->need_bytes) {
        uint64_t need = why->need_bytes + st_scan_base(p->s) + ST_SCAN_ANALYZER_BASE + (1 << 20);
        size_t n = strlen(why->text);
        snprintf(why->text + n, sizeof why->text - n, "; --memory %lluMi would do",
                 (unsigned long long)((need >> 20) + 1));
        why->need_bytes = 0; // said, with what the processes cost beside the window
    }
    return fail_layer(p, t->layer, why, err);
}

static int finished(struct pool *p, struct worker *w, struct st_proto_msg *m, struct st_err *err)
{
    struct st_scan *s = p->s;
    size_t i = w->task->layer;
    st_wire_u64(&m->in); // of a STREAM
    struct st_sv whole = st_wire_sv(&m->in);
    struct st_err why = {0};
    if (w->from == ST_JOB_PIPE && reap_writer(w, false)) {
        st_err_set(&why, ST_E_FAILED, "reading the directory failed");
        return fail_layer(p, i, &why, err);
    }
    s->layers[i].how = ST_LAYER_SCANNED;
    s->layers[i].ms = st_scan_now_ms() - w->since;
    if (st_scan_take(s, i, st_take_fd(&w->out), &why))
        return fail_layer(p, i, &why, err);
    if (w->part >= 0) { // the layer as a whole is kept now
        char name[32];
        part_name(i, name);
        unlinkat(s->job.dirfd, name, 0);
        s->layers[i].resumed = atomic_load(&w->a.watch->resumed);
    }
    if (s->layers[i].resumed)
        st_scan_log(s, "layer %zu of %zu: %llu entries were known from a checkpoint within it", i + 1, s->n_layers,
                    (unsigned long long)s->layers[i].resumed);
    if (s->opt->observer && s->opt->observer->layer_done)
        s->opt->observer->layer_done(s->opt->observer->ctx, i, false);
    if (whole.len)
        st_scan_log(s, "layer %zu of %zu: read whole, not by its table of contents: " ST_SV_FMT, i + 1, s->n_layers,
                    ST_SV_ARG(st_sv_sub(whole, 0, 200)));
    const struct st_layer_stats *t = &s->layers[i].stats;
    if (t->toc[0])
        st_scan_log(s, "layer %zu of %zu: by its table of contents, %llu of %llu bytes were fetched", i + 1,
                    s->n_layers, (unsigned long long)t->stored, (unsigned long long)s->image.layers[i].blob.length);
    st_scan_log(s,
                "layer %zu of %zu: %llu files, %llu bytes unpacked, %llu ms; memory %llu KiB, spilled %llu KiB, "
                "read twice %llu",
                i + 1, s->n_layers, (unsigned long long)t->files, (unsigned long long)t->bytes,
                (unsigned long long)s->layers[i].ms, (unsigned long long)(t->peak >> 10),
                (unsigned long long)(t->spilled >> 10), (unsigned long long)t->rereads);
    return 0;
}

// The process is gone. If a parser had a file in hand, the layer starts again without that file, once.
static int died(struct pool *p, struct worker *w, struct st_err *err)
{
    struct task *t = w->task;
    uint32_t len = ST_MIN(w->a.watch->path_len, (uint32_t)ST_WATCH_PATH_MAX);
    bool parsing = atomic_load(&w->a.watch->parsing) != 0;
    char path[ST_WATCH_PATH_MAX];
    memcpy(path, w->a.watch->path, len);
    bool pipe = w->from == ST_JOB_PIPE;
    int status = 0;
    stop_worker(p, w, &status);
    end_task(p, w);
    p->s->profile.crashes++;
    int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    struct st_err why = {0};
    if (parsing && t->crashes == 0 && !pipe && sig != SIGKILL) {
        memcpy(t->skip, path, len);
        t->skip_len = len;
        t->crashes++;
        return again(p, t);
    }
    const char *end = sig == SIGKILL ? "was killed (signal 9)" : "died";
    if (parsing)
        st_err_set(&why, ST_E_CRASH, "the analyzer %s while it read %.*s", end, (int)ST_MIN(len, 300u), path);
    else
        st_err_set(&why, ST_E_CRASH, "the analyzer %s (signal %d, status %d)", end, sig,
                   WIFEXITED(status) ? WEXITSTATUS(status) : 0);
    return fail_layer(p, t->layer, &why, err);
}

// The analyzer wants a remote blob's bytes from some offset on, or a part of it.
static int give_bytes(struct pool *p, struct worker *w, struct st_proto_msg *m, struct st_err *err)
{
    struct st_scan *s = p->s;
    const struct st_image_layer *l = &s->image.layers[w->task->layer];
    ST_AUTO_CLOSE int fd = -1;
    struct st_err why = {0};
    struct st_remote *remote = s->opt->opened->remote;
    uint64_t from = st_wire_max(&m->in, l->blob.length), to = st_wire_max(&m->in, l->blob.length);
    bool sense = w->from == ST_JOB_ASKED && st_wire_ok(&m->in) && (to == 0 || (from < to && remote->range));
    int rc = !sense ? st_err_set(&why, ST_E_CRASH, "the analyzer asked for nonsense")
             : to   ? remote->range(remote, l->name, from, to, &fd, &why)
                    : remote->blob(remote, l->name, from, l->blob.length, &fd, &w->ticket, &why);
    struct st_wire_out o = st_proto_begin(&p->msg, rc ? ST_PROTO_FAIL : ST_PROTO_GIVE);
    if (rc)
        st_proto_put_err(&o, &why);
    else
        st_wire_put_u64(&o, l->blob.length);
    return st_proto_send(w->a.sock, &o, &fd, fd >= 0, err);
}

// What the process that brings the bytes has to say goes before what the analyzer made of their end.
static void blame_remote(struct pool *p, const struct worker *w, struct st_err *why)
{
    struct st_remote *r = p->s->opt->opened->remote;
    struct st_err e = {0};
    uint64_t size = p->s->image.layers[w->task->layer].blob.length;
    bool early = w->ticket && atomic_load(&w->a.watch->stored) < size;
    if (w->ticket && r->failed(r, w->ticket, early ? ST_SCAN_DYING_MS : 0, &e))
        *why = e;
}

static int answer(struct pool *p, struct worker *w, struct st_err *err)
{
    struct st_proto_msg m;
    int rc = st_proto_recv(w->a.sock, p->in, &m, err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return died(p, w, err);
    pid_t pids[ST_SCAN_ANALYZERS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < p->n_workers; i++)
        if (p->workers[i].a.pid > 0)
            pids[n++] = p->workers[i].a.pid;
    st_scan_sample(p->s, "layers", w->task->layer, pids, n);
    struct task *t = w->task;
    struct st_err why = {0};
    if (m.tag == ST_PROTO_ASK_BYTES) {
        rc = give_bytes(p, w, &m, err);
    } else if (m.tag == ST_PROTO_DONE) {
        rc = finished(p, w, &m, err);
        end_task(p, w);
    } else {
        if (m.tag == ST_PROTO_FAIL)
            st_proto_get_err(&m.in, &why);
        else
            st_err_set(&why, ST_E_CRASH, "the analyzer sent an unexpected message");
        blame_remote(p, w, &why);
        end_task(p, w);
        rc = why.code == ST_E_MEMORY ? needs_memory(p, t, &why, err) : fail_layer(p, t->layer, &why, err);
    }
    st_proto_close_fds(&m);
    return rc;
}

// ---- the loop

static struct task *next_task(struct pool *p)
{
    for (size_t i = 0; i < p->n_retry; i++)
        if (!p->retry[i]->solo || p->busy == 0) {
            struct task *t = p->retry[i];
            p->retry[i] = p->retry[--p->n_retry];
            return t;
        }
    if (p->next == p->n_tasks)
        return NULL;
    p->left -= p->tasks[p->next].size;
    return &p->tasks[p->next++];
}

// Is the worker running, or is what is left worth a start of it beside those that are at work?
static bool worth_it(const struct pool *p, const struct worker *w)
{
    return w->a.pid > 0 || p->busy == 0 || p->n_retry || p->left >= WORTH_A_PROCESS;
}

static bool solo_running(const struct pool *p)
{
    for (size_t i = 0; i < p->n_workers; i++)
        if (p->workers[i].task && p->workers[i].task->solo)
            return true;
    return false;
}

static int fill_workers(struct pool *p, struct st_err *err)
{
    for (size_t i = 0; i < p->n_workers && !solo_running(p); i++) {
        struct worker *w = &p->workers[i];
        struct task *t = w->task || !worth_it(p, w) ? NULL : next_task(p);
        if (!t)
            continue;
        if (t->solo) // the others give their memory back
            for (size_t k = 0; k < p->n_workers; k++)
                if (k != i && !p->workers[k].task && p->workers[k].a.pid > 0)
                    stop_worker(p, &p->workers[k], NULL);
        if (begin_task(p, w, t, err))
            return -1;
    }
    return 0;
}

static void tell(struct pool *p)
{
    pid_t pids[ST_SCAN_ANALYZERS_MAX];
    size_t n = 0, layer = SIZE_MAX;
    for (size_t i = 0; i < p->n_workers; i++) {
        struct worker *w = &p->workers[i];
        if (w->a.pid > 0)
            pids[n++] = w->a.pid;
        if (!w->task)
            continue;
        layer = w->task->layer;
        st_scan_tell(p->s, w->task->layer, w->a.watch, atomic_load_explicit(&w->a.watch->stored, memory_order_relaxed));
    }
    st_scan_sample(p->s, "layers", layer, pids, n);
}

static int wait_for(struct pool *p, struct st_err *err)
{
    struct pollfd fds[ST_SCAN_ANALYZERS_MAX];
    struct worker *of[ST_SCAN_ANALYZERS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < p->n_workers; i++)
        if (p->workers[i].task) {
            fds[n] = (struct pollfd){.fd = p->workers[i].a.sock, .events = POLLIN};
            of[n++] = &p->workers[i];
        }
    int k = poll(fds, n, ST_SCAN_TICK_MS);
    if (k < 0 && errno != EINTR)
        return st_err_sys(err, "poll");
    if (st_scan_check_time(p->s, err))
        return -1;
    if (k == 0)
        tell(p);
    for (size_t i = 0; k > 0 && i < n; i++)
        if (fds[i].revents && answer(p, of[i], err))
            return -1;
    return 0;
}

static int work(struct pool *p, struct st_err *err)
{
    for (;;) {
        if (fill_workers(p, err))
            return -1;
        if (p->busy == 0)
            return 0;
        if (wait_for(p, err))
            return -1;
    }
}

int st_pool_run(struct st_scan *s, const size_t *todo, size_t n, struct st_err *err)
{
    if (n == 0)
        return 0;
    struct pool *p = st_mem_alloc(&s->mem, sizeof *p, err);
    if (!p)
        return -1;
    p->s = s;
    st_buf_init(&p->msg, &s->mem);
    p->n_workers = st_pool_count(s, n);
    for (size_t i = 0; i < p->n_workers; i++) {
        p->workers[i].a = ST_ANALYZER_NONE;
        p->workers[i].out = p->workers[i].spill = p->workers[i].blob = p->workers[i].part = -1;
    }
    size_t bytes = n * sizeof *p->tasks;
    p->tasks = st_mem_map(&s->mem, bytes, &bytes, err);
    p->retry = st_arena_array(&s->arena, n, sizeof *p->retry, err);
    p->in = st_mem_alloc(&s->mem, ST_PROTO_MAX, err);
    int rc = p->tasks && p->retry && p->in ? 0 : -1;
    if (rc == 0) {
        p->n_tasks = n;
        for (size_t i = 0; i < n; i++) {
            p->tasks[i].layer = todo[i];
            p->tasks[i].size = s->image.subject.layers[todo[i]].size;
            p->left += p->tasks[i].size;
        }
        st_sort(p->tasks, n, sizeof *p->tasks, by_size);
        rc = work(p, err);
    }
    for (size_t i = 0; i < p->n_workers; i++) {
        struct worker *w = &p->workers[i];
        bool had = w->task != NULL;
        stop_worker(p, w, NULL);
        if (had)
            end_task(p, w);
    }
    st_mem_free(&s->mem, p->in, ST_PROTO_MAX);
    st_mem_unmap(&s->mem, p->tasks, bytes);
    st_buf_release(&p->msg);
    st_mem_free(&s->mem, p, sizeof *p);
    return rc;
}
