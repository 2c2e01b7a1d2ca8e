// Walks a directory tree and writes it as a tar stream: ustar headers, pax records only where ustar cannot say it.
// Owners and times are left out, so that equal trees make equal streams.
#include "image/rootfs.h"
#include "archive/tar.h"
#include "archive/tar_header.h"
#include "base/ckd.h"
#include "base/fd.h"
#include "base/map.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define COPY_SIZE (128 * 1024)
#define TRIM_EVERY 4096                // entries between two releases of spilled pages
#define USTAR_SIZE_MAX 077777777777ull // larger: pax size

// One directory entry; the list of a directory is sorted in place, so that a million of them need no second array.
struct name {
    struct name *next;
    uint16_t len;
    char text[]; // NUL-terminated
};

struct level {
    int fd;
    dev_t dev;
    size_t path_len; // of the directory itself in walk.path
    struct name *next;
    struct st_arena names;
};

struct linked {
    dev_t dev;
    ino_t ino;
    struct st_sv path;
};

struct walk {
    struct st_mem *mem;
    const struct st_rootfs_how *how;
    struct st_rootfs_stats stats;
    struct level *levels;
    size_t depth;
    struct st_buf path, pax;
    struct st_map links; // (device, inode) -> struct linked, of files whose content was written
    struct st_arena links_arena;
    char *copy; // COPY_SIZE
    char *out;  // COPY_SIZE, bytes not yet written
    size_t out_len;
    int out_fd;
};

// ---- output ---------------------------------------------------------------------------------------------------------

static int flush(struct walk *w, struct st_err *err)
{
    if (w->out_len && st_fd_write(w->out_fd, w->out, w->out_len))
        return st_err_sys(err, "write root file system stream");
    w->out_len = 0;
    return 0;
}

static int put(struct walk *w, const void *p, size_t n, struct st_err *err)
{
    for (const char *at = p; n;) {
        size_t k = ST_MIN(n, COPY_SIZE - w->out_len);
        memcpy(w->out + w->out_len, at, k);
        w->out_len += k;
        at += k;
        n -= k;
        if (w->out_len == COPY_SIZE && flush(w, err))
            return -1;
    }
    return 0;
}

static int put_zeros(struct walk *w, uint64_t n, struct st_err *err)
{
    static const char zeros[4096];
    while (n) {
        size_t k = ST_MIN(n, sizeof zeros);
        if (put(w, zeros, k, err))
            return -1;
        n -= k;
    }
    return 0;
}

static int pad(struct walk *w, uint64_t size, struct st_err *err)
{
    return put_zeros(w, (ST_TAR_BLOCK - size % ST_TAR_BLOCK) % ST_TAR_BLOCK, err);
}

static int put_header(struct walk *w, struct st_sv name, struct st_sv link, char type, uint32_t mode, uint64_t size,
                      struct st_err *err)
{
    char h[ST_TAR_BLOCK];
    st_tar_header(h, name, link, type, mode, size);
    return put(w, h, sizeof h, err);
}

// "LEN KEY=VALUE\n", LEN counting itself.
static int add_pax(struct walk *w, const char *key, struct st_sv value, struct st_err *err)
{
    char number[24];
    size_t rest = strlen(key) + value.len + 3, total = rest;
    for (int again = 0; again < 2; again++)
        total = rest + (size_t)snprintf(number, sizeof number, "%zu", total);
    if (st_buf_fmt(&w->pax, err, "%zu %s=", total, key) || st_buf_add(&w->pax, value, err))
        return -1;
    return st_buf_addc(&w->pax, '\n', err);
}

static int add_pax_u64(struct walk *w, const char *key, uint64_t value, struct st_err *err)
{
    char number[24];
    int n = snprintf(number, sizeof number, "%llu", (unsigned long long)value);
    return add_pax(w, key, st_sv_mem(number, (size_t)n), err);
}

struct entry {
    char type;
    uint32_t mode;
    struct st_sv link;
    uint64_t size; // bytes that follow
    bool absent;   // `real_size` bytes that do not follow
    uint64_t real_size;
    const char *error;
};

static int add_records(struct walk *w, const struct entry *e, struct st_err *err)
{
    struct st_sv path = st_buf_sv(&w->path);
    bool long_path = path.len > ST_TAR_HEADER_NAME, long_link = e->link.len > ST_TAR_HEADER_NAME;
    st_buf_clear(&w->pax);
    if (((long_path && !st_sv_is_utf8(path)) || (long_link && !st_sv_is_utf8(e->link))) &&
        add_pax(w, "hdrcharset", ST_SV("BINARY"), err))
        return -1;
    if (long_path && add_pax(w, "path", path, err))
        return -1;
    if (long_link && add_pax(w, "linkpath", e->link, err))
        return -1;
    if (e->size > USTAR_SIZE_MAX && add_pax_u64(w, "size", e->size, err))
        return -1;
    if (e->absent && add_pax_u64(w, ST_ROOTFS_PAX_SIZE, e->real_size, err))
        return -1;
    if (e->error && add_pax(w, ST_ROOTFS_PAX_ERROR, st_sv_of(e->error), err))
        return -1;
    return 0;
}

