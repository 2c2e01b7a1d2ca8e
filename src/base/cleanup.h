// Cleanup attributes. A variable with one is declared and initialised in the same line; an unset
// descriptor is -1.
#ifndef ST_BASE_CLEANUP_H
#define ST_BASE_CLEANUP_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void st_cleanup_free_(void *p)
{
    free(*(void **)p);
}
static inline void st_cleanup_close_(int *fd)
{
    if (*fd >= 0) {
        int e = errno;
        close(*fd);
        errno = e;
    }
}

#define ST_AUTO_FREE __attribute__((cleanup(st_cleanup_free_)))
#define ST_AUTO_CLOSE __attribute__((cleanup(st_cleanup_close_)))
#define ST_AUTO(fn) __attribute__((cleanup(fn))) // fn takes a pointer to the variable

static inline int st_take_fd(int *fd)
{
    int v = *fd;
    *fd = -1;
    return v;
}
#define ST_TAKE(p)                     \
    ({                                 \
        __typeof__(p) st_taken_ = (p); \
        (p) = NULL;                    \
        st_taken_;                     \
    })

#endif
