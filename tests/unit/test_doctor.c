// The checks of stella doctor at each threshold, the table of checks, and what a bundle leaves out.
#include "base/ckd.h"
#include "cli/doctor_report.h"
#include "tap.h"

#include <stdio.h>

// A service that is well: every check passes or is skipped.
static struct st_doctor_facts well(void)
{
    struct st_doctor_facts f = {
        .store = true,
        .service = true,
        .kind = "sqlite",
        .queue = {.queue_depth = 3, .processing_rate_per_min = 20000, .failed_jobs = 3, .completed_jobs = 100},
        .sbom_day = {100, 100, 0, 100000},
        .sbom_hour = {10, 10, 0, 100000},
        .workers =
            {.total_workers = 2, .active_workers = 1, .idle_workers = 1, .has_cpu = true, .cpu_utilization = 10000},
        .ended = 100,
        .memory_limit = 4 * ST_GIB,
        .dedup = true,
        .cache = {.max_bytes = 100, .used_bytes = 10, .hits = 900, .misses = 100, .hit_rate = 90000, .entry_count = 5},
        .home = {"/var/lib/stella", 50 * ST_GIB, 100 * ST_GIB, true, true},
        .spill = {"/var/tmp", 50 * ST_GIB, 100 * ST_GIB, true, true},
        .helper = {true, true, true, true},
        .sandboxed = true,
        .cgroup2 = true,
        .cgroup_memory = true,
        .cgroup_writable = true,
        .cgroup = "/system.slice/stella.service",
        .now_ms = 1795646138445,
    };
    return f;
}

static struct st_diagnosis judge(const char *id, const struct st_doctor_facts *f)
{
    struct st_diagnosis d;
    st_doctor_judge(st_doctor_find(st_sv_of(id), NULL), f, false, &d);
    return d;
}

static void test_doctor_well(void)
{
    struct st_doctor_facts f = well();
    for (const struct st_doctor_check *c = st_doctor_checks; c->id; c++) {
        struct st_diagnosis d = judge(c->id, &f);
        TAP_OK(d.result <= ST_DOCTOR_SKIP && d.says[0], "%s of a healthy service: %s, %s", c->id,
               st_doctor_result_words[d.result], d.says);
        TAP_OK(d.result == ST_DOCTOR_SKIP || !d.n_remedies, "%s: nothing to do", c->id);
    }
}

