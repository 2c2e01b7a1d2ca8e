// apk's database of installed packages (apk-tools, "installed" text format of v2, also written by v3): records of
// "X:value" lines with an empty line between them; F: names a directory and the R: after it files in it.
#include "base/ckd.h"
#include "catalog/catalog_int.h"

#define RECORD_MAX (32u << 20) // longer: an unknown; the longest known (a font collection) has 3 MB
#define COMPLAINTS_MAX 50      // unknowns told of one file

struct apk_file {
    struct st_parse *p;
    struct st_owner owner;
    struct st_list depends, provides, licenses; // reused from record to record
    unsigned complaints;
};

static int complain(struct apk_file *f, enum st_unknown_reason reason, struct st_sv inner, const char *what, size_t off,
                    struct st_err *err)
{
    if (f->complaints++ >= COMPLAINTS_MAX)
        return 0;
    return st_emit_unknown(f->p, reason, inner, err, "%s at byte %zu", what, off);
}

// "X:value"; false for other lines.
static bool field_of(struct st_sv line, char *ret_key, struct st_sv *ret_value)
{
    if (line.len < 2 || line.ptr[1] != ':')
        return false;
    *ret_key = line.ptr[0];
    *ret_value = st_sv_from(line, 2);
    return true;
}

// "so:libc.so.6>=1.2" -> "so:libc.so.6": a name ends before the operator.
static struct st_sv capability(struct st_sv word)
{
    size_t n = 0;
    while (n < word.len && word.ptr[n] != '<' && word.ptr[n] != '>' && word.ptr[n] != '=' && word.ptr[n] != '~')
        n++;
    return st_sv_sub(word, 0, n);
}

static int add_words(struct st_list *list, struct st_sv value, struct st_err *err)
{
    struct st_sv word;
    while (st_sv_word(&value, &word)) {
        struct st_sv name = capability(word);
        // "!name" is a conflict
        if (name.len && name.ptr[0] != '!' && st_list_add(list, name, err))
            return -1;
    }
    return 0;
}

// An SPDX expression stays whole; what was written before Alpine used them is a list of names.
static bool is_expression(struct st_sv value)
{
    struct st_sv word;
    if (st_sv_find(value, '(') != ST_SV_NPOS)
        return true;
    while (st_sv_word(&value, &word))
        if (st_sv_ieq(word, ST_SV("AND")) || st_sv_ieq(word, ST_SV("OR")) || st_sv_ieq(word, ST_SV("WITH")))
            return true;
    return false;
}

static int add_licenses(struct st_list *list, struct st_sv value, struct st_err *err)
{
    struct st_sv word;
    if (is_expression(value))
        return st_list_add(list, value, err);
    while (st_sv_word(&value, &word))
        if (st_list_add(list, word, err))
            return -1;
    return 0;
}

struct record {
    struct st_package pkg;
    struct st_kv_list meta;
};

static int take_field(struct apk_file *f, struct record *r, char key, struct st_sv value, struct st_err *err)
{
    static const struct {
        char key;
        const char *meta;
    } metas[] = {{'m', "maintainer"},    {'U', "url"},          {'T', "description"},       {'S', "size"},
                 {'I', "installedSize"}, {'C', "pullChecksum"}, {'c', "gitCommitOfApkPort"}};
    switch (key) {
    case 'P':
        r->pkg.name = value;
        return 0;
    case 'V':
        r->pkg.version = value;
        return 0;
    case 'A':
        r->pkg.arch = value;
        return 0;
    case 'o':
        r->pkg.source_name = value;
        return 0;
    case 'L':
        return add_licenses(&f->licenses, value, err);
    case 'D':
        return add_words(&f->depends, value, err);
    case 'p':
        return add_words(&f->provides, value, err);
    default:
        break;
    }
    for (size_t i = 0; i < ST_LEN(metas); i++)
        if (metas[i].key == key)
            st_kv_add(&r->meta, metas[i].meta, value);
    return 0;
}

