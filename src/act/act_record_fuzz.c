// The record reader, the reader of cgroup paths on whatever path the record has, and what is asked for.
#include "act/act_record.h"
#include "act/arc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_path(struct st_sv path)
{
    struct st_pod_ref ref;
    if (st_pod_ref_read(path, &ref, NULL) == 0 && strlen(ref.uid) != (ref.static_pod ? 32 : ST_POD_UID_LEN))
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_act_record r;
    struct st_err err = {0};
    st_mem_init(&mem, 16u << 20, -1);
    st_arena_init(&a, &mem);
    if (st_act_record_read(st_sv_mem(data, size), &a, &r, &err) == 0) {
        (void)st_act_record_wish(&r);
        try_path(r.cgroup_path);
    } else if (err.code == ST_E_NONE) {
        __builtin_trap();
    }
    // The bytes as a path too, so that the path reader does not only see what JSON lets through.
    try_path(st_sv_mem(data, size));
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