// One fact changed: the number at `at` of the facts is `value`.
struct threshold {
    const char *check;
    size_t at;
    uint64_t value;
    enum st_doctor_result want;
};
#define F(field) offsetof(struct st_doctor_facts, field)
#define PASS ST_DOCTOR_PASS
#define WARN ST_DOCTOR_WARN
#define FAIL ST_DOCTOR_FAIL
static const struct threshold thresholds[] = {
    {"check.scanner.queue", F(queue.queue_depth), 99, PASS},
    {"check.scanner.queue", F(queue.queue_depth), 100, WARN},
    {"check.scanner.queue", F(queue.queue_depth), 499, WARN},
    {"check.scanner.queue", F(queue.queue_depth), 500, FAIL},
    {"check.scanner.queue", F(queue.failure_rate), 4999, PASS},
    {"check.scanner.queue", F(queue.failure_rate), 5000, WARN},
    {"check.scanner.queue", F(queue.failure_rate), 14999, WARN},
    {"check.scanner.queue", F(queue.failure_rate), 15000, FAIL},
    {"check.scanner.queue", F(queue.stuck_jobs), 1, FAIL},
    {"check.operations.job-queue", F(queue.queue_depth), 99, PASS},
    {"check.operations.job-queue", F(queue.queue_depth), 100, WARN},
    {"check.operations.job-queue", F(queue.queue_depth), 499, WARN},
    {"check.operations.job-queue", F(queue.queue_depth), 500, FAIL},
    {"check.operations.job-queue", F(workers.total_workers), 0, FAIL},
    {"check.operations.dead-letter", F(dead), 10, PASS},
    {"check.operations.dead-letter", F(dead), 11, WARN},
    {"check.operations.dead-letter", F(dead), 50, WARN},
    {"check.operations.dead-letter", F(dead), 51, FAIL},
    {"check.scanner.resources", F(workers.cpu_utilization), 74999, PASS},
    {"check.scanner.resources", F(workers.cpu_utilization), 75000, WARN},
    {"check.scanner.resources", F(workers.cpu_utilization), 89999, WARN},
    {"check.scanner.resources", F(workers.cpu_utilization), 90000, FAIL},
    {"check.scanner.resources", F(workers.memory_utilization), 79999, PASS},
    {"check.scanner.resources", F(workers.memory_utilization), 80000, WARN},
    {"check.scanner.resources", F(workers.memory_utilization), 94999, WARN},
    {"check.scanner.resources", F(workers.memory_utilization), 95000, FAIL},
    {"check.scanner.resources", F(workers.idle_workers), 0, WARN},
    {"check.scanner.memory-usage", F(workers.memory_utilization), 79999, PASS},
    {"check.scanner.memory-usage", F(workers.memory_utilization), 80000, WARN},
    {"check.scanner.memory-usage", F(workers.memory_utilization), 95000, FAIL},
    {"check.scanner.memory-usage", F(memory_limit), 4 * ST_GIB - 1, WARN},
    {"check.scanner.memory-usage", F(workers.other_limit), 1, WARN},
    {"check.scanner.memory-usage", F(memory_deaths), 1, FAIL},
    {"check.scanner.memory-usage", F(oom_lines), 1, FAIL},
    {"check.scanner.memory-usage", F(waiting), 1, FAIL},
    {"check.scanner.worker-health", F(workers.total_workers), 0, FAIL},
    {"check.scanner.worker-health", F(workers.stale), 1, WARN},
    {"check.scanner.worker-health", F(workers.dead), 1, WARN},
    {"check.scanner.worker-health", F(workers.stalled), 1, FAIL},
    {"check.scanner.worker-health", F(queue.stuck_jobs), 1, FAIL},
    {"check.scanner.timeout-rate", F(timeouts), 1, WARN},
    {"check.scanner.timeout-rate", F(timeouts), 4, WARN},
    {"check.scanner.timeout-rate", F(timeouts), 5, FAIL},
    {"check.scanner.sbom", F(sbom_day.success_rate), 95000, PASS},
    {"check.scanner.sbom", F(sbom_day.success_rate), 94999, WARN},
    {"check.scanner.sbom", F(sbom_day.success_rate), 80000, WARN},
    {"check.scanner.sbom", F(sbom_day.success_rate), 79999, FAIL},
    {"check.scanner.sbom-generation", F(sbom_hour.success_rate), 79999, FAIL},
    {"check.scanner.sbom-generation", F(sbom_failed), 1, WARN},
    {"check.scanner.registry-auth", F(registry_auth), 1, WARN},
    {"check.scanner.registry-auth", F(registry_auth), 2, WARN},
    {"check.scanner.registry-auth", F(registry_auth), 3, FAIL},
    {"check.scanner.slice.cache", F(cache.used_bytes), 79, PASS},
    {"check.scanner.slice.cache", F(cache.used_bytes), 80, WARN},
    {"check.scanner.slice.cache", F(cache.used_bytes), 94, WARN},
    {"check.scanner.slice.cache", F(cache.used_bytes), 95, FAIL},
    {"check.scanner.slice.cache", F(cache.hit_rate), 50000, PASS},
    {"check.scanner.slice.cache", F(cache.hit_rate), 49999, WARN},
    {"check.scanner.slice.cache", F(cache.hit_rate), 20000, WARN},
    {"check.scanner.slice.cache", F(cache.hit_rate), 19999, FAIL},
    {"check.storage.store", F(answer_ms), 999, PASS},
    {"check.storage.store", F(answer_ms), 1000, WARN},
    {"check.storage.state-directory", F(home.free), 10 * ST_GIB, PASS},
    {"check.storage.state-directory", F(home.free), 10 * ST_GIB - ST_MIB, WARN},
    {"check.storage.state-directory", F(home.free), 2 * ST_GIB - ST_MIB, FAIL},
    {"check.storage.state-directory", F(home.free), 64 * ST_MIB - 1, FAIL},
    {"check.host.spill", F(spill.free), 2 * ST_GIB - ST_MIB, FAIL},
};

static void test_doctor_thresholds(void)
{
    for (size_t i = 0; i < ST_LEN(thresholds); i++) {
        const struct threshold *t = &thresholds[i];
        struct st_doctor_facts f = well();
        memcpy((char *)&f + t->at, &t->value, sizeof t->value);
        struct st_diagnosis d = judge(t->check, &f);
        TAP_OK(d.result == t->want, "%s at %llu of byte %zu: %s (%s)", t->check, (unsigned long long)t->value, t->at,
               st_doctor_result_words[d.result], d.says);
    }
}

