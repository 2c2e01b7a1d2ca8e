// What stella doctor looks at: the store or the service, and this machine. Nothing is changed; what cannot be found out
// is left unknown, and the checks say so.
#include "base/ckd.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/quantity.h"
#include "cli/doctor.h"
#include "scan/helper.h"
#include "scan/scan.h"
#include "store/home.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#define HOUR 3600
#define CGROUP_ROOT "/sys/fs/cgroup"

// ---- the store, or the service --------------------------------------------------------------------

static int take_queue(void *ctx, const void *row, struct st_err *err)
{
    ((struct st_doctor_facts *)ctx)->queue = *(const struct st_queue_stats *)row;
    return 0;
}

static int take_sbom(void *ctx, const void *row, struct st_err *err)
{
    *(struct st_sbom_stats *)ctx = *(const struct st_sbom_stats *)row;
    return 0;
}

static int take_status(void *ctx, const void *row, struct st_err *err)
{
    struct st_doctor_facts *f = ctx;
    const struct st_status *s = row;
    snprintf(f->kind, sizeof f->kind, ST_SV_FMT, ST_SV_ARG(s->store));
    return 0;
}

static int take_reason(void *ctx, const void *row, struct st_err *err)
{
    struct st_doctor_facts *f = ctx;
    const struct st_count_row *r = row;
    const struct {
        const char *reason;
        uint64_t *to;
    } rows[] = {{"oom", &f->memory_deaths},
                {"memory_stall", &f->memory_deaths},
                {"timeout", &f->timeouts},
                {"sbom_failed", &f->sbom_failed},
                {"registry_auth", &f->registry_auth}};
    f->ended += r->count;
    for (size_t i = 0; i < ST_LEN(rows); i++)
        if (st_sv_eq(r->which, st_sv_of(rows[i].reason)))
            *rows[i].to += r->count;
    return 0;
}

static int take_line(void *ctx, const void *row, struct st_err *err)
{
    ((struct st_doctor_facts *)ctx)->oom_lines++;
    return 0;
}

static int take_config(void *ctx, const void *row, struct st_err *err)
{
    struct st_doctor_facts *f = ctx;
    const struct st_config_row *r = row;
    if (st_sv_eq(r->key, ST_SV("worker.memory_limit")) && !st_quantity_read(r->value, &f->memory_limit))
        f->memory_limit = 0;
    if (st_sv_eq(r->key, ST_SV("cache.layer_dedup")))
        f->dedup = st_sv_eq(r->value, ST_SV("true"));
    return 0;
}

// After the configuration.
static int take_worker(void *ctx, const void *row, struct st_err *err)
{
    struct st_doctor_facts *f = ctx;
    struct st_doctor_workers *t = &f->workers;
    const struct st_worker_row *w = row;
    if (w->stale || st_sv_eq(w->state, ST_SV("dead"))) {
        t->stale += w->stale;
        t->dead += !w->stale;
        return 0;
    }
    t->total_workers++;
    t->active_workers += st_sv_eq(w->state, ST_SV("busy"));
    t->idle_workers += st_sv_eq(w->state, ST_SV("idle"));
    t->stalled += st_sv_eq(w->state, ST_SV("stalled"));
    t->not_enforced += w->enforced.len && !st_sv_eq(w->enforced, ST_SV("cgroup"));
    t->other_limit += st_sv_eq(w->pool, ST_SV("default")) && w->memory_limit && w->memory_limit != f->memory_limit;
    t->memory_used_mb += w->memory / ST_MIB;
    if (w->memory_limit)
        t->memory_utilization =
            ST_MAX(t->memory_utilization, (uint64_t)((double)w->memory / (double)w->memory_limit * 100000));
    return 0;
}

struct pools {
    struct {
        char name[64];
        uint64_t pending, workers;
    } at[64];
    size_t n;
};

