// One look at a limit domain: the cgroup that owns the binding memory limit, with its subtree. A sample is plain
// numbers; everything that reads a kernel file into it is a pure function of the file's text, so that the parsers are
// fuzzed and recorded samples replay.
//
// Sources of the fields: Documentation/admin-guide/cgroup-v2.rst ("Memory Interface Files"), mm/memcontrol.c
// (memory_stat_format), kernel/sched/psi.c (psi_show), kernel/cgroup/rstat.c (cgroup_base_stat_cputime_show).
#ifndef ST_WATCHDOG_SAMPLE_H
#define ST_WATCHDOG_SAMPLE_H

#include "base/sv.h"

#include <stdbool.h>
#include <stdint.h>

// field, file it is read from, key in that file ("" for a file of one number). The order is the order of the columns of
// a trace; fields are added at the end only. Bytes, events, pages as the kernel counts them, microseconds for times.
#define ST_WD_FIELDS(X)                                       \
    X(current, MEMORY_CURRENT, "")                            \
    X(max, MEMORY_MAX, "")                                    \
    X(high, MEMORY_HIGH, "")                                  \
    X(swap_current, SWAP_CURRENT, "")                         \
    X(swap_max, SWAP_MAX, "")                                 \
    X(ev_high, MEMORY_EVENTS, "high")                         \
    X(ev_max, MEMORY_EVENTS, "max")                           \
    X(ev_oom, MEMORY_EVENTS, "oom")                           \
    X(ev_oom_kill, MEMORY_EVENTS, "oom_kill")                 \
    X(local_high, MEMORY_EVENTS_LOCAL, "high")                \
    X(local_max, MEMORY_EVENTS_LOCAL, "max")                  \
    X(local_oom, MEMORY_EVENTS_LOCAL, "oom")                  \
    X(local_oom_kill, MEMORY_EVENTS_LOCAL, "oom_kill")        \
    X(swap_ev_max, SWAP_EVENTS, "max")                        \
    X(swap_ev_fail, SWAP_EVENTS, "fail")                      \
    X(anon, MEMORY_STAT, "anon")                              \
    X(file, MEMORY_STAT, "file")                              \
    X(kernel, MEMORY_STAT, "kernel")                          \
    X(shmem, MEMORY_STAT, "shmem")                            \
    X(file_mapped, MEMORY_STAT, "file_mapped")                \
    X(file_dirty, MEMORY_STAT, "file_dirty")                  \
    X(file_writeback, MEMORY_STAT, "file_writeback")          \
    X(inactive_anon, MEMORY_STAT, "inactive_anon")            \
    X(active_anon, MEMORY_STAT, "active_anon")                \
    X(inactive_file, MEMORY_STAT, "inactive_file")            \
    X(active_file, MEMORY_STAT, "active_file")                \
    X(unevictable, MEMORY_STAT, "unevictable")                \
    X(slab_reclaimable, MEMORY_STAT, "slab_reclaimable")      \
    X(slab_unreclaimable, MEMORY_STAT, "slab_unreclaimable")  \
    X(refault_anon, MEMORY_STAT, "workingset_refault_anon")   \
    X(refault_file, MEMORY_STAT, "workingset_refault_file")   \
    X(activate_file, MEMORY_STAT, "workingset_activate_file") \
    X(restore_file, MEMORY_STAT, "workingset_restore_file")   \
    X(pgscan, MEMORY_STAT, "pgscan")                          \
    X(pgsteal, MEMORY_STAT, "pgsteal")                        \
    X(pgfault, MEMORY_STAT, "pgfault")                        \
    X(pgmajfault, MEMORY_STAT, "pgmajfault")                  \
    X(pswpin, MEMORY_STAT, "pswpin")                          \
    X(pswpout, MEMORY_STAT, "pswpout")                        \
    X(mem_some_us, MEMORY_PRESSURE, "some")                   \
    X(mem_full_us, MEMORY_PRESSURE, "full")                   \
    X(io_some_us, IO_PRESSURE, "some")                        \
    X(io_full_us, IO_PRESSURE, "full")                        \
    X(cpu_usage_us, CPU_STAT, "usage_usec")                   \
    X(cpu_user_us, CPU_STAT, "user_usec")                     \
    X(cpu_system_us, CPU_STAT, "system_usec")                 \
    X(pids, PIDS_CURRENT, "")                                 \
    X(cpu_throttled_us, CPU_STAT, "throttled_usec")           \
    X(host_swap_free, HOST_MEMINFO, "SwapFree")               \
    X(host_available, HOST_MEMINFO, "MemAvailable")

enum st_wd_field {
#define ST_WD_FIELD_ENUM(name, file, key) ST_WD_F_##name,
    ST_WD_FIELDS(ST_WD_FIELD_ENUM)
#undef ST_WD_FIELD_ENUM
        ST_WD_FIELD_COUNT
};

// The files, in the order in which they are read: what the verdict needs most comes first, memory.stat (an rstat
// flush) last. A name that begins with '/' is the host's, not the cgroup's: without it a swap limit of "max" would pass
// for room on a host that has no swap.
#define ST_WD_FILES(X)                            \
    X(MEMORY_CURRENT, "memory.current")           \
    X(MEMORY_MAX, "memory.max")                   \
    X(MEMORY_HIGH, "memory.high")                 \
    X(SWAP_CURRENT, "memory.swap.current")        \
    X(SWAP_MAX, "memory.swap.max")                \
    X(MEMORY_EVENTS, "memory.events")             \
    X(MEMORY_EVENTS_LOCAL, "memory.events.local") \
    X(SWAP_EVENTS, "memory.swap.events")          \
    X(MEMORY_PRESSURE, "memory.pressure")         \
    X(IO_PRESSURE, "io.pressure")                 \
    X(CPU_STAT, "cpu.stat")                       \
    X(PIDS_CURRENT, "pids.current")               \
    X(HOST_MEMINFO, "/proc/meminfo")              \
    X(MEMORY_STAT, "memory.stat")

enum st_wd_file {
#define ST_WD_FILE_ENUM(id, name) ST_WD_FILE_##id,
    ST_WD_FILES(ST_WD_FILE_ENUM)
#undef ST_WD_FILE_ENUM
        ST_WD_FILE_COUNT
};

#define ST_WD_NONE UINT64_MAX // a limit that says "max"

struct st_wd_sample {
    uint64_t t_us; // CLOCK_BOOTTIME
    uint64_t has;  // bit i: field i was there (a kernel without the key, psi off, a file that went away: bit is 0)
    uint64_t v[ST_WD_FIELD_COUNT]; // 0 where it was not
};

_Static_assert(ST_WD_FIELD_COUNT <= 64, "struct st_wd_sample.has is one word");

static inline bool st_wd_has(const struct st_wd_sample *s, enum st_wd_field f)
{
    return (s->has >> f & 1) != 0;
}

const char *st_wd_field_name(enum st_wd_field f); // "current", ...
const char *st_wd_file_name(enum st_wd_file f);   // "memory.current", ...

// Read the text of one file into the fields that come from it. Never fails: a key that is missing, a number that does
// not fit or is no number leaves its field absent, other keys are passed over; of a key that comes twice the first
// counts. "max" is ST_WD_NONE; /proc/meminfo's kB become bytes; of a pressure line the field is its total. Text cut in
// the middle of a line (no newline at its end) loses that line.
void st_wd_sample_parse(struct st_wd_sample *s, enum st_wd_file file, struct st_sv text);

#endif
