#include "watchdog/evidence.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/map.h"
#include "watchdog/trace.h"

#include <stdio.h>

static void bytes(struct st_json_out *w, const char *key, uint64_t value)
{
    st_json_key(w, key);
    if (value == ST_WD_NONE)
        st_json_null(w);
    else
        st_json_u64(w, value);
}

static void numbers(struct st_json_out *w, const struct st_wd_numbers *n)
{
    if (!n) {
        st_json_null(w);
        return;
    }
    st_json_open(w, '{');
    st_wd_numbers_write(w, n);
    st_json_close(w, '}');
}

static void cgroup(struct st_json_out *w, const struct st_wd_record *r)
{
    st_json_open(w, '{');
    st_json_kv(w, "path", r->path);
    st_json_key(w, "inode");
    st_json_u64(w, r->ino);
    st_json_kv(w, "owner", r->owner);
    bytes(w, "limit_bytes", r->verdict->n.limit);
    st_json_kv(w, "limit_file", r->verdict->n.limit_is_high ? ST_SV("memory.high") : ST_SV("memory.max"));
    st_json_close(w, '}');
}

static void verdict(struct st_json_out *w, const struct st_wd_record *r)
{
    st_json_open(w, '{');
    st_wd_verdict_write(w, r->verdict);
    st_json_key(w, "must_end");
    st_json_bool(w, st_wd_state_must_end(r->verdict->state));
    st_json_kv(w, "text", r->text);
    st_json_close(w, '}');
}

static void culprit(struct st_json_out *w, const struct st_wd_process *p)
{
    if (!p) {
        st_json_null(w);
        return;
    }
    st_json_open(w, '{');
    st_json_key(w, "pid");
    st_json_i64(w, p->pid);
    st_json_kv(w, "comm", st_sv_of(p->comm));
    bytes(w, "bytes", st_wd_process_bytes(p));
    bytes(w, "anon_bytes", p->anon);
    bytes(w, "shmem_bytes", p->shmem);
    bytes(w, "swap_bytes", p->swap);
    st_json_close(w, '}');
}

static void action(struct st_json_out *w, const struct st_wd_record *r)
{
    if (!r->is_action) {
        st_json_null(w);
        return;
    }
    st_json_open(w, '{');
    st_json_kv(w, "rung", st_sv_of(r->rung));
    st_json_kv(w, "outcome", st_sv_of(r->outcome));
    st_json_kv(w, "detail", r->detail);
    st_json_key(w, "took_ms");
    st_json_u64(w, r->took_ms);
    st_json_close(w, '}');
}

static void text_or_null(struct st_json_out *w, const char *key, const char *text)
{
    st_json_key(w, key);
    if (text[0])
        st_json_str(w, st_sv_of(text));
    else
        st_json_null(w);
}

static void github(struct st_json_out *w, const struct st_wd_github *g)
{
    if (!g || (!g->actions && !g->run_id[0])) {
        st_json_null(w);
        return;
    }
    st_json_open(w, '{');
    text_or_null(w, "repository", g->repository);
    text_or_null(w, "run_id", g->run_id);
    text_or_null(w, "run_attempt", g->run_attempt);
    text_or_null(w, "job", g->job);
    text_or_null(w, "api_url", g->api_url);
    st_json_close(w, '}');
}

// Columns and rows are the trace's (trace.h), so that `replay` reads them with the same code.
static void samples(struct st_json_out *w, const struct st_wd_series *s)
{
    st_json_open(w, '{');
    st_json_key(w, "columns");
    st_json_raw(w);
    st_wd_trace_columns(w->out);
    st_json_key(w, "rows");
    st_json_open(w, '[');
    for (uint32_t i = 0; s && i < s->n; i++) {
        st_json_raw(w);
        st_wd_trace_values(w->out, st_wd_series_get(s, i));
    }
    st_json_close(w, ']');
    st_json_close(w, '}');
}

void st_wd_record_write(struct st_out *o, const struct st_wd_record *r)
{
    struct st_json_out w;
    char time[ST_CLOCK_TEXT];
    st_clock_text(r->wall_ms, time);
    st_json_out_init(&w, o, 0);
    st_json_open(&w, '{');
    st_json_kv(&w, "schema", ST_SV("stella-watchdog/1"));
    st_json_kv(&w, "id", st_sv_of(r->id));
    st_json_kv(&w, "time", st_sv_of(time));
    st_json_kv(&w, "kind", r->is_action ? ST_SV("action") : ST_SV("verdict"));
    st_json_key(&w, "dry_run");
    st_json_bool(&w, r->dry_run);
    st_json_key(&w, "cgroup");
    cgroup(&w, r);
    st_json_key(&w, "verdict");
    verdict(&w, r);
    st_json_key(&w, "culprit");
    culprit(&w, r->culprit);
    st_json_key(&w, "action");
    action(&w, r);
    st_json_key(&w, "github");
    github(&w, r->github);
    st_json_key(&w, "before");
    numbers(&w, r->before);
    st_json_key(&w, "after");
    numbers(&w, r->after);
    st_json_key(&w, "samples");
    samples(&w, r->series);
    st_json_close(&w, '}');
    st_out_putc(o, '\n');
}

void st_wd_incident_id(uint64_t ino, uint64_t now_ms, int64_t wall_ms, char ret[static ST_WD_ID])
{
    uint64_t mix = st_hash_mix(st_hash_mix(ino, (uint64_t)wall_ms), now_ms);
    snprintf(ret, ST_WD_ID, "%016llx", (unsigned long long)mix);
}
