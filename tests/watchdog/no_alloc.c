// stella-watchdog whose every allocation after the start of the loop is the end of it, with status 99. The tests of
// tests/watchdog/wd.py run with this program too. The C library's own calls come here as well (glibc, shared).
#include "watchdog/watch.h"

#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
int __real_st_wd_watch_run(struct st_wd_watch *w, pid_t child, int *ret_status, struct st_err *err);
int __wrap_st_wd_watch_run(struct st_wd_watch *w, pid_t child, int *ret_status, struct st_err *err);

static bool started;

static void check(void)
{
    static const char text[] = "allocation after the start\n";
    if (started && write(STDERR_FILENO, text, sizeof text - 1) >= 0)
        _exit(99);
}

void *malloc(size_t n)
{
    check();
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    check();
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    check();
    return __libc_realloc(p, n);
}

int __wrap_st_wd_watch_run(struct st_wd_watch *w, pid_t child, int *ret_status, struct st_err *err)
{
    started = true;
    if (getenv("ST_TEST_ALLOC")) // does this test notice?
        free(malloc(1));
    int rc = __real_st_wd_watch_run(w, child, ret_status, err);
    started = false;
    return rc;
}
