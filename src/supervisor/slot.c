// The life of a slot: a job begins, is kept alive, is stopped. How it ends is in slot_end.c.
#include "supervisor/supervisor_int.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "base/quantity.h"
#include "scan/helper.h"
#include "service/message.h"
#include "service/scan_options.h"
#include "supervisor/admission.h"
#include "supervisor/slot_int.h"
#include "supervisor/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SAMPLE_MS 1000
#define SAMPLE_RLIMIT_MS 500
#define DEADLINE_GRACE_MS 5000 // the worker ends itself first, and says so
#ifdef ST_SANITIZED            // its shadow memory counts as data
#define DATA_MAX(t) 0
#else
#define DATA_MAX(t) (t)->memory
#endif

static void on_renew(void *slot);
static void on_deadline(void *slot);
static void on_kill(void *slot);
static void on_sample(void *slot);

int st_slot_new(struct st_sup *s, const struct st_sup_pool *p, unsigned number, struct st_slot **ret,
                struct st_err *err)
{
    struct st_slot *t = calloc(1, sizeof *t);
    if (!t)
        return st_err_nomem(err);
    *t = (struct st_slot){.sup = s,
                          .tag = ++s->next_tag,
                          .number = number,
                          .cgroup = -1,
                          .pidfd = -1,
                          .sock = -1,
                          .pidfd_io = {.fd = -1, .ready = st_slot_on_end, .ctx = t},
                          .sock_io = {.fd = -1, .ready = st_slot_on_message, .ctx = t}};
    snprintf(t->pool, sizeof t->pool, "%s", p->name);
    snprintf(t->name, sizeof t->name, "%s-%u", p->name, number);
    snprintf(t->id, sizeof t->id, "%s/%s", s->hostname, t->name);
    struct st_loop *l = &s->loop;
    if (st_loop_timer(l, &t->renew, on_renew, t, err) || st_loop_timer(l, &t->deadline, on_deadline, t, err) ||
        st_loop_timer(l, &t->kill, on_kill, t, err) || st_loop_timer(l, &t->sample, on_sample, t, err) ||
        st_loop_timer(l, &t->clear, st_slot_on_clear, t, err)) {
        free(t);
        return -1;
    }
    st_slot_renew(t, p);
    *ret = t;
    return 0;
}

void st_slot_renew(struct st_slot *t, const struct st_sup_pool *p)
{
    char *config = strdup(p->config);
    if (!config)
        return;
    free(t->config);
    t->config = config;
    t->generation = p->generation;
    t->asked = p->memory;
    t->memory = st_admission_effective(p->memory, t->sup->host);
    t->note[0] = 0;
    st_slot_report(t, NULL);
}

bool st_slot_free_for_job(const struct st_slot *t)
{
    return t->state == ST_SLOT_IDLE && !t->leaving && !t->reserved;
}