// The entry at walk.path: its pax records and header. Its data is the caller's.
static int put_entry(struct walk *w, const struct entry *e, struct st_err *err)
{
    if (add_records(w, e, err))
        return -1;
    struct st_sv pax = st_buf_sv(&w->pax);
    if (pax.len && (put_header(w, ST_SV("././@PaxHeader"), ST_SV_NULL, 'x', 0644, pax.len, err) ||
                    put(w, pax.ptr, pax.len, err) || pad(w, pax.len, err)))
        return -1;
    w->stats.entries++;
    if (e->type == '0' || e->type == '1')
        w->stats.files++;
    return put_header(w, st_buf_sv(&w->path), e->link, e->type, e->mode, e->size > USTAR_SIZE_MAX ? 0 : e->size, err);
}

static void warn(struct walk *w, const char *what)
{
    w->stats.errors++;
    if (w->how->warn)
        w->how->warn(w->how->ctx, st_buf_sv(&w->path), what);
}

static int put_error(struct walk *w, char type, uint32_t mode, int error, struct st_err *err)
{
    struct entry e = {.type = type, .mode = mode, .error = strerrordesc_np(error)};
    if (!e.error)
        e.error = "cannot be read";
    warn(w, e.error);
    return put_entry(w, &e, err);
}

// ---- what is not a file system --------------------------------------------------------------------------------------

