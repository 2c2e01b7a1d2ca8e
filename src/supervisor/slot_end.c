// What a worker says, and how its job ends: seen -> judged -> told to the store -> the cgroup is emptied and removed.
#include "supervisor/supervisor_int.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "base/quantity.h"
#include "supervisor/admission.h"
#include "supervisor/slot_int.h"
#include "supervisor/spawn.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEAR_MS 5 // between two tries to remove a cgroup in which something dies
#define START_AGAIN_MS 1000
#define WATCHDOG_WORD_MS 2000 // it has warned, then the process was killed: was that the watchdog?
#define LOG_LINES_S 50        // of one worker
#define MESSAGES 64           // at once, so that one chatty worker does not hold up the others

// ---- what it says -------------------------------------------------------------------------------

static void copy(char *to, size_t cap, struct st_sv text)
{
    snprintf(to, cap, ST_SV_FMT, ST_SV_ARG(st_sv_sub(text, 0, cap - 1)));
}

static void on_progress(struct st_slot *t, const struct st_worker_progress *p)
{
    copy(t->phase, sizeof t->phase, p->phase);
    copy(t->layer, sizeof t->layer, p->digest);
    copy(t->file, sizeof t->file, p->file);
    if (p->layer != t->layer_at || p->bytes != t->bytes) {
        t->progress_ms = st_clock_mono_ms();
        t->progress_wall_ms = st_clock_wall_ms();
    }
    t->layer_at = p->layer;
    t->layers = p->layers;
    t->bytes = p->bytes;
}

static void on_log(struct st_slot *t, const struct st_worker_log *m)
{
    int64_t second = st_clock_mono_ms() / 1000;
    if (second != t->log_second) {
        if (t->log_dropped)
            st_sup_log(t->sup, ST_LOG_WARN, "worker", t->job.id, "%u lines of worker %s were too many", t->log_dropped,
                       t->id);
        t->log_second = second;
        t->log_lines = t->log_dropped = 0;
    }
    if (++t->log_lines > LOG_LINES_S) {
        t->log_dropped++;
        return;
    }
    struct st_log_line line = {.level = m->level,
                               .component = m->component.len ? m->component : ST_SV("worker"),
                               .job = st_sv_of(t->job.id),
                               .message = m->message};
    if (m->message.len)
        st_calls_add(t->sup, "logs.add", &line, ST_CALL_LATER, 0, NULL);
}

static void on_subject(struct st_slot *t, const struct st_worker_subject *m)
{
    struct st_req_lease q = {.fence = t->job.fence, .size = m->size, .digest = m->digest};
    memcpy(q.id, t->job.id, sizeof q.id);
    st_calls_add(t->sup, "lease.subject", &q, 0, 0, NULL);
}

// Its texts outlive the message.
void st_slot_said_end(struct st_slot *t, const struct st_worker_end *m)
{
    struct st_sv from[] = {m->reason, m->message, m->resumed_from, m->phases, m->result};
    size_t n = 0, total = 1;
    for (size_t i = 0; i < ST_LEN(from); i++)
        total += from[i].len;
    char *p = malloc(total);
    if (!p)
        return;
    free(t->end_text);
    t->end_text = p;
    t->end = *m;
    struct st_sv *to[] = {&t->end.reason, &t->end.message, &t->end.resumed_from, &t->end.phases, &t->end.result};
    for (size_t i = 0; i < ST_LEN(from); i++) {
        if (from[i].len)
            memcpy(p + n, from[i].ptr, from[i].len);
        *to[i] = st_sv_mem(p + n, from[i].len);
        n += from[i].len;
    }
    t->seen.said_end = true;
    t->seen.end_reason = t->end.reason;
    t->seen.end_code = m->exit_code;
}

static void take(struct st_slot *t, enum st_worker_kind kind, const void *m)
{
    if (!t->spoke && t->state == ST_SLOT_STARTING) {
        t->state = ST_SLOT_BUSY;
        st_slot_report(t, NULL);
    }
    t->spoke = true;
    switch (kind) {
    case ST_WORKER_SUBJECT:
        on_subject(t, m);
        break;
    case ST_WORKER_PROGRESS:
        on_progress(t, m);
        break;
    case ST_WORKER_LOG:
        on_log(t, m);
        break;
    case ST_WORKER_END:
        st_slot_said_end(t, m);
        break;
    default: // what only a supervisor says
        break;
    }
}

// False: nothing more to read. A packet that breaks the rules ends the talk, not the worker.
static bool read_some(struct st_slot *t, unsigned most)
{
    struct st_mem mem;
    struct st_arena a;
    bool more = true;
    st_mem_init(&mem, 2 << 20, -1);
    st_arena_init(&a, &mem);
    while (most-- && more) {
        enum st_worker_kind kind;
        struct st_worker_fds fds = {.n = 0};
        bool closed = false;
        void *m;
        struct st_err err = {0};
        int rc = st_worker_recv(t->sock, &kind, &m, &fds, &closed, &a, &err);
        for (size_t i = 0; i < fds.n; i++)
            close(fds.fd[i]);
        if (rc > 0)
            take(t, kind, m);
        if (rc < 0)
            st_sup_log(t->sup, ST_LOG_WARN, "worker", t->job.id, "worker %s: %s", t->id, err.text);
        if (rc < 0 || closed)
            st_loop_drop(&t->sup->loop, &t->sock_io);
        more = rc > 0;
        st_arena_reset(&a);
    }
    st_arena_release(&a);
    st_mem_release(&mem);
    return more;
}

