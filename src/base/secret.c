#include "base/secret.h"
#include "base/base64.h"
#include "base/ckd.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

void st_secret_release(struct st_secret *s)
{
    if (s->page_) {
        explicit_bzero(s->page_, s->mapped_);
        munmap(s->page_, s->mapped_);
    }
    *s = (struct st_secret){0};
}

struct st_secret st_secret_take(struct st_secret *s)
{
    struct st_secret moved = *s;
    *s = (struct st_secret){0};
    return moved;
}

static int make(struct st_secret *ret, size_t size, struct st_err *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (size > ST_SECRET_MAX)
        return st_err_set(err, ST_E_LIMIT, "a secret is longer than %u bytes", ST_SECRET_MAX);
    size_t mapped = (size + 1 + page - 1) / page * page;
    char *p = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return st_err_nomem(err);
    // Best effort each: a kernel or a limit that refuses leaves the secret usable.
    mlock(p, mapped);
    madvise(p, mapped, MADV_DONTDUMP);
    madvise(p, mapped, MADV_WIPEONFORK);
    *ret = (struct st_secret){p, size, mapped};
    return 0;
}

int st_secret_join(struct st_secret *s, const struct st_sv *parts, size_t n, struct st_err *err)
{
    struct st_secret made;
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        if (st_ckd_add(&size, size, parts[i].len))
            return st_err_nomem(err);
    if (make(&made, size, err))
        return -1;
    char *p = made.page_;
    for (size_t i = 0; i < n; p += parts[i].len, i++)
        if (parts[i].len)
            memcpy(p, parts[i].ptr, parts[i].len);
    st_secret_release(s);
    *s = made;
    return 0;
}

int st_secret_base64(struct st_secret *s, struct st_sv prefix, const struct st_sv *parts, size_t n, struct st_err *err)
{
    ST_AUTO_SECRET struct st_secret plain = {0};
    struct st_secret made;
    if (st_secret_join(&plain, parts, n, err) || make(&made, prefix.len + ST_BASE64_LEN(plain.size_), err))
        return -1;
    char *p = made.page_;
    if (prefix.len)
        memcpy(p, prefix.ptr, prefix.len);
    st_base64_encode(st_sv_mem(plain.page_, plain.size_), p + prefix.len);
    st_secret_release(s);
    *s = made;
    return 0;
}

int st_secret_read(struct st_secret *s, int fd, size_t max, const char *what, struct st_err *err)
{
    ST_AUTO_SECRET struct st_secret room = {0};
    size_t got = 0;
    max = ST_MIN(max, (size_t)ST_SECRET_MAX - 1);
    if (make(&room, max + 1, err))
        return -1;
    while (got <= max) {
        ssize_t k = read(fd, room.page_ + got, max + 1 - got);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return st_err_sys(err, "read %s", what);
        if (k == 0)
            break;
        got += (size_t)k;
    }
    if (got > max)
        return st_err_set(err, ST_E_LIMIT, "%s is longer than %zu bytes", what, max);
    return st_secret_set(s, st_sv_mem(room.page_, got), err);
}

void st_secret_chomp(struct st_secret *s)
{
    if (s->size_ && s->page_[s->size_ - 1] == '\n')
        s->page_[--s->size_] = '\0';
    if (s->size_ && s->page_[s->size_ - 1] == '\r')
        s->page_[--s->size_] = '\0';
}
