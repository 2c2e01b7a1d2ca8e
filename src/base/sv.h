// String views: pointer and length into memory that somebody else owns. Input never carries a NUL
// that means anything; nothing here reads past len.
#ifndef ST_BASE_SV_H
#define ST_BASE_SV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct st_sv {
    const char *ptr; // borrows; may be NULL when len is 0
    size_t len;
};

#define ST_SV(literal) ((struct st_sv){"" literal, sizeof(literal) - 1})
#define ST_SV_INIT(literal)             \
    {                                   \
        "" literal, sizeof(literal) - 1 \
    } // for static initialisers
#define ST_SV_NULL ((struct st_sv){NULL, 0})
#define ST_SV_FMT "%.*s"
#define ST_SV_ARG(s) (int)(s).len, (s).ptr ? (s).ptr : ""

static inline struct st_sv st_sv_of(const char *cstr)
{
    return (struct st_sv){cstr, cstr ? strlen(cstr) : 0};
}
static inline struct st_sv st_sv_mem(const void *p, size_t n)
{
    return (struct st_sv){p, n};
}
static inline bool st_sv_eq(struct st_sv a, struct st_sv b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool st_sv_starts(struct st_sv s, struct st_sv prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}
static inline bool st_sv_ends(struct st_sv s, struct st_sv suffix)
{
    return s.len >= suffix.len && (suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}
// [from, from + n) clipped to s.
static inline struct st_sv st_sv_sub(struct st_sv s, size_t from, size_t n)
{
    if (from > s.len)
        from = s.len;
    if (n > s.len - from)
        n = s.len - from;
    return (struct st_sv){s.ptr ? s.ptr + from : NULL, n};
}
static inline struct st_sv st_sv_from(struct st_sv s, size_t from)
{
    return st_sv_sub(s, from, SIZE_MAX);
}

#define ST_SV_NPOS SIZE_MAX

int st_sv_cmp(struct st_sv a, struct st_sv b);          // bytewise, shorter first on a tie
bool st_sv_ieq(struct st_sv a, struct st_sv b);         // ASCII case-insensitive
size_t st_sv_find(struct st_sv s, char c);              // index or ST_SV_NPOS
size_t st_sv_rfind(struct st_sv s, char c);             // index or ST_SV_NPOS
size_t st_sv_search(struct st_sv s, struct st_sv what); // index or ST_SV_NPOS
struct st_sv st_sv_trim(struct st_sv s);                // blanks, tabs, CR, LF, VT, FF at both ends
// Take up to and without `sep` from the front of *rest; false when *rest was exhausted before.
// A string that ends in `sep` yields no empty last part.
bool st_sv_split(struct st_sv *rest, char sep, struct st_sv *ret_part);
// Next line without its LF or CRLF.
bool st_sv_line(struct st_sv *rest, struct st_sv *ret_line);
// Next word separated by blanks or tabs.
bool st_sv_word(struct st_sv *rest, struct st_sv *ret_word);
// Cut at the first `c`: head before, tail after. False (head = s, tail empty) when absent.
bool st_sv_cut(struct st_sv s, char c, struct st_sv *ret_head, struct st_sv *ret_tail);
// Last path component, and what stands before the last '/'.
struct st_sv st_sv_basename(struct st_sv path);
struct st_sv st_sv_dirname(struct st_sv path);
// Whole string as unsigned number; false on empty, other characters, overflow.
bool st_sv_u64(struct st_sv s, unsigned base, uint64_t *ret_value);
bool st_sv_is_hex(struct st_sv s);  // lower-case digits only; true of the empty one
bool st_sv_is_utf8(struct st_sv s); // strict: no overlongs, no surrogates
// The UTF-8 form of a code point up to 0x10FFFF at p (room for 4 bytes); its length.
size_t st_utf8_put(char *p, uint64_t c);

#endif
