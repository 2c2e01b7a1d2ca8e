#include "cli/render.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "base/quantity.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PIPE_STRETCH 40
#define STRETCH_MIN 16

const struct st_choice st_format_choices[] = {
    {"table", ST_FORMAT_TABLE}, {"json", ST_FORMAT_JSON}, {"ndjson", ST_FORMAT_NDJSON}, {NULL}};

// ---- tables -------------------------------------------------------------------------------------

static unsigned terminal(const struct st_out *o)
{
    struct winsize w;
    return o->fd >= 0 && isatty(o->fd) && ioctl(o->fd, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

bool st_render_colours(const struct st_out *o)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return o->fd >= 0 && isatty(o->fd) && !(no && no[0]) && term && strcmp(term, "dumb") != 0;
}

// Width of the shown columns without the stretched one, blanks between included.
static unsigned fixed_width(const struct st_sink *s)
{
    unsigned w = 0;
    for (size_t i = 0; i < s->table->n; i++)
        if (s->shown >> i & 1)
            w += (s->table->columns[i].stretch ? 0 : s->table->columns[i].width) + 2;
    return w ? w - 2 : 0;
}

static void lay_out(struct st_sink *s)
{
    const struct st_table *t = s->table;
    s->width = terminal(s->out);
    s->colours = st_render_colours(s->out);
    s->shown = (1ull << t->n) - 1;
    s->stretch = PIPE_STRETCH;
    while (s->width && fixed_width(s) + STRETCH_MIN > s->width) {
        size_t worst = t->n;
        for (size_t i = 0; i < t->n; i++)
            if ((s->shown >> i & 1) && t->columns[i].drop &&
                (worst == t->n || t->columns[i].drop > t->columns[worst].drop))
                worst = i;
        if (worst == t->n)
            break;
        s->shown &= ~(1ull << worst);
    }
    if (s->width)
        s->stretch = ST_MAX(s->width > fixed_width(s) ? s->width - fixed_width(s) : 0, (unsigned)STRETCH_MIN);
}

static const char *colour_of(struct st_sv word)
{
    static const struct {
        const char *word, *code;
    } colours[] = {{"completed", "\033[32m"}, {"failed", "\033[31m"}, {"processing", "\033[33m"},
                   {"cancelled", "\033[2m"},  {"busy", "\033[32m"},   {"stalled", "\033[31m"},
                   {"stopping", "\033[33m"},  {"dead", "\033[2m"}};
    for (size_t i = 0; i < ST_LEN(colours); i++)
        if (st_sv_eq(word, st_sv_of(colours[i].word)))
            return colours[i].code;
    return NULL;
}

// `text` in exactly `width` columns, as far as a column is a byte.
static void cell(struct st_sink *s, const struct st_column *c, struct st_sv text, bool last)
{
    unsigned width = c->stretch ? s->stretch : c->width;
    const char *colour = c->colour && s->colours ? colour_of(text) : NULL;
    if (!text.len)
        text = ST_SV("-");
    size_t used = ST_MIN(text.len, (size_t)width);
    if (colour)
        st_out_puts(s->out, colour);
    if (text.len > width && c->stretch) { // the end of a long name is what tells images apart
        st_out_puts(s->out, "...");
        size_t from = text.len - (width - 3);
        while (from < text.len && ((unsigned char)text.ptr[from] & 0xC0) == 0x80)
            from++; // not inside a character
        text = st_sv_from(text, from);
    } else if (!last) {
        text = st_sv_sub(text, 0, width);
    }
    st_out_safe(s->out, text);
    if (colour)
        st_out_puts(s->out, "\033[0m");
    if (!last)
        st_out_fmt(s->out, "%*s", (int)(width - used + 2), "");
}

static void line(struct st_sink *s, const void *row)
{
    const struct st_table *t = s->table;
    size_t last = 0;
    for (size_t i = 0; i < t->n; i++)
        if (s->shown >> i & 1)
            last = i;
    for (size_t i = 0; i < t->n; i++) {
        char scratch[ST_CELL];
        if (s->shown >> i & 1)
            cell(s, &t->columns[i], row ? t->columns[i].text(row, scratch) : st_sv_of(t->columns[i].title), i == last);
    }
    st_out_putc(s->out, '\n');
}

// ---- sinks --------------------------------------------------------------------------------------

void st_sink_begin(struct st_sink *s)
{
    s->rows = 0;
    s->open = false;
    st_json_out_init(&s->json, s->out, s->format == ST_FORMAT_JSON ? 2 : 0);
}

// With the first row, or at the end: what fails before has printed nothing.
static void open_list(struct st_sink *s)
{
    if (s->open)
        return;
    s->open = true;
    if (s->format == ST_FORMAT_JSON && !s->one)
        st_json_open(&s->json, '[');
    if (s->format == ST_FORMAT_TABLE) {
        lay_out(s);
        line(s, NULL);
    }
}

int st_sink_row(void *sink, const void *row, struct st_err *err)
{
    struct st_sink *s = sink;
    open_list(s);
    s->rows++;
    if (s->format == ST_FORMAT_TABLE)
        line(s, row);
    else
        st_record_write(&s->json, s->record, row);
    if (s->format == ST_FORMAT_NDJSON) {
        st_out_putc(s->out, '\n');
        st_json_out_init(&s->json, s->out, 0);
    }
    if (s->out->err.code && err)
        *err = s->out->err;
    return s->out->err.code ? -1 : 0;
}

void st_sink_end(struct st_sink *s)
{
    open_list(s);
    if (s->format == ST_FORMAT_JSON && !s->one)
        st_json_close(&s->json, ']');
    if (s->format == ST_FORMAT_JSON)
        st_out_putc(s->out, '\n');
}

int st_render_call(struct st_client *c, const char *op, const void *request, struct st_sink *s, struct st_err *err)
{
    s->record = st_op_find(st_sv_of(op))->answer;
    st_sink_begin(s);
    if (st_client_call(c, op, request, st_sink_row, s, err))
        return -1;
    st_sink_end(s);
    return 0;
}

// ---- again and again ----------------------------------------------------------------------------

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    interrupted = sig;
}

