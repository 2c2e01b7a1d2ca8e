// Operations on the log: level and time in the store, text here.
#include "base/ckd.h"
#include "base/clock.h"
#include "service/op_int.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE 500

struct reading {
    const struct st_op_call *c;
    const struct st_req_logs *q;
    regex_t regex;
    uint64_t last;            // position of the last line of a page
    uint32_t found;           // lines that matched
    struct st_log_line *tail; // newest first
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool contains(struct st_sv text, struct st_sv what)
{
    for (size_t i = 0; i + what.len <= text.len; i++) {
        size_t k = 0;
        while (k < what.len && lower(text.ptr[i + k]) == lower(what.ptr[k]))
            k++;
        if (k == what.len)
            return true;
    }
    return false;
}

static bool regex_in(const regex_t *r, struct st_sv text)
{
    regmatch_t m = {0, (regoff_t)text.len};
    return text.len && regexec(r, text.ptr, 1, &m, REG_STARTEND) == 0;
}

static bool matches(const struct reading *r, const struct st_log_line *l)
{
    struct st_sv parts[] = {l->component, l->message, l->fields};
    if (!r->q->filter.len)
        return true;
    for (size_t i = 0; i < ST_LEN(parts); i++)
        if (r->q->regex ? regex_in(&r->regex, parts[i]) : contains(parts[i], r->q->filter))
            return true;
    return false;
}

static int on_line(void *ctx, const struct st_log_line *l, struct st_err *err)
{
    struct reading *r = ctx;
    r->last = l->at;
    if (!matches(r, l))
        return 0;
    if (!r->q->tail) {
        r->found++;
        return r->c->emit(r->c->ctx, l, err);
    }
    if (r->found == r->q->tail)
        return 0;
    struct st_log_line *k = &r->tail[r->found++];
    *k = *l;
    struct st_sv *texts[] = {&k->component, &k->job, &k->message, &k->fields};
    for (size_t i = 0; i < ST_LEN(texts); i++)
        if (st_arena_dup(r->c->arena, *texts[i], texts[i], err))
            return -1;
    return 0;
}

static int pages(struct reading *r, struct st_log_page *p, struct st_err *err)
{
    int n;
    do {
        n = st_store_logs(r->c->store, p, on_line, r, err);
        if (p->backwards)
            p->before = r->last;
        else
            p->after = r->last;
    } while (n == PAGE && (!r->q->tail || r->found < r->q->tail));
    return n < 0 ? -1 : 0;
}

// A back-reference can make matching take time without end.
static int compile(struct reading *r, struct st_err *err)
{
    char text[300], why[100];
    struct st_sv f = r->q->filter;
    for (size_t i = 0; i + 1 < f.len; i++)
        if (f.ptr[i] == '\\' && f.ptr[i + 1] >= '1' && f.ptr[i + 1] <= '9')
            return st_err_set(err, ST_E_USAGE, "invalid regular expression: back-references are not taken");
    snprintf(text, sizeof text, ST_SV_FMT, ST_SV_ARG(f));
    int rc = regcomp(&r->regex, text, REG_EXTENDED | REG_ICASE | REG_NOSUB);
    if (rc == 0)
        return 0;
    regerror(rc, &r->regex, why, sizeof why);
    return st_err_set(err, ST_E_USAGE, "invalid regular expression '%s': %s", text, why);
}

static int read_lines(struct reading *r, struct st_err *err)
{
    const struct st_req_logs *q = r->q;
    struct st_log_page p = {
        .after = q->after, .level = q->has_level ? q->level : ST_LOG_INFO, .limit = PAGE, .backwards = q->tail != 0};
    int64_t restart = 0;
    if (q->last_s)
        p.since_ms = st_clock_wall_ms() - (int64_t)q->last_s * 1000;
    if (q->since_restart && st_store_mark(r->c->store, ST_MARK_RESTART, &restart, err))
        return -1;
    p.since_ms = ST_MAX(p.since_ms, restart);
    if (q->tail && !(r->tail = st_arena_array(r->c->arena, q->tail, sizeof *r->tail, err)))
        return -1;
    if (pages(r, &p, err))
        return -1;
    for (uint32_t i = q->tail ? r->found : 0; i > 0; i--)
        if (r->c->emit(r->c->ctx, &r->tail[i - 1], err))
            return -1;
    return 0;
}

int st_op_logs(const struct st_op_call *c, struct st_err *err)
{
    struct reading r = {.c = c, .q = c->request};
    if (r.q->regex && (!r.q->filter.len || compile(&r, err)))
        return r.q->filter.len ? -1 : st_err_set(err, ST_E_USAGE, "a regular expression needs a filter");
    int rc = read_lines(&r, err);
    if (r.q->regex)
        regfree(&r.regex);
    return rc;
}

int st_op_logs_state(const struct st_op_call *c, struct st_err *err)
{
    struct st_log_state s;
    struct st_logs_state a = {0};
    if (st_store_log_state(c->store, &s, err) || st_store_mark(c->store, ST_MARK_RESTART, &a.restart_ms, err))
        return -1;
    a.dropped = s.dropped;
    a.dropped_ms = s.dropped_ms;
    return c->emit(c->ctx, &a, err);
}

int st_op_log_add(const struct st_op_call *c, struct st_err *err)
{
    return st_store_log_add(c->store, c->request, 1, err) ? -1 : c->emit(c->ctx, &(struct st_done){true}, err);
}
