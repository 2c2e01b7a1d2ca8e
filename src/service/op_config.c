// Operations on configuration, pools and workers.
#include "base/ckd.h"
#include "base/clock.h"
#include "base/quantity.h"
#include "service/keys.h"
#include "service/live.h"
#include "service/op_int.h"

#include <stdio.h>
#include <unistd.h>

#define HISTORY_DEFAULT 50
#define RECOMMENDED (4 * ST_GIB)

struct found {
    bool set;
    struct st_sv who;
    int64_t set_ms;
    struct st_arena *arena;
};

static int take(void *ctx, const struct st_config *c, struct st_err *err)
{
    struct found *f = ctx;
    f->set = true;
    f->set_ms = c->set_ms;
    return st_arena_dup(f->arena, c->who, &f->who, err);
}

static int key_row(const struct st_op_call *c, const struct st_key *k, struct st_config_row *ret, struct st_err *err)
{
    struct found f = {.arena = c->arena};
    char *value = st_arena_alloc(c->arena, ST_KEY_TEXT, err);
    if (!value || st_key_value(c->store, k, value, err) || st_store_config(c->store, st_sv_of(k->name), take, &f, err))
        return -1;
    *ret = (struct st_config_row){
        .key = st_sv_of(k->name),
        .value = st_sv_of(value),
        .origin = f.set ? ST_SV("set") : ST_SV("default"),
        .who = f.who,
        .set_ms = f.set_ms,
        .restart = k->restart,
    };
    return 0;
}

// One key, the keys of a group, or all.
int st_op_config_list(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_key *q = c->request;
    struct st_config_row row;
    bool group = !q->key.len || st_key_group(q->key);
    const struct st_key *one = group ? NULL : st_key_find(q->key, err);
    if (!group && !one)
        return -1;
    for (const struct st_key *k = st_keys; k->name; k++) {
        bool in =
            one ? k == one : !q->key.len || (st_sv_starts(st_sv_of(k->name), q->key) && k->name[q->key.len] == '.');
        if (in && (key_row(c, k, &row, err) || c->emit(c->ctx, &row, err)))
            return -1;
    }
    return 0;
}

static int find_pool(void *ctx, const struct st_pool *p, struct st_err *err)
{
    struct st_sv *wanted = ctx;
    if (st_sv_eq(p->name, *wanted))
        *wanted = ST_SV_NULL;
    return 0;
}

static int check_pool(const struct st_op_call *c, const char *value, struct st_err *err)
{
    struct st_sv wanted = st_sv_of(value);
    if (!strcmp(value, "none") || !strcmp(value, "default"))
        return 0;
    if (st_store_pools(c->store, find_pool, &wanted, err))
        return -1;
    if (wanted.len)
        return st_err_set(err, ST_E_NOTFOUND, "no pool '%s' (stella scanner workers add --pool %s makes it)", value,
                          value);
    return 0;
}

static int warn_memory(const struct st_op_call *c, struct st_config_row *row, struct st_err *err)
{
    uint64_t v, host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    char text[ST_QUANTITY_TEXT];
    if (!st_sv_eq(row->key, ST_SV("worker.memory_limit")) || !st_quantity_read(row->value, &v))
        return 0;
    st_quantity_human(host, text);
    if (v > host)
        return st_arena_fmt(c->arena, &row->warning, err,
                            "worker.memory_limit " ST_SV_FMT
                            " is over this host's memory, %s: workers get what there is",
                            ST_SV_ARG(row->value), text);
    if (v < RECOMMENDED)
        row->warning = ST_SV("worker.memory_limit is under the recommended 4Gi: large images may not fit");
    return 0;
}

