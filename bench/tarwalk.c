// Way of a layer without catalogers: digest of the blob, decoder, tar, a hash of every path. To be compared with
// `floor`.
#include "layout.h"

#include "archive/tar.h"
#include "base/fd.h"
#include "base/map.h"

#include <fcntl.h>

#define BUDGET (64 << 20)

static uint64_t entries, bytes, mixed;

static int layer(struct st_mem *mem, const char *path, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    struct st_sha256 *sha = size < 0 ? NULL : st_sha256_new(mem, err);
    struct st_stream *s = sha ? st_stream_file(mem, fd, 0, (uint64_t)size, err) : NULL;
    struct st_stream *source = s;
    if (s)
        s = st_stream_digest(mem, s, sha, err);
    if (s)
        s = st_stream_detect(mem, s, NULL, err);
    if (s)
        s = st_stream_limit(mem, s, source, UINT64_MAX, UINT64_MAX, err);
    struct st_tar *t = s ? st_tar_new(mem, s, err) : NULL;
    struct st_tar_entry e;
    int r = -1;
    while (t && (r = st_tar_next(t, &e, err)) > 0) {
        mixed ^= st_hash(e.path);
        entries++;
        bytes += e.size;
    }
    char hex[ST_DIGEST_HEX + 1] = "";
    if (r == 0 && st_stream_drain(s, err) < 0)
        r = -1;
    if (sha)
        st_sha256_hex(sha, hex);
    if (r == 0 && strcmp(hex, path + strlen(path) - 64) != 0)
        r = st_err_set(err, ST_E_CORRUPT, "wrong digest");
    st_tar_free(t);
    st_stream_free(s);
    st_sha256_free(sha);
    return r;
}

static void once(char **paths, size_t n, char *ret_note)
{
    struct st_mem mem;
    st_mem_init(&mem, BUDGET, -1);
    entries = bytes = mixed = 0;
    for (size_t i = 0; i < n; i++) {
        struct st_err err;
        st_err_clear(&err);
        if (layer(&mem, paths[i], &err)) {
            fprintf(stderr, "%s: %s at %llu\n", paths[i], err.text, (unsigned long long)err.offset);
            exit(1);
        }
    }
    snprintf(ret_note, 256, "%llu entries, %llu bytes in files, hash %016llx, budget peak %zu KiB",
             (unsigned long long)entries, (unsigned long long)bytes, (unsigned long long)mixed, mem.peak / 1024);
    st_mem_release(&mem);
}

int main(int argc, char **argv)
{
    return bench_main(argc, argv, once);
}
