// The parent's reader of what the sandbox sent.
#include "image/inspect.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    st_mem_init(&mem, 64 << 20, -1);
    struct st_arena a;
    st_arena_init(&a, &mem);
    struct st_image img, again;
    struct st_buf b, out;
    st_buf_init(&b, &mem);
    st_buf_init(&out, &mem);
    if (st_image_decode(st_sv_mem(data, size), &a, &img, NULL) == 0) {
        if (st_image_encode(&img, &b, NULL) || st_image_decode(st_buf_sv(&b), &a, &again, NULL))
            abort();
        struct st_inspect in = {.image = &again, .sort = ST_SORT_FILES};
        struct st_out o;
        st_out_init_buf(&o, &out);
        st_inspect_json(&in, &a, &o, NULL);
        st_layers_table(&in, &a, &o, NULL);
        st_out_finish(&o, NULL);
    }
    st_buf_release(&b);
    st_buf_release(&out);
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
