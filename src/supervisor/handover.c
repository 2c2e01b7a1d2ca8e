#include "supervisor/handover.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "supervisor/slot_int.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define VARIABLE "STELLA_HANDOVER"
#define VERSION 1
#define FILE_MAX (32 << 20)

struct handed {
    uint64_t version;
    uint64_t next_tag;
    int api_pid, api_pidfd, watch_pid, watch_pidfd, watch_pipe; // pid 0: was not running
    int lock;                                                   // 0: none
};
static const struct st_field handed_fields[] = {
    {"version", ST_FIELD_U64_AT(struct handed, version), .required = true},
    {"nextTag", ST_FIELD_U64_AT(struct handed, next_tag)},
    {"apiPid", ST_FIELD_INT_AT(struct handed, api_pid)},
    {"apiPidfd", ST_FIELD_INT_AT(struct handed, api_pidfd)},
    {"watchPid", ST_FIELD_INT_AT(struct handed, watch_pid)},
    {"watchPidfd", ST_FIELD_INT_AT(struct handed, watch_pidfd)},
    {"watchPipe", ST_FIELD_INT_AT(struct handed, watch_pipe)},
    {"lock", ST_FIELD_INT_AT(struct handed, lock)},
};
static const struct st_record handed_record = ST_RECORD("Handover", struct handed, handed_fields);

struct handed_slot {
    struct st_sv pool, config, last_job, reason, evidence, large_pool, restarts; // restarts: numbers, "0,2,..."
    struct st_sv phase, layer, file, stall, end_reason, end_message, end_resumed, end_phases, end_result;
    char job[ST_JOB_ID + 1]; // empty: nothing runs in it
    uint64_t tag, number, generation, asked, memory, fence, attempt, peak, layer_at, layers, bytes, end_peak,
        end_unknowns, end_packages;
    int64_t began_ms, progress_ms, progress_wall_ms, ended_ms;
    int64_t deadline_in, kill_in; // ms from now; 0: none
    int pid, pidfd, sock, state, exit_code, exit_signal, end_code;
    bool has_exit, spoke, lost, cancelled, released, timed_out, over_limit, watchdog, said_end;
};
#define SLOT struct handed_slot
#define TEXT(name, field)                   \
    {                                       \
        name, ST_FIELD_TEXT_AT(SLOT, field) \
    }
#define JSON(name, field)                                           \
    {                                                               \
        name, ST_FIELD_JSON_AT(SLOT, field), .max = ST_JOB_TEXT_MAX \
    }
#define NUMBER(name, field)                \
    {                                      \
        name, ST_FIELD_U64_AT(SLOT, field) \
    }
#define TIME(name, field)                 \
    {                                     \
        name, ST_FIELD_MS_AT(SLOT, field) \
    }
#define INT(name, field)                   \
    {                                      \
        name, ST_FIELD_INT_AT(SLOT, field) \
    }
#define BOOL(name, field)                   \
    {                                       \
        name, ST_FIELD_BOOL_AT(SLOT, field) \
    }
static const struct st_field slot_fields[] = {
    {"pool", ST_FIELD_TEXT_AT(SLOT, pool), .required = true},
    JSON("config", config),
    TEXT("lastJob", last_job),
    TEXT("reason", reason),
    JSON("evidence", evidence),
    TEXT("largePool", large_pool),
    TEXT("restarts", restarts),
    TEXT("phase", phase),
    TEXT("layer", layer),
    TEXT("file", file),
    JSON("stall", stall),
    TEXT("endReason", end_reason),
    TEXT("endMessage", end_message),
    TEXT("endResumed", end_resumed),
    JSON("endPhases", end_phases),
    TEXT("endResult", end_result),
    NUMBER("endUnknowns", end_unknowns),
    NUMBER("endPackages", end_packages),
    {"job", ST_FIELD_ID_AT(SLOT, job)},
    NUMBER("tag", tag),
    NUMBER("number", number),
    NUMBER("generation", generation),
    NUMBER("asked", asked),
    NUMBER("memory", memory),
    NUMBER("fence", fence),
    NUMBER("attempt", attempt),
    NUMBER("peak", peak),
    NUMBER("layerAt", layer_at),
    NUMBER("layers", layers),
    NUMBER("bytes", bytes),
    NUMBER("endPeak", end_peak),
    TIME("began", began_ms),
    TIME("progress", progress_ms),
    TIME("progressWall", progress_wall_ms),
    TIME("ended", ended_ms),
    TIME("deadlineIn", deadline_in),
    TIME("killIn", kill_in),
    INT("pid", pid),
    INT("pidfd", pidfd),
    INT("sock", sock),
    INT("state", state),
    INT("exitCode", exit_code),
    INT("exitSignal", exit_signal),
    INT("endCode", end_code),
    BOOL("hasExit", has_exit),
    BOOL("spoke", spoke),
    BOOL("lost", lost),
    BOOL("cancelled", cancelled),
    BOOL("released", released),
    BOOL("timedOut", timed_out),
    BOOL("overLimit", over_limit),
    BOOL("watchdog", watchdog),
    BOOL("saidEnd", said_end),
};
static const struct st_record slot_record = ST_RECORD("HandedSlot", SLOT, slot_fields);

