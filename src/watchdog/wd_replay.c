#include "watchdog/wd_replay.h"

#include "base/ckd.h"
#include "base/fd.h"
#include "base/quantity.h"
#include "watchdog/trace.h"

#include <fcntl.h>
#include <stdio.h>

struct row {
    double t; // seconds since the first sample
    struct st_wd_verdict v;
};

static bool changed(const struct row *a, const struct st_wd_verdict *b)
{
    return a->v.state != b->state || a->v.warn != b->warn || a->v.act != b->act || a->v.psi_blind != b->psi_blind ||
           a->v.hold != b->hold;
}

static int slurp(const char *path, struct st_buf *b, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = -1;
    int from = STDIN_FILENO;
    if (strcmp(path, "-") != 0) {
        from = fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return st_err_sys(err, "open %s", path);
    }
    for (;;) {
        if (b->len > ST_WD_REPLAY_FILE_MAX)
            return st_err_set(err, ST_E_LIMIT, "%s is larger than %u MiB", path, ST_WD_REPLAY_FILE_MAX >> 20);
        if (st_buf_reserve(b, 256 * 1024, err))
            return -1;
        ssize_t n = st_fd_read(from, b->ptr + b->len, 256 * 1024);
        if (n < 0)
            return st_err_sys(err, "read %s", path);
        b->len += (size_t)n;
        if (n < 256 * 1024)
            return 0;
    }
}

struct column {
    const char *head;
    int width; // negative: left
};
static const struct column table[] = {{"TIME", 7}, {"STATE", -11}, {"DOES", -10}, {"BUCKET", 6}, {"PINNED", 6},
                                      {"ROOM", 8}, {"FAULTS", 6},  {"STEALS", 7}, {"MEM", 4},    {"IO", 4},
                                      {"USER", 5}, {"SYS", 5},     {"MAX/S", 6}};

static void cell(struct st_out *o, size_t i, const char *text)
{
    bool last = i + 1 == ST_LEN(table);
    if (table[i].width < 0)
        st_out_fmt(o, "%-*s%s", -table[i].width, text, last ? "\n" : "  ");
    else
        st_out_fmt(o, "%*s%s", table[i].width, text, last ? "\n" : "  ");
}

static void share(struct st_out *o, size_t i, double v)
{
    char text[24];
    snprintf(text, sizeof text, v < 0 ? "-" : "%.0f%%", v * 100);
    cell(o, i, text);
}

static void plain(struct st_out *o, size_t i, double v, int digits)
{
    char text[24];
    snprintf(text, sizeof text, v < 0 ? "-" : "%.*f", digits, v);
    cell(o, i, text);
}

static void table_head(struct st_out *o)
{
    for (size_t i = 0; i < ST_LEN(table); i++)
        cell(o, i, table[i].head);
}

static void table_row(struct st_out *o, const struct row *r)
{
    const struct st_wd_verdict *v = &r->v;
    char room[ST_QUANTITY_TEXT];
    st_quantity_human(v->n.room, room);
    const char *does = v->act                           ? "act"
                       : v->hold > ST_WD_HOLD_EVIDENCE  ? st_wd_hold_word(v->hold)
                       : v->warn                        ? "warn"
                       : v->hold == ST_WD_HOLD_EVIDENCE ? "watch"
                                                        : "-";
    plain(o, 0, r->t, 2);
    cell(o, 1, st_wd_state_word(v->state));
    cell(o, 2, does);
    plain(o, 3, v->bucket, 1);
    share(o, 4, v->n.pinned_share);
    cell(o, 5, room);
    plain(o, 6, v->n.major_faults, 0);
    plain(o, 7, v->n.steals, 0);
    share(o, 8, v->n.mem_some);
    share(o, 9, v->n.io_some);
    plain(o, 10, v->n.cpu_user, 2);
    plain(o, 11, v->n.cpu_system, 2);
    plain(o, 12, v->n.max_events, 0);
}

struct replay {
    const struct st_wd_replay_options *opt;
    struct st_out *out;
    struct st_wd_series series;
    struct st_wd_judge judge;
};

static void seconds(struct st_json_out *w, double v)
{
    if (v < 0)
        st_json_null(w);
    else
        st_json_fixed(w, v, 3);
}

static void one_trace(struct replay *r, const char *path, const struct st_wd_trace *t)
{
    const struct st_wd_policy *p = r->opt->policy ? r->opt->policy : &st_wd_policy_default;
    struct row now = {0}, before = {0};
    struct st_json_out w;
    double first_warn = -1, first_act = -1;
    st_wd_series_clear(&r->series);
    r->judge = (struct st_wd_judge){0};
    st_json_out_init(&w, r->out, 0);
    if (r->opt->json) {
        st_json_open(&w, '{');
        st_json_kv(&w, "file", st_sv_of(path));
        st_json_key(&w, "samples");
        st_json_u64(&w, t->n);
        st_json_key(&w, "changes");
        st_json_open(&w, '[');
    } else {
        st_out_safe(r->out, st_sv_of(path));
        st_out_fmt(r->out, ": %zu samples\n", t->n);
        table_head(r->out);
    }
    for (size_t i = 0; i < t->n; i++) {
        uint32_t next;
        st_wd_series_push(&r->series, &t->at[i].sample);
        st_wd_judge_step(&r->judge, p, &r->series, &now.v, &next);
        uint64_t us = t->at[i].sample.t_us - t->at[0].sample.t_us;
        now.t = (double)us / 1e6;
        if (now.v.warn && first_warn < 0)
            first_warn = now.t;
        if (now.v.act && first_act < 0)
            first_act = now.t;
        if (i && !r->opt->every && !changed(&before, &now.v))
            continue;
        if (r->opt->json) {
            st_json_open(&w, '{');
            st_json_key(&w, "t_s");
            st_json_fixed(&w, now.t, 3);
            st_wd_verdict_write(&w, &now.v);
            st_json_close(&w, '}');
        } else {
            table_row(r->out, &now);
        }
        before = now;
    }
    if (r->opt->json) {
        st_json_close(&w, ']');
        st_json_kv(&w, "last_state", st_sv_of(st_wd_state_word(now.v.state)));
        st_json_key(&w, "first_warn_s");
        seconds(&w, first_warn);
        st_json_key(&w, "first_act_s");
        seconds(&w, first_act);
        st_json_close(&w, '}');
        st_out_putc(r->out, '\n');
        return;
    }
    char text[1024];
    if (t->n) {
        st_wd_verdict_text(&now.v, ST_SV_NULL, text, sizeof text);
        st_out_fmt(r->out, "At the end: %s\n", text);
    }
}

int st_wd_replay(const char *const *files, size_t n, const struct st_wd_replay_options *opt, struct st_out *out,
                 struct st_err *err)
{
    struct st_mem mem;
    struct replay r = {.opt = opt, .out = out};
    int rc = 0;
    st_mem_init(&mem, (size_t)4 * ST_WD_REPLAY_FILE_MAX, -1);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct st_buf text;
        struct st_wd_trace t = {0};
        st_buf_init(&text, &mem);
        rc = slurp(files[i], &text, err);
        if (rc == 0 && st_wd_trace_read(st_buf_sv(&text), &mem, &t, err))
            rc = st_err_wrap(err, "%s", files[i]);
        if (rc == 0) {
            if (i && !opt->json)
                st_out_putc(out, '\n');
            one_trace(&r, files[i], &t);
        }
        st_wd_trace_release(&t, &mem);
        st_buf_release(&text);
    }
    st_mem_release(&mem);
    return rc;
}