static void close_all(struct st_slot *t)
{
    struct st_loop *l = &t->sup->loop;
    st_loop_drop(l, &t->pidfd_io);
    st_loop_drop(l, &t->sock_io);
    int *fds[] = {&t->pidfd, &t->sock, &t->cgroup};
    for (size_t i = 0; i < ST_LEN(fds); i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

void st_slot_free(struct st_slot *t)
{
    struct st_timer *timers[] = {&t->renew, &t->deadline, &t->kill, &t->sample, &t->clear};
    if (t->pid || t->cgroup >= 0)
        st_slot_kill(t);
    for (size_t i = 0; i < ST_LEN(timers); i++)
        st_loop_disarm(&t->sup->loop, timers[i]);
    close_all(t);
    free(t->config);
    free(t->job.large_pool);
    free(t->end_text);
    free(t->stall);
    free(t->evidence);
    free(t);
}

// ---- beginning ----------------------------------------------------------------------------------

// The text of a key in a flat JSON object of texts; empty when it is not there.
static struct st_sv text_of(struct st_sv json, struct st_sv wanted, struct st_arena *a)
{
    struct st_json j;
    struct st_json_tok key, value;
    struct st_sv text = ST_SV_NULL;
    st_json_init(&j, json);
    if (st_json_next(&j, &value, NULL) || value.type != ST_JSON_OBJECT)
        return text;
    while (st_json_member(&j, &key, &value, NULL) > 0)
        if (value.type != ST_JSON_STRING) {
            if (st_json_skip(&j, &value, NULL))
                break;
        } else if (st_json_is(&key, wanted)) {
            return st_json_text(&value, a, &text, NULL) ? ST_SV_NULL : text;
        }
    return text;
}

static uint64_t deadline_of(const struct st_job *j, struct st_arena *a)
{
    struct st_scan_options o;
    uint64_t s = 0;
    struct st_err err = {0};
    if (st_scan_options_read(j->options, &o, a, &err) == 0 && o.timeout_s)
        return o.timeout_s * 1000;
    return st_duration_read(text_of(j->config, ST_SV("timeouts.scan"), a), &s) ? s * 1000 : 0;
}

static int make_cgroup(struct st_slot *t, struct st_err *err)
{
    if (t->sup->cg.workers < 0)
        return 0;
    // One that could not be removed after the job before would mix its events into this one's.
    if (st_cgroup_remove(&t->sup->cg, t->name, err) == 0)
        return st_err_set(err, ST_E_RETRY, "the cgroup of the job before is not empty yet");
    return st_cgroup_make(&t->sup->cg, t->name, t->memory, &t->cgroup, err);
}

static int start_process(struct st_slot *t, int theirs, struct st_err *err)
{
    const struct st_serve_options *o = t->sup->o;
    const char *argv[] = {o->worker ? "worker" : "stella", o->worker ? NULL : "worker", NULL};
    struct st_spawn p = {.path = o->worker ? o->worker : o->self,
                         .argv = (char *const *)(uintptr_t)argv,
                         .fds = {theirs},
                         .n_fds = 1,
                         .out = -1,
                         .cgroup = t->cgroup,
                         .death_signal = SIGKILL,
                         .data_max = t->cgroup < 0 ? DATA_MAX(t) : 0,
                         .group = true};
    if (st_spawn(&p, &t->pid, &t->pidfd, err))
        return -1;
    if (st_loop_add(&t->sup->loop, &t->pidfd_io, t->pidfd, EPOLLIN, err) ||
        st_loop_add(&t->sup->loop, &t->sock_io, t->sock, EPOLLIN, err))
        return -1;
    return 0;
}

static int send_job(struct st_slot *t, const struct st_job *j, int file, uint64_t deadline_ms, struct st_err *err)
{
    struct st_worker_job m = {.fence = j->fence,
                              .attempt = j->attempt,
                              .image = j->image,
                              .options = j->options,
                              .config = j->config,
                              .home = st_sv_of(t->sup->o->home),
                              .memory_limit = t->memory,
                              .deadline_ms = deadline_ms,
                              .size = j->size,
                              .has_size = j->has_size,
                              .has_file = file >= 0,
                              .resume = j->attempt > 1};
    memcpy(m.id, j->id, sizeof m.id);
    return st_worker_send(t->sock, ST_WORKER_JOB, &m, &file, file >= 0, 0, err);
}

static int start(struct st_slot *t, const struct st_job *j, int file, uint64_t deadline_ms, struct st_err *err)
{
    int pair[2];
    if (make_cgroup(t, err) || st_helper_socket(pair, err))
        return -1;
    t->sock = pair[0];
    fcntl(t->sock, F_SETFL, fcntl(t->sock, F_GETFL) | O_NONBLOCK);
    int rc = send_job(t, j, file, deadline_ms, err) ? -1 : start_process(t, pair[1], err);
    close(pair[1]);
    return rc;
}

static void forget_job(struct st_slot *t)
{
    free(t->job.large_pool);
    free(t->end_text);
    free(t->stall);
    t->job = (struct st_slot_job){.fence = 0};
    t->end_text = t->stall = NULL;
    t->seen = (struct st_seen){.said_end = false};
    t->end = (struct st_worker_end){.exit_code = 0};
    t->spoke = t->ended = false;
    t->phase[0] = t->layer[0] = t->file[0] = 0;
    t->layer_at = t->layers = t->bytes = 0;
    t->n_samples = 0;
    t->peak = t->ev_max = t->ev_oom_kill = 0;
    t->progress_ms = t->progress_wall_ms = 0;
}

void st_slot_idle(struct st_slot *t)
{
    forget_job(t);
    t->state = ST_SLOT_IDLE;
    st_slot_report(t, NULL);
    st_wanted_reconcile(t->sup);
}

void st_slot_begin(struct st_slot *t, const struct st_job *j, int file)
{
    struct st_err err = {0};
    struct st_mem mem;
    struct st_arena a;
    st_mem_init(&mem, 4 << 20, -1);
    st_arena_init(&a, &mem);
    forget_job(t);
    memcpy(t->job.id, j->id, sizeof t->job.id);
    t->job.fence = j->fence;
    t->job.attempt = j->attempt;
    t->job.began_ms = t->progress_ms = st_clock_mono_ms();
    t->progress_wall_ms = st_clock_wall_ms();
    struct st_sv large = text_of(j->config, ST_SV("routing.large_image_pool"), &a);
    t->job.large_pool = strndup(large.len ? large.ptr : "", large.len);
    uint64_t deadline_ms = deadline_of(j, &a);
    t->state = ST_SLOT_STARTING;
    int rc = start(t, j, file, deadline_ms, &err);
    if (file >= 0)
        close(file);
    st_arena_release(&a);
    st_mem_release(&mem);
    st_loop_arm(&t->sup->loop, &t->renew, ST_RENEW_MS);
    if (rc) {
        st_sup_log(t->sup, ST_LOG_ERROR, "worker", t->job.id, "worker %s could not be started: %s", t->id, err.text);
        t->seen.not_started = true;
        snprintf(t->note, sizeof t->note, "%s", err.text);
        if (t->pid)
            st_slot_kill(t);
        else
            st_slot_judge(t);
        return;
    }
    if (deadline_ms)
        st_loop_arm(&t->sup->loop, &t->deadline, (int64_t)deadline_ms + DEADLINE_GRACE_MS);
    st_loop_arm(&t->sup->loop, &t->sample, t->cgroup < 0 ? SAMPLE_RLIMIT_MS : SAMPLE_MS);
    st_slot_report(t, NULL);
}

// ---- keeping alive ------------------------------------------------------------------------------

struct st_slot *st_slot_by_tag(struct st_sup *s, uint64_t tag)
{
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i]->tag == tag)
            return s->slots[i];
    return NULL;
}

