// Helpers shared by the catalogers of package databases.
#ifndef ST_CATALOG_CATALOG_INT_H
#define ST_CATALOG_CATALOG_INT_H

#include "catalog/catalog.h"

// A growing list of views, for dependencies, capabilities and licences. Takes at most ST_LIST_MAX; more are dropped and
// `full` is set, which the cataloger reports as an unknown.
#define ST_LIST_MAX 16384
struct st_list {
    struct st_arena *arena; // borrowed
    struct st_sv *at;
    size_t n, cap;
    bool full;
};
int st_list_add(struct st_list *l, struct st_sv s, struct st_err *err);
static inline struct st_svs st_list_views(const struct st_list *l)
{
    return (struct st_svs){l->at, l->n};
}

// `path` without its last `parts` parts: "a/b/c" less 2 is "a"; "" when nothing is left.
struct st_sv st_path_up(struct st_sv path, size_t parts);
// The root that a database at `dir` (such as "x/var/lib/dpkg") describes: `dir` without its last `parts` parts, then
// without one more when that is "usr" or "var".
struct st_sv st_root_of(struct st_sv dir, size_t parts);

// Says which files a package owns: paths as a database writes them ("/usr/bin/x", "./usr/bin/x", "usr/bin/x"), below
// the root that the database describes. Paths that are not normalised, and longer than any file system takes, are left
// out.
#define ST_OWNED_PATH_MAX 4096
struct st_owner {
    const struct st_parse *parse;
    enum st_pkg_type type;
    struct st_sv name, root;
    char *joined; // root and path; NULL while root is ""
};
int st_owner_init(struct st_owner *o, const struct st_parse *p, enum st_pkg_type type, struct st_sv root,
                  struct st_err *err);
int st_owner_path(struct st_owner *o, struct st_sv path, struct st_err *err);

// One line of text about a part of the file, as an unknown.
int st_emit_unknown(const struct st_parse *p, enum st_unknown_reason reason, struct st_sv inner, struct st_err *err,
                    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
