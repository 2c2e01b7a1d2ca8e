// Answers of the API server: a Pod and an EphemeralRunner, and the judgement on what they say.
#include "act/arc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char id[] = "3f2a6c0d1e4b5a69788796a5b4c3d2e1f00112233445566778899aabbccddeef";
    struct st_sv in = st_sv_mem(data, size);
    struct st_mem mem;
    struct st_arena a;
    struct st_pod pod;
    struct st_runner runner;
    uint64_t seconds;
    st_mem_init(&mem, 16u << 20, -1);
    st_arena_init(&a, &mem);
    bool is_pod = st_pod_read(in, st_sv_of(id), &a, &pod, NULL) == 0;
    if (is_pod && pod.container_id.len && !st_sv_eq(pod.container_id, st_sv_of(id)))
        __builtin_trap();
    if (st_runner_read(in, &a, &runner, NULL) == 0) {
        enum st_zombie z = st_zombie_judge(&runner, is_pod ? &pod : NULL, 1764000000, 600, &seconds);
        if (z != ST_ZOMBIE_NONE && seconds < 600)
            __builtin_trap();
    }
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
