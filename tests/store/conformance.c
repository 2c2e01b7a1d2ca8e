// What every back end of the store promises. store_conformance sqlite | postgresql (STELLA_TEST_POSTGRES: its address).
#include "base/ckd.h"
#include "base/clock.h"
#include "store/db.h"
#include "store/home.h"
#include "store/postgres.h"
#include "tap.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char home[PATH_MAX];
static const char *url; // NULL: SQLite

static struct st_store *open_store(void)
{
    struct st_store *s = NULL;
    struct st_err err = {0};
    int rc = url ? st_store_open_postgres(url, &s, &err) : st_store_open(home, true, &s, &err);
    if (rc) {
        TAP_OK(0, "the store opens: %s", err.text);
        exit(1);
    }
    return s;
}

static void drop_files(void)
{
    static const char *const names[] = {"stella.db", "stella.db-wal", "stella.db-shm"};
    for (size_t i = 0; i < ST_LEN(names); i++) {
        char path[PATH_MAX];
        st_home_file(home, names[i], path, NULL);
        unlink(path);
    }
}

static struct st_store *fresh_store(void)
{
    if (url) {
        struct st_store *s = open_store();
        struct st_err err = {0};
        if (s->ops->script(s, "DROP SCHEMA stella CASCADE", &err))
            printf("# %s\n", err.text);
        st_store_close(s);
    } else {
        drop_files();
    }
    return open_store();
}

// ---- what rows said ------------------------------------------------------------------------------

struct seen {
    int n;
    char ids[16][ST_JOB_ID + 1];
    struct st_job last; // its views are dead
    char image[64], reason[32], message[128], pool[32], worker[32], options[64], resumed[40];
};

static void keep(char *to, size_t cap, struct st_sv v)
{
    snprintf(to, cap, ST_SV_FMT, ST_SV_ARG(v));
}

static int see(void *ctx, const struct st_job *job, struct st_err *err)
{
    struct seen *s = ctx;
    if (s->n < 16)
        memcpy(s->ids[s->n], job->id, sizeof job->id);
    s->n++;
    s->last = *job;
    keep(s->image, sizeof s->image, job->image);
    keep(s->reason, sizeof s->reason, job->reason);
    keep(s->message, sizeof s->message, job->message);
    keep(s->pool, sizeof s->pool, job->pool);
    keep(s->worker, sizeof s->worker, job->worker);
    keep(s->options, sizeof s->options, job->options);
    keep(s->resumed, sizeof s->resumed, job->resumed_from);
    return 0;
}

static struct seen get(struct st_store *s, const char *id)
{
    struct seen seen = {0};
    struct st_err err = {0};
    if (st_store_get(s, st_sv_of(id), see, &seen, &err))
        printf("# get: %s\n", err.text);
    return seen;
}

static int submit(struct st_store *s, const char *image, const char *digest, enum st_priority p, struct seen *seen)
{
    struct st_err err = {0};
    struct st_submit sub = {
        .image = st_sv_of(image), .digest = st_sv_of(digest), .pool = ST_SV("default"), .priority = p};
    int rc = st_store_submit(s, &sub, see, seen, &err);
    if (rc < 0)
        printf("# submit: %s\n", err.text);
    return rc;
}

static int claim(struct st_store *s, const char *pool, const char *worker, uint64_t lease_ms, struct seen *seen)
{
    struct st_err err = {0};
    struct st_claim c = {.pool = st_sv_of(pool),
                         .worker = st_sv_of(worker),
                         .lease_ms = lease_ms,
                         .config = ST_SV("{\"a\":\"b\"}"),
                         .memory_limit = 4096};
    int rc = st_store_claim(s, &c, see, seen, &err);
    if (rc < 0)
        printf("# claim: %s\n", err.text);
    return rc;
}

static int finish(struct st_store *s, const struct st_job *j, enum st_job_state state, const char *reason, bool again,
                  enum st_job_state *ret, struct st_err *err)
{
    struct st_end e = {.fence = j->fence,
                       .state = state,
                       .reason = st_sv_of(reason),
                       .message = ST_SV("why"),
                       .evidence = ST_SV("{\"oom_kill\":1}"),
                       .peak_bytes = 99,
                       .exit_code = state == ST_JOB_FAILED,
                       .signal = 9,
                       .again = again};
    memcpy(e.id, j->id, sizeof e.id);
    return st_store_finish(s, &e, 3, ret, err);
}

static void ready_now(struct st_store *s) // over with the backoff
{
    struct st_err err = {0};
    if (s->ops->script(s, "UPDATE jobs SET ready_at = 0", &err))
        printf("# %s\n", err.text);
}

static int retry(struct st_store *s, const char *id, bool force, uint32_t max_tries, struct seen *seen,
                 struct st_err *err)
{
    struct st_retry r = {.prefix = st_sv_of(id), .force = force, .max_tries = max_tries};
    return st_store_retry(s, &r, see, seen, err);
}

// ---- local scans ---------------------------------------------------------------------------------

