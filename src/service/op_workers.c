// What supervisors are to make so, and restarts. A restart is a number in the store: a pool's generation. Workers that
// report a lower one are yet to be restarted; so two restarts at once are one, and none is lost with a process.
#include "base/ckd.h"
#include "base/map.h"
#include "service/keys.h"
#include "service/live.h"
#include "service/op_int.h"

#include <stdio.h>

#define POOLS_MAX 256
#define MARK (ST_KEY_TEXT + 32)

static int mark_of(const struct st_op_call *c, const char *mark, struct st_sv pool, uint64_t *ret, struct st_err *err)
{
    char name[MARK];
    int64_t v;
    snprintf(name, sizeof name, "%s" ST_SV_FMT, mark, ST_SV_ARG(pool));
    if (st_store_mark(c->store, name, &v, err))
        return -1;
    *ret = (uint64_t)v;
    return 0;
}

static int set_mark(const struct st_op_call *c, const char *mark, struct st_sv pool, uint64_t v, struct st_err *err)
{
    char name[MARK];
    snprintf(name, sizeof name, "%s" ST_SV_FMT, mark, ST_SV_ARG(pool));
    return st_store_mark_set(c->store, name, (int64_t)v, err);
}

// ---- pools.wanted -------------------------------------------------------------------------------

struct pools {
    const struct st_op_call *c;
    struct st_wanted *rows; // POOLS_MAX
    size_t n;
};

static int add_pool(struct pools *p, struct st_sv name, uint64_t memory, uint64_t count, struct st_err *err)
{
    if (p->n == POOLS_MAX)
        return st_err_set(err, ST_E_LIMIT, "more than %d pools", POOLS_MAX);
    struct st_wanted *w = &p->rows[p->n++];
    uint64_t forced;
    *w = (struct st_wanted){.memory = memory, .count = (uint32_t)count};
    if (st_arena_dup(p->c->arena, name, &w->pool, err) ||
        mark_of(p->c, ST_MARK_GENERATION, name, &w->generation, err) ||
        mark_of(p->c, ST_MARK_FORCED, name, &forced, err))
        return -1;
    w->force = forced && forced == w->generation;
    return 0;
}

static int keep_pool(void *ctx, const struct st_pool *pool, struct st_err *err)
{
    struct pools *p = ctx;
    if (p->n == POOLS_MAX)
        return st_err_set(err, ST_E_LIMIT, "more than %d pools", POOLS_MAX);
    p->rows[p->n] = (struct st_wanted){.memory = pool->memory, .count = pool->count};
    return st_arena_dup(p->c->arena, pool->name, &p->rows[p->n++].pool, err);
}

// Pools are read whole before their marks are asked for: one statement at a time on a handle.
static int all_pools(struct pools *p, struct st_err *err)
{
    struct pools named = {.c = p->c};
    uint64_t memory, count;
    p->rows = st_arena_array(p->c->arena, POOLS_MAX, sizeof *p->rows, err);
    named.rows = st_arena_array(p->c->arena, POOLS_MAX, sizeof *p->rows, err);
    if (!p->rows || !named.rows || st_key_bytes(p->c->store, "worker.memory_limit", &memory, err) ||
        st_key_count(p->c->store, "worker.count", &count, err) || add_pool(p, ST_SV("default"), memory, count, err) ||
        st_store_pools(p->c->store, keep_pool, &named, err))
        return -1;
    for (size_t i = 0; i < named.n; i++)
        if (add_pool(p, named.rows[i].pool, named.rows[i].memory, named.rows[i].count, err))
            return -1;
    return 0;
}

static uint64_t version_of(const struct st_wanted *rows, size_t n)
{
    uint64_t v = n;
    for (size_t i = 0; i < n; i++) {
        const struct st_wanted *w = &rows[i];
        v = st_hash_mix(st_hash_mix(st_hash_mix(v, st_hash(w->pool)), w->memory), w->count);
        v = st_hash_mix(st_hash_mix(st_hash_mix(v, w->generation), w->force), w->cancels);
        v = st_hash_mix(v, st_hash(w->config));
    }
    return v | 1; // 0 is nobody's
}

