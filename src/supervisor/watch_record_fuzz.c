#include "supervisor/watch_record.h"

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_watch_record r;
    struct st_json j;
    struct st_json_tok t;
    st_mem_init(&mem, 4 << 20, -1);
    st_arena_init(&a, &mem);
    if (st_watch_record_read(st_sv_mem(data, size), &r, &a, NULL) == 0) {
        st_json_init(&j, r.brief); // what goes into the evidence is JSON
        if (st_json_next(&j, &t, NULL) || t.type != ST_JSON_OBJECT || st_json_skip(&j, &t, NULL) ||
            st_json_next(&j, &t, NULL) || t.type != ST_JSON_END)
            __builtin_trap();
    }
    st_arena_release(&a);
    st_mem_release(&mem);
    return 0;
}
