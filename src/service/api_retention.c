// Retention: jobs that ended longer than retention.jobs ago are forgotten; below HOME/jobs what belongs to no job, to
// an earlier claim of a job, or to one that ended longer than retention.results ago is removed. Never anything of a job
// that has not ended. A few at a time, so that nobody waits for it.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "service/api.h"
#include "service/cond.h"
#include "service/keys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define EVERY_MS 60000
#define BETWEEN_MS 50 // least rest between steps of one round, when there is more to do
#define REST 3        // a rest is this many times as long as the step was: submissions wait for the same writer
#define DIRS_STEP 200 // directories of one step
#define DEPTH_MAX 4   // jobs/ID/FENCE/file and one more
#define ORPHAN_S 3600 // a directory younger than this may be of a job that is being made

struct st_api_retention {
    struct st_api *api;
    char dir[PATH_MAX]; // HOME/jobs
    DIR *walk;          // of the round; NULL: not begun
    pthread_mutex_t lock;
    pthread_cond_t ended;
    pthread_t thread;
    uint64_t forgotten; // jobs, in this round
    bool stopping, started, failing;
};

// ---- files --------------------------------------------------------------------------------------

// dirfd/name with all that is in it, without following links.
static void remove_tree(int dirfd_, const char *name, unsigned depth)
{
    ST_AUTO_CLOSE int fd = openat(dirfd_, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 || depth > DEPTH_MAX ? NULL : fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (unlinkat(fd, e->d_name, 0) && (errno == EISDIR || errno == EPERM))
            remove_tree(fd, e->d_name, depth + 1);
    }
    if (d)
        closedir(d);
    unlinkat(dirfd_, name, AT_REMOVEDIR);
}

// Results of claims before `fence`: their workers lost their leases. Checkpoints have other names.
static void remove_earlier(int dirfd_, const char *name, uint64_t fence)
{
    ST_AUTO_CLOSE int fd = openat(dirfd_, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    uint64_t n;
    for (struct dirent *e; d && (e = readdir(d));)
        if (st_sv_u64(st_sv_of(e->d_name), 10, &n) && n < fence)
            remove_tree(fd, e->d_name, 1);
    if (d)
        closedir(d);
}

// ---- judging ------------------------------------------------------------------------------------

struct limits {
    uint64_t jobs_s, results_s;
};

static int read_limits(struct st_store *s, void *ctx, struct st_err *err)
{
    struct limits *l = ctx;
    return st_key_count(s, "retention.jobs", &l->jobs_s, err) ||
                   st_key_count(s, "retention.results", &l->results_s, err)
               ? -1
               : 0;
}

struct asked {
    const char *id;
    uint64_t fence;
    int64_t updated_ms;
    bool ended;
};

static int on_job(void *ctx, const struct st_job *j, struct st_err *err)
{
    struct asked *a = ctx;
    a->fence = j->fence;
    a->updated_ms = j->updated_ms;
    a->ended = j->ended;
    return 0;
}

static int ask(struct st_store *s, void *ctx, struct st_err *err)
{
    struct asked *a = ctx;
    return st_store_get(s, st_sv_of(a->id), on_job, a, err);
}

static int look_at(struct st_api_retention *r, int fd, const char *name, const struct limits *l, struct st_err *err)
{
    struct asked a = {.id = name};
    struct st_err e = {0};
    struct stat st;
    int rc = st_api_read(r->api, ask, &a, &e);
    if (rc && e.code != ST_E_NOTFOUND) {
        *err = e;
        return -1;
    }
    if (rc) {
        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && time(NULL) - st.st_mtime > ORPHAN_S)
            remove_tree(fd, name, 0);
    } else if (a.ended && st_clock_wall_ms() - a.updated_ms > (int64_t)l->results_s * 1000) {
        remove_tree(fd, name, 0);
    } else {
        remove_earlier(fd, name, a.fence);
    }
    return 0;
}

