// Any text: a result of one kind, and a canonical text that parses to itself.
#include "inventory/license.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    st_mem_init(&mem, 16 << 20, -1);
    struct st_buf one, two;
    st_buf_init(&one, &mem);
    st_buf_init(&two, &mem);
    struct st_license l, m;
    int rc = st_license_parse(st_sv_mem(data, size), &one, &l, NULL);
    assert(rc == 0);
    if (l.kind == ST_LICENSE_ID || l.kind == ST_LICENSE_EXPRESSION) {
        // a canonical text may pass the limit that its shorter form kept
        rc = st_license_parse(l.text, &two, &m, NULL);
        assert(rc == 0 && (l.text.len > ST_LICENSE_TEXT_MAX || (m.kind == l.kind && st_sv_eq(m.text, l.text))));
        struct st_sv rest = l.text, ref;
        while (st_license_next_ref(&rest, &ref))
            assert(ref.len > 11);
    }
    st_buf_release(&one);
    st_buf_release(&two);
    st_mem_release(&mem);
    return 0;
}