static bool kernel_interface(int fd)
{
    static const unsigned long magics[] = {
        PROC_SUPER_MAGIC,
        SYSFS_MAGIC,
        CGROUP_SUPER_MAGIC,
        CGROUP2_SUPER_MAGIC,
        DEVPTS_SUPER_MAGIC,
        DEBUGFS_MAGIC,
        TRACEFS_MAGIC,
        SECURITYFS_MAGIC,
        BPF_FS_MAGIC,
        PSTOREFS_MAGIC,
        EFIVARFS_MAGIC,
        0x19800202 /* mqueue */,
        0x62656570 /* configfs */,
        BINFMTFS_MAGIC,
        SELINUX_MAGIC,
        NSFS_MAGIC,
        HUGETLBFS_MAGIC,
        AUTOFS_SUPER_MAGIC,
        0x67596969 /* rpc_pipefs */,
        0x65735543 /* fusectl */,
    };
    struct statfs fs;
    if (fstatfs(fd, &fs))
        return false;
    for (size_t i = 0; i < ST_LEN(magics); i++)
        if ((unsigned long)fs.f_type == magics[i])
            return true;
    struct stat st; // devtmpfs calls itself tmpfs
    return (unsigned long)fs.f_type == TMPFS_MAGIC && fstatat(fd, "null", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISCHR(st.st_mode);
}

// ---- regular files --------------------------------------------------------------------------------------------------

static int copy_content(struct walk *w, int fd, uint64_t size, struct st_err *err)
{
    uint64_t done = 0;
    while (done < size) {
        ssize_t n = st_fd_pread(fd, w->copy, (size_t)ST_MIN(size - done, COPY_SIZE), done);
        if (n <= 0) { // the header is out: the announced size must follow
            warn(w, n < 0 ? strerrordesc_np(errno) : "became shorter while it was read");
            if (put_zeros(w, size - done, err))
                return -1;
            break;
        }
        if (put(w, w->copy, (size_t)n, err))
            return -1;
        done += (uint64_t)n;
    }
    w->stats.content_bytes += size;
    return pad(w, size, err);
}

static uint64_t link_key(const struct stat *st)
{
    return st_hash_mix((uint64_t)st->st_dev, (uint64_t)st->st_ino);
}

static const struct linked *find_link(struct walk *w, const struct stat *st)
{
    const uint64_t *slot = st->st_nlink > 1 ? st_map_get(&w->links, link_key(st)) : NULL;
    const struct linked *l = slot ? (const struct linked *)(uintptr_t)*slot : NULL;
    return l && l->dev == st->st_dev && l->ino == st->st_ino ? l : NULL;
}

// Only files whose content went out become targets: a name that looks interesting finds the content itself otherwise.
static int remember_link(struct walk *w, const struct stat *st, struct st_err *err)
{
    if (st->st_nlink < 2)
        return 0;
    struct linked *l = ST_ARENA_NEW(&w->links_arena, struct linked, err);
    if (!l || st_arena_dup(&w->links_arena, st_buf_sv(&w->path), &l->path, err))
        return -1;
    l->dev = st->st_dev;
    l->ino = st->st_ino;
    uint64_t *slot = st_map_put(&w->links, link_key(st), NULL, err);
    if (!slot)
        return -1;
    *slot = (uintptr_t)l;
    return 0;
}

static int put_file(struct walk *w, const struct level *dir, const char *name, const struct stat *seen,
                    struct st_err *err)
{
    char head[ST_ROOTFS_HEAD];
    struct stat st;
    const struct linked *l = find_link(w, seen);
    if (l) {
        struct entry e = {.type = '1', .mode = seen->st_mode, .link = l->path};
        return put_entry(w, &e, err);
    }
    if (seen->st_size == 0) {
        struct entry e = {.type = '0', .mode = seen->st_mode};
        return put_entry(w, &e, err);
    }
    ST_AUTO_CLOSE int fd = openat(dir->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        return put_error(w, '0', seen->st_mode, errno, err);
    if (!S_ISREG(st.st_mode) || (st.st_dev != dir->dev && kernel_interface(fd))) {
        w->stats.skipped++;
        return 0;
    }
    ssize_t n = st_fd_pread(fd, head, sizeof head, 0);
    if (n < 0)
        return put_error(w, '0', st.st_mode, errno, err);
    uint64_t size = (uint64_t)st.st_size;
    bool wanted = !w->how->want ||
                  w->how->want(w->how->ctx, st_buf_sv(&w->path), st.st_mode & 07777, size, st_sv_mem(head, (size_t)n));
    struct entry e = {.type = '0', .mode = st.st_mode};
    if (!wanted) {
        e.absent = true;
        e.real_size = size;
        return put_entry(w, &e, err);
    }
    e.size = size;
    if (put_entry(w, &e, err) || copy_content(w, fd, size, err))
        return -1;
    return remember_link(w, &st, err);
}

static int put_symlink(struct walk *w, const struct level *dir, const char *name, const struct stat *st,
                       struct st_err *err)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(dir->fd, name, target, sizeof target);
    if (n < 0)
        return put_error(w, '2', st->st_mode, errno, err);
    struct entry e = {.type = '2', .mode = st->st_mode, .link = st_sv_mem(target, (size_t)n)};
    return put_entry(w, &e, err);
}

// ---- directories ----------------------------------------------------------------------------------------------------

static struct name *merge(struct name *a, struct name *b)
{
    struct name *head = NULL, **tail = &head;
    while (a && b) {
        struct name **least = strcmp(a->text, b->text) <= 0 ? &a : &b; // strcmp compares as unsigned char
        *tail = *least;
        *least = (*least)->next;
        tail = &(*tail)->next;
    }
    *tail = a ? a : b;
    return head;
}

// Bottom-up merge sort: bin i holds a sorted run of 2^i names.
static struct name *sort(struct name *list)
{
    struct name *bins[40] = {NULL};
    while (list) {
        struct name *run = list;
        list = list->next;
        run->next = NULL;
        size_t i = 0;
        for (; i < ST_LEN(bins) - 1 && bins[i]; i++) {
            run = merge(bins[i], run);
            bins[i] = NULL;
        }
        bins[i] = merge(bins[i], run);
    }
    struct name *all = NULL;
    for (size_t i = 0; i < ST_LEN(bins); i++)
        all = merge(bins[i], all);
    return all;
}

static void cleanup_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}

// 0, -1 with err for what ends the walk, or the errno of a directory that cannot be read.
static int read_names(struct level *l, struct st_err *err)
{
    int copy = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
    ST_AUTO(cleanup_dir) DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d) {
        int e = errno;
        if (copy >= 0)
            close(copy);
        return e;
    }
    struct name *list = NULL;
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d);
        if (!e && errno)
            return errno;
        if (!e)
            break;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        size_t len = strlen(e->d_name);
        struct name *n = st_arena_alloc(&l->names, sizeof *n + len + 1, err);
        if (!n)
            return -1;
        n->len = (uint16_t)len;
        memcpy(n->text, e->d_name, len + 1);
        n->next = list;
        list = n;
    }
    l->next = sort(list);
    return 0;
}

static void leave(struct walk *w)
{
    struct level *l = &w->levels[--w->depth];
    st_arena_release(&l->names);
    close(l->fd);
}

// Enters the directory fd (taken) whose entry in the stream is `mode` at walk.path; the root has none.
static int enter(struct walk *w, int fd, const struct stat *st, struct st_err *err)
{
    bool is_root = w->depth == 0;
    struct level *l = &w->levels[w->depth++];
    *l = (struct level){.fd = fd, .dev = st->st_dev, .path_len = w->path.len};
    st_arena_init(&l->names, w->mem);
    int rc = read_names(l, err);
    if (rc < 0)
        return -1;
    if (rc > 0) {
        if (is_root) {
            errno = rc;
            return st_err_sys(err, "read directory");
        }
        leave(w);
        return put_error(w, '5', st->st_mode, rc, err);
    }
    struct entry e = {.type = '5', .mode = st->st_mode};
    return is_root ? 0 : put_entry(w, &e, err);
}