static void test_local_life(void)
{
    struct st_store *s = fresh_store();
    struct st_err err = {0};
    struct st_job job = {.image = ST_SV("app.tar"), .options = ST_SV("{\"memory\":1}"), .attempt = 1};
    struct seen seen = {0}, none = {0};
    TAP_OK(st_store_begin(s, &job, &err) == 0 && strlen(job.id) == 32 && job.created_ms > 0, "begin %s", err.text);
    TAP_OK(st_store_subject(s, job.id, 0, ST_SV("sha256:ab"), 4096, &err) == 0, "subject");
    TAP_OK(st_store_get(s, st_sv_sub(st_sv_of(job.id), 0, 6), see, &seen, &err) == 0 && seen.n == 1 &&
               seen.last.state == ST_JOB_PROCESSING && seen.last.has_size && seen.last.size == 4096,
           "get by a prefix of six");
    TAP_OK(st_store_sweep(s, 5, NULL, NULL, &err) == 0, "sweep %s", err.text);
    TAP_OK(get(s, job.id).last.state == ST_JOB_PROCESSING, "a living owner keeps its job");
    struct st_end end = {.state = ST_JOB_FAILED,
                         .reason = ST_SV("corrupt_layer"),
                         .message = ST_SV("layer 2 ends early"),
                         .exit_code = 1,
                         .peak_bytes = 123456789,
                         .resumed_from = ST_SV("0123"),
                         .again = true};
    memcpy(end.id, job.id, sizeof end.id);
    TAP_OK(st_store_finish(s, &end, 5, NULL, &err) == 0, "finish %s", err.text);
    seen = get(s, job.id);
    TAP_OK(seen.last.state == ST_JOB_FAILED && seen.last.peak_bytes == 123456789 && seen.last.exit_code == 1 &&
               !strcmp(seen.reason, "corrupt_layer") && !strcmp(seen.message, "layer 2 ends early") &&
               !strcmp(seen.resumed, "0123") && !strcmp(seen.options, "{\"memory\":1}"),
           "what was stored comes back, and a local scan is not tried again");
    TAP_OK(st_store_finish(s, &end, 5, NULL, &err) == -1 && err.code == ST_E_CONFLICT, "a job ends once");
    TAP_OK(st_store_newest(s, ST_SV("app.tar"), ST_SV_NULL, 0, see, &none, &err) == 1 && !strcmp(none.ids[0], job.id),
           "newest by reference");
    TAP_OK(st_store_newest(s, ST_SV("x"), ST_SV("sha256:ab"), 0, see, &none, &err) == 1, "newest by digest");
    TAP_OK(st_store_newest(s, ST_SV("other.tar"), ST_SV_NULL, 0, see, &none, &err) == 0, "no such image");
    TAP_OK(st_store_newest(s, ST_SV("app.tar"), ST_SV_NULL, INT64_MAX, see, &none, &err) == 0, "none since the future");
    TAP_OK(retry(s, job.id, true, 5, &seen, &err) == -1 && err.code == ST_E_USAGE &&
               strstr(err.text, "stella scan image app.tar --retry"),
           "a local scan is retried by scan image: %s", err.text);
    st_store_close(s);
}

static void test_ids_and_lists(void)
{
    struct st_store *s = fresh_store();
    struct st_err err = {0};
    struct seen seen = {0};
    static const char *const bad[] = {"", "abcde", "ABCDEF", "abcdeg", "0123456789abcdef0123456789abcdef0", "%%%%%%"};
    for (size_t i = 0; i < ST_LEN(bad); i++)
        TAP_OK(st_store_get(s, st_sv_of(bad[i]), see, &seen, &err) == -1 && err.code == ST_E_USAGE, "bad id '%s'",
               bad[i]);
    TAP_OK(st_store_get(s, ST_SV("000000000000"), see, &seen, &err) == -1 && err.code == ST_E_NOTFOUND && seen.n == 0,
           "unknown id");
    TAP_OK(
        s->ops->script(s,
                       "INSERT INTO jobs(id,image,status,reason,attempt,created_ms,started_ms,updated_ms,owner) VALUES"
                       "('aaaaaa00000000000000000000000001','a','completed','',1,5,5,5,''),"
                       "('aaaaaa00000000000000000000000002','a','processing','',1,6,6,6,'another-boot pid:[1] 1 1'),"
                       "('bbbbbb00000000000000000000000002','a','failed','oom',1,9,9,9,''),"
                       "('ffffff00000000000000000000000003','b','failed','timeout',1,7,7,7,'')",
                       &err) == 0,
        "rows %s", err.text);
    TAP_OK(st_store_get(s, ST_SV("aaaaaa"), see, &seen, &err) == -1 && err.code == ST_E_USAGE &&
               strstr(err.text, "ambiguous"),
           "ambiguous prefix");
    TAP_OK(st_store_get(s, ST_SV("ffffff"), see, &seen, &err) == 0 && seen.last.updated_ms == 7, "prefix of all f");
    struct seen swept = {0};
    TAP_OK(st_store_sweep(s, 5, see, &swept, &err) == 0 && swept.n == 1 && swept.last.state == ST_JOB_FAILED &&
               !strcmp(swept.reason, "killed"),
           "a job of an earlier boot is failed, killed");
    static const struct {
        const char *words;
        int n;
        const char *first;
    } rows[] = {
        {"failed", 3, "aaaaaa00000000000000000000000002"},
        {"completed,killed", 2, "aaaaaa00000000000000000000000002"},
        {"oom", 1, "bbbbbb00000000000000000000000002"},
        {"failed,oom,timeout", 3, "aaaaaa00000000000000000000000002"},
        {"crash", 0, ""},
        {"oom,timeout", 2, "bbbbbb00000000000000000000000002"},
    };
    for (size_t i = 0; i < ST_LEN(rows); i++) {
        struct st_job_filter f = {0};
        struct seen l = {0};
        TAP_OK(st_job_filter_words(&f, st_sv_of(rows[i].words), &err) == 0 &&
                   st_store_list(s, &f, see, &l, &err) == 0 && l.n == rows[i].n && !strcmp(l.ids[0], rows[i].first),
               "list %s: %d", rows[i].words, l.n);
    }
    int wrong = 0;
    for (int i = 0; i < 500; i++) { // a job that two words name is listed once, also when the clock goes on meanwhile
        struct st_job_filter two = {0};
        struct seen l = {0};
        wrong += st_job_filter_words(&two, ST_SV("failed,oom,timeout"), &err) ||
                 st_store_list(s, &two, see, &l, &err) || l.n != 3;
    }
    TAP_OK(wrong == 0, "every job once: %d times not", wrong);
    struct st_job_filter f = {.since_ms = 7, .limit = 2};
    struct seen late = {0}, all = {0};
    TAP_OK(st_store_list(s, &f, see, &late, &err) == 0 && late.n == 2 && late.ids[1][0] == 'b', "since and limit");
    f = (struct st_job_filter){.since_ms = 7};
    TAP_OK(st_store_list(s, &f, see, &all, &err) == 0 && all.n == 3, "since is inclusive");
    f = (struct st_job_filter){0};
    TAP_OK(st_job_filter_words(&f, ST_SV("failled"), &err) == -1 && err.code == ST_E_USAGE && strstr(err.text, "oom"),
           "unknown word lists the words");
    TAP_OK(st_job_filter_words(&f, ST_SV(""), &err) == -1, "no word");
    struct st_counts c;
    TAP_OK(st_store_counts(s, 0, &c, &err) == 0 && c.failed == 3 && c.completed == 1 && c.pending == 0 && c.now_ms > 9,
           "counts %s", err.text);
    struct st_durations d;
    TAP_OK(st_store_durations(s, 0, &d, &err) == 0 && d.jobs == 1, "durations %s", err.text);
    st_store_close(s);
}

