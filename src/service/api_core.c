// Store handles for threads, waiting, and what the service does by itself: sweeping leases once a second.
#include "service/api.h"
#include "service/cond.h"
#include "service/metric_history.h"
#include "service/op_int.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "store/postgres.h"

#include <fcntl.h>
#include <stdio.h>

#define TICK_MS 1000
#define CLOCK_CHECK_TICKS 60
#define LOG_POLL_MS 500 // lines of the log do not wake those who wait for jobs

// Handles of one kind, lent first come, first served.
struct handles {
    struct st_store *free[ST_API_WRITERS_PG + ST_API_READERS];
    size_t n_free, n;
    uint64_t next, serving; // tickets
};

struct st_api {
    pthread_mutex_t lock;
    pthread_cond_t lent, changed;
    struct handles readers, writers;
    struct st_store *watcher; // of the watching thread
    struct st_live *live;
    uint64_t generation; // counts changes of the store
    bool stopping, watching, sweeping;
    pthread_t watch_thread, sweep_thread;
    pthread_mutex_t sync_lock;
    pthread_cond_t sync_done;
    uint64_t committed, synced; // changes that are to be durable, that are
    bool syncing;
};

struct st_live *st_api_live(struct st_api *a)
{
    return a->live;
}

// ---- handles ------------------------------------------------------------------------------------

static struct st_store *borrow(struct st_api *a, struct handles *h)
{
    pthread_mutex_lock(&a->lock);
    uint64_t mine = h->next++;
    while (mine != h->serving || !h->n_free)
        pthread_cond_wait(&a->lent, &a->lock);
    h->serving++;
    struct st_store *s = h->free[--h->n_free];
    pthread_cond_broadcast(&a->lent);
    pthread_mutex_unlock(&a->lock);
    return s;
}

static void give_back(struct st_api *a, struct handles *h, struct st_store *s)
{
    pthread_mutex_lock(&a->lock);
    h->free[h->n_free++] = s;
    pthread_cond_broadcast(&a->lent);
    pthread_mutex_unlock(&a->lock);
}

