#include "base/base64.h"
#include "base/ckd.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t st_base64_encode(struct st_sv s, char *out)
{
    char *p = out;
    const unsigned char *in = (const unsigned char *)s.ptr;
    for (size_t left = s.len; left; in += 3, p += 4) {
        size_t k = ST_MIN(left, (size_t)3);
        uint32_t v = (uint32_t)in[0] << 16 | (k > 1 ? (uint32_t)in[1] << 8 : 0) | (k > 2 ? in[2] : 0);
        p[0] = digits[v >> 18];
        p[1] = digits[v >> 12 & 63];
        p[2] = k > 1 ? digits[v >> 6 & 63] : '=';
        p[3] = k > 2 ? digits[v & 63] : '=';
        left -= k;
    }
    return (size_t)(p - out);
}

static int value_of(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

bool st_base64_decode(struct st_sv text, char *out, size_t room, size_t *ret_len)
{
    size_t n = 0;
    uint32_t bits = 0;
    unsigned have = 0;
    while (text.len && (text.ptr[text.len - 1] == '=' || text.ptr[text.len - 1] == '\n'))
        text.len--;
    for (size_t i = 0; i < text.len; i++) {
        int v = value_of(text.ptr[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        if (n == room)
            return false;
        out[n++] = (char)(bits >> have & 255);
    }
    *ret_len = n;
    return true;
}
