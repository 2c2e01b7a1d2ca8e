#include "base/sv.h"

#include "base/ckd.h"

int st_sv_cmp(struct st_sv a, struct st_sv b)
{
    size_t n = ST_MIN(a.len, b.len);
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool st_sv_ieq(struct st_sv a, struct st_sv b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return false;
    return true;
}

size_t st_sv_find(struct st_sv s, char c)
{
    const char *p = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return p ? (size_t)(p - s.ptr) : ST_SV_NPOS;
}

size_t st_sv_rfind(struct st_sv s, char c)
{
    const char *p = s.len ? memrchr(s.ptr, c, s.len) : NULL;
    return p ? (size_t)(p - s.ptr) : ST_SV_NPOS;
}

size_t st_sv_search(struct st_sv s, struct st_sv what)
{
    if (what.len == 0)
        return 0;
    const char *p = s.len ? memmem(s.ptr, s.len, what.ptr, what.len) : NULL;
    return p ? (size_t)(p - s.ptr) : ST_SV_NPOS;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct st_sv st_sv_trim(struct st_sv s)
{
    while (s.len && is_space(s.ptr[0]))
        s = st_sv_from(s, 1);
    while (s.len && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

bool st_sv_cut(struct st_sv s, char c, struct st_sv *ret_head, struct st_sv *ret_tail)
{
    size_t i = st_sv_find(s, c);
    if (i == ST_SV_NPOS) {
        *ret_head = s;
        *ret_tail = st_sv_from(s, s.len);
        return false;
    }
    *ret_head = st_sv_sub(s, 0, i);
    *ret_tail = st_sv_from(s, i + 1);
    return true;
}

bool st_sv_split(struct st_sv *rest, char sep, struct st_sv *ret_part)
{
    if (rest->len == 0)
        return false;
    st_sv_cut(*rest, sep, ret_part, rest);
    return true;
}

bool st_sv_line(struct st_sv *rest, struct st_sv *ret_line)
{
    if (!st_sv_split(rest, '\n', ret_line))
        return false;
    if (ret_line->len && ret_line->ptr[ret_line->len - 1] == '\r')
        ret_line->len--;
    return true;
}

bool st_sv_word(struct st_sv *rest, struct st_sv *ret_word)
{
    size_t i = 0;
    while (i < rest->len && (rest->ptr[i] == ' ' || rest->ptr[i] == '\t'))
        i++;
    size_t j = i;
    while (j < rest->len && rest->ptr[j] != ' ' && rest->ptr[j] != '\t')
        j++;
    *ret_word = st_sv_sub(*rest, i, j - i);
    *rest = st_sv_from(*rest, j);
    return j > i;
}

struct st_sv st_sv_basename(struct st_sv path)
{
    size_t i = st_sv_rfind(path, '/');
    return i == ST_SV_NPOS ? path : st_sv_from(path, i + 1);
}

struct st_sv st_sv_dirname(struct st_sv path)
{
    size_t i = st_sv_rfind(path, '/');
    return i == ST_SV_NPOS ? st_sv_sub(path, 0, 0) : st_sv_sub(path, 0, i);
}

bool st_sv_u64(struct st_sv s, unsigned base, uint64_t *ret_value)
{
    uint64_t v = 0;
    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = lower(s.ptr[i]);
        unsigned d = c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'z' ? (unsigned)(c - 'a') + 10 : 99;
        if (d >= base || st_ckd_mul(&v, v, base) || st_ckd_add(&v, v, d))
            return false;
    }
    *ret_value = v;
    return true;
}

bool st_sv_is_hex(struct st_sv s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.ptr[i] >= '0' && s.ptr[i] <= '9') || (s.ptr[i] >= 'a' && s.ptr[i] <= 'f')))
            return false;
    return true;
}

bool st_sv_is_utf8(struct st_sv s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t i = 0;
    while (i < s.len) {
        unsigned char c = p[i];
        if (c < 0x80) {
            i++;
            continue;
        }
        size_t n = c >= 0xC2 && c <= 0xDF ? 1 : (c & 0xF0) == 0xE0 ? 2 : c >= 0xF0 && c <= 0xF4 ? 3 : 0;
        if (n == 0 || s.len - i <= n)
            return false;
        unsigned char c1 = p[i + 1]; // Unicode 15, table 3-7: the second byte's range depends on the first
        unsigned char lo = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80, hi = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
        if (c1 < lo || c1 > hi)
            return false;
        for (size_t k = 2; k <= n; k++)
            if ((p[i + k] & 0xC0) != 0x80)
                return false;
        i += n + 1;
    }
    return true;
}

size_t st_utf8_put(char *p, uint64_t c)
{
    if (c < 0x80)
        return p[0] = (char)c, 1;
    if (c < 0x800)
        return p[0] = (char)(0xC0 | c >> 6), p[1] = (char)(0x80 | (c & 63)), 2;
    if (c < 0x10000)
        return p[0] = (char)(0xE0 | c >> 12), p[1] = (char)(0x80 | (c >> 6 & 63)), p[2] = (char)(0x80 | (c & 63)), 3;
    p[0] = (char)(0xF0 | c >> 18);
    p[1] = (char)(0x80 | (c >> 12 & 63));
    p[2] = (char)(0x80 | (c >> 6 & 63));
    p[3] = (char)(0x80 | (c & 63));
    return 4;
}
