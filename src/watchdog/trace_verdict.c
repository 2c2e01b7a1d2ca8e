#include "base/ckd.h"
#include "watchdog/trace.h"

static void bytes(struct st_json_out *w, const char *key, uint64_t v)
{
    st_json_key(w, key);
    if (v == ST_WD_NONE)
        st_json_null(w);
    else
        st_json_u64(w, v);
}

// -1 is "not known".
static void known(struct st_json_out *w, const char *key, double v)
{
    st_json_key(w, key);
    if (v < 0)
        st_json_null(w);
    else
        st_json_fixed(w, v, 3);
}

void st_wd_numbers_write(struct st_json_out *w, const struct st_wd_numbers *n)
{
    bytes(w, "limit_bytes", n->limit);
    st_json_key(w, "limit_is_high");
    st_json_bool(w, n->limit_is_high);
    bytes(w, "pinned_bytes", n->pinned);
    bytes(w, "room_bytes", n->room);
    bytes(w, "anon_bytes", n->anon);
    bytes(w, "shmem_bytes", n->shmem);
    bytes(w, "kernel_bytes", n->kernel);
    bytes(w, "cache_bytes", n->cache);
    bytes(w, "dirty_bytes", n->dirty);
    bytes(w, "swap_room_bytes", n->swap_room);
    known(w, "pinned_share", n->pinned_share);
    st_json_key(w, "pinned_slope_bytes_per_s");
    st_json_fixed(w, n->pinned_slope, 0);
    known(w, "max_events_per_s", n->max_events);
    known(w, "high_events_per_s", n->high_events);
    known(w, "major_faults_per_s", n->major_faults);
    known(w, "refaults_per_s", n->refaults);
    known(w, "steals_per_s", n->steals);
    known(w, "scans_per_s", n->scans);
    known(w, "kept_per_fault", n->kept_per_fault);
    known(w, "kept_share", n->kept_share);
    known(w, "room_turnover_s", n->room_turnover_s);
    known(w, "mapped_left", n->mapped_left);
    known(w, "swap_in_per_s", n->swap_in);
    known(w, "swap_out_per_s", n->swap_out);
    known(w, "memory_some", n->mem_some);
    known(w, "memory_full", n->mem_full);
    known(w, "io_some", n->io_some);
    known(w, "cpu_user", n->cpu_user);
    known(w, "cpu_system", n->cpu_system);
    known(w, "cpu_user_before", n->cpu_user_before);
    known(w, "eta_s", n->eta_s);
    known(w, "window_s", n->window_s);
}

void st_wd_verdict_write(struct st_json_out *w, const struct st_wd_verdict *v)
{
    st_json_kv(w, "state", st_sv_of(st_wd_state_word(v->state)));
    st_json_kv(w, "confidence", st_sv_of(st_wd_confidence_word(v->confidence)));
    st_json_kv(w, "hold", st_sv_of(st_wd_hold_word(v->hold)));
    st_json_key(w, "psi_blind");
    st_json_bool(w, v->psi_blind);
    st_json_key(w, "warn");
    st_json_bool(w, v->warn);
    st_json_key(w, "act");
    st_json_bool(w, v->act);
    known(w, "seconds", v->seconds);
    known(w, "bucket_s", v->bucket);
    st_json_key(w, "suggested_limit_bytes");
    if (v->suggested_limit)
        st_json_u64(w, v->suggested_limit);
    else
        st_json_null(w);
    st_json_key(w, "numbers");
    st_json_open(w, '{');
    st_wd_numbers_write(w, &v->n);
    st_json_close(w, '}');
}
