#include "scan/fragstore.h"

#include "archive/toc.h"
#include "base/ckd.h"
#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define SPAN_S 600 // seconds between which eviction makes no difference

static int make_dirs(char *path)
{
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            int rc = mkdir(path, 0700);
            *p = '/';
            if (rc && errno != EEXIST)
                return -1;
        }
    return mkdir(path, 0700) && errno != EEXIST ? -1 : 0;
}

int st_fragstore_open(const char *dir, const char *sub, bool make, struct st_fragstore *ret, struct st_err *err)
{
    char path[PATH_MAX];
    *ret = (struct st_fragstore){-1};
    if (snprintf(path, sizeof path, "%s/%s", dir, sub) >= (int)sizeof path)
        return st_err_set(err, ST_E_INPUT, "directory name too long: %s", dir);
    if (make && make_dirs(path))
        return st_err_sys(err, "%s", path);
    ret->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ret->dirfd < 0 && errno == ENOENT && !make)
        return st_err_set(err, ST_E_NOTFOUND, "%s is not there", path);
    if (ret->dirfd < 0)
        return st_err_sys(err, "%s", path);
    return 0;
}

void st_fragstore_close(struct st_fragstore *s)
{
    if (s->dirfd >= 0)
        close(s->dirfd);
    s->dirfd = -1;
}

void st_fragstore_name(const char *hex, char ret[static ST_FRAGSTORE_NAME])
{
    snprintf(ret, ST_FRAGSTORE_NAME, "%.*s.%016" PRIx64 ".frag", ST_DIGEST_HEX, hex,
             st_catalogers_version() ^ ST_FRAGMENT_VERSION);
}

void st_fragstore_toc_name(const struct st_toc_place *toc, char ret[static ST_FRAGSTORE_NAME])
{
    char hex[ST_FRAGSTORE_NAME];
    st_fragstore_name(toc->digest, hex);
    snprintf(ret, ST_FRAGSTORE_NAME, "%c-%.*s", toc->kind == ST_TOC_ESTARGZ ? 'e' : 'z', ST_FRAGSTORE_NAME - 3, hex);
}

int st_fragstore_get(struct st_fragstore *s, struct st_mem *mem, const char *name)
{
    if (s->dirfd < 0)
        return -1;
    ST_AUTO_CLOSE int fd = openat(s->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -1;
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st_frag_verify(mem, fd, NULL)) {
        unlinkat(s->dirfd, name, 0);
        return -1;
    }
    // The time of the last use, for eviction, to the span that it reckons in; may fail on a read-only file system.
    if (st.st_mtime + SPAN_S <= time(NULL))
        futimens(fd, NULL);
    return st_take_fd(&fd);
}

void st_fragstore_drop(struct st_fragstore *s, const char *name)
{
    if (s->dirfd >= 0)
        unlinkat(s->dirfd, name, 0);
}

int st_fragstore_temp(struct st_fragstore *s, struct st_err *err)
{
    int fd = openat(s->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd >= 0 ? fd : st_err_sys(err, "temporary file");
}

int st_fragstore_put(struct st_fragstore *s, int fd, const char *name)
{
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, self, s->dirfd, name, AT_SYMLINK_FOLLOW) && errno != EEXIST ? -1 : 0;
}

// ---- what is there, and eviction ---------------------------------------------------------------------------------

struct st_fragstore_limits st_fragstore_limits_of(uint64_t max_bytes, uint64_t max_age)
{
    return (struct st_fragstore_limits){.max_age = max_age, .full = max_bytes / 5 * 4, .roomy = max_bytes / 5};
}

struct entry {
    const char *name;
    uint64_t bytes; // on disk
    int64_t used_s;
    bool stale;
};

// fn for every entry; it may remove it.
static int each(struct st_fragstore *s, void (*fn)(void *ctx, const struct entry *e), void *ctx, struct st_err *err)
{
    int fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        int rc = st_err_sys(err, "cache");
        if (fd >= 0)
            close(fd);
        return rc;
    }
    char mine[ST_FRAGSTORE_NAME];
    st_fragstore_name("", mine); // only the part behind the digest
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        struct st_sv name = st_sv_of(e->d_name);
        if (e->d_name[0] == '.' || !st_sv_ends(name, ST_SV(".frag")) ||
            fstatat(s->dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
            continue;
        struct entry one = {e->d_name, (uint64_t)st.st_blocks * 512, st.st_mtime, !st_sv_ends(name, st_sv_of(mine))};
        fn(ctx, &one);
    }
    closedir(d);
    return 0;
}

static void add_usage(void *ctx, const struct entry *e)
{
    struct st_fragstore_usage *u = ctx;
    u->entries++;
    u->bytes += e->bytes;
    u->stale += e->stale;
    u->stale_bytes += e->stale ? e->bytes : 0;
    if (!u->oldest_s || e->used_s < u->oldest_s)
        u->oldest_s = e->used_s;
}

int st_fragstore_usage(struct st_fragstore *s, struct st_fragstore_usage *ret, struct st_err *err)
{
    *ret = (struct st_fragstore_usage){0};
    return each(s, add_usage, ret, err);
}

// Two walks: how many bytes were last used in which span of time, then the removal of all before the span that brings
// the rest down to the goal, and of as much of that span as is needed.
#define SPANS (ST_CACHE_AGE_MAX / SPAN_S + 2) // the last: what other versions filed, and all that is older