void st_slot_on_message(void *slot, uint32_t events)
{
    read_some(slot, MESSAGES);
}

// ---- its end ------------------------------------------------------------------------------------

void st_slot_on_end(void *slot, uint32_t events)
{
    struct st_slot *t = slot;
    struct st_loop *l = &t->sup->loop;
    if (!st_spawn_reap(t->pidfd, &t->seen.exit_code, &t->seen.signal))
        return;
    if (t->sock_io.fd >= 0)
        while (read_some(t, MESSAGES)) // its last word
            ;
    st_loop_drop(l, &t->pidfd_io);
    st_loop_drop(l, &t->sock_io);
    close(t->pidfd);
    close(t->sock);
    t->pidfd = t->sock = -1;
    st_slot_counters(t);
    t->ended = true;
    st_loop_disarm(l, &t->kill);
    st_loop_disarm(l, &t->deadline);
    st_loop_disarm(l, &t->sample);
    if (t->cgroup >= 0)
        st_cgroup_kill(&t->sup->cg, t->cgroup); // what it left behind
    else
        kill(-t->pid, SIGKILL);
    t->pid = 0;
    t->seen.oom_kill = t->ev_oom_kill > 0;
    if (t->seen.exit_code == 127 && !t->spoke) {
        t->seen.not_started = true;
        snprintf(t->note, sizeof t->note, "its program could not be executed");
    }
    if (t->stall && t->seen.signal == SIGKILL && !t->seen.watchdog && !t->seen.oom_kill && !t->seen.said_end) {
        t->state = ST_SLOT_CLEARING;
        st_loop_arm(l, &t->clear, WATCHDOG_WORD_MS);
        return;
    }
    st_slot_judge(t);
}

// Once more, where there is more memory; never again at the same.
static bool escalates(const struct st_slot *t)
{
    const char *name = t->job.large_pool;
    if (!name || !name[0] || !strcmp(name, "none") || !strcmp(name, t->pool))
        return false;
    const struct st_sup_pool *p = st_wanted_pool(t->sup, st_sv_of(name));
    return p && st_admission_effective(p->memory, t->sup->host) > t->memory;
}

static void describe(const struct st_slot *t, const struct st_verdict *v, char *to, size_t cap)
{
    char limit[ST_QUANTITY_TEXT], peak[ST_QUANTITY_TEXT], where[400] = "";
    st_quantity_human(t->memory, limit);
    st_quantity_human(t->peak, peak);
    if (t->layers)
        snprintf(where, sizeof where, " in layer %llu of %llu%s%.120s", (unsigned long long)t->layer_at,
                 (unsigned long long)t->layers, t->file[0] ? ", file " : "", t->file);
    else if (t->phase[0])
        snprintf(where, sizeof where, " in phase %s", t->phase);
    if (t->seen.said_end && v->memory)
        snprintf(to, cap, "heap exhausted: the memory budget of the job is spent%s", where);
    else if (!strcmp(v->reason, "oom") && t->seen.over_limit)
        snprintf(to, cap, "killed at its limit of %s (peak %s, sampled)%s", limit, peak, where);
    else if (!strcmp(v->reason, "oom"))
        snprintf(to, cap, "killed by the kernel at its limit of %s (peak %s)%s", limit, peak, where);
    else if (!strcmp(v->reason, "memory_stall"))
        snprintf(to, cap, "hung at its limit of %s without progress (peak %s)%s; ended by the watchdog", limit, peak,
                 where);
    else if (!strcmp(v->reason, "timeout"))
        snprintf(to, cap, "over its time limit%s", where);
    else if (!strcmp(v->reason, "killed"))
        snprintf(to, cap, "killed from outside (signal 9, no sign of memory pressure)%s", where);
    else if (t->seen.signal)
        snprintf(to, cap, "crashed (signal %d)%s", t->seen.signal, where);
    else
        snprintf(to, cap, "ended with exit code %d and without a word%s", t->seen.exit_code, where);
}

