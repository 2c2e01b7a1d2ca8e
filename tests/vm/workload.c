// The workloads of the VM matrix: workload NAME [key=value]...   One static program, one table (at the end).
//
// Each counts its own progress into a file of two 64-bit words: [0] units of work done (pages touched, files, loops),
// [1] 1 once it is warm. The lab reads them from outside to say when a hang began: progress under a tenth of its rate
// before the limit, for good.
//
// Keys of every workload: progress=FILE  comm=NAME (what /proc/PID/comm says)  adj=N (oom_score_adj)
//                         lock=1 (mlockall)  secs=N (end after N seconds; 0: never)
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1024UL * 1024)
#define PAGE 4096UL
#define BIG "/data/big"

static int arg_count;
static char **arg_value;
static uint64_t no_file[2], *progress = no_file;
static double end_time; // 0: never
static volatile unsigned char sink;

static const char *text_key(const char *key, const char *otherwise)
{
    size_t n = strlen(key);
    for (int i = 2; i < arg_count && strcmp(arg_value[i], "--") != 0; i++)
        if (strncmp(arg_value[i], key, n) == 0 && arg_value[i][n] == '=')
            return arg_value[i] + n + 1;
    return otherwise;
}

static long number_key(const char *key, long otherwise)
{
    const char *s = text_key(key, NULL);
    return s != NULL ? strtol(s, NULL, 10) : otherwise;
}

static size_t mib_key(const char *key, long otherwise)
{
    return (size_t)number_key(key, otherwise) * MIB;
}

static void die(const char *what)
{
    fprintf(stderr, "workload %s: %s: %s\n", arg_value[1], what, strerror(errno));
    exit(2);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool over(void)
{
    return end_time > 0 && now() >= end_time;
}

static void nap(double s)
{
    if (s > 0) {
        struct timespec t = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};
        nanosleep(&t, NULL);
    }
}

static void step(uint64_t n)
{
    __atomic_add_fetch(&progress[0], n, __ATOMIC_RELAXED);
}

static void warm(const char *what, size_t bytes)
{
    printf("%s: %s, %zu MiB\n", arg_value[1], what, bytes / MIB);
    fflush(stdout);
    __atomic_store_n(&progress[1], 1, __ATOMIC_RELEASE);
}

static int open_or_die(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path);
    return fd;
}

static unsigned char *anon_map(size_t n, int flags)
{
    unsigned char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        die("mmap");
    return p;
}

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13, *x ^= *x >> 7, *x ^= *x << 17;
    return *x;
}

// ---- allocators ----

// hog: grows block by block; what a step that needs too much memory does.
//   shared=1 as python's mmap(-1, n), which is shmem; copy=1 fills it from a fresh private buffer, as b'\x01' * n is;
//   max=MIB stops there: shape P; then retouch=1 goes round it for ever (random=1: without order), else it sleeps;
//   rate=MIB/s; read=1 reads a file beside
static void hog_fill(unsigned char *m, size_t len, size_t before, double start, bool copy)
{
    double rate = (double)number_key("rate", 0) * (double)MIB;
    unsigned char *from = copy ? anon_map(len, MAP_PRIVATE) : NULL;
    if (copy)
        memset(from, 1, len);
    for (size_t i = 0; i < len; i += PAGE) {
        if (copy)
            memcpy(m + i, from + i, PAGE);
        else
            memset(m + i, 1, PAGE);
        step(1);
        if (rate > 0 && i % (64 * PAGE) == 0)
            nap((double)(before + i) / rate - (now() - start));
    }
    if (copy)
        munmap(from, len);
}

