#include "service/live.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "service/metric_history.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

const char *const st_restart_reasons[ST_LIVE_REASONS + 1] = {"oom",     "memory_stall", "crash",  "killed",
                                                             "timeout", "manual",       "config", NULL};
#define WHICH 32  // at least the number of st_reasons
#define DEPTHS 32 // of the queue, one every DEPTH_MS
#define DEPTH_MS 15000
#define WINDOW 20 // of them: five minutes
#define CPUS 11   // samples of the processors

const char *const st_live_phase_words[] = {
#define WORD(word) #word,
    ST_LIVE_PHASES(WORD)
#undef WORD
        NULL};

#define MIB 1048576.0
static const double seconds[ST_LIVE_BUCKETS] = {0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600};
static const double bytes[ST_LIVE_BUCKETS] = {16 * MIB,  32 * MIB,   64 * MIB,   128 * MIB,  256 * MIB,
                                              512 * MIB, 1024 * MIB, 2048 * MIB, 4096 * MIB, 8192 * MIB};

const double *st_live_bounds(enum st_histogram_id h)
{
    return h == ST_HIST_PEAK ? bytes : seconds;
}

struct worker {
    struct st_worker_row row; // its texts point into `texts`
    char *texts;              // owns
};

static const size_t texts_of_row[] = {
    offsetof(struct st_worker_row, id),       offsetof(struct st_worker_row, pool),
    offsetof(struct st_worker_row, state),    offsetof(struct st_worker_row, job),
    offsetof(struct st_worker_row, phase),    offsetof(struct st_worker_row, layer),
    offsetof(struct st_worker_row, enforced), offsetof(struct st_worker_row, restarts_by),
    offsetof(struct st_worker_row, last_job), offsetof(struct st_worker_row, reason),
    offsetof(struct st_worker_row, evidence), offsetof(struct st_worker_row, note),
};
#define TEXTS ST_LEN(texts_of_row)

static struct st_sv *text_at(struct st_worker_row *r, size_t i)
{
    return (struct st_sv *)(void *)((char *)r + texts_of_row[i]);
}

struct st_live {
    pthread_mutex_t lock;
    uint64_t counters[ST_COUNTERS_MAX][WHICH];
    struct st_live_pool pools[ST_LIVE_POOLS];
    size_t n_pools, n_workers;
    struct worker *workers; // ST_LIVE_WORKERS
    struct st_live_histogram histograms[ST_HIST_MAX];
    struct st_metric_history *history; // owns
    uint64_t depths[DEPTHS], pending;
    size_t n_depths;
    int64_t depth_ms, start_ms;
    uint64_t cpu_all[CPUS], cpu_idle[CPUS], n_cpu; // jiffies since boot
    struct st_files *files;                        // owns
    char host[256];
};

int st_live_new(const char *host, struct st_live **ret, struct st_err *err)
{
    struct st_live *l = calloc(1, sizeof *l);
    struct worker *w = calloc(ST_LIVE_WORKERS, sizeof *w);
    struct st_metric_history *h = st_metric_history_new();
    if (!l || !w || !h || st_files_new(&l->files, err)) {
        free(l);
        free(w);
        st_metric_history_free(h);
        return st_err_nomem(err);
    }
    pthread_mutex_init(&l->lock, NULL);
    l->workers = w;
    snprintf(l->host, sizeof l->host, "%s", host);
    l->history = h;
    l->start_ms = st_clock_wall_ms();
    snprintf(l->pools[l->n_pools++].name, sizeof l->pools[0].name, "default");
    *ret = l;
    return 0;
}

void st_live_free(struct st_live *l)
{
    if (!l)
        return;
    pthread_mutex_destroy(&l->lock);
    st_files_free(l->files);
    for (size_t i = 0; i < l->n_workers; i++)
        free(l->workers[i].texts);
    st_metric_history_free(l->history);
    free(l->workers);
    free(l);
}

const char *st_live_host(const struct st_live *l)
{
    return l->host;
}

struct st_files *st_live_files(struct st_live *l)
{
    return l->files;
}

static void unlock(struct st_live **l)
{
    pthread_mutex_unlock(&(*l)->lock);
}
#define LOCKED(l)                                \
    pthread_mutex_lock(&(l)->lock);              \
    ST_AUTO(unlock) struct st_live *locked_ = l; \
    (void)locked_

