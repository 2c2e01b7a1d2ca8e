#include "http/http_text.h"
#include "base/ckd.h"

struct st_sv st_http_find_header(struct st_sv block, struct st_sv name, size_t n)
{
    struct st_sv line, key, value;
    while (st_sv_line(&block, &line))
        if (st_sv_cut(line, ':', &key, &value) && st_sv_ieq(key, name) && n-- == 0)
            return st_sv_trim(value);
    return ST_SV_NULL;
}

static bool digits(struct st_sv s, size_t at, size_t n, unsigned *ret)
{
    uint64_t v;
    if (at + n > s.len || !st_sv_u64(st_sv_sub(s, at, n), 10, &v))
        return false;
    *ret = (unsigned)v;
    return true;
}

bool st_http_status_line(struct st_sv line, int *ret_status)
{
    struct st_sv version, rest;
    unsigned status;
    line = st_sv_trim(line);
    if (!st_sv_starts(line, ST_SV("HTTP/")) || !st_sv_cut(line, ' ', &version, &rest) || !digits(rest, 0, 3, &status))
        return false;
    if (status < 100 || (rest.len > 3 && rest.ptr[3] != ' '))
        return false;
    *ret_status = (int)status;
    return true;
}

bool st_http_content_range(struct st_sv value, uint64_t *ret_first, uint64_t *ret_last, uint64_t *ret_total)
{
    struct st_sv unit, rest, range, total, first, last;
    uint64_t t = 0;
    if (!st_sv_cut(st_sv_trim(value), ' ', &unit, &rest) || !st_sv_ieq(unit, ST_SV("bytes")))
        return false;
    if (!st_sv_cut(st_sv_trim(rest), '/', &range, &total) || !st_sv_cut(range, '-', &first, &last))
        return false;
    if (!st_sv_u64(first, 10, ret_first) || !st_sv_u64(last, 10, ret_last) || *ret_last < *ret_first ||
        *ret_last == UINT64_MAX)
        return false;
    if (!st_sv_eq(total, ST_SV("*")) && (!st_sv_u64(total, 10, &t) || t <= *ret_last))
        return false;
    *ret_total = t;
    return true;
}

// Days since 1970-01-01 of a date of the Gregorian calendar.
static int64_t days(unsigned y, unsigned m, unsigned d)
{
    int64_t yy = (int64_t)y - (m <= 2);
    int64_t era = yy / 400, yoe = yy - era * 400;
    int64_t doy = (153 * (int64_t)(m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

bool st_http_date(struct st_sv v, int64_t *ret_seconds)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    static const char shape[] = "___, 00 ___ 0000 00:00:00 GMT";
    unsigned d, y, h, mi, s, m = 0;
    if (v.len != sizeof shape - 1)
        return false;
    for (size_t i = 0; i < v.len; i++)
        if (shape[i] != '_' && shape[i] != '0' && v.ptr[i] != shape[i])
            return false;
    while (m < 12 && memcmp(months + (size_t)m * 3, v.ptr + 8, 3) != 0)
        m++;
    if (m == 12 || !digits(v, 5, 2, &d) || !digits(v, 12, 4, &y) || !digits(v, 17, 2, &h) || !digits(v, 20, 2, &mi) ||
        !digits(v, 23, 2, &s))
        return false;
    if (d < 1 || d > 31 || y < 1970 || h > 23 || mi > 59 || s > 60)
        return false;
    *ret_seconds = days(y, m + 1, d) * 86400 + (int64_t)h * 3600 + (int64_t)mi * 60 + s;
    return true;
}

bool st_http_retry_after(struct st_sv value, int64_t now, uint64_t *ret_seconds)
{
    int64_t at;
    if (st_sv_u64(value, 10, ret_seconds))
        return true;
    if (!st_http_date(value, &at))
        return false;
    *ret_seconds = at > now ? (uint64_t)(at - now) : 0;
    return true;
}

bool st_http_is_token(struct st_sv s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!alnum && (c == 0 || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return s.len > 0;
}

bool st_http_is_value(struct st_sv s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

const char *st_http_reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {413, "Content Too Large"},
        {416, "Range Not Satisfiable"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < ST_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "";
}
