#include "cli/progress.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/quantity.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define QUIET_MS 1000   // nothing is shown before
#define REDRAW_MS 150   // on a terminal
#define PLAIN_MS 5000   // between plain lines
#define RATE_MIN_MS 500 // a rate of less time than this is noise
#define WIDTH_DEFAULT 80
#define WIDTH_MIN 20

size_t st_progress_format(const struct st_progress_line *l, unsigned width, char ret[static ST_PROGRESS_LINE])
{
    char done[ST_QUANTITY_TEXT], size[ST_QUANTITY_TEXT + 1] = "", rate[ST_QUANTITY_TEXT + 4] = "";
    char left[ST_QUANTITY_TEXT + 8] = "", text[ST_QUANTITY_TEXT];
    st_quantity_human(l->done, done);
    if (l->size) {
        st_quantity_human(l->size, text);
        snprintf(size, sizeof size, "/%s", text);
    }
    if (l->elapsed_ms >= RATE_MIN_MS && l->done) {
        uint64_t per_s = (uint64_t)((unsigned __int128)l->done * 1000 / l->elapsed_ms);
        st_quantity_human(per_s, text);
        snprintf(rate, sizeof rate, "  %s/s", text);
        if (per_s && l->size > l->done) {
            st_duration_human((l->size - l->done + per_s - 1) / per_s, text);
            snprintf(left, sizeof left, "  %s left", text);
        }
    }
    char head[48];
    if (l->index == ST_PROGRESS_ALL)
        snprintf(head, sizeof head, "all %u layers", l->total);
    else
        snprintf(head, sizeof head, "layer %u/%u%s%s", l->index + 1, l->total, l->digest[0] ? " " : "", l->digest);
    int n = snprintf(ret, ST_PROGRESS_LINE, "%s  %s%s%s%s", head, done, size, rate, left);
    size_t len = n < 0 ? 0 : ST_MIN((size_t)n, (size_t)ST_PROGRESS_LINE - 1);
    if (len > width) {
        len = width;
        ret[len] = '\0';
    }
    return len;
}

// Asked at each redraw, so that a resized window needs no signal handler.
static unsigned width_of(int fd)
{
    struct winsize w;
    if (ioctl(fd, TIOCGWINSZ, &w) || w.ws_col == 0)
        return WIDTH_DEFAULT;
    return ST_MAX((unsigned)w.ws_col, (unsigned)WIDTH_MIN);
}

static void put(struct st_progress *p, const char *s, size_t n)
{
    if (st_fd_write(p->fd, s, n)) // a closed terminal must not end a scan
        p->how = ST_PROGRESS_SILENT_;
}

static struct slot *slot_of(struct st_progress *p, unsigned index)
{
    for (size_t i = 0; i < ST_PROGRESS_SLOTS; i++)
        if (p->slots[i].used && p->slots[i].line.index == index)
            return &p->slots[i];
    return NULL;
}

static void plain_line(struct st_progress *p, struct slot *s, const char *suffix, int64_t now)
{
    char line[ST_PROGRESS_LINE], out[ST_PROGRESS_LINE + 48];
    s->line.elapsed_ms = (uint64_t)(now - s->since_ms);
    st_progress_format(&s->line, ST_PROGRESS_LINE - 1, line);
    int n = snprintf(out, sizeof out, "stella: %s%s\n", line, suffix);
    put(p, out, n < 0 ? 0 : ST_MIN((size_t)n, sizeof out - 1));
}

void st_progress_clear(struct st_progress *p)
{
    char out[32];
    if (p->how != ST_PROGRESS_REDRAW_ || !p->drawn)
        return;
    int n = snprintf(out, sizeof out, "\r\033[%uA\033[J", p->drawn);
    p->drawn = 0;
    put(p, out, (size_t)n);
}

