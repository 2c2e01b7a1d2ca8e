// How verbs print rows of an operation: a table, JSON, or a JSON document a line; once, or again and again (--watch).
#ifndef ST_CLI_RENDER_H
#define ST_CLI_RENDER_H

#include "cli/cli.h"
#include "service/client.h"

enum st_format { ST_FORMAT_TABLE, ST_FORMAT_JSON, ST_FORMAT_NDJSON };
extern const struct st_choice st_format_choices[];
// The option row; `type` has an int `format`.
#define ST_FORMAT_OPTION(type)                                                                               \
    {                                                                                                        \
        "format", 0, ST_OPT_ENUM_AT(type, format), .arg = "FORMAT", .help = "what to print", .def = "table", \
                                                   .choices = st_format_choices                              \
    }

struct st_watch {
    bool on;
    uint64_t interval_s, count; // count 0: until interrupted
};
#define ST_WATCH_OPTIONS(type)                                                                                           \
    {"watch", 0, ST_OPT_FLAG_AT(type, watch.on), .help = "print again and again, until interrupted"},                    \
        {"interval", 0, ST_OPT_DURATION_AT(type, watch.interval_s), .arg = "TIME", .help = "time between, with --watch", \
         .def = "2s"},                                                                                                   \
    {                                                                                                                    \
        "count", 0, ST_OPT_COUNT_AT(type, watch.count), .arg = "N", .help = "stop after N times, with --watch",          \
                                                        .def_text = "never", .min = 1, .max = 1000000                    \
    }

#define ST_CELL 64
struct st_column {
    const char *title;
    unsigned width;
    unsigned drop; // on a narrow terminal the highest goes first; 0: never
    bool stretch;  // takes what is left (one of a table); its end is shown when it is cut
    bool colour;   // of a state's word, on a terminal
    struct st_sv (*text)(const void *row, char scratch[static ST_CELL]);
};
struct st_table {
    const struct st_column *columns;
    size_t n;
};

struct st_sink {
    struct st_out *out;
    enum st_format format;
    const struct st_table *table;
    const struct st_record *record;
    bool one; // exactly one row: JSON is an object, not an array
    // ---- set by st_sink_begin
    struct st_json_out json;
    unsigned width, stretch; // of the terminal, 0: none; of the stretched column
    uint64_t shown;          // columns, one bit each
    bool colours, open;
    uint64_t rows;
};
void st_sink_begin(struct st_sink *s);
int st_sink_row(void *sink, const void *row, struct st_err *err); // before the first: the header, or the bracket
void st_sink_end(struct st_sink *s);                              // no row: the header alone, or []

// Call an operation and print its rows.
int st_render_call(struct st_client *c, const char *op, const void *request, struct st_sink *s, struct st_err *err);

// Run `once` once, or again and again: the terminal is cleared between, a pipe gets block after block. Interrupted: 0.
typedef int st_watch_fn(void *ctx, struct st_err *err);
int st_watch_run(const struct st_watch *w, struct st_out *out, st_watch_fn *once, void *ctx, struct st_err *err);
bool st_watch_interrupted(void);
void st_watch_catch(void); // SIGINT and SIGTERM from now on only set that

// Cells.
struct st_sv st_cell_size(bool known, uint64_t bytes, char scratch[static ST_CELL]);
struct st_sv st_cell_time(int64_t ms, char scratch[static ST_CELL]);
struct st_sv st_cell_number(uint64_t v, char scratch[static ST_CELL]);
// "name:         value" of a list of facts.
void st_render_fact(struct st_out *o, const char *name, struct st_sv value);
bool st_render_colours(const struct st_out *o);

#endif