// Files after the package's own fields, so that the owner is known: a second walk of the record.
static int emit_files(struct apk_file *f, struct st_sv text, struct st_err *err)
{
    struct st_sv line, value, dir = ST_SV_NULL;
    char path[ST_OWNED_PATH_MAX + 1];
    char key;
    while (st_sv_line(&text, &line)) {
        if (!field_of(line, &key, &value))
            continue;
        if (key == 'F')
            dir = value;
        if (key != 'R' || value.len == 0 || dir.len + 1 + value.len > sizeof path)
            continue;
        size_t n = 0;
        if (dir.len) {
            memcpy(path, dir.ptr, dir.len);
            n = dir.len;
            path[n++] = '/';
        }
        memcpy(path + n, value.ptr, value.len);
        if (st_owner_path(&f->owner, (struct st_sv){path, n + value.len}, err))
            return -1;
    }
    return 0;
}

static int emit_record(struct apk_file *f, struct record *r, struct st_sv text, struct st_err *err)
{
    const struct st_emit *e = f->p->emit;
    struct st_package *pkg = &r->pkg;
    pkg->type = ST_PKG_APK;
    pkg->licenses = st_list_views(&f->licenses);
    pkg->depends = st_list_views(&f->depends);
    pkg->provides = st_list_views(&f->provides);
    pkg->meta = (struct st_kvs){r->meta.at, r->meta.n};
    if (e->package(e->ctx, pkg, err))
        return -1;
    if (f->licenses.full || f->depends.full || f->provides.full)
        if (st_emit_unknown(f->p, ST_UNKNOWN_LIMIT, pkg->name, err, "more than %d relations", ST_LIST_MAX))
            return -1;
    f->owner.name = pkg->name;
    return emit_files(f, text, err);
}

static int take_record(struct apk_file *f, struct st_sv text, size_t off, struct st_err *err)
{
    if (text.len > RECORD_MAX)
        return complain(f, ST_UNKNOWN_LIMIT, ST_SV_NULL, "too long a record", off, err);
    struct record r = {.meta.n = 0};
    f->depends.n = f->provides.n = f->licenses.n = 0;
    f->depends.full = f->provides.full = f->licenses.full = false;
    struct st_sv rest = text, line, value;
    char key;
    while (st_sv_line(&rest, &line)) {
        if (field_of(line, &key, &value)) {
            if (take_field(f, &r, key, value, err))
                return -1;
        } else if (complain(f, ST_UNKNOWN_FORMAT, r.pkg.name, "line without a field name",
                            off + (size_t)(line.ptr - text.ptr), err)) {
            return -1;
        }
    }
    if (r.pkg.name.len == 0)
        return complain(f, ST_UNKNOWN_FORMAT, ST_SV_NULL, "record without a name (P:)", off, err);
    if (r.pkg.version.len == 0)
        return complain(f, ST_UNKNOWN_FORMAT, r.pkg.name, "record without a version (V:)", off, err);
    return emit_record(f, &r, text, err);
}

static bool has_package(struct st_sv text)
{
    struct st_sv line;
    while (st_sv_line(&text, &line))
        if (line.len > 2 && st_sv_starts(line, ST_SV("P:")))
            return true;
    return false;
}

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    struct st_sv text = st_view_all(v), rest = text, line;
    struct apk_file f = {.p = p, .depends.arena = p->arena, .provides.arena = p->arena, .licenses.arena = p->arena};
    // ROOT/[usr/]lib/apk/db/installed
    if (st_owner_init(&f.owner, p, ST_PKG_APK, st_root_of(st_sv_dirname(p->path), 3), err))
        return -1;
    if (st_sv_trim(text).len && !has_package(text))
        return st_err_set(err, ST_E_FORMAT, "not a package database: it has no P: field");
    size_t start = 0;
    bool open = false;
    while (st_sv_line(&rest, &line)) {
        size_t off = (size_t)(line.ptr - text.ptr);
        if (line.len && !open) {
            open = true;
            start = off;
        } else if (line.len == 0 && open) {
            open = false;
            if (take_record(&f, st_sv_sub(text, start, off - start), start, err))
                return -1;
        }
    }
    return open ? take_record(&f, st_sv_from(text, start), start, err) : 0;
}

const struct st_cataloger st_cat_apk = {
    .name = "apk-db-cataloger",
    .version = 1,
    .globs = (const char *const[]){"**/lib/apk/db/installed", NULL},
    .need = ST_NEED_CONTENT,
    .max_size = 128u << 20,
    .parse = parse,
};
