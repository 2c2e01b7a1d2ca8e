// The directory of one attempt's results.
#include "worker/result.h"

#include "base/cleanup.h"
#include "store/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static int make_dir(const char *path, struct st_err *err)
{
    return mkdir(path, 0700) && errno != EEXIST ? st_err_sys(err, "cannot make %s", path) : 0;
}

static void empty(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
}

int st_result_make(struct st_result_dir *d, const char *home, const char *id, uint64_t fence, struct st_err *err)
{
    char jobs[PATH_MAX], job[PATH_MAX];
    if (!st_is_job_id(st_sv_of(id)) || fence == 0)
        return st_err_set(err, ST_E_INPUT, "'%.40s' is no job id", id);
    snprintf(d->checkpoints, sizeof d->checkpoints, "jobs/%s", id);
    if (snprintf(jobs, sizeof jobs, "%s/jobs", home) >= (int)sizeof jobs ||
        snprintf(job, sizeof job, "%s/%s", home, d->checkpoints) >= (int)sizeof job ||
        snprintf(d->path, sizeof d->path, "%s/%llu", job, (unsigned long long)fence) >= (int)sizeof d->path)
        return st_err_set(err, ST_E_INPUT, "the state directory's name is too long");
    if (make_dir(jobs, err) || make_dir(job, err) || make_dir(d->path, err))
        return -1;
    empty(d->path);
    return 0;
}

int st_result_file(const struct st_result_dir *d, const char *name, char ret[static PATH_MAX], struct st_err *err)
{
    if (snprintf(ret, PATH_MAX, "%s/%s", d->path, name) >= PATH_MAX)
        return st_err_set(err, ST_E_INPUT, "the state directory's name is too long");
    return 0;
}

static int sync_dir(const char *path, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) ? st_err_sys(err, "cannot write %s", path) : 0;
}

int st_result_sync(const struct st_result_dir *d, const char *home, struct st_err *err)
{
    char job[PATH_MAX], jobs[PATH_MAX];
    snprintf(job, sizeof job, "%s/%s", home, d->checkpoints);
    snprintf(jobs, sizeof jobs, "%s/jobs", home);
    return sync_dir(d->path, err) || sync_dir(job, err) || sync_dir(jobs, err) ? -1 : 0;
}

void st_result_remove(const struct st_result_dir *d)
{
    empty(d->path);
    rmdir(d->path);
}
