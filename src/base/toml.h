// TOML 1.0.0 into a tree in an arena, for configuration files of other tools (containers' registries.conf). Accepts
// exactly the language: tests/unit/test_toml.c has its rules, and toml-test's cases are run where they can be had.
// Depth of nested values and tables is capped; time is linear in the text, but for the keys of one table.
#ifndef ST_BASE_TOML_H
#define ST_BASE_TOML_H

#include "base/mem.h"

#define ST_TOML_DEPTH_MAX 64
#define ST_TOML_TEXT_MAX (1u << 20) // longer is ST_E_LIMIT
#define ST_TOML_NODES_MAX 20000     // keys of one table are compared with each other

enum st_toml_type {
    ST_TOML_TABLE,
    ST_TOML_ARRAY,
    ST_TOML_STRING,
    ST_TOML_INTEGER,
    ST_TOML_FLOAT,
    ST_TOML_BOOL,
    ST_TOML_DATETIME,       // with an offset
    ST_TOML_DATETIME_LOCAL, // without
    ST_TOML_DATE_LOCAL,
    ST_TOML_TIME_LOCAL,
};

struct st_toml {
    enum st_toml_type type;
    struct st_sv key;      // in its table; empty for elements
    struct st_sv text;     // STRING: its characters; FLOAT and dates: as written, without underscores
    int64_t integer;       // INTEGER; BOOL: 0, 1
    struct st_toml *first; // TABLE, ARRAY: children, in the order of the text
    struct st_toml *last, *next;
    uint8_t how; // how a table came to be (toml.c)
    size_t line; // where it begins, from 1
};

// Errors are ST_E_FORMAT ("line 7: ..."), ST_E_LIMIT. Strings without escapes are borrowed from `text`.
int st_toml_parse(struct st_sv text, struct st_arena *a, const struct st_toml **ret, struct st_err *err);
// NULL when the table (or NULL) has no such key, or it is of another type.
const struct st_toml *st_toml_get(const struct st_toml *table, struct st_sv key, enum st_toml_type type);

#endif