static int run_hog(void)
{
    static unsigned char *blocks[8192];
    size_t block = mib_key("block", 100), max = mib_key("max", 0), total = 0, n = 0, len;
    double start = now();
    bool copy = number_key("copy", 0) != 0, retouch = number_key("retouch", 1) != 0,
         random_order = number_key("random", 0) != 0;
    uint64_t x = 88172645463325252ULL;
    int file = number_key("read", 0) ? open_or_die(text_key("file", BIG), O_RDONLY) : -1;
    unsigned char *buf = anon_map(MIB, MAP_PRIVATE);
    for (; (max == 0 || total < max) && n < sizeof blocks / sizeof *blocks; n++, total += len) {
        len = max != 0 && max - total < block ? max - total : block;
        blocks[n] = anon_map(len, number_key("shared", 0) ? MAP_SHARED : MAP_PRIVATE);
        hog_fill(blocks[n], len, total, start, copy);
        if (n == 0)
            warm("growing", total);
        if (file >= 0 && read(file, buf, 256 * 1024) <= 0)
            lseek(file, 0, SEEK_SET);
    }
    warm("holds", total);
    while (!over()) {
        if (!retouch)
            nap(0.5);
        for (size_t b = 0; retouch && b < n; b++)
            for (size_t i = 0; i < block && b * block + i < total; i += PAGE) {
                size_t page = random_order ? next_random(&x) % (total / PAGE) : 0;
                blocks[random_order ? page * PAGE / block : b][random_order ? page * PAGE % block : i]++;
                step(1);
            }
    }
    return 0;
}

// threads: as hog, but N threads allocate at once, max=MIB in all.
static void *threads_grow(void *arg)
{
    size_t max = mib_key("max", 0) / (size_t)number_key("threads", 8), total = 0;
    for (; max == 0 || total < max; total += MIB) {
        memset(anon_map(MIB, MAP_PRIVATE), 1, MIB);
        step(MIB / PAGE);
    }
    while (!over())
        nap(0.2);
    return arg;
}

static int run_threads(void)
{
    long n = number_key("threads", 8);
    pthread_t t;
    for (long i = 1; i < n; i++)
        if (pthread_create(&t, NULL, threads_grow, NULL) != 0)
            die("pthread_create");
    warm("growing", 0);
    threads_grow(NULL);
    return 0;
}

// fork-bomb: processes of each=MIB until they hold max=MIB together (0: for ever); one that dies is replaced.
static void bomb_child(size_t each)
{
    unsigned char *m = anon_map(each, MAP_PRIVATE);
    memset(m, 1, each);
    step(each / PAGE);
    for (;;)
        nap(10);
}

static int run_fork_bomb(void)
{
    size_t each = mib_key("each", 2), max = mib_key("max", 0), held = 0;
    while (!over()) {
        if (max != 0 && held + each > max) {
            if (held > 0)
                warm("holds", held);
            if (wait(NULL) > 0)
                held -= each;
            continue;
        }
        pid_t p = fork();
        if (p == 0)
            bomb_child(each);
        else if (p > 0)
            held += each;
        else
            nap(0.01);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            held -= each;
    }
    kill(0, SIGKILL);
    return 0;
}

// tmpfs: fills files of a tmpfs (dir=) up to size=MIB and reads them round and round: memory that no process holds.
static int run_tmpfs(void)
{
    size_t size = mib_key("size", 100), total = 0;
    unsigned char *buf = anon_map(MIB, MAP_PRIVATE);
    char path[300];
    memset(buf, 1, MIB);
    snprintf(path, sizeof path, "%s/fill", text_key("dir", "/dev/shm"));
    int fd = open_or_die(path, O_RDWR | O_CREAT);
    for (; total < size; total += MIB) {
        if (write(fd, buf, MIB) != (ssize_t)MIB)
            die("write");
        step(MIB / PAGE);
    }
    warm("filled", total);
    while (!over()) {
        if (read(fd, buf, MIB) <= 0)
            lseek(fd, 0, SEEK_SET);
        step(MIB / PAGE);
        nap(0.002);
    }
    unlink(path);
    return 0;
}

// tree: what `docker build` leaves behind a CI step: daemon > shell > jobs=N compilers, max=MIB between them.
static void tree_leaf(size_t share)
{
    prctl(PR_SET_NAME, "cc1plus");
    for (size_t total = 0; total < share; total += MIB) {
        memset(anon_map(MIB, MAP_PRIVATE), 1, MIB);
        step(MIB / PAGE);
        nap(0.002);
    }
    for (;;)
        nap(1);
}

static int run_tree(void)
{
    long jobs = number_key("jobs", 4);
    size_t max = mib_key("max", 400);
    if (fork() == 0) { // the daemon's child: a build container's shell
        prctl(PR_SET_NAME, "sh");
        for (long i = 0; i < jobs; i++)
            if (fork() == 0)
                tree_leaf(max / (size_t)jobs);
        while (wait(NULL) > 0)
            ;
        _exit(1);
    }
    warm("building", max);
    int status = 0;
    wait(&status);
    return status == 0 ? 0 : 1;
}

