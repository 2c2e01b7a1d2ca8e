// Members of a JSON object by path, for documents of which a few members matter and the rest is somebody else's: one
// pass, nothing is built. What a table does not name is passed over, so that newer versions of a document still read.
#ifndef ST_ACT_PICK_H
#define ST_ACT_PICK_H

#include "base/json.h"

enum st_pick_kind {
    ST_PICK_TEXT, // struct st_sv; unescaped into the arena when need be, else borrowed from the document
    ST_PICK_U64,  // uint64_t; a whole number, or a string of digits (GitHub's run ids come as both)
    ST_PICK_BOOL, // bool
    ST_PICK_RAW,  // struct st_sv: the value as it stands in the document (arrays, objects, any number)
};

// '|' separates the keys of a path, since labels of Kubernetes hold dots and slashes: "metadata|labels|runner-pod".
struct st_pick {
    const char *path;
    size_t offset; // in the target
    enum st_pick_kind kind;
    bool needed; // absent or null is an error
};

#define ST_PICK_PATH_MAX 256 // bytes of the path of a member that a table may name; deeper ones are never named
#define ST_PICK_ROWS_MAX 64

// Fill `target`; members that are absent or null leave it as it is. Of a key that comes twice the last one holds.
// `what` names the document in errors: ST_E_FORMAT (not JSON, not an object, a member of the wrong type or missing).
int st_pick(struct st_sv doc, const char *what, const struct st_pick *rows, size_t n_rows, void *target,
            struct st_arena *a, struct st_err *err);

// Elements of an array that ST_PICK_RAW gave (an empty view has none): 1 and the element's text, 0 at its end, -1.
struct st_pick_array {
    struct st_json json;
    bool open;
};
void st_pick_array_init(struct st_pick_array *it, struct st_sv raw);
int st_pick_array_next(struct st_pick_array *it, struct st_sv *ret, struct st_err *err);

#endif
