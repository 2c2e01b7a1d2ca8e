// An image of the store: its documents, and its layers, put together from tar-split and the files.
#include "archive/tar_header.h"
#include "base/base64.h"
#include "base/ckd.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/wire.h"
#include "image/storage.h"
#include "image/tarsplit.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define COPY_SIZE (128 * 1024)
#define PATH_ROOM 512

struct writer {
    struct st_mem *mem;
    const struct st_storage_dirs *dirs;
    int out;
    char *copy;    // COPY_SIZE
    int layer_dir; // files of the layer in work
    uint64_t from; // bytes of its archive that nobody wants
    uint64_t done; // bytes of it so far, those included
};

static int put(struct writer *w, const void *p, size_t n, struct st_err *err)
{
    return n && st_fd_write(w->out, p, n) ? st_err_sys(err, "write the archive") : 0;
}

// The next n bytes of a layer's archive.
static int put_layer(struct writer *w, const char *p, size_t n, struct st_err *err)
{
    size_t skip = w->done < w->from ? (size_t)ST_MIN((uint64_t)n, w->from - w->done) : 0;
    w->done += n;
    return put(w, p + skip, n - skip, err);
}

static int put_zeros(struct writer *w, size_t n, struct st_err *err)
{
    static const char zeros[2 * ST_TAR_BLOCK];
    return put(w, zeros, n, err);
}

static int pad(struct writer *w, uint64_t size, struct st_err *err)
{
    return put_zeros(w, (ST_TAR_BLOCK - size % ST_TAR_BLOCK) % ST_TAR_BLOCK, err);
}

static int put_header(struct writer *w, struct st_sv name, uint64_t size, struct st_err *err)
{
    char h[ST_TAR_BLOCK];
    if (name.len > ST_TAR_HEADER_NAME)
        return st_err_set(err, ST_E_LIMIT, "an id in the store is too long");
    st_tar_header(h, name, ST_SV_NULL, '0', 0644, size);
    return put(w, h, sizeof h, err);
}

static int put_document(struct writer *w, struct st_sv name, struct st_sv text, struct st_err *err)
{
    return put_header(w, name, text.len, err) || put(w, text.ptr, text.len, err) || pad(w, text.len, err) ? -1 : 0;
}

// ---- files of the store ---------------------------------------------------------------------------------------------

static int open_in(int dir, const char *name, int flags, struct st_err *err)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | flags);
    return fd >= 0 ? fd : st_err_sys(err, "%.200s", name);
}

// images.json and its like are written anew and renamed, never changed in place: a mapping stays what it is.
static int map_file(int dir, const char *name, struct st_sv *ret, struct st_err *err)
{
    struct stat st;
    ST_AUTO_CLOSE int fd = open_in(dir, name, 0, err);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st))
        return st_err_sys(err, "%s", name);
    if (!S_ISREG(st.st_mode) || st.st_size <= 0)
        return st_err_set(err, ST_E_CORRUPT, "%s is no file, or empty", name);
    if ((uint64_t)st.st_size > ST_STORAGE_JSON_MAX)
        return st_err_set(err, ST_E_LIMIT, "%s is larger than %llu MiB", name, ST_STORAGE_JSON_MAX >> 20);
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return st_err_sys(err, "%s", name);
    *ret = st_sv_mem(p, (size_t)st.st_size);
    return 0;
}

static void unmap(struct st_sv *text)
{
    if (text->len)
        munmap((void *)(uintptr_t)text->ptr, text->len);
    *text = ST_SV_NULL;
}

// Keys with other characters than digits, small letters and dots are file names in Base64 behind '='.
static int read_document(const struct st_storage_dirs *dirs, struct st_sv id, struct st_sv key, struct st_arena *a,
                         struct st_sv *ret, struct st_err *err)
{
    char path[PATH_ROOM], name[ST_BASE64_LEN(ST_DIGEST_TEXT) + 2];
    struct st_sv file = key;
    struct stat st;
    if (st_sv_find(key, ':') != ST_SV_NPOS) { // a digest, checked: ST_DIGEST_TEXT bytes
        name[0] = '=';
        file = st_sv_mem(name, 1 + st_base64_encode(key, name + 1));
    }
    snprintf(path, sizeof path, ST_SV_FMT "/" ST_SV_FMT, ST_SV_ARG(id), ST_SV_ARG(file));
    ST_AUTO_CLOSE int fd = open_in(dirs->images, path, 0, err);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return st_err_set(err, ST_E_CORRUPT, "%.200s is no regular file", path);
    if (st.st_size > ST_IMAGE_DOC_MAX)
        return st_err_set(err, ST_E_LIMIT, ST_SV_FMT " is larger than %u MiB", ST_SV_ARG(key), ST_IMAGE_DOC_MAX >> 20);
    char *p = st_arena_bytes(a, (size_t)st.st_size + 1, err);
    if (!p)
        return -1;
    ssize_t n = st_fd_pread(fd, p, (size_t)st.st_size, 0);
    if (n < 0)
        return st_err_sys(err, "%.200s", path);
    *ret = st_sv_mem(p, (size_t)n);
    return 0;
}

