#include "watchdog/trace.h"

#include "base/ckd.h"
#include "base/json.h"

#define COLUMNS_MAX 256
#define PASSED_OVER 0xff
#define PROGRESS_0 64 // columns of the workloads' own counters come after the fields

// Write ----------------------------------------------------------------------------------------------------------

void st_wd_trace_columns(struct st_out *o)
{
    st_out_puts(o, "[\"t_us\"");
    for (unsigned f = 0; f < ST_WD_FIELD_COUNT; f++)
        st_out_fmt(o, ",\"%s\"", st_wd_field_name(f));
    st_out_putc(o, ']');
}

void st_wd_trace_head(struct st_out *o, struct st_sv cgroup, struct st_sv note)
{
    struct st_json_out w;
    st_json_out_init(&w, o, 0);
    st_json_open(&w, '{');
    st_json_key(&w, "trace");
    st_json_u64(&w, 1);
    if (cgroup.len)
        st_json_kv(&w, "cgroup", cgroup);
    if (note.len)
        st_json_kv(&w, "note", note);
    st_json_key(&w, "columns");
    st_json_open(&w, '[');
    st_json_str(&w, ST_SV("t_us"));
    for (unsigned f = 0; f < ST_WD_FIELD_COUNT; f++)
        st_json_str(&w, st_sv_of(st_wd_field_name(f)));
    st_json_close(&w, ']');
    st_json_close(&w, '}');
    st_out_putc(o, '\n');
}

void st_wd_trace_values(struct st_out *o, const struct st_wd_sample *s)
{
    st_out_fmt(o, "[%llu", (unsigned long long)s->t_us);
    for (unsigned f = 0; f < ST_WD_FIELD_COUNT; f++) {
        if (!st_wd_has(s, f))
            st_out_puts(o, ",null");
        else if (s->v[f] == ST_WD_NONE)
            st_out_puts(o, ",\"max\"");
        else
            st_out_fmt(o, ",%llu", (unsigned long long)s->v[f]);
    }
    st_out_putc(o, ']');
}

void st_wd_trace_row(struct st_out *o, const struct st_wd_sample *s)
{
    st_wd_trace_values(o, s);
    st_out_putc(o, '\n');
}

// Read -----------------------------------------------------------------------------------------------------------

struct reader {
    struct st_mem *mem;
    struct st_wd_trace *t;
    size_t line, columns_n; // columns_n 0: none seen yet
    size_t time_column;     // COLUMNS_MAX: none
    uint8_t columns[COLUMNS_MAX];
};

static uint8_t column_of(struct st_sv name, unsigned *inout_progress_n)
{
    for (unsigned f = 0; f < ST_WD_FIELD_COUNT; f++)
        if (st_sv_eq(name, st_sv_of(st_wd_field_name(f))))
            return (uint8_t)f;
    uint64_t k;
    if (st_sv_starts(name, ST_SV("p")) && st_sv_u64(st_sv_from(name, 1), 10, &k) && k < ST_WD_PROGRESS_MAX) {
        *inout_progress_n = ST_MAX(*inout_progress_n, (unsigned)k + 1);
        return (uint8_t)(PROGRESS_0 + k);
    }
    return PASSED_OVER;
}

// The "columns" array, whose opening bracket was just read.
static int read_columns(struct reader *r, struct st_json *j, struct st_err *err)
{
    struct st_json_tok v;
    int rc;
    r->columns_n = 0;
    r->time_column = COLUMNS_MAX;
    while ((rc = st_json_element(j, &v, err)) > 0) {
        if (v.type != ST_JSON_STRING || r->columns_n == COLUMNS_MAX)
            return st_err_set(err, ST_E_INPUT, "columns: names are wanted, at most %d", COLUMNS_MAX);
        if (st_json_is(&v, ST_SV("t_us")))
            r->time_column = r->columns_n;
        r->columns[r->columns_n++] = v.escaped ? PASSED_OVER : column_of(v.raw, &r->t->progress_n);
    }
    if (rc == 0 && r->time_column == COLUMNS_MAX)
        return st_err_set(err, ST_E_INPUT, "columns: there is no t_us");
    return rc;
}

static int grow(struct reader *r, struct st_err *err)
{
    struct st_wd_trace *t = r->t;
    if (t->n == ST_WD_TRACE_SAMPLES_MAX)
        return st_err_set(err, ST_E_LIMIT, "more than %d samples", ST_WD_TRACE_SAMPLES_MAX);
    size_t cap = ST_MAX(t->cap * 2, (size_t)256);
    void *at = st_mem_resize(r->mem, t->at, t->cap * sizeof *t->at, cap * sizeof *t->at, err);
    if (!at)
        return -1;
    t->at = at;
    t->cap = cap;
    return 0;
}