// near: holds size=MIB of private memory and works on it (work=0: only sleeps); healthy, however full.
static int run_near(void)
{
    size_t len = mib_key("size", 400);
    int fd = open_or_die(text_key("file", BIG), O_RDONLY);
    unsigned char *m = anon_map(len, MAP_PRIVATE), *buf = anon_map(MIB, MAP_PRIVATE);
    memset(m, 1, len);
    warm("holds", len);
    while (!over()) {
        if (!number_key("work", 1)) {
            nap(0.5);
            step(1);
            continue;
        }
        for (size_t i = 0; i < len && !over(); i += PAGE) {
            m[i]++;
            step(1);
            if (i % (16 * MIB) == 0 && read(fd, buf, 64 * 1024) <= 0)
                lseek(fd, 0, SEEK_SET);
        }
    }
    return 0;
}

// spike: size=MIB for hold=S seconds, then gap=S without it, round and round: a linker that just fits.
static int run_spike(void)
{
    size_t len = mib_key("size", 400);
    warm("spikes of", len);
    while (!over()) {
        unsigned char *m = anon_map(len, MAP_PRIVATE);
        double until = now() + (double)number_key("hold", 2);
        do
            for (size_t i = 0; i < len; i += PAGE) {
                m[i]++;
                step(1);
            }
        while (now() < until);
        munmap(m, len);
        nap((double)number_key("gap", 5));
    }
    return 0;
}

// ---- readers and writers of files ----

// mapper: maps size=MIB of a file, as a runtime maps its code, and touches its pages for ever.
//   threads=N  exec=1  random=1  pause_us=N after batch=N touches  warm=0 (begin cold)  advise=random (refaults that
//   the kernel does not count as memory stall)  offset=MIB
static unsigned char *mapped;
static size_t mapped_pages;

static void *mapper_touch(void *arg)
{
    uint64_t x = 88172645463325252ULL + (uintptr_t)arg * 7919;
    long pause = number_key("pause_us", 0), batch = number_key("batch", 1), random_order = number_key("random", 1);
    size_t i = (uintptr_t)arg * 1009 % mapped_pages;
    for (unsigned k = 0; (k & 1023) != 0 || !over(); k++) {
        i = random_order ? next_random(&x) % mapped_pages : (i + 1) % mapped_pages;
        sink = mapped[i * PAGE];
        step(1);
        if (pause && k % (unsigned long)batch == 0)
            nap((double)pause / 1e6);
    }
    return NULL;
}

static int run_mapper(void)
{
    size_t len = mib_key("size", 200);
    int fd = open_or_die(text_key("file", BIG), O_RDONLY);
    mapped = mmap(NULL, len, PROT_READ | (number_key("exec", 1) ? PROT_EXEC : 0), MAP_PRIVATE, fd,
                  (off_t)mib_key("offset", 0));
    if (mapped == MAP_FAILED)
        die("mmap");
    mapped_pages = len / PAGE;
    for (size_t i = 0; number_key("warm", 1) && i < mapped_pages; i++)
        sink = mapped[i * PAGE];
    if (strcmp(text_key("advise", ""), "random") == 0 && madvise(mapped, len, MADV_RANDOM) != 0)
        die("madvise");
    warm("maps", len);
    for (long i = 1; i < number_key("threads", 4); i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, mapper_touch, (void *)(uintptr_t)i) != 0)
            die("pthread_create");
    }
    mapper_touch(NULL);
    return 0;
}

// stream: reads a file from end to end through the page cache, again and again; write=1 copies it (out=PATH).
static int run_stream(void)
{
    bool copy = number_key("write", 0) != 0;
    unsigned char *buf = anon_map(MIB, MAP_PRIVATE);
    warm("streams", 0);
    while (!over()) {
        int in = open_or_die(text_key("file", BIG), O_RDONLY);
        int out = copy ? open_or_die(text_key("out", "/data/copy"), O_CREAT | O_TRUNC | O_WRONLY) : -1;
        ssize_t n;
        while (!over() && (n = read(in, buf, MIB)) > 0) {
            if (copy && write(out, buf, (size_t)n) != n)
                die("write");
            step((uint64_t)n / PAGE);
        }
        close(in);
        if (copy)
            close(out);
    }
    return 0;
}

