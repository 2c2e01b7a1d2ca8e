// stella scanner workers add, scale, remove, restart: what pools of workers there are to be.
#include "base/ckd.h"
#include "base/clock.h"
#include "base/quantity.h"
#include "cli/workers.h"
#include "service/keys.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COUNT_MAX 256
#define MEMORY_MIN (32 * ST_MIB)

struct raw {
    const char *pool;
    uint64_t memory, count;
    int format;
    bool replace, force;
};

#define POOL_ROW(text)                                                               \
    {                                                                                \
        "pool", 0, ST_OPT_STRING_AT(struct raw, pool), .arg = "POOL", .help = (text) \
    }
#define COUNT_ROW(text)                                                                                        \
    {                                                                                                          \
        "count", 0, ST_OPT_COUNT_AT(struct raw, count), .arg = "N", .help = (text), .min = 1, .max = COUNT_MAX \
    }
static const struct st_opt add_options[] = {
    POOL_ROW("name: small letters, digits and '-', at most 63"),
    {"memory", 0, ST_OPT_BYTES_AT(struct raw, memory), .arg = "BYTES", .help = "memory limit of one worker, as 16Gi",
     .min = MEMORY_MIN},
    {"count", 0, ST_OPT_COUNT_AT(struct raw, count), .arg = "N", .help = "workers to add", .def = "1", .min = 1,
     .max = COUNT_MAX},
    {"replace", 0, ST_OPT_FLAG_AT(struct raw, replace), .help = "change the memory and count of a pool that there is"},
    ST_FORMAT_OPTION(struct raw),
};
static const struct st_opt scale_options[] = {
    {"pool", 0, ST_OPT_STRING_AT(struct raw, pool), .arg = "POOL", .help = "pool to change", .def = "default"},
    COUNT_ROW("workers that it is to have"),
    ST_FORMAT_OPTION(struct raw),
};
static const struct st_opt remove_options[] = {
    POOL_ROW("pool to remove"),
    {"force", 0, ST_OPT_FLAG_AT(struct raw, force), .help = "also when jobs wait for it"},
};
static const struct st_opt restart_options[] = {
    POOL_ROW("only workers of this pool"),
    {"force", 0, ST_OPT_FLAG_AT(struct raw, force), .help = "end workers at once, without asking them first"},
    ST_FORMAT_OPTION(struct raw),
};

static int pool_argument(const struct raw *r, struct st_sv *ret, struct st_err *err)
{
    *ret = st_sv_of(r->pool);
    if (!r->pool)
        return st_err_set(err, ST_E_USAGE, "which pool? Give --pool NAME (example: --pool large-images)");
    if (!st_pool_name(*ret))
        return st_err_set(err, ST_E_USAGE, "invalid pool name '%.63s' (small letters, digits and '-', at most 63)",
                          r->pool);
    return 0;
}

static bool is_default(struct st_sv pool)
{
    return st_sv_eq(pool, ST_SV("default"));
}

struct found {
    struct st_sv name;
    bool is;
    uint64_t memory;
    uint32_t count;
};

static int find_pool(void *ctx, const void *row, struct st_err *err)
{
    struct found *f = ctx;
    const struct st_pool *p = row;
    if (st_sv_eq(p->name, f->name)) {
        f->is = true;
        f->memory = p->memory;
        f->count = p->count;
    }
    return 0;
}

static int look(struct st_client *c, struct st_sv pool, struct found *ret, struct st_err *err)
{
    *ret = (struct found){.name = pool};
    return st_client_call(c, "pools.list", NULL, find_pool, ret, err);
}

static int look_for(struct st_client *c, struct st_sv pool, struct found *ret, struct st_err *err)
{
    if (look(c, pool, ret, err))
        return -1;
    return ret->is ? 0
                   : st_err_set(err, ST_E_NOTFOUND,
                                "no pool '" ST_SV_FMT "' (stella scanner workers add --pool " ST_SV_FMT
                                " --memory 16Gi makes it)",
                                ST_SV_ARG(pool), ST_SV_ARG(pool));
}

// ---- add, scale, remove -------------------------------------------------------------------------

