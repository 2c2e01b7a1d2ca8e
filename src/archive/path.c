// Paths of archive members, made comparable: see st_path_normalise in tar.h.
#include "archive/tar.h"

#include "base/ckd.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

// Nonzero when a byte of w is zero (and perhaps when none is in front of one that is; that only costs time here).
static uint64_t zero_byte(uint64_t w)
{
    return (w - 0x0101010101010101ull) & ~w & 0x8080808080808080ull;
}

static bool special(char c)
{
    return c == '/' || c == '.';
}

// Copies the word at p when none of its bytes is '/' with '/' or '.' behind it; looks at nine bytes.
static bool copy_word(const char *p, char *out)
{
    const uint64_t slash = 0x2f2f2f2f2f2f2f2full, low = 0x0101010101010101ull; // '.' is '/' without its lowest bit
    uint64_t here, next;
    memcpy(&here, p, sizeof here);
    memcpy(&next, p + 1, sizeof next);
    if (zero_byte(here ^ slash) & zero_byte((next | low) ^ slash))
        return false;
    memcpy(out, &here, sizeof here);
    return true;
}

// Copy s when it is as it should be already: no '/' with '/' or '.' behind it. False: look closer. Nearly all paths
// pass.
static bool copy_normal(struct st_sv s, char *out)
{
    size_t i = 0;
#ifdef __SSE2__
    const __m128i slashes = _mm_set1_epi8('/'), one = _mm_set1_epi8(1); // '.' is '/' without its lowest bit
    for (; i + 17 <= s.len; i += 16) {
        __m128i here = _mm_loadu_si128((const __m128i_u *)(const void *)(s.ptr + i));
        __m128i next = _mm_loadu_si128((const __m128i_u *)(const void *)(s.ptr + i + 1));
        __m128i bad = _mm_and_si128(_mm_cmpeq_epi8(here, slashes), _mm_cmpeq_epi8(_mm_or_si128(next, one), slashes));
        if (_mm_movemask_epi8(bad))
            return false;
        _mm_storeu_si128((__m128i_u *)(void *)(out + i), here);
    }
#endif
    while (s.len >= 9 && i + 1 < s.len) { // by words, the last of which may begin among bytes that were copied already
        i = ST_MIN(i, s.len - 9);
        if (!copy_word(s.ptr + i, out + i))
            return false;
        i += 8;
    }
    for (; i < s.len; i++) {
        if (s.ptr[i] == '/' && (i + 1 == s.len || special(s.ptr[i + 1])))
            return false;
        out[i] = s.ptr[i];
    }
    return true;
}

size_t st_path_normalise(struct st_sv s, char *out)
{
    bool in_place = out == s.ptr; // then nothing may be written before it is known where to
    if (s.len > 2 && s.ptr[0] == '.' && s.ptr[1] == '/')
        s = st_sv_from(s, 2);
    struct st_sv most = s.len > 1 && s.ptr[s.len - 1] == '/' ? st_sv_sub(s, 0, s.len - 1) : s;
    if (!in_place && most.len && !special(most.ptr[0]) && copy_normal(most, out))
        return most.len;
    size_t n = 0; // bytes in out, which never ends in '/'
    const char *p = s.ptr, *end = s.len ? s.ptr + s.len : s.ptr;
    while (p < end) {
        if (*p == '/') {
            p++;
            continue;
        }
        const char *slash = memchr(p, '/', (size_t)(end - p));
        size_t len = (size_t)((slash ? slash : end) - p);
        if (len == 2 && p[0] == '.' && p[1] == '.') {
            while (n > 0 && out[--n] != '/')
                ;
        } else if (len != 1 || p[0] != '.') {
            if (n)
                out[n++] = '/';
            memmove(out + n, p, len);
            n += len;
        }
        p += len;
    }
    return n;
}