// ---- a layer --------------------------------------------------------------------------------------------------------

static int layer_bytes(void *ctx, struct st_sv bytes, struct st_err *err)
{
    return put_layer(ctx, bytes.ptr, bytes.len, err);
}

// As the engine unpacked it: links are followed, and lead nowhere else.
static int open_content(struct writer *w, struct st_sv name, struct st_err *err)
{
    char path[ST_TARSPLIT_NAME_MAX];
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    memcpy(path, name.ptr, name.len);
    path[name.len] = '\0';
    int fd = (int)syscall(SYS_openat2, w->layer_dir, path, &how, sizeof how);
    if (fd >= 0)
        return fd;
    if (errno == EACCES || errno == EPERM)
        return st_err_set(err, ST_E_IO, "%.200s may not be read; as the store's user: podman unshare stella ...", path);
    if (errno == ENOSYS)
        return st_err_set(err, ST_E_FAILED,
                          "this kernel has no openat2 (Linux 5.6), without which a store is not read");
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)
        return st_err_set(err, ST_E_CORRUPT, "%.200s is not in the layer's directory any more", path);
    return st_err_sys(err, "%.200s", path);
}

static int copy_content(struct writer *w, int fd, struct st_sv name, uint64_t at, uint64_t size, struct st_err *err)
{
    name = st_sv_sub(name, 0, 200);
    while (at < size) {
        ssize_t n = st_fd_pread(fd, w->copy, (size_t)ST_MIN(size - at, (uint64_t)COPY_SIZE), at);
        if (n <= 0)
            return n ? st_err_sys(err, ST_SV_FMT, ST_SV_ARG(name))
                     : st_err_set(err, ST_E_CORRUPT, ST_SV_FMT " became shorter while it was read", ST_SV_ARG(name));
        if (put_layer(w, w->copy, (size_t)n, err))
            return -1;
        at += (uint64_t)n;
    }
    return 0;
}

static int layer_file(void *ctx, struct st_sv name, uint64_t size, struct st_err *err)
{
    struct writer *w = ctx;
    struct stat st;
    uint64_t skip = w->done < w->from ? ST_MIN(size, w->from - w->done) : 0;
    if (skip == size) {
        w->done += size;
        return 0;
    }
    ST_AUTO_CLOSE int fd = open_content(w, name, err);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st))
        return st_err_sys(err, ST_SV_FMT, ST_SV_ARG(st_sv_sub(name, 0, 200)));
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
        return st_err_set(err, ST_E_CORRUPT, ST_SV_FMT " is not the file of %llu bytes that was unpacked",
                          ST_SV_ARG(st_sv_sub(name, 0, 200)), (unsigned long long)size);
    w->done += skip;
    return copy_content(w, fd, name, skip, size, err);
}