static void note_change(struct st_api *a)
{
    pthread_mutex_lock(&a->lock);
    a->generation++;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

static uint64_t generation(struct st_api *a)
{
    pthread_mutex_lock(&a->lock);
    uint64_t g = a->generation;
    pthread_mutex_unlock(&a->lock);
    return g;
}

// Until the store changes after `seen`, the service stops, or the time is over.
static void wait_change(struct st_api *a, uint64_t seen, int64_t ms)
{
    struct timespec t = st_cond_in(ms);
    pthread_mutex_lock(&a->lock);
    while (a->generation == seen && !a->stopping && pthread_cond_timedwait(&a->changed, &a->lock, &t) == 0)
        ;
    pthread_mutex_unlock(&a->lock);
}

void st_api_stop(struct st_api *a)
{
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

bool st_api_stopping(struct st_api *a)
{
    pthread_mutex_lock(&a->lock);
    bool v = a->stopping;
    pthread_mutex_unlock(&a->lock);
    return v;
}

// ---- durability ---------------------------------------------------------------------------------

// One wait for the disk serves everybody who committed before it began; meanwhile others commit.
static int make_durable(struct st_api *a, struct st_err *err)
{
    int rc = 0;
    pthread_mutex_lock(&a->sync_lock);
    uint64_t mine = ++a->committed;
    while (rc == 0 && a->synced < mine) {
        if (a->syncing) {
            pthread_cond_wait(&a->sync_done, &a->sync_lock);
            continue;
        }
        uint64_t upto = a->committed;
        a->syncing = true;
        pthread_mutex_unlock(&a->sync_lock);
        rc = st_store_sync(a->watcher, err);
        pthread_mutex_lock(&a->sync_lock);
        a->syncing = false;
        if (rc == 0)
            a->synced = upto;
        pthread_cond_broadcast(&a->sync_done);
    }
    pthread_mutex_unlock(&a->sync_lock);
    return rc;
}

// ---- calls --------------------------------------------------------------------------------------

struct counting {
    st_op_emit_fn *emit;
    void *ctx;
    uint64_t rows;
    const struct st_op *op;
    struct st_arena *arena;
    const void *kept; // the row of a durable operation
};

static int count_emit(void *ctx, const void *row, struct st_err *err)
{
    struct counting *k = ctx;
    k->rows++;
    if (k->op->durable)
        return (k->kept = st_record_dup(k->op->answer, row, k->arena, err)) ? 0 : -1;
    return k->emit ? k->emit(k->ctx, row, err) : 0;
}

int st_api_call(struct st_api *a, const struct st_op *op, const void *request, const struct st_caller *caller,
                struct st_arena *arena, st_op_emit_fn *emit, bool (*gone)(void *ctx), void *ctx, struct st_err *err)
{
    if (caller->role < op->role)
        return st_err_set(err, ST_E_AUTH, "%s needs the role %s; " ST_SV_FMT " has %s", op->name,
                          st_role_words[op->role], ST_SV_ARG(caller->name), st_role_words[caller->role]);
    struct counting k = {.emit = emit, .ctx = ctx, .op = op, .arena = arena};
    ST_AUTO(st_arena_release) struct st_arena again; // of one run: a wait may see thousands of changes
    st_arena_init(&again, arena->mem);
    struct st_op_call c = {.live = a->live,
                           .caller = caller,
                           .request = request,
                           .arena = op->waits ? &again : arena,
                           .emit = count_emit,
                           .ctx = &k};
    struct handles *h = op->writes ? &a->writers : &a->readers;
    uint64_t wait_ms = 0;
    if (op->waits)
        memcpy(&wait_ms, request, sizeof wait_ms);
    int64_t until = st_clock_mono_ms() + (int64_t)ST_MIN(wait_ms, (uint64_t)ST_WAIT_MAX_MS);
    for (;;) {
        uint64_t seen = generation(a);
        c.store = borrow(a, h);
        int rc = op->run(&c, err);
        give_back(a, h, c.store);
        int64_t left = until - st_clock_mono_ms();
        if (rc || k.rows || !op->waits || left <= 0 || st_api_stopping(a)) {
            if (rc == 0 && op->writes && (k.rows || !op->waits))
                note_change(a);
            if (rc == 0 && op->durable)
                rc = make_durable(a, err);
            return rc == 0 && k.kept && emit ? emit(ctx, k.kept, err) : rc;
        }
        // Backoffs end without anybody's doing, and lines of the log come without a note.
        wait_change(a, seen, ST_MIN(left, op->writes ? (int64_t)TICK_MS : (int64_t)LOG_POLL_MS));
        if (gone && gone(ctx))
            return st_err_set(err, ST_E_CANCELLED, "the caller is gone");
        st_arena_reset(&again);
    }
}

int st_api_read(struct st_api *a, st_api_store_fn *fn, void *ctx, struct st_err *err)
{
    struct st_store *s = borrow(a, &a->readers);
    int rc = fn(s, ctx, err);
    give_back(a, &a->readers, s);
    return rc;
}

int st_api_write(struct st_api *a, st_api_store_fn *fn, void *ctx, struct st_err *err)
{
    struct st_store *s = borrow(a, &a->writers);
    int rc = fn(s, ctx, err);
    give_back(a, &a->writers, s);
    return rc;
}

// ---- what it does by itself -----------------------------------------------------------------------

static void nap(struct st_api *a, int64_t ms)
{
    uint64_t seen = generation(a);
    int64_t until = st_clock_mono_ms() + ms;
    for (int64_t left; !st_api_stopping(a) && (left = until - st_clock_mono_ms()) > 0; seen = generation(a))
        wait_change(a, seen, left);
}

// Changes that other processes and hosts make.
static void *watch(void *ctx)
{
    struct st_api *a = ctx;
    struct st_err err = {0};
    while (!st_api_stopping(a)) {
        int rc = st_store_wait(a->watcher, TICK_MS, &err);
        if (rc > 0)
            note_change(a);
        if (rc < 0)
            nap(a, TICK_MS);
    }
    return NULL;
}

static int ignore_row(void *ctx, const void *row, struct st_err *err)
{
    return 0;
}

static void sample_cpu(struct st_api *a)
{
    char buf[256];
    ST_AUTO_CLOSE int fd = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : st_fd_read(fd, buf, sizeof buf);
    struct st_sv rest = {buf, n > 0 ? (size_t)n : 0}, line;
    if (st_sv_line(&rest, &line))
        st_live_cpu(a->live, line);
}

static void sweep_once(struct st_api *a, struct st_arena *arena, bool check_clock, bool *failing)
{
    static const struct st_caller self = {ST_ROLE_WORKER, ST_SV_INIT("stella-api")};
    struct st_err err = {0};
    struct st_counts k;
    struct st_op_call c = {.live = a->live, .caller = &self, .arena = arena, .emit = ignore_row};
    c.store = borrow(a, &a->writers);
    int rc = check_clock ? st_store_clock_check(c.store, &err) : 0;
    if (rc == 0)
        rc = st_op_sweep(&c, &err);
    give_back(a, &a->writers, c.store);
    c.store = borrow(a, &a->readers); // to count takes longer: it keeps no writer waiting
    if (rc == 0)
        rc = st_store_counts(c.store, INT64_MAX, &k, &err);
    if (rc == 0)
        rc = st_metric_history_take(st_live_history(a->live), c.store, a->live, &err);
    give_back(a, &a->readers, c.store);
    if (rc == 0)
        st_live_depth(a->live, k.pending, st_clock_mono_ms());
    sample_cpu(a);
    if (rc && !*failing) // once, not every second
        fprintf(stderr, "stella-api: %s\n", err.text);
    *failing = rc != 0;
}

static void *sweep(void *ctx)
{
    struct st_api *a = ctx;
    struct st_mem mem;
    struct st_arena arena;
    bool failing = false;
    st_mem_init(&mem, ST_API_ARENA, -1);
    st_arena_init(&arena, &mem);
    for (unsigned tick = 0; !st_api_stopping(a); tick++) {
        sweep_once(a, &arena, tick % CLOCK_CHECK_TICKS == 0, &failing);
        st_arena_reset(&arena);
        nap(a, TICK_MS);
    }
    st_arena_release(&arena);
    st_mem_release(&mem);
    return NULL;
}

// ---- life ---------------------------------------------------------------------------------------

static int open_one(const struct st_api_options *o, struct st_store **ret, struct st_err *err)
{
    return o->store ? st_store_open_postgres(o->store, ret, err) : st_store_open(o->home, true, ret, err);
}

static int open_handles(const struct st_api_options *o, struct handles *h, size_t n, struct st_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (open_one(o, &h->free[h->n_free], err))
            return -1;
        h->n_free++;
        h->n++;
    }
    return 0;
}

static void close_handles(struct handles *h)
{
    for (size_t i = 0; i < h->n_free; i++)
        st_store_close(h->free[i]);
}

void st_api_free(struct st_api *a)
{
    if (!a)
        return;
    st_api_stop(a);
    if (a->watching)
        pthread_join(a->watch_thread, NULL);
    if (a->sweeping)
        pthread_join(a->sweep_thread, NULL);
    close_handles(&a->readers);
    close_handles(&a->writers);
    st_store_close(a->watcher);
    st_live_free(a->live);
    pthread_mutex_destroy(&a->lock);
    pthread_mutex_destroy(&a->sync_lock);
    pthread_cond_destroy(&a->sync_done);
    pthread_cond_destroy(&a->lent);
    pthread_cond_destroy(&a->changed);
    free(a);
}

static int start(struct st_api *a, const struct st_api_options *o, struct st_err *err)
{
    if (st_live_new(o->host, &a->live, err) || open_handles(o, &a->writers, o->store ? ST_API_WRITERS_PG : 1, err) ||
        open_handles(o, &a->readers, ST_API_READERS, err) || open_one(o, &a->watcher, err))
        return -1;
    if (st_store_mark_set(a->writers.free[0], ST_MARK_RESTART, st_clock_wall_ms(), err))
        return -1;
    a->watching = pthread_create(&a->watch_thread, NULL, watch, a) == 0;
    a->sweeping = a->watching && pthread_create(&a->sweep_thread, NULL, sweep, a) == 0;
    return a->sweeping ? 0 : st_err_set(err, ST_E_FAILED, "cannot start a thread");
}

int st_api_new(const struct st_api_options *o, struct st_api **ret, struct st_err *err)
{
    struct st_api *a = calloc(1, sizeof *a);
    if (!a)
        return st_err_nomem(err);
    pthread_mutex_init(&a->lock, NULL);
    pthread_mutex_init(&a->sync_lock, NULL);
    pthread_cond_init(&a->sync_done, NULL);
    pthread_cond_init(&a->lent, NULL);
    st_cond_init(&a->changed);
    if (start(a, o, err)) {
        st_api_free(a);
        return -1;
    }
    *ret = a;
    return 0;
}