struct saying {
    struct st_out *out;
    enum st_format format;
};

static int say_pool(void *ctx, const void *row, struct st_err *err)
{
    struct saying *s = ctx;
    const struct st_pool *p = row;
    char memory[ST_QUANTITY_TEXT];
    if (p->warning.len)
        st_cli_warn(ST_SV_FMT, ST_SV_ARG(p->warning));
    if (s->format == ST_FORMAT_TABLE) {
        st_quantity_text(p->memory, memory);
        st_out_fmt(s->out, "pool " ST_SV_FMT ": %u worker%s with %s each\n", ST_SV_ARG(p->name), p->count,
                   p->count == 1 ? "" : "s", memory);
        return 0;
    }
    struct st_sink sink = {.out = s->out, .format = s->format, .record = &st_record_pool, .one = true};
    st_sink_begin(&sink);
    if (st_sink_row(&sink, p, err))
        return -1;
    st_sink_end(&sink);
    return 0;
}

static void say_no_service(const struct st_client *c)
{
    if (!st_client_remote(c))
        st_cli_note("no service is running here: workers come when one does (stella serve)");
}

static int run_add(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct saying s = {call->out, (enum st_format)r->format};
    struct st_pool p = {.memory = r->memory, .count = (uint32_t)r->count};
    struct found f;
    char has[ST_QUANTITY_TEXT];
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (pool_argument(r, &p.name, err))
        return -1;
    if (is_default(p.name))
        return st_err_set(err, ST_E_USAGE,
                          "pool default is made by the configuration: stella scanner config set worker.count 4, and "
                          "worker.memory_limit");
    if (st_client_open(true, &c, err) || look(c, p.name, &f, err))
        return -1;
    st_quantity_text(f.memory, has);
    if (!r->memory && (!f.is || r->replace))
        return st_err_set(err, ST_E_USAGE,
                          "how much memory has a worker of it? Give --memory (example: --memory 16Gi)");
    if (f.is && !r->replace && r->memory && r->memory != f.memory)
        return st_err_set(err, ST_E_USAGE, "pool '%s' has memory %s; use --replace", r->pool, has);
    if (f.is && !r->replace) {
        p.memory = f.memory;
        p.count += f.count;
    }
    if (p.count > COUNT_MAX)
        return st_err_set(err, ST_E_USAGE, "pool '%s' has %u workers; at most %d", r->pool, f.count, COUNT_MAX);
    if (st_client_call(c, "pools.put", &p, say_pool, &s, err))
        return -1;
    if (f.is && p.memory != f.memory && st_client_remote(c))
        st_cli_note("restart needed: its workers still use %s (stella scanner workers restart --pool %s)", has,
                    r->pool);
    say_no_service(c);
    return 0;
}

static int say_count(void *ctx, const void *row, struct st_err *err)
{
    struct saying *s = ctx;
    const struct st_config_row *k = row;
    st_out_fmt(s->out, "pool default: " ST_SV_FMT " worker%s (worker.count)\n", ST_SV_ARG(k->value),
               st_sv_eq(k->value, ST_SV("1")) ? "" : "s");
    return 0;
}

static int run_scale(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct saying s = {call->out, (enum st_format)r->format};
    struct st_pool p = {.count = (uint32_t)r->count};
    struct found f;
    char number[16];
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (pool_argument(r, &p.name, err))
        return -1;
    if (!r->count)
        return st_err_set(err, ST_E_USAGE, "how many workers? Give --count N (1 to %d)", COUNT_MAX);
    if (st_client_open(true, &c, err))
        return -1;
    if (is_default(p.name)) {
        snprintf(number, sizeof number, "%llu", (unsigned long long)r->count);
        struct st_req_config_set q = {ST_SV("worker.count"), st_sv_of(number)};
        if (st_client_call(c, "config.set", &q, say_count, &s, err))
            return -1;
    } else {
        if (look_for(c, p.name, &f, err))
            return -1;
        p.memory = f.memory;
        if (st_client_call(c, "pools.put", &p, say_pool, &s, err))
            return -1;
    }
    say_no_service(c);
    return 0;
}

struct waiting {
    struct st_sv pool;
    uint64_t pending;
};

