// sampler CGROUP TRACE NOTE [PROGRESS]...   Records a cgroup as a trace (src/watchdog/trace.h), four samples a second,
// from outside of it, until SIGTERM or until the cgroup is gone.
//
// It is the lab's own eye on a run: the watchdog under test is not what says what happened. So it reads the kernel's
// files with code of its own; only the names of the fields are shared. Each PROGRESS file (see workload.c) becomes a
// column p0, p1, ...
#include "watchdog/sample.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_NS 250000000L
#define PROGRESS_MAX 8

static const char *const file_name[] = {
#define ROW(id, name) [ST_WD_FILE_##id] = name,
    ST_WD_FILES(ROW)
#undef ROW
};

static const struct {
    const char *name, *key;
    enum st_wd_file file;
} fields[] = {
#define ROW(name, id, key) {#name, key, ST_WD_FILE_##id},
    ST_WD_FIELDS(ROW)
#undef ROW
};

static volatile sig_atomic_t stopped;
static char text[ST_WD_FILE_COUNT][16384];

static void on_term(int sig)
{
    (void)sig;
    stopped = 1;
}

static void read_files(int dir)
{
    for (size_t i = 0; i < ST_WD_FILE_COUNT; i++) {
        int fd = openat(dir, file_name[i], O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text[i], sizeof text[i] - 1);
        text[i][n > 0 ? n : 0] = '\0';
        if (fd >= 0)
            close(fd);
    }
}

// The value of a key as it stands: the word after it; for pressure files the number after "total=".
static const char *find_value(const char *s, const char *key)
{
    size_t n = strlen(key);
    if (n == 0)
        return *s != '\0' ? s : NULL;
    for (; s != NULL && *s != '\0'; s = strchr(s, '\n'), s = s != NULL ? s + 1 : s)
        if (strncmp(s, key, n) == 0 && s[n] == ' ') {
            const char *end = strchr(s, '\n'), *total = strstr(s, "total=");
            return total != NULL && (end == NULL || total < end) ? total + 6 : s + n + 1;
        }
    return NULL;
}

static void put_field(FILE *o, size_t i)
{
    const char *v = find_value(text[fields[i].file], fields[i].key);
    if (v != NULL && strncmp(v, "max", 3) == 0)
        fputs(",\"max\"", o);
    else if (v != NULL && *v >= '0' && *v <= '9')
        fprintf(o, ",%llu", strtoull(v, NULL, 10));
    else
        fputs(",null", o);
}

static void put_head(FILE *o, const char *cgroup, const char *note, int progress_count)
{
    struct utsname u;
    uname(&u);
    fprintf(o, "{\"trace\":1,\"cgroup\":\"%s\",\"kernel\":\"%s\",\"note\":\"%s\",\"columns\":[\"t_us\"", cgroup,
            u.release, note);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        fprintf(o, ",\"%s\"", fields[i].name);
    for (int i = 0; i < progress_count; i++)
        fprintf(o, ",\"p%d\"", i);
    fputs("]}\n", o);
}

int main(int argc, char **argv)
{
    const uint64_t *progress[PROGRESS_MAX];
    int count = 0;
    if (argc < 4) {
        fputs("usage: sampler CGROUP TRACE NOTE [PROGRESS]...\n", stderr);
        return 2;
    }
    int dir = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
    FILE *o = fopen(argv[2], "we");
    if (dir < 0 || o == NULL) {
        fprintf(stderr, "sampler: %s: %s\n", dir < 0 ? argv[1] : argv[2], strerror(errno));
        return 1;
    }
    for (int i = 4; i < argc && count < PROGRESS_MAX; i++) {
        int fd = open(argv[i], O_RDONLY | O_CLOEXEC);
        void *p = mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            fprintf(stderr, "sampler: %s: %s\n", argv[i], strerror(errno));
            return 1;
        }
        progress[count++] = p;
    }
    signal(SIGTERM, on_term);
    mlockall(MCL_CURRENT | MCL_FUTURE);
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 10});
    put_head(o, argv[1], argv[3], count);
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    while (!stopped) {
        struct timespec t;
        clock_gettime(CLOCK_BOOTTIME, &t);
        read_files(dir);
        if (text[ST_WD_FILE_MEMORY_CURRENT][0] == '\0')
            break; // removed
        fprintf(o, "[%" PRIu64, (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000);
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
            put_field(o, i);
        for (int i = 0; i < count; i++)
            fprintf(o, ",%" PRIu64, __atomic_load_n(progress[i], __ATOMIC_RELAXED));
        fputs("]\n", o);
        next.tv_nsec += PERIOD_NS;
        if (next.tv_nsec >= 1000000000L) {
            next.tv_nsec -= 1000000000L;
            next.tv_sec++;
        }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
    return fclose(o) == 0 ? 0 : 1;
}
