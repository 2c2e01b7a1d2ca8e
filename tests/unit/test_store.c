// The job record: every backend of store.h is to pass these rows.
#include "store/home.h"
#include "store/store.h"
#include "tap.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char home[PATH_MAX];

struct seen {
    int n;
    char ids[16][ST_JOB_ID + 1];
    struct st_job last; // views are dead; numbers only
    char image[64], reason[32], message[64], resumed[40], options[64];
};

static void keep(char *to, size_t cap, struct st_sv v)
{
    snprintf(to, cap, ST_SV_FMT, ST_SV_ARG(v));
}

static int see(void *ctx, const struct st_job *job, struct st_err *err)
{
    struct seen *s = ctx;
    if (s->n < 16)
        memcpy(s->ids[s->n], job->id, sizeof job->id);
    s->n++;
    s->last = *job;
    keep(s->image, sizeof s->image, job->image);
    keep(s->reason, sizeof s->reason, job->reason);
    keep(s->message, sizeof s->message, job->message);
    keep(s->resumed, sizeof s->resumed, job->resumed_from);
    keep(s->options, sizeof s->options, job->options);
    return 0;
}

static struct st_store *open_store(void)
{
    struct st_store *s = NULL;
    struct st_err err = {0};
    TAP_OK(st_store_open(home, true, &s, &err) == 0, "store opens %s", err.text);
    return s;
}

static void test_life(struct st_store *s)
{
    struct st_err err = {0};
    struct st_job job = {.image = ST_SV("app.tar"), .options = ST_SV("{\"memory\":1}"), .attempt = 1};
    struct seen seen = {0};
    TAP_OK(st_store_begin(s, &job, &err) == 0 && strlen(job.id) == 32 && job.created_ms > 0, "begin %s", err.text);
    TAP_OK(st_store_subject(s, job.id, ST_SV("sha256:ab"), 4096, &err) == 0, "subject");
    TAP_OK(st_store_get(s, st_sv_sub(st_sv_of(job.id), 0, 6), see, &seen, &err) == 0 && seen.n == 1 &&
               seen.last.state == ST_JOB_PROCESSING && seen.last.has_size && seen.last.size == 4096,
           "get by a prefix of six");
    TAP_OK(st_store_sweep(s, &err) == 0, "sweep");
    TAP_OK(st_store_get(s, st_sv_of(job.id), see, &seen, &err) == 0 && seen.last.state == ST_JOB_PROCESSING,
           "a living owner keeps its job");
    job.state = ST_JOB_FAILED;
    job.reason = ST_SV("corrupt_layer");
    job.message = ST_SV("layer 2 ends early");
    job.exit_code = 1;
    job.peak_bytes = 123456789;
    job.resumed_from = ST_SV("0123");
    TAP_OK(st_store_finish(s, &job, &err) == 0, "finish");
    TAP_OK(st_store_get(s, st_sv_of(job.id), see, &seen, &err) == 0 && seen.last.state == ST_JOB_FAILED &&
               seen.last.peak_bytes == 123456789 && seen.last.exit_code == 1 && !strcmp(seen.reason, "corrupt_layer") &&
               !strcmp(seen.message, "layer 2 ends early") && !strcmp(seen.resumed, "0123") &&
               !strcmp(seen.options, "{\"memory\":1}"),
           "what was stored comes back");
    struct seen none = {0};
    TAP_OK(st_store_newest(s, ST_SV("app.tar"), ST_SV_NULL, 0, see, &none, &err) == 1 && !strcmp(none.ids[0], job.id),
           "newest by reference");
    TAP_OK(st_store_newest(s, ST_SV("x"), ST_SV("sha256:ab"), 0, see, &none, &err) == 1, "newest by digest");
    TAP_OK(st_store_newest(s, ST_SV("other.tar"), ST_SV_NULL, 0, see, &none, &err) == 0, "no such image");
    TAP_OK(st_store_newest(s, ST_SV("app.tar"), ST_SV_NULL, INT64_MAX, see, &none, &err) == 0, "none since the future");
}

