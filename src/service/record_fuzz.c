// Any bytes as a request: split, read by each record, and what was read is written and read again.
#include "service/message.h"
#include "service/op.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one(const struct st_record *r, struct st_sv json, struct st_arena *a)
{
    struct st_err err = {0};
    struct st_buf b;
    struct st_out o;
    struct st_json_out w;
    void *v = st_arena_alloc(a, r->size, NULL), *again = st_arena_alloc(a, r->size, NULL);
    if (!v || !again || st_record_read(r, json, false, 0, v, a, &err))
        return;
    st_buf_init(&b, a->mem);
    st_out_init_buf(&o, &b);
    st_json_out_init(&w, &o, 0);
    st_record_write(&w, r, v);
    // Empty texts come back as absent ones, which a required field does not take: else it must read.
    if (st_out_finish(&o, NULL) == 0 && st_record_read(r, st_buf_sv(&b), false, 0, again, a, &err) &&
        !strstr(err.text, "is missing"))
        abort();
    st_buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_sv name, json;
    struct st_err err;
    st_mem_init(&mem, 16 << 20, -1);
    st_arena_init(&a, &mem);
    st_message_get_err(st_sv_mem(data, size), &err);
    if (st_message_split(st_sv_mem(data, size), &name, &json, NULL) == 0) {
        const struct st_op *op = st_op_find(name);
        for (const struct st_op *o = st_ops; o->name; o++)
            if (o->request && (!op || o == op))
                one(o->request, json, &a);
        if (op && op->answer)
            one(op->answer, json, &a);
    }
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
