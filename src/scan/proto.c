#include "scan/proto.h"

#include "base/ckd.h"

#include <errno.h>

int st_proto_recv(int sock, char *buf, struct st_proto_msg *ret, struct st_err *err)
{
    *ret = (struct st_proto_msg){.n_fds = ST_FD_PASS_MAX};
    ssize_t n = st_fd_recv(sock, buf, ST_PROTO_MAX, ret->fds, &ret->n_fds);
    if (n < 0 && errno == ECONNRESET)
        n = 0;
    if (n < 0)
        return st_err_sys(err, "receive");
    if (n == 0) {
        st_proto_close_fds(ret);
        return 0;
    }
    ret->tag = (enum st_proto_tag)(unsigned char)buf[0];
    ret->in.rest = st_sv_mem(buf + 1, (size_t)n - 1);
    return 1;
}

void st_proto_close_fds(struct st_proto_msg *m)
{
    for (size_t i = 0; i < m->n_fds; i++)
        if (m->fds[i] >= 0)
            close(m->fds[i]);
    m->n_fds = 0;
}

struct st_wire_out st_proto_begin(struct st_buf *b, enum st_proto_tag tag)
{
    st_buf_clear(b);
    struct st_wire_out o = {.buf = b};
    o.failed = st_buf_addc(b, (char)tag, &o.err) != 0;
    return o;
}

int st_proto_send(int sock, struct st_wire_out *o, const int *fds, size_t n_fds, struct st_err *err)
{
    if (o->failed) {
        if (err)
            *err = o->err;
        return -1;
    }
    if (o->buf->len > ST_PROTO_MAX)
        return st_err_set(err, ST_E_LIMIT, "message of %zu bytes is too long", o->buf->len);
    if (st_fd_send(sock, o->buf->ptr, o->buf->len, fds, n_fds))
        return st_err_sys(err, "send");
    return 0;
}

void st_proto_put_err(struct st_wire_out *o, const struct st_err *e)
{
    st_wire_put_u64(o, e->code);
    st_wire_put_u64(o, e->has_offset);
    st_wire_put_u64(o, e->offset);
    st_wire_put_u64(o, e->need_bytes);
    st_wire_put_sv(o, st_sv_of(e->text));
}

void st_proto_get_err(struct st_wire_in *in, struct st_err *ret)
{
    uint64_t code = st_wire_max(in, ST_E_END_ - 1), has_offset = st_wire_max(in, 1), offset = st_wire_u64(in),
             need = st_wire_u64(in);
    struct st_sv text = st_wire_sv(in);
    if (code <= ST_E_FIRST_)
        code = ST_E_INTERNAL;
    st_err_set(ret, (enum st_err_code)code, "%.*s", (int)ST_MIN(text.len, (size_t)ST_ERR_TEXT_MAX),
               text.ptr ? text.ptr : "");
    ret->has_offset = has_offset;
    ret->offset = offset;
    ret->need_bytes = need;
}
