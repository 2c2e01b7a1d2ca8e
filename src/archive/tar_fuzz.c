// First byte: size of the pieces and whether data is read. The list of entries must not depend on the pieces; names are
// as promised; data has the promised size.
#include "archive/tar.h"

#include "base/map.h"
#include "chop.h"
#include "path_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DATA_MAX (1 << 20) // of a sparse file's holes

static uint64_t read_data(struct st_tar *t, const struct st_tar_entry *e, uint64_t hash)
{
    struct st_sv run;
    uint64_t n = 0;
    int r;
    while (n < DATA_MAX && (r = st_tar_data(t, &run, NULL)) > 0) {
        if (run.len == 0)
            abort();
        n += run.len;
        for (size_t i = 0; i < run.len; i++)
            hash = (hash ^ (unsigned char)run.ptr[i]) * 0x100000001b3ull;
    }
    if (n > e->size || (n < DATA_MAX && r == 0 && n != e->size))
        abort();
    return n < DATA_MAX ? hash : 0;
}

static uint64_t walk(struct st_mem *mem, struct st_sv in, size_t piece, bool runtime, bool want_data)
{
    struct st_stream *s = chop_new(in, piece);
    struct st_tar *t = st_tar_new(mem, s, NULL);
    if (runtime)
        st_tar_as_runtime(t);
    struct st_tar_entry e;
    struct st_err err;
    uint64_t hash = 1, index = 0, last = 0;
    int r;
    while ((r = st_tar_next(t, &e, &err)) > 0) {
        check_path(e.path);
        if (e.type == ST_TAR_HARDLINK)
            check_path(e.link);
        if (e.index != index++ || e.offset < last || (e.type != ST_TAR_FILE && e.size) || e.mode > 07777)
            abort();
        last = e.offset;
        hash =
            st_hash_mix(hash, st_hash(e.path) ^ st_hash(e.link) * 3 ^ e.size ^ e.offset << 7 ^ (uint64_t)e.type << 50);
        if (want_data)
            hash = read_data(t, &e, hash);
    }
    st_tar_free(t);
    st_stream_free(s);
    return hash ^ (uint64_t)(r < 0 ? err.code : 0);
}

static void normalise(struct st_sv s)
{
    char *out = malloc(s.len ? s.len : 1), *again = malloc(s.len ? s.len : 1);
    if (!out || !again)
        abort();
    size_t n = st_path_normalise(s, out);
    check_path((struct st_sv){out, n});
    size_t m = st_path_normalise((struct st_sv){out, n}, again);
    if (n > s.len || m != n || memcmp(out, again, n) != 0)
        abort();
    free(out);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct st_sv in = st_sv_mem(data + 1, size - 1);
    struct st_mem mem;
    st_mem_init(&mem, 64 << 20, -1);
    bool runtime = data[0] & 1, want_data = data[0] & 2;
    size_t piece = (size_t)(data[0] >> 2) * 37 + 1;
    if (walk(&mem, in, in.len, runtime, want_data) != walk(&mem, in, piece, runtime, want_data))
        abort();
    normalise(st_sv_sub(in, 0, 4096));
    if (mem.used)
        abort();
    st_mem_release(&mem);
    return 0;
}
