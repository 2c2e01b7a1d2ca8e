// First byte: which file. The rest: its text. What a field ends up as must not depend on what follows the text.
#include "watchdog/sample.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct st_wd_sample a = {0}, b = {0};
    enum st_wd_file file =
        (data[0] - (unsigned)'A') % ST_WD_FILE_COUNT; // 'A' is memory.current, for seeds people can read
    st_wd_sample_parse(&a, file, st_sv_mem(data + 1, size - 1));
    for (size_t f = 0; f < ST_WD_FIELD_COUNT; f++)
        assert(st_wd_has(&a, f) || a.v[f] == 0);
    // Parsing again into what is there changes nothing: the first of a key counts.
    b = a;
    st_wd_sample_parse(&b, file, st_sv_mem(data + 1, size - 1));
    assert((b.has & a.has) == a.has);
    for (size_t f = 0; f < ST_WD_FIELD_COUNT; f++)
        assert(!st_wd_has(&a, f) || a.v[f] == b.v[f]);
    return 0;
}
