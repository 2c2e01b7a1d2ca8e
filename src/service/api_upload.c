// Uploads: POST /api/v1/scans with an archive as the body, straight into a worker (api_direct.c), or with ?spool=1:
// stored below HOME/uploads, brought to the disk, and only then becomes a job, whose image is the file's path; from
// there on it is as durable as any other job. The file is removed when its job has completed or was cancelled, a day
// after it failed (it may be tried again until then), and when there is no job of it.
//
//   uploads/part-XXXXXX/NAME      in transfer; removed when the transfer breaks off, and at the next start
//   uploads/HEX/NAME              of a job
//
// Every byte is paid for before it is taken: the length is reserved from uploads.quota and from the disk.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/random.h"
#include "service/api_upload_int.h"
#include "service/cond.h"
#include "service/keys.h"
#include "service/scan_options.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define SWEEP_MS 5000
#define ORPHAN_S 3600          // without a job: removed
#define FAILED_S (24 * 3600)   // job failed: removed
#define SLOW_AFTER_MS 30000    // from then on a transfer is cut
#define SLOW_BYTES (16 * 1024) // when it has not had so much a second on average
#define FLUSH (8u << 20)       // the kernel is told to write every so many bytes, not all at the end
#define NAME_DEFAULT "image.tar"
#define PART "part-"

// ---- files ----------------------------------------------------------------------------------------

// A directory of one file, and the file. Bytes that were given back.
static uint64_t remove_dir(const char *dir)
{
    uint64_t bytes = 0;
    DIR *d = opendir(dir);
    struct stat st;
    for (struct dirent *e; d && (e = readdir(d));)
        if (e->d_name[0] != '.') {
            if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
                bytes += (uint64_t)st.st_size;
            unlinkat(dirfd(d), e->d_name, 0);
        }
    if (d)
        closedir(d);
    rmdir(dir);
    return bytes;
}

