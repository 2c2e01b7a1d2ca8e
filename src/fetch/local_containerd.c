// containerd's content store: where it is, and the child that finds the image in the metadata database.
#include "base/ckd.h"
#include "base/fd.h"
#include "fetch/local_int.h"
#include "image/blobs.h"
#include "image/containerd.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define ROOT_DEFAULT "/var/lib/containerd"
#define CONFIG "/etc/containerd/config.toml"
#define MEMORY (8u << 20) // pages of the database on the way to one image, and the names of all namespaces
#define TRIES 100         // containerd commits while it is read: again
#define PAUSE_MS 10
#define TICK_MS 200

// ---- in the child ---------------------------------------------------------------------------------------------------

struct find {
    int meta;
    struct st_sv name_space;
    const struct st_reference *ref;
};

static int read_meta(void *ctx, uint64_t offset, void *buf, size_t n, struct st_err *err)
{
    const struct find *f = ctx;
    ssize_t k = st_fd_pread(f->meta, buf, n, offset);
    if (k < 0)
        return st_err_sys(err, "meta.db");
    return (size_t)k == n ? 0 : st_err_set(err, ST_E_CORRUPT, "meta.db ends early");
}

// One look. 1: the answer (in *ret_rc) is of one transaction; 0: containerd wrote meanwhile.
static int look(struct find *f, struct st_arena *a, struct st_containerd_image *ret, int *ret_rc, struct st_err *err)
{
    struct st_bolt db = {.read = read_meta, .ctx = f, .arena = a};
    struct st_err unsure = {0};
    if (st_bolt_open(&db, err)) {
        *ret_rc = -1;
        return 1;
    }
    *ret_rc = st_containerd_find(&db, f->name_space, f->ref, ret, &unsure);
    if (st_bolt_unchanged(&db, NULL) <= 0)
        return 0;
    if (*ret_rc < 0 && err)
        *err = unsure;
    return 1;
}

static int find_image(void *ctx, struct st_mem *mem, char said[static 256], struct st_err *err)
{
    struct find *f = ctx;
    struct st_arena a;
    struct st_containerd_image img;
    int rc = -1, sure = 0;
    st_arena_init(&a, mem);
    for (int i = 0; i < TRIES && !sure; i++) {
        if (i)
            poll(NULL, 0, PAUSE_MS);
        st_arena_reset(&a);
        sure = look(f, &a, &img, &rc, err);
    }
    if (!sure)
        rc = st_err_set(err, ST_E_RETRY, "containerd writes into its database all the time");
    else if (rc == 0)
        rc = st_err_set(err, ST_E_NOTFOUND, "containerd has no image '" ST_SV_FMT "'%s" ST_SV_FMT,
                        ST_SV_ARG(st_sv_sub(f->ref->name, 0, 200)), f->name_space.len ? " in namespace " : "",
                        ST_SV_ARG(st_sv_sub(f->name_space, 0, 80)));
    else if (rc > 0)
        snprintf(said, 256, "%s", img.digest);
    st_arena_release(&a);
    return rc < 0 ? -1 : 0;
}

// ---- where it is ----------------------------------------------------------------------------------------------------

struct place {
    struct st_sv name_space;
    char root[PATH_MAX - 64];
};

static int place_of(const struct st_reference *ref, struct st_arena *a, struct place *ret, struct st_err *err)
{
    struct st_sv root = ST_SV_NULL;
    *ret = (struct place){0};
    if (st_sv_starts(ref->where, ST_SV("/")))
        root = ref->where;
    else
        st_sv_cut(ref->where, '@', &ret->name_space, &root);
    if (ref->where.len && root.len && root.ptr[0] != '/')
        return st_err_set(err, ST_E_INPUT, "[NAMESPACE@ROOT]: the root directory is no absolute path: '" ST_SV_FMT "'",
                          ST_SV_ARG(st_sv_sub(root, 0, 200)));
    if (!ret->name_space.len)
        ret->name_space = st_sv_of(getenv("CONTAINERD_NAMESPACE"));
    if (!root.len)
        root = st_local_setting(CONFIG, NULL, "root", a);
    if (!root.len)
        root = ST_SV(ROOT_DEFAULT);
    if (root.len >= sizeof ret->root || memchr(root.ptr, 0, root.len))
        return st_err_set(err, ST_E_INPUT, "the root directory's name is too long");
    memcpy(ret->root, root.ptr, root.len);
    return 0;
}