// server: threads=N answer requests of 64 KiB at random places of a file, a page-cache server.
static void *server_answer(void *arg)
{
    uint64_t x = 1442695040888963407ULL + (uintptr_t)arg * 7919;
    int fd = open_or_die(text_key("file", BIG), O_RDONLY);
    unsigned char *buf = anon_map(64 * 1024, MAP_PRIVATE);
    off_t size = lseek(fd, 0, SEEK_END);
    while (!over()) {
        if (pread(fd, buf, 64 * 1024, (off_t)(next_random(&x) % ((uint64_t)size / 65536)) * 65536) <= 0)
            die("pread");
        step(16);
    }
    return NULL;
}

static int run_server(void)
{
    pthread_t t[64];
    long n = number_key("threads", 4);
    warm("serves", 0);
    for (long i = 0; i < n && i < 64; i++)
        if (pthread_create(&t[i], NULL, server_answer, (void *)(uintptr_t)i) != 0)
            die("pthread_create");
    for (long i = 0; i < n && i < 64; i++)
        pthread_join(t[i], NULL);
    return 0;
}

// direct: writes (or read=1: reads) a file past the page cache.
static int run_direct(void)
{
    bool reads = number_key("read", 0) != 0;
    unsigned char *buf = anon_map(MIB, MAP_PRIVATE);
    int fd =
        open_or_die(reads ? text_key("file", BIG) : "/data/direct", O_DIRECT | (reads ? O_RDONLY : O_CREAT | O_WRONLY));
    memset(buf, 1, MIB);
    warm("direct", 0);
    for (size_t i = 0; !over(); i++) {
        off_t at = (off_t)(i % 256) * (off_t)MIB;
        if ((reads ? pread(fd, buf, MIB, at) : pwrite(fd, buf, MIB, at)) != (ssize_t)MIB)
            die("direct i/o");
        step(MIB / PAGE);
    }
    return 0;
}

// small-files: writes and renames many small files in 256 directories, and reads others.
static int run_small_files(void)
{
    long files = number_key("files", 8000);
    const char *dir = text_key("dir", "/data/small");
    char path[300], tmp[310];
    unsigned char *buf = anon_map(64 * 1024, MAP_PRIVATE);
    mkdir(dir, 0700);
    warm("writes files", 0);
    for (unsigned long round = 0; !over(); round++)
        for (long i = 0; i < files && !over(); i++) {
            snprintf(path, sizeof path, "%s/%03ld", dir, i % 256);
            mkdir(path, 0700);
            snprintf(path, sizeof path, "%s/%03ld/%ld.%lu", dir, i % 256, i, round % 16);
            snprintf(tmp, sizeof tmp, "%s.tmp", path);
            int fd = open_or_die(tmp, O_CREAT | O_TRUNC | O_RDWR);
            if (write(fd, buf, 4096 + (size_t)(i * 977) % 60000) < 0)
                die("write");
            close(fd);
            if (rename(tmp, path) != 0)
                die("rename");
            long j = i * 7 % files;
            snprintf(tmp, sizeof tmp, "%s/%03ld/%ld.%lu", dir, j % 256, j, round % 16);
            fd = open(tmp, O_RDONLY | O_CLOEXEC);
            while (fd >= 0 && read(fd, buf, 16384) > 0)
                ;
            if (fd >= 0)
                close(fd);
            step(1);
        }
    return 0;
}