// One value of a row into its column.
static int read_value(const struct reader *r, size_t column, const struct st_json_tok *v, struct st_wd_trace_row *row,
                      struct st_err *err)
{
    uint8_t to = r->columns[column];
    if (v->type == ST_JSON_NULL)
        return 0;
    if (to == PASSED_OVER && column != r->time_column)
        return 0; // of whatever type; containers were refused by the caller
    uint64_t n;
    if (v->type == ST_JSON_STRING && st_sv_eq(v->raw, ST_SV("max")))
        n = ST_WD_NONE;
    else if (v->type != ST_JSON_NUMBER || !st_sv_u64(v->raw, 10, &n))
        return st_err_set(err, ST_E_INPUT, "column %zu: a whole number, null or \"max\" is wanted", column + 1);
    if (column == r->time_column) {
        row->sample.t_us = n;
    } else if (to >= PROGRESS_0) {
        row->progress[to - PROGRESS_0] = n;
    } else {
        row->sample.v[to] = n;
        row->sample.has |= (uint64_t)1 << to;
    }
    return 0;
}

// A row, whose opening bracket was just read.
static int read_row(struct reader *r, struct st_json *j, struct st_err *err)
{
    struct st_wd_trace *t = r->t;
    struct st_wd_trace_row row = {0};
    struct st_json_tok v;
    size_t column = 0;
    int rc;
    row.sample.t_us = UINT64_MAX;
    if (r->columns_n == 0)
        return st_err_set(err, ST_E_INPUT, "a row of values before any \"columns\"");
    while ((rc = st_json_element(j, &v, err)) > 0) {
        if (v.type == ST_JSON_ARRAY || v.type == ST_JSON_OBJECT)
            return st_err_set(err, ST_E_INPUT, "a value inside a row is a list or an object");
        if (column == r->columns_n)
            return st_err_set(err, ST_E_INPUT, "a row has more values than there are columns (%zu)", r->columns_n);
        if (read_value(r, column++, &v, &row, err))
            return -1;
    }
    if (rc)
        return -1;
    if (row.sample.t_us == UINT64_MAX)
        return st_err_set(err, ST_E_INPUT, "a row without t_us");
    if (t->n && row.sample.t_us <= t->at[t->n - 1].sample.t_us)
        return 0; // overlapping records
    if (t->n == t->cap && grow(r, err))
        return -1;
    t->at[t->n++] = row;
    return 0;
}

static int read_rows(struct reader *r, struct st_json *j, struct st_err *err)
{
    struct st_json_tok v;
    int rc;
    while ((rc = st_json_element(j, &v, err)) > 0) {
        if (v.type != ST_JSON_ARRAY)
            return st_err_set(err, ST_E_INPUT, "samples: rows are wanted");
        if (read_row(r, j, err))
            return -1;
    }
    return rc;
}

// The members of a header or of an evidence record; its samples may hold columns of their own ({"columns","rows"}).
// Depth is bounded: "samples" is entered once.
static int read_object(struct reader *r, struct st_json *j, bool inside_samples, struct st_err *err)
{
    struct st_json_tok key, v;
    int rc;
    while ((rc = st_json_member(j, &key, &v, err)) > 0) {
        bool columns = st_json_is(&key, ST_SV("columns"));
        bool rows = st_json_is(&key, inside_samples ? ST_SV("rows") : ST_SV("samples"));
        if (columns && v.type == ST_JSON_ARRAY)
            rc = read_columns(r, j, err);
        else if (rows && v.type == ST_JSON_ARRAY)
            rc = read_rows(r, j, err);
        else if (rows && v.type == ST_JSON_OBJECT && !inside_samples)
            rc = read_object(r, j, true, err);
        else
            rc = st_json_skip(j, &v, err);
        if (rc)
            return -1;
    }
    return rc;
}

static int read_line(struct reader *r, struct st_sv line, struct st_err *err)
{
    struct st_json j;
    struct st_json_tok tok;
    st_json_init(&j, line);
    if (st_json_next(&j, &tok, err))
        return -1;
    if (tok.type != ST_JSON_OBJECT && tok.type != ST_JSON_ARRAY)
        return st_err_set(err, ST_E_INPUT, "an object or a list is wanted");
    if (tok.type == ST_JSON_OBJECT ? read_object(r, &j, false, err) : read_row(r, &j, err))
        return -1;
    return st_json_next(&j, &tok, err); // nothing may follow
}

int st_wd_trace_read(struct st_sv text, struct st_mem *mem, struct st_wd_trace *ret, struct st_err *err)
{
    struct st_wd_trace t = {0};
    struct reader r = {.mem = mem, .t = &t};
    struct st_err why = {0};
    bool cut = text.len && text.ptr[text.len - 1] != '\n';
    for (struct st_sv line; st_sv_line(&text, &line);) {
        r.line++;
        if (st_sv_trim(line).len == 0 || read_line(&r, line, &why) == 0)
            continue;
        if (cut && text.len == 0 && why.code == ST_E_FORMAT && r.columns_n)
            break;
        st_wd_trace_release(&t, mem);
        if (why.code == ST_E_FORMAT)
            why.code = ST_E_INPUT;
        if (err)
            *err = why;
        return st_err_wrap(err, "line %zu", r.line);
    }
    if (r.columns_n == 0) {
        st_wd_trace_release(&t, mem);
        return st_err_set(err, ST_E_INPUT, "this is no trace: no line has \"columns\"");
    }
    *ret = t;
    return 0;
}

void st_wd_trace_release(struct st_wd_trace *t, struct st_mem *mem)
{
    st_mem_free(mem, t->at, t->cap * sizeof *t->at);
    *t = (struct st_wd_trace){0};
}