// ---- submit, claim -------------------------------------------------------------------------------

static void test_submit_is_idempotent(void)
{
    struct st_store *s = fresh_store();
    struct st_err err = {0};
    struct seen a = {0}, b = {0}, c = {0}, got = {0};
    TAP_OK(submit(s, "app:1", "sha256:1", ST_PRIORITY_NORMAL, &a) == 1 && a.last.state == ST_JOB_PENDING, "a new job");
    TAP_OK(submit(s, "other-name:1", "sha256:1", ST_PRIORITY_NORMAL, &b) == 0 && !strcmp(a.ids[0], b.ids[0]),
           "same digest and options: the same job");
    struct st_submit sub = {.image = ST_SV("app:1"),
                            .digest = ST_SV("sha256:1"),
                            .pool = ST_SV("default"),
                            .options = ST_SV("{\"platform\":\"linux/arm64\"}")};
    TAP_OK(st_store_submit(s, &sub, see, &c, &err) == 1, "other options: another job");
    TAP_OK(claim(s, "default", "w1", 60000, &got) == 1 && !strcmp(got.ids[0], a.ids[0]), "claimed");
    TAP_OK(submit(s, "app:1", "sha256:1", ST_PRIORITY_NORMAL, &b) == 0, "processing: it answers still");
    enum st_job_state now;
    TAP_OK(finish(s, &got.last, ST_JOB_COMPLETED, "", false, &now, &err) == 0 && now == ST_JOB_COMPLETED,
           "completed %s", err.text);
    b = (struct seen){0};
    TAP_OK(submit(s, "app:1", "sha256:1", ST_PRIORITY_NORMAL, &b) == 0 && b.last.state == ST_JOB_COMPLETED,
           "completed: it answers still");
    sub = (struct st_submit){
        .image = ST_SV("app:1"), .digest = ST_SV("sha256:1"), .pool = ST_SV("default"), .fresh = true};
    b = (struct seen){0};
    TAP_OK(st_store_submit(s, &sub, see, &b, &err) == 1 && strcmp(a.ids[0], b.ids[0]) != 0, "fresh: a new one");
    c = (struct seen){0};
    TAP_OK(submit(s, "app:1", "sha256:1", ST_PRIORITY_NORMAL, &c) == 0 && !strcmp(c.ids[0], b.ids[0]),
           "which answers from then on");
    TAP_OK(st_store_cancel(s, st_sv_of(b.ids[0]), see, &c, &err) == 0, "cancelled");
    TAP_OK(submit(s, "app:1", "sha256:1", ST_PRIORITY_NORMAL, &c) == 1, "a cancelled job does not answer");
    a = b = (struct seen){0};
    TAP_OK(submit(s, "tag:latest", "", ST_PRIORITY_CRITICAL, &a) == 1 && submit(s, "tag:latest", "", 3, &b) == 0,
           "without a digest: by name while it is in work");
    got = (struct seen){0};
    TAP_OK(claim(s, "default", "w1", 60000, &got) == 1 &&
               finish(s, &got.last, ST_JOB_COMPLETED, "", false, &now, &err) == 0 &&
               submit(s, "tag:latest", "", ST_PRIORITY_NORMAL, &b) == 1,
           "and anew when it is done: a tag moves");
    sub = (struct st_submit){.image = ST_SV("")};
    TAP_OK(st_store_submit(s, &sub, see, &b, &err) == -1 && err.code == ST_E_USAGE, "no image");
    st_store_close(s);
}

static void test_order(void)
{
    struct st_store *s = fresh_store();
    static const struct {
        const char *image;
        enum st_priority p;
    } in[] = {{"n1", 1}, {"l1", 0}, {"c1", 3}, {"n2", 1}, {"h1", 2}, {"c2", 3}};
    static const char *const out[] = {"c1", "c2", "h1", "n1", "n2", "l1"};
    struct seen seen = {0};
    for (size_t i = 0; i < ST_LEN(in); i++) {
        submit(s, in[i].image, "", in[i].p, &seen);
        usleep(2000); // order is by ms
    }
    TAP_OK(claim(s, "large", "w", 60000, &seen) == 0, "another pool has none");
    for (size_t i = 0; i < ST_LEN(out); i++) {
        seen = (struct seen){0};
        TAP_OK(claim(s, "default", "w", 60000, &seen) == 1 && !strcmp(seen.image, out[i]), "%zu: %s", i, seen.image);
    }
    TAP_OK(claim(s, "default", "w", 60000, &seen) == 0, "then there is none");
    st_store_close(s);
}

// ---- leases --------------------------------------------------------------------------------------

static int count_attempt(void *ctx, const struct st_attempt *a, struct st_err *err)
{
    struct {
        int n;
        char outcomes[128], workers[128], evidence[64];
    } *k = ctx;
    k->n++;
    size_t at = strlen(k->outcomes), at2 = strlen(k->workers);
    snprintf(k->outcomes + at, sizeof k->outcomes - at, ST_SV_FMT ",", ST_SV_ARG(a->outcome));
    snprintf(k->workers + at2, sizeof k->workers - at2, ST_SV_FMT ",", ST_SV_ARG(a->worker));
    keep(k->evidence, sizeof k->evidence, a->evidence);
    return 0;
}

