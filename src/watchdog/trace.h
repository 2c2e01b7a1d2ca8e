// Recorded samples as text, and back. One format everywhere: the series in an evidence record, `run --record`,
// `replay`, the traces of the tests.
//
// A trace is lines. The first is a JSON object {"trace":1,"columns":["t_us","current",...]} with, optionally, "cgroup",
// "kernel", "note"; each further line is a JSON array of the columns' values: numbers, null for a field that was
// absent, "max" for a limit that is none. Columns may be any subset in any order; unknown ones are passed over (a newer
// recorder). An evidence record (evidence.h) holds the same columns and rows under "samples", and is read as well: one
// record a line; of records that overlap each sample is taken once. A last line that was cut (no newline, no JSON) is
// passed over: a recorder may have been killed.
#ifndef ST_WATCHDOG_TRACE_H
#define ST_WATCHDOG_TRACE_H

#include "base/json.h"
#include "watchdog/policy.h"

//
// Columns named p0, p1, .. (up to ST_WD_PROGRESS_MAX) are the workloads' own counters, which only the laboratory has:
// they tell when a workload really came to a stand. The judge never sees them.
#define ST_WD_PROGRESS_MAX 8

struct st_wd_trace {
    struct st_wd_trace_row {
        struct st_wd_sample sample;
        uint64_t progress[ST_WD_PROGRESS_MAX];
    } * at; // owns (mem), in time order
    size_t n, cap;
    unsigned progress_n; // columns p0..
};

#define ST_WD_TRACE_SAMPLES_MAX 1000000

void st_wd_trace_head(struct st_out *o, struct st_sv cgroup, struct st_sv note); // first line
void st_wd_trace_row(struct st_out *o, const struct st_wd_sample *s);
// "columns" array and one row array, for evidence records. No newline.
void st_wd_trace_columns(struct st_out *o);
void st_wd_trace_values(struct st_out *o, const struct st_wd_sample *s);
// Members of an open object: numbers under their names with units, null where not known; a verdict with its numbers.
// One way of writing for evidence, `judge --format json` and `replay --format json`.
void st_wd_numbers_write(struct st_json_out *w, const struct st_wd_numbers *n);
void st_wd_verdict_write(struct st_json_out *w, const struct st_wd_verdict *v);
// Text of a trace or of evidence records. ST_E_INPUT names the line.
int st_wd_trace_read(struct st_sv text, struct st_mem *mem, struct st_wd_trace *ret, struct st_err *err);
void st_wd_trace_release(struct st_wd_trace *t, struct st_mem *mem);

#endif
