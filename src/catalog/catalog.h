// Catalogers: one ecosystem a file, one row a cataloger in catalogers.c. To add an ecosystem write
// cat_<name>.c with a `const struct st_cataloger st_cat_<name>`, add its row, a golden case in
// tests/golden/catalog/<name>/ and a fuzz corpus directory. Nothing else knows an ecosystem's name.
//
// A cataloger is a pure function from one file's bytes to records. It is called in the sandbox, with
// hostile input: bounded, iterative, no I/O, no globals, every length checked.
#ifndef ST_CATALOG_CATALOG_H
#define ST_CATALOG_CATALOG_H

#include "base/mem.h"
#include "inventory/package.h"

// Where the records go. Functions copy what they keep. A failure (-1) ends the parse: return -1 at once.
struct st_emit {
    void *ctx;
    int (*package)(void *ctx, const struct st_package *pkg, struct st_err *err);
    int (*distro)(void *ctx, const struct st_distro *distro, struct st_err *err);
    // The package `owner` (name, of this database) installed the file or link `path` (normalised, see st_parse.path).
    int (*owns)(void *ctx, enum st_pkg_type type, struct st_sv owner, struct st_sv path, struct st_err *err);
    int (*note)(void *ctx, const struct st_note *note, struct st_err *err);
    // A part of the file that cannot be read (a member of an archive, one record of a database). `path` is filled in.
    int (*unknown)(void *ctx, enum st_unknown_reason reason, struct st_sv inner, struct st_sv text, struct st_err *err);
};

// The bytes of one file: all of it in one span, or (ST_NEED_SPARSE) the ranges that plan() asked for.
struct st_span {
    uint64_t off;
    struct st_sv data;
};
struct st_view {
    uint64_t size;               // of the file
    const struct st_span *spans; // ascending, not overlapping
    size_t n;
};
enum st_view_result { ST_VIEW_OK, ST_VIEW_OUTSIDE, ST_VIEW_MISSING };
// [off, off + len): OK with the view, OUTSIDE the file, or inside but not kept (return ST_PARSE_AGAIN).
enum st_view_result st_view_get(const struct st_view *v, uint64_t off, uint64_t len, struct st_sv *ret);
// The whole file as one view; only when need is ST_NEED_CONTENT.
struct st_sv st_view_all(const struct st_view *v);

struct st_parse {
    // Normalised path of the file: no leading or trailing '/', no ".", "..", no empty parts; raw bytes otherwise.
    struct st_sv path;
    uint32_t mode; // permission bits, and S_IFDIR for a directory (ST_NEED_NAME)
    uint64_t size;
    struct st_arena *arena; // scratch, reset after every file
    struct st_mem *mem;     // for libraries that need heap; give everything back
    const struct st_emit *emit;
};

#define ST_PARSE_AGAIN 1

enum st_need {
    ST_NEED_NAME,    // the path alone (nix store directories); view is empty, also called for directories
    ST_NEED_CONTENT, // the whole file, contiguous (memory while the budget lasts, else the spill file)
    ST_NEED_SPARSE,  // the ranges that plan() names
};

#define ST_PLAN_MAX 8             // ranges a plan may name
#define ST_PLAN_HEAD 4096         // bytes of the file that plan() sees (fewer when the file is shorter)
#define ST_PLAN_BYTES (64u << 20) // sum of a plan's ranges is capped here; much of them lies in the spill file

struct st_plan {
    struct {
        uint64_t off, len;
    } range[ST_PLAN_MAX]; // any order, may overlap; clipped to the file
    size_t n;
};

struct st_cataloger {
    const char *name; // "dpkg-db-cataloger": foundBy in syft-json; the names that syft uses where it has the cataloger
    // Bumped when the records for the same bytes change; part of the cache key.
    unsigned version;
    // NULL-terminated globs over the normalised path. '*' matches within one part, '**' any number of whole parts
    // (also none), everything else is literal. A leading "**/" is usual. NULL: see `magic`.
    const char *const *globs;
    // Instead of globs: called for every regular file whose first bytes this accepts (head: up to 16 bytes).
    bool (*magic)(struct st_sv head, uint64_t size);
    enum st_need need;
    uint64_t max_size; // a larger file is an unknown (limit)
    // ST_NEED_SPARSE: which ranges are worth keeping. 0 with ret->n == 0: the file is of no interest.
    int (*plan)(struct st_sv head, uint64_t size, struct st_plan *ret);
    // 0, or -1 (ST_E_FORMAT and ST_E_LIMIT make the file an unknown and keep what was emitted before; any
    // other code fails the layer), or ST_PARSE_AGAIN before anything was emitted: the file is read a second time and
    // given whole.
    int (*parse)(struct st_parse *p, const struct st_view *v, struct st_err *err);
};

// All of them, NULL-terminated; the order is the order of calls for a file that several match.
extern const struct st_cataloger *const st_catalogers[];
size_t st_catalogers_count(void);
// Changes whenever any row's name, version or the set changes: part of the fragment's version.
uint64_t st_catalogers_version(void);

// ---- path classifier ------------------------------------------------------------------------------

struct st_classifier; // compiled globs of a cataloger table
struct st_classifier *st_classifier_new(struct st_mem *mem, const struct st_cataloger *const *table,
                                        struct st_err *err);
void st_classifier_free(struct st_classifier *c); // NULL allowed
// Indices (into the table) of catalogers whose globs match, ascending; at most max, the count is returned. A path
// that no cataloger wants costs two hash look-ups.
size_t st_classify(const struct st_classifier *c, struct st_sv path, uint8_t *ret, size_t max);
// One glob against one path (the definition of a match; tests and the classifier's slow path).
bool st_glob_match(const char *glob, struct st_sv path);

// ---- helpers shared by catalogers -------------------------------------------------------------------

// Collects kv pairs and views on the stack, for the arrays of struct st_package.
#define ST_KV_MAX 24
struct st_kv_list {
    struct st_kv at[ST_KV_MAX];
    size_t n;
};
// Appends unless value is empty or the list is full.
static inline void st_kv_add(struct st_kv_list *l, const char *key, struct st_sv value)
{
    if (value.len && l->n < ST_KV_MAX)
        l->at[l->n++] = (struct st_kv){st_sv_of(key), value};
}

#endif
