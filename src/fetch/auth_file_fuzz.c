#include "fetch/login.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_auth_entry e;
    struct st_err err;
    st_mem_init(&mem, 8 << 20, -1);
    st_arena_init(&a, &mem);
    st_auth_file_parse(st_sv_mem(data, size), ST_SV("registry.example:5000"), ST_SV("team/web"), &a, &e, &err);
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
