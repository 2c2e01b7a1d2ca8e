#include "scan/fragstore.h"

#include "base/ckd.h"
#include "base/fd.h"
#include "base/sort.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

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

int st_fragstore_open(const char *dir, const char *sub, struct st_fragstore *ret, struct st_err *err)
{
    char path[PATH_MAX];
    *ret = (struct st_fragstore){-1};
    if (snprintf(path, sizeof path, "%s/%s", dir, sub) >= (int)sizeof path)
        return st_err_set(err, ST_E_INPUT, "directory name too long: %s", dir);
    if (make_dirs(path))
        return st_err_sys(err, "%s", path);
    ret->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
    futimens(fd, NULL); // the time of the last use, for eviction; may fail on a read-only file system
    return st_take_fd(&fd);
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

// ---- eviction
// ---------------------------------------------------------------------------------------------------------

struct entry {
    time_t used;
    uint64_t bytes;
    char name[ST_FRAGSTORE_NAME];
};

static int by_use(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->used != y->used ? (x->used < y->used ? -1 : 1) : strcmp(x->name, y->name);
}

static int list(struct st_fragstore *s, struct st_buf *out, struct st_err *err)
{
    int fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d)
        return st_err_sys(err, "cache");
    struct dirent *e;
    int rc = 0;
    while (rc == 0 && (e = readdir(d))) {
        struct entry one = {0};
        struct stat st;
        size_t n = strlen(e->d_name);
        if (n >= sizeof one.name || e->d_name[0] == '.' || fstatat(s->dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
            !S_ISREG(st.st_mode))
            continue;
        memcpy(one.name, e->d_name, n + 1);
        one.used = st.st_mtime;
        one.bytes = (uint64_t)st.st_size;
        rc = st_buf_add(out, st_sv_mem(&one, sizeof one), err);
    }
    closedir(d);
    return rc;
}

int st_fragstore_prune(struct st_fragstore *s, uint64_t max_bytes, uint64_t max_age, bool all,
                       struct st_fragstore_usage *ret, struct st_err *err)
{
    struct st_mem mem;
    st_mem_init(&mem, 64 << 20, -1);
    struct st_buf b;
    st_buf_init(&b, &mem);
    *ret = (struct st_fragstore_usage){0};
    int rc = list(s, &b, err);
    struct entry *at = (struct entry *)(void *)b.ptr;
    size_t n = b.len / sizeof *at;
    if (n)
        st_sort(at, n, sizeof *at, by_use);
    for (size_t i = 0; i < n; i++)
        ret->bytes += at[i].bytes;
    uint64_t goal = ret->bytes > ST_CACHE_COLD(max_bytes) ? ST_CACHE_WARM(max_bytes) : UINT64_MAX;
    time_t now = time(NULL);
    char mine[ST_FRAGSTORE_NAME];
    st_fragstore_name("", mine); // only the part behind the digest
    for (size_t i = 0; i < n && rc == 0; i++) {
        bool old = max_age && now > at[i].used && (uint64_t)(now - at[i].used) > max_age;
        bool foreign = !st_sv_ends(st_sv_of(at[i].name), st_sv_of(mine));
        if (!all && !old && !foreign && ret->bytes <= goal) {
            ret->entries++;
            continue;
        }
        if (unlinkat(s->dirfd, at[i].name, 0) == 0) {
            ret->removed++;
            ret->removed_bytes += at[i].bytes;
            ret->bytes -= at[i].bytes;
        }
    }
    st_buf_release(&b);
    st_mem_release(&mem);
    return rc;
}

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
