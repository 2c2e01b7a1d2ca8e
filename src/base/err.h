// The one error type. The caller owns it (usually on its stack), it never allocates, and the first
// failure on a path stays: outer layers add context in front with st_err_wrap.
//
// Convention for every fallible function of the tree: the last argument is `struct st_err *err`
// (NULL allowed), the result is 0 (or a documented non-negative value) on success and -1 on failure
// with err filled. Outputs are written on success only.
#ifndef ST_BASE_ERR_H
#define ST_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

// code, exit code of the command line, word used in JSON and logs.
// FORMAT is one bad file (it becomes an `unknown`); CORRUPT is a bad layer, archive or digest.
#define ST_ERR_CODES(X)                   \
    X(ST_E_FAILED, 1, "failed")           \
    X(ST_E_CORRUPT, 1, "corrupt")         \
    X(ST_E_FORMAT, 1, "format")           \
    X(ST_E_LIMIT, 1, "limit")             \
    X(ST_E_MEMORY, 1, "memory_budget")    \
    X(ST_E_NOMEM, 1, "memory_allocation") \
    X(ST_E_CRASH, 1, "crash")             \
    X(ST_E_IO, 1, "io")                   \
    X(ST_E_TIMEOUT, 1, "timeout")         \
    X(ST_E_CANCELLED, 1, "cancelled")     \
    X(ST_E_INTERNAL, 1, "internal")       \
    X(ST_E_CONFLICT, 1, "conflict")       \
    X(ST_E_INPUT, 2, "bad_input")         \
    X(ST_E_USAGE, 2, "usage")             \
    X(ST_E_AUTH, 3, "auth")               \
    X(ST_E_NOTFOUND, 4, "not_found")      \
    X(ST_E_OFFLINE, 5, "offline")         \
    X(ST_E_RETRY, 10, "retryable")        \
    X(ST_E_SPILL, 10, "no_spill_space")

enum st_err_code {
    ST_E_NONE = 0,
    ST_E_FIRST_ = 1023,
#define ST_ERR_ENUM(id, exit_code, word) id,
    ST_ERR_CODES(ST_ERR_ENUM)
#undef ST_ERR_ENUM
        ST_E_END_
};

#define ST_ERR_TEXT_MAX 480

struct st_err {
    enum st_err_code code;
    int sys_errno;   // errno behind ST_E_IO, else 0
    uint64_t offset; // byte offset in the object that the text names; valid when has_offset
    bool has_offset;
    uint64_t need_bytes;        // ST_E_MEMORY: the --memory that would do (0: not known)
    const char *origin;         // file:line that failed, for debug logs; static storage
    char text[ST_ERR_TEXT_MAX]; // one line, no trailing newline; untrusted bytes are escaped when printed
};

#define ST_ERR_STR_(x) #x
#define ST_ERR_STR(x) ST_ERR_STR_(x)
#define ST_ERR_HERE __FILE__ ":" ST_ERR_STR(__LINE__)

// -1, visibly: so that compilers and analyzers know that the outputs of a failed call are not looked at.
static inline int st_err_failed_(int rc)
{
    (void)rc;
    return -1;
}

// Fill err and return -1. err may be NULL.
#define st_err_set(err, code, ...) st_err_failed_(st_err_set_at((err), ST_ERR_HERE, (code), __VA_ARGS__))
// As st_err_set with a byte offset, which st_err_line prints as " at byte N".
#define st_err_set_off(err, code, off, ...) \
    st_err_failed_(st_err_set_off_at((err), ST_ERR_HERE, (code), (off), __VA_ARGS__))
// ST_E_IO with errno's text appended ("open /x: No such file or directory").
#define st_err_sys(err, ...) st_err_failed_(st_err_sys_at((err), ST_ERR_HERE, __VA_ARGS__))
// A refused or failed allocation.
#define st_err_nomem(err) st_err_failed_(st_err_nomem_at((err), ST_ERR_HERE))

int st_err_set_at(struct st_err *err, const char *origin, enum st_err_code code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), cold));
int st_err_set_off_at(struct st_err *err, const char *origin, enum st_err_code code, uint64_t off, const char *fmt, ...)
    __attribute__((format(printf, 5, 6), cold));
int st_err_sys_at(struct st_err *err, const char *origin, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), cold));
int st_err_nomem_at(struct st_err *err, const char *origin) __attribute__((cold));

// Put "fmt: " in front of the text that is there. Returns -1, so `return st_err_wrap(err, ...)`.
#define st_err_wrap(err, ...) st_err_failed_(st_err_wrap_text((err), __VA_ARGS__))
int st_err_wrap_text(struct st_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));

void st_err_clear(struct st_err *err);
int st_err_exit_code(enum st_err_code code);    // exit code of the command line
const char *st_err_word(enum st_err_code code); // stable word for JSON and logs

#endif
