// Every member of any archive, twice over the directory.
#include "archive/zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    st_mem_init(&mem, 256 << 20, -1);
    struct st_buf buf;
    st_buf_init(&buf, &mem);
    struct st_zip z;
    struct st_sv bytes;
    if (st_zip_open(&z, st_sv_mem(data, size), NULL) == 0) {
        struct st_zip_at at = {0, 0};
        struct st_zip_entry e;
        uint64_t n = 0, sum = 0;
        while (st_zip_next(&z, &at, &e)) {
            n++;
            if (st_zip_read(&z, &e, 1 << 20, &buf, &bytes, NULL) == 0)
                for (size_t i = 0; i < bytes.len; i++)
                    sum += (unsigned char)bytes.ptr[i];
        }
        if (n != z.n || sum == UINT64_MAX)
            __builtin_trap();
    }
    st_buf_release(&buf);
    st_mem_release(&mem);
    return 0;
}
