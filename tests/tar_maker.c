#include "tar_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 512

static char *more(struct tar_maker *t, size_t n)
{
    if (t->len + n > t->cap) {
        t->cap = (t->len + n) * 2;
        t->ptr = realloc(t->ptr, t->cap);
        if (!t->ptr)
            abort();
    }
    char *at = t->ptr + t->len;
    memset(at, 0, n);
    t->len += n;
    return at;
}

// POSIX.1-2017 pax, "ustar Interchange Format".
void tar_add(struct tar_maker *t, char type, const char *path, const char *link, const void *data, size_t n)
{
    char *h = more(t, BLOCK);
    unsigned sum = 0;
    snprintf(h, 100, "%s", path);
    snprintf(h + 100, 8, "%07o", type == '5' ? 0755u : 0644u);
    snprintf(h + 108, 8, "%07o", 0u);
    snprintf(h + 116, 8, "%07o", 0u);
    snprintf(h + 124, 12, "%011zo", n);
    snprintf(h + 136, 12, "%011o", 0u);
    memset(h + 148, ' ', 8);
    h[156] = type;
    snprintf(h + 157, 100, "%s", link ? link : "");
    memcpy(h + 257, "ustar\00000", 8);
    for (size_t i = 0; i < BLOCK; i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    if (n)
        memcpy(more(t, (n + BLOCK - 1) / BLOCK * BLOCK), data, n);
}

void tar_end(struct tar_maker *t)
{
    more(t, (size_t)2 * BLOCK);
}

void tar_free(struct tar_maker *t)
{
    free(t->ptr);
    *t = (struct tar_maker){0};
}
