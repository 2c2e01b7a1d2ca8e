// Kernel files into fields: real text, and text that no kernel should write.
#include "tap.h"
#include "watchdog/sample.h"

static struct st_wd_sample parse(enum st_wd_file file, const char *text)
{
    struct st_wd_sample s = {0};
    st_wd_sample_parse(&s, file, st_sv_of(text));
    return s;
}

#define IS(s, field, value) (st_wd_has(&(s), ST_WD_F_##field) && (s).v[ST_WD_F_##field] == (value))
#define NOT(s, field) (!st_wd_has(&(s), ST_WD_F_##field) && (s).v[ST_WD_F_##field] == 0)

static void test_wd_sample_real(void)
{
    struct st_wd_sample s =
        parse(ST_WD_FILE_MEMORY_STAT, "anon 126976\nfile 534151168\nkernel 1716224\nkernel_stack 65536\n"
                                      "shmem 507510784\nfile_mapped 520224768\nfile_dirty 0\n"
                                      "inactive_anon 507383808\nactive_file 3\nunevictable 0\n"
                                      "slab_reclaimable 380928\nslab 1\nworkingset_refault_file 7\n"
                                      "pgsteal 34\npgsteal_kswapd 9\npgmajfault 12\n");
    TAP_OK(IS(s, anon, 126976) && IS(s, file, 534151168) && IS(s, kernel, 1716224) && IS(s, shmem, 507510784) &&
               IS(s, refault_file, 7) && IS(s, pgsteal, 34) && IS(s, pgmajfault, 12) && IS(s, active_file, 3),
           "memory.stat");
    TAP_OK(NOT(s, refault_anon) && NOT(s, pswpin) && NOT(s, slab_unreclaimable), "keys that are not there");
    s = parse(ST_WD_FILE_MEMORY_EVENTS, "low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n");
    TAP_OK(IS(s, ev_high, 2) && IS(s, ev_max, 3) && IS(s, ev_oom, 4) && IS(s, ev_oom_kill, 5) && NOT(s, local_max),
           "memory.events");
    s = parse(ST_WD_FILE_MEMORY_EVENTS_LOCAL, "oom_kill 1\nmax 9\n");
    TAP_OK(IS(s, local_max, 9) && IS(s, local_oom_kill, 1) && NOT(s, ev_max), "memory.events.local, other order");
    s = parse(ST_WD_FILE_MEMORY_PRESSURE, "some avg10=1.50 avg60=0.00 avg300=0.00 total=1234567\n"
                                          "full avg10=0.00 avg60=0.00 avg300=0.00 total=89\n");
    TAP_OK(IS(s, mem_some_us, 1234567) && IS(s, mem_full_us, 89) && NOT(s, io_some_us), "memory.pressure");
    s = parse(ST_WD_FILE_IO_PRESSURE, "full total=7\nsome total=8 avg10=0.00\n");
    TAP_OK(IS(s, io_some_us, 8) && IS(s, io_full_us, 7), "pressure in another order");
    s = parse(ST_WD_FILE_CPU_STAT, "usage_usec 30\nuser_usec 10\nsystem_usec 20\nnr_periods 0\nthrottled_usec 5\n");
    TAP_OK(IS(s, cpu_usage_us, 30) && IS(s, cpu_user_us, 10) && IS(s, cpu_throttled_us, 5), "cpu.stat");
    s = parse(ST_WD_FILE_HOST_MEMINFO,
              "MemTotal:       16384000 kB\nMemAvailable:    1000 kB\nSwapFree:            0 kB\n");
    TAP_OK(IS(s, host_available, 1024000) && IS(s, host_swap_free, 0), "/proc/meminfo");
    s = parse(ST_WD_FILE_MEMORY_MAX, "max\n");
    TAP_OK(IS(s, max, ST_WD_NONE), "no limit");
    s = parse(ST_WD_FILE_MEMORY_CURRENT, "536870912\n");
    TAP_OK(IS(s, current, 536870912), "memory.current");
}