static void test_ids(struct st_store *s)
{
    struct st_err err = {0};
    struct seen seen = {0};
    static const char *const bad[] = {"", "abcde", "ABCDEF", "abcdeg", "0123456789abcdef0123456789abcdef0", "%%%%%%"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        TAP_OK(st_store_get(s, st_sv_of(bad[i]), see, &seen, &err) == -1 && err.code == ST_E_USAGE, "bad id '%s'",
               bad[i]);
    TAP_OK(st_store_get(s, ST_SV("000000000000"), see, &seen, &err) == -1 && err.code == ST_E_NOTFOUND && seen.n == 0,
           "unknown id");
    char path[PATH_MAX];
    sqlite3 *db;
    st_home_file(home, "stella.db", path, NULL);
    sqlite3_open(path, &db);
    sqlite3_exec(db,
                 "INSERT INTO jobs(id,image,status,attempt,created_ms,started_ms,updated_ms,owner) VALUES"
                 "('aaaaaa00000000000000000000000001','a','completed',1,5,5,5,''),"
                 "('aaaaaa00000000000000000000000002','a','processing',1,6,6,6,'another-boot pid:[1] 1 1'),"
                 "('ffffff00000000000000000000000003','b','failed',1,7,7,7,'')",
                 NULL, NULL, NULL);
    sqlite3_close(db);
    TAP_OK(st_store_get(s, ST_SV("aaaaaa"), see, &seen, &err) == -1 && err.code == ST_E_USAGE &&
               strstr(err.text, "ambiguous"),
           "ambiguous prefix");
    TAP_OK(st_store_get(s, ST_SV("ffffff"), see, &seen, &err) == 0 && seen.last.updated_ms == 7, "prefix of all f");
    TAP_OK(st_store_sweep(s, &err) == 0 &&
               st_store_get(s, ST_SV("aaaaaa00000000000000000000000002"), see, &seen, &err) == 0 &&
               seen.last.state == ST_JOB_FAILED && !strcmp(seen.reason, "killed") && seen.last.updated_ms == 6,
           "a job of an earlier boot is failed, killed, and keeps its time");
}

static void test_list(struct st_store *s)
{
    struct st_err err = {0};
    struct seen all = {0}, failed = {0}, oom = {0}, two = {0}, late = {0};
    struct st_job_filter f = {0};
    TAP_OK(st_store_list(s, &f, see, &all, &err) == 0 && all.n == 4 && all.ids[1][0] == 'f' &&
               !strcmp(all.ids[3], "aaaaaa00000000000000000000000001"),
           "list, newest first");
    TAP_OK(st_job_filter_words(&f, ST_SV("failed"), &err) == 0 && st_store_list(s, &f, see, &failed, &err) == 0 &&
               failed.n == 3,
           "failed covers every reason");
    TAP_OK(st_job_filter_words(&f, ST_SV("completed,killed"), &err) == 0 &&
               st_store_list(s, &f, see, &two, &err) == 0 && two.n == 2,
           "a state and a reason");
    TAP_OK(st_job_filter_words(&f, ST_SV("oom"), &err) == 0 && st_store_list(s, &f, see, &oom, &err) == 0 && oom.n == 0,
           "nothing of that reason");
    TAP_OK(st_job_filter_words(&f, ST_SV("failled"), &err) == -1 && err.code == ST_E_USAGE && strstr(err.text, "oom"),
           "unknown word lists the words");
    TAP_OK(st_job_filter_words(&f, ST_SV(""), &err) == -1, "no word");
    f = (struct st_job_filter){.since_ms = 6, .limit = 2};
    TAP_OK(st_store_list(s, &f, see, &late, &err) == 0 && late.n == 2, "since is inclusive, limit holds");
}

static void test_files(void)
{
    char path[PATH_MAX];
    struct stat st;
    struct st_err err = {0};
    struct st_store *s = NULL;
    st_home_file(home, "stella.db", path, NULL);
    TAP_OK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600, "the record is private");
    sqlite3 *db;
    sqlite3_open(path, &db);
    sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL);
    sqlite3_close(db);
    TAP_OK(st_store_open(home, true, &s, &err) == -1 && strstr(err.text, "newer stella"),
           "a newer schema is left alone");
    int fd = open(path, O_WRONLY | O_TRUNC);
    TAP_OK(write(fd, "this is no database at all, not even a header", 45) == 45, "garbage");
    close(fd);
    TAP_OK(st_store_open(home, true, &s, &err) == -1 && err.code == ST_E_IO, "garbage is an error: %s", err.text);
    TAP_OK(st_store_open("/nonexistent", false, &s, &err) == -1 && err.code == ST_E_NOTFOUND, "no record yet");
    TAP_OK(st_store_open("/proc", true, &s, &err) == -1, "a place without files");
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

int main(void)
{
    snprintf(home, sizeof home, "%s/stella-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(home))
        return 1;
    struct st_store *s = open_store();
    if (s) {
        test_life(s);
        test_ids(s);
        test_list(s);
        st_store_close(s);
    }
    test_files();
    test_home();
    test_owner();
    static const char *const left[] = {"a/b", "a", "stella.db", "stella.db-wal", "stella.db-shm", ""};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        char path[PATH_MAX + 16];
        snprintf(path, sizeof path, "%s/%s", home, left[i]);
        if (unlink(path))
            rmdir(path);
    }
    return tap_done();
}
