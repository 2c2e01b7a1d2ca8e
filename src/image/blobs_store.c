// A directory of blobs of many images, seen as the layout of one of them.
#include "base/fd.h"
#include "base/json.h"
#include "image/blobs.h"

#include <sys/mman.h>

const char st_blobs_layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";

int st_blobs_index_of(struct st_sv digest, uint64_t size, struct st_sv media_type, struct st_buf *to,
                      struct st_err *err)
{
    struct st_out out;
    struct st_json_out w;
    st_out_init_buf(&out, to);
    st_json_out_init(&w, &out, 0);
    st_json_open(&w, '{');
    st_json_key(&w, "schemaVersion");
    st_json_u64(&w, 2);
    st_json_key(&w, "manifests");
    st_json_open(&w, '[');
    st_json_open(&w, '{');
    if (media_type.len)
        st_json_kv(&w, "mediaType", media_type);
    st_json_kv(&w, "digest", digest);
    st_json_key(&w, "size");
    st_json_u64(&w, size);
    st_json_close(&w, '}');
    st_json_close(&w, ']');
    st_json_close(&w, '}');
    return st_out_finish(&out, err);
}

int st_blobs_document(struct st_sv text, int *ret_fd, uint64_t *ret_size, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = memfd_create("stella-document", MFD_CLOEXEC);
    if (fd < 0 || st_fd_write(fd, text.ptr, text.len))
        return st_err_sys(err, "document");
    *ret_fd = st_take_fd(&fd);
    *ret_size = text.len;
    return 1;
}

int st_blobs_store_open(int dirfd, struct st_sv digest, struct st_sv name, int *ret_fd, uint64_t *ret_size,
                        struct st_err *err)
{
    char blob[ST_DIGEST_NAME];
    uint64_t size;
    if (st_sv_eq(name, ST_SV("oci-layout")))
        return st_blobs_document(st_sv_of(st_blobs_layout), ret_fd, ret_size, err);
    if (!st_sv_eq(name, ST_SV("index.json")))
        return st_blobs_dir_open(dirfd, name, ret_fd, ret_size, err);
    ST_AUTO_CLOSE int there = -1;
    int rc = st_blobs_dir_open(dirfd, st_digest_name(digest, blob), &there, &size, err);
    if (rc <= 0)
        return rc;
    struct st_mem mem;
    struct st_buf b;
    st_mem_init(&mem, 128 * 1024, -1);
    st_buf_init(&b, &mem);
    rc = st_blobs_index_of(digest, size, ST_SV_NULL, &b, err) ? -1
                                                              : st_blobs_document(st_buf_sv(&b), ret_fd, ret_size, err);
    st_buf_release(&b);
    st_mem_release(&mem);
    return rc;
}