static int put_dir(struct walk *w, const struct level *dir, const char *name, const struct stat *seen,
                   struct st_err *err)
{
    struct stat st;
    if (w->depth >= ST_ROOTFS_DEPTH_MAX)
        return put_error(w, '5', seen->st_mode, ELOOP, err);
    ST_AUTO_CLOSE int fd = openat(dir->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        return put_error(w, '5', seen->st_mode, errno, err);
    if (st.st_dev != dir->dev && kernel_interface(fd)) {
        w->stats.skipped++;
        struct entry e = {.type = '5', .mode = st.st_mode}; // the mount point itself is part of the tree
        return put_entry(w, &e, err);
    }
    return enter(w, st_take_fd(&fd), &st, err);
}

static int put_one(struct walk *w, const struct level *dir, const struct name *name, struct st_err *err)
{
    struct stat st;
    w->path.len = dir->path_len;
    if ((w->path.len && st_buf_addc(&w->path, '/', err)) || st_buf_add(&w->path, st_sv_mem(name->text, name->len), err))
        return -1;
    if (w->path.len > ST_TAR_NAME_MAX) {
        warn(w, "the path is too long");
        return 0;
    }
    if (fstatat(dir->fd, name->text, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT)) {
        if (errno == ENOENT) // gone since the directory was read
            return 0;
        return put_error(w, '0', 0, errno, err);
    }
    struct entry special = {.mode = st.st_mode};
    switch (st.st_mode & S_IFMT) {
    case S_IFREG:
        return put_file(w, dir, name->text, &st, err);
    case S_IFDIR:
        return put_dir(w, dir, name->text, &st, err);
    case S_IFLNK:
        return put_symlink(w, dir, name->text, &st, err);
    case S_IFCHR:
        special.type = '3';
        return put_entry(w, &special, err);
    case S_IFBLK:
        special.type = '4';
        return put_entry(w, &special, err);
    case S_IFIFO:
        special.type = '6';
        return put_entry(w, &special, err);
    default:
        w->stats.skipped++;
        return 0;
    }
}

static int walk_tree(struct walk *w, int dirfd, struct st_err *err)
{
    struct stat st;
    ST_AUTO_CLOSE int fd = fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0 || fstat(fd, &st))
        return st_err_sys(err, "root directory");
    if (kernel_interface(fd))
        return st_err_set(err, ST_E_INPUT, "the directory is a kernel interface, not a root file system");
    if (lseek(fd, 0, SEEK_SET) < 0 || enter(w, st_take_fd(&fd), &st, err)) // the position is shared by the copies
        return -1;
    uint64_t steps = 0;
    while (w->depth) {
        struct level *l = &w->levels[w->depth - 1];
        struct name *n = l->next;
        if (!n) {
            leave(w);
            continue;
        }
        l->next = n->next;
        if (put_one(w, l, n, err))
            return -1;
        if (++steps % TRIM_EVERY == 0)
            st_mem_trim(w->mem);
    }
    return put_zeros(w, 2 * ST_TAR_BLOCK, err) || flush(w, err) ? -1 : 0;
}

int st_rootfs_write(struct st_mem *mem, int dirfd, int out_fd, const struct st_rootfs_how *how,
                    struct st_rootfs_stats *ret, struct st_err *err)
{
    struct walk w = {.mem = mem, .how = how, .out_fd = out_fd};
    st_buf_init(&w.path, mem);
    st_buf_init(&w.pax, mem);
    st_map_init(&w.links, mem);
    st_arena_init(&w.links_arena, mem);
    w.levels = st_mem_alloc(mem, ST_ROOTFS_DEPTH_MAX * sizeof *w.levels, err);
    w.copy = w.levels ? st_mem_alloc(mem, COPY_SIZE, err) : NULL;
    w.out = w.copy ? st_mem_alloc(mem, COPY_SIZE, err) : NULL;
    int rc = w.out ? walk_tree(&w, dirfd, err) : -1;
    while (w.depth)
        leave(&w);
    st_mem_free(mem, w.out, COPY_SIZE);
    st_mem_free(mem, w.copy, COPY_SIZE);
    st_mem_free(mem, w.levels, ST_ROOTFS_DEPTH_MAX * sizeof *w.levels);
    st_arena_release(&w.links_arena);
    st_map_release(&w.links);
    st_buf_release(&w.pax);
    st_buf_release(&w.path);
    if (rc == 0 && ret)
        *ret = w.stats;
    return rc;
}
