// A stream that hands `bytes` out in pieces of at most `piece` bytes, each in memory of its own size, so that a
// sanitizer sees every read outside of a piece. For tests and fuzz targets.
#ifndef TESTS_CHOP_H
#define TESTS_CHOP_H

#include "stream/stream.h"

#include <stdlib.h>

struct chop {
    struct st_stream s;
    struct st_sv rest;
    size_t piece;
    unsigned char *copy;
};

__attribute__((unused)) static int chop_fill(struct st_stream *s, struct st_err *err)
{
    struct chop *c = (struct chop *)s;
    size_t n = c->rest.len < c->piece ? c->rest.len : c->piece;
    free(c->copy);
    c->copy = NULL;
    s->cur = s->end = (const unsigned char *)"";
    if (n == 0)
        return 0;
    c->copy = malloc(n);
    if (!c->copy)
        abort();
    memcpy(c->copy, c->rest.ptr, n);
    c->rest = st_sv_from(c->rest, n);
    s->cur = c->copy;
    s->end = c->copy + n;
    s->end_pos += n;
    return 1;
}

__attribute__((unused)) static void chop_free(struct st_stream *s)
{
    free(((struct chop *)s)->copy);
    free(s);
}

__attribute__((unused)) static struct st_stream *chop_new(struct st_sv bytes, size_t piece)
{
    static const struct st_stream_ops ops = {chop_fill, NULL, chop_free};
    struct chop *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->s.ops = &ops;
    c->s.cur = c->s.end = (const unsigned char *)"";
    c->rest = bytes;
    c->piece = piece ? piece : 1;
    return &c->s;
}

#endif
