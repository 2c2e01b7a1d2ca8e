#include "fetch/registries.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_err err;
    struct st_registries all = {0};
    struct st_sv name = ST_SV("docker.io/library/alpine"), host, repository;
    st_mem_init(&mem, 64 << 20, -1);
    st_arena_init(&a, &mem);
    if (st_registries_parse(st_sv_mem(data, size), &a, &all, &err) == 0) {
        const struct st_registry_rule *r = st_registries_find(&all, name);
        if (r && st_registries_rewrite(r, r->location, name, &a, &host, &repository, &err) == 0 &&
            (!host.len || !repository.len))
            abort();
    }
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