static void pool_count(struct pools *p, struct st_sv name, uint64_t pending, uint64_t workers)
{
    size_t i = 0;
    while (i < p->n && !st_sv_eq(name, st_sv_of(p->at[i].name)))
        i++;
    if (i == ST_LEN(p->at))
        return;
    if (i == p->n)
        snprintf(p->at[p->n++].name, sizeof p->at[0].name, ST_SV_FMT, ST_SV_ARG(name));
    p->at[i].pending += pending;
    p->at[i].workers += workers;
}

static int pool_pending(void *ctx, const void *row, struct st_err *err)
{
    const struct st_count_row *r = row;
    if (r->which.len && st_sv_eq(r->what, ST_SV("pending")))
        pool_count(ctx, r->which, r->count, 0);
    return 0;
}

static int pool_worker(void *ctx, const void *row, struct st_err *err)
{
    const struct st_worker_row *w = row;
    pool_count(ctx, w->pool, 0, !w->stale);
    return 0;
}

static int take_dead(void *ctx, const void *row, struct st_err *err)
{
    struct st_doctor_facts *f = ctx;
    const struct st_dead_stats *d = row;
    f->dead = d->failed_jobs;
    f->dead_retryable = d->retryable_count;
    f->dead_oldest_ms = d->oldest_failure_ms;
    snprintf(f->dead_common, sizeof f->dead_common, ST_SV_FMT, ST_SV_ARG(d->most_common_error));
    return 0;
}

static int take_cpu(void *ctx, const void *row, struct st_err *err)
{
    struct st_doctor_workers *w = ctx;
    const struct st_resource_stats *r = row;
    w->has_cpu = r->has_cpu;
    w->cpu_utilization = r->cpu_utilization;
    return 0;
}

static int take_cache(void *ctx, const void *row, struct st_err *err)
{
    ((struct st_doctor_facts *)ctx)->cache = *(const struct st_cache_stats *)row;
    return 0;
}

static int ask_pools(struct st_client *c, struct st_doctor_facts *f, struct st_err *err)
{
    struct pools p = {.n = 0};
    if (st_client_call(c, "queue.pools", NULL, pool_pending, &p, err) ||
        st_client_call(c, "workers.list", NULL, pool_worker, &p, err))
        return -1;
    for (size_t i = 0; i < p.n; i++)
        if (p.at[i].pending && !p.at[i].workers) {
            f->waiting += p.at[i].pending;
            snprintf(f->waiting_pool, sizeof f->waiting_pool, "%s", p.at[i].name);
        }
    return 0;
}

static int ask(struct st_client *c, bool quick, struct st_doctor_facts *f, struct st_err *err)
{
    struct st_req_last hour = {HOUR}, day = {24 * HOUR};
    struct st_req_key all = {.key = ST_SV_NULL};
    struct st_req_logs deaths = {.filter = ST_SV("out of memory"), .last_s = HOUR, .tail = 100};
    int64_t start = st_clock_mono_ms();
    f->service = st_client_remote(c);
    if (st_client_call(c, "status.get", NULL, take_status, f, err))
        return -1;
    f->answer_ms = (uint64_t)(st_clock_mono_ms() - start);
    if (st_client_call(c, "queue.stats", NULL, take_queue, f, err) ||
        st_client_call(c, "sbom.stats", &day, take_sbom, &f->sbom_day, err) ||
        st_client_call(c, "sbom.stats", &hour, take_sbom, &f->sbom_hour, err) ||
        st_client_call(c, "stats.reasons", &hour, take_reason, f, err) ||
        st_client_call(c, "logs.read", &deaths, take_line, f, err) ||
        st_client_call(c, "config.list", &all, take_config, f, err) ||
        st_client_call(c, "workers.list", NULL, take_worker, f, err))
        return -1;
    if (f->service && (ask_pools(c, f, err) || st_client_call(c, "resources.stats", NULL, take_cpu, &f->workers, err)))
        return -1;
    if (!quick && st_client_call(c, "cache.stats", NULL, take_cache, f, err))
        return -1;
    return st_client_call(c, "deadletter.stats", NULL, take_dead, f, err);
}

