// images.json, layers.json or a manifest: the first byte says which. An image that is found leads to its layers.
#include "image/storage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"app:1", "localhost/app:1", "158c71a1c07c", "docker.io/library/web"};
    struct st_mem mem;
    struct st_arena a;
    struct st_err err = {0};
    struct st_reference ref;
    if (size == 0)
        return 0;
    struct st_sv text = st_sv_mem(data + 1, size - 1);
    st_mem_init(&mem, 16 << 20, -1);
    st_arena_init(&a, &mem);
    for (size_t i = 0; data[0] == 'i' && i < 4; i++) {
        struct st_storage_image img;
        if (st_reference_parse(st_sv_of(names[i]), NULL, NULL, &a, &ref, &err) == 0 &&
            st_storage_image(text, &ref, &a, &img, &err) > 0 && (!img.id.len || memchr(img.id.ptr, '/', img.id.len)))
            __builtin_trap(); // it becomes a part of a path
    }
    if (data[0] == 'l') {
        struct st_storage_layer *layers;
        size_t n;
        st_storage_layers(text, ST_SV("top"), &a, &layers, &n, &err);
    } else if (data[0] == 'm') {
        struct st_sv digest;
        if (st_storage_config(text, &a, &digest, &err) == 0 && st_digest_check(digest, NULL))
            __builtin_trap();
    }
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
