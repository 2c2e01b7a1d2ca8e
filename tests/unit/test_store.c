// The SQLite file of the store: versions, damage, a full disk; state directory; owners. What both back ends promise is
// in tests/store/conformance.c.
#include "base/cleanup.h"
#include "base/fd.h"
#include "store/db.h"
#include "store/home.h"
#include "tap.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char home[PATH_MAX], path[PATH_MAX];

struct seen {
    int n;
    struct st_job last;
    char reason[32], image[64];
};

static int see(void *ctx, const struct st_job *job, struct st_err *err)
{
    struct seen *s = ctx;
    s->n++;
    s->last = *job;
    snprintf(s->reason, sizeof s->reason, ST_SV_FMT, ST_SV_ARG(job->reason));
    snprintf(s->image, sizeof s->image, ST_SV_FMT, ST_SV_ARG(job->image));
    return 0;
}

static void drop_files(void)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char name[PATH_MAX + 8];
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
}

static void sql(const char *text)
{
    sqlite3 *db;
    char *why = NULL;
    if (sqlite3_open(path, &db) || sqlite3_exec(db, text, NULL, NULL, &why))
        printf("# %s\n", why ? why : "cannot open");
    sqlite3_free(why);
    sqlite3_close(db);
}

static size_t read_file(const char *name, char *buf, size_t cap)
{
    ST_AUTO_CLOSE int fd = open(name, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : st_fd_read(fd, buf, cap - 1);
    buf[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

// The store in the dump of an earlier version; NULL when it does not open.
static struct st_store *open_version(int version)
{
    static char dump[64 * 1024];
    char name[PATH_MAX];
    struct st_err err = {0};
    struct st_store *s = NULL;
    snprintf(name, sizeof name, "%s/store/v%d.sql", getenv("ST_TESTS") ? getenv("ST_TESTS") : "tests", version);
    TAP_OK(read_file(name, dump, sizeof dump) > 1000, "a dump of version %d", version);
    drop_files();
    sql(dump);
    TAP_OK(st_store_open(home, false, &s, &err) == 0, "a store of version %d opens %s", version, err.text);
    return s;
}

// tests/store/v1.sql was dumped from the file of the released version 1.
static void test_version_1(void)
{
    struct st_err err = {0};
    struct st_store *s = open_version(1);
    struct seen all = {0}, one = {0}, stray = {0};
    if (!s)
        return;
    TAP_OK(st_store_list(s, &(struct st_job_filter){0}, see, &all, &err) == 0 && all.n == 5, "its jobs are there: %d",
           all.n);
    TAP_OK(st_store_get(s, ST_SV("3f71dd1389c1b0eb21da03b289b825e8"), see, &one, &err) == 0 &&
               one.last.state == ST_JOB_FAILED && !strcmp(one.reason, "bad_input") && !strcmp(one.image, "./bad.tar") &&
               one.last.exit_code == 2 && one.last.created_ms == 1795646138445 && one.last.fence == 0,
           "as they were");
    TAP_OK(st_store_sweep(s, 5, see, &stray, &err) == 0 && stray.n == 1 && !strcmp(stray.reason, "killed"),
           "the one whose process is gone is failed");
    struct st_submit sub = {.image = ST_SV("new:1"), .pool = ST_SV("default")};
    struct seen made = {0};
    TAP_OK(st_store_submit(s, &sub, see, &made, &err) == 1, "and it takes new ones %s", err.text);
    st_store_close(s);
    s = NULL;
    TAP_OK(st_store_open(home, false, &s, &err) == 0, "twice");
    st_store_close(s);
}

// tests/store/v2.sql was dumped from the file of a service of version 2, with a queue, pools, configuration and a log.
static void test_version_2(void)
{
    struct st_err err = {0};
    struct st_store *s = open_version(2);
    struct seen all = {0}, one = {0}, stray = {0}, got = {0};
    if (!s)
        return;
    TAP_OK(st_store_list(s, &(struct st_job_filter){0}, see, &all, &err) == 0 && all.n == 6, "its jobs are there: %d",
           all.n);
    TAP_OK(st_store_get(s, ST_SV("88d0b5eedc3936398dc49a864623fe4c"), see, &one, &err) == 0 &&
               one.last.state == ST_JOB_FAILED && !strcmp(one.reason, "oom") && one.last.exit_code == 137 &&
               one.last.fence == 1 && one.last.result.len == 0 && one.last.unknowns == 0,
           "as they were");
    TAP_OK(st_store_sweep(s, 5, see, &stray, &err) == 0 && stray.n == 1 && !strcmp(stray.reason, "killed"),
           "the lease of an earlier boot is over");
    struct st_claim c = {.pool = ST_SV("default"), .worker = ST_SV("host/default-1"), .lease_ms = 60000};
    TAP_OK(st_store_claim(s, &c, see, &got, &err) == 1, "the queue goes on %s", err.text);
    struct st_end end = {.fence = got.last.fence,
                         .state = ST_JOB_COMPLETED,
                         .result = ST_SV("cyclonedx-json,purls"),
                         .unknowns = 2,
                         .packages = 70};
    memcpy(end.id, got.last.id, sizeof end.id);
    TAP_OK(st_store_finish(s, &end, 5, NULL, &err) == 0 && st_store_get(s, st_sv_of(end.id), see, &got, &err) == 0 &&
               got.last.unknowns == 2 && got.last.packages == 70,
           "and keeps results %s", err.text);
    st_store_close(s);
}

// tests/store/v3.sql was dumped from the file of a service of version 3, with results and a lease that nobody holds any
// more.
static void test_version_3(void)
{
    struct st_err err = {0};
    struct st_store *s = open_version(3);
    struct seen all = {0}, one = {0}, stray = {0}, got = {0};
    if (!s)
        return;
    TAP_OK(st_store_list(s, &(struct st_job_filter){0}, see, &all, &err) == 0 && all.n == 6, "its jobs are there: %d",
           all.n);
    TAP_OK(st_store_get(s, ST_SV("e4be381455dc4e8dc755d91d5a5592c3"), see, &one, &err) == 0 &&
               one.last.state == ST_JOB_COMPLETED && one.last.packages == 42 && one.last.unknowns == 1,
           "as they were");
    struct st_counts k;
    TAP_OK(st_store_counts(s, 0, &k, &err) == 0 && k.pending == 2 && k.processing == 1 && k.failed == 1 &&
               k.completed == 1 && k.cancelled == 1 && k.oldest_pending_ms == 1795668776945,
           "and they are counted %s", err.text);
    TAP_OK(st_store_reclaim(s, ST_SV("host/aa/1"), 5, see, &stray, &err) == 0 && stray.n == 0,
           "a lease without a holder is nobody's");
    TAP_OK(st_store_sweep(s, 5, see, &stray, &err) == 0 && stray.n == 1 && !strcmp(stray.reason, "killed"),
           "it is over by its time");
    struct st_claim c = {
        .pool = ST_SV("default"), .worker = ST_SV("host/default-1"), .lease_ms = 60000, .holder = ST_SV("host/aa/1")};
    TAP_OK(st_store_claim(s, &c, see, &got, &err) == 1, "the queue goes on %s", err.text);
    TAP_OK(st_store_reclaim(s, ST_SV("host/aa/2"), 5, see, &stray, &err) == 0 && stray.n == 2, "with holders %s",
           err.text);
    st_store_close(s);
}

static void test_newer(void)
{
    static char before[256 * 1024], after[256 * 1024];
    struct st_err err = {0};
    struct st_store *s = NULL;
    drop_files();
    sql("CREATE TABLE strange(x); PRAGMA user_version = 99");
    size_t n = read_file(path, before, sizeof before);
    TAP_OK(st_store_open(home, true, &s, &err) == -1 && err.code == ST_E_CONFLICT && strstr(err.text, "newer stella"),
           "a newer store is refused: %s", err.text);
    TAP_OK(read_file(path, after, sizeof after) == n && n > 0 && !memcmp(before, after, n), "and not touched");
}

static void test_damaged(void)
{
    struct st_err err = {0};
    struct st_store *s = NULL;
    static const char text[] = "this is no database at all, not even a header";
    drop_files();
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    TAP_OK(write(fd, text, sizeof text) == sizeof text, "garbage");
    close(fd);
    TAP_OK(st_store_open(home, true, &s, &err) == -1 && err.code == ST_E_CORRUPT && strstr(err.text, "damaged") &&
               strstr(err.text, "mv "),
           "garbage is said, with what to do: %s", err.text);
    char again[128];
    TAP_OK(read_file(path, again, sizeof again) == sizeof text && !memcmp(again, text, sizeof text),
           "and left as it is");
    drop_files();
    TAP_OK(st_store_open(home, true, &s, &err) == 0, "a good one");
    st_store_close(s);
    sql("PRAGMA wal_checkpoint(TRUNCATE)"); // else the log has good copies of the pages
    fd = open(path, O_WRONLY);
    char junk[4096];
    memset(junk, 0xA5, sizeof junk);
    for (int i = 1; i < 12; i++) // the header stays: the damage is found later
        if (pwrite(fd, junk, sizeof junk, i * 4096) != sizeof junk)
            break;
    close(fd);
    s = NULL;
    struct seen seen = {0};
    int rc = st_store_open(home, true, &s, &err);
    if (rc == 0)
        rc = st_store_list(s, &(struct st_job_filter){0}, see, &seen, &err);
    TAP_OK(rc == -1 && err.code == ST_E_CORRUPT, "damage behind the header is said: %s", err.text);
    st_store_close(s);
}

static void test_full_disk(void)
{
    struct st_err err = {0};
    struct st_store *s = NULL;
    static char big[60000];
    drop_files();
    memset(big, 'x', sizeof big);
    if (st_store_open(home, true, &s, &err))
        return;
    struct st_submit sub = {.image = ST_SV("a"), .pool = ST_SV("default"), .options = st_sv_mem(big, sizeof big)};
    s->ops->script(s, "PRAGMA max_page_count = 40", &err);
    struct seen seen = {0};
    int rc = 1, n = 0;
    for (; n < 100 && rc >= 0; n++) {
        sub.fresh = true;
        rc = st_store_submit(s, &sub, see, &seen, &err);
    }
    TAP_OK(rc == -1 && err.code == ST_E_RETRY && strstr(err.text, "no space"), "no room: %s", err.text);
    struct st_counts c;
    TAP_OK(st_store_counts(s, 0, &c, &err) == 0 && c.pending == (uint64_t)n - 1, "those before are there, pending");
    s->ops->script(s, "PRAGMA max_page_count = 4000", &err);
    TAP_OK(st_store_submit(s, &sub, see, &seen, &err) == 1, "and with room it goes on %s", err.text);
    st_store_close(s);
}

static void test_files(void)
{
    struct stat st;
    struct st_err err = {0};
    struct st_store *s = NULL;
    drop_files();
    TAP_OK(st_store_open(home, false, &s, &err) == -1 && err.code == ST_E_NOTFOUND && stat(path, &st), "none is made");
    TAP_OK(st_store_open(home, true, &s, &err) == 0 && stat(path, &st) == 0 && (st.st_mode & 0777) == 0600,
           "the record is private");
    st_store_close(s);
    TAP_OK(st_store_open("/nonexistent", false, &s, &err) == -1 && err.code == ST_E_NOTFOUND, "no record yet");
    TAP_OK(st_store_open("/proc", true, &s, &err) == -1, "a place without files");
    struct seen seen = {0};
    TAP_OK(st_store_open_empty(&s, &err) == 0 && st_store_list(s, &(struct st_job_filter){0}, see, &seen, &err) == 0 &&
               seen.n == 0,
           "an empty one");
    st_store_close(s);
}

// What another process that closes its connection asks: may it take the whole file? While a connection is open here, it
// may not; else it would empty and remove the log under us.
static bool another_may_take_it(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct flock l = {
            .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0x40000002, .l_len = 510}; // SQLite's SHARED bytes
        int fd = open(path, O_RDWR | O_CLOEXEC);
        _exit(fd < 0 || fcntl(fd, F_GETLK, &l) ? 2 : l.l_type == F_UNLCK);
    }
    int st = 0;
    waitpid(pid, &st, 0);
    return !WIFEXITED(st) || WEXITSTATUS(st) != 0;
}

static void test_locks(void)
{
    struct st_err err = {0};
    struct st_store *one = NULL, *two = NULL;
    drop_files();
    TAP_OK(st_store_open(home, true, &one, &err) == 0 && !another_may_take_it(), "a connection holds the file");
    TAP_OK(st_store_open(home, true, &two, &err) == 0 && !another_may_take_it(), "and so with a second one");
    st_store_close(two);
    TAP_OK(st_store_open(home, false, &two, &err) == 0 && !another_may_take_it(), "and a third");
    st_store_close(one);
    st_store_close(two);
    TAP_OK(another_may_take_it(), "and none when all are closed");
}

static void test_home(void)
{
    char got[PATH_MAX], want[PATH_MAX];
    struct st_err err = {0};
    setenv("STELLA_HOME", "/x/y", 1);
    TAP_OK(st_home_path(got, &err) == 0 && !strcmp(got, "/x/y"), "STELLA_HOME");
    unsetenv("STELLA_HOME");
    if (geteuid() == 0) {
        TAP_OK(st_home_path(got, &err) == 0 && !strcmp(got, "/var/lib/stella"), "root's");
    } else {
        setenv("XDG_DATA_HOME", "/data", 1);
        TAP_OK(st_home_path(got, &err) == 0 && !strcmp(got, "/data/stella"), "XDG_DATA_HOME");
        unsetenv("XDG_DATA_HOME");
    }
    snprintf(want, sizeof want, "%.4000s/a/b", home);
    setenv("STELLA_HOME", want, 1);
    struct stat st;
    TAP_OK(st_home_make(got, &err) == 0 && !strcmp(got, want) && stat(want, &st) == 0 && (st.st_mode & 0777) == 0700,
           "the directory is made");
    setenv("STELLA_HOME", "/proc/none", 1);
    TAP_OK(st_home_make(got, &err) == -1, "a directory that cannot be made: %s", err.text);
}

static void test_owner(void)
{
    char me[ST_OWNER_TEXT], child[ST_OWNER_TEXT] = "";
    int p[2];
    st_owner_self(me);
    TAP_OK(!st_owner_gone(st_sv_of(me)), "this process is here");
    TAP_OK(!st_owner_gone(ST_SV("")) && !st_owner_gone(ST_SV("a b c")), "an owner that says nothing is not gone");
    if (pipe(p))
        return;
    pid_t pid = fork();
    if (pid == 0) {
        st_owner_self(me);
        _exit(write(p[1], me, sizeof me) < 0);
    }
    ssize_t n = read(p[0], child, sizeof child);
    waitpid(pid, NULL, 0);
    close(p[0]);
    close(p[1]);
    TAP_OK(n == sizeof child && st_owner_gone(st_sv_of(child)), "an ended process is gone");
}

static void test_owner_stop(void)
{
    char me[ST_OWNER_TEXT];
    int p[2];
    struct st_err err = {0};
    if (pipe(p))
        return;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        st_owner_self(me);
        if (write(p[1], me, sizeof me) < 0)
            _exit(1);
        pause();
        _exit(0);
    }
    TAP_OK(read(p[0], me, sizeof me) == sizeof me && st_owner_stop(st_sv_of(me), &err) == 0, "told to stop %s",
           err.text);
    int st = 0;
    waitpid(pid, &st, 0);
    TAP_OK(WIFSIGNALED(st) && WTERMSIG(st) == 15, "by SIGTERM");
    TAP_OK(st_owner_stop(st_sv_of(me), &err) == -1 && err.code == ST_E_NOTFOUND, "a process that is gone: %s",
           err.text);
    TAP_OK(st_owner_stop(ST_SV("x y 1 0"), &err) == -1, "another boot's process is not touched");
    TAP_OK(st_owner_stop(ST_SV(""), &err) == -1, "nobody");
    close(p[0]);
    close(p[1]);
}

int main(void)
{
    snprintf(home, sizeof home, "%s/stella-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(home))
        return 1;
    st_home_file(home, "stella.db", path, NULL);
    test_files();
    test_locks();
    test_version_1();
    test_version_2();
    test_version_3();
    test_newer();
    test_damaged();
    test_full_disk();
    test_home();
    test_owner();
    test_owner_stop();
    drop_files();
    static const char *const left[] = {"a/b", "a", ""};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        char name[PATH_MAX + 16];
        snprintf(name, sizeof name, "%s/%s", home, left[i]);
        rmdir(name);
    }
    return tap_done();
}
