// The checks of stella doctor. Pure: facts in, verdict out; tests/unit/test_doctor.c holds each threshold.
#include "base/ckd.h"
#include "base/near.h"
#include "base/quantity.h"
#include "cli/doctor.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

const char *const st_doctor_helpers[ST_HELPERS] = {"stella-analyze", "stella-fetch", "stella-api", "stella-watchdog"};
const char *const st_doctor_result_words[] = {"pass", "skip", "warn", "fail", NULL};

// Thresholds. Percentages are in thousandths, as the records have them.
#define PERCENT(n) ((uint64_t)(n)*1000)
#define QUEUE_WARN 100
#define QUEUE_FAIL 500
#define FAILURE_WARN PERCENT(5)
#define FAILURES_FEW 3 // one mistyped name is no rate
#define FAILURE_FAIL PERCENT(15)
#define CPU_WARN PERCENT(75)
#define CPU_FAIL PERCENT(90)
#define MEMORY_WARN PERCENT(80)
#define MEMORY_FAIL PERCENT(95)
#define SBOM_WARN PERCENT(95) // success below
#define SBOM_FAIL PERCENT(80)
#define CACHE_FULL_WARN PERCENT(80)
#define CACHE_FULL_FAIL PERCENT(95)
#define HIT_WARN PERCENT(50) // below
#define HIT_FAIL PERCENT(20)
#define RATE_WARN 10000 // jobs a minute, thousandths, while 100 or more wait
#define DEAD_WARN 10    // more than
#define DEAD_FAIL 50
#define LIMIT_RECOMMENDED (4 * ST_GIB)
// Ours.
#define HIT_LEAST 100 // layers asked for, before a rate says something
#define TIMEOUT_FAIL PERCENT(5)
#define TIMEOUT_LEAST 3 // so many before a rate is a failure
#define AUTH_FAIL 3
#define DISK_WARN PERCENT(10) // free below
#define DISK_FAIL PERCENT(2)
#define DISK_LEAST (64 * ST_MIB)
#define ANSWER_WARN_MS 1000

// ---- building a verdict -------------------------------------------------------------------------