// ---- giving -------------------------------------------------------------------------------------

static int64_t left(const struct st_timer *t)
{
    return st_loop_armed(t) ? ST_MAX(t->due_ms - st_clock_mono_ms(), (int64_t)1) : 0;
}

static struct st_sv restarts_of(const struct st_slot *t, char *buf, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < ST_SLOT_REASONS && n < cap; i++)
        n += (size_t)snprintf(buf + n, cap - n, "%s%llu", i ? "," : "", (unsigned long long)t->restarts[i]);
    return st_sv_mem(buf, n);
}

static void put_slot(struct st_json_out *w, const struct st_slot *t)
{
    char restarts[200];
    struct handed_slot h = {.pool = st_sv_of(t->pool),
                            .config = st_sv_of(t->config),
                            .last_job = st_sv_of(t->last_job),
                            .reason = st_sv_of(t->reason),
                            .evidence = st_sv_of(t->evidence),
                            .large_pool = st_sv_of(t->job.large_pool),
                            .restarts = restarts_of(t, restarts, sizeof restarts),
                            .phase = st_sv_of(t->phase),
                            .layer = st_sv_of(t->layer),
                            .file = st_sv_of(t->file),
                            .stall = st_sv_of(t->stall),
                            .end_reason = t->end.reason,
                            .end_message = t->end.message,
                            .end_resumed = t->end.resumed_from,
                            .end_phases = t->end.phases,
                            .end_result = t->end.result,
                            .end_unknowns = t->end.unknowns,
                            .end_packages = t->end.packages,
                            .tag = t->tag,
                            .number = t->number,
                            .generation = t->generation,
                            .asked = t->asked,
                            .memory = t->memory,
                            .fence = t->job.fence,
                            .attempt = t->job.attempt,
                            .peak = t->peak,
                            .layer_at = t->layer_at,
                            .layers = t->layers,
                            .bytes = t->bytes,
                            .end_peak = t->end.peak_bytes,
                            .began_ms = t->job.began_ms,
                            .progress_ms = t->progress_ms,
                            .progress_wall_ms = t->progress_wall_ms,
                            .ended_ms = t->ended_wall_ms,
                            .deadline_in = left(&t->deadline),
                            .kill_in = left(&t->kill),
                            .pid = (int)t->pid,
                            .pidfd = t->pidfd,
                            .sock = t->sock,
                            .state = (int)t->state,
                            .exit_code = t->exit_code,
                            .exit_signal = t->exit_signal,
                            .end_code = t->end.exit_code,
                            .has_exit = t->has_exit,
                            .spoke = t->spoke,
                            .lost = t->seen.lost,
                            .cancelled = t->seen.cancelled,
                            .released = t->seen.released,
                            .timed_out = t->seen.timed_out,
                            .over_limit = t->seen.over_limit,
                            .watchdog = t->seen.watchdog,
                            .said_end = t->seen.said_end};
    memcpy(h.job, t->job.id, sizeof h.job);
    st_record_write(w, &slot_record, &h);
}

// A JSON object a line: the supervisor's, then each slot's.
static int write_state(const struct st_sup *s, int fd, struct st_err *err)
{
    struct st_out o;
    struct st_json_out w;
    const struct handed h = {.version = VERSION,
                             .next_tag = s->next_tag,
                             .api_pid = (int)s->api.pid,
                             .api_pidfd = s->api.pidfd,
                             .watch_pid = (int)s->watch.child.pid,
                             .watch_pidfd = s->watch.child.pidfd,
                             .watch_pipe = s->watch.pipe,
                             .lock = s->lock.fd > 0 ? s->lock.fd : 0};
    st_out_init_fd(&o, fd);
    st_json_out_init(&w, &o, 0);
    st_record_write(&w, &handed_record, &h);
    for (size_t i = 0; i < s->n_slots; i++) {
        st_out_putc(&o, '\n');
        st_json_out_init(&w, &o, 0);
        put_slot(&w, s->slots[i]);
    }
    return st_out_finish(&o, err);
}

