// Every token of any input, text of every string, and the writer on what was read.
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    st_mem_init(&mem, 64 << 20, -1);
    struct st_arena a;
    st_arena_init(&a, &mem);
    struct st_buf b;
    st_buf_init(&b, &mem);
    struct st_out o;
    st_out_init_buf(&o, &b);
    struct st_json_out w;
    st_json_out_init(&w, &o, 0);
    struct st_json j;
    st_json_init(&j, st_sv_mem(data, size));
    struct st_json_tok t;
    while (st_json_next(&j, &t, NULL) == 0 && t.type != ST_JSON_END) {
        struct st_sv s;
        if (t.type == ST_JSON_STRING && st_json_text(&t, &a, &s, NULL) == 0)
            st_json_str(&w, s);
        if (t.type == ST_JSON_KEY && size % 3 == 0 && st_json_skip(&j, &t, NULL))
            break;
    }
    st_out_finish(&o, NULL);
    st_buf_release(&b);
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