static void renewed(struct st_sup *s, uint64_t tag, const void *row, const struct st_err *e)
{
    struct st_slot *t = st_slot_by_tag(s, tag);
    const struct st_lease_answer *a = row;
    if (t && t->job.id[0] && a)
        st_slot_renewed(t, a->lease);
}

static void on_renew(void *slot)
{
    struct st_slot *t = slot;
    struct st_req_lease q = {.fence = t->job.fence, .lease_ms = ST_LEASE_MS};
    memcpy(q.id, t->job.id, sizeof q.id);
    st_loop_arm(&t->sup->loop, &t->renew, ST_RENEW_MS);
    if (t->job.id[0] && !t->ended)
        st_calls_add(t->sup, "lease.renew", &q, 0, t->tag, renewed);
}

void st_slot_renewed(struct st_slot *t, enum st_lease lease)
{
    if (t->ended)
        return;
    if (lease == ST_LEASE_LOST && !t->seen.lost) {
        st_sup_log(t->sup, ST_LOG_WARN, "worker", t->job.id, "the lease of worker %s is lost: what it does is not kept",
                   t->id);
        st_slot_stop(t, ST_STOP_LOST, true);
    } else if (lease == ST_LEASE_CANCEL && !t->seen.cancelled) {
        st_slot_stop(t, ST_STOP_CANCEL, false);
    }
}

