// TAP output for unit tests. A test program is main() with rows of TAP_OK and `return tap_done();`.
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdio.h>
#include <string.h>

static int tap_count_, tap_failed_;

#define TAP_OK(cond, ...) tap_ok_((cond) ? 1 : 0, #cond, __FILE__, __LINE__, __VA_ARGS__)

__attribute__((format(printf, 5, 6), unused)) static int tap_ok_(int ok, const char *cond, const char *file, int line,
                                                                 const char *fmt, ...)
{
    __builtin_va_list ap;
    char what[1024];
    __builtin_va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    __builtin_va_end(ap);
    for (char *p = what; *p; p++) // text under test may hold anything; a test is one line
        if ((unsigned char)*p < 0x20)
            *p = '?';
    printf("%s %d - %s\n", ok ? "ok" : "not ok", ++tap_count_, what);
    if (!ok) {
        tap_failed_++;
        printf("# %s:%d: %s\n", file, line, cond);
    }
    fflush(stdout);
    return ok;
}

__attribute__((unused)) static void tap_skip(const char *what, const char *why)
{
    printf("ok %d - %s # SKIP %s\n", ++tap_count_, what, why);
}

__attribute__((unused)) static int tap_done(void)
{
    printf("1..%d\n", tap_count_);
    return tap_failed_ != 0;
}

#endif
