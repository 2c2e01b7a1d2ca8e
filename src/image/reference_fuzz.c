// References and platforms; every other input "exists".
#include "image/image_int.h"
#include "image/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool exists(void *ctx, struct st_sv path)
{
    return path.len % 2;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    st_mem_init(&mem, 1 << 20, -1);
    struct st_arena a;
    st_arena_init(&a, &mem);
    struct st_sv text = st_sv_mem(data, size);
    struct st_reference ref;
    struct st_platform p;
    char out[64];
    st_reference_parse(text, NULL, NULL, &a, &ref, NULL);
    st_reference_parse(text, exists, NULL, &a, &ref, NULL);
    if (st_platform_parse(text, &p, NULL) == 0) {
        st_platform_text(p, out, sizeof out);
        st_platform_rank(p, st_platform_host());
    }
    st_tag_matches(text, st_sv_from(text, size / 2));
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