// build: jobs=N at once of short compiler-like processes of mem=MIB each, that read headers and write objects.
static void build_one(unsigned k, size_t mem)
{
    char path[300];
    size_t len = mem / 2 + (k * 2654435761U % 1000) * (mem / 1000);
    unsigned char *m = anon_map(len, MAP_PRIVATE), *buf = anon_map(MIB, MAP_PRIVATE);
    int fd = open_or_die(text_key("file", BIG), O_RDONLY);
    unsigned h = 0;
    for (size_t i = 0; i < 40; i++) { // headers: the same 30 MiB, and some of one's own
        off_t off = i < 30 ? (off_t)(i * MIB) : (off_t)((k % 400 * 2 + 40) * MIB);
        if (pread(fd, buf, 256 * 1024, off) > 0)
            h += buf[i];
        memset(m + len / 40 * i, (int)(h | 1), len / 40);
    }
    for (int round = 0; round < 10; round++)
        for (size_t i = 0; i < len; i += 64)
            h = h * 31 + m[i];
    sink = (unsigned char)h;
    snprintf(path, sizeof path, "%s/%u.o", text_key("dir", "/data/build"), k % 500);
    fd = open_or_die(path, O_CREAT | O_TRUNC | O_WRONLY);
    _exit(write(fd, m, 200 * 1024) < 0 ? 3 : 0);
}

static int run_build(void)
{
    long jobs = number_key("jobs", 4), running = 0, failed = 0;
    mkdir(text_key("dir", "/data/build"), 0700);
    warm("compiles", 0);
    for (unsigned k = 1; !over() || running > 0; k++) {
        while (running >= jobs || (running > 0 && over())) {
            int status;
            if (wait(&status) > 0) {
                running--;
                failed += status != 0;
                step(status == 0);
            }
        }
        if (over())
            break;
        pid_t p = fork();
        if (p == 0)
            build_one(k, mib_key("mem", 50));
        if (p > 0)
            running++;
        else
            failed++;
    }
    return failed == 0 ? 0 : 1;
}

// ---- real programs ----

// loop: runs the words after -- again and again until the time is over (once=1: once), in chroot=DIR; counts the runs.
// The status of the first run that fails is its own.
static int run_loop(void)
{
    const char *dir = text_key("chroot", "/debian");
    char **words = arg_value + arg_count;
    for (int i = 2; i < arg_count; i++)
        if (strcmp(arg_value[i], "--") == 0)
            words = arg_value + i + 1;
    if (words >= arg_value + arg_count || chroot(dir) != 0 || chdir("/data") != 0)
        die(dir);
    warm(words[0], 0);
    do {
        int status;
        pid_t p = fork();
        if (p == 0) {
            char *env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "TMPDIR=/data", NULL};
            execve("/bin/sh", (char *[]){"sh", "-ec", words[0], NULL}, env);
            _exit(127);
        }
        if (p < 0 || waitpid(p, &status, 0) != p)
            die("fork");
        if (status != 0)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        step(1);
    } while (!over() && !number_key("once", 0));
    return 0;
}

static const struct workload {
    const char *name;
    int (*run)(void);
} workloads[] = {
    {"hog", run_hog},       {"threads", run_threads}, {"fork-bomb", run_fork_bomb}, {"tmpfs", run_tmpfs},
    {"tree", run_tree},     {"near", run_near},       {"spike", run_spike},         {"mapper", run_mapper},
    {"stream", run_stream}, {"server", run_server},   {"direct", run_direct},       {"small-files", run_small_files},
    {"build", run_build},   {"loop", run_loop},
};

static void set_up(void)
{
    const char *path = text_key("progress", NULL), *comm = text_key("comm", NULL), *adj = text_key("adj", NULL);
    if (path != NULL) {
        int fd = open_or_die(path, O_RDWR);
        void *p = mmap(NULL, sizeof no_file, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            die(path);
        progress = p;
        close(fd);
    }
    if (comm != NULL)
        prctl(PR_SET_NAME, comm);
    if (adj != NULL) {
        int fd = open_or_die("/proc/self/oom_score_adj", O_WRONLY);
        if (write(fd, adj, strlen(adj)) < 0)
            die("oom_score_adj");
        close(fd);
    }
    if (number_key("lock", 0) && mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        die("mlockall");
    if (number_key("secs", 0) > 0)
        end_time = now() + (double)number_key("secs", 0);
}

int main(int argc, char **argv)
{
    arg_count = argc;
    arg_value = argv;
    for (size_t i = 0; argc > 1 && i < sizeof workloads / sizeof *workloads; i++)
        if (strcmp(argv[1], workloads[i].name) == 0) {
            set_up();
            return workloads[i].run();
        }
    fprintf(stderr, "workload: no '%s'; there are", argc > 1 ? argv[1] : "");
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
        fprintf(stderr, " %s", workloads[i].name);
    fprintf(stderr, "\n");
    return 2;
}