static int emit_wanted(struct pools *p, struct st_buf *config, struct st_err *err)
{
    const struct st_op_call *c = p->c;
    const struct st_req_wanted *q = c->request;
    uint64_t cancels;
    if (all_pools(p, err) || st_keys_restart(c->store, config, err) || st_store_cancels(c->store, &cancels, err))
        return -1;
    for (size_t i = 0; i < p->n; i++) {
        p->rows[i].config = st_buf_sv(config);
        p->rows[i].cancels = cancels;
    }
    uint64_t version = version_of(p->rows, p->n);
    for (size_t i = 0; i < p->n && version != q->seen; i++) {
        p->rows[i].version = version;
        if (c->emit(c->ctx, &p->rows[i], err))
            return -1;
    }
    return 0;
}

int st_op_wanted(const struct st_op_call *c, struct st_err *err)
{
    struct st_buf config;
    struct pools p = {.c = c};
    st_buf_init(&config, c->arena->mem);
    int rc = emit_wanted(&p, &config, err);
    st_buf_release(&config);
    return rc;
}

// ---- workers.restart ----------------------------------------------------------------------------

// What workers of the pool would begin with now.
static int hash_of(const struct st_op_call *c, const struct st_wanted *w, uint64_t *ret, struct st_err *err)
{
    struct st_buf config;
    st_buf_init(&config, c->arena->mem);
    int rc = st_keys_restart(c->store, &config, err);
    *ret = rc ? 0 : st_hash_mix(st_hash(st_buf_sv(&config)), w->memory) >> 1; // a mark is signed
    st_buf_release(&config);
    return rc;
}

static int restart_pool(const struct st_op_call *c, const struct st_wanted *w, struct st_err *err)
{
    const struct st_req_restart *q = c->request;
    struct st_worker_row *live;
    size_t n, behind = 0;
    uint64_t hash, doing;
    char name[MARK];
    int64_t generation;
    struct st_restart a = {.pool = w->pool, .generation = w->generation};
    if (st_live_workers(c->live, c->arena, &live, &n, err) || hash_of(c, w, &hash, err) ||
        mark_of(c, ST_MARK_RESTART_OF, w->pool, &doing, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (st_sv_eq(live[i].pool, w->pool) && !live[i].stale && !st_sv_eq(live[i].state, ST_SV("dead"))) {
            a.workers++;
            behind += live[i].generation < w->generation;
        }
    // One that is under way and brings the same configuration will do, unless this one is to be quicker.
    a.joined = behind && doing == hash && (!q->force || w->force);
    if (a.joined)
        return c->emit(c->ctx, &a, err);
    snprintf(name, sizeof name, ST_MARK_GENERATION ST_SV_FMT, ST_SV_ARG(w->pool));
    if (set_mark(c, ST_MARK_RESTART_OF, w->pool, hash, err) ||
        (q->force && set_mark(c, ST_MARK_FORCED, w->pool, w->generation + 1, err)) ||
        st_store_mark_raise(c->store, name, &generation, err))
        return -1;
    a.generation = (uint64_t)generation;
    return c->emit(c->ctx, &a, err);
}

int st_op_restart(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_restart *q = c->request;
    struct pools p = {.c = c};
    bool found = false;
    if (all_pools(&p, err))
        return -1;
    for (size_t i = 0; i < p.n; i++)
        if (!q->pool.len || st_sv_eq(q->pool, p.rows[i].pool)) {
            found = true;
            if (restart_pool(c, &p.rows[i], err))
                return -1;
        }
    if (!found)
        return st_err_set(err, ST_E_NOTFOUND, "no pool '" ST_SV_FMT "' (stella scanner workers list shows them)",
                          ST_SV_ARG(st_sv_sub(q->pool, 0, 63)));
    struct st_log_line line = {.level = ST_LOG_INFO, .component = ST_SV("worker")};
    return st_arena_fmt(c->arena, &line.message, err, "restart of workers asked for by " ST_SV_FMT "%s" ST_SV_FMT "%s",
                        ST_SV_ARG(c->caller->name), q->pool.len ? ", pool " : "", ST_SV_ARG(q->pool),
                        q->force ? ", at once" : "") ||
                   st_store_log_add(c->store, &line, 1, err)
               ? -1
               : 0;
}
