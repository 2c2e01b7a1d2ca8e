// One header: index, store, strings, numbers, files.
#include "catalog/rpm_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    st_mem_init(&mem, 64 << 20, -1);
    struct st_err err = {0};
    rpm_fuzz_header(&mem, 1, st_sv_mem(data, size), &err);
    st_mem_release(&mem);
    return 0;
}
