#include "fetch/challenge.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_challenge c = {0};
    struct st_err err;
    st_mem_init(&mem, 1 << 20, -1);
    st_arena_init(&a, &mem);
    if (st_challenge_parse(st_sv_mem(data, size), &a, &c, &err) == 0 && c.bearer && !c.realm.len)
        abort();
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
