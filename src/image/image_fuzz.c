// The resolver over a set of documents in the text form of tests/image_set.h; what it finds goes over the wire and back
// and into every form of output. The first byte picks tag, platform and pin.
#include "image/inspect.h"
#include "image_set.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_wire(const struct st_image *img, struct st_mem *mem, struct st_arena *a)
{
    struct st_buf b, again;
    struct st_image back;
    st_buf_init(&b, mem);
    st_buf_init(&again, mem);
    if (st_image_encode(img, &b, NULL) == 0) {
        if (st_image_decode(st_buf_sv(&b), a, &back, NULL) || st_image_encode(&back, &again, NULL) ||
            !st_sv_eq(st_buf_sv(&b), st_buf_sv(&again)))
            abort(); // what we write we must read
        struct st_inspect in = {.image = &back, .sort = ST_SORT_SIZE};
        struct st_out o;
        st_buf_clear(&again);
        st_out_init_buf(&o, &again);
        st_inspect_json(&in, a, &o, NULL);
        st_inspect_table(&in, a, &o, NULL);
        st_out_finish(&o, NULL);
    }
    st_buf_release(&b);
    st_buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct st_platform amd64 = {ST_SV_INIT("linux"), ST_SV_INIT("amd64"), {0}};
    if (size == 0)
        return 0;
    uint8_t pick = data[0];
    struct st_mem mem;
    st_mem_init(&mem, 64 << 20, -1);
    struct st_arena a;
    st_arena_init(&a, &mem);
    struct st_members *m = st_members_new(&mem, NULL);
    struct st_resolve how = {.host = amd64, .pin = (enum st_image_pin)(pick % 3)};
    if (pick & 4)
        how.want = amd64;
    if (pick & 8)
        how.tag = ST_SV("latest");
    if (m && image_set_load(m, &a, st_sv_mem(data + 1, size - 1), NULL) == 0) {
        struct st_blobs blobs = st_members_blobs(m);
        struct st_image img;
        struct st_err err = {0};
        if (st_image_resolve(&blobs, &how, &a, &img, &err) == 0)
            check_wire(&img, &mem, &a);
        else if (!err.code || !err.text[0])
            abort(); // a refusal has a reason
    }
    st_members_free(m);
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