// Which workers do not have it yet. What a worker uses is known for its memory limit only.
static int note_restart(const struct st_op_call *c, struct st_config_row *row, struct st_err *err)
{
    struct st_worker_row *w;
    size_t n, in = 0, old = 0;
    uint64_t v = 0, seen = 0;
    bool memory = st_sv_eq(row->key, ST_SV("worker.memory_limit")) && st_quantity_read(row->value, &v);
    if (!row->restart || st_live_workers(c->live, c->arena, &w, &n, err))
        return row->restart ? -1 : 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t has = w[i].memory_asked ? w[i].memory_asked : w[i].memory_limit;
        if (w[i].stale || st_sv_eq(w[i].state, ST_SV("dead")) || (memory && !st_sv_eq(w[i].pool, ST_SV("default"))))
            continue;
        in++;
        old += !memory || has != v;
        seen = has != v ? has : seen;
    }
    if (!old)
        return 0;
    char text[ST_QUANTITY_TEXT];
    st_quantity_text(seen, text);
    return memory ? st_arena_fmt(c->arena, &row->note, err,
                                 "restart needed: %zu of %zu workers still use %s (stella scanner workers restart)",
                                 old, in, text)
                  : st_arena_fmt(c->arena, &row->note, err,
                                 "restart needed: %zu workers use it from their next start on (stella scanner workers "
                                 "restart)",
                                 in);
}

static int change(const struct st_op_call *c, const struct st_key *k, const struct st_sv *value, struct st_err *err)
{
    struct st_config_row row;
    int changed = st_store_config_set(c->store, st_sv_of(k->name), value, c->caller->name, err);
    if (changed < 0 || key_row(c, k, &row, err))
        return -1;
    row.changed = changed;
    if (warn_memory(c, &row, err) || (changed && note_restart(c, &row, err)))
        return -1;
    struct st_log_line line = {.level = ST_LOG_INFO, .component = ST_SV("config")};
    if (changed && (st_arena_fmt(c->arena, &line.message, err, "%s is now " ST_SV_FMT " (" ST_SV_FMT ")", k->name,
                                 ST_SV_ARG(row.value), ST_SV_ARG(c->caller->name)) ||
                    st_store_log_add(c->store, &line, 1, err)))
        return -1;
    return c->emit(c->ctx, &row, err);
}

int st_op_config_set(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_config_set *q = c->request;
    char value[ST_KEY_TEXT];
    const struct st_key *k = st_key_find(q->key, err);
    if (!k || st_key_canonical(k, q->value, value, err) || (k->kind == ST_KEY_POOL && check_pool(c, value, err)))
        return -1;
    struct st_sv v = st_sv_of(value);
    return change(c, k, strcmp(value, "none") ? &v : NULL, err);
}

int st_op_config_unset(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_key *q = c->request;
    const struct st_key *k = st_key_find(q->key, err);
    return k ? change(c, k, NULL, err) : -1;
}

static int emit_change(void *ctx, const struct st_config_change *h, struct st_err *err)
{
    const struct st_op_call *c = ctx;
    return c->emit(c->ctx, h, err);
}

int st_op_config_history(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_key *q = c->request;
    if (q->key.len && !st_key_find(q->key, err))
        return -1;
    return st_store_config_history(c->store, q->key, q->limit ? q->limit : HISTORY_DEFAULT, emit_change,
                                   (void *)(uintptr_t)c, err);
}

// ---- pools, workers -----------------------------------------------------------------------------

static int emit_pool(void *ctx, const struct st_pool *p, struct st_err *err)
{
    const struct st_op_call *c = ctx;
    return c->emit(c->ctx, p, err);
}

int st_op_pools(const struct st_op_call *c, struct st_err *err)
{
    return st_store_pools(c->store, emit_pool, (void *)(uintptr_t)c, err);
}

// More than there is: taken, and said.
static int warn_pool(const struct st_op_call *c, struct st_pool *p, struct st_err *err)
{
    uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), all;
    char asked[ST_QUANTITY_TEXT], has[ST_QUANTITY_TEXT];
    st_quantity_text(p->memory, asked);
    st_quantity_human(host, has);
    if (!st_ckd_mul(&all, p->memory, (uint64_t)p->count) && all <= host)
        return 0;
    return st_arena_fmt(c->arena, &p->warning, err, "%u worker%s with %s %s over this host's memory, %s: %s", p->count,
                        p->count == 1 ? "" : "s", asked, p->count == 1 ? "is" : "are", has,
                        p->memory > host ? "a worker gets what there is, and they take turns"
                                         : "they work as far as memory goes, and wait for each other");
}

