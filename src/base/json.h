// JSON (RFC 8259): a pull reader over a view, iterative with a depth cap, and a streaming writer.
// The reader accepts exactly the grammar (tests/unit/test_json.c runs the published cases): no
// comments, no trailing commas, no lone surrogate escapes are repaired (they become U+FFFD), raw
// bytes in strings must be UTF-8 without control characters. A UTF-8 byte order mark is skipped only
// when `allow_bom`, and bytes of strings that are not UTF-8 are let through only when `any_bytes` (files of package
// managers that decode with replacement characters).
#ifndef ST_BASE_JSON_H
#define ST_BASE_JSON_H

#include "base/out.h"

#define ST_JSON_DEPTH_MAX 128

enum st_json_type {
    ST_JSON_END, // the document is complete
    ST_JSON_OBJECT,
    ST_JSON_OBJECT_END,
    ST_JSON_ARRAY,
    ST_JSON_ARRAY_END,
    ST_JSON_KEY, // text: the key, as for strings
    ST_JSON_STRING,
    ST_JSON_NUMBER,
    ST_JSON_TRUE,
    ST_JSON_FALSE,
    ST_JSON_NULL,
};

struct st_json_tok {
    enum st_json_type type;
    struct st_sv raw; // string or key: between the quotes, still escaped; number: its digits
    bool escaped;     // raw holds a backslash: st_json_text must be used
    size_t at;        // byte offset of the token
};

struct st_json {
    struct st_sv in; // borrowed for the reader's life
    size_t pos;
    unsigned depth;
    uint8_t state;
    bool allow_bom, any_bytes;
    uint8_t nest[ST_JSON_DEPTH_MAX / 8]; // one bit a level: 1 = object
};

void st_json_init(struct st_json *j, struct st_sv in);
// Next token. Errors are ST_E_FORMAT with the byte offset, ST_E_LIMIT for depth.
int st_json_next(struct st_json *j, struct st_json_tok *ret, struct st_err *err);
// The value that starts with `tok` (just read) is read to its end. For a KEY: the value after it.
int st_json_skip(struct st_json *j, const struct st_json_tok *tok, struct st_err *err);
// A string's or key's text, unescaped into the arena when need be, else borrowed from the input.
int st_json_text(const struct st_json_tok *tok, struct st_arena *a, struct st_sv *ret, struct st_err *err);
// Does a key (or string) equal a literal? Without unescaping when it has no escapes.
bool st_json_is(const struct st_json_tok *tok, struct st_sv literal);

// Walk one object: call after its ST_JSON_OBJECT token was read.
//   while ((rc = st_json_member(&j, &key, &val, err)) > 0) { ...use val, or st_json_skip(&j, &val, err)... }
// 1: key and the first token of its value; 0: the object ended; -1: error. A container value must be
// consumed (st_json_skip or a nested loop) before the next call.
int st_json_member(struct st_json *j, struct st_json_tok *ret_key, struct st_json_tok *ret_value, struct st_err *err);
// The same for arrays.
int st_json_element(struct st_json *j, struct st_json_tok *ret_value, struct st_err *err);

// ---- writer -------------------------------------------------------------------------------------
// Commas, colons and indentation are the writer's; calls in a wrong order are a bug (asserted).
// Strings: escapes as RFC 8259 asks; invalid UTF-8 bytes are written as U+FFFD.

struct st_json_out {
    struct st_out *out; // borrowed
    unsigned depth;
    unsigned indent; // blanks a level; 0: one line
    bool first, after_key;
};

void st_json_out_init(struct st_json_out *w, struct st_out *out, unsigned indent);
void st_json_open(struct st_json_out *w, char bracket); // '{' or '['
void st_json_close(struct st_json_out *w, char bracket);
void st_json_key(struct st_json_out *w, const char *literal);
void st_json_key_sv(struct st_json_out *w, struct st_sv key);
void st_json_str(struct st_json_out *w, struct st_sv value);
void st_json_u64(struct st_json_out *w, uint64_t value);
void st_json_i64(struct st_json_out *w, int64_t value);
// At most 9 decimals, no trailing zeros, without floating point of printf (glibc may allocate for it). What is no
// number is null.
void st_json_fixed(struct st_json_out *w, double value, unsigned decimals);
// Room for one value that the caller writes to the same st_out itself.
void st_json_raw(struct st_json_out *w);
void st_json_bool(struct st_json_out *w, bool value);
void st_json_null(struct st_json_out *w);
// key + string, the commonest pair
void st_json_kv(struct st_json_out *w, const char *key, struct st_sv value);

#endif
