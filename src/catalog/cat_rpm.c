// rpm: the package database in any of its three containers (told by their magic, not by their name), and the text list
// that Mariner and Azure Linux leave in images without rpm.
//
// The database is walked twice: first for the file paths that packages require ("/usr/bin/sh"), then for the
// records, so that a package that owns such a file can say that it provides it.
#include "base/ckd.h"
#include "base/map.h"
#include "catalog/catalog.h"
#include "catalog/rpm_db.h"
#include "catalog/rpm_header.h"

#include <stdio.h>

#define DAMAGED_MAX 64           // unreadable records of one database, then it is given up
#define DEPS_MAX 65536           // capabilities of one package, each way
#define PATHS_MAX 65536          // distinct files that packages require
#define DB_MAX (1ull << 30)      // bytes of a database
#define OWNED_MAX (512ull << 20) // bytes of paths made from one database, twice each
#define RICH_MAX 4096            // bytes of a boolean dependency
#define MANIFEST_COLUMNS 10
#define WAL_HEAD 32
#define WAL_FRAME 24

struct reader {
    struct st_parse *p;
    struct st_arena arena; // of one record
    struct st_map paths;   // hashes of normalised paths that some package requires
    uint64_t path_bytes;   // see OWNED_MAX
    unsigned damaged;
};

// ---- damaged records --------------------------------------------------------------------------------

static enum st_unknown_reason reason_of(const struct st_err *why)
{
    return why->code == ST_E_LIMIT ? ST_UNKNOWN_LIMIT : ST_UNKNOWN_FORMAT;
}

static int on_damaged(void *ctx, uint64_t number, const struct st_err *why, struct st_err *err)
{
    struct reader *r = ctx;
    if (++r->damaged > DAMAGED_MAX)
        return st_err_set(err, ST_E_FORMAT, "more than %d records cannot be read", DAMAGED_MAX);
    char text[ST_ERR_TEXT_MAX + 80];
    int n = number ? snprintf(text, sizeof text, "record %llu: %s", (unsigned long long)number, why->text)
                   : snprintf(text, sizeof text, "%s", why->text);
    if (why->has_offset && n > 0 && (size_t)n < sizeof text)
        n += snprintf(text + n, sizeof text - (size_t)n, " at byte %llu", (unsigned long long)why->offset);
    const struct st_emit *e = r->p->emit;
    return e->unknown(e->ctx, reason_of(why), ST_SV_NULL, st_sv_of(text), err);
}

static int skip_damaged(void *ctx, uint64_t number, const struct st_err *why, struct st_err *err)
{
    struct reader *r = ctx;
    if (++r->damaged > DAMAGED_MAX)
        return st_err_set(err, ST_E_FORMAT, "more than %d records cannot be read", DAMAGED_MAX);
    return 0;
}

// ---- first walk: required paths ---------------------------------------------------------------------

static int on_header_paths(void *ctx, uint64_t number, struct st_sv blob, struct st_err *err)
{
    struct reader *r = ctx;
    struct st_rpm_header h;
    struct st_sv name;
    if (st_rpm_header_open(blob, &h, NULL))
        return 0; // the second walk names it
    struct st_rpm_strings names = st_rpm_strings(&h, ST_RPM_REQUIRENAME);
    while (st_rpm_strings_next(&names, &name)) {
        bool fresh;
        if (name.len < 2 || name.ptr[0] != '/' || r->paths.count >= PATHS_MAX)
            continue;
        if (!st_map_put(&r->paths, st_hash(st_sv_from(name, 1)), &fresh, err))
            return -1;
    }
    return 0;
}

// ---- capabilities -----------------------------------------------------------------------------------

struct caps {
    struct st_sv *at;
    size_t n, cap;
    bool full; // something was left out
};

static int add_cap(struct reader *r, struct caps *c, struct st_sv name, struct st_err *err)
{
    if (name.len == 0 || (c->n && st_sv_eq(c->at[c->n - 1], name))) // one name with two versions stands side by side
        return 0;
    if (c->n == DEPS_MAX) {
        c->full = true;
        return 0;
    }
    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 64;
        struct st_sv *at = st_arena_array(&r->arena, cap, sizeof *at, err);
        if (!at)
            return -1;
        if (c->n)
            memcpy(at, c->at, c->n * sizeof *at);
        c->at = at;
        c->cap = cap;
    }
    c->at[c->n++] = name;
    return 0;
}