static void test_wd_sample_odd(void)
{
    static const struct {
        const char *name;
        enum st_wd_file file;
        enum st_wd_field field;
        const char *text;
        bool has;
        uint64_t v;
    } rows[] = {
        {"2^64-1", ST_WD_FILE_MEMORY_STAT, ST_WD_F_anon, "anon 18446744073709551615\n", true, UINT64_MAX},
        {"2^64", ST_WD_FILE_MEMORY_STAT, ST_WD_F_anon, "anon 18446744073709551616\n", false, 0},
        {"a number of 400 digits", ST_WD_FILE_MEMORY_CURRENT, ST_WD_F_current,
         "1111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111\n",
         false, 0},
        {"negative", ST_WD_FILE_MEMORY_STAT, ST_WD_F_anon, "anon -4096\n", false, 0},
        {"max among counters", ST_WD_FILE_MEMORY_STAT, ST_WD_F_anon, "anon max\n", false, 0},
        {"no value", ST_WD_FILE_MEMORY_STAT, ST_WD_F_anon, "anon\nfile 1\n", false, 0},
        {"empty value", ST_WD_FILE_MEMORY_STAT, ST_WD_F_anon, "anon \n", false, 0},
        {"two values", ST_WD_FILE_MEMORY_STAT, ST_WD_F_anon, "anon 1 2\n", false, 0},
        {"cut in the number", ST_WD_FILE_MEMORY_STAT, ST_WD_F_anon, "file 1\nanon 12", false, 0},
        {"cut in another line", ST_WD_FILE_MEMORY_STAT, ST_WD_F_anon, "anon 12\nfi", true, 12},
        {"key that only begins so", ST_WD_FILE_MEMORY_STAT, ST_WD_F_anon, "anon_thp 7\n", false, 0},
        {"key that comes twice", ST_WD_FILE_MEMORY_STAT, ST_WD_F_anon, "anon 1\nanon 2\n", true, 1},
        {"blank in front", ST_WD_FILE_MEMORY_STAT, ST_WD_F_anon, " anon 1\n", false, 0},
        {"empty file", ST_WD_FILE_MEMORY_CURRENT, ST_WD_F_current, "", false, 0},
        {"no line end", ST_WD_FILE_MEMORY_CURRENT, ST_WD_F_current, "1", false, 0},
        {"blank lines", ST_WD_FILE_MEMORY_CURRENT, ST_WD_F_current, "\n\n1\n", true, 1},
        {"words in a number's file", ST_WD_FILE_MEMORY_MAX, ST_WD_F_max, "maximum\n", false, 0},
        {"pressure without total", ST_WD_FILE_MEMORY_PRESSURE, ST_WD_F_mem_some_us, "some avg10=0.00\n", false, 0},
        {"pressure, total no number", ST_WD_FILE_MEMORY_PRESSURE, ST_WD_F_mem_some_us, "some total=x\n", false, 0},
        {"pressure with one line", ST_WD_FILE_MEMORY_PRESSURE, ST_WD_F_mem_full_us, "some total=1\n", false, 0},
        {"meminfo without its unit", ST_WD_FILE_HOST_MEMINFO, ST_WD_F_host_swap_free, "SwapFree: 12\n", false, 0},
        {"meminfo that overflows", ST_WD_FILE_HOST_MEMINFO, ST_WD_F_host_swap_free,
         "SwapFree: 18446744073709551615 kB\n", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct st_wd_sample s = parse(rows[i].file, rows[i].text);
        TAP_OK(st_wd_has(&s, rows[i].field) == rows[i].has && s.v[rows[i].field] == rows[i].v, "%s", rows[i].name);
    }
    struct st_wd_sample s = {0};
    st_wd_sample_parse(&s, ST_WD_FILE_MEMORY_STAT, st_sv_mem("anon 1\0\nfile 2\n", 15));
    TAP_OK(NOT(s, anon) && IS(s, file, 2), "a NUL in the text");
}

static void test_wd_sample_names(void)
{
    TAP_OK(strcmp(st_wd_field_name(ST_WD_F_refault_file), "refault_file") == 0 &&
               strcmp(st_wd_file_name(ST_WD_FILE_HOST_MEMINFO), "/proc/meminfo") == 0 &&
               strcmp(st_wd_field_name(ST_WD_FIELD_COUNT), "") == 0,
           "names");
}

int main(void)
{
    test_wd_sample_real();
    test_wd_sample_odd();
    test_wd_sample_names();
    return tap_done();
}