static int sync_dir(const char *dir)
{
    ST_AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

static int make_part(struct st_upload *u, struct st_err *err)
{
    struct st_api_uploads *a = u->all;
    if ((mkdir(a->dir, 0700) && errno != EEXIST))
        return st_err_sys(err, "%s", a->dir);
    if (snprintf(u->dir, sizeof u->dir, "%s/" PART "XXXXXX", a->dir) >= (int)sizeof u->dir || !mkdtemp(u->dir)) {
        u->dir[0] = '\0';
        return st_err_sys(err, "%s", a->dir);
    }
    if (snprintf(u->path, sizeof u->path, "%s/%s", u->dir, u->name) >= (int)sizeof u->path)
        return st_err_set(err, ST_E_INPUT, "the name of the state directory is too long");
    u->fd = open(u->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (u->fd < 0)
        return st_err_sys(err, "%s", u->path);
    if (fallocate(u->fd, 0, 0, (off_t)u->length) && errno != EOPNOTSUPP)
        return st_err_set(err, ST_E_RETRY, "no room for %llu bytes in %s (%s)", (unsigned long long)u->length, a->dir,
                          strerror(errno));
    return 0;
}

// ---- beginning ------------------------------------------------------------------------------------

const char *const st_upload_types[] = {"application/x-tar", "application/octet-stream", "application/gzip",
                                       "application/zstd", NULL};

bool st_upload_wanted(const struct st_api_request *r)
{
    const char *v = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
    struct st_sv type, rest;
    if (!v || strcmp(r->method, "POST") != 0 || strcmp(r->url, "/api/v1/scans") != 0)
        return false;
    st_sv_cut(st_sv_of(v), ';', &type, &rest);
    for (size_t i = 0; st_upload_types[i]; i++)
        if (st_sv_ieq(st_sv_trim(type), st_sv_of(st_upload_types[i])))
            return true;
    return false;
}

#define QRY struct upload_query
struct upload_query {
    bool spool, has_priority;
    struct st_sv name, pool, options;
    enum st_priority priority;
};
static const struct st_field query_fields[] = {
    {"spool", ST_FIELD_BOOL_AT(QRY, spool), .what = "of an archive: 1, it is stored first"},
    {"name", ST_FIELD_TEXT_AT(QRY, name), .max = ST_UPLOAD_NAME, .what = "of an archive: its file name"},
    {"pool", ST_FIELD_TEXT_AT(QRY, pool), .max = 63, .what = "of an archive: pool of workers"},
    {"options", ST_FIELD_TEXT_AT(QRY, options), .max = 8192, .what = "of an archive: JSON object, as in a submission"},
    {"priority", ST_FIELD_WORD_AT(QRY, priority, st_priority_words), .has = offsetof(QRY, has_priority) + 1,
     .what = "of an archive: low, normal, high, critical"},
};
const struct st_record st_upload_query = ST_RECORD("Upload", QRY, query_fields);

struct querying {
    struct upload_query q;
    uint64_t seen;
    struct st_err err;
};

static enum MHD_Result take_field(void *ctx, enum MHD_ValueKind kind, const char *key, size_t key_len,
                                  const char *value, size_t value_len)
{
    struct querying *k = ctx;
    struct st_sv name = st_sv_mem(key, key_len), v = value ? st_sv_mem(value, value_len) : ST_SV("");
    if (st_sv_eq(name, ST_SV("spool")) && (st_sv_eq(v, ST_SV("1")) || st_sv_eq(v, ST_SV("0"))))
        v = v.ptr[0] == '1' ? ST_SV("true") : ST_SV("false");
    return st_record_set(&st_upload_query, name, v, &k->q, &k->seen, &k->err) ? MHD_NO : MHD_YES;
}

// The name is shown in listings, and is a file's name: nothing else than a plain one.
static int take_name(struct st_upload *u, struct st_sv name, struct st_err *err)
{
    bool good = name.len <= ST_UPLOAD_NAME && (!name.len || name.ptr[0] != '.');
    for (size_t i = 0; good && i < name.len; i++) {
        char c = name.ptr[i];
        good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("._+-", c);
    }
    if (!good)
        return st_err_set(err, ST_E_INPUT,
                          "field 'name': letters, digits and . _ + -, at most %d, not beginning with a dot "
                          "(example: app-1.2.tar)",
                          ST_UPLOAD_NAME);
    snprintf(u->name, sizeof u->name, "%.*s", name.len ? (int)name.len : (int)strlen(NAME_DEFAULT),
             name.len ? name.ptr : NAME_DEFAULT);
    return 0;
}

struct limits {
    uint64_t quota, max_pending;
};

static int read_limits(struct st_store *s, void *ctx, struct st_err *err)
{
    struct limits *l = ctx;
    return st_key_bytes(s, "uploads.quota", &l->quota, err) ||
                   st_key_count(s, "queue.max_pending", &l->max_pending, err)
               ? -1
               : 0;
}

static int reserve(struct st_upload *u, const struct limits *l, struct st_err *err)
{
    struct st_api_uploads *a = u->all;
    int rc = 0;
    pthread_mutex_lock(&a->lock);
    if (a->n == ST_UPLOADS_MAX || a->stopping)
        rc = st_err_set(err, ST_E_RETRY, "%d uploads are in transfer, that is all there are at once", ST_UPLOADS_MAX);
    else if (u->length > l->quota - ST_MIN(a->used, l->quota))
        rc =
            st_err_set(err, ST_E_RETRY,
                       "uploads take %llu bytes, and %llu more are over their quota of %llu (uploads.quota): try again "
                       "when jobs have ended",
                       (unsigned long long)a->used, (unsigned long long)u->length, (unsigned long long)l->quota);
    if (rc == 0) {
        a->n++;
        a->used += u->length;
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}

static int check_size(const struct st_upload *u, const struct limits *l, unsigned *ret_status, struct st_err *err)
{
    const struct st_api_request *r = u->r;
    if (!u->direct && !r->has_length) {
        *ret_status = 411;
        return st_err_set(err, ST_E_INPUT, "Content-Length is needed: the room is reserved before the first byte");
    }
    if (r->has_length && r->length == 0)
        return st_err_set(err, ST_E_INPUT, "the body is empty; an archive is wanted");
    if (!u->direct && r->length > l->quota)
        return st_err_set(err, ST_E_LIMIT,
                          "%llu bytes are more than all uploads together may take (%llu, uploads.quota)",
                          (unsigned long long)r->length, (unsigned long long)l->quota);
    if (st_live_pending(st_api_live(r->h->api)) >= l->max_pending)
        return st_err_set(err, ST_E_RETRY, "the queue is full (queue.max_pending): try again later");
    return 0;
}

// All that can be refused without the body.
static int take_query(struct st_upload *u, unsigned *ret_status, struct limits *l, struct st_err *err)
{
    struct st_api_request *r = u->r;
    struct querying k = {.seen = 0};
    struct st_scan_options options;
    MHD_get_connection_values_n(r->conn, MHD_GET_ARGUMENT_KIND, take_field, &k);
    if (k.err.code) {
        *err = k.err;
        return -1;
    }
    u->direct = !k.q.spool;
    if (k.q.pool.len && !st_pool_name(k.q.pool))
        return st_err_set(err, ST_E_INPUT, "field 'pool': small letters, digits and '-', at most 63");
    u->submit = (struct st_req_submit){.size = r->length,
                                       .has_size = r->has_length,
                                       .fresh = true,
                                       .has_priority = k.q.has_priority,
                                       .priority = k.q.priority};
    // What the query borrows may not outlive this call.
    return take_name(u, k.q.name, err) || st_api_read(r->h->api, read_limits, l, err) ||
                   check_size(u, l, ret_status, err) || st_arena_dup(&r->arena, k.q.pool, &u->submit.pool, err) ||
                   st_arena_dup(&r->arena, k.q.options, &u->submit.options, err) ||
                   (k.q.options.len && st_scan_options_read(u->submit.options, &options, &r->arena, err))
               ? -1
               : 0;
}

static int begin(struct st_api_request *r, struct st_upload *u, unsigned *ret_status, struct st_err *err)
{
    struct limits l;
    if (take_query(u, ret_status, &l, err))
        return -1;
    u->length = u->direct ? 0 : r->length; // what it takes of the quota
    if (reserve(u, &l, err))
        return -1;
    r->upload = u; // from here on st_upload_free gives the room back
    return u->direct ? st_direct_begin(u, err) : make_part(u, err);
}

unsigned st_upload_begin(struct st_api_request *r, struct st_err *err)
{
    unsigned status = 0;
    if (r->caller.role < ST_ROLE_SUBMIT) {
        bool none = r->caller.role == ST_ROLE_NONE;
        st_err_set(err, ST_E_AUTH, "%s",
                   none ? "a token is needed (Authorization: Bearer TOKEN)" : "an upload needs the role submit");
        return none ? 401 : 403;
    }
    struct st_upload *u = calloc(1, sizeof *u);
    if (!u) {
        st_err_nomem(err);
        return 503;
    }
    u->fd = -1;
    u->all = r->h->uploads;
    u->r = r;
    u->begin_ms = st_clock_mono_ms();
    int rc = begin(r, u, &status, err);
    if (rc && !r->upload)
        free(u);
    return rc == 0 ? 0 : status ? status : st_api_status(err->code);
}

// ---- the body -------------------------------------------------------------------------------------

static int store(struct st_upload *u, const char *data, size_t n, struct st_err *err)
{
    if (n > u->length - u->written)
        return st_err_set(err, ST_E_INPUT, "more bytes came than Content-Length said");
    if (st_fd_write(u->fd, data, n))
        return st_err_set(err, ST_E_RETRY, "%s: %s", u->all->dir, strerror(errno));
    u->written += n;
    if (u->written - u->flushed >= FLUSH) {
        sync_file_range(u->fd, (off_t)u->flushed, (off_t)(u->written - u->flushed), SYNC_FILE_RANGE_WRITE);
        u->flushed = u->written;
    }
    return 0;
}

bool st_upload_write(struct st_upload *u, const char *data, size_t *inout_n, unsigned *ret_status, struct st_err *err)
{
    int64_t took = st_clock_mono_ms() - u->begin_ms - u->held_ms;
    if (took > SLOW_AFTER_MS && u->written / (uint64_t)(took / 1000) < SLOW_BYTES) {
        st_err_set(err, ST_E_INPUT, "the transfer is slower than %d KiB a second", SLOW_BYTES / 1024);
        *ret_status = 408;
        return true;
    }
    if (u->direct)
        return st_direct_write(u, data, inout_n);
    if (store(u, data, *inout_n, err))
        *ret_status = st_api_status(err->code);
    *inout_n = 0;
    return true;
}

// ---- the end: to the disk, then into the queue ---------------------------------------------------------

static int keep(struct st_upload *u, struct st_err *err)
{
    char name[17], dir[PATH_MAX];
    if (fsync(u->fd) || sync_dir(u->dir))
        return st_err_sys(err, "%s", u->path);
    if (st_random_hex(name, sizeof name - 1, err))
        return -1;
    if (snprintf(dir, sizeof dir, "%s/%s", u->all->dir, name) >= (int)sizeof dir ||
        snprintf(u->path, sizeof u->path, "%s/%s", dir, u->name) >= (int)sizeof u->path)
        return st_err_set(err, ST_E_INPUT, "the name of the state directory is too long");
    if (rename(u->dir, dir))
        return st_err_sys(err, "%s", dir);
    memcpy(u->dir, dir, sizeof dir);
    return sync_dir(u->all->dir) ? st_err_sys(err, "%s", u->all->dir) : 0;
}

static void finish(struct st_upload *u)
{
    if (keep(u, &u->err))
        return;
    u->submit.image = st_sv_of(u->path);
    if (st_api_answer(u->r, st_op_find(ST_SV("scans.submit")), &u->submit, &u->err))
        return;
    u->kept = true;
}

static void *finish_thread(void *ctx)
{
    struct st_upload *u = ctx;
    struct st_api_uploads *a = u->all;
    finish(u);
    u->finished = true;
    MHD_resume_connection(u->r->conn); // u may be gone from here on
    pthread_mutex_lock(&a->lock);
    a->finishing--;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

enum MHD_Result st_upload_end(struct st_api_request *r)
{
    struct st_upload *u = r->upload;
    pthread_attr_t attr;
    pthread_t t;
    if (u->direct)
        return st_direct_end(u);
    if (u->finished)
        return u->kept ? st_api_reply(r, 202, ST_HTTP_JSON) : st_api_reply_failed(r, &u->err);
    pthread_mutex_lock(&u->all->lock);
    bool here = r->h->stopping; // MHD must not end with a connection that is suspended
    u->all->finishing += !here;
    pthread_mutex_unlock(&u->all->lock);
    if (here) {
        finish(u);
        u->finished = true;
        return st_upload_end(r);
    }
    MHD_suspend_connection(r->conn);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&t, &attr, finish_thread, u))
        finish_thread(u); // here and now, then
    pthread_attr_destroy(&attr);
    return MHD_YES;
}

void st_upload_free(struct st_upload *u)
{
    if (!u)
        return;
    if (u->direct && u->job[0] && !u->kept)
        st_direct_drop(u);
    if (u->fd >= 0)
        close(u->fd);
    if (!u->kept && u->dir[0])
        remove_dir(u->dir);
    pthread_mutex_lock(&u->all->lock);
    u->all->n--;
    if (!u->kept)
        u->all->used -= u->length;
    pthread_mutex_unlock(&u->all->lock);
    free(u);
}

// ---- afterwards -------------------------------------------------------------------------------------

struct fate {
    const char *path;
    bool remove;
};

static int judge(void *ctx, const struct st_job *j, struct st_err *err)
{
    int64_t age_s = (st_clock_wall_ms() - j->updated_ms) / 1000;
    *(bool *)ctx =
        j->state == ST_JOB_COMPLETED || j->state == ST_JOB_CANCELLED || (j->state == ST_JOB_FAILED && age_s > FAILED_S);
    return 0;
}

static int ask(struct st_store *s, void *ctx, struct st_err *err)
{
    struct fate *f = ctx;
    int rc = st_store_newest(s, st_sv_of(f->path), ST_SV_NULL, 0, judge, &f->remove, err);
    struct stat st;
    if (rc == 0) // no job: a crash came between the file and its submission, or retention was there
        f->remove = stat(f->path, &st) == 0 && time(NULL) - st.st_mtime > ORPHAN_S;
    return rc < 0 ? -1 : 0;
}

// The one file of a directory.
static bool file_of(const char *dir, char ret[static PATH_MAX])
{
    bool found = false;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && !found && (e = readdir(d));)
        found = e->d_name[0] != '.' && snprintf(ret, PATH_MAX, "%s/%s", dir, e->d_name) < PATH_MAX;
    if (d)
        closedir(d);
    return found;
}

static bool stopping(struct st_api_uploads *a)
{
    pthread_mutex_lock(&a->lock);
    bool s = a->stopping;
    pthread_mutex_unlock(&a->lock);
    return s;
}

// `start`: nothing is in transfer yet; parts go, and the rest is counted.
static void sweep(struct st_api_uploads *a, bool start)
{
    char dir[PATH_MAX], path[PATH_MAX];
    DIR *d = opendir(a->dir);
    for (struct dirent *e; d && !stopping(a) && (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] == '.' || snprintf(dir, sizeof dir, "%s/%s", a->dir, e->d_name) >= (int)sizeof dir)
            continue;
        bool part = !strncmp(e->d_name, PART, strlen(PART));
        if (part && start)
            remove_dir(dir);
        if (part || !file_of(dir, path))
            continue;
        if (start && stat(path, &st) == 0)
            a->used += (uint64_t)st.st_size;
        struct fate f = {path, false};
        if (start || st_api_read(a->api, ask, &f, NULL) || !f.remove)
            continue;
        uint64_t bytes = remove_dir(dir);
        pthread_mutex_lock(&a->lock);
        a->used -= ST_MIN(bytes, a->used);
        pthread_mutex_unlock(&a->lock);
    }
    if (d)
        closedir(d);
}

