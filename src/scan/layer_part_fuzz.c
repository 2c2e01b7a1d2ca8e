// Checkpoints within a layer from any bytes: a record is made of them, with the checksum that makes it whole, and a
// small layer goes on from it. Either it is refused, or the fragment is as without.
#include "base/fd.h"
#include "scan/layer.h"

#include <stdlib.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ENTRIES 40

static void octal(char *at, size_t n, unsigned v)
{
    for (at[--n] = '\0'; n--; v >>= 3)
        at[n] = (char)('0' + (v & 7));
}

// Files, a hard link to every fourth, evidence in every third.
static size_t make_tar(char *tar)
{
    static const char egg[] = "Metadata-Version: 1.0\nName: a\nVersion: 1\n";
    size_t at = 0;
    for (unsigned i = 0; i < ENTRIES; i++) {
        char *h = tar + at;
        bool link = i % 4 == 3, evidence = i % 3 == 0;
        memset(h, 0, 512);
        h[0] = (char)('a' + i % 20);
        memcpy(h + 1, evidence ? ".egg-info" : ".txt", evidence ? 9 : 4);
        octal(h + 100, 8, 0644);
        octal(h + 124, 12, link ? 0 : sizeof egg - 1);
        octal(h + 136, 12, 0);
        h[156] = link ? '1' : '0';
        if (link) {
            h[157] = (char)('a' + (i - 3) % 20);
            memcpy(h + 158, (i - 3) % 3 == 0 ? ".egg-info" : ".txt", (i - 3) % 3 == 0 ? 9 : 4);
        }
        memcpy(h + 257,
               "ustar\0"
               "00",
               8);
        memset(h + 148, ' ', 8);
        unsigned sum = 0;
        for (size_t k = 0; k < 512; k++)
            sum += (unsigned char)h[k];
        octal(h + 148, 7, sum);
        at += 512;
        if (!link) {
            memset(tar + at, 0, 512);
            memcpy(tar + at, egg, sizeof egg - 1);
            at += 512;
        }
    }
    memset(tar + at, 0, 1024);
    return at + 1024;
}

struct source {
    struct st_mem *mem;
    struct st_sv tar;
};

static int open_tar(void *ctx, struct st_stream **ret, struct st_err *err)
{
    struct source *s = ctx;
    *ret = st_stream_memory(s->mem, s->tar, err);
    return *ret ? 0 : -1;
}

static int put_part(int fd, struct st_mem *mem, const uint8_t *data, size_t size)
{
    struct {
        char magic[8];
        uint64_t fragment, catalogers;
    } head = {"STPART\0\1", ST_FRAGMENT_VERSION, st_catalogers_version()};
    char hex[ST_DIGEST_HEX + 1];
    struct st_sha256 *sha = st_sha256_new(mem, NULL);
    if (!sha)
        return -1;
    st_sha256_add(sha, data, size);
    st_sha256_hex(sha, hex);
    st_sha256_free(sha);
    return st_fd_pwrite(fd, &head, sizeof head, 0) || st_fd_pwrite(fd, data, size, sizeof head) ||
           st_fd_pwrite(fd, hex, ST_DIGEST_HEX, sizeof head + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char tar[ENTRIES * 1024 + 1024];
    struct st_mem mem;
    struct st_err err = {0};
    struct st_layer_stats stats;
    st_mem_init(&mem, 8 << 20, -1);
    ST_AUTO_CLOSE int part_fd = memfd_create("part", MFD_CLOEXEC);
    ST_AUTO_CLOSE int out = memfd_create("out", MFD_CLOEXEC);
    if (part_fd < 0 || out < 0 || put_part(part_fd, &mem, data, size))
        return 0;
    struct st_classifier *c = st_classifier_new(&mem, st_catalogers, NULL);
    struct st_frag_writer *w = c ? st_frag_writer_new(&mem, out, NULL, NULL) : NULL;
    struct source src = {&mem, st_sv_mem(tar, make_tar(tar))};
    struct st_layer_part part = {.fd = part_fd, .out = out, .every = 7, .resume = true};
    struct st_layer_options opt = {.classifier = c, .want_digest = true, .part = &part};
    struct st_layer_source from = {open_tar, &src, true};
    // A layer that is intact fails for its checkpoint only.
    if (w && st_layer_scan(&mem, &from, &opt, w, &stats, &err) && err.code != ST_E_CONFLICT && err.code != ST_E_MEMORY)
        abort();
    st_frag_writer_free(w);
    st_classifier_free(c);
    st_mem_release(&mem);
    return 0;
}
