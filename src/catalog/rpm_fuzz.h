// What the fuzz targets of rpm's containers do with a header: read all of it.
#ifndef ST_CATALOG_RPM_FUZZ_H
#define ST_CATALOG_RPM_FUZZ_H

#include "catalog/rpm_db.h"
#include "catalog/rpm_header.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Every tag of every kind, and the files; ctx is a struct st_mem.
static inline int rpm_fuzz_header(void *ctx, uint64_t number, struct st_sv blob, struct st_err *err)
{
    struct st_rpm_header h;
    struct st_sv s;
    uint64_t n, budget = 1 << 20;
    volatile uint64_t sum = 0; // every byte is read, also by an optimising compiler
    if (st_rpm_header_open(blob, &h, err))
        return 0;
    for (int tag = 0; tag < ST_RPM_TAGS_MAX; tag++) {
        struct st_rpm_strings all = st_rpm_strings(&h, tag);
        while (st_rpm_strings_next(&all, &s))
            sum = sum + (s.len ? (unsigned char)s.ptr[s.len - 1] : 0);
        for (uint32_t i = 0; i < 100 && st_rpm_number(&h, tag, i, &n); i++)
            sum = sum + n;
    }
    struct st_arena arena;
    st_arena_init(&arena, ctx);
    struct st_rpm_files f;
    if (st_rpm_files_init(&f, &h, &budget, &arena, err) == 0)
        while (st_rpm_files_next(&f, &s, err) > 0)
            if (s.len == 0 || s.ptr[0] == '/' || s.ptr[s.len - 1] == '/' || s.len > ST_RPM_PATH_MAX)
                abort();
    st_arena_release(&arena);
    return 0;
}

static inline int rpm_fuzz_damaged(void *ctx, uint64_t number, const struct st_err *why, struct st_err *err)
{
    if (why->code != ST_E_FORMAT && why->code != ST_E_LIMIT)
        abort();
    return 0;
}

typedef int rpm_fuzz_walk(struct st_sv file, struct st_mem *mem, const struct st_rpm_sink *sink, struct st_err *err);

static inline int rpm_fuzz_db(rpm_fuzz_walk *walk, const uint8_t *data, size_t size)
{
    struct st_mem mem;
    st_mem_init(&mem, 64 << 20, -1);
    struct st_rpm_sink sink = {&mem, rpm_fuzz_header, rpm_fuzz_damaged};
    struct st_err err = {0};
    walk(st_sv_mem(data, size), &mem, &sink, &err);
    if (mem.used)
        abort();
    st_mem_release(&mem);
    return 0;
}

#endif