static void keep_open(const struct st_sup *s, int memory, bool keep)
{
    const int own[] = {memory, s->lock.fd, s->api.pidfd, s->watch.child.pidfd, s->watch.pipe};
    for (size_t i = 0; i < ST_LEN(own); i++)
        if (own[i] >= 0)
            fcntl(own[i], F_SETFD, keep ? 0 : FD_CLOEXEC);
    for (size_t i = 0; i < s->n_slots; i++) {
        const int fds[] = {s->slots[i]->pidfd, s->slots[i]->sock};
        for (size_t k = 0; k < ST_LEN(fds); k++)
            if (fds[k] >= 0)
                fcntl(fds[k], F_SETFD, keep ? 0 : FD_CLOEXEC);
    }
}

void st_handover_exec(struct st_sup *s)
{
    struct st_err err = {0};
    char number[16];
    ST_AUTO_CLOSE int fd = memfd_create("stella-handover", MFD_CLOEXEC);
    if (fd < 0 || write_state(s, fd, &err)) {
        st_sup_say("upgrade: %s", fd < 0 ? strerror(errno) : err.text);
        return;
    }
    snprintf(number, sizeof number, "%d", fd);
    setenv(VARIABLE, number, 1);
    keep_open(s, fd, true);
    execv(s->o->self, s->o->argv);
    keep_open(s, fd, false);
    unsetenv(VARIABLE);
    st_sup_say("upgrade: %s: %s; the old program goes on", s->o->self, strerror(errno));
}

// ---- taking -------------------------------------------------------------------------------------

int st_handover_fd(void)
{
    const char *text = getenv(VARIABLE);
    uint64_t fd;
    bool good = text && st_sv_u64(st_sv_of(text), 10, &fd) && fd > 2 && fd < INT32_MAX &&
                fcntl((int)fd, F_SETFD, FD_CLOEXEC) == 0;
    unsetenv(VARIABLE);
    return good ? (int)fd : -1;
}

static char *text(struct st_sv s)
{
    return strndup(s.len ? s.ptr : "", s.len);
}

static void into(char *to, size_t cap, struct st_sv s)
{
    snprintf(to, cap, ST_SV_FMT, ST_SV_ARG(s));
}

static void take_restarts(struct st_slot *t, struct st_sv list)
{
    struct st_sv number;
    for (size_t i = 0; i < ST_SLOT_REASONS && st_sv_split(&list, ',', &number); i++)
        st_sv_u64(number, 10, &t->restarts[i]);
}

static void take_facts(struct st_slot *t, const struct handed_slot *h)
{
    t->tag = h->tag;
    t->generation = h->generation;
    t->asked = h->asked;
    t->memory = h->memory;
    into(t->last_job, sizeof t->last_job, h->last_job);
    into(t->reason, sizeof t->reason, h->reason);
    t->evidence = text(h->evidence);
    t->has_exit = h->has_exit;
    t->exit_code = h->exit_code;
    t->exit_signal = h->exit_signal;
    t->ended_wall_ms = h->ended_ms;
    take_restarts(t, h->restarts);
}