static void on_sample(void *slot)
{
    struct st_slot *t = slot;
    if (t->ended || !t->pid)
        return;
    if (t->state == ST_SLOT_STARTING) { // it has nothing to say yet
        t->state = ST_SLOT_BUSY;
        st_slot_report(t, NULL);
    }
    st_slot_sample(t);
    if (t->cgroup < 0 && st_slot_over_limit(t) && !t->seen.over_limit) {
        t->seen.over_limit = true;
        st_slot_kill(t);
    }
    st_loop_arm(&t->sup->loop, &t->sample, t->cgroup < 0 ? SAMPLE_RLIMIT_MS : SAMPLE_MS);
}

// ---- stopping -----------------------------------------------------------------------------------

void st_slot_kill(struct st_slot *t)
{
    if (t->cgroup >= 0)
        st_cgroup_kill(&t->sup->cg, t->cgroup);
    if (t->pid && !t->ended) {
        kill(-t->pid, SIGKILL); // its group, for what is outside of a cgroup
        st_spawn_signal(t->pidfd, SIGKILL);
    }
}

static void on_kill(void *slot)
{
    st_slot_kill(slot);
}

static void on_deadline(void *slot)
{
    st_slot_stop(slot, ST_STOP_TIMEOUT, false);
}

void st_slot_stop(struct st_slot *t, enum st_stop_why why, bool at_once)
{
    bool *marks[] = {[ST_STOP_CANCEL] = &t->seen.cancelled,
                     [ST_STOP_RELEASE] = &t->seen.released,
                     [ST_STOP_TIMEOUT] = &t->seen.timed_out,
                     [ST_STOP_LOST] = &t->seen.lost};
    if (!t->pid || t->ended)
        return;
    *marks[why] = true;
    if (t->state != ST_SLOT_STALLED || why != ST_STOP_TIMEOUT)
        t->state = ST_SLOT_STOPPING;
    if (at_once) {
        st_slot_kill(t);
    } else {
        struct st_worker_stop m = {.release = why == ST_STOP_RELEASE};
        st_worker_send(t->sock, ST_WORKER_STOP, &m, NULL, 0, 0, NULL);
        st_spawn_signal(t->pidfd, SIGTERM);
        int64_t grace = why == ST_STOP_RELEASE ? ST_SLOT_GRACE_RELEASE_MS : ST_SLOT_GRACE_CANCEL_MS;
        st_loop_arm(&t->sup->loop, &t->kill, grace);
    }
    st_slot_report(t, NULL);
}

void st_slot_watchdog(struct st_slot *t, struct st_sv record, bool acted, bool asks)
{
    if (!t->job.id[0] || (t->ended && !st_loop_armed(&t->clear)))
        return;
    char *copy = strndup(record.ptr, record.len);
    if (copy) {
        free(t->stall);
        t->stall = copy;
    }
    t->seen.watchdog = t->seen.watchdog || acted || asks;
    if (t->ended) {
        st_slot_judge(t);
        return;
    }
    if (t->state == ST_SLOT_BUSY || t->state == ST_SLOT_STARTING)
        t->state = ST_SLOT_STALLED;
    st_slot_report(t, NULL);
    if (acted || asks) // it has killed already, or cannot
        st_slot_kill(t);
}

int st_slot_adopt(struct st_slot *t, struct st_err *err)
{
    if (t->sup->cg.workers >= 0)
        t->cgroup = st_cgroup_open(&t->sup->cg, t->name);
    if (st_loop_add(&t->sup->loop, &t->pidfd_io, t->pidfd, EPOLLIN, err) ||
        st_loop_add(&t->sup->loop, &t->sock_io, t->sock, EPOLLIN, err))
        return -1;
    st_loop_arm(&t->sup->loop, &t->renew, 0);
    st_loop_arm(&t->sup->loop, &t->sample, 0);
    return 0;
}