static int take_pending(void *ctx, const void *row, struct st_err *err)
{
    struct waiting *w = ctx;
    const struct st_count_row *k = row;
    if (st_sv_eq(k->which, w->pool) && st_sv_eq(k->what, ST_SV("pending")))
        w->pending = k->count;
    return 0;
}

static int run_remove(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct st_pool p = {.count = 0};
    struct found f;
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if (pool_argument(r, &p.name, err))
        return -1;
    if (is_default(p.name))
        return st_err_set(err, ST_E_USAGE,
                          "pool default cannot be removed (stella scanner workers scale --pool default "
                          "--count 1)");
    if (st_client_open(true, &c, err) || look_for(c, p.name, &f, err))
        return -1;
    struct waiting w = {.pool = p.name};
    if (st_client_call(c, "queue.pools", NULL, take_pending, &w, err))
        return -1;
    if (w.pending && !r->force)
        return st_err_set(err, ST_E_FAILED,
                          "%llu jobs wait for pool '%s': they would wait for ever (--force removes it "
                          "all the same)",
                          (unsigned long long)w.pending, r->pool);
    if (st_client_call(c, "pools.remove", &p, NULL, NULL, err))
        return -1;
    st_out_fmt(call->out, "pool %s: removed; its workers end with their jobs\n", r->pool);
    return 0;
}

// ---- restart ------------------------------------------------------------------------------------

#define POOLS_MAX 64
#define POLL_MS 200
#define WORKER_MS 45000 // of one worker: it is asked, and ended after 30 s

struct restarting {
    struct {
        char name[64];
        uint64_t generation;
    } pools[POOLS_MAX];
    size_t n;
    bool joined;
    uint64_t workers, done; // as seen now
};

static int take_restart(void *ctx, const void *row, struct st_err *err)
{
    struct restarting *k = ctx;
    const struct st_restart *a = row;
    if (k->n == POOLS_MAX)
        return 0;
    snprintf(k->pools[k->n].name, sizeof k->pools[0].name, ST_SV_FMT, ST_SV_ARG(a->pool));
    k->pools[k->n++].generation = a->generation;
    k->joined = k->joined || a->joined;
    k->workers += a->workers;
    return 0;
}

static int count_worker(void *ctx, const void *row, struct st_err *err)
{
    struct restarting *k = ctx;
    const struct st_worker_row *w = row;
    if (w->stale || st_sv_eq(w->state, ST_SV("dead")))
        return 0;
    for (size_t i = 0; i < k->n; i++)
        if (st_sv_eq(w->pool, st_sv_of(k->pools[i].name))) {
            k->workers++;
            k->done += w->generation >= k->pools[i].generation;
        }
    return 0;
}

static void show(const struct restarting *k, bool terminal, uint64_t *last)
{
    if (*last == k->done)
        return;
    *last = k->done;
    struct st_out o;
    st_out_init_fd(&o, STDERR_FILENO);
    st_out_fmt(&o, "%s%llu of %llu workers restarted%s", terminal ? "\r" : "stella: ", (unsigned long long)k->done,
               (unsigned long long)k->workers, terminal && k->done < k->workers ? "" : "\n");
    st_out_finish(&o, NULL);
}

static int wait_restarted(struct st_client *c, struct restarting *k, struct st_err *err)
{
    bool terminal = isatty(STDERR_FILENO);
    uint64_t last = UINT64_MAX;
    int64_t until = st_clock_mono_ms() + (int64_t)(k->workers + 1) * WORKER_MS;
    st_watch_catch();
    while (!st_watch_interrupted()) {
        k->workers = k->done = 0;
        if (st_client_call(c, "workers.list", NULL, count_worker, k, err))
            return -1;
        if (k->workers > 1 || k->done < k->workers)
            show(k, terminal, &last);
        if (k->done >= k->workers)
            return 0;
        if (st_clock_mono_ms() > until)
            return st_err_set(err, ST_E_RETRY,
                              "%llu of %llu workers are not restarted yet; it goes on (stella scanner workers list)",
                              (unsigned long long)(k->workers - k->done), (unsigned long long)k->workers);
        nanosleep(&(struct timespec){0, POLL_MS * 1000000l}, NULL);
    }
    st_cli_note("interrupted: the restart goes on (stella scanner workers list)");
    return 0;
}