// One operand of a boolean dependency: name, without " >= 1.2". Names may hold parentheses, but no blanks.
static struct st_sv operand(struct st_sv s)
{
    struct st_sv word;
    return st_sv_word(&s, &word) ? word : ST_SV_NULL;
}

// Cuts the next operand off at a word of letters outside of parentheses ("a >= 1 or b"): 1 with the operator that
// follows (empty at the end), 0 when there is none.
static bool next_operand(struct st_sv *rest, struct st_sv *ret, struct st_sv *ret_operator)
{
    static const struct st_sv operators[] = {ST_SV_INIT(" or "),     ST_SV_INIT(" and "),    ST_SV_INIT(" with "),
                                             ST_SV_INIT(" if "),     ST_SV_INIT(" unless "), ST_SV_INIT(" else "),
                                             ST_SV_INIT(" without ")};
    int depth = 0;
    if (rest->len == 0)
        return false;
    for (size_t i = 0; i < rest->len; i++) {
        depth += rest->ptr[i] == '(' ? 1 : rest->ptr[i] == ')' ? -1 : 0;
        if (depth || rest->ptr[i] != ' ')
            continue;
        for (size_t k = 0; k < ST_LEN(operators); k++)
            if (st_sv_starts(st_sv_from(*rest, i), operators[k])) {
                *ret = st_sv_sub(*rest, 0, i);
                *ret_operator = operators[k];
                *rest = st_sv_from(*rest, i + operators[k].len);
                return true;
            }
    }
    *ret = *rest;
    *ret_operator = ST_SV_NULL;
    *rest = ST_SV_NULL;
    return true;
}

// A boolean dependency "(a or b)", "(a and b)", "(a with b)" of one level (rpm's docs/manual/boolean_dependencies.md).
// What depends on a condition, or nests, says nothing about what is needed here and is left out.
static int add_rich(struct reader *r, struct caps *c, struct st_sv text, struct st_err *err)
{
    struct st_sv rest = st_sv_sub(text, 1, text.len - 2), part, op, first_op = ST_SV_NULL;
    size_t n = 0;
    for (struct st_sv scan = rest; next_operand(&scan, &part, &op); n++) {
        if (n == 0)
            first_op = op;
        if (part.len == 0 || part.ptr[0] == '(' || (op.len && !st_sv_eq(op, first_op)))
            return 0;
    }
    bool any = st_sv_eq(first_op, ST_SV(" or ")), all = st_sv_eq(first_op, ST_SV(" and ")),
         with = st_sv_eq(first_op, ST_SV(" with "));
    if (first_op.len && !any && !all && !with)
        return 0;
    struct st_sv joined = ST_SV_NULL;
    while (next_operand(&rest, &part, &op)) {
        part = operand(part);
        if (!any && add_cap(r, c, part, err))
            return -1;
        if (with)
            return 0; // one package that is both: the first names it
        if (any && joined.len == 0)
            joined = part;
        else if (any &&
                 st_arena_fmt(&r->arena, &joined, err, ST_SV_FMT "|" ST_SV_FMT, ST_SV_ARG(joined), ST_SV_ARG(part)))
            return -1;
    }
    return add_cap(r, c, joined, err);
}

static int add_requires(struct reader *r, const struct st_rpm_header *h, struct caps *c, struct st_err *err)
{
    struct st_rpm_strings names = st_rpm_strings(h, ST_RPM_REQUIRENAME);
    struct st_sv name;
    while (st_rpm_strings_next(&names, &name)) {
        if (st_sv_starts(name, ST_SV("rpmlib("))) // a feature of rpm itself, which no package provides
            continue;
        bool rich = st_sv_starts(name, ST_SV("(")) && st_sv_ends(name, ST_SV(")"));
        if (rich && name.len > RICH_MAX)
            continue;
        if (rich ? add_rich(r, c, name, err) : add_cap(r, c, name, err))
            return -1;
    }
    return 0;
}