static void tell_finish(struct st_slot *t, const struct st_verdict *v, struct st_sv message, struct st_sv evidence)
{
    const struct st_reason *r = v->reason[0] ? st_reason_find(st_sv_of(v->reason)) : NULL;
    struct st_end e = {.fence = t->job.fence,
                       .state = v->state,
                       .reason = st_sv_of(v->reason),
                       .message = message,
                       .evidence = evidence,
                       .resumed_from = t->end.resumed_from,
                       .result = t->end.result,
                       .peak_bytes = ST_MAX(t->peak, t->end.peak_bytes),
                       .exit_code = v->exit_code,
                       .signal = t->seen.signal,
                       .phases = t->end.phases,
                       .unknowns = t->end.unknowns,
                       .packages = t->end.packages,
                       .layers_cached = t->end.layers_cached,
                       .layers_total = t->end.layers_total,
                       .bytes_read = t->end.bytes_read};
    memcpy(e.id, t->job.id, sizeof e.id);
    e.again = v->state == ST_JOB_FAILED && r && r->again == ST_AGAIN_BACKOFF;
    if (v->state == ST_JOB_FAILED && v->memory && escalates(t)) {
        e.again = true;
        e.pool = st_sv_of(t->job.large_pool);
        st_sup_log(t->sup, ST_LOG_INFO, "worker", t->job.id, "tried again once in pool %s, which has more memory",
                   t->job.large_pool);
    }
    st_calls_add(t->sup, "job.finish", &e, ST_CALL_KEEP, 0, NULL);
}

static void tell_release(struct st_slot *t)
{
    struct st_req_lease q = {.fence = t->job.fence,
                             .message = t->seen.not_started ? ST_SV("the worker could not be started")
                                                            : ST_SV("the worker was stopped; the job goes on later")};
    memcpy(q.id, t->job.id, sizeof q.id);
    st_calls_add(t->sup, "lease.release", &q, ST_CALL_KEEP, 0, NULL);
}

void st_slot_count_restart(struct st_slot *t, const char *reason)
{
    struct st_req_restarted q = {st_sv_of(t->pool), st_sv_of(reason)};
    for (size_t i = 0; i < ST_SLOT_REASONS; i++)
        t->restarts[i] += !strcmp(reason, st_slot_restart_words[i]);
    st_calls_add(t->sup, "workers.restarted", &q, ST_CALL_KEEP, 0, NULL);
}

static void keep_loss(struct st_slot *t, const struct st_verdict *v, struct st_sv evidence)
{
    snprintf(t->reason, sizeof t->reason, "%s", v->restart);
    memcpy(t->last_job, t->job.id, sizeof t->last_job);
    t->ended_wall_ms = st_clock_wall_ms();
    t->has_exit = true;
    t->exit_code = v->exit_code;
    t->exit_signal = t->seen.signal;
    free(t->evidence);
    t->evidence = strndup(evidence.len ? evidence.ptr : "", evidence.len);
    st_slot_count_restart(t, v->restart);
}

void st_slot_judge(struct st_slot *t)
{
    struct st_verdict v = st_verdict_of(&t->seen);
    struct st_buf evidence;
    char text[600];
    st_loop_disarm(&t->sup->loop, &t->renew);
    st_buf_init(&evidence, &t->sup->mem);
    st_slot_evidence(t, &v, &evidence);
    describe(t, &v, text, sizeof text);
    struct st_sv said = t->seen.said_end && !v.memory ? t->end.message : ST_SV_NULL;
    // Component "sbom", as of a scan without a service: the runbook looks for it there.
    if (v.memory)
        st_sup_log(t->sup, ST_LOG_ERROR, "sbom", t->job.id, "out of memory: worker %s %s", t->id, text);
    else if (v.what == ST_DO_FINISH && v.state == ST_JOB_FAILED && v.restart)
        st_sup_log(t->sup, ST_LOG_ERROR, "worker", t->job.id, "worker %s %s", t->id, text);
    if (v.restart) // first, so that who sees the job's end sees the metric and `workers inspect` too
        keep_loss(t, &v, st_buf_sv(&evidence));
    if (v.what == ST_DO_FINISH)
        tell_finish(t, &v, v.state == ST_JOB_FAILED && !said.len ? st_sv_of(text) : said, st_buf_sv(&evidence));
    else if (v.what == ST_DO_RELEASE)
        tell_release(t);
    st_buf_release(&evidence);
    t->job.id[0] = 0;
    t->ended = true;
    t->state = ST_SLOT_CLEARING;
    if (!t->seen.not_started) {
        t->start_failures = 0;
        t->note[0] = 0;
        st_slot_on_clear(t);
        return;
    }
    // A host that cannot start workers must not eat the queue.
    st_slot_report(t, NULL);
    st_loop_arm(&t->sup->loop, &t->clear,
                ST_MIN((int64_t)START_AGAIN_MS << ST_MIN(t->start_failures, 5u), (int64_t)30000));
    t->start_failures++;
}

void st_slot_on_clear(void *slot)
{
    struct st_slot *t = slot;
    struct st_err err = {0};
    if (t->job.id[0]) { // the watchdog did not say more
        st_slot_judge(t);
        return;
    }
    if (t->cgroup >= 0) {
        int rc = st_cgroup_remove(&t->sup->cg, t->name, &err);
        if (rc == 0) {
            st_cgroup_kill(&t->sup->cg, t->cgroup);
            st_loop_arm(&t->sup->loop, &t->clear, CLEAR_MS);
            return;
        }
        if (rc < 0)
            st_sup_say("%s", err.text);
        close(t->cgroup);
        t->cgroup = -1;
    }
    st_slot_idle(t);
}
