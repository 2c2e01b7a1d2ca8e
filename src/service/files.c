// Descriptors of jobs. All functions lock.
#include "service/files.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

struct entry {
    char id[ST_JOB_ID + 1]; // "": free
    int fd;
    bool once;       // a pipe
    uint64_t failed; // when, in order; 0: not
};

struct st_files {
    pthread_mutex_t lock;
    struct entry at[ST_FILES_MAX];
    uint64_t order;
};

int st_files_new(struct st_files **ret, struct st_err *err)
{
    struct st_files *f = calloc(1, sizeof *f);
    if (!f)
        return st_err_nomem(err);
    pthread_mutex_init(&f->lock, NULL);
    *ret = f;
    return 0;
}

static void clear(struct entry *e)
{
    if (e->id[0] && e->fd >= 0)
        close(e->fd);
    *e = (struct entry){.fd = -1};
}

void st_files_free(struct st_files *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < ST_FILES_MAX; i++)
        clear(&f->at[i]);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static void unlock(struct st_files **f)
{
    pthread_mutex_unlock(&(*f)->lock);
}
#define LOCKED(f)                                   \
    ST_AUTO(unlock) struct st_files *locked_ = (f); \
    pthread_mutex_lock(&locked_->lock)

static struct entry *find(struct st_files *f, const char *id)
{
    for (size_t i = 0; i < ST_FILES_MAX; i++)
        if (id[0] && strcmp(f->at[i].id, id) == 0)
            return &f->at[i];
    return NULL;
}

int st_files_check(int fd, const struct st_caller *caller, uint64_t *ret_size, struct st_err *err)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &st))
        return st_err_sys(err, "the descriptor that was passed");
    if ((flags & O_PATH) || (flags & O_ACCMODE) == O_WRONLY)
        return st_err_set(err, ST_E_INPUT, "the descriptor that was passed cannot be read from");
    if (S_ISDIR(st.st_mode) && caller->role < ST_ROLE_WORKER)
        return st_err_set(err, ST_E_AUTH,
                          "a directory is taken from root and the service's own user only: scan it with --local");
    if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISDIR(st.st_mode))
        return st_err_set(err, ST_E_INPUT, "what was passed is neither a file, a pipe nor a directory");
    *ret_size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    return 0;
}

int st_files_put(struct st_files *f, const char *id, int fd, struct st_err *err)
{
    struct stat st;
    ST_AUTO_CLOSE int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0 || fstat(own, &st))
        return st_err_sys(err, "the descriptor that was passed");
    LOCKED(f);
    struct entry *room = find(f, id);
    for (size_t i = 0; !room && i < ST_FILES_MAX; i++)
        if (!f->at[i].id[0])
            room = &f->at[i];
    bool full = !room;
    for (size_t i = 0; full && i < ST_FILES_MAX; i++) // the one that failed longest ago
        if (f->at[i].failed && (!room || f->at[i].failed < room->failed))
            room = &f->at[i];
    if (!room)
        return st_err_set(err, ST_E_RETRY, "%d files of jobs are open, that is all there are: try again later",
                          ST_FILES_MAX);
    clear(room);
    snprintf(room->id, sizeof room->id, "%s", id);
    room->fd = st_take_fd(&own);
    room->once = S_ISFIFO(st.st_mode);
    return 0;
}

int st_files_get(struct st_files *f, const char *id)
{
    LOCKED(f);
    struct entry *e = find(f, id);
    if (!e)
        return -1;
    e->failed = 0;
    int fd = fcntl(e->fd, F_DUPFD_CLOEXEC, 3);
    if (e->once)
        clear(e);
    return fd;
}

void st_files_failed(struct st_files *f, const char *id)
{
    LOCKED(f);
    struct entry *e = find(f, id);
    if (e)
        e->failed = ++f->order;
}

void st_files_drop(struct st_files *f, const char *id)
{
    LOCKED(f);
    struct entry *e = find(f, id);
    if (e)
        clear(e);
}
