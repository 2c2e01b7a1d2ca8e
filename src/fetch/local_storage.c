// The store of Podman, Buildah and CRI-O: where it is, and the children that find the image and put its layers
// together.
#include "base/ckd.h"
#include "base/fd.h"
#include "fetch/local_int.h"
#include "image/blobs.h"
#include "image/storage.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define MEMORY (24u << 20)   // all names of images.json, all layers of layers.json; a line of tar-split
#define PIPE_BYTES (1 << 20) // what an unprivileged process may have
#define TICK_MS 200
#define LAST_WORD_MS 2000 // between the end of the archive and why it ended

struct reading {
    struct reading *next;
    uint64_t ticket;
    struct st_child child;
};

struct st_local {
    struct st_remote remote; // first: what the scan holds is this
    struct st_storage_dirs dirs;
    struct st_local_options opt;
    struct st_mem mem;
    struct st_arena arena;
    struct st_storage_content content;
    struct reading *readings; // the newest first
    uint64_t tickets;
};

// ---- where it is ----------------------------------------------------------------------------------------------------

static const struct driver {
    const char *name, *data; // data: below the root
    bool overlay;
} drivers[] = {{"overlay", "overlay", true}, {"vfs", "vfs/dir", false}};

struct place {
    char root[PATH_MAX - 64];
    struct st_sv driver; // empty: whichever is there
};

// As containers/storage reads them; a user's file before the machine's.
static struct st_sv setting(const char *key, struct st_arena *a)
{
    const char *named = getenv("CONTAINERS_STORAGE_CONF"), *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char user[PATH_MAX] = "";
    if (named && *named)
        return st_local_setting(named, "storage", key, a);
    if (getuid() && config && *config)
        snprintf(user, sizeof user, "%s/containers/storage.conf", config);
    else if (getuid() && home && *home)
        snprintf(user, sizeof user, "%s/.config/containers/storage.conf", home);
    struct st_sv v = user[0] ? st_local_setting(user, "storage", key, a) : ST_SV_NULL;
    // The machine's graphroot is root's.
    return v.len || (getuid() && strcmp(key, "graphroot") == 0)
               ? v
               : st_local_setting("/etc/containers/storage.conf", "storage", key, a);
}

static int place_of(const struct st_reference *ref, struct st_arena *a, struct place *ret, struct st_err *err)
{
    struct st_sv root = ref->where, rest;
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    *ret = (struct place){0};
    if (root.len && root.ptr[0] != '/' && !st_sv_cut(ref->where, '@', &ret->driver, &root))
        return st_err_set(err, ST_E_INPUT, "[DRIVER@ROOT]: '" ST_SV_FMT "' has no root directory",
                          ST_SV_ARG(st_sv_sub(ref->where, 0, 200)));
    st_sv_cut(root, '+', &root, &rest);
    st_sv_cut(root, ':', &root, &rest);
    if (!ret->driver.len)
        ret->driver = st_sv_of(getenv("STORAGE_DRIVER"));
    if (!ref->where.len && !(root = setting("graphroot", a)).len) {
        if (getuid() == 0)
            root = ST_SV("/var/lib/containers/storage");
        else if (st_arena_fmt(a, &root, err,
                              data && *data ? "%s/containers/storage" : "%s/.local/share/containers/storage",
                              data && *data ? data
                              : home        ? home
                                            : ""))
            return -1;
    }
    if (!ref->where.len && !ret->driver.len)
        ret->driver = setting("driver", a);
    if (!root.len || root.ptr[0] != '/' || root.len >= sizeof ret->root || memchr(root.ptr, 0, root.len))
        return st_err_set(err, ST_E_INPUT, "not the absolute path of a store: '" ST_SV_FMT "'",
                          ST_SV_ARG(st_sv_sub(root, 0, 200)));
    memcpy(ret->root, root.ptr, root.len);
    return 0;
}