static int add_provides(struct reader *r, const struct st_rpm_header *h, struct caps *c, struct st_err *err)
{
    struct st_rpm_strings names = st_rpm_strings(h, ST_RPM_PROVIDENAME);
    struct st_sv name, path;
    while (st_rpm_strings_next(&names, &name))
        if (add_cap(r, c, name, err))
            return -1;
    if (r->paths.count == 0)
        return 0;
    struct st_rpm_files files;
    if (st_rpm_files_init(&files, h, &r->path_bytes, &r->arena, err))
        return -1;
    int rc;
    while ((rc = st_rpm_files_next(&files, &path, err)) > 0) {
        if (!st_map_get(&r->paths, st_hash(path)))
            continue;
        if (st_arena_fmt(&r->arena, &name, err, "/" ST_SV_FMT, ST_SV_ARG(path)) || add_cap(r, c, name, err))
            return -1;
    }
    return rc;
}

// ---- second walk: packages --------------------------------------------------------------------------

static int emit_owned(struct reader *r, const struct st_rpm_header *h, struct st_sv owner, struct st_err *err)
{
    const struct st_emit *e = r->p->emit;
    struct st_rpm_files files;
    struct st_sv path;
    if (st_rpm_files_init(&files, h, &r->path_bytes, &r->arena, err))
        return -1;
    int rc;
    while ((rc = st_rpm_files_next(&files, &path, err)) > 0)
        if (e->owns(e->ctx, ST_PKG_RPM, owner, path, err))
            return -1;
    return rc;
}

static int number_text(struct reader *r, const struct st_rpm_header *h, enum st_rpm_tag tag, struct st_sv *ret,
                       struct st_err *err)
{
    uint64_t n;
    if (!st_rpm_number(h, tag, 0, &n))
        return 0;
    return st_arena_fmt(&r->arena, ret, err, "%llu", (unsigned long long)n);
}

static int emit_package(struct reader *r, uint64_t number, const struct st_rpm_header *h, struct st_err *err)
{
    const struct st_emit *e = r->p->emit;
    struct st_sv version = st_rpm_string(h, ST_RPM_VERSION), release = st_rpm_string(h, ST_RPM_RELEASE);
    struct st_sv license = st_rpm_string(h, ST_RPM_LICENSE), label = st_rpm_string(h, ST_RPM_MODULARITYLABEL);
    struct st_sv size = ST_SV_NULL;
    struct caps needs = {0}, gives = {0};
    struct st_kv_list quals = {.n = 0}, meta = {.n = 0};
    struct st_package pkg = {
        .type = ST_PKG_RPM,
        .name = st_rpm_string(h, ST_RPM_NAME),
        .version = version,
        .arch = st_rpm_string(h, ST_RPM_ARCH),
        .source_name = st_rpm_string(h, ST_RPM_SOURCERPM),
        .licenses = {&license, license.len > 0},
    };
    if (release.len &&
        st_arena_fmt(&r->arena, &pkg.version, err, ST_SV_FMT "-" ST_SV_FMT, ST_SV_ARG(version), ST_SV_ARG(release)))
        return -1;
    if (number_text(r, h, ST_RPM_EPOCH, &pkg.epoch, err) || number_text(r, h, ST_RPM_SIZE, &size, err) ||
        (size.len == 0 && number_text(r, h, ST_RPM_LONGSIZE, &size, err)))
        return -1;
    if (add_requires(r, h, &needs, err) || add_provides(r, h, &gives, err))
        return -1;
    st_kv_add(&quals, "rpmmod", label);
    // Also when empty: a reader then knows that the package is of no module, not that nothing is known.
    meta.at[meta.n++] = (struct st_kv){ST_SV("modularityLabel"), label};
    st_kv_add(&meta, "size", size);
    st_kv_add(&meta, "sourceRpm", pkg.source_name);
    st_kv_add(&meta, "vendor", st_rpm_string(h, ST_RPM_VENDOR));
    pkg.quals = (struct st_kvs){quals.at, quals.n};
    pkg.meta = (struct st_kvs){meta.at, meta.n};
    pkg.depends = (struct st_svs){needs.at, needs.n};
    pkg.provides = (struct st_svs){gives.at, gives.n};
    if (e->package(e->ctx, &pkg, err) || emit_owned(r, h, pkg.name, err))
        return -1;
    if (!needs.full && !gives.full)
        return 0;
    struct st_err why = {0};
    st_err_set(&why, ST_E_LIMIT, "more than %d capabilities", DEPS_MAX);
    return on_damaged(r, number, &why, err);
}