static int layer_open(struct writer *w, struct st_sv id, struct st_stream **ret, struct st_err *err)
{
    char path[PATH_ROOM];
    struct stat st;
    enum st_codec codec;
    snprintf(path, sizeof path, ST_SV_FMT "%s", ST_SV_ARG(id), w->dirs->overlay ? "/diff" : "");
    w->layer_dir = open_in(w->dirs->data, path, O_DIRECTORY, err);
    snprintf(path, sizeof path, ST_SV_FMT ".tar-split.gz", ST_SV_ARG(id));
    int fd = w->layer_dir >= 0 ? openat(w->dirs->layers, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (w->layer_dir < 0)
        return -1;
    if (fd < 0 && errno == ENOENT)
        return st_err_set(err, ST_E_FAILED,
                          "the store has no tar-split of it (it was pulled in parts); its engine can still pack it: "
                          "podman save IMAGE | stella scan image -");
    if (fd < 0 || fstat(fd, &st)) {
        st_err_sys(err, "%.200s", path);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    struct st_stream *raw = st_stream_pipe(w->mem, fd, err);
    *ret = raw ? st_stream_detect(w->mem, raw, &codec, err) : NULL;
    return *ret ? fd : (close(fd), -1);
}

// The archive of l, and nothing around it.
static int write_layer(struct writer *w, const struct st_storage_layer *l, struct st_err *err)
{
    const struct st_tarsplit_to to = {layer_bytes, layer_file, w};
    struct st_stream *in = NULL;
    w->done = 0;
    int fd = layer_open(w, l->id, &in, err);
    int rc = fd < 0 ? -1 : st_tarsplit_read(w->mem, in, &to, err);
    st_stream_free(in);
    if (fd >= 0)
        close(fd);
    if (w->layer_dir >= 0)
        close(w->layer_dir);
    w->layer_dir = -1;
    if (rc == 0 && w->done != l->size)
        rc = st_err_set(err, ST_E_CORRUPT, "its files give an archive of %llu bytes, not the %llu that were unpacked",
                        (unsigned long long)w->done, (unsigned long long)l->size);
    return rc ? st_err_wrap(err, "layer " ST_SV_FMT " of the store", ST_SV_ARG(st_sv_sub(l->id, 0, 20))) : 0;
}

static int writer_begin(struct writer *w, struct st_err *err)
{
    w->layer_dir = -1;
    w->copy = st_mem_alloc(w->mem, COPY_SIZE, err);
    return w->copy ? 0 : -1;
}

int st_storage_layer(struct st_mem *mem, const struct st_storage_dirs *dirs, const struct st_storage_layer *l,
                     uint64_t from, int out_fd, struct st_err *err)
{
    struct writer w = {.mem = mem, .dirs = dirs, .out = out_fd, .from = from};
    int rc = writer_begin(&w, err) ? -1 : write_layer(&w, l, err);
    st_mem_free(mem, w.copy, COPY_SIZE);
    return rc;
}

// ---- the whole ------------------------------------------------------------------------------------------------------

static int put_member(struct writer *w, const struct st_storage_layer *l, struct st_err *err)
{
    char name[ST_STORAGE_NAME];
    st_storage_layer_name(l, name);
    return put_header(w, st_sv_of(name), l->size, err) || write_layer(w, l, err) || pad(w, l->size, err) ? -1 : 0;
}

int st_storage_archive(struct st_mem *mem, const struct st_storage_dirs *dirs, const struct st_storage_content *c,
                       int out_fd, struct st_err *err)
{
    struct writer w = {.mem = mem, .dirs = dirs, .out = out_fd};
    int rc = writer_begin(&w, err) || put_document(&w, ST_SV("manifest.json"), c->manifest, err) ||
                     put_document(&w, c->config_name, c->config, err)
                 ? -1
                 : 0;
    for (size_t i = 0; rc == 0 && i < c->n_layers; i++)
        rc = put_member(&w, &c->layers[i], err);
    st_mem_free(mem, w.copy, COPY_SIZE);
    return rc ? -1 : put_zeros(&w, 2 * ST_TAR_BLOCK, err);
}

// ---- what the image is ----------------------------------------------------------------------------------------------

void st_storage_layer_name(const struct st_storage_layer *l, char ret[static ST_STORAGE_NAME])
{
    snprintf(ret, ST_STORAGE_NAME, ST_SV_FMT ".tar", ST_SV_ARG(l->id));
}

static int make_manifest(const struct st_storage_image *img, const struct st_storage_content *c, struct st_arena *a,
                         struct st_sv *ret, struct st_err *err)
{
    struct st_buf b;
    struct st_out out;
    struct st_json_out j;
    char name[ST_STORAGE_NAME];
    st_buf_init(&b, a->mem);
    st_out_init_buf(&out, &b);
    st_json_out_init(&j, &out, 0);
    st_json_open(&j, '[');
    st_json_open(&j, '{');
    st_json_kv(&j, "Config", c->config_name);
    st_json_key(&j, "RepoTags");
    st_json_open(&j, '[');
    for (size_t i = 0; i < img->names.n; i++)
        if (st_sv_find(img->names.at[i], '@') == ST_SV_NPOS)
            st_json_str(&j, img->names.at[i]);
    st_json_close(&j, ']');
    st_json_key(&j, "Layers");
    st_json_open(&j, '[');
    for (size_t i = 0; i < c->n_layers; i++) {
        st_storage_layer_name(&c->layers[i], name);
        st_json_str(&j, st_sv_of(name));
    }
    st_json_close(&j, ']');
    st_json_close(&j, '}');
    st_json_close(&j, ']');
    int rc = st_out_finish(&out, err);
    if (rc == 0)
        rc = st_arena_dup(a, st_buf_sv(&b), ret, err);
    st_buf_release(&b);
    return rc;
}

static int read_image(const struct st_storage_dirs *dirs, const struct st_storage_image *img, struct st_arena *a,
                      struct st_storage_content *ret, struct st_err *err)
{
    struct st_sv manifest, digest, json = ST_SV_NULL;
    struct st_storage_layer *layers = NULL;
    char name[ST_DIGEST_NAME];
    if (read_document(dirs, img->id, ST_SV("manifest"), a, &manifest, err) ||
        st_storage_config(manifest, a, &digest, err) || read_document(dirs, img->id, digest, a, &ret->config, err) ||
        st_arena_dup(a, st_digest_name(digest, name), &ret->config_name, err) ||
        map_file(dirs->layers, "layers.json", &json, err))
        return -1;
    int rc = st_storage_layers(json, img->layer, a, &layers, &ret->n_layers, err);
    for (size_t i = 0; rc == 0 && i < ret->n_layers; i++)
        rc = st_arena_dup(a, layers[i].id, &layers[i].id, err);
    unmap(&json);
    ret->layers = layers;
    return rc ? -1 : make_manifest(img, ret, a, &ret->manifest, err);
}

int st_storage_find(const struct st_storage_dirs *dirs, const struct st_reference *ref, struct st_arena *a,
                    struct st_storage_content *ret, struct st_err *err)
{
    struct st_sv images = ST_SV_NULL;
    struct st_storage_image img;
    struct st_err why = {0};
    int rc = map_file(dirs->images, "images.json", &images, &why);
    if (rc == 0)
        rc = st_storage_image(images, ref, a, &img, &why);
    else if (why.sys_errno == ENOENT) // a store that never had an image
        rc = 0;
    if (rc == 0)
        rc = st_err_set(&why, ST_E_NOTFOUND, "the containers-storage has no image '" ST_SV_FMT "'",
                        ST_SV_ARG(st_sv_sub(ref->name, 0, 200)));
    if (rc > 0)
        rc = read_image(dirs, &img, a, ret, &why);
    unmap(&images);
    if (rc < 0 && err)
        *err = why;
    return rc < 0 ? -1 : 0;
}

// ---- across a process boundary --------------------------------------------------------------------------------------

int st_storage_encode(const struct st_storage_content *c, struct st_buf *out, struct st_err *err)
{
    struct st_wire_out o = {.buf = out};
    st_wire_put_sv(&o, c->manifest);
    st_wire_put_sv(&o, c->config_name);
    st_wire_put_sv(&o, c->config);
    st_wire_put_u64(&o, c->n_layers);
    for (size_t i = 0; i < c->n_layers; i++) {
        st_wire_put_sv(&o, c->layers[i].id);
        st_wire_put_u64(&o, c->layers[i].size);
    }
    if (o.failed && err)
        *err = o.err;
    return o.failed ? -1 : 0;
}

int st_storage_decode(struct st_sv in, struct st_arena *a, struct st_storage_content *ret, struct st_err *err)
{
    struct st_wire_in w = {.rest = in};
    struct st_storage_content c = {.manifest = st_wire_sv(&w)};
    c.config_name = st_wire_sv(&w);
    c.config = st_wire_sv(&w);
    c.n_layers = st_wire_count(&w, 2);
    struct st_storage_layer *layers = st_arena_array(a, c.n_layers + 1, sizeof *layers, err);
    if (!layers)
        return -1;
    for (size_t i = 0; i < c.n_layers; i++) {
        layers[i].id = st_wire_sv(&w);
        layers[i].size = st_wire_max(&w, INT64_MAX);
        w.failed |= !st_storage_id_ok(layers[i].id);
    }
    c.layers = layers;
    if (!st_wire_ok(&w))
        return st_err_set(err, ST_E_CORRUPT, "damaged description of an image in the store");
    *ret = c;
    return 0;
}