static void test_doctor_flags(void)
{
    struct st_doctor_facts f = well();
    f.queue.backlog_growing = true;
    TAP_OK(judge("check.scanner.queue", &f).result == WARN, "a backlog that grows is a warning");
    f = well();
    f.queue.queue_depth = 0;
    f.workers.idle_workers = 0;
    TAP_OK(judge("check.scanner.resources", &f).result == PASS, "all workers busy and nobody waits: no warning");
    f = well();
    f.home.writable = false;
    TAP_OK(judge("check.storage.state-directory", &f).result == FAIL, "a state directory that cannot be written");
    for (size_t i = 0; i < ST_HELPERS; i++) {
        f = well();
        f.helper[i] = false;
        TAP_OK(judge("check.host.helpers", &f).result == (i == ST_HELPER_ANALYZE ? FAIL : WARN), "%s is missing",
               st_doctor_helpers[i]);
    }
    f = well();
    f.sandbox.state[ST_SANDBOX_LANDLOCK] = ST_SANDBOX_MISSING;
    TAP_OK(judge("check.host.sandbox", &f).result == WARN, "a measure that the kernel lacks");
    f.sandboxed = false;
    TAP_OK(judge("check.host.sandbox", &f).result == FAIL, "an analyzer that does not start");
    f = well();
    f.workers.total_workers = 0;
    f.service = false;
    f.queue.queue_depth = 0;
    TAP_OK(judge("check.host.cgroup", &f).result == PASS, "delegated");
    TAP_OK(judge("check.operations.job-queue", &f).result == PASS, "no service and nothing waits");
    TAP_OK(judge("check.scanner.worker-health", &f).result == ST_DOCTOR_SKIP, "no service: skipped");
    f.cgroup_writable = false;
    TAP_OK(judge("check.host.cgroup", &f).result == WARN, "not delegated");
    f.cgroup_memory = false;
    TAP_OK(judge("check.host.cgroup", &f).result == WARN, "no memory controller");
    f.cgroup2 = false;
    TAP_OK(judge("check.host.cgroup", &f).result == WARN, "cgroup v1");
    f = well();
    f.workers.not_enforced = 1;
    TAP_OK(judge("check.host.cgroup", &f).result == WARN, "a worker without a cgroup");
    f = well();
    f.store = false;
    snprintf(f.store_error, sizeof f.store_error, "stella.db is damaged");
    TAP_OK(judge("check.scanner.queue", &f).result == ST_DOCTOR_SKIP, "no store: skipped");
    TAP_OK(judge("check.storage.store", &f).result == FAIL, "no store: that check fails");
    f = well();
    snprintf(f.kind, sizeof f.kind, "postgresql");
    TAP_OK(judge("check.storage.postgres", &f).result == PASS, "postgres");
    f = well();
    f.dedup = false;
    f.cache.entry_count = 0;
    TAP_OK(judge("check.scanner.slice.cache", &f).result == ST_DOCTOR_SKIP, "a cache that is off: skipped");
    struct st_diagnosis d;
    st_doctor_judge(st_doctor_find(ST_SV("check.host.sandbox"), NULL), &f, true, &d);
    TAP_OK(d.result == ST_DOCTOR_SKIP, "--quick leaves it out");
}

// Everything wrong at once: no check runs out of room, each says what to do.
static void test_doctor_ill(void)
{
    struct st_doctor_facts f = well();
    f.queue = (struct st_queue_stats){
        .queue_depth = UINT64_MAX, .stuck_jobs = 7, .failure_rate = 99000, .backlog_growing = true};
    f.workers = (struct st_doctor_workers){.total_workers = 3,
                                           .memory_utilization = 99000,
                                           .has_cpu = true,
                                           .cpu_utilization = 99000,
                                           .stale = 1,
                                           .stalled = 1,
                                           .dead = 1,
                                           .not_enforced = 1,
                                           .other_limit = 1};
    f.memory_deaths = f.oom_lines = f.timeouts = f.registry_auth = f.sbom_failed = f.waiting = f.dead = 500;
    f.sbom_day = f.sbom_hour = (struct st_sbom_stats){100, 1, 99, 1000};
    f.memory_limit = 1;
    f.answer_ms = 60000;
    f.cache.used_bytes = 100;
    f.cache.hit_rate = 0;
    f.home.free = f.spill.free = 0;
    snprintf(f.home.path, sizeof f.home.path, "/%01000d", 0);
    memset(f.helper, 0, sizeof f.helper);
    f.sandboxed = false;
    for (const struct st_doctor_check *c = st_doctor_checks; c->id; c++) {
        struct st_diagnosis d = judge(c->id, &f);
        TAP_OK((d.result == ST_DOCTOR_SKIP) != (d.result >= WARN && d.n_remedies > 0 && !strchr(d.says, '\n')),
               "%s of an ill one: %s, %s", c->id, st_doctor_result_words[d.result], d.says);
    }
}

