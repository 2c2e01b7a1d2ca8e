// What doctor's checks ask for: processors and memory, the layer cache, dead letters (operator-surface 3.3; the names
// of the fields are theirs).
#include "base/ckd.h"
#include "scan/fragstore.h"
#include "service/live.h"
#include "service/op_int.h"
#include "store/home.h"

static uint64_t percent(uint64_t part, uint64_t whole)
{
    return whole ? (uint64_t)((double)part * 100000 / (double)whole) : 0;
}

int st_op_resources(const struct st_op_call *c, struct st_err *err)
{
    struct st_resource_stats a = {0};
    struct st_worker_row *w;
    uint64_t used = 0;
    size_t n;
    if (st_live_workers(c->live, c->arena, &w, &n, err))
        return -1;
    a.has_cpu = st_live_cpu_used(c->live, &a.cpu_utilization);
    for (size_t i = 0; i < n; i++) {
        if (w[i].stale || st_sv_eq(w[i].state, ST_SV("dead")))
            continue;
        used += w[i].memory;
        a.memory_utilization = ST_MAX(a.memory_utilization, percent(w[i].memory, w[i].memory_limit));
        a.idle_workers += st_sv_eq(w[i].state, ST_SV("idle"));
        a.active_workers += st_sv_eq(w[i].state, ST_SV("busy"));
        a.total_workers++;
    }
    a.memory_used_mb = used >> 20;
    return c->emit(c->ctx, &a, err);
}

// A cache that was never used is an empty one.
int st_op_cache_stats(const struct st_op_call *c, struct st_err *err)
{
    struct st_cache_stats a = {.max_bytes = ST_CACHE_BYTES_MAX};
    struct st_fragstore_usage use = {0};
    struct st_fragstore_counts counts = {0};
    struct st_fragstore s;
    struct st_err e = {0};
    char home[PATH_MAX], dir[PATH_MAX];
    if (st_home_path(home, err) || st_home_file(home, "cache", dir, err))
        return -1;
    int rc = st_fragstore_open(dir, "layers", false, &s, &e);
    if (rc == 0) {
        rc = st_fragstore_usage(&s, &use, &e);
        st_fragstore_counts(&s, &counts);
        st_fragstore_close(&s);
    }
    if (rc && e.code != ST_E_NOTFOUND) {
        if (err)
            *err = e;
        return -1;
    }
    a.hits = counts.hits;
    a.misses = counts.misses;
    a.hit_rate = percent(counts.hits, counts.hits + counts.misses);
    a.eviction_rate = percent(counts.evicted, counts.misses);
    a.entry_count = use.entries;
    a.used_bytes = use.bytes;
    return c->emit(c->ctx, &a, err);
}

// ---- dead letters -------------------------------------------------------------------------------

#define REASONS 32 // at least the number of st_reasons

struct dead {
    struct st_dead_stats a;
    uint64_t by_reason[REASONS];
};

static int count_dead(void *ctx, const struct st_job *job, struct st_err *err)
{
    struct dead *d = ctx;
    const struct st_reason *r = st_reason_find(job->reason);
    d->a.failed_jobs++;
    d->a.oldest_failure_ms = job->updated_ms; // newest first
    if (!r)
        return 0;
    d->a.retryable_count += r->again != ST_AGAIN_NO;
    d->by_reason[ST_MIN((size_t)(r - st_reasons), (size_t)REASONS - 1)]++;
    return 0;
}

int st_op_dead_stats(const struct st_op_call *c, struct st_err *err)
{
    struct dead d = {0};
    struct st_job_filter f = {.limit = ST_DEAD_MAX, .dead = true};
    uint64_t most = 0;
    if (st_store_list(c->store, &f, count_dead, &d, err))
        return -1;
    for (size_t i = 0; st_reasons[i].word && i < REASONS; i++)
        if (d.by_reason[i] > most) {
            most = d.by_reason[i];
            d.a.most_common_error = st_sv_of(st_reasons[i].word);
        }
    return c->emit(c->ctx, &d.a, err);
}
