#include "base/clock.h"

#include <time.h>

static int64_t read_ms(clockid_t id)
{
    struct timespec t;
    return clock_gettime(id, &t) ? 0 : (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t st_clock_wall_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}

int64_t st_clock_mono_ms(void)
{
    return read_ms(CLOCK_MONOTONIC);
}

void st_clock_text(int64_t wall_ms, char ret[static ST_CLOCK_TEXT])
{
    static const char form[] = "0000-00-00T00:00:00Z";
    static const unsigned char ends[] = {3, 6, 9, 12, 15, 18}; // last digit of each field
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm;
    if (wall_ms <= 0 || !gmtime_r(&t, &tm) || tm.tm_year > 9999 - 1900) {
        memcpy(ret, "-", 2);
        return;
    }
    const int fields[] = {tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec};
    memcpy(ret, form, sizeof form);
    for (size_t i = 0; i < sizeof ends; i++)
        for (int v = fields[i], at = ends[i]; v; v /= 10)
            ret[at--] = (char)('0' + v % 10);
}

void st_clock_text_ms(int64_t wall_ms, char ret[static ST_CLOCK_TEXT_MS])
{
    int ms = (int)(wall_ms % 1000);
    st_clock_text(wall_ms, ret);
    if (ret[0] == '-')
        return;
    const char end[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z', 0};
    memcpy(ret + 19, end, sizeof end);
}

bool st_clock_read(struct st_sv text, int64_t *ret_ms)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd"; // d: a digit
    int v[6] = {0}, at = 0;
    int64_t ms = 0;
    if (text.len < sizeof form || text.ptr[text.len - 1] != 'Z')
        return false;
    for (size_t i = 0; i + 1 < sizeof form; i++) {
        bool digit = text.ptr[i] >= '0' && text.ptr[i] <= '9';
        if (form[i] == 'd' ? !digit : text.ptr[i] != form[i])
            return false;
        if (digit)
            v[at] = v[at] * 10 + (text.ptr[i] - '0');
        else
            at++;
    }
    struct st_sv fraction = st_sv_sub(text, sizeof form - 1, text.len - sizeof form);
    for (size_t i = 0; i < fraction.len; i++) {
        char c = fraction.ptr[i];
        if (i == 0 ? c != '.' || fraction.len < 2 : c < '0' || c > '9')
            return false;
        if (i >= 1 && i <= 3)
            ms = ms * 10 + (c - '0');
    }
    for (size_t i = fraction.len; fraction.len && i < 4; i++)
        ms *= 10;
    struct tm tm = {
        .tm_year = v[0] - 1900, .tm_mon = v[1] - 1, .tm_mday = v[2], .tm_hour = v[3], .tm_min = v[4], .tm_sec = v[5]};
    if (v[0] < 1970 || v[1] < 1 || v[1] > 12 || v[2] < 1 || v[2] > 31 || v[3] > 23 || v[4] > 59 || v[5] > 60)
        return false;
    *ret_ms = (int64_t)timegm(&tm) * 1000 + ms;
    return true;
}