static void test_fence(void)
{
    struct st_store *s = fresh_store();
    struct st_err err = {0};
    struct seen a = {0}, b = {0}, swept = {0};
    enum st_lease lease;
    enum st_job_state now;
    submit(s, "app", "", ST_PRIORITY_NORMAL, &a);
    TAP_OK(claim(s, "default", "w1", 1, &a) == 1 && a.last.fence == 1 && a.last.attempt == 1 && a.last.tries == 1 &&
               !strcmp(a.worker, "w1"),
           "first claim");
    usleep(20000);
    TAP_OK(st_store_sweep(s, 3, see, &swept, &err) == 0 && swept.n == 1 && swept.last.state == ST_JOB_PENDING &&
               swept.last.wait_ms > 1000 && swept.last.wait_ms <= 5000 && !strcmp(swept.reason, "killed"),
           "a lease that ran out: pending with a backoff of %lld ms", (long long)swept.last.wait_ms);
    TAP_OK(claim(s, "default", "w2", 60000, &b) == 0, "not yet");
    ready_now(s);
    TAP_OK(claim(s, "default", "w2", 60000, &b) == 1 && b.last.fence == 2 && b.last.attempt == 2, "second claim");
    TAP_OK(st_store_renew(s, a.last.id, 1, 1000, &lease, &err) == 0 && lease == ST_LEASE_LOST, "the first one is told");
    TAP_OK(finish(s, &a.last, ST_JOB_COMPLETED, "", false, &now, &err) == -1 && err.code == ST_E_CONFLICT,
           "and cannot commit: %s", err.text);
    TAP_OK(st_store_release(s, a.last.id, 1, ST_SV("x"), &err) == -1 && err.code == ST_E_CONFLICT, "nor give back");
    TAP_OK(st_store_subject(s, a.last.id, 1, ST_SV("sha256:9"), 1, &err) == -1 && err.code == ST_E_CONFLICT,
           "nor name");
    struct seen is = get(s, a.last.id);
    TAP_OK(is.last.state == ST_JOB_PROCESSING && !strcmp(is.worker, "w2") && !is.last.has_size,
           "the job is the second's");
    TAP_OK(st_store_renew(s, b.last.id, 2, 60000, &lease, &err) == 0 && lease == ST_LEASE_HELD, "who holds it");
    swept = (struct seen){0};
    TAP_OK(st_store_sweep(s, 3, see, &swept, &err) == 0 && swept.n == 0, "a renewed lease is left alone");
    TAP_OK(finish(s, &b.last, ST_JOB_COMPLETED, "", false, &now, &err) == 0 && now == ST_JOB_COMPLETED, "and commits");
    TAP_OK(finish(s, &b.last, ST_JOB_FAILED, "oom", false, &now, &err) == -1, "once");
    struct {
        int n;
        char outcomes[128], workers[128], evidence[64];
    } k = {0};
    TAP_OK(st_store_attempts(s, a.last.id, count_attempt, &k, &err) == 0 && k.n == 2 &&
               !strcmp(k.outcomes, "failed,completed,") && !strcmp(k.workers, "w1,w2,") &&
               !strcmp(k.evidence, "{\"oom_kill\":1}"),
           "both attempts are kept: %s %s", k.outcomes, k.workers);
    st_store_close(s);
}

static int claim_for(struct st_store *s, const char *holder, struct seen *seen)
{
    struct st_err err = {0};
    struct st_claim c = {
        .pool = ST_SV("default"), .worker = ST_SV("host/default-1"), .lease_ms = 60000, .holder = st_sv_of(holder)};
    return st_store_claim(s, &c, see, seen, &err);
}

// A supervisor that begins takes back what earlier runs of itself held, and nothing of others.
static void test_reclaim(void)
{
    struct st_store *s = fresh_store();
    struct st_err err = {0};
    struct seen x = {0}, swept = {0};
    static const char *const holders[] = {"host/aa/1", "host/aa/2", "host/ab/1", "host2/aa/1", ""};
    char ids[ST_LEN(holders)][ST_JOB_ID + 1];
    for (size_t i = 0; i < ST_LEN(holders); i++) {
        char image[24];
        snprintf(image, sizeof image, "app%zu", i);
        submit(s, image, "", ST_PRIORITY_NORMAL, &x);
        TAP_OK(claim_for(s, holders[i], &x) == 1, "claimed by '%s'", holders[i]);
        memcpy(ids[i], x.last.id, sizeof ids[i]);
    }
    TAP_OK(st_store_reclaim(s, ST_SV("host/aa/3"), 3, see, &swept, &err) == 0 && swept.n == 2, "two of its own: %d %s",
           swept.n, err.text);
    struct seen is = get(s, ids[0]);
    TAP_OK(is.last.state == ST_JOB_PENDING && is.last.wait_ms <= 0 && is.last.tries == 1 &&
               !strcmp(is.reason, "killed") && strstr(is.message, "ended without a word"),
           "pending, ready at once, a try used up: %s", is.message);
    for (size_t i = 2; i < ST_LEN(holders); i++)
        TAP_OK(get(s, ids[i]).last.state == ST_JOB_PROCESSING, "that of '%s' is left alone", holders[i]);
    swept = (struct seen){0};
    TAP_OK(claim_for(s, "host/aa/3", &x) == 1 && st_store_reclaim(s, ST_SV("host/aa/3"), 3, see, &swept, &err) == 0 &&
               swept.n == 0,
           "asked again: its own run's are left alone");
    enum st_job_state now;
    struct st_job old = {.fence = 1};
    memcpy(old.id, ids[0], sizeof old.id);
    TAP_OK(finish(s, &old, ST_JOB_COMPLETED, "", false, &now, &err) == -1 && err.code == ST_E_CONFLICT,
           "the dead run cannot commit");
    static const char *const bad[] = {"", "host", "host/aa"};
    for (size_t i = 0; i < ST_LEN(bad); i++)
        TAP_OK(st_store_reclaim(s, st_sv_of(bad[i]), 3, NULL, NULL, &err) == -1 && err.code == ST_E_INPUT,
               "'%s' is no holder", bad[i]);
    st_store_close(s);
}