// The worst result stays, with the words that came with it.
static void say(struct st_diagnosis *v, enum st_doctor_result result, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void say(struct st_diagnosis *v, enum st_doctor_result result, const char *fmt, ...)
{
    va_list ap;
    if (v->says[0] && result <= v->result)
        return;
    v->result = result;
    va_start(ap, fmt);
    vsnprintf(v->says, sizeof v->says, fmt, ap);
    va_end(ap);
}

static void suggest(struct st_diagnosis *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void suggest(struct st_diagnosis *v, const char *fmt, ...)
{
    char command[sizeof v->remedies[0]];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    for (size_t i = 0; i < v->n_remedies; i++)
        if (!strcmp(v->remedies[i], command))
            return;
    if (v->n_remedies < ST_REMEDIES_MAX)
        memcpy(v->remedies[v->n_remedies++], command, sizeof command);
}

static struct st_finding *evidence(struct st_diagnosis *v, const char *name, enum st_finding_kind kind)
{
    assert(v->n_findings < ST_FINDING_MAX);
    struct st_finding *e = &v->findings[v->n_findings++];
    *e = (struct st_finding){.name = name, .kind = kind};
    return e;
}

static void number(struct st_diagnosis *v, const char *name, uint64_t n)
{
    evidence(v, name, ST_FINDING_NUMBER)->milli = n > UINT64_MAX / 1000 ? UINT64_MAX : n * 1000;
}

static void milli(struct st_diagnosis *v, const char *name, uint64_t thousandths)
{
    evidence(v, name, ST_FINDING_NUMBER)->milli = thousandths;
}

static void flag(struct st_diagnosis *v, const char *name, bool b)
{
    evidence(v, name, ST_FINDING_BOOL)->milli = b;
}

static void text(struct st_diagnosis *v, const char *name, const char *t)
{
    struct st_finding *e = evidence(v, name, ST_FINDING_TEXT);
    snprintf(e->text, sizeof e->text, "%s", t);
}

static const char *human(uint64_t bytes, char buf[static ST_QUANTITY_TEXT])
{
    st_quantity_human(bytes, buf);
    return buf;
}

static uint64_t percent(uint64_t part, uint64_t whole)
{
    return whole ? (uint64_t)((double)part / (double)whole * 100000) : 0;
}

#define U(x) ((unsigned long long)(x))
#define S(n) ((n) == 1 ? "" : "s")                        // of "%llu worker%s"
#define ONE_DECIMAL(m) U((m) / 1000), U((m) % 1000 / 100) // for %llu.%llu

// ---- queue --------------------------------------------------------------------------------------

static void judge_queue(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    const struct st_queue_stats *q = &f->queue;
    number(v, "queue_depth", q->queue_depth);
    milli(v, "processing_rate_per_min", q->processing_rate_per_min);
    number(v, "stuck_jobs", q->stuck_jobs);
    number(v, "failed_jobs", q->failed_jobs);
    milli(v, "failure_rate", q->failure_rate);
    number(v, "oldest_job_age_min", q->oldest_job_age_min);
    flag(v, "backlog_growing", q->backlog_growing);
    if (q->stuck_jobs) {
        say(v, ST_DOCTOR_FAIL, "%llu job%s in work made no progress for five minutes", U(q->stuck_jobs),
            S(q->stuck_jobs));
        suggest(v, "stella scanner jobs list --status processing");
        suggest(v, "stella scanner workers inspect");
    }
    if (q->queue_depth >= QUEUE_WARN) {
        say(v, q->queue_depth >= QUEUE_FAIL ? ST_DOCTOR_FAIL : ST_DOCTOR_WARN, "%llu jobs wait", U(q->queue_depth));
        suggest(v, "stella scanner workers scale --pool default --count 2");
    }
    if (q->failed_jobs >= FAILURES_FEW && q->failure_rate >= FAILURE_WARN) {
        say(v, q->failure_rate >= FAILURE_FAIL ? ST_DOCTOR_FAIL : ST_DOCTOR_WARN,
            "%llu.%llu%% of the jobs of the last hour failed", ONE_DECIMAL(q->failure_rate));
        suggest(v, "stella scanner jobs list --status failed --last 1h");
    }
    if (q->backlog_growing)
        say(v, ST_DOCTOR_WARN, "the backlog grows: %llu jobs wait", U(q->queue_depth));
    say(v, ST_DOCTOR_PASS, "%llu job%s in the queue, none is stuck", U(q->queue_depth), S(q->queue_depth));
}

static void judge_job_queue(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    const struct st_queue_stats *q = &f->queue;
    uint64_t alive = f->workers.total_workers;
    number(v, "QueueDepth", q->queue_depth);
    number(v, "ActiveWorkers", alive);
    number(v, "OldestJobAge", q->oldest_job_age_min);
    milli(v, "ProcessingRate", q->processing_rate_per_min);
    if (!alive && (f->service || q->queue_depth)) {
        say(v, ST_DOCTOR_FAIL, f->service ? "no worker reports" : "%llu jobs wait and no service runs here",
            U(q->queue_depth));
        suggest(v, f->service ? "stella scanner workers stats" : "stella serve");
    }
    if (q->queue_depth >= QUEUE_WARN) {
        say(v, q->queue_depth >= QUEUE_FAIL ? ST_DOCTOR_FAIL : ST_DOCTOR_WARN, "%llu jobs wait", U(q->queue_depth));
        if (q->processing_rate_per_min < RATE_WARN)
            say(v, ST_DOCTOR_WARN, "%llu jobs wait and %llu.%llu a minute are done", U(q->queue_depth),
                ONE_DECIMAL(q->processing_rate_per_min));
        suggest(v, "stella scanner queue status");
        suggest(v, "stella scanner workers scale --pool default --count 2");
    }
    if (f->service)
        say(v, ST_DOCTOR_PASS, "%llu job%s in the queue, %llu worker%s", U(q->queue_depth), S(q->queue_depth), U(alive),
            S(alive));
    say(v, ST_DOCTOR_PASS, "no job waits for a service");
}

static void judge_dead_letter(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    char oldest[ST_QUANTITY_TEXT];
    number(v, "FailedJobs", f->dead);
    if (f->dead) {
        st_duration_human((uint64_t)ST_MAX((f->now_ms - f->dead_oldest_ms) / 1000, (int64_t)0), oldest);
        text(v, "OldestFailure", oldest);
        text(v, "MostCommonError", f->dead_common);
        number(v, "RetryableCount", f->dead_retryable);
    }
    if (f->dead > DEAD_WARN) {
        say(v, f->dead > DEAD_FAIL ? ST_DOCTOR_FAIL : ST_DOCTOR_WARN,
            "%llu jobs used up their attempts, most of them with %s", U(f->dead), f->dead_common);
        suggest(v, "stella scanner deadletter list");
        suggest(v, "stella scanner deadletter retry --all");
    }
    say(v, ST_DOCTOR_PASS, "%llu dead letter%s", U(f->dead), S(f->dead));
}

// ---- workers and memory -------------------------------------------------------------------------

static void judge_resources(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    const struct st_doctor_workers *r = &f->workers;
    if (r->has_cpu)
        milli(v, "cpu_utilization", r->cpu_utilization);
    if (r->total_workers)
        milli(v, "memory_utilization", r->memory_utilization);
    number(v, "memory_used_mb", r->memory_used_mb);
    number(v, "active_workers", r->active_workers);
    number(v, "total_workers", r->total_workers);
    number(v, "idle_workers", r->idle_workers);
    if (r->memory_utilization >= MEMORY_WARN) {
        say(v, r->memory_utilization >= MEMORY_FAIL ? ST_DOCTOR_FAIL : ST_DOCTOR_WARN,
            "a worker uses %llu.%llu%% of its memory limit", ONE_DECIMAL(r->memory_utilization));
        suggest(v, "stella scanner workers stats");
    }
    if (r->has_cpu && r->cpu_utilization >= CPU_WARN) {
        suggest(v, "ps -eo pcpu,pid,comm --sort=-pcpu | head");
        say(v, r->cpu_utilization >= CPU_FAIL ? ST_DOCTOR_FAIL : ST_DOCTOR_WARN,
            "the host's CPUs are %llu.%llu%% in use", ONE_DECIMAL(r->cpu_utilization));
    }
    if (r->total_workers && !r->idle_workers && f->queue.queue_depth) {
        say(v, ST_DOCTOR_WARN, "no worker is idle and %llu jobs wait", U(f->queue.queue_depth));
        suggest(v, "stella scanner workers scale --pool default --count %llu", U(r->total_workers + 1));
    }
    say(v, ST_DOCTOR_PASS, "%llu of %llu worker%s idle", U(r->idle_workers), U(r->total_workers), S(r->total_workers));
}

static void judge_worker_health(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    const struct st_doctor_workers *r = &f->workers;
    number(v, "total_workers", r->total_workers);
    number(v, "active_workers", r->active_workers);
    number(v, "idle_workers", r->idle_workers);
    number(v, "stale_workers", r->stale);
    number(v, "stalled_workers", r->stalled);
    number(v, "dead_workers", r->dead);
    number(v, "stuck_jobs", f->queue.stuck_jobs);
    if (!r->total_workers) {
        say(v, ST_DOCTOR_FAIL, r->stale ? "the supervisor does not report any more" : "no supervisor reports workers");
        suggest(v, "systemctl status stella");
        suggest(v, "stella scanner logs --level error --last 1h");
    }
    if (f->queue.stuck_jobs || r->stalled) {
        say(v, ST_DOCTOR_FAIL, "stuck jobs: %llu", U(ST_MAX(f->queue.stuck_jobs, r->stalled)));
        suggest(v, "stella scanner workers inspect");
        suggest(v, "stella scanner workers restart");
    }
    if (r->stale)
        say(v, ST_DOCTOR_WARN, "%llu worker%s not heard of for 10 seconds", U(r->stale), S(r->stale));
    if (r->dead) {
        say(v, ST_DOCTOR_WARN, "%llu dead worker%s", U(r->dead), S(r->dead));
        suggest(v, "stella scanner workers inspect");
    }
    say(v, ST_DOCTOR_PASS, "%llu active, %llu idle", U(r->active_workers), U(r->idle_workers));
}

static void judge_memory_usage(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    const struct st_doctor_workers *r = &f->workers;
    char limit[ST_QUANTITY_TEXT], more[ST_QUANTITY_TEXT];
    human(f->memory_limit, limit);
    text(v, "worker.memory_limit", limit);
    if (r->total_workers)
        milli(v, "memory_utilization", r->memory_utilization);
    number(v, "memory_deaths", f->memory_deaths);
    number(v, "log_lines_about_deaths", f->oom_lines);
    number(v, "workers_with_another_limit", r->other_limit);
    number(v, "jobs_without_a_pool", f->waiting);
    if (f->memory_deaths || f->oom_lines) {
        say(v, ST_DOCTOR_FAIL, "workers ran out of memory in the last hour");
        suggest(v, "stella scanner jobs list --status oom,memory_stall --last 1h");
        st_quantity_text(ST_MAX(2 * f->memory_limit / ST_GIB, 8ull) * ST_GIB, more);
        suggest(v, "stella scanner config set worker.memory_limit %s && stella scanner workers restart", more);
    }
    if (f->waiting) {
        say(v, ST_DOCTOR_FAIL, "%llu job%s in pool %s, which has no worker", U(f->waiting), S(f->waiting),
            f->waiting_pool);
        suggest(v, "stella scanner workers add --pool %s --memory 16Gi --count 1", f->waiting_pool);
    }
    if (r->memory_utilization >= MEMORY_WARN) {
        say(v, r->memory_utilization >= MEMORY_FAIL ? ST_DOCTOR_FAIL : ST_DOCTOR_WARN,
            "a worker uses %llu.%llu%% of its memory limit", ONE_DECIMAL(r->memory_utilization));
        suggest(v, "stella scanner workers stats --watch");
    }
    if (r->other_limit) {
        say(v, ST_DOCTOR_WARN, "%llu worker%s without the configured limit as yet", U(r->other_limit),
            S(r->other_limit));
        suggest(v, "stella scanner workers restart");
    }
    if (f->memory_limit < LIMIT_RECOMMENDED) {
        say(v, ST_DOCTOR_WARN, "worker.memory_limit is %s, under the recommended 4Gi", limit);
        if (!f->memory_deaths && !f->oom_lines)
            suggest(v, "stella scanner config set worker.memory_limit 4Gi && stella scanner workers restart");
    }
    say(v, ST_DOCTOR_PASS, "no memory death in the last hour, limit %s", limit);
}

static void judge_timeouts(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    uint64_t rate = percent(f->timeouts, f->ended);
    number(v, "timeouts", f->timeouts);
    number(v, "ended_jobs", f->ended);
    milli(v, "timeout_rate", rate);
    if (f->timeouts) {
        say(v, f->timeouts >= TIMEOUT_LEAST && rate >= TIMEOUT_FAIL ? ST_DOCTOR_FAIL : ST_DOCTOR_WARN,
            "%llu of %llu job%s ran out of time in the last hour", U(f->timeouts), U(f->ended), S(f->ended));
        suggest(v, "stella scanner jobs list --status timeout --last 1h");
        suggest(v, "stella scanner config get timeouts");
    }
    say(v, ST_DOCTOR_PASS, "no job ran out of time in the last hour");
}

// ---- SBOMs, registries --------------------------------------------------------------------------

static void sbom_rates(const struct st_sbom_stats *s, const char *window, struct st_diagnosis *v)
{
    number(v, "total_generated", s->total_generated);
    number(v, "successful_generations", s->successful_generations);
    number(v, "failed_generations", s->failed_generations);
    milli(v, "success_rate", s->success_rate);
    if (s->total_generated && s->success_rate < SBOM_WARN) {
        say(v, s->success_rate < SBOM_FAIL ? ST_DOCTOR_FAIL : ST_DOCTOR_WARN,
            "%llu.%llu%% of the scans of the last %s got their SBOM", ONE_DECIMAL(s->success_rate), window);
        suggest(v, "stella scanner jobs list --status sbom_failed --last 1d");
    }
}

static void judge_sbom(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    sbom_rates(&f->sbom_day, "day", v);
    say(v, ST_DOCTOR_PASS, "%llu SBOM%s in the last day", U(f->sbom_day.successful_generations),
        S(f->sbom_day.successful_generations));
}

static void judge_sbom_generation(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    sbom_rates(&f->sbom_hour, "hour", v);
    if (f->sbom_failed) {
        say(v, ST_DOCTOR_WARN, "%llu SBOM%s not written in the last hour", U(f->sbom_failed), S(f->sbom_failed));
        suggest(v, "stella scanner jobs list --status sbom_failed --last 1h");
    }
    say(v, ST_DOCTOR_PASS, "every scan of the last hour got its SBOM");
}

static void judge_registry_auth(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    number(v, "auth_failures", f->registry_auth);
    number(v, "ended_jobs", f->ended);
    if (f->registry_auth) {
        say(v, f->registry_auth >= AUTH_FAIL ? ST_DOCTOR_FAIL : ST_DOCTOR_WARN,
            "registries refused the credentials of %llu job%s in the last hour", U(f->registry_auth),
            S(f->registry_auth));
        suggest(v, "stella scanner jobs list --status registry_auth --last 1h");
        suggest(v, "stella scanner logs --filter \"registry auth\" --last 1h");
    }
    say(v, ST_DOCTOR_PASS, "no registry refused credentials in the last hour");
}

// ---- cache --------------------------------------------------------------------------------------

static void judge_cache(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    const struct st_cache_stats *c = &f->cache;
    uint64_t full = percent(c->used_bytes, c->max_bytes);
    milli(v, "hit_rate", c->hit_rate);
    number(v, "hits", c->hits);
    number(v, "misses", c->misses);
    number(v, "entry_count", c->entry_count);
    number(v, "used_bytes", c->used_bytes);
    milli(v, "eviction_rate", c->eviction_rate);
    if (!f->dedup && !c->entry_count) {
        say(v, ST_DOCTOR_SKIP, "the layer cache is not in use (cache.layer_dedup is false)");
        suggest(v, "stella scanner config set cache.layer_dedup true");
        return;
    }
    if (full >= CACHE_FULL_WARN) {
        say(v, full >= CACHE_FULL_FAIL ? ST_DOCTOR_FAIL : ST_DOCTOR_WARN, "the layer cache is %llu.%llu%% full",
            ONE_DECIMAL(full));
        suggest(v, "stella scanner cache prune --stale");
    }
    if (c->hits + c->misses >= HIT_LEAST && c->hit_rate < HIT_WARN) {
        say(v, c->hit_rate < HIT_FAIL ? ST_DOCTOR_FAIL : ST_DOCTOR_WARN,
            "%llu.%llu%% of the layers were found in the cache", ONE_DECIMAL(c->hit_rate));
        suggest(v, "stella scanner cache stats");
    }
    say(v, ST_DOCTOR_PASS, "%llu layers, %llu.%llu%% full", U(c->entry_count), ONE_DECIMAL(full));
}

// ---- storage ------------------------------------------------------------------------------------

static void judge_store(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    if (!f->store) {
        say(v, ST_DOCTOR_FAIL, "%s", f->store_error);
        suggest(v, "stella doctor --check check.storage.state-directory");
        return;
    }
    text(v, "store", f->kind);
    flag(v, "service", f->service);
    number(v, "answer_ms", f->answer_ms);
    if (f->answer_ms >= ANSWER_WARN_MS) {
        say(v, ST_DOCTOR_WARN, "the store took %llu ms to answer", U(f->answer_ms));
        suggest(v, "stella scanner stats");
        suggest(v, "cat /proc/pressure/io /proc/pressure/cpu");
    }
    say(v, ST_DOCTOR_PASS, "%s answers%s", f->kind, f->service ? " through the service" : ", no service runs here");
}

static void judge_postgres(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    if (strcmp(f->kind, "postgresql") != 0) {
        say(v, ST_DOCTOR_SKIP, "the store is %s", f->kind);
        return;
    }
    judge_store(f, v);
}

static void judge_valkey(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    say(v, ST_DOCTOR_SKIP, "no Valkey here: the queue is in the store");
}

static void judge_disk(const struct st_doctor_disk *d, const char *what, struct st_diagnosis *v)
{
    char space[ST_QUANTITY_TEXT];
    uint64_t rate = percent(d->free, d->total);
    human(d->free, space);
    text(v, "directory", d->path);
    flag(v, "writable", d->writable);
    if (d->known) {
        text(v, "free", space);
        milli(v, "free_percent", rate);
    }
    if (!d->writable)
        say(v, ST_DOCTOR_FAIL, "%s %s cannot be written", what, d->path);
    if (d->known && (rate < DISK_WARN || d->free < DISK_LEAST))
        say(v, rate < DISK_FAIL || d->free < DISK_LEAST ? ST_DOCTOR_FAIL : ST_DOCTOR_WARN, "%s free in %s, %llu.%llu%%",
            space, d->path, ONE_DECIMAL(rate));
    say(v, ST_DOCTOR_PASS, "%s is writable, %s free", d->path, space);
}

static void judge_state_directory(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    judge_disk(&f->home, "the state directory", v);
    if (v->result != ST_DOCTOR_PASS) {
        suggest(v, f->home.writable ? "stella scanner cache prune --max-bytes 500Mi"
                                    : "export STELLA_HOME=\"$HOME/.local/share/stella\"");
        suggest(v, "df -h %.150s", f->home.path);
    }
}

static void judge_spill(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    judge_disk(&f->spill, "the directory of spill files", v);
    if (v->result != ST_DOCTOR_PASS)
        suggest(v, "export TMPDIR=DIRECTORY   # with room, on a disk (not tmpfs)");
}

// ---- this machine -------------------------------------------------------------------------------

static void judge_helpers(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    for (size_t i = 0; i < ST_HELPERS; i++)
        flag(v, st_doctor_helpers[i], f->helper[i]);
    if (!f->helper[ST_HELPER_ANALYZE]) {
        say(v, ST_DOCTOR_FAIL, "stella-analyze is not where this stella looks: nothing can be scanned");
        suggest(v, "make install PREFIX=/usr/local");
    }
    for (size_t i = ST_HELPER_FETCH; i < ST_HELPERS; i++)
        if (!f->helper[i]) {
            say(v, ST_DOCTOR_WARN, "%s is not where this stella looks: %s", st_doctor_helpers[i],
                i == ST_HELPER_FETCH ? "no image of a registry or daemon" : "the service cannot run");
            suggest(v, "make install PREFIX=/usr/local");
        }
    say(v, ST_DOCTOR_PASS, "all of them are there");
}

static void judge_sandbox(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    if (!f->sandboxed) {
        say(v, ST_DOCTOR_FAIL, "%s", f->sandbox_error);
        suggest(v, "stella scan image --sandbox-report");
        return;
    }
    for (size_t i = 0; i < ST_SANDBOX_MEASURES_MAX; i++) {
        text(v, st_sandbox_word((enum st_sandbox_measure)i), st_sandbox_state_word(f->sandbox.state[i]));
        if (f->sandbox.state[i] != ST_SANDBOX_ON) {
            say(v, ST_DOCTOR_WARN, "%s is %s: %s does not hold", st_sandbox_word((enum st_sandbox_measure)i),
                st_sandbox_state_word(f->sandbox.state[i]),
                st_sandbox_what((enum st_sandbox_measure)i, ST_SANDBOX_NO_NET));
            suggest(v, "stella scan image --sandbox-report");
        }
    }
    say(v, ST_DOCTOR_PASS, "every measure is on");
}

static const char *delegate(void)
{
    return geteuid() ? "systemd-run --user --scope -p Delegate=yes stella serve   # or the unit stella.service"
                     : "systemd-run --scope -p Delegate=yes stella serve   # or the unit stella.service";
}

static void judge_cgroup(const struct st_doctor_facts *f, struct st_diagnosis *v)
{
    flag(v, "cgroup2", f->cgroup2);
    flag(v, "memory_controller", f->cgroup_memory);
    flag(v, "delegated", f->cgroup_writable);
    text(v, "cgroup", f->cgroup[0] ? f->cgroup : "not known");
    if (f->service && f->workers.total_workers) { // what the service does counts, not what this shell could
        number(v, "workers_without_cgroup", f->workers.not_enforced);
        if (f->workers.not_enforced) {
            say(v, ST_DOCTOR_WARN, "%llu worker%s without a cgroup: memory is only watched", U(f->workers.not_enforced),
                S(f->workers.not_enforced));
            suggest(v, "%s", delegate());
        }
        say(v, ST_DOCTOR_PASS, "every worker has a cgroup of its own");
        return;
    }
    if (!f->cgroup2)
        say(v, ST_DOCTOR_WARN, "no cgroup v2 here: a service would only watch the memory of its workers");
    else if (!f->cgroup_memory)
        say(v, ST_DOCTOR_WARN, "the memory controller is not given to this cgroup");
    else if (!f->cgroup_writable)
        say(v, ST_DOCTOR_WARN, "this cgroup is not delegated: a service started here would only watch its workers");
    if (v->result == ST_DOCTOR_WARN)
        suggest(v, "%s", delegate());
    say(v, ST_DOCTOR_PASS, "a service started here can give each worker a cgroup");
}

// ---- the table ----------------------------------------------------------------------------------

#define STORE ST_NEEDS_STORE
#define SERVICE (ST_NEEDS_STORE | ST_NEEDS_SERVICE)
#define TIME ST_NEEDS_TIME

const struct st_doctor_check st_doctor_checks[] = {
    {"check.host.cgroup", "cgroup v2, its memory controller, and whether it is delegated", 0, judge_cgroup, NULL},
    {"check.host.helpers", "the programs that stella is made of", 0, judge_helpers, NULL},
    {"check.host.sandbox", "what locks up the process that parses images", TIME, judge_sandbox, NULL},
    {"check.host.spill", "room for spill files", 0, judge_spill, NULL},
    {"check.operations.dead-letter", "jobs whose attempts are used up", STORE, judge_dead_letter, NULL},
    {"check.operations.job-queue", "do jobs get done", STORE, judge_job_queue, "scanner-worker-stuck"},
    {"check.scanner.memory-usage", "memory of the workers, and deaths of it", STORE, judge_memory_usage, "scanner-oom"},
    {"check.scanner.queue", "depth, age, failures, stuck jobs", STORE, judge_queue, "scanner-worker-stuck"},
    {"check.scanner.registry-auth", "credentials that registries refused", STORE, judge_registry_auth,
     "scanner-registry-auth"},
    {"check.scanner.resources", "CPU, memory, idle workers", SERVICE, judge_resources, "scanner-oom"},
    {"check.scanner.sbom", "SBOMs of the last day", STORE, judge_sbom, "scanner-sbom-generation-failed"},
    {"check.scanner.sbom-generation", "SBOMs of the last hour", STORE, judge_sbom_generation,
     "scanner-sbom-generation-failed"},
    {"check.scanner.slice.cache", "the layer cache: how full, how useful", STORE | TIME, judge_cache, NULL},
    {"check.scanner.timeout-rate", "scans that ran out of time", STORE, judge_timeouts, "scanner-timeout"},
    {"check.scanner.worker-health", "workers that are gone, dead or stuck", SERVICE, judge_worker_health,
     "scanner-worker-stuck"},
    {"check.storage.postgres", "PostgreSQL, where it is the store", STORE, judge_postgres, NULL},
    {"check.storage.state-directory", "the state directory, and room in it", 0, judge_state_directory, NULL},
    {"check.storage.store", "the record of jobs and configuration", 0, judge_store, NULL},
    {"check.storage.valkey", "nothing: stella needs no Valkey", 0, judge_valkey, NULL},
    {NULL},
};

const struct st_doctor_check *st_doctor_find(struct st_sv id, struct st_err *err)
{
    const char *best = NULL;
    unsigned distance = UINT32_MAX;
    for (const struct st_doctor_check *c = st_doctor_checks; c->id; c++) {
        struct st_sv whole = st_sv_of(c->id), tail = st_sv_from(whole, sizeof "check." - 1);
        if (st_sv_eq(id, whole) || st_sv_eq(id, tail))
            return c;
        if (st_edit_near(id, whole, &distance) || st_edit_near(id, tail, &distance))
            best = c->id;
    }
    id = st_sv_sub(id, 0, 100);
    if (best)
        st_err_set(err, ST_E_USAGE, "unknown check '" ST_SV_FMT "'; did you mean %s?", ST_SV_ARG(id), best);
    else
        st_err_set(err, ST_E_USAGE, "unknown check '" ST_SV_FMT "' (stella doctor list shows them)", ST_SV_ARG(id));
    return NULL;
}

void st_doctor_judge(const struct st_doctor_check *c, const struct st_doctor_facts *f, bool quick,
                     struct st_diagnosis *ret)
{
    *ret = (struct st_diagnosis){.result = ST_DOCTOR_PASS};
    if (quick && (c->needs & ST_NEEDS_TIME))
        say(ret, ST_DOCTOR_SKIP, "left out by --quick");
    else if ((c->needs & ST_NEEDS_STORE) && !f->store)
        say(ret, ST_DOCTOR_SKIP, "the store cannot be read (check.storage.store)");
    else if ((c->needs & ST_NEEDS_SERVICE) && !f->service)
        say(ret, ST_DOCTOR_SKIP, "no service runs here");
    else
        c->judge(f, ret);
}