// ---- counters -----------------------------------------------------------------------------------

void st_live_add(struct st_live *l, enum st_counter c, size_t which, uint64_t n)
{
    if (!l || which >= WHICH)
        return;
    LOCKED(l);
    l->counters[c][which] += n;
}

void st_live_count(struct st_live *l, enum st_counter c, size_t which)
{
    st_live_add(l, c, which, 1);
}

uint64_t st_live_counter(struct st_live *l, enum st_counter c, size_t which)
{
    LOCKED(l);
    return which < WHICH ? l->counters[c][which] : 0;
}

static struct st_live_pool *pool_of(struct st_live *l, struct st_sv name)
{
    for (size_t i = 0; i < l->n_pools; i++)
        if (st_sv_eq(name, st_sv_of(l->pools[i].name)))
            return &l->pools[i];
    if (l->n_pools == ST_LIVE_POOLS)
        return &l->pools[ST_LIVE_POOLS - 1];
    struct st_live_pool *p = &l->pools[l->n_pools++];
    snprintf(p->name, sizeof p->name, ST_SV_FMT, ST_SV_ARG(name));
    return p;
}

int st_live_restarted(struct st_live *l, struct st_sv pool, struct st_sv reason, struct st_err *err)
{
    for (size_t i = 0; l && st_restart_reasons[i]; i++)
        if (st_sv_eq(reason, st_sv_of(st_restart_reasons[i]))) {
            LOCKED(l);
            pool_of(l, pool)->restarts[i]++;
            return 0;
        }
    return st_err_set(err, ST_E_INPUT, "field 'reason': unknown value '" ST_SV_FMT "'", ST_SV_ARG(reason));
}

size_t st_live_pools(struct st_live *l, struct st_live_pool ret[static ST_LIVE_POOLS])
{
    LOCKED(l);
    memcpy(ret, l->pools, l->n_pools * sizeof *ret);
    return l->n_pools;
}

void st_live_observe(struct st_live *l, enum st_histogram_id id, double value)
{
    const double *bounds = st_live_bounds(id);
    size_t i = 0;
    if (!l)
        return;
    while (i < ST_LIVE_BUCKETS && value > bounds[i])
        i++;
    LOCKED(l);
    struct st_live_histogram *h = &l->histograms[id];
    h->buckets[i]++;
    h->count++;
    h->sum += value;
}

struct st_live_histogram st_live_histogram(struct st_live *l, enum st_histogram_id h)
{
    LOCKED(l);
    return l->histograms[h];
}

// ---- workers ------------------------------------------------------------------------------------

static int keep_texts(struct worker *w, const struct st_worker_row *row, struct st_err *err)
{
    struct st_worker_row r = *row;
    size_t total = 1, at = 0;
    for (size_t i = 0; i < TEXTS; i++)
        total += text_at(&r, i)->len;
    char *p = malloc(total);
    if (!p)
        return st_err_nomem(err);
    for (size_t i = 0; i < TEXTS; i++) {
        struct st_sv *t = text_at(&r, i);
        if (t->len)
            memcpy(p + at, t->ptr, t->len);
        t->ptr = p + at;
        at += t->len;
    }
    free(w->texts);
    w->texts = p;
    w->row = r;
    return 0;
}

static bool forgotten(const struct worker *w, int64_t now)
{
    return now - w->row.seen_ms >= (st_sv_eq(w->row.state, ST_SV("dead")) ? ST_LIVE_DEAD_MS : ST_LIVE_GONE_MS);
}

int st_live_worker(struct st_live *l, const struct st_worker_row *row, struct st_err *err)
{
    if (!l)
        return st_err_set(err, ST_E_RETRY, "no service is running");
    LOCKED(l);
    int64_t now = st_clock_mono_ms();
    size_t i = 0;
    while (i < l->n_workers && !st_sv_eq(l->workers[i].row.id, row->id))
        i++;
    if (i == l->n_workers) // the place of one that is forgotten, else a new one
        for (i = 0; i < l->n_workers && !forgotten(&l->workers[i], now); i++)
            ;
    if (i == ST_LIVE_WORKERS)
        return st_err_set(err, ST_E_LIMIT, "more than %d workers", ST_LIVE_WORKERS);
    if (keep_texts(&l->workers[i], row, err))
        return -1;
    if (i == l->n_workers)
        l->n_workers++;
    l->workers[i].row.seen_ms = now;
    struct st_live_pool *p = pool_of(l, st_sv_sub(row->pool, 0, 63));
    p->peak = ST_MAX(p->peak, ST_MAX(row->memory, row->memory_peak));
    return 0;
}

