// Records: a struct described by a table of fields. The one way from C structs to JSON and back, for the socket, HTTP,
// and
// `--format json`; also where the OpenAPI document gets its schemas.
#ifndef ST_SERVICE_RECORD_H
#define ST_SERVICE_RECORD_H

#include "base/ckd.h"
#include "base/json.h"

enum st_field_kind {
    ST_FIELD_TEXT,     // struct st_sv; JSON null when empty
    ST_FIELD_ID,       // char[ST_JOB_ID + 1]
    ST_FIELD_U64,      // uint64_t
    ST_FIELD_U32,      // uint32_t
    ST_FIELD_INT,      // int
    ST_FIELD_BOOL,     // bool
    ST_FIELD_TIME,     // int64_t, ms since 1970; JSON "2026-01-31T07:05:09.123Z"; 0: null
    ST_FIELD_MS,       // int64_t, ms; 0: null
    ST_FIELD_WORD,     // an enum (int), JSON one of `words`
    ST_FIELD_JSON,     // struct st_sv, a JSON value as text, embedded as it is; empty: null
    ST_FIELD_DURATION, // uint64_t, seconds; JSON "3600s", read as 1h30m too; 0: null
    ST_FIELD_MILLI,    // uint64_t thousandths; JSON 12.5
};

struct st_field {
    const char *name;
    enum st_field_kind kind;
    bool required;  // reading fails without it
    bool null_zero; // a number: 0 is null
    size_t offset;
    size_t has;               // offset of a bool that says whether the value is known (else null), plus 1; 0: always
    const char *const *words; // ST_FIELD_WORD; NULL ends
    uint64_t max;             // a number: most accepted, 0: no limit; a text: bytes, 0: ST_FIELD_TEXT_MAX
    const char *what;         // one line for people
};
#define ST_FIELD_TEXT_MAX 4096

struct st_record {
    const char *name; // "Job"
    size_t size;      // of the struct
    const struct st_field *fields;
    size_t n;
};
#define ST_RECORD(label, type, table)                                              \
    {                                                                              \
        .name = label, .size = sizeof(type), .fields = (table), .n = ST_LEN(table) \
    }

// offsetof that fails to compile when the field has not the kind's type.
#define ST_FIELD_OF(type, field, ctype) \
    .offset = (offsetof(type, field) +  \
               0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((type *)0)->field), ctype) ? 1 : -1]))
#define ST_FIELD_TEXT_AT(type, f) .kind = ST_FIELD_TEXT, ST_FIELD_OF(type, f, struct st_sv)
#define ST_FIELD_ID_AT(type, f) .kind = ST_FIELD_ID, .offset = offsetof(type, f)
#define ST_FIELD_U64_AT(type, f) .kind = ST_FIELD_U64, ST_FIELD_OF(type, f, uint64_t)
#define ST_FIELD_U32_AT(type, f) .kind = ST_FIELD_U32, ST_FIELD_OF(type, f, uint32_t)
#define ST_FIELD_INT_AT(type, f) .kind = ST_FIELD_INT, ST_FIELD_OF(type, f, int)
#define ST_FIELD_BOOL_AT(type, f) .kind = ST_FIELD_BOOL, ST_FIELD_OF(type, f, bool)
#define ST_FIELD_TIME_AT(type, f) .kind = ST_FIELD_TIME, ST_FIELD_OF(type, f, int64_t)
#define ST_FIELD_MS_AT(type, f) .kind = ST_FIELD_MS, ST_FIELD_OF(type, f, int64_t)
#define ST_FIELD_WORD_AT(type, f, list) .kind = ST_FIELD_WORD, .offset = offsetof(type, f), .words = (list)
#define ST_FIELD_JSON_AT(type, f) .kind = ST_FIELD_JSON, ST_FIELD_OF(type, f, struct st_sv)
#define ST_FIELD_DURATION_AT(type, f) .kind = ST_FIELD_DURATION, ST_FIELD_OF(type, f, uint64_t)
#define ST_FIELD_MILLI_AT(type, f) .kind = ST_FIELD_MILLI, ST_FIELD_OF(type, f, uint64_t)

void st_record_write(struct st_json_out *w, const struct st_record *r, const void *value);
void st_record_members(struct st_json_out *w, const struct st_record *r, const void *value); // into an open object
// The same without what is null, false, or 0 (where 0 needs no `has`): one text for one meaning.
void st_record_brief(struct st_json_out *w, const struct st_record *r, const void *value);
// A copy with its texts in the arena.
void *st_record_dup(const struct st_record *r, const void *value, struct st_arena *a, struct st_err *err);
// One JSON object into *inout (zeroed by the caller, but for the fields of `seen`, which st_record_set put there).
// Texts are borrowed from `json` or copied into the arena. ST_E_INPUT naming the field for: a repeated one, a wrong
// type, a missing required one, a value out of range; an unknown one with the nearest name, unless `others` are passed
// over (answers of a newer service). null is the same as absent.
int st_record_read(const struct st_record *r, struct st_sv json, bool others, uint64_t seen, void *inout,
                   struct st_arena *a, struct st_err *err);
// One field from plain text (a query parameter, a part of a path), borrowed: numbers in digits, times as above,
// booleans true|false. *inout_seen, 0 at first, remembers which fields were set, for st_record_missing.
int st_record_set(const struct st_record *r, struct st_sv name, struct st_sv text, void *value, uint64_t *inout_seen,
                  struct st_err *err);
int st_record_missing(const struct st_record *r, uint64_t seen, struct st_err *err);
const struct st_field *st_record_field(const struct st_record *r, struct st_sv name); // NULL: none of that name
// The JSON Schema of the record (OpenAPI 3.1).
void st_field_schema(struct st_json_out *w, const struct st_field *f);
void st_record_schema(struct st_json_out *w, const struct st_record *r);

#endif
