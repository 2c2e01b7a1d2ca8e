// Executables: every cataloger that reads parts of a file must say the same when it is given the whole file. The seeds
// are those of the Go and Rust catalogers: a path, a newline, the file.
#include "catalog_harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem, print;
    st_mem_init(&mem, 64 << 20, -1);
    st_mem_init(&print, 64 << 20, -1);
    struct st_sv path, bytes;
    st_sv_cut(st_sv_mem(data, size), '\n', &path, &bytes);
    for (const struct st_cataloger *const *c = st_catalogers; *c; c++) {
        if ((*c)->need != ST_NEED_SPARSE)
            continue;
        struct st_buf said[2];
        for (int whole = 0; whole < 2; whole++) {
            st_buf_init(&said[whole], &print);
            struct st_out out;
            st_out_init_buf(&out, &said[whole]);
            struct harness h = {.mem = &mem, .out = &out, .whole = whole};
            harness_print(&h, *c, ST_SV("usr/bin/x"), bytes);
            st_out_finish(&out, NULL);
        }
        if (!st_sv_eq(st_buf_sv(&said[0]), st_buf_sv(&said[1])))
            __builtin_trap();
        st_buf_release(&said[0]);
        st_buf_release(&said[1]);
    }
    st_mem_release(&print);
    st_mem_release(&mem);
    return 0;
}