static void test_doctor_table(void)
{
    struct st_err err = {0};
    size_t n = 0;
    for (const struct st_doctor_check *c = st_doctor_checks; c->id; c++, n++)
        TAP_OK(!n || strcmp(c[-1].id, c->id) < 0, "%s is in its place", c->id);
    TAP_OK(n <= ST_DOCTOR_CHECKS_MAX, "%zu checks", n);
    static const char *const promised[] = {
        "check.scanner.queue",           "check.scanner.resources",     "check.scanner.sbom",
        "check.scanner.slice.cache",     "check.operations.job-queue",  "check.operations.dead-letter",
        "check.scanner.memory-usage",    "check.scanner.worker-health", "check.scanner.timeout-rate",
        "check.scanner.sbom-generation", "check.scanner.registry-auth", "check.storage.postgres",
        "check.storage.valkey"};
    for (size_t i = 0; i < ST_LEN(promised); i++)
        TAP_OK(st_doctor_find(st_sv_of(promised[i]), &err), "%s is there", promised[i]);
    TAP_OK(st_doctor_find(ST_SV("scanner.queue"), &err), "without check. in front");
    TAP_OK(!st_doctor_find(ST_SV("check.scanner.memory-use"), &err) && err.code == ST_E_USAGE &&
               strstr(err.text, "did you mean check.scanner.memory-usage?"),
           "%s", err.text);
    TAP_OK(!st_doctor_find(ST_SV("nothing like it at all"), &err) && strstr(err.text, "stella doctor list"), "%s",
           err.text);
    TAP_OK(!st_doctor_find(ST_SV_NULL, &err), "the empty id: %s", err.text);
}

static void test_doctor_redact(void)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""},
        {"plain text, nothing in it", "plain text, nothing in it"},
        {"postgresql://stella:hunter2@db:5432/stella", "postgresql://stella:***@db:5432/stella"},
        {"https://token@registry.example/v2", "https://***@registry.example/v2"},
        {"https://u:p@ss@host/x", "https://u:***@host/x"},
        {"https://registry.example/v2/a@sha256:00", "https://registry.example/v2/a@sha256:00"},
        {"Authorization: Bearer abcdefghijkl", "Authorization: Bearer ***"},
        {"authorization=Basic dXNlcjpwYXNz x", "authorization=Basic *** x"},
        {"{\"password\":\"hunter2\",\"a\":1}", "{\"password\":\"***\",\"a\":1}"},
        {"{\\\"token\\\": \\\"abc\\\"}", "{\\\"token\\\": \\\"***\\\"}"},
        {"api_key = 'k'; next", "api_key = '***'; next"},
        {"client-secret: s3cret\nnext: 1", "client-secret: ***\nnext: 1"},
        {"STELLA_TOKEN=abc STELLA_HOME=/x", "STELLA_TOKEN=*** STELLA_HOME=/x"},
        {"\"key\":\"worker.memory_limit\",\"value\":\"4Gi\"", "\"key\":\"worker.memory_limit\",\"value\":\"4Gi\""},
        {"basic check of bearer x", "basic check of bearer x"},
        {"a token: ", "a token: "},
        {"://", "://"},
        {"x://:@", "x://:@"},
        {"password=", "password="},
    };
    struct st_mem mem;
    struct st_buf b;
    st_mem_init(&mem, 1 << 20, -1);
    st_buf_init(&b, &mem);
    for (size_t i = 0; i < ST_LEN(rows); i++) {
        st_buf_clear(&b);
        TAP_OK(st_doctor_redact(st_sv_of(rows[i].in), &b, NULL) == 0 && st_sv_eq(st_buf_sv(&b), st_sv_of(rows[i].out)),
               "%s: " ST_SV_FMT, rows[i].in, ST_SV_ARG(st_buf_sv(&b)));
    }
    st_buf_release(&b);
    st_mem_release(&mem);
}

int main(void)
{
    test_doctor_well();
    test_doctor_thresholds();
    test_doctor_flags();
    test_doctor_ill();
    test_doctor_table();
    test_doctor_redact();
    return tap_done();
}
