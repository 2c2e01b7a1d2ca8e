// A database as containerd has it: an image looked for by every kind of name, in one namespace and in all.
#include "image/containerd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int read_bytes(void *ctx, uint64_t offset, void *buf, size_t n, struct st_err *err)
{
    const struct st_sv *file = ctx;
    if (offset > file->len || n > file->len - offset)
        return st_err_set(err, ST_E_CORRUPT, "the file ends early");
    memcpy(buf, file->ptr + offset, n);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"t:1", "localhost/k8s:1", "docker.io/library/t:1"};
    static const char *const spaces[] = {"", "default", "k8s.io"};
    struct st_sv file = st_sv_mem(data, size);
    for (size_t i = 0; i < 3; i++) {
        struct st_mem mem;
        struct st_arena a;
        struct st_reference ref;
        struct st_containerd_image found;
        struct st_err err = {0};
        st_mem_init(&mem, 8 << 20, -1);
        st_arena_init(&a, &mem);
        struct st_bolt db = {.read = read_bytes, .ctx = &file, .arena = &a};
        if (st_reference_parse(st_sv_of(names[i]), NULL, NULL, &a, &ref, &err) == 0 && st_bolt_open(&db, &err) == 0) {
            if (st_containerd_find(&db, st_sv_of(spaces[i]), &ref, &found, &err) > 0 &&
                st_digest_check(st_sv_of(found.digest), NULL))
                __builtin_trap(); // what is found is a digest
            st_bolt_unchanged(&db, &err);
        }
        st_arena_release(&a);
        st_mem_release(&mem);
    }
    return 0;
}
