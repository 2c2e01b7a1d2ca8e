#include "base/out.h"

#include "base/ckd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void st_out_init_fd(struct st_out *o, int fd)
{
    *o = (struct st_out){.fd = fd};
}

void st_out_init_buf(struct st_out *o, struct st_buf *to)
{
    *o = (struct st_out){.fd = -1, .to = to};
}

static void write_all(struct st_out *o, const char *p, size_t n)
{
    while (n && !o->err.code) {
        ssize_t w = write(o->fd, p, n);
        if (w < 0) {
            if (errno != EINTR)
                st_err_sys(&o->err, "write");
            continue;
        }
        p += w;
        n -= (size_t)w;
    }
}

void st_out_flush(struct st_out *o)
{
    if (o->fd >= 0 && o->len)
        write_all(o, o->buf, o->len);
    o->len = 0;
}

void st_out_write(struct st_out *o, struct st_sv s)
{
    if (o->err.code || s.len == 0)
        return;
    o->total += s.len;
    if (o->to) {
        st_buf_add(o->to, s, &o->err);
        return;
    }
    if (!o->buf && !(o->buf = malloc(ST_OUT_BUFFER))) {
        st_err_nomem(&o->err);
        return;
    }
    if (s.len > ST_OUT_BUFFER - o->len)
        st_out_flush(o);
    if (s.len >= ST_OUT_BUFFER) {
        write_all(o, s.ptr, s.len);
        return;
    }
    memcpy(o->buf + o->len, s.ptr, s.len);
    o->len += s.len;
}

char *st_out_room(struct st_out *o, size_t n)
{
    if (o->err.code)
        return NULL;
    if (o->to)
        return st_buf_reserve(o->to, n, &o->err) ? NULL : o->to->ptr + o->to->len;
    if (!o->buf && !(o->buf = malloc(ST_OUT_BUFFER))) {
        st_err_nomem(&o->err);
        return NULL;
    }
    if (n > ST_OUT_BUFFER - o->len)
        st_out_flush(o);
    return o->buf + o->len;
}

void st_out_added(struct st_out *o, size_t n)
{
    o->total += n;
    *(o->to ? &o->to->len : &o->len) += n;
}

void st_out_puts(struct st_out *o, const char *literal)
{
    st_out_write(o, st_sv_of(literal));
}

void st_out_putc(struct st_out *o, char c)
{
    st_out_write(o, st_sv_mem(&c, 1));
}

void st_out_fmt(struct st_out *o, const char *fmt, ...)
{
    char small[512];
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof small) {
        st_out_write(o, st_sv_mem(small, (size_t)n));
    } else if (n >= 0) {
        char *big = malloc((size_t)n + 1);
        if (big) {
            vsnprintf(big, (size_t)n + 1, fmt, again);
            st_out_write(o, st_sv_mem(big, (size_t)n));
            free(big);
        } else if (!o->err.code) {
            st_err_nomem(&o->err);
        }
    }
    va_end(again);
}

// U+202A..202E and U+2066..2069: they make a terminal show text in another order than it has.
static bool is_bidi(struct st_sv s)
{
    unsigned char last = s.len >= 3 ? (unsigned char)s.ptr[2] : 0;
    return (st_sv_starts(s, ST_SV("\xE2\x80")) && last >= 0xAA && last <= 0xAE) ||
           (st_sv_starts(s, ST_SV("\xE2\x81")) && last >= 0xA6 && last <= 0xA9);
}

void st_out_safe(struct st_out *o, struct st_sv s)
{
    size_t i = 0;
    while (i < s.len) {
        unsigned char c = (unsigned char)s.ptr[i];
        size_t n = c < 0x80 ? 1 : c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
        bool c1 = c == 0xC2 && i + 1 < s.len && (unsigned char)s.ptr[i + 1] < 0xA0; // C1 control characters
        if (c < 0x20 || c == 0x7F || c1 || is_bidi(st_sv_from(s, i)) || n > s.len - i ||
            !st_sv_is_utf8(st_sv_sub(s, i, n))) {
            st_out_fmt(o, "\\x%02x", c);
            i++;
            continue;
        }
        st_out_write(o, st_sv_sub(s, i, n));
        i += n;
    }
}

int st_out_finish(struct st_out *o, struct st_err *err)
{
    st_out_flush(o);
    free(o->buf);
    o->buf = NULL;
    if (o->err.code) {
        if (err)
            *err = o->err;
        return -1;
    }
    return 0;
}
