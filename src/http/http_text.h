// The pieces of HTTP's header grammar that the client reads (RFC 9110). Pure; fuzzed by http_text_fuzz.c.
#ifndef ST_HTTP_HTTP_TEXT_H
#define ST_HTTP_HTTP_TEXT_H

#include "base/sv.h"

// Value of the n-th `name` header in a block of header lines, trimmed; a NULL view when there is none. Lines without a
// colon (status lines) are passed over.
struct st_sv st_http_find_header(struct st_sv block, struct st_sv name, size_t n);
// "HTTP/1.1 200 OK", "HTTP/2 200". False on anything else.
bool st_http_status_line(struct st_sv line, int *ret_status);
// Content-Range: "bytes FIRST-LAST/TOTAL" or ".../*" (*ret_total 0). False on anything else, and when LAST < FIRST or
// TOTAL <= LAST.
bool st_http_content_range(struct st_sv value, uint64_t *ret_first, uint64_t *ret_last, uint64_t *ret_total);
// IMF-fixdate ("Sun, 06 Nov 1994 08:49:37 GMT") as seconds since 1970. The two obsolete forms are not read.
bool st_http_date(struct st_sv value, int64_t *ret_seconds);
// Retry-After: seconds, or a date (0 when it has passed `now`). False on anything else.
bool st_http_retry_after(struct st_sv value, int64_t now, uint64_t *ret_seconds);
// token of RFC 9110 5.6.2: a method or a header's name.
bool st_http_is_token(struct st_sv s);
// No control characters but the tab.
bool st_http_is_value(struct st_sv s);
const char *st_http_reason(int status); // "Not Found"; "" when there is none

#endif