static int open_below(const struct place *p, const char *what, int flags, struct st_err *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", p->root, what);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags);
    if (fd >= 0)
        return fd;
    if (errno == ENOENT || errno == ENOTDIR)
        return st_err_set(err, ST_E_NOTFOUND, "there is no containerd store at %.200s (%s)", p->root, what);
    if (errno == EACCES || errno == EPERM)
        return st_err_set(err, ST_E_IO, "containerd's store at %.200s may only be read by root: sudo stella ...",
                          p->root);
    return st_err_sys(err, "%.300s", path);
}

int st_local_content(int dirfd, struct st_sv digest, struct st_opened *ret, struct st_err *err)
{
    ST_AUTO_CLOSE int there = -1;
    char name[ST_DIGEST_NAME];
    uint64_t size;
    if (st_digest_check(digest, err))
        return -1;
    int rc = st_blobs_dir_open(dirfd, st_digest_name(digest, name), &there, &size, err);
    if (rc < 0)
        return -1;
    if (rc == 0)
        return st_err_set(err, ST_E_NOTFOUND, "containerd knows the image, but has not its content (" ST_SV_FMT ")",
                          ST_SV_ARG(digest));
    *ret = (struct st_opened){.kind = ST_OPENED_OCI_DIR, .fd = -1, .dirfd = dirfd};
    memcpy(ret->digest, digest.ptr, ST_DIGEST_TEXT);
    return 0;
}

static int ask(struct find *f, const struct st_local_options *opt, char digest[static 256], struct st_err *err)
{
    struct st_child c;
    struct st_child_work w = {.work = find_image, .ctx = f, .fds = &f->meta, .n_fds = 1, .memory = MEMORY};
    if (st_child_start(&w, &c, err))
        return -1;
    int rc = 0;
    while (rc == 0 && !st_child_wait(&c, TICK_MS))
        rc = st_local_check_time(opt, err);
    if (rc == 0 && c.err.code) {
        rc = -1;
        if (err)
            *err = c.err;
    }
    memcpy(digest, c.said, sizeof c.said);
    st_child_end(&c);
    return rc;
}

static int open_image(const struct st_reference *ref, const struct st_local_options *opt, struct st_arena *a,
                      struct st_opened *ret, struct st_err *err)
{
    struct place p;
    char digest[256];
    if (place_of(ref, a, &p, err))
        return -1;
    ST_AUTO_CLOSE int meta = open_below(&p, ST_CONTAINERD_META, 0, err);
    ST_AUTO_CLOSE int content = meta >= 0 ? open_below(&p, ST_CONTAINERD_CONTENT, O_DIRECTORY, err) : -1;
    if (content < 0)
        return -1;
    struct find f = {meta, p.name_space, ref};
    if (ask(&f, opt, digest, err))
        return err && err->code == ST_E_CORRUPT ? st_err_wrap(err, "containerd's store at %.200s", p.root) : -1;
    if (st_local_content(content, st_sv_of(digest), ret, err))
        return -1;
    st_take_fd(&content);
    return 0;
}

bool st_local_containerd_there(const struct st_reference *ref, struct st_err *err)
{
    struct st_mem mem;
    struct st_arena a;
    struct place p;
    st_mem_init(&mem, 8 << 20, -1);
    st_arena_init(&a, &mem);
    ST_AUTO_CLOSE int meta = place_of(ref, &a, &p, err) ? -1 : open_below(&p, ST_CONTAINERD_META, 0, err);
    st_arena_release(&a);
    st_mem_release(&mem);
    return meta >= 0;
}

int st_local_containerd(const struct st_reference *ref, const struct st_local_options *opt, struct st_opened *ret,
                        struct st_err *err)
{
    struct st_mem mem;
    struct st_arena a;
    st_mem_init(&mem, 8 << 20, -1);
    st_arena_init(&a, &mem);
    int rc = open_image(ref, opt, &a, ret, err);
    st_arena_release(&a);
    st_mem_release(&mem);
    return rc;
}
