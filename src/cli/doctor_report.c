// The forms of a report.
#include "cli/doctor_report.h"

#include "base/ckd.h"
#include "base/clock.h"
#include "cli/render.h"

#include <assert.h>
#include <stdio.h>

void st_doctor_examine(struct st_doctor_report *r, bool quick)
{
    st_doctor_gather(quick, &r->facts);
    r->n = 0;
    memset(r->counts, 0, sizeof r->counts);
    for (size_t i = 0; st_doctor_checks[i].id; i++) {
        assert(i < ST_DOCTOR_CHECKS_MAX);
        if (!(r->chosen >> i & 1))
            continue;
        st_doctor_judge(&st_doctor_checks[i], &r->facts, quick, &r->found[i]);
        r->counts[r->found[i].result]++;
        r->n++;
    }
}

static bool shown(const struct st_doctor_report *r, size_t i)
{
    return (r->chosen >> i & 1) && (r->shown >> r->found[i].result & 1);
}

// Next check to show at or after `i`; the end of the table when there is none.
static size_t next(const struct st_doctor_report *r, size_t i)
{
    while (st_doctor_checks[i].id && !shown(r, i))
        i++;
    return i;
}

static bool in_detail(const struct st_doctor_report *r, const struct st_diagnosis *d)
{
    return r->verbose || d->result >= ST_DOCTOR_WARN;
}

// Thousandths as 12.5, 3 or 0.125.
static void put_milli(struct st_out *o, uint64_t m)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%llu.%03llu", (unsigned long long)(m / 1000), (unsigned long long)(m % 1000));
    while (n > 0 && text[n - 1] == '0')
        n--;
    st_out_write(o, st_sv_mem(text, (size_t)(n > 0 && text[n - 1] == '.' ? n - 1 : n)));
}

static void put_finding(struct st_out *o, const struct st_finding *f)
{
    st_out_fmt(o, "%s=", f->name);
    if (f->kind == ST_FINDING_NUMBER)
        put_milli(o, f->milli);
    else if (f->kind == ST_FINDING_BOOL)
        st_out_puts(o, f->milli ? "yes" : "no");
    else
        st_out_safe(o, st_sv_of(f->text));
}

// One after the other, as many on a line as fit.
#define LINE 79
#define NUMBER_WIDTH 8 // about
static void put_findings(struct st_out *o, const struct st_diagnosis *d, const char *margin)
{
    size_t column = 0;
    for (size_t i = 0; i < d->n_findings; i++) {
        size_t room = strlen(d->findings[i].name) + 1 +
                      (d->findings[i].kind == ST_FINDING_TEXT ? strlen(d->findings[i].text) : NUMBER_WIDTH);
        bool begin = !column || column + 2 + room > LINE;
        st_out_puts(o, begin ? (column ? "\n" : "") : "  ");
        st_out_puts(o, begin ? margin : "");
        column = (begin ? strlen(margin) : column + 2) + room;
        put_finding(o, &d->findings[i]);
    }
    if (column)
        st_out_putc(o, '\n');
}

static const char *const colours[ST_DOCTOR_RESULTS] = {"\033[32m", "\033[2m", "\033[33m", "\033[31m"};

static void put_counts(const struct st_doctor_report *r, struct st_out *o)
{
    st_out_fmt(o, "%zu check%s", r->n, r->n == 1 ? "" : "s");
    for (size_t i = 0; i < ST_DOCTOR_RESULTS; i++)
        st_out_fmt(o, "%s %zu %s", i ? "," : ":", r->counts[i], st_doctor_result_words[i]);
    st_out_putc(o, '\n');
}

void st_doctor_text(const struct st_doctor_report *r, struct st_out *o)
{
    bool colour = st_render_colours(o);
    for (size_t i = next(r, 0); st_doctor_checks[i].id; i = next(r, i + 1)) {
        const struct st_diagnosis *d = &r->found[i];
        st_out_fmt(o, "%s%s%s  %-30s ", colour ? colours[d->result] : "", st_doctor_result_words[d->result],
                   colour ? "\033[0m" : "", st_doctor_checks[i].id);
        st_out_safe(o, st_sv_of(d->says));
        st_out_putc(o, '\n');
        if (in_detail(r, d))
            put_findings(o, d, "      ");
        for (size_t k = 0; in_detail(r, d) && k < d->n_remedies; k++)
            st_out_fmt(o, "      try: %s\n", d->remedies[k]);
        if (d->result >= ST_DOCTOR_WARN && st_doctor_checks[i].runbook)
            st_out_fmt(o, "      see: docs/runbooks/%s.md\n", st_doctor_checks[i].runbook);
    }
    put_counts(r, o);
}

// ---- table --------------------------------------------------------------------------------------

struct row {
    const struct st_doctor_check *check;
    const struct st_diagnosis *found;
};

static struct st_sv c_result(const void *row, char scratch[static ST_CELL])
{
    return st_sv_of(st_doctor_result_words[((const struct row *)row)->found->result]);
}
static struct st_sv c_check(const void *row, char scratch[static ST_CELL])
{
    return st_sv_of(((const struct row *)row)->check->id);
}
static struct st_sv c_says(const void *row, char scratch[static ST_CELL])
{
    return st_sv_of(((const struct row *)row)->found->says);
}

