// Packets of the service's socket.
#include "service/message.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

int st_message_split(struct st_sv packet, struct st_sv *ret_name, struct st_sv *ret_json, struct st_err *err)
{
    struct st_sv name, json;
    if (!st_sv_cut(packet, ' ', &name, &json))
        json = ST_SV("{}");
    bool good = name.len > 0 && name.len <= ST_MESSAGE_NAME_MAX;
    for (size_t i = 0; good && i < name.len; i++)
        good = (name.ptr[i] >= 'a' && name.ptr[i] <= 'z') || name.ptr[i] == '.' || name.ptr[i] == '_';
    if (!good)
        return st_err_set(err, ST_E_INPUT, "not a request");
    *ret_name = name;
    *ret_json = json;
    return 0;
}

// ---- errors -------------------------------------------------------------------------------------

static const struct {
    enum st_err_code code;
    const char *word;
} codes[] = {
#define ROW(id, exit_code, word) {id, word},
    ST_ERR_CODES(ROW)
#undef ROW
};

int st_message_put_err(struct st_buf *b, const struct st_err *e, struct st_err *err)
{
    struct st_out o;
    struct st_json_out w;
    st_out_init_buf(&o, b);
    st_json_out_init(&w, &o, 0);
    st_json_open(&w, '{');
    st_json_kv(&w, "error", st_sv_of(st_err_word(e->code)));
    st_json_kv(&w, "message", st_sv_of(e->text));
    st_json_close(&w, '}');
    return st_out_finish(&o, err);
}

void st_message_get_err(struct st_sv json, struct st_err *ret)
{
    struct st_mem mem;
    struct st_arena a;
    struct st_json j;
    struct st_json_tok key, v;
    struct st_sv text, word = ST_SV_NULL, message = ST_SV_NULL;
    st_mem_init(&mem, 1 << 20, -1);
    st_arena_init(&a, &mem);
    st_json_init(&j, json);
    if (st_json_next(&j, &v, NULL) == 0 && v.type == ST_JSON_OBJECT)
        while (st_json_member(&j, &key, &v, NULL) > 0) {
            if (v.type != ST_JSON_STRING) {
                if (st_json_skip(&j, &v, NULL))
                    break;
            } else if (st_json_text(&v, &a, &text, NULL) == 0) {
                word = st_json_is(&key, ST_SV("error")) ? text : word;
                message = st_json_is(&key, ST_SV("message")) ? text : message;
            }
        }
    enum st_err_code code = ST_E_FAILED;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (st_sv_eq(word, st_sv_of(codes[i].word)))
            code = codes[i].code;
    st_err_set(ret, code, ST_SV_FMT,
               ST_SV_ARG(message.len ? message : ST_SV("the service failed and did not say why")));
    st_arena_release(&a);
    st_mem_release(&mem);
}

// ---- packets ------------------------------------------------------------------------------------

static int ready(int sock, short events, int64_t deadline_ms, struct st_err *err)
{
    for (;;) {
        int64_t left = deadline_ms ? deadline_ms - st_clock_mono_ms() : -1;
        if (deadline_ms && left <= 0)
            return st_err_set(err, ST_E_TIMEOUT, "no answer in time");
        struct pollfd p = {sock, events, 0};
        int n = poll(&p, 1, left > INT32_MAX ? INT32_MAX : (int)left);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return st_err_sys(err, "socket");
    }
}

int st_message_send_fd(int sock, struct st_sv packet, int fd, int64_t deadline_ms, struct st_err *err)
{
    if (packet.len > ST_MESSAGE_MAX)
        return st_err_set(err, ST_E_LIMIT, "a message of %zu bytes is over the limit of %d", packet.len,
                          ST_MESSAGE_MAX);
    for (;;) {
        if (st_fd_send_now(sock, packet.ptr, packet.len, &fd, fd >= 0) == 0)
            return 0;
        if (errno != EAGAIN)
            return st_err_sys(err, "socket");
        if (ready(sock, POLLOUT, deadline_ms, err))
            return -1;
    }
}

int64_t st_message_recv_fd(int sock, char *buf, size_t cap, int *ret_fd, int64_t deadline_ms, struct st_err *err)
{
    int fd = -1;
    for (;;) {
        size_t n_fds = ret_fd != NULL;
        ssize_t n = st_fd_recv_now(sock, buf, cap, &fd, &n_fds);
        if (n >= 0 && ret_fd)
            *ret_fd = n_fds ? fd : -1;
        if (n >= 0)
            return n;
        if (errno == EMSGSIZE)
            return st_err_set(err, ST_E_LIMIT, "a message is over the limit of %zu bytes", cap);
        if (errno == ECONNRESET)
            return 0;
        if (errno != EAGAIN)
            return st_err_sys(err, "socket");
        if (ready(sock, POLLIN, deadline_ms, err))
            return -1;
    }
}
