// Header text as a server may send it: first byte which reader, the rest the text.
#include "http/http_text.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_sv s = st_sv_mem(data, size), v;
    uint64_t first, last, total;
    int64_t date;
    int status;
    for (size_t n = 0; n < 4 && (v = st_http_find_header(s, ST_SV("content-range"), n)).ptr; n++)
        if (st_http_content_range(v, &first, &last, &total) && (last < first || (total && last >= total)))
            abort();
    if (st_http_status_line(s, &status) && (status < 100 || status > 999))
        abort();
    if (st_http_content_range(s, &first, &last, &total) && (last < first || (total && last >= total)))
        abort();
    if (st_http_date(s, &date) && date < 0)
        abort();
    st_http_retry_after(s, 1000000000, &total);
    if (st_http_is_token(s) && !st_http_is_value(s))
        abort();
    return 0;
}