// ---- rounds -------------------------------------------------------------------------------------

struct forgetting {
    int64_t before_ms;
    int n;
};

static int forget(struct st_store *s, void *ctx, struct st_err *err)
{
    struct forgetting *f = ctx;
    f->n = st_store_forget(s, f->before_ms, err);
    return f->n < 0 ? -1 : 0;
}

// One line for a round, however many steps it took.
static int tell(struct st_store *s, void *ctx, struct st_err *err)
{
    struct st_api_retention *r = ctx;
    char text[80];
    struct st_log_line line = {.level = ST_LOG_INFO, .component = ST_SV("retention")};
    snprintf(text, sizeof text, "%llu jobs that ended long ago were forgotten", (unsigned long long)r->forgotten);
    line.message = st_sv_of(text);
    r->forgotten = 0;
    return st_store_log_add(s, &line, 1, err);
}

// 1: there is more to do; 0; -1.
static int step(struct st_api_retention *r, struct st_err *err)
{
    struct limits l;
    if (st_api_read(r->api, read_limits, &l, err))
        return -1;
    struct forgetting f = {.before_ms = st_clock_wall_ms() - (int64_t)l.jobs_s * 1000};
    if (st_api_write(r->api, forget, &f, err))
        return -1;
    r->forgotten += (uint64_t)f.n;
    if (f.n == ST_FORGET_STEP)
        return 1;
    if (r->forgotten && st_api_write(r->api, tell, r, err))
        return -1;
    if (!r->walk && !(r->walk = opendir(r->dir)))
        return errno == ENOENT ? 0 : st_err_sys(err, "%s", r->dir);
    struct dirent *e = NULL;
    for (int n = 0; n < DIRS_STEP && (e = readdir(r->walk)); n++)
        if (st_is_job_id(st_sv_of(e->d_name)) && look_at(r, dirfd(r->walk), e->d_name, &l, err))
            return -1;
    if (e)
        return 1;
    closedir(r->walk);
    r->walk = NULL;
    return 0;
}

static void *run(void *ctx)
{
    struct st_api_retention *r = ctx;
    pthread_mutex_lock(&r->lock);
    while (!r->stopping) {
        struct st_err err = {0};
        pthread_mutex_unlock(&r->lock);
        int64_t begun = st_clock_mono_ms();
        int rc = step(r, &err);
        int64_t took = st_clock_mono_ms() - begun, rest = rc > 0 ? ST_MAX((int64_t)BETWEEN_MS, REST * took) : EVERY_MS;
        if (rc < 0 && !r->failing) // once, not every minute
            fprintf(stderr, "stella-api: retention: %s\n", err.text);
        r->failing = rc < 0;
        pthread_mutex_lock(&r->lock);
        struct timespec t = st_cond_in(rest);
        while (!r->stopping && pthread_cond_timedwait(&r->ended, &r->lock, &t) == 0)
            ;
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

int st_api_retention_start(struct st_api *a, const char *home, struct st_api_retention **ret, struct st_err *err)
{
    struct st_api_retention *r = calloc(1, sizeof *r);
    if (!r)
        return st_err_nomem(err);
    r->api = a;
    snprintf(r->dir, sizeof r->dir, "%s/jobs", home);
    pthread_mutex_init(&r->lock, NULL);
    st_cond_init(&r->ended);
    r->started = pthread_create(&r->thread, NULL, run, r) == 0;
    if (!r->started) {
        st_api_retention_stop(r);
        return st_err_set(err, ST_E_FAILED, "cannot start a thread");
    }
    *ret = r;
    return 0;
}

void st_api_retention_stop(struct st_api_retention *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_signal(&r->ended);
    pthread_mutex_unlock(&r->lock);
    if (r->started)
        pthread_join(r->thread, NULL);
    if (r->walk)
        closedir(r->walk);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->ended);
    free(r);
}
