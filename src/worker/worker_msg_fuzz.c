// Any bytes as a packet; what was read is written and read again.
#include "worker/worker_msg.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    struct st_arena a;
    enum st_worker_kind kind, kind2;
    void *value, *again;
    struct st_err err = {0};
    st_mem_init(&mem, 16 << 20, -1);
    st_arena_init(&a, &mem);
    if (st_worker_read(st_sv_mem(data, size), &kind, &value, &a, &err) == 0) {
        struct st_buf b;
        struct st_out o;
        struct st_json_out w;
        st_buf_init(&b, &mem);
        st_out_init_buf(&o, &b);
        st_out_puts(&o, st_worker_kinds[kind].word);
        st_out_putc(&o, ' ');
        st_json_out_init(&w, &o, 0);
        st_record_write(&w, st_worker_kinds[kind].record, value);
        // It must read, but for two things: an empty text comes back as an absent one, which a required field does not
        // take; an embedded JSON text is written anew, with its escapes, and may then be over its field's limit.
        if (st_out_finish(&o, NULL) == 0 && st_worker_read(st_buf_sv(&b), &kind2, &again, &a, &err) &&
            !strstr(err.text, "is missing") && !strstr(err.text, "bytes are accepted"))
            abort();
        st_buf_release(&b);
    }
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
