// Buffered output to a descriptor or into memory. The first error is latched: write freely, check
// once with st_out_finish.
#ifndef ST_BASE_OUT_H
#define ST_BASE_OUT_H

#include "base/mem.h"

struct st_out {
    int fd;            // borrowed; -1: `to` is used
    struct st_buf *to; // borrowed
    char *buf;         // owns, ST_OUT_BUFFER bytes, allocated on first use
    size_t len;
    uint64_t total;    // bytes accepted so far
    struct st_err err; // first failure; ST_E_NONE while all is well
};

#define ST_OUT_BUFFER (32 * 1024)

void st_out_init_fd(struct st_out *o, int fd);
void st_out_init_buf(struct st_out *o, struct st_buf *to);
void st_out_write(struct st_out *o, struct st_sv s);
void st_out_puts(struct st_out *o, const char *literal);
void st_out_putc(struct st_out *o, char c);
// Room for n bytes, at most ST_OUT_BUFFER, to be filled at once and then counted with st_out_added. NULL after a
// failure.
char *st_out_room(struct st_out *o, size_t n);
void st_out_added(struct st_out *o, size_t n);
void st_out_fmt(struct st_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
// Text from outside for a terminal or a log line: control characters, DEL, marks that turn the direction of writing,
// and invalid UTF-8 as \xNN.
void st_out_safe(struct st_out *o, struct st_sv s);
void st_out_flush(struct st_out *o);
// Flush, give the buffer back, report the latched error.
int st_out_finish(struct st_out *o, struct st_err *err);

#endif
