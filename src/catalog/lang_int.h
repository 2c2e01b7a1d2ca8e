// Shared by the catalogers of language packages: objects of JSON read through a table of members, and the limits
// on what is taken from them.
#ifndef ST_CATALOG_LANG_INT_H
#define ST_CATALOG_LANG_INT_H

#include "base/json.h"
#include "catalog/catalog.h"

// Longest name or version that is believed: npm allows 214 characters, PyPI and NuGet 100, Packagist 255.
#define ST_LANG_ID_MAX 1024
// Longest licence, homepage, description ... that is kept; the rest is cut off at a character.
#define ST_LANG_TEXT_MAX 4096
// Licences or authors of one package that are kept. Real packages declare at most a handful.
#define ST_LANG_LIST_MAX 16

struct st_lang_list {
    struct st_sv at[ST_LANG_LIST_MAX];
    size_t n;
};
// Appends unless empty or full.
void st_lang_list_add(struct st_lang_list *l, struct st_sv s);
// One text: the parts joined with ", ".
int st_lang_list_join(const struct st_lang_list *l, struct st_arena *a, struct st_sv *ret, struct st_err *err);

// One member of an object that is of interest: read() gets the value's first token and the field at `off` of the
// record; it must consume the value.
struct st_lang_member {
    struct st_sv key;
    int (*read)(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *field, struct st_err *err);
    size_t off;
};
#define ST_LANG_MEMBER(key, read, type, field)                \
    {                                                         \
        ST_SV_INIT(key), (read), offsetof(struct type, field) \
    }

// Reader as package managers read their own files: a byte order mark and broken UTF-8 in strings are no obstacles.
void st_lang_json_init(struct st_json *j, struct st_sv in);
// After an ST_JSON_OBJECT token: its members, others skipped; of equal keys the last counts.
int st_lang_members(struct st_json *j, const struct st_lang_member *rows, size_t n, void *record, struct st_arena *a,
                    struct st_err *err);
// The whole of `in` is one object.
int st_lang_object(struct st_sv in, const struct st_lang_member *rows, size_t n, void *record, struct st_arena *a,
                   struct st_err *err);

// Readers. What is not of the expected type counts as absent: the field is emptied.
int st_lang_string(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *sv, struct st_err *err);
int st_lang_number(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *sv, struct st_err *err);
int st_lang_true(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *flag, struct st_err *err);
// A string, or an array of strings: st_lang_list.
int st_lang_strings(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *list,
                    struct st_err *err);
// The value's own bytes, to be read later: st_sv.
int st_lang_raw(struct st_json *j, const struct st_json_tok *val, struct st_arena *a, void *sv, struct st_err *err);

// ST_E_FORMAT when one is missing, ST_E_LIMIT when one is too long; both are trimmed.
int st_lang_id(struct st_sv *name, struct st_sv *version, struct st_err *err);
// One record of several was refused for `bad` (FORMAT or LIMIT): it becomes an unknown and 0 is returned, so that it
// does not hide the others. Any other code is handed on: -1.
int st_lang_bad_record(struct st_parse *p, const struct st_err *bad, struct st_err *err);
// Cut to ST_LANG_TEXT_MAX, between UTF-8 characters; trimmed.
struct st_sv st_lang_text(struct st_sv s);
// "vendor/name": ns is what stands before the first '/', empty when there is none.
void st_lang_scope(struct st_sv full, struct st_sv *ret_ns, struct st_sv *ret_name);

#endif