void st_doctor_table(const struct st_doctor_report *r, struct st_out *o)
{
    static const struct st_column columns[] = {
        {"RESULT", 6, .text = c_result}, {"CHECK", 30, .text = c_check}, {"FOUND", 40, .text = c_says}};
    static const struct st_table table = {columns, ST_LEN(columns)};
    struct st_sink s = {.out = o, .format = ST_FORMAT_TABLE, .table = &table};
    st_sink_begin(&s);
    for (size_t i = next(r, 0); st_doctor_checks[i].id; i = next(r, i + 1))
        st_sink_row(&s, &(struct row){&st_doctor_checks[i], &r->found[i]}, NULL);
    st_sink_end(&s);
}

// ---- JSON ---------------------------------------------------------------------------------------

static void json_check(struct st_json_out *w, const struct st_doctor_check *c, const struct st_diagnosis *d)
{
    st_json_open(w, '{');
    st_json_kv(w, "check", st_sv_of(c->id));
    st_json_kv(w, "result", st_sv_of(st_doctor_result_words[d->result]));
    st_json_kv(w, "message", st_sv_of(d->says));
    st_json_key(w, "evidence");
    st_json_open(w, '{');
    for (size_t i = 0; i < d->n_findings; i++) {
        const struct st_finding *f = &d->findings[i];
        st_json_key(w, f->name);
        if (f->kind == ST_FINDING_TEXT)
            st_json_str(w, st_sv_of(f->text));
        else if (f->kind == ST_FINDING_BOOL)
            st_json_bool(w, f->milli != 0);
        else if (f->milli % 1000)
            st_json_fixed(w, (double)f->milli / 1000, 3);
        else
            st_json_u64(w, f->milli / 1000);
    }
    st_json_close(w, '}');
    st_json_key(w, "remediation");
    st_json_open(w, '[');
    for (size_t i = 0; i < d->n_remedies; i++)
        st_json_str(w, st_sv_of(d->remedies[i]));
    st_json_close(w, ']');
    st_json_key(w, "runbook");
    if (c->runbook) {
        char path[96];
        snprintf(path, sizeof path, "docs/runbooks/%s.md", c->runbook);
        st_json_str(w, st_sv_of(path));
    } else {
        st_json_null(w);
    }
    st_json_close(w, '}');
}

void st_doctor_json(const struct st_doctor_report *r, struct st_out *o)
{
    struct st_json_out w;
    char time[ST_CLOCK_TEXT_MS];
    st_clock_text_ms(r->facts.now_ms, time);
    st_json_out_init(&w, o, 2);
    st_json_open(&w, '{');
    st_json_kv(&w, "version", ST_SV(ST_VERSION));
    st_json_kv(&w, "time", st_sv_of(time));
    st_json_key(&w, "service");
    st_json_bool(&w, r->facts.service);
    st_json_key(&w, "checks");
    st_json_open(&w, '[');
    for (size_t i = next(r, 0); st_doctor_checks[i].id; i = next(r, i + 1))
        json_check(&w, &st_doctor_checks[i], &r->found[i]);
    st_json_close(&w, ']');
    st_json_key(&w, "summary");
    st_json_open(&w, '{');
    for (size_t i = 0; i < ST_DOCTOR_RESULTS; i++) {
        st_json_key(&w, st_doctor_result_words[i]);
        st_json_u64(&w, r->counts[i]);
    }
    st_json_close(&w, '}');
    st_json_close(&w, '}');
    st_out_putc(o, '\n');
}

// ---- Markdown -----------------------------------------------------------------------------------

// A cell of a table: '|' would end it.
static void put_cell(struct st_out *o, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            st_out_putc(o, '\\');
        st_out_safe(o, st_sv_mem(text, 1));
    }
}

void st_doctor_markdown(const struct st_doctor_report *r, struct st_out *o)
{
    char time[ST_CLOCK_TEXT];
    st_clock_text(r->facts.now_ms, time);
    st_out_fmt(o, "# stella doctor, %s, version %s\n\n| result | check | found |\n|---|---|---|\n", time, ST_VERSION);
    for (size_t i = next(r, 0); st_doctor_checks[i].id; i = next(r, i + 1)) {
        st_out_fmt(o, "| %s | %s | ", st_doctor_result_words[r->found[i].result], st_doctor_checks[i].id);
        put_cell(o, r->found[i].says);
        st_out_puts(o, " |\n");
    }
    st_out_putc(o, '\n');
    for (size_t i = next(r, 0); st_doctor_checks[i].id; i = next(r, i + 1)) {
        const struct st_diagnosis *d = &r->found[i];
        if (!in_detail(r, d) || (!d->n_findings && !d->n_remedies))
            continue;
        st_out_fmt(o, "## %s: %s\n", st_doctor_checks[i].id, st_doctor_result_words[d->result]);
        for (size_t k = 0; k < d->n_findings; k++) {
            st_out_puts(o, "    ");
            put_finding(o, &d->findings[k]);
            st_out_putc(o, '\n');
        }
        for (size_t k = 0; k < d->n_remedies; k++)
            st_out_fmt(o, "%s    $ %s\n", k ? "" : "\nTry:\n\n", d->remedies[k]);
        st_out_putc(o, '\n');
    }
    put_counts(r, o);
}