int st_op_pool_put(const struct st_op_call *c, struct st_err *err)
{
    const struct st_pool *p = c->request;
    if (!st_pool_name(p->name) || st_sv_eq(p->name, ST_SV("default")) || st_sv_eq(p->name, ST_SV("none")))
        return st_err_set(err, ST_E_INPUT,
                          "invalid pool name '" ST_SV_FMT
                          "' (small letters, digits and '-', at most 63; default and none "
                          "are taken)",
                          ST_SV_ARG(st_sv_sub(p->name, 0, 63)));
    if (p->memory < 32 * ST_MIB || p->count == 0)
        return st_err_set(err, ST_E_INPUT, "a pool has at least one worker with at least 32Mi");
    struct st_pool made = *p;
    return st_store_pool_put(c->store, p, err) || warn_pool(c, &made, err) ? -1 : c->emit(c->ctx, &made, err);
}

int st_op_pool_remove(const struct st_op_call *c, struct st_err *err)
{
    const struct st_pool *p = c->request;
    char routed[ST_KEY_TEXT];
    const struct st_key *k = st_key_find(ST_SV("routing.large_image_pool"), err);
    if (!k || st_key_value(c->store, k, routed, err))
        return -1;
    if (st_sv_eq(p->name, st_sv_of(routed)))
        return st_err_set(err, ST_E_USAGE,
                          "pool '%s' is where routing sends large images (stella scanner config unset %s)", routed,
                          k->name);
    return st_store_pool_remove(c->store, p->name, err) ? -1 : c->emit(c->ctx, &(struct st_done){true}, err);
}

int st_op_workers(const struct st_op_call *c, struct st_err *err)
{
    struct st_worker_row *w;
    size_t n;
    if (st_live_workers(c->live, c->arena, &w, &n, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (c->emit(c->ctx, &w[i], err))
            return -1;
    return 0;
}

int st_op_worker_report(const struct st_op_call *c, struct st_err *err)
{
    return st_live_worker(c->live, c->request, err) ? -1 : c->emit(c->ctx, &(struct st_done){true}, err);
}

int st_op_worker_restarted(const struct st_op_call *c, struct st_err *err)
{
    const struct st_req_restarted *q = c->request;
    if (st_live_restarted(c->live, q->pool, q->reason, err))
        return -1;
    if ((st_sv_eq(q->reason, ST_SV("manual")) || st_sv_eq(q->reason, ST_SV("config"))) &&
        st_store_mark_set(c->store, ST_MARK_RESTART, st_clock_wall_ms(), err))
        return -1;
    return c->emit(c->ctx, &(struct st_done){true}, err);
}

int st_op_status(const struct st_op_call *c, struct st_err *err)
{
    struct st_counts k;
    struct st_worker_row *w;
    size_t n, fresh = 0;
    struct st_status a = {
        .state = ST_SV("ok"), .store = st_sv_of(st_store_kind(c->store)), .version = ST_SV(ST_VERSION)};
    if (st_store_counts(c->store, INT64_MAX, &k, err) || st_live_workers(c->live, c->arena, &w, &n, err))
        return -1;
    a.pending = k.pending;
    a.processing = k.processing;
    for (size_t i = 0; i < n; i++)
        if (!w[i].stale) {
            fresh++;
            a.workers_active += st_sv_eq(w[i].state, ST_SV("busy"));
            a.workers_idle += st_sv_eq(w[i].state, ST_SV("idle"));
        }
    if (!c->live) {
        a.state = ST_SV("no service");
        a.reason =
            ST_SV("nothing answers on the socket: the local record is shown, and jobs wait until stella serve runs");
    } else {
        a.uptime_s = (uint64_t)ST_MAX((st_clock_wall_ms() - st_live_start_ms(c->live)) / 1000, (int64_t)0);
        if (!fresh) {
            a.state = ST_SV("degraded");
            a.reason = n ? ST_SV("the supervisor does not report") : ST_SV("no supervisor reports workers: jobs wait");
        }
    }
    return c->emit(c->ctx, &a, err);
}