static int run_restart(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct st_req_restart q = {.pool = st_sv_of(r->pool), .force = r->force};
    struct restarting k = {.n = 0};
    ST_AUTO_CLIENT struct st_client *c = NULL;
    if ((r->pool && pool_argument(r, &q.pool, err)) || st_workers_service(true, &c, err) ||
        st_client_call(c, "workers.restart", &q, take_restart, &k, err))
        return -1;
    if (!k.workers)
        return st_err_set(err, ST_E_RETRY, "no supervisor reports workers: there is nothing to restart yet");
    if (k.joined)
        st_cli_note("another restart is under way: this one waits for it");
    if (wait_restarted(c, &k, err))
        return -1;
    if (r->format == ST_FORMAT_TABLE && k.done >= k.workers)
        st_out_fmt(call->out, "%llu worker%s restarted\n", (unsigned long long)k.done, k.done == 1 ? "" : "s");
    else if (r->format != ST_FORMAT_TABLE)
        st_out_fmt(call->out, "{\"restarted\":%llu,\"workers\":%llu}\n", (unsigned long long)k.done,
                   (unsigned long long)k.workers);
    return 0;
}

// ---- verbs --------------------------------------------------------------------------------------

const struct st_verb st_verb_workers_add = {
    .words = "scanner workers add",
    .summary = "make a pool of workers, or add workers to one",
    .args = "",
    .about =
        "Makes a pool whose workers have this much memory, or adds workers to it. A limit over the host's memory is "
        "stored and said: a worker then gets what there is, and pools take turns. Jobs come to a pool by routing "
        "(routing.large_image_threshold and routing.large_image_pool).",
    .opts = add_options,
    .n_opts = ST_LEN(add_options),
    .options_size = sizeof(struct raw),
    .examples = {{"Two workers for large images",
                  "stella scanner workers add --pool large-images --memory 16Gi --count 2"},
                 {"Send large images there", "stella scanner config set routing.large_image_pool large-images"},
                 {"Give them more",
                  "stella scanner workers add --pool large-images --memory 32Gi --count 2 --replace"}},
    .run = run_add,
};

const struct st_verb st_verb_workers_scale = {
    .words = "scanner workers scale",
    .summary = "set the number of workers of a pool",
    .args = "",
    .about =
        "Workers that are too many end with their job. The pool default is scaled by worker.count, which this sets.",
    .opts = scale_options,
    .n_opts = ST_LEN(scale_options),
    .options_size = sizeof(struct raw),
    .examples = {{"Four workers", "stella scanner workers scale --count 4"},
                 {"One for large images", "stella scanner workers scale --pool large-images --count 1"}},
    .run = run_scale,
};

const struct st_verb st_verb_workers_remove = {
    .words = "scanner workers remove",
    .summary = "remove a pool",
    .args = "",
    .about =
        "Its workers end with their jobs. A pool that routing names is not removed, nor, without --force, one that "
        "jobs wait for.",
    .opts = remove_options,
    .n_opts = ST_LEN(remove_options),
    .options_size = sizeof(struct raw),
    .examples = {{"No large images any more", "stella scanner workers remove --pool large-images"},
                 {"After routing was told", "stella scanner config unset routing.large_image_pool"}},
    .run = run_remove,
};

const struct st_verb st_verb_workers_restart = {
    .words = "scanner workers restart",
    .summary = "restart workers, so that they use the configuration as it is now",
    .args = "",
    .about =
        "One worker of a pool after the other: it is asked to stop and ended after 30 s; its job goes back into the "
        "queue with its finished layers, and no attempt is used up. Waits until all are restarted; interrupted, the "
        "restart goes on. Two at once are one.",
    .opts = restart_options,
    .n_opts = ST_LEN(restart_options),
    .options_size = sizeof(struct raw),
    .examples = {{"After a change of worker.memory_limit", "stella scanner workers restart"},
                 {"One that hangs", "stella scanner workers restart --pool default --force"}},
    .run = run_restart,
};