// A job whose file is with one installation is claimed there only; tried again with the file elsewhere, there.
static void test_only_host(void)
{
    struct st_store *s = fresh_store();
    struct st_err err = {0};
    struct seen x = {0}, got = {0};
    struct st_submit sub = {.image = ST_SV("a.tar"), .pool = ST_SV("default"), .only_host = ST_SV("host/aa")};
    TAP_OK(st_store_submit(s, &sub, see, &x, &err) == 1, "a job with a file %s", err.text);
    TAP_OK(claim_for(s, "host/ab/1", &got) == 0 && claim_for(s, "", &got) == 0, "not for others on the same host");
    TAP_OK(claim_for(s, "host/aa/1", &got) == 1, "but for its own");
    enum st_job_state now;
    finish(s, &got.last, ST_JOB_FAILED, "source_gone", false, &now, &err);
    struct st_retry r = {.prefix = st_sv_of(got.last.id), .force = true, .max_tries = 3, .only_host = ST_SV("host/ab")};
    TAP_OK(st_store_retry(s, &r, see, &x, &err) == 0, "tried again, with the file elsewhere %s", err.text);
    TAP_OK(claim_for(s, "host/aa/1", &got) == 0 && claim_for(s, "host/ab/1", &got) == 1, "and claimed there");
    st_store_close(s);
}

// Somebody set the clock of leases back by an hour.
static void test_clock_back(void)
{
    struct st_store *s = fresh_store();
    struct st_err err = {0};
    struct seen a = {0}, b = {0};
    submit(s, "held", "", ST_PRIORITY_NORMAL, &a);
    claim(s, "default", "w1", 30000, &a);
    submit(s, "failed", "", ST_PRIORITY_NORMAL, &b);
    TAP_OK(st_store_clock_check(s, &err) == 0 && get(s, a.last.id).last.wait_ms <= 30000, "all is well %s", err.text);
    s->ops->script(s, "UPDATE jobs SET lease_until = lease_until + 3600000 WHERE status = 'processing'", &err);
    s->ops->script(s, "UPDATE jobs SET ready_at = ready_at + 3600000 WHERE status = 'pending'", &err);
    TAP_OK(get(s, a.last.id).last.wait_ms > 3000000 && get(s, b.last.id).last.wait_ms > 3000000, "an hour too long");
    TAP_OK(st_store_clock_check(s, &err) == 0, "looked at %s", err.text);
    TAP_OK(get(s, a.last.id).last.wait_ms <= 30000 && get(s, a.last.id).last.wait_ms > 20000, "the lease begins anew");
    TAP_OK(claim(s, "default", "w2", 30000, &b) == 1 && !strcmp(b.image, "failed"), "the backoff is over");
    s->ops->script(s, "UPDATE jobs SET status = 'pending', ready_at = ready_at + 5000 WHERE image = 'failed'", &err);
    TAP_OK(st_store_clock_check(s, &err) == 0 && claim(s, "default", "w2", 30000, &b) == 0, "one that may be is kept");
    st_store_close(s);
}

static void test_release_and_dead_letters(void)
{
    struct st_store *s = fresh_store();
    struct st_err err = {0};
    struct seen a = {0}, dead = {0};
    enum st_job_state now = ST_JOB_PENDING;
    submit(s, "app", "", ST_PRIORITY_NORMAL, &a);
    claim(s, "default", "w1", 60000, &a);
    TAP_OK(st_store_release(s, a.last.id, a.last.fence, ST_SV("restart"), &err) == 0 &&
               get(s, a.last.id).last.tries == 0,
           "given back without a try %s", err.text);
    int64_t waits[3] = {0};
    for (int i = 0; i < 3; i++) {
        ready_now(s);
        a = (struct seen){0};
        TAP_OK(claim(s, "default", "w1", 60000, &a) == 1 && a.last.attempt == (uint32_t)i + 2 &&
                   a.last.tries == (uint32_t)i + 1,
               "attempt %u, try %u", a.last.attempt, a.last.tries);
        TAP_OK(finish(s, &a.last, ST_JOB_FAILED, "crash", true, &now, &err) == 0 &&
                   now == (i < 2 ? ST_JOB_PENDING : ST_JOB_FAILED),
               "failed");
        waits[i] = get(s, a.last.id).last.wait_ms;
    }
    TAP_OK(waits[0] > 4000 && waits[0] <= 5000 && waits[1] > 9000 && waits[1] <= 10000,
           "the backoff doubles: %lld, %lld", (long long)waits[0], (long long)waits[1]);
    struct st_job_filter f = {.dead = true};
    TAP_OK(st_store_list(s, &f, see, &dead, &err) == 0 && dead.n == 1 && dead.last.dead, "then it is a dead letter");
    TAP_OK(retry(s, a.last.id, false, 3, &a, &err) == -1 && err.code == ST_E_FAILED, "no retry by itself: %s",
           err.text);
    TAP_OK(retry(s, a.last.id, true, 3, &a, &err) == 0 && a.last.state == ST_JOB_PENDING && a.last.tries == 0 &&
               !a.last.dead,
           "but with force");
    TAP_OK(retry(s, a.last.id, false, 3, &a, &err) == 0, "twice is once");
    claim(s, "default", "w1", 60000, &a);
    struct st_end e = {
        .fence = a.last.fence, .state = ST_JOB_FAILED, .reason = ST_SV("oom"), .again = true, .pool = ST_SV("large")};
    memcpy(e.id, a.last.id, sizeof e.id);
    TAP_OK(st_store_finish(s, &e, 3, &now, &err) == 0 && now == ST_JOB_PENDING &&
               claim(s, "large", "big", 60000, &a) == 1 && !strcmp(a.pool, "large"),
           "escalated: ready there at once");
    TAP_OK(finish(s, &a.last, ST_JOB_FAILED, "bad_input", false, &now, &err) == 0 && now == ST_JOB_FAILED &&
               !get(s, a.last.id).last.dead,
           "failed for good is no dead letter");
    st_store_close(s);
}

