// The bytes: a packet of stella, a newline, an answer of a server. Whatever they are, every row is JSON that the record
// of the operation is asked to read, as stella would.
#include "base/ckd.h"
#include "service/remote_ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct reading {
    const struct st_op *op;
    struct st_arena *arena;
};

static int on_row(void *ctx, struct st_sv json, struct st_err *err)
{
    struct reading *k = ctx;
    void *row = st_arena_alloc(k->arena, k->op->answer->size, err);
    if (row)
        st_record_read(k->op->answer, json, true, 0, row, k->arena, NULL);
    return row ? 0 : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct st_mem mem;
    struct st_arena arena;
    struct st_remote_request q;
    struct st_err err = {0};
    struct st_sv packet, answer, base;
    st_sv_cut(st_sv_mem((const char *)data, n), '\n', &packet, &answer);
    st_mem_init(&mem, 8 << 20, -1);
    st_arena_init(&arena, &mem);
    st_remote_request_init(&q, &mem);
    st_remote_token(packet, NULL);
    if (st_remote_base(packet, &base, NULL))
        base = ST_SV("https://x");
    if (st_remote_translate(packet, n % 2, base, &arena, &q, &err) == 0) {
        struct st_sv url = st_buf_sv(&q.url);
        for (size_t i = 0; i < url.len; i++)
            if (url.ptr[i] <= ' ' || (unsigned char)url.ptr[i] >= 127)
                __builtin_trap(); // a URL of one word
        struct reading k = {q.op, &arena};
        st_remote_rows(q.op, answer, on_row, &k, &err);
    }
    st_remote_request_release(&q);
    st_arena_release(&arena);
    st_mem_release(&mem);
    return 0;
}