static void look_at_store(bool quick, struct st_doctor_facts *f)
{
    struct st_err err = {0};
    struct st_client *c = NULL;
    f->store = st_client_open(false, &c, &err) == 0 && ask(c, quick, f, &err) == 0;
    if (!f->store)
        snprintf(f->store_error, sizeof f->store_error, "%s", err.text);
    st_client_close(c);
}

// ---- this machine ---------------------------------------------------------------------------------

static void look_at_disk(struct st_doctor_disk *d)
{
    char at[PATH_MAX];
    struct statvfs v;
    int rc;
    snprintf(at, sizeof at, "%s", d->path);
    // One that is not there yet: the directory that it would be made in.
    while ((rc = statvfs(at, &v)) != 0 && errno == ENOENT && strlen(at) > 1) {
        char *slash = strrchr(at, '/');
        if (!slash)
            break;
        slash[slash == at] = '\0';
    }
    d->writable = access(at, W_OK | X_OK) == 0;
    if (rc)
        return;
    d->known = true;
    d->free = (uint64_t)v.f_bavail * v.f_frsize;
    d->total = (uint64_t)v.f_blocks * v.f_frsize;
}

static void look_at_directories(struct st_doctor_facts *f)
{
    const char *tmp = getenv("TMPDIR");
    if (st_home_path(f->home.path, NULL) == 0)
        look_at_disk(&f->home);
    snprintf(f->spill.path, sizeof f->spill.path, "%s", tmp && tmp[0] == '/' ? tmp : "/var/tmp");
    look_at_disk(&f->spill);
}

static void look_at_programs(bool quick, struct st_doctor_facts *f)
{
    struct st_err err = {0};
    char path[PATH_MAX];
    for (size_t i = 0; i < ST_HELPERS; i++)
        f->helper[i] = st_helper_find(st_doctor_helpers[i], path, sizeof path, NULL) == 0;
    if (quick)
        return;
    f->sandboxed = st_scan_sandbox(&f->sandbox, &err) == 0;
    snprintf(f->sandbox_error, sizeof f->sandbox_error, "%s", err.text);
}

static struct st_sv read_small(const char *path, char *buf, size_t n)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : st_fd_read(fd, buf, n);
    return st_sv_mem(buf, got > 0 ? (size_t)got : 0);
}

// What a service that is started from here would find.
static void look_at_cgroup(struct st_doctor_facts *f)
{
    char buf[4096], path[PATH_MAX];
    struct statfs fs;
    struct st_sv rest = read_small("/proc/self/cgroup", buf, sizeof buf), line, word;
    f->cgroup2 = statfs(CGROUP_ROOT, &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_SUPER_MAGIC;
    while (st_sv_line(&rest, &line))
        if (st_sv_starts(line, ST_SV("0::")))
            snprintf(f->cgroup, sizeof f->cgroup, ST_SV_FMT, ST_SV_ARG(st_sv_from(line, 3)));
    if (!f->cgroup2 || !f->cgroup[0])
        return;
    snprintf(path, sizeof path, "%s%s/cgroup.controllers", CGROUP_ROOT, f->cgroup);
    rest = read_small(path, buf, sizeof buf);
    rest = st_sv_trim(rest);
    while (st_sv_word(&rest, &word))
        f->cgroup_memory |= st_sv_eq(word, ST_SV("memory"));
    static const char *const needed[] = {"", "/cgroup.procs", "/cgroup.subtree_control"};
    f->cgroup_writable = true;
    for (size_t i = 0; i < ST_LEN(needed); i++) {
        snprintf(path, sizeof path, "%s%s%s", CGROUP_ROOT, f->cgroup, needed[i]);
        f->cgroup_writable &= access(path, W_OK) == 0;
    }
}

void st_doctor_gather(bool quick, struct st_doctor_facts *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->now_ms = st_clock_wall_ms();
    look_at_store(quick, ret);
    look_at_directories(ret);
    look_at_programs(quick, ret);
    look_at_cgroup(ret);
}