static int take_job(struct st_slot *t, const struct handed_slot *h, struct st_err *err)
{
    memcpy(t->job.id, h->job, sizeof t->job.id);
    t->job.fence = h->fence;
    t->job.attempt = (uint32_t)h->attempt;
    t->job.began_ms = h->began_ms;
    t->job.large_pool = text(h->large_pool);
    t->state = (enum st_slot_state)h->state;
    t->pid = (pid_t)h->pid;
    t->pidfd = h->pidfd;
    t->sock = h->sock;
    t->spoke = h->spoke;
    t->peak = h->peak;
    into(t->phase, sizeof t->phase, h->phase);
    into(t->layer, sizeof t->layer, h->layer);
    into(t->file, sizeof t->file, h->file);
    t->layer_at = h->layer_at;
    t->layers = h->layers;
    t->bytes = h->bytes;
    t->progress_ms = h->progress_ms;
    t->progress_wall_ms = h->progress_wall_ms;
    t->stall = h->stall.len ? text(h->stall) : NULL;
    t->seen.lost = h->lost;
    t->seen.cancelled = h->cancelled;
    t->seen.released = h->released;
    t->seen.timed_out = h->timed_out;
    t->seen.over_limit = h->over_limit;
    t->seen.watchdog = h->watchdog;
    if (h->said_end) {
        struct st_worker_end e = {.exit_code = h->end_code,
                                  .reason = h->end_reason,
                                  .message = h->end_message,
                                  .resumed_from = h->end_resumed,
                                  .phases = h->end_phases,
                                  .result = h->end_result,
                                  .unknowns = h->end_unknowns,
                                  .packages = h->end_packages,
                                  .peak_bytes = h->end_peak};
        st_slot_said_end(t, &e);
    }
    fcntl(t->pidfd, F_SETFD, FD_CLOEXEC);
    fcntl(t->sock, F_SETFD, FD_CLOEXEC);
    if (h->deadline_in)
        st_loop_arm(&t->sup->loop, &t->deadline, h->deadline_in);
    if (h->kill_in)
        st_loop_arm(&t->sup->loop, &t->kill, h->kill_in);
    return st_slot_adopt(t, err);
}

static int take_slot(struct st_sup *s, const struct handed_slot *h, struct st_err *err)
{
    struct st_sup_pool p = {.memory = h->asked, .generation = h->generation};
    into(p.name, sizeof p.name, h->pool);
    p.config = text(h->config.len ? h->config : ST_SV("{}"));
    struct st_slot *t = NULL;
    if (s->n_slots == ST_SLOTS_MAX || !p.config || st_slot_new(s, &p, (unsigned)h->number, &t, err)) {
        free(p.config);
        return -1;
    }
    free(p.config);
    s->slots[s->n_slots++] = t;
    take_facts(t, h);
    return h->pid ? take_job(t, h, err) : 0;
}

static void adopt(struct st_sup *s, struct st_child *c, int pid, int pidfd)
{
    if (!pid)
        return;
    fcntl(pidfd, F_SETFD, FD_CLOEXEC);
    st_child_adopt(s, c, (pid_t)pid, pidfd);
}

static int take_lines(struct st_sup *s, struct st_sv all, struct st_arena *a, struct st_err *err)
{
    struct st_sv line;
    struct handed h = {.version = 0};
    if (!st_sv_line(&all, &line) || st_record_read(&handed_record, line, true, 0, &h, a, err))
        return -1;
    if (h.lock > 0 && st_run_lock_adopt(&s->lock, h.lock, s->hostname, err)) // whatever becomes of the rest
        return -1;
    if (h.version != VERSION)
        return st_err_set(err, ST_E_FAILED, "the old program hands over in a form that this one does not know");
    while (st_sv_line(&all, &line)) {
        struct handed_slot slot = {.pid = 0};
        if (st_record_read(&slot_record, line, true, 0, &slot, a, err) || take_slot(s, &slot, err))
            return -1;
    }
    s->next_tag = ST_MAX(s->next_tag, h.next_tag);
    adopt(s, &s->api, h.api_pid, h.api_pidfd);
    if (h.watch_pid && h.watch_pipe >= 0) {
        fcntl(h.watch_pipe, F_SETFD, FD_CLOEXEC);
        st_watch_adopt(s, h.watch_pipe);
    }
    adopt(s, &s->watch.child, h.watch_pid, h.watch_pidfd);
    return 0;
}

int st_handover_take(struct st_sup *s, int fd, struct st_err *err)
{
    ST_AUTO_CLOSE int memory = fd;
    off_t n = lseek(memory, 0, SEEK_END);
    if (n <= 0 || n > FILE_MAX)
        return st_err_set(err, ST_E_FAILED, "the old program handed over nothing");
    ST_AUTO_FREE char *buf = malloc((size_t)n);
    struct st_mem mem;
    struct st_arena a;
    if (!buf)
        return st_err_nomem(err);
    if (st_fd_pread(memory, buf, (size_t)n, 0) != n)
        return st_err_sys(err, "what the old program handed over");
    st_mem_init(&mem, 2 * FILE_MAX, -1);
    st_arena_init(&a, &mem);
    int rc = take_lines(s, st_sv_mem(buf, (size_t)n), &a, err);
    st_arena_release(&a);
    st_mem_release(&mem);
    return rc;
}
