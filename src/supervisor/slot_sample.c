// Numbers of a worker: of its cgroup, or, without one, of the processes below it.
#include "supervisor/slot.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "watchdog/sample.h"
#include "watchdog/wd_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define TREE_MAX 256 // processes that are summed up
#define TEXT 8192

static void read_file(int dir, struct st_wd_sample *s, enum st_wd_file file)
{
    char buf[TEXT];
    ssize_t n = st_wd_read_at(dir, st_wd_file_name(file), buf, sizeof buf);
    if (n > 0)
        st_wd_sample_parse(s, file, st_sv_mem(buf, (size_t)n));
}

static struct st_slot_sample *next(struct st_slot *t)
{
    struct st_slot_sample *s = &t->samples[t->n_samples++ % ST_SLOT_SAMPLES];
    *s = (struct st_slot_sample){.at_ms = st_clock_mono_ms()};
    return s;
}

static void sample_cgroup(struct st_slot *t)
{
    struct st_wd_sample w = {.has = 0};
    read_file(t->cgroup, &w, ST_WD_FILE_MEMORY_CURRENT);
    read_file(t->cgroup, &w, ST_WD_FILE_MEMORY_STAT);
    if (!st_wd_has(&w, ST_WD_F_current))
        return;
    st_slot_counters(t);
    struct st_slot_sample *s = next(t);
    uint64_t soft = w.v[ST_WD_F_inactive_file] + w.v[ST_WD_F_active_file];
    s->current = w.v[ST_WD_F_current];
    s->file = ST_MIN(soft, s->current);
    s->working = s->current - ST_MIN(s->file + w.v[ST_WD_F_slab_reclaimable], s->current);
    s->ev_max = t->ev_max;
}

void st_slot_counters(struct st_slot *t)
{
    struct st_wd_sample w = {.has = 0};
    uint64_t v;
    char buf[512];
    if (t->cgroup < 0)
        return;
    read_file(t->cgroup, &w, ST_WD_FILE_MEMORY_EVENTS);
    t->ev_max = w.v[ST_WD_F_ev_max];
    t->ev_oom_kill = w.v[ST_WD_F_ev_oom_kill];
    ssize_t n = st_wd_read_at(t->cgroup, "memory.events", buf, sizeof buf);
    if (n > 0 && st_wd_key_number(st_sv_mem(buf, (size_t)n), ST_SV("oom_group_kill"), &v))
        t->ev_oom_kill = ST_MAX(t->ev_oom_kill, v);
    if (st_wd_number_at(t->cgroup, "memory.peak", &v)) // Linux 5.19
        t->peak = v;
}

// ---- without a cgroup -----------------------------------------------------------------------------

static uint64_t pss_of(pid_t pid)
{
    char path[64], buf[2048];
    uint64_t kb = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    ssize_t n = st_wd_read_at(AT_FDCWD, path, buf, sizeof buf);
    struct st_sv text = st_sv_mem(buf, n > 0 ? (size_t)n : 0), line, word;
    while (st_sv_line(&text, &line))
        if (st_sv_word(&line, &word) && st_sv_eq(word, ST_SV("Pss:")) && st_sv_word(&line, &word) &&
            st_sv_u64(word, 10, &kb))
            break;
    return kb * 1024;
}

static size_t add_children(pid_t pid, pid_t *list, size_t n)
{
    char path[64], buf[4096];
    uint64_t child;
    struct st_sv word;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    ssize_t got = st_wd_read_at(AT_FDCWD, path, buf, sizeof buf);
    struct st_sv text = st_sv_mem(buf, got > 0 ? (size_t)got : 0);
    while (n < TREE_MAX && st_sv_word(&text, &word))
        if (st_sv_u64(st_sv_trim(word), 10, &child))
            list[n++] = (pid_t)child;
    return n;
}

uint64_t st_slot_tree_pss(pid_t pid)
{
    pid_t list[TREE_MAX] = {pid};
    uint64_t sum = 0;
    for (size_t i = 0, n = 1; i < n; i++) {
        sum += pss_of(list[i]);
        n = add_children(list[i], list, n);
    }
    return sum;
}

void st_slot_sample(struct st_slot *t)
{
    if (t->cgroup >= 0) {
        sample_cgroup(t);
        return;
    }
    struct st_slot_sample *s = next(t);
    s->current = s->working = st_slot_tree_pss(t->pid);
    t->peak = ST_MAX(t->peak, s->current);
}

bool st_slot_over_limit(const struct st_slot *t)
{
    return t->n_samples && t->samples[(t->n_samples - 1) % ST_SLOT_SAMPLES].current > t->memory;
}