// A key that rpm imported is stored as a package.
static bool is_pubkey(struct st_sv name)
{
    return st_sv_eq(name, ST_SV("gpg-pubkey"));
}

static int on_header(void *ctx, uint64_t number, struct st_sv blob, struct st_err *err)
{
    struct reader *r = ctx;
    struct st_err why = {0};
    struct st_rpm_header h;
    if (st_rpm_header_open(blob, &h, &why))
        return on_damaged(r, number, &why, err);
    struct st_sv name = st_rpm_string(&h, ST_RPM_NAME);
    if (name.len == 0 || st_rpm_string(&h, ST_RPM_VERSION).len == 0) {
        st_err_set(&why, ST_E_FORMAT, "rpm header without name or version");
        return on_damaged(r, number, &why, err);
    }
    int rc = is_pubkey(name) ? 0 : emit_package(r, number, &h, err);
    st_arena_reset(&r->arena);
    return rc;
}

typedef int walk_fn(struct st_sv file, struct st_mem *mem, const struct st_rpm_sink *sink, struct st_err *err);

static int read_db(struct st_parse *p, struct st_sv file, walk_fn *walk, struct st_err *err)
{
    struct reader r = {.p = p, .path_bytes = OWNED_MAX};
    struct st_rpm_sink paths = {&r, on_header_paths, skip_damaged}, records = {&r, on_header, on_damaged};
    struct st_err why = {0};
    st_arena_init(&r.arena, p->mem);
    st_map_init(&r.paths, p->mem);
    int rc = walk(file, p->mem, &paths, &why);
    if (rc && why.code != ST_E_FORMAT && why.code != ST_E_LIMIT) {
        if (err)
            *err = why;
    } else { // where the first walk broke off, the second will, after what can be read
        r.damaged = 0;
        rc = walk(file, p->mem, &records, err);
    }
    st_map_release(&r.paths);
    st_arena_release(&r.arena);
    return rc;
}

// ---- manifest ---------------------------------------------------------------------------------------

// A column of `rpm -qa --queryformat`: "(none)" where the header has no such tag.
static struct st_sv column(struct st_sv s)
{
    return st_sv_eq(s, ST_SV("(none)")) ? ST_SV_NULL : s;
}

// NAME VERSION-RELEASE INSTALLTIME BUILDTIME VENDOR EPOCH SIZE ARCH EPOCHNUM SOURCERPM, with tabs between
// (CBL-Mariner's toolkit/docs/how_it_works/5_misc.md).
static int read_manifest_line(struct reader *r, uint64_t number, struct st_sv line, struct st_err *err)
{
    const struct st_emit *e = r->p->emit;
    struct st_sv col[MANIFEST_COLUMNS], tail;
    size_t n = 0;
    for (struct st_sv rest = line; n < MANIFEST_COLUMNS; rest = tail) {
        bool more = st_sv_cut(rest, '\t', &col[n], &tail);
        col[n] = column(st_sv_trim(col[n]));
        n++;
        if (!more)
            break;
    }
    if (n < MANIFEST_COLUMNS || col[0].len == 0 || col[1].len == 0) {
        struct st_err why = {0};
        st_err_set(&why, ST_E_FORMAT, "line of %zu columns, not %d", n, MANIFEST_COLUMNS);
        return on_damaged(r, number, &why, err);
    }
    if (is_pubkey(col[0]))
        return 0;
    struct st_kv_list meta = {.n = 0};
    st_kv_add(&meta, "size", col[6]);
    st_kv_add(&meta, "sourceRpm", col[9]);
    st_kv_add(&meta, "vendor", col[4]);
    struct st_package pkg = {
        .type = ST_PKG_RPM,
        .name = col[0],
        .version = col[1],
        .epoch = col[5],
        .arch = col[7],
        .source_name = col[9],
        .meta = {meta.at, meta.n},
    };
    return e->package(e->ctx, &pkg, err);
}