static void test_cancel(void)
{
    struct st_store *s = fresh_store();
    struct st_err err = {0};
    struct seen a = {0}, c = {0};
    enum st_lease lease;
    enum st_job_state now;
    submit(s, "one", "", ST_PRIORITY_NORMAL, &a);
    TAP_OK(st_store_cancel(s, st_sv_of(a.ids[0]), see, &c, &err) == 0 && c.last.state == ST_JOB_CANCELLED, "pending");
    TAP_OK(claim(s, "default", "w", 60000, &a) == 0, "it is not given out");
    TAP_OK(st_store_cancel(s, st_sv_of(a.ids[0]), see, &c, &err) == -1 && err.code == ST_E_USAGE, "twice: %s",
           err.text);
    a = (struct seen){0};
    submit(s, "two", "", ST_PRIORITY_NORMAL, &a);
    claim(s, "default", "w", 60000, &a);
    TAP_OK(st_store_cancel(s, st_sv_of(a.ids[0]), see, &c, &err) == 0 && c.last.state == ST_JOB_PROCESSING &&
               c.last.cancel,
           "processing: marked");
    TAP_OK(st_store_renew(s, a.last.id, a.last.fence, 1000, &lease, &err) == 0 && lease == ST_LEASE_CANCEL,
           "its worker is told");
    TAP_OK(finish(s, &a.last, ST_JOB_FAILED, "killed", true, &now, &err) == 0 && now == ST_JOB_CANCELLED,
           "and however it ends, it is cancelled");
    TAP_OK(retry(s, a.ids[0], false, 3, &c, &err) == 0, "a cancelled job can be retried");
    claim(s, "default", "w", 1, &a);
    TAP_OK(st_store_cancel(s, st_sv_of(a.ids[0]), see, &c, &err) == 0, "cancelled while a dead worker has it");
    usleep(20000);
    TAP_OK(st_store_sweep(s, 3, NULL, NULL, &err) == 0 && get(s, a.ids[0]).last.state == ST_JOB_CANCELLED,
           "is cancelled when the lease is over");
    st_store_close(s);
}

// ---- configuration, pools, logs ------------------------------------------------------------------

static int config_text(void *ctx, const struct st_config *c, struct st_err *err)
{
    char *t = ctx;
    size_t n = strlen(t);
    snprintf(t + n, 256 - n, ST_SV_FMT "=" ST_SV_FMT "(" ST_SV_FMT ");", ST_SV_ARG(c->key), ST_SV_ARG(c->value),
             ST_SV_ARG(c->who));
    return 0;
}

static int change_text(void *ctx, const struct st_config_change *c, struct st_err *err)
{
    char *t = ctx;
    size_t n = strlen(t);
    snprintf(t + n, 256 - n, ST_SV_FMT ":" ST_SV_FMT ">" ST_SV_FMT ";", ST_SV_ARG(c->key),
             ST_SV_ARG(c->has_old ? c->old : ST_SV("-")), ST_SV_ARG(c->has_value ? c->value : ST_SV("-")));
    return 0;
}

static int pool_text(void *ctx, const struct st_pool *p, struct st_err *err)
{
    char *t = ctx;
    size_t n = strlen(t);
    snprintf(t + n, 256 - n, ST_SV_FMT "=%llu*%u;", ST_SV_ARG(p->name), (unsigned long long)p->memory, p->count);
    return 0;
}

// What ended long ago is forgotten with its attempts; what has not ended never is.
static void test_forget(void)
{
    struct st_store *s = fresh_store();
    struct st_err err = {0};
    struct seen a = {0}, b = {0}, c = {0}, n = {0};
    enum st_job_state state;
    int64_t attempts = -1, later = st_clock_wall_ms() + 60000;
    submit(s, "done:1", "sha256:d", ST_PRIORITY_NORMAL, &a);
    submit(s, "held:1", "sha256:h", ST_PRIORITY_NORMAL, &b);
    claim(s, "default", "w", 60000, &a);
    finish(s, &a.last, ST_JOB_COMPLETED, "", false, &state, &err);
    claim(s, "default", "w", 60000, &b);
    submit(s, "waits:1", "sha256:w", ST_PRIORITY_NORMAL, &c);
    TAP_OK(st_store_forget(s, st_clock_wall_ms() - 60000, &err) == 0, "nothing is that old");
    TAP_OK(st_store_forget(s, later, &err) == 1, "one has ended: %s", err.text);
    TAP_OK(st_store_list(s, &(struct st_job_filter){.limit = 10}, see, &n, &err) == 0 && n.n == 2,
           "the others are there: %d", n.n);
    TAP_OK(ST_DB_RUN(s, st_db_number, &attempts, &err, "SELECT COUNT(*) FROM attempts") >= 0 && attempts == 1,
           "only the attempt in work is there: %lld", (long long)attempts);
    TAP_OK(get(s, b.last.id).last.state == ST_JOB_PROCESSING, "the one in work goes on");
    for (int i = 0; i < ST_FORGET_STEP + 5; i++) {
        char image[32];
        snprintf(image, sizeof image, "many:%d", i);
        submit(s, image, "", ST_PRIORITY_NORMAL, &c);
        st_store_cancel(s, st_sv_of(c.last.id), see, &n, NULL);
    }
    TAP_OK(st_store_forget(s, later, &err) == ST_FORGET_STEP && st_store_forget(s, later, &err) == 5 &&
               st_store_forget(s, later, &err) == 0,
           "in steps");
    st_store_close(s);
}

static void test_settings(void)
{
    struct st_store *s = fresh_store();
    struct st_err err = {0};
    char text[256] = "", history[256] = "", pools[256] = "";
    struct st_sv one = ST_SV("8Gi"), two = ST_SV("4Gi");
    TAP_OK(st_store_config_set(s, ST_SV("b.x"), &one, ST_SV("uid 7"), &err) == 1, "set %s", err.text);
    TAP_OK(st_store_config_set(s, ST_SV("b.x"), &one, ST_SV("uid 8"), &err) == 0, "the same value changes nothing");
    TAP_OK(st_store_config_set(s, ST_SV("b.x"), &two, ST_SV("uid 8"), &err) == 1, "another value");
    TAP_OK(st_store_config_set(s, ST_SV("a.y"), &one, ST_SV("uid 9"), &err) == 1, "another key");
    TAP_OK(st_store_config(s, ST_SV_NULL, config_text, text, &err) == 0 &&
               !strcmp(text, "a.y=8Gi(uid 9);b.x=4Gi(uid 8);"),
           "all, sorted: %s", text);
    TAP_OK(st_store_config_set(s, ST_SV("b.x"), NULL, ST_SV("uid 8"), &err) == 1 &&
               st_store_config_set(s, ST_SV("b.x"), NULL, ST_SV("uid 8"), &err) == 0,
           "unset, once");
    TAP_OK(st_store_config_history(s, ST_SV("b.x"), 10, change_text, history, &err) == 0 &&
               !strcmp(history, "b.x:4Gi>-;b.x:8Gi>4Gi;b.x:->8Gi;"),
           "history, newest first: %s", history);
    struct st_pool p = {ST_SV("large"), 1ull << 34, 2, 0}, q = {ST_SV("arm"), 5, 1, 0};
    TAP_OK(st_store_pool_put(s, &p, &err) == 0 && st_store_pool_put(s, &q, &err) == 0, "pools %s", err.text);
    p.count = 3;
    TAP_OK(st_store_pool_put(s, &p, &err) == 0 && st_store_pools(s, pool_text, pools, &err) == 0 &&
               !strcmp(pools, "arm=5*1;large=17179869184*3;"),
           "%s", pools);
    TAP_OK(st_store_pool_remove(s, ST_SV("arm"), &err) == 0 && st_store_pool_remove(s, ST_SV("arm"), &err) == -1 &&
               err.code == ST_E_NOTFOUND,
           "removed once");
    int64_t mark;
    TAP_OK(st_store_mark(s, "restart_ms", &mark, &err) == 0 && mark == 0 &&
               st_store_mark_set(s, "restart_ms", 1ll << 40, &err) == 0 &&
               st_store_mark(s, "restart_ms", &mark, &err) == 0 && mark == 1ll << 40,
           "marks");
    st_store_close(s);
}

