#include "base/err.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int exit_code;
    const char *word;
} rows[] = {
#define ST_ERR_ROW(id, exit_code, word) {exit_code, word},
    ST_ERR_CODES(ST_ERR_ROW)
#undef ST_ERR_ROW
};

__attribute__((format(printf, 4, 0))) static void fill(struct st_err *err, const char *origin, enum st_err_code code,
                                                       const char *fmt, va_list ap)
{
    memset(err, 0, offsetof(struct st_err, text));
    err->code = code;
    err->origin = origin;
    vsnprintf(err->text, sizeof err->text, fmt, ap);
}

int st_err_set_at(struct st_err *err, const char *origin, enum st_err_code code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        fill(err, origin, code, fmt, ap);
        va_end(ap);
    }
    return -1;
}

int st_err_set_off_at(struct st_err *err, const char *origin, enum st_err_code code, uint64_t off, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        fill(err, origin, code, fmt, ap);
        va_end(ap);
        err->offset = off;
        err->has_offset = true;
    }
    return -1;
}

int st_err_sys_at(struct st_err *err, const char *origin, const char *fmt, ...)
{
    int e = errno;
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        fill(err, origin, ST_E_IO, fmt, ap);
        va_end(ap);
        err->sys_errno = e;
        size_t n = strlen(err->text);
        snprintf(err->text + n, sizeof err->text - n, ": %s", strerror(e));
    }
    errno = e;
    return -1;
}

int st_err_nomem_at(struct st_err *err, const char *origin)
{
    return st_err_set_at(err, origin, ST_E_NOMEM, "memory allocation failed");
}

int st_err_wrap_text(struct st_err *err, const char *fmt, ...)
{
    if (err) {
        char inner[ST_ERR_TEXT_MAX];
        memcpy(inner, err->text, sizeof inner);
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
        va_end(ap);
        if (n >= 0 && (size_t)n < sizeof err->text)
            snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", inner);
    }
    return -1;
}

void st_err_clear(struct st_err *err)
{
    if (err) {
        memset(err, 0, offsetof(struct st_err, text));
        err->text[0] = '\0';
    }
}

int st_err_exit_code(enum st_err_code code)
{
    return code > ST_E_FIRST_ && code < ST_E_END_ ? rows[code - ST_E_FIRST_ - 1].exit_code : code == ST_E_NONE ? 0 : 1;
}

const char *st_err_word(enum st_err_code code)
{
    return code > ST_E_FIRST_ && code < ST_E_END_ ? rows[code - ST_E_FIRST_ - 1].word
           : code == ST_E_NONE                    ? "ok"
                                                  : "internal";
}