static void *run(void *ctx)
{
    struct st_api_uploads *a = ctx;
    pthread_mutex_lock(&a->lock);
    while (!a->stopping) {
        struct timespec t = st_cond_in(SWEEP_MS);
        if (pthread_cond_timedwait(&a->changed, &a->lock, &t) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&a->lock);
        sweep(a, false);
        pthread_mutex_lock(&a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

int st_api_uploads_new(struct st_api *api, const char *home, struct st_api_uploads **ret, struct st_err *err)
{
    struct st_api_uploads *a = calloc(1, sizeof *a);
    if (!a)
        return st_err_nomem(err);
    a->api = api;
    snprintf(a->dir, sizeof a->dir, "%s/uploads", home);
    pthread_mutex_init(&a->lock, NULL);
    st_cond_init(&a->changed);
    sweep(a, true);
    a->started = pthread_create(&a->thread, NULL, run, a) == 0;
    if (!a->started || st_direct_start(a, err)) {
        if (!a->started)
            st_err_set(err, ST_E_FAILED, "cannot start a thread");
        st_api_uploads_free(a);
        return -1;
    }
    *ret = a;
    return 0;
}

void st_api_uploads_leave(struct st_api_uploads *a, struct st_api_http *h)
{
    pthread_mutex_lock(&a->lock);
    h->stopping = true;
    st_direct_release(a, h);
    while (a->finishing)
        pthread_cond_wait(&a->changed, &a->lock);
    pthread_mutex_unlock(&a->lock);
}

void st_api_uploads_stop(struct st_api_uploads *a)
{
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    if (a->started)
        pthread_join(a->thread, NULL);
    a->started = false;
    st_direct_stop(a);
}

void st_api_uploads_free(struct st_api_uploads *a)
{
    if (!a)
        return;
    if (a->started)
        st_api_uploads_stop(a);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->changed);
    free(a);
}