struct pruning {
    struct st_fragstore *s;
    const struct st_fragstore_limits *limits;
    int64_t now_s;
    uint64_t bytes[SPANS];
    size_t cut; // spans from here on go until goal is reached
    uint64_t goal;
    struct st_fragstore_pruned *ret;
};

static bool goes(const struct pruning *p, const struct entry *e)
{
    uint64_t age = e->used_s < p->now_s ? (uint64_t)(p->now_s - e->used_s) : 0;
    return p->limits->all || (p->limits->stale && e->stale) || age > p->limits->max_age;
}

static size_t span(const struct pruning *p, const struct entry *e)
{
    uint64_t age = e->used_s < p->now_s ? (uint64_t)(p->now_s - e->used_s) : 0;
    return e->stale ? SPANS - 1 : (size_t)ST_MIN(age / SPAN_S, SPANS - 1);
}

static void add_span(void *ctx, const struct entry *e)
{
    struct pruning *p = ctx;
    if (goes(p, e))
        return;
    p->bytes[span(p, e)] += e->bytes;
    p->ret->bytes += e->bytes;
}

static void evict(void *ctx, const struct entry *e)
{
    struct pruning *p = ctx;
    bool old = goes(p, e);
    size_t at = span(p, e);
    bool over = !old && (at > p->cut || (at == p->cut && p->ret->bytes > p->goal));
    if ((old || over) && (unlinkat(p->s->dirfd, e->name, 0) == 0 || errno == ENOENT)) {
        p->ret->removed++;
        p->ret->removed_bytes += e->bytes;
        if (over)
            p->ret->bytes -= ST_MIN(e->bytes, p->ret->bytes);
        return;
    }
    p->ret->entries++;
    if (old)
        p->ret->bytes += e->bytes; // could not be removed
}

int st_fragstore_prune(struct st_fragstore *s, const struct st_fragstore_limits *limits,
                       struct st_fragstore_pruned *ret, struct st_err *err)
{
    *ret = (struct st_fragstore_pruned){0};
    ST_AUTO_FREE struct pruning *p = calloc(1, sizeof *p);
    if (!p)
        return st_err_nomem(err);
    *p = (struct pruning){.s = s, .limits = limits, .now_s = time(NULL), .cut = SPANS, .ret = ret};
    if (each(s, add_span, p, err))
        return -1;
    if (ret->bytes > limits->full) {
        p->goal = limits->roomy;
        uint64_t left = ret->bytes;
        while (p->cut > 0 && left > p->goal)
            left -= p->bytes[--p->cut];
    }
    if (each(s, evict, p, err))
        return -1;
    if (ret->removed)
        st_fragstore_count(s, &(struct st_fragstore_counts){.evicted = ret->removed});
    return 0;
}

// ---- counts -------------------------------------------------------------------------------------------------------

#define COUNTS ".counts"
#define COUNTS_TEXT 128

static void read_counts(int fd, struct st_fragstore_counts *ret)
{
    char text[COUNTS_TEXT];
    ssize_t n = st_fd_pread(fd, text, sizeof text, 0);
    struct st_sv rest = st_sv_trim(st_sv_mem(text, n > 0 ? (size_t)n : 0)), word;
    uint64_t *const at[] = {&ret->hits, &ret->misses, &ret->evicted};
    *ret = (struct st_fragstore_counts){0};
    for (size_t i = 0; i < ST_LEN(at) && st_sv_word(&rest, &word); i++)
        if (!st_sv_u64(word, 10, at[i]))
            *at[i] = 0;
}

void st_fragstore_counts(struct st_fragstore *s, struct st_fragstore_counts *ret)
{
    *ret = (struct st_fragstore_counts){0};
    ST_AUTO_CLOSE int fd = openat(s->dirfd, COUNTS, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0)
        read_counts(fd, ret);
}

void st_fragstore_count(struct st_fragstore *s, const struct st_fragstore_counts *more)
{
    struct st_fragstore_counts c;
    char text[COUNTS_TEXT];
    ST_AUTO_CLOSE int fd = openat(s->dirfd, COUNTS, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || flock(fd, LOCK_EX))
        return;
    read_counts(fd, &c);
    int n = snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", c.hits + more->hits,
                     c.misses + more->misses, c.evicted + more->evicted); // never shorter than what it replaces
    st_fd_pwrite(fd, text, (size_t)n, 0);
}

// ---- jobs ---------------------------------------------------------------------------------------------------------

void st_fragstore_remove(const char *dir, const char *sub)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", dir, sub) >= (int)sizeof path)
        return;
    DIR *d = opendir(path);
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (e->d_name[0] != '.')
            unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    rmdir(path);
}

void st_fragstore_sweep(const char *dir, const char *sub, uint64_t max_age)
{
    struct st_fragstore s;
    if (st_fragstore_open(dir, sub, false, &s, NULL))
        return;
    DIR *d = fdopendir(st_take_fd(&s.dirfd));
    struct dirent *e;
    char path[PATH_MAX];
    while (d && (e = readdir(d))) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode) ||
            st.st_mtime + (time_t)max_age >= time(NULL) ||
            snprintf(path, sizeof path, "%s/%s", sub, e->d_name) >= (int)sizeof path)
            continue;
        st_fragstore_remove(dir, path);
    }
    if (d)
        closedir(d);
}