struct lines {
    int n;
    uint64_t first, last;
    char text[256];
};

static int log_seen(void *ctx, const struct st_log_line *l, struct st_err *err)
{
    struct lines *k = ctx;
    size_t n = strlen(k->text);
    if (!k->n++)
        k->first = l->at;
    k->last = l->at;
    if (l->message.len < 30)
        snprintf(k->text + n, sizeof k->text - n, ST_SV_FMT ";", ST_SV_ARG(l->message));
    return 0;
}

static void test_logs(void)
{
    struct st_store *s = fresh_store();
    struct st_err err = {0};
    struct st_log_line in[] = {
        {.time_ms = 100, .level = ST_LOG_DEBUG, .component = ST_SV("sbom"), .message = ST_SV("one")},
        {.time_ms = 200, .level = ST_LOG_ERROR, .component = ST_SV("worker"), .message = ST_SV("two")},
        {.time_ms = 300, .level = ST_LOG_INFO, .component = ST_SV("worker"), .message = ST_SV("three")},
    };
    struct lines a = {0}, b = {0}, c = {0}, d = {0};
    TAP_OK(st_store_log_add(s, in, ST_LEN(in), &err) == 0, "add %s", err.text);
    TAP_OK(st_store_logs(s, &(struct st_log_page){.level = ST_LOG_DEBUG}, log_seen, &a, &err) == 3 &&
               !strcmp(a.text, "one;two;three;"),
           "in their order: %s", a.text);
    TAP_OK(st_store_logs(s, &(struct st_log_page){.level = ST_LOG_INFO, .since_ms = 200, .backwards = true}, log_seen,
                         &b, &err) == 2 &&
               !strcmp(b.text, "three;two;"),
           "level, since, newest first: %s", b.text);
    TAP_OK(st_store_logs(s, &(struct st_log_page){.after = a.first, .limit = 1}, log_seen, &c, &err) == 1 &&
               !strcmp(c.text, "two;"),
           "the next page");
    TAP_OK(st_store_logs(s, &(struct st_log_page){.since_ms = 5000}, log_seen, &d, &err) == 0, "nothing that new");
    static char big[ST_LOG_TEXT_MAX];
    memset(big, 'x', sizeof big);
    struct st_log_line many[100];
    for (size_t i = 0; i < ST_LEN(many); i++)
        many[i] = (struct st_log_line){.time_ms = 400, .component = ST_SV("c"), .message = st_sv_mem(big, sizeof big)};
    // As if 63 MiB had been written meanwhile: positions may have gaps.
    bool added = s->ops->script(s, "UPDATE marks SET value = value + 66060288 WHERE name = 'log_head'", &err) == 0;
    for (int i = 0; i < 5; i++)
        added = added && st_store_log_add(s, many, ST_LEN(many), &err) == 0;
    struct lines all = {0};
    int n = st_store_logs(s, &(struct st_log_page){0}, log_seen, &all, &err);
    TAP_OK(added && n == 500 && !all.text[0], "the ring holds its size: %d lines %s", n, err.text);
    struct st_log_state state = {0};
    TAP_OK(st_store_log_state(s, &state, &err) == 0 && state.dropped == 3 && state.dropped_ms == 300,
           "and says what it lost: %llu", (unsigned long long)state.dropped);
    st_store_close(s);
}

// ---- hostile and unlucky -------------------------------------------------------------------------

static void test_texts(void)
{
    struct st_store *s = fresh_store();
    struct st_err err = {0};
    struct seen a = {0};
    static char huge[300 * 1024];
    memset(huge, 'y', sizeof huge);
    struct st_submit sub = {.image = ST_SV("a\0b\xff'; DROP TABLE jobs; --"), .pool = ST_SV("default")};
    TAP_OK(st_store_submit(s, &sub, see, &a, &err) == 1 && !strcmp(a.image, "a?b?'; DROP TABLE jobs; --"),
           "NUL and bytes that are no text: '%s' %s", a.image, err.text);
    claim(s, "default", "w", 60000, &a);
    struct st_end e = {.fence = a.last.fence,
                       .state = ST_JOB_FAILED,
                       .reason = ST_SV("crash"),
                       .message = st_sv_mem(huge, sizeof huge),
                       .evidence = st_sv_mem(huge, sizeof huge)};
    memcpy(e.id, a.last.id, sizeof e.id);
    TAP_OK(st_store_finish(s, &e, 3, NULL, &err) == 0 && get(s, a.last.id).last.message.len == ST_JOB_TEXT_MAX,
           "a huge message is cut %s", err.text);
    st_store_close(s);
}

#define JOBS 200
#define WORKERS 4

