// The floor of an image (DESIGN section 7): for every layer SHA-256 of the blob as stored and the fastest decoder of
// its codec, nothing else. Plain layers are hashed only.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "layout.h"

#include "base/fd.h"

#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <openssl/sha.h>
#include <zstd.h>

#define IN_SIZE (256 * 1024)
#define OUT_SIZE (256 * 1024)

static unsigned char in[IN_SIZE], out[OUT_SIZE];
static struct inflate_state gz;
static uint64_t made;

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void inflate_part(size_t n)
{
    gz.next_in = in;
    gz.avail_in = (uint32_t)n;
    do {
        if (gz.block_state == ISAL_BLOCK_FINISH) {
            isal_inflate_reset(&gz);
            gz.crc_flag = ISAL_GZIP;
        }
        gz.next_out = out;
        gz.avail_out = OUT_SIZE;
        int rc = isal_inflate(&gz);
        if (rc != ISAL_DECOMP_OK && rc != ISAL_END_INPUT)
            fail("gzip");
        made += OUT_SIZE - gz.avail_out;
    } while (gz.avail_out == 0 || (gz.block_state == ISAL_BLOCK_FINISH && gz.avail_in > 0));
}

static void zstd_part(ZSTD_DCtx *zs, size_t n)
{
    ZSTD_inBuffer i = {in, n, 0};
    ZSTD_outBuffer o;
    do {
        o = (ZSTD_outBuffer){out, OUT_SIZE, 0};
        if (ZSTD_isError(ZSTD_decompressStream(zs, &o, &i)))
            fail("zstd");
        made += o.pos;
    } while (i.pos < i.size || o.pos == o.size);
}

static void layer(const char *path)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail(path);
    SHA256_CTX sha;
    SHA256_Init(&sha);
    ZSTD_DCtx *zs = ZSTD_createDCtx();
    isal_inflate_init(&gz);
    gz.crc_flag = ISAL_GZIP;
    uint64_t at = 0;
    int codec = 0;
    for (ssize_t n; (n = st_fd_pread(fd, in, IN_SIZE, at)) > 0; at += (uint64_t)n) {
        if (at == 0)
            codec = in[0] == 0x1f && in[1] == 0x8b ? 1 : memcmp(in, "\x28\xb5\x2f\xfd", 4) == 0 ? 2 : 0;
        SHA256_Update(&sha, in, (size_t)n);
        if (codec == 1)
            inflate_part((size_t)n);
        else if (codec == 2)
            zstd_part(zs, (size_t)n);
        else
            made += (uint64_t)n;
    }
    ZSTD_freeDCtx(zs);
    unsigned char md[SHA256_DIGEST_LENGTH];
    SHA256_Final(md, &sha);
    char hex[2 * sizeof md + 1];
    for (size_t i = 0; i < sizeof md; i++)
        snprintf(hex + 2 * i, 3, "%02x", md[i]);
    if (strcmp(hex, path + strlen(path) - 64) != 0)
        fail("wrong digest");
}

static void once(char **paths, size_t n, char *ret_note)
{
    made = 0;
    for (size_t i = 0; i < n; i++)
        layer(paths[i]);
    snprintf(ret_note, 256, "%llu bytes", (unsigned long long)made);
}

int main(int argc, char **argv)
{
    return bench_main(argc, argv, once);
}
