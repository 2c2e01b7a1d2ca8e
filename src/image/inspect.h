// Output of `stella image inspect` and `stella image layers`. The JSON form has a schema:
// docs/schema/image-inspect.schema.json.
#ifndef ST_IMAGE_INSPECT_H
#define ST_IMAGE_INSPECT_H

#include "base/out.h"
#include "image/image.h"

// What reading a layer told; `known` false when it was not read (foreign, or nobody looked).
struct st_layer_counts {
    bool known;
    uint64_t bytes; // uncompressed
    uint64_t files; // regular files, hard links included
};

enum st_layer_sort { ST_SORT_INDEX, ST_SORT_SIZE, ST_SORT_FILES };
// "index", "size", "file-count". ST_E_USAGE.
int st_layer_sort_parse(struct st_sv word, enum st_layer_sort *ret, struct st_err *err);

struct st_inspect {
    const struct st_image *image;
    const struct st_layer_counts *counts; // image->subject.n_layers, or NULL: no layer was read
    enum st_layer_sort sort;              // of `layers`; largest first, ties by index
};

int st_inspect_json(const struct st_inspect *in, struct st_arena *a, struct st_out *out, struct st_err *err);
int st_inspect_table(const struct st_inspect *in, struct st_arena *a, struct st_out *out, struct st_err *err);
int st_layers_json(const struct st_inspect *in, struct st_arena *a, struct st_out *out, struct st_err *err);
int st_layers_table(const struct st_inspect *in, struct st_arena *a, struct st_out *out, struct st_err *err);

#endif