static void redraw(struct st_progress *p, int64_t now)
{
    char out[(ST_PROGRESS_SLOTS + 2) * (ST_PROGRESS_LINE + 8) + 32], line[ST_PROGRESS_LINE];
    struct st_progress_line all = {
        .index = ST_PROGRESS_ALL, .total = p->n_layers, .done = p->finished, .size = p->total};
    unsigned width = width_of(p->fd) - 1; // the last column would wrap on some terminals
    size_t n = 0;
    // Up to the first line, then overwrite each and erase its rest: no flicker of an emptied screen.
    if (p->drawn)
        n += (size_t)snprintf(out, sizeof out, "\r\033[%uA", p->drawn);
    p->drawn = 0;
    for (size_t i = 0; i < ST_PROGRESS_SLOTS; i++) {
        struct slot *s = &p->slots[i];
        if (!s->used)
            continue;
        s->line.elapsed_ms = (uint64_t)(now - s->since_ms);
        all.done += s->line.done;
        st_progress_format(&s->line, width, line);
        n += (size_t)snprintf(out + n, sizeof out - n, "%s\033[K\n", line);
        p->drawn++;
    }
    if (p->n_layers > 1) {
        all.elapsed_ms = (uint64_t)(now - p->start_ms);
        st_progress_format(&all, width, line);
        n += (size_t)snprintf(out + n, sizeof out - n, "%s\033[K\n", line);
        p->drawn++;
    }
    n += (size_t)snprintf(out + n, sizeof out - n, "\033[J");
    put(p, out, n);
}

static void show(struct st_progress *p)
{
    int64_t now = p->now_ms();
    if (p->how == ST_PROGRESS_SILENT_ || now - p->start_ms < QUIET_MS)
        return;
    if (now - p->last_ms < (p->how == ST_PROGRESS_REDRAW_ ? REDRAW_MS : PLAIN_MS))
        return;
    p->last_ms = now;
    if (p->how == ST_PROGRESS_REDRAW_) {
        redraw(p, now);
        return;
    }
    for (size_t i = 0; i < ST_PROGRESS_SLOTS; i++)
        if (p->slots[i].used)
            plain_line(p, &p->slots[i], "", now);
}

void st_progress_begin(struct st_progress *p, enum st_progress_mode mode, int fd, unsigned n_layers, uint64_t bytes)
{
    *p = (struct st_progress){.fd = fd, .n_layers = n_layers, .total = bytes, .now_ms = st_clock_mono_ms};
    const char *term = getenv("TERM");
    bool cursor = isatty(fd) && term && strcmp(term, "dumb") != 0;
    if (mode != ST_PROGRESS_OFF)
        p->how = mode == ST_PROGRESS_AUTO && cursor ? ST_PROGRESS_REDRAW_ : ST_PROGRESS_LINES_;
    p->asked_plain = mode == ST_PROGRESS_PLAIN;
    p->start_ms = p->now_ms();
    p->last_ms = p->start_ms - PLAIN_MS; // the first line is due as soon as QUIET_MS are over
}

void st_progress_layer(struct st_progress *p, unsigned index, struct st_sv digest, uint64_t size)
{
    size_t colon = st_sv_find(digest, ':');
    if (colon != ST_SV_NPOS)
        digest = st_sv_from(digest, colon + 1);
    for (size_t i = 0; i < ST_PROGRESS_SLOTS; i++) {
        struct slot *s = &p->slots[i];
        if (s->used)
            continue;
        *s = (struct slot){
            .used = true, .since_ms = p->now_ms(), .line = {.index = index, .total = p->n_layers, .size = size}};
        for (size_t k = 0; k < sizeof s->line.digest - 1 && k < digest.len; k++) {
            char c = digest.ptr[k]; // from the image: nothing but hex reaches the terminal
            s->line.digest[k] = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ? c : '?';
        }
        break;
    }
    show(p);
}

void st_progress_bytes(struct st_progress *p, unsigned index, uint64_t done)
{
    if (p->how == ST_PROGRESS_SILENT_)
        return;
    struct slot *s = slot_of(p, index);
    if (s)
        s->line.done = done;
    show(p);
}

void st_progress_done(struct st_progress *p, unsigned index)
{
    struct slot *s = slot_of(p, index);
    int64_t now = p->now_ms();
    p->n_done++;
    if (s) {
        p->finished += s->line.size;
        // A run of a hundred small layers is short work: it tells its layer ends only where that was asked for.
        if (p->how == ST_PROGRESS_LINES_ && (p->asked_plain || now - p->start_ms >= QUIET_MS)) {
            if (s->line.size)
                s->line.done = s->line.size;
            plain_line(p, s, "  done", now);
            p->last_ms = now;
        }
        s->used = false;
    }
    show(p);
}

void st_progress_end(struct st_progress *p)
{
    st_progress_clear(p);
    p->how = ST_PROGRESS_SILENT_;
}
