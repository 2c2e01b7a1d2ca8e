// Text into a fixed buffer: st_out without allocation. What does not fit is left out from there on (out.err says so).
#ifndef ST_WATCHDOG_WD_TEXT_H
#define ST_WATCHDOG_WD_TEXT_H

#include "base/out.h"

struct st_wd_text {
    struct st_mem none; // refuses every growth
    struct st_buf buf;
    struct st_out out;
};

// `t` must not be moved afterwards.
static inline struct st_out *st_wd_text_init(struct st_wd_text *t, char *buf, size_t cap)
{
    t->none = (struct st_mem){.spill_fd = -1};
    t->buf = (struct st_buf){.mem = &t->none, .ptr = buf, .cap = cap};
    st_out_init_buf(&t->out, &t->buf);
    return &t->out;
}
static inline struct st_sv st_wd_text_sv(const struct st_wd_text *t)
{
    return st_buf_sv(&t->buf);
}

#endif
