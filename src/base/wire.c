#include "base/wire.h"

void st_wire_put_u64(struct st_wire_out *w, uint64_t v)
{
    char b[10];
    size_t n = 0;
    do {
        b[n] = (char)((v & 0x7F) | (v > 0x7F ? 0x80 : 0));
        v >>= 7;
        n++;
    } while (v);
    if (!w->failed && st_buf_add(w->buf, st_sv_mem(b, n), &w->err))
        w->failed = true;
}

void st_wire_put_sv(struct st_wire_out *w, struct st_sv s)
{
    st_wire_put_u64(w, s.len);
    if (!w->failed && st_buf_add(w->buf, s, &w->err))
        w->failed = true;
}

uint64_t st_wire_u64(struct st_wire_in *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && r->rest.len && !r->failed; shift += 7) {
        unsigned char c = (unsigned char)r->rest.ptr[0];
        r->rest = st_sv_from(r->rest, 1);
        if (shift == 63 && c > 1)
            break;
        v |= (uint64_t)(c & 0x7F) << shift;
        if (!(c & 0x80))
            return v;
    }
    r->failed = true;
    return 0;
}

uint64_t st_wire_max(struct st_wire_in *r, uint64_t max)
{
    uint64_t v = st_wire_u64(r);
    if (v <= max)
        return v;
    r->failed = true;
    return 0;
}

struct st_sv st_wire_sv(struct st_wire_in *r)
{
    uint64_t n = st_wire_u64(r);
    if (r->failed || n > r->rest.len) {
        r->failed = true;
        return ST_SV_NULL;
    }
    struct st_sv s = st_sv_sub(r->rest, 0, (size_t)n);
    r->rest = st_sv_from(r->rest, (size_t)n);
    return s;
}

size_t st_wire_count(struct st_wire_in *r, size_t each)
{
    uint64_t n = st_wire_u64(r);
    if (r->failed || n > r->rest.len / each) {
        r->failed = true;
        return 0;
    }
    return (size_t)n;
}