static int open_dir(const char *root, const char *driver, const char *what, struct st_err *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s%s", root, driver, what);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (fd >= 0)
        return fd;
    if (errno == ENOENT || errno == ENOTDIR)
        return st_err_set(err, ST_E_NOTFOUND, "there is no containers-storage at %.200s (%s%s)", root, driver, what);
    if (errno == EACCES || errno == EPERM)
        return st_err_set(err, ST_E_IO, "the containers-storage at %.200s may not be read: it is %s", root,
                          getuid() ? "another user's (sudo stella ...)" : "out of reach even for root");
    return st_err_sys(err, "%.300s", path);
}

static void close_dirs(struct st_storage_dirs *d)
{
    int *const fds[] = {&d->images, &d->layers, &d->data};
    for (size_t i = 0; i < ST_LEN(fds); i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

// The store of the first driver that is there.
static int open_dirs(const struct place *p, struct st_storage_dirs *ret, struct st_err *err)
{
    bool any = false;
    for (size_t i = 0; i < ST_LEN(drivers); i++) {
        const struct driver *d = &drivers[i];
        struct st_err why = {0};
        if (p->driver.len && !st_sv_eq(p->driver, st_sv_of(d->name)))
            continue;
        *ret = (struct st_storage_dirs){-1, -1, -1, d->overlay};
        if ((ret->images = open_dir(p->root, d->name, "-images", &why)) >= 0 &&
            (ret->layers = open_dir(p->root, d->name, "-layers", &why)) >= 0 &&
            (ret->data = open_dir(p->root, d->data, "", &why)) >= 0)
            return 0;
        close_dirs(ret);
        if (err && (!any || why.code != ST_E_NOTFOUND)) // of the first, unless a later one is there
            *err = why;
        any = true;
    }
    return any ? -1
               : st_err_set(err, ST_E_INPUT, "a store of the driver '" ST_SV_FMT "' is not read (overlay, vfs are)",
                            ST_SV_ARG(st_sv_sub(p->driver, 0, 60)));
}

// ---- in a child -----------------------------------------------------------------------------------------------------

struct task {
    const struct st_storage_dirs *dirs;
    const struct st_reference *ref;
    const struct st_storage_layer *layer;
    uint64_t from;
    int out;
};

static int find_image(const struct task *t, struct st_mem *mem,
                      int (*use)(const struct task *t, struct st_mem *mem, const struct st_storage_content *c,
                                 struct st_err *err),
                      struct st_err *err)
{
    struct st_arena a;
    struct st_storage_content c = {0};
    st_arena_init(&a, mem);
    int rc = st_storage_find(t->dirs, t->ref, &a, &c, err) || use(t, mem, &c, err) ? -1 : 0;
    st_arena_release(&a);
    return rc;
}

static int write_description(const struct task *t, struct st_mem *mem, const struct st_storage_content *c,
                             struct st_err *err)
{
    struct st_buf b;
    st_buf_init(&b, mem);
    int rc = st_storage_encode(c, &b, err);
    if (rc == 0 && st_fd_write(t->out, b.ptr, b.len))
        rc = st_err_sys(err, "the image's description");
    st_buf_release(&b);
    return rc;
}

static int write_archive(const struct task *t, struct st_mem *mem, const struct st_storage_content *c,
                         struct st_err *err)
{
    return st_storage_archive(mem, t->dirs, c, t->out, err);
}

static int describe(void *task, struct st_mem *mem, char said[static 256], struct st_err *err)
{
    (void)said;
    return find_image(task, mem, write_description, err);
}

static int pack(void *task, struct st_mem *mem, char said[static 256], struct st_err *err)
{
    (void)said;
    return find_image(task, mem, write_archive, err);
}

static int layer(void *task, struct st_mem *mem, char said[static 256], struct st_err *err)
{
    const struct task *t = task;
    (void)said;
    return st_storage_layer(mem, t->dirs, t->layer, t->from, t->out, err);
}

// ---- its readings ---------------------------------------------------------------------------------------------------

typedef int work_fn(void *ctx, struct st_mem *mem, char said[static 256], struct st_err *err);

// A child that writes to t->out, which is its own afterwards.
static int begin(struct st_local *l, work_fn *work, struct task *t, uint64_t *ret_ticket, struct st_err *err)
{
    t->dirs = &l->dirs;
    const int fds[] = {l->dirs.images, l->dirs.layers, l->dirs.data, t->out};
    struct st_child_work w = {
        .work = work, .ctx = t, .fds = fds, .n_fds = ST_LEN(fds), .dirs = fds, .n_dirs = 3, .memory = MEMORY};
    struct reading *r = calloc(1, sizeof *r);
    if (!r)
        return st_err_nomem(err);
    if (st_child_start(&w, &r->child, err)) {
        free(r);
        return -1;
    }
    r->ticket = ++l->tickets;
    r->next = l->readings;
    l->readings = r;
    l->remote.pid = r->child.pid;
    *ret_ticket = r->ticket;
    return 0;
}

static int begin_pipe(struct st_local *l, work_fn *work, struct task *t, int *ret_fd, uint64_t *ret_ticket,
                      struct st_err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return st_err_sys(err, "pipe");
    fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES); // refused: it stays at 64 KiB
    t->out = ends[1];
    int rc = begin(l, work, t, ret_ticket, err);
    close(ends[1]);
    if (rc)
        close(ends[0]);
    else
        *ret_fd = ends[0];
    return rc;
}

// Those whose child has ended well, and nobody asks about.
static void forget_ended(struct st_local *l)
{
    for (struct reading **p = &l->readings; *p;) {
        struct reading *r = *p;
        if (!st_child_wait(&r->child, 0) || r->child.err.code) {
            p = &r->next;
            continue;
        }
        *p = r->next;
        st_child_end(&r->child);
        free(r);
    }
}

static struct reading *reading_of(struct st_local *l, uint64_t ticket)
{
    struct reading *r = l->readings;
    while (r && r->ticket != ticket)
        r = r->next;
    return r;
}

// ---- the questions of struct st_remote ------------------------------------------------------------------------------

static const struct st_storage_layer *layer_named(const struct st_local *l, struct st_sv member)
{
    char name[ST_STORAGE_NAME];
    for (size_t i = 0; i < l->content.n_layers; i++) {
        st_storage_layer_name(&l->content.layers[i], name);
        if (st_sv_eq(member, st_sv_of(name)))
            return &l->content.layers[i];
    }
    return NULL;
}

static int document(struct st_remote *remote, struct st_sv name, int *ret_fd, uint64_t *ret_size, struct st_err *err)
{
    const struct st_local *l = (const struct st_local *)remote;
    const struct st_storage_layer *found = layer_named(l, name);
    if (st_sv_eq(name, ST_SV("manifest.json")))
        return st_blobs_document(l->content.manifest, ret_fd, ret_size, err);
    if (st_sv_eq(name, l->content.config_name))
        return st_blobs_document(l->content.config, ret_fd, ret_size, err);
    if (!found)
        return 0;
    *ret_fd = -1;
    *ret_size = found->size;
    return 1;
}

static int blob(struct st_remote *remote, struct st_sv name, uint64_t from, uint64_t size, int *ret_fd,
                uint64_t *ret_ticket, struct st_err *err)
{
    struct st_local *l = (struct st_local *)remote;
    struct task t = {.layer = layer_named(l, name), .from = from};
    (void)size;
    if (!t.layer)
        return st_err_set(err, ST_E_INTERNAL, "a layer that makes no sense");
    forget_ended(l);
    return begin_pipe(l, layer, &t, ret_fd, ret_ticket, err);
}

// Asked when the bytes have ended: the child's last word is on its way.
static bool failed(struct st_remote *remote, uint64_t ticket, int wait_ms, struct st_err *ret_why)
{
    (void)wait_ms; // this child always says how it ended
    struct reading *r = reading_of((struct st_local *)remote, ticket);
    if (!r || !st_child_wait(&r->child, LAST_WORD_MS) || !r->child.err.code)
        return false;
    *ret_why = r->child.err;
    return true;
}

// ---- opening it -----------------------------------------------------------------------------------------------------

static int open_place(const struct st_reference *ref, struct st_storage_dirs *ret, struct st_err *err)
{
    struct st_mem mem;
    struct st_arena a;
    struct place p;
    st_mem_init(&mem, 8 << 20, -1);
    st_arena_init(&a, &mem);
    int rc = place_of(ref, &a, &p, err) || open_dirs(&p, ret, err) ? -1 : 0;
    st_arena_release(&a);
    st_mem_release(&mem);
    return rc;
}

bool st_local_storage_there(const struct st_reference *ref, struct st_err *err)
{
    struct st_storage_dirs dirs;
    if (open_place(ref, &dirs, err))
        return false;
    close_dirs(&dirs);
    return true;
}

// Waits for the child's last word, or with an fd for its first byte.
static int wait_for(struct st_local *l, int fd, struct st_err *err)
{
    struct st_child *c = &l->readings->child;
    for (;;) {
        struct pollfd f[2] = {{.fd = fd, .events = POLLIN}, {.fd = c->sock, .events = POLLIN}};
        poll(f, 2, TICK_MS);
        if (st_local_check_time(&l->opt, err))
            return -1;
        if (f[0].revents & POLLIN)
            return 0;
        if (!f[1].revents || !st_child_wait(c, 0))
            continue;
        if (c->err.code && err)
            *err = c->err;
        return c->err.code ? -1 : 0;
    }
}

static int learn_content(struct st_local *l, const struct st_reference *ref, struct st_err *err)
{
    struct st_sv text;
    uint64_t ticket;
    ST_AUTO_CLOSE int out = memfd_create("stella-image", MFD_CLOEXEC);
    struct task t = {.ref = ref, .out = out};
    if (out < 0)
        return st_err_sys(err, "the image's description");
    if (begin(l, describe, &t, &ticket, err) || wait_for(l, -1, err))
        return -1;
    if (st_image_encoded(out, &l->arena, &text, err))
        return -1;
    return st_storage_decode(text, &l->arena, &l->content, err);
}

static int open_image(struct st_local *l, const struct st_reference *ref, bool stream, struct st_opened *ret,
                      struct st_err *err)
{
    struct task t = {.ref = ref};
    *ret = (struct st_opened){.kind = ST_OPENED_REMOTE, .fd = -1, .dirfd = -1, .remote = &l->remote};
    if (!stream)
        return learn_content(l, ref, err);
    ret->kind = ST_OPENED_STREAM;
    if (begin_pipe(l, pack, &t, &ret->fd, &ret->ticket, err) == 0 && wait_for(l, ret->fd, err) == 0)
        return 0;
    st_opened_close(ret);
    return -1;
}

int st_local_storage(const struct st_reference *ref, const struct st_local_options *opt, struct st_local **ret_local,
                     struct st_opened *ret, struct st_err *err)
{
    struct st_local *l = calloc(1, sizeof *l);
    if (!l)
        return st_err_nomem(err);
    *l = (struct st_local){.remote = {.document = document,
                                      .blob = blob,
                                      .failed = failed,
                                      .lists = true,
                                      .pid = -1,
                                      .private_bytes = ST_LOCAL_PRIVATE_BYTES * ST_MAX(opt->readers, 1u)},
                           .dirs = {-1, -1, -1, false},
                           .opt = *opt};
    st_mem_init(&l->mem, 2 * ST_IMAGE_ENCODED_MAX, -1);
    st_arena_init(&l->arena, &l->mem);
    if (open_place(ref, &l->dirs, err) || open_image(l, ref, opt->stream, ret, err)) {
        st_local_close(l);
        return -1;
    }
    *ret_local = l;
    return 0;
}

void st_local_close(struct st_local *l)
{
    if (!l)
        return;
    while (l->readings) {
        struct reading *r = l->readings;
        l->readings = r->next;
        st_child_end(&r->child);
        free(r);
    }
    close_dirs(&l->dirs);
    st_arena_release(&l->arena);
    st_mem_release(&l->mem);
    free(l);
}
