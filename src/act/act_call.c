#include "act/act_call.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>

int64_t st_act_left_ms(const struct st_act_call *c)
{
    return ST_MAX(c->deadline_ms - st_clock_mono_ms(), (int64_t)0);
}

static int late(const char *what, struct st_err *err)
{
    return st_err_set(err, ST_E_RETRY,
                      "%s: the deadline ran out (--deadline gives more time; what was done stays done)", what);
}

int st_act_wait(const struct st_act_call *c, uint64_t ms, const char *what, struct st_err *err)
{
    uint64_t left = (uint64_t)st_act_left_ms(c), now = ST_MIN(ms, left);
    struct timespec t = {.tv_sec = (time_t)(now / 1000), .tv_nsec = (long)(now % 1000) * 1000000};
    while (nanosleep(&t, &t) && errno == EINTR)
        ;
    return ms < left ? 0 : late(what, err);
}

int st_act_ask(struct st_act_call *c, const struct st_act_ask *ask, struct st_http_response *ret, struct st_err *err)
{
    int64_t left = st_act_left_ms(c);
    if (left == 0)
        return late(ask->what, err);
    const struct st_http_request q = {
        .method = ask->method,
        .url = st_sv_of(ask->url),
        .headers = ask->headers,
        .n_headers = ask->n_headers,
        .authorization = ask->authorization,
        .body = ask->body,
        .tls = ask->tls,
        .max = ST_ACT_ANSWER_MAX,
        .times = {.connect = 5000, .first_byte = 10000, .stall = 10000, .whole = (uint64_t)left},
    };
    struct st_err inner = {0};
    if (st_http_do(c->http, &q, ret, &inner) == 0)
        return 0;
    if (inner.code == ST_E_TIMEOUT && st_act_left_ms(c) == 0)
        return late(ask->what, err);
    if (err)
        *err = inner;
    return st_err_wrap(err, "%s", ask->what);
}

int st_act_file(struct st_act_call *c, const char *path, size_t max, struct st_sv *ret, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return st_err_sys(err, "open %s", path);
    char *p = st_arena_bytes(c->arena, max + 1, err);
    if (!p)
        return -1;
    ssize_t n = st_fd_read(fd, p, max + 1);
    if (n < 0)
        return st_err_sys(err, "read %s", path);
    if ((size_t)n > max)
        return st_err_set(err, ST_E_LIMIT, "%s is longer than %zu bytes", path, max);
    *ret = st_sv_mem(p, (size_t)n);
    return 0;
}

int st_act_secret_file(const char *path, size_t max, struct st_secret *ret, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        st_err_sys(err, "open %s", path);
        if (err)
            err->code = ST_E_AUTH;
        return -1;
    }
    if (st_secret_read(ret, fd, max, path, err))
        return -1;
    st_secret_chomp(ret);
    if (st_secret_reveal(ret).len == 0)
        return st_err_set(err, ST_E_AUTH, "%s is empty", path);
    return 0;
}