static int read_manifest(struct st_parse *p, struct st_sv text, struct st_err *err)
{
    struct reader r = {.p = p};
    struct st_sv line;
    for (uint64_t number = 1; st_sv_line(&text, &line); number++)
        if (st_sv_trim(line).len && read_manifest_line(&r, number, line, err))
            return -1;
    return 0;
}

// ---- rows of the table ------------------------------------------------------------------------------

static int parse_rpm(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    struct st_sv file = st_view_all(v);
    if (st_sv_eq(st_sv_basename(p->path), ST_SV("container-manifest-2")))
        return read_manifest(p, file, err);
    switch (st_rpm_format_of(file)) {
    case ST_RPM_FORMAT_BDB:
        return read_db(p, file, st_rpm_bdb_walk, err);
    case ST_RPM_FORMAT_NDB:
        return read_db(p, file, st_rpm_ndb_walk, err);
    case ST_RPM_FORMAT_SQLITE:
        return read_db(p, file, st_rpm_sqlite_walk, err);
    case ST_RPM_FORMAT_BTREE:
        return p->emit->unknown(p->emit->ctx, ST_UNKNOWN_UNSUPPORTED, ST_SV_NULL,
                                ST_SV("Berkeley DB that is not a hash table"), err);
    case ST_RPM_FORMAT_NONE:
        break;
    }
    return st_err_set(err, ST_E_FORMAT, "not an rpm database: %zu bytes without its magic", file.len);
}

static const char *const rpm_globs[] = {
    "**/var/lib/rpm/Packages",
    "**/var/lib/rpm/Packages.db",
    "**/var/lib/rpm/rpmdb.sqlite",
    "**/usr/lib/sysimage/rpm/Packages",
    "**/usr/lib/sysimage/rpm/Packages.db",
    "**/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "**/usr/share/rpm/Packages",
    "**/usr/share/rpm/Packages.db",
    "**/usr/share/rpm/rpmdb.sqlite",
    "**/var/lib/rpmmanifest/container-manifest-2",
    NULL,
};

const struct st_cataloger st_cat_rpm = {
    .name = "rpm-db-cataloger",
    .version = 1,
    .globs = rpm_globs,
    .need = ST_NEED_CONTENT,
    .max_size = DB_MAX,
    .parse = parse_rpm,
};

// rpm empties the write-ahead log when it closes the database. One with a frame that belongs to it (its salts, section
// 4.1 of https://www.sqlite.org/fileformat2.html) may hold transactions that rpmdb.sqlite has not, and a cataloger sees
// one file at a time: say so.
static bool wal_matters(struct st_sv head)
{
    if (head.len < WAL_HEAD + WAL_FRAME)
        return false;
    uint32_t magic = st_rpm_be32(head.ptr);
    return (magic & ~1u) == 0x377f0682 && memcmp(head.ptr + 16, head.ptr + WAL_HEAD + 8, 8) == 0;
}

static int plan_wal(struct st_sv head, uint64_t size, struct st_plan *ret)
{
    ret->n = 0;
    if (wal_matters(head)) {
        ret->range[0].off = 0;
        ret->range[0].len = WAL_HEAD + WAL_FRAME;
        ret->n = 1;
    }
    return 0;
}

static int parse_wal(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    struct st_sv head;
    if (st_view_get(v, 0, WAL_HEAD + WAL_FRAME, &head) != ST_VIEW_OK || !wal_matters(head))
        return 0;
    return p->emit->unknown(
        p->emit->ctx, ST_UNKNOWN_UNSUPPORTED, ST_SV_NULL,
        ST_SV("write-ahead log that is not applied: the packages of rpmdb.sqlite may be out of date"), err);
}

static const char *const wal_globs[] = {
    "**/var/lib/rpm/rpmdb.sqlite-wal",
    "**/usr/lib/sysimage/rpm/rpmdb.sqlite-wal",
    "**/usr/share/rpm/rpmdb.sqlite-wal",
    NULL,
};

const struct st_cataloger st_cat_rpm_wal = {
    .name = "rpm-db-wal-cataloger",
    .version = 1,
    .globs = wal_globs,
    .need = ST_NEED_SPARSE,
    .max_size = UINT64_MAX,
    .plan = plan_wal,
    .parse = parse_wal,
};