bool st_watch_interrupted(void)
{
    return interrupted != 0;
}

void st_watch_catch(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

int st_watch_run(const struct st_watch *w, struct st_out *out, st_watch_fn *once, void *ctx, struct st_err *err)
{
    if (!w->on)
        return once(ctx, err);
    st_watch_catch();
    bool screen = out->fd >= 0 && isatty(out->fd);
    for (uint64_t n = 0; !interrupted; n++) {
        if (screen)
            st_out_puts(out, "\033[H\033[2J");
        else if (n)
            st_out_putc(out, '\n');
        if (once(ctx, err))
            return interrupted ? 0 : -1;
        st_out_flush(out);
        if (out->err.code) {
            if (err)
                *err = out->err;
            return -1;
        }
        if (w->count && n + 1 == w->count)
            break;
        nanosleep(&(struct timespec){(time_t)w->interval_s, 0}, NULL);
    }
    return 0;
}

// ---- cells --------------------------------------------------------------------------------------

struct st_sv st_cell_size(bool known, uint64_t bytes, char scratch[static ST_CELL])
{
    if (!known)
        return ST_SV_NULL;
    st_quantity_human(bytes, scratch);
    return st_sv_of(scratch);
}

struct st_sv st_cell_time(int64_t ms, char scratch[static ST_CELL])
{
    st_clock_text(ms, scratch);
    return st_sv_of(scratch);
}

struct st_sv st_cell_number(uint64_t v, char scratch[static ST_CELL])
{
    snprintf(scratch, ST_CELL, "%llu", (unsigned long long)v);
    return st_sv_of(scratch);
}

void st_render_fact(struct st_out *o, const char *name, struct st_sv value)
{
    st_out_fmt(o, "%-13s ", name);
    st_out_safe(o, value.len ? value : ST_SV("-"));
    st_out_putc(o, '\n');
}
