// The text of a tar-split file; what comes out is counted.
#include "image/tarsplit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    uint64_t bytes, files;
};

static int bytes(void *ctx, struct st_sv s, struct st_err *err)
{
    struct seen *seen = ctx;
    (void)err;
    seen->bytes += s.len;
    return 0;
}

static int file(void *ctx, struct st_sv name, uint64_t size, struct st_err *err)
{
    struct seen *seen = ctx;
    (void)err;
    if (!name.len || !size || memchr(name.ptr, 0, name.len))
        __builtin_trap();
    seen->files++;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    struct seen seen = {0};
    struct st_err err;
    const struct st_tarsplit_to to = {bytes, file, &seen};
    st_mem_init(&mem, 16 << 20, -1);
    struct st_stream *in = st_stream_memory(&mem, st_sv_mem(data, size), &err);
    if (in && st_tarsplit_read(&mem, in, &to, &err) == 0 && seen.bytes > size)
        __builtin_trap(); // Base64 does not grow
    st_stream_free(in);
    st_mem_release(&mem);
    return 0;
}
