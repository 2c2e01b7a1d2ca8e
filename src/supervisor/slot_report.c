// What is said about a slot: its row of `workers stats`, the evidence of an end.
#include "supervisor/supervisor_int.h"

#include "base/ckd.h"
#include "base/clock.h"

#include <stdio.h>

const char *const st_slot_restart_words[ST_SLOT_REASONS] = {"oom",     "memory_stall", "crash", "killed",
                                                            "timeout", "manual",       "config"};

const char *st_slot_state_word(const struct st_slot *t)
{
    static const char *const words[] = {
        [ST_SLOT_IDLE] = "idle",       [ST_SLOT_STARTING] = "starting", [ST_SLOT_BUSY] = "busy",
        [ST_SLOT_STALLED] = "stalled", [ST_SLOT_STOPPING] = "stopping", [ST_SLOT_CLEARING] = "stopping"};
    return words[t->state];
}

static void number(struct st_json_out *w, const char *key, uint64_t v)
{
    st_json_key(w, key);
    st_json_u64(w, v);
}

static void samples(struct st_json_out *w, const struct st_slot *t)
{
    int64_t now = st_clock_mono_ms();
    size_t n = ST_MIN(t->n_samples, (size_t)ST_SLOT_SAMPLES);
    st_json_key(w, "samples");
    st_json_open(w, '[');
    for (size_t i = t->n_samples - n; i < t->n_samples; i++) {
        const struct st_slot_sample *s = &t->samples[i % ST_SLOT_SAMPLES];
        st_json_open(w, '{');
        number(w, "ms_before", (uint64_t)ST_MAX(now - s->at_ms, (int64_t)0));
        number(w, "memory", s->working);
        number(w, "file", s->file);
        number(w, "current", s->current);
        number(w, "events_max", s->ev_max);
        st_json_close(w, '}');
    }
    st_json_close(w, ']');
}

static void place(struct st_json_out *w, const struct st_slot *t)
{
    if (t->phase[0])
        st_json_kv(w, "phase", st_sv_of(t->phase));
    if (t->layers) {
        number(w, "layer", t->layer_at);
        number(w, "layers", t->layers);
    }
    if (t->layer[0])
        st_json_kv(w, "layer_digest", st_sv_of(t->layer));
    if (t->file[0])
        st_json_kv(w, "file", st_sv_of(t->file));
}

void st_slot_evidence(struct st_slot *t, const struct st_verdict *v, struct st_buf *to)
{
    struct st_out o;
    struct st_json_out w;
    st_out_init_buf(&o, to);
    st_json_out_init(&w, &o, 0);
    st_json_open(&w, '{');
    st_json_kv(&w, "worker", st_sv_of(t->id));
    st_json_kv(&w, "enforced", t->sup->cg.workers >= 0 ? ST_SV("cgroup") : ST_SV("rlimit"));
    number(&w, "exit_code", (uint64_t)v->exit_code);
    number(&w, "signal", (uint64_t)t->seen.signal);
    number(&w, "memory_limit", t->memory);
    number(&w, "memory_peak", t->peak);
    if (t->sup->cg.workers >= 0) { // of a cgroup made for this job: what is there is its own
        st_json_key(&w, "memory_events");
        st_json_open(&w, '{');
        number(&w, "max", t->ev_max);
        number(&w, "oom_kill", t->ev_oom_kill);
        st_json_close(&w, '}');
    }
    number(&w, "seconds", (uint64_t)ST_MAX((st_clock_mono_ms() - t->job.began_ms) / 1000, (int64_t)0));
    number(&w, "ms_since_progress", (uint64_t)ST_MAX(st_clock_mono_ms() - t->progress_ms, (int64_t)0));
    place(&w, t);
    samples(&w, t);
    if (t->end.phases.len) {
        st_json_key(&w, "phases");
        st_json_raw(&w);
        st_out_write(&o, t->end.phases);
    }
    if (t->stall) {
        st_json_key(&w, "watchdog");
        st_json_raw(&w);
        st_out_write(&o, st_sv_of(t->stall));
    }
    st_json_close(&w, '}');
    if (st_out_finish(&o, NULL))
        st_buf_clear(to);
}

static struct st_sv by_reason(const struct st_slot *t, char *buf, size_t cap, uint64_t *ret_sum)
{
    size_t n = 0;
    *ret_sum = 0;
    for (size_t i = 0; i < ST_SLOT_REASONS && n < cap; i++) {
        *ret_sum += t->restarts[i];
        if (t->restarts[i])
            n += (size_t)snprintf(buf + n, cap - n, "%s\"%s\":%llu", n ? "," : "{", st_slot_restart_words[i],
                                  (unsigned long long)t->restarts[i]);
    }
    if (n && n + 1 < cap)
        buf[n++] = '}';
    return st_sv_mem(buf, n);
}

void st_slot_report(struct st_slot *t, const char *state)
{
    char counts[400];
    const struct st_slot_sample *s = t->n_samples ? &t->samples[(t->n_samples - 1) % ST_SLOT_SAMPLES] : NULL;
    struct st_worker_row r = {
        .id = st_sv_of(t->id),
        .pool = st_sv_of(t->pool),
        .state = st_sv_of(state ? state : st_slot_state_word(t)),
        .job = st_sv_of(t->job.id),
        .phase = st_sv_of(t->phase),
        .layer = st_sv_of(t->layer),
        .enforced = t->sup->cg.workers >= 0 ? ST_SV("cgroup") : ST_SV("rlimit"),
        .last_job = st_sv_of(t->last_job),
        .reason = st_sv_of(t->reason),
        .evidence = st_sv_of(t->evidence),
        .note = st_sv_of(t->note),
        .memory = s && t->job.id[0] ? s->working : 0,
        .file_bytes = s && t->job.id[0] ? s->file : 0,
        .memory_limit = t->memory,
        .memory_asked = t->asked,
        .memory_peak = t->peak,
        .events_max = t->ev_max,
        .events_oom_kill = t->ev_oom_kill,
        .layer_at = t->layer_at,
        .layers = t->layers,
        .bytes = t->bytes,
        .generation = t->generation,
        .progress_ms = t->job.id[0] ? t->progress_wall_ms : 0,
        .ended_ms = t->ended_wall_ms,
        .exit_code = t->exit_code,
        .signal = t->exit_signal,
        .has_exit = t->has_exit,
    };
    r.restarts_by = by_reason(t, counts, sizeof counts, &r.restarts);
    st_calls_add(t->sup, "workers.report", &r, ST_CALL_LATER, 0, NULL);
}