static int by_id(const void *a, const void *b)
{
    return st_sv_cmp(((const struct st_worker_row *)a)->id, ((const struct st_worker_row *)b)->id);
}

int st_live_workers(struct st_live *l, struct st_arena *a, struct st_worker_row **ret, size_t *ret_n,
                    struct st_err *err)
{
    *ret_n = 0;
    *ret = NULL;
    if (!l)
        return 0;
    LOCKED(l);
    int64_t now = st_clock_mono_ms(), wall = st_clock_wall_ms();
    struct st_worker_row *rows = st_arena_array(a, l->n_workers + 1, sizeof *rows, err);
    if (!rows)
        return -1;
    for (size_t i = 0; i < l->n_workers; i++) {
        struct st_worker_row r = l->workers[i].row;
        if (forgotten(&l->workers[i], now))
            continue;
        for (size_t k = 0; k < TEXTS; k++)
            if (st_arena_dup(a, *text_at(&r, k), text_at(&r, k), err))
                return -1;
        r.stale = now - r.seen_ms >= ST_WORKER_STALE_MS;
        r.seen_ms = wall - (now - r.seen_ms);
        rows[(*ret_n)++] = r;
    }
    qsort(rows, *ret_n, sizeof *rows, by_id);
    *ret = rows;
    return 0;
}

bool st_live_has_pool(struct st_live *l, struct st_sv pool)
{
    LOCKED(l);
    int64_t now = st_clock_mono_ms();
    for (size_t i = 0; i < l->n_workers; i++)
        if (st_sv_eq(l->workers[i].row.pool, pool) && now - l->workers[i].row.seen_ms < ST_WORKER_STALE_MS)
            return true;
    return false;
}

// ---- the queue over time ------------------------------------------------------------------------

void st_live_depth(struct st_live *l, uint64_t pending, int64_t now_ms)
{
    LOCKED(l);
    l->pending = pending;
    if (l->n_depths && now_ms - l->depth_ms < DEPTH_MS)
        return;
    l->depth_ms = now_ms;
    l->depths[l->n_depths++ % DEPTHS] = pending;
}

bool st_live_growing(struct st_live *l)
{
    if (!l)
        return false;
    LOCKED(l);
    return l->n_depths > WINDOW && l->pending > l->depths[(l->n_depths - 1 - WINDOW) % DEPTHS];
}

// user nice system idle iowait irq softirq steal guest guest_nice; both guests are in user and nice already.
void st_live_cpu(struct st_live *l, struct st_sv line)
{
    struct st_sv word;
    uint64_t v, all = 0, idle = 0;
    if (!st_sv_word(&line, &word) || !st_sv_eq(word, ST_SV("cpu")))
        return;
    for (size_t i = 0; i < 8 && st_sv_word(&line, &word) && st_sv_u64(word, 10, &v); i++) {
        all += v;
        idle += i == 3 || i == 4 ? v : 0;
    }
    LOCKED(l);
    l->cpu_all[l->n_cpu % CPUS] = all;
    l->cpu_idle[l->n_cpu++ % CPUS] = idle;
}

bool st_live_cpu_used(struct st_live *l, uint64_t *ret)
{
    if (!l)
        return false;
    LOCKED(l);
    if (l->n_cpu < 2)
        return false;
    size_t last = (l->n_cpu - 1) % CPUS, first = l->n_cpu < CPUS ? 0 : l->n_cpu % CPUS;
    uint64_t all = l->cpu_all[last] - l->cpu_all[first], idle = l->cpu_idle[last] - l->cpu_idle[first];
    *ret = all && idle <= all ? (all - idle) * 100000 / all : 0;
    return all > 0;
}

uint64_t st_live_pending(struct st_live *l)
{
    LOCKED(l);
    return l->pending;
}

struct st_metric_history *st_live_history(struct st_live *l)
{
    return l->history;
}

int64_t st_live_start_ms(struct st_live *l)
{
    return l->start_ms;
}