// Claims and ends jobs until there is none; the ids go to the pipe.
static int worker(int out)
{
    struct st_store *s = open_store();
    int n = 0;
    for (int empty = 0; empty < 3;) {
        struct seen a = {0};
        struct st_err err = {0};
        int rc = claim(s, "default", "w", 60000, &a);
        if (rc < 0)
            return 1;
        if (rc == 0) {
            empty++;
            usleep(5000);
            continue;
        }
        if (finish(s, &a.last, ST_JOB_COMPLETED, "", false, NULL, &err) ||
            write(out, a.last.id, ST_JOB_ID) != ST_JOB_ID)
            return 1;
        n++;
    }
    st_store_close(s);
    return 0;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, ST_JOB_ID);
}

static void test_many_workers(void)
{
    struct st_store *s = fresh_store();
    struct seen a = {0};
    char image[32];
    int p[2], bad = 0;
    for (int i = 0; i < JOBS; i++) {
        snprintf(image, sizeof image, "image-%d", i);
        submit(s, image, "", (enum st_priority)(i % 4), &a);
    }
    st_store_close(s);
    fflush(stdout);
    if (pipe(p))
        return;
    pid_t pids[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            close(p[0]);
            _exit(worker(p[1]));
        }
    }
    close(p[1]);
    static char ids[JOBS * 2][ST_JOB_ID];
    size_t n = 0, got = 0;
    ssize_t k;
    while (got < sizeof ids && (k = read(p[0], (char *)ids + got, sizeof ids - got)) > 0)
        got += (size_t)k;
    close(p[0]);
    for (int i = 0; i < WORKERS; i++) {
        int st;
        waitpid(pids[i], &st, 0);
        bad += st != 0;
    }
    n = got / ST_JOB_ID;
    qsort(ids, n, ST_JOB_ID, compare);
    int twice = 0;
    for (size_t i = 1; i < n; i++)
        twice += !memcmp(ids[i - 1], ids[i], ST_JOB_ID);
    TAP_OK(n == JOBS && twice == 0 && bad == 0, "%d processes: every job once (%zu, %d twice, %d failed)", WORKERS, n,
           twice, bad);
}

static void test_wait(void)
{
    struct st_store *s = fresh_store();
    struct st_err err = {0};
    while (st_store_wait(s, 0, &err) == 1) // what was before
        ;
    int64_t t0 = st_clock_mono_ms();
    TAP_OK(st_store_wait(s, 100, &err) == 0 && st_clock_mono_ms() - t0 >= 90, "nothing happens %s", err.text);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct st_store *other = open_store();
        struct seen a = {0};
        usleep(200000);
        _exit(submit(other, "x", "", ST_PRIORITY_NORMAL, &a) != 1);
    }
    int st = 1, rc;
    t0 = st_clock_mono_ms();
    // Opening may count as a change; a submission must.
    do
        rc = st_store_wait(s, 5000, &err);
    while (rc == 1 && st_clock_mono_ms() - t0 < 200);
    waitpid(pid, &st, 0);
    struct seen a = {0};
    TAP_OK(rc == 1 && st == 0 && claim(s, "default", "w", 1000, &a) == 1,
           "another process submits: woken after %lld ms", (long long)(st_clock_mono_ms() - t0));
    st_store_close(s);
}

// A store as the first steps made it, with a row; and one of the future.
static void test_versions(void)
{
    struct st_store *s = fresh_store(), *other = NULL;
    struct st_err err = {0};
    for (int v = 1; v < st_db_version; v++) {
        int rc = s->ops->script(s, "DROP SCHEMA stella CASCADE", &err);
        for (int i = 0; rc == 0 && i < v; i++)
            rc = s->ops->script(s, st_db_steps[i].postgres, &err);
        TAP_OK(rc == 0 && s->ops->set_version(s, v, &err) == 0 &&
                   s->ops->script(s,
                                  "INSERT INTO jobs(id,image,status,attempt,created_ms,started_ms,updated_ms) VALUES"
                                  "('aaaaaa00000000000000000000000001','old','completed',1,5,5,5)",
                                  &err) == 0,
               "version %d %s", v, err.text);
        st_store_close(s);
        s = open_store();
        TAP_OK(!strcmp(get(s, "aaaaaa00000000000000000000000001").image, "old"), "is read by this version");
    }
    TAP_OK(s->ops->set_version(s, 99, &err) == 0 && st_store_open_postgres(url, &other, &err) == -1 &&
               err.code == ST_E_CONFLICT,
           "a newer one is refused: %s", err.text);
    TAP_OK(st_store_open_postgres("mysql://x", &other, &err) == -1 && err.code == ST_E_USAGE, "another database: %s",
           err.text);
    TAP_OK(st_store_open_postgres("postgresql://u:secret@/none?host=/nonexistent", &other, &err) == -1 &&
               err.code == ST_E_RETRY && !strstr(err.text, "secret"),
           "a server that is not there: %s", err.text);
    s->ops->set_version(s, st_db_version, &err);
    st_store_close(s);
}

// The server ends every connection: what was idle is made anew.
static void test_connection_lost(void)
{
    struct st_store *s = fresh_store(), *killer = open_store();
    struct st_err err = {0};
    struct seen a = {0};
    TAP_OK(submit(s, "one", "", ST_PRIORITY_NORMAL, &a) == 1, "before");
    killer->ops->script(killer,
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
                        "application_name = 'stella'",
                        &err);
    struct seen got = get(s, a.last.id);
    TAP_OK(got.n == 1, "a question is asked again");
    killer->ops->script(killer,
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
                        "application_name = 'stella'",
                        &err);
    TAP_OK(claim(s, "default", "w", 60000, &a) == 1, "a claim too");
    st_store_close(s);
    st_store_close(killer);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "postgresql")) {
        url = getenv("STELLA_TEST_POSTGRES");
        if (!url) {
            printf("1..0 # SKIP STELLA_TEST_POSTGRES is not set\n");
            return 77;
        }
    }
    snprintf(home, sizeof home, "%s/stella-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(home))
        return 1;
    test_local_life();
    test_ids_and_lists();
    test_submit_is_idempotent();
    test_order();
    test_fence();
    test_reclaim();
    test_only_host();
    test_clock_back();
    test_release_and_dead_letters();
    test_cancel();
    test_forget();
    test_settings();
    test_logs();
    test_texts();
    test_many_workers();
    test_wait();
    if (url) {
        test_versions();
        test_connection_lost();
    }
    drop_files();
    rmdir(home);
    return tap_done();
}
