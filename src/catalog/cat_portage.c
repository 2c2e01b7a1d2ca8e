// Portage's database of installed packages: var/db/pkg/CATEGORY/PN-PV/, one file a fact (PMS, "Installed package
// database"). CONTENTS makes the package; LICENSE, SLOT and SIZE beside it are notes to it.
#include "base/ckd.h"
#include "catalog/catalog_int.h"

#define LICENSES_MAX 256 // words of a LICENSE file

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits(struct st_sv s)
{
    size_t n = 0;
    while (n < s.len && is_digit(s.ptr[n]))
        n++;
    return n;
}

// PMS 3.2: 1(.2)*[a-z](_(alpha|beta|pre|rc|p)N?)*
static bool is_version(struct st_sv s)
{
    static const struct st_sv suffixes[] = {ST_SV_INIT("_alpha"), ST_SV_INIT("_beta"), ST_SV_INIT("_pre"),
                                            ST_SV_INIT("_rc"), ST_SV_INIT("_p")};
    size_t n = digits(s);
    if (n == 0)
        return false;
    s = st_sv_from(s, n);
    while (s.len > 1 && s.ptr[0] == '.' && is_digit(s.ptr[1]))
        s = st_sv_from(s, 1 + digits(st_sv_from(s, 1)));
    if (s.len && s.ptr[0] >= 'a' && s.ptr[0] <= 'z')
        s = st_sv_from(s, 1);
    while (s.len) {
        size_t i = 0;
        while (i < ST_LEN(suffixes) && !st_sv_starts(s, suffixes[i]))
            i++;
        if (i == ST_LEN(suffixes))
            return false;
        s = st_sv_from(s, suffixes[i].len);
        s = st_sv_from(s, digits(s));
    }
    return true;
}

// "skopeo-1.5.1-r2" -> "skopeo", "1.5.1-r2". A name does not end in something that looks like a version.
static bool split_name(struct st_sv pf, struct st_sv *ret_name, struct st_sv *ret_version)
{
    struct st_sv head = pf;
    size_t dash = st_sv_rfind(head, '-');
    if (dash != ST_SV_NPOS && dash + 2 < pf.len && pf.ptr[dash + 1] == 'r' &&
        digits(st_sv_from(pf, dash + 2)) == pf.len - dash - 2) {
        head = st_sv_sub(pf, 0, dash);
        dash = st_sv_rfind(head, '-');
    }
    if (dash == ST_SV_NPOS || dash == 0 || !is_version(st_sv_from(head, dash + 1)))
        return false;
    *ret_name = st_sv_sub(pf, 0, dash);
    *ret_version = st_sv_from(pf, dash + 1);
    return true;
}

// "obj PATH MD5 MTIME", "sym PATH -> TARGET MTIME", "dir PATH"; a path may have blanks.
static bool owned_path(struct st_sv line, struct st_sv *ret)
{
    if (st_sv_starts(line, ST_SV("obj "))) {
        for (int i = 0; i < 2; i++) {
            size_t blank = st_sv_rfind(line, ' ');
            if (blank == ST_SV_NPOS || blank < 4)
                return false;
            line.len = blank;
        }
        *ret = st_sv_from(line, 4);
        return true;
    }
    size_t arrow = st_sv_starts(line, ST_SV("sym ")) ? st_sv_search(line, ST_SV(" -> ")) : ST_SV_NPOS;
    if (arrow == ST_SV_NPOS || arrow < 4)
        return false;
    *ret = st_sv_sub(line, 4, arrow - 4);
    return true;
}

static int parse_contents(struct st_parse *p, struct st_sv text, struct st_err *err)
{
    struct st_sv dir = st_sv_dirname(p->path), pn, version, line, path;
    struct st_sv pf = st_sv_basename(dir), category = st_sv_basename(st_sv_dirname(dir));
    if (pf.len && pf.ptr[0] == '-') // "-MERGING-...": a merge that was not finished
        return 0;
    if (!split_name(pf, &pn, &version))
        return st_err_set(err, ST_E_FORMAT, "the directory's name is not NAME-VERSION");
    // CATEGORY/PN is one piece of the path
    struct st_sv name = {category.ptr, category.len + 1 + pn.len};
    struct st_package pkg = {.type = ST_PKG_PORTAGE, .name = name, .version = version};
    if (p->emit->package(p->emit->ctx, &pkg, err))
        return -1;
    struct st_owner owner;
    if (st_owner_init(&owner, p, ST_PKG_PORTAGE, st_root_of(dir, 4), err)) // db/pkg/CATEGORY/PF
        return -1;
    owner.name = name;
    while (st_sv_line(&text, &line))
        if (owned_path(line, &path) && st_owner_path(&owner, path, err))
            return -1;
    return 0;
}

static int note(struct st_parse *p, const char *key, struct st_sv value, struct st_err *err)
{
    struct st_sv path;
    if (value.len == 0)
        return 0;
    struct st_sv dir = st_sv_dirname(p->path);
    if (st_arena_fmt(p->arena, &path, err, ST_SV_FMT "/CONTENTS", ST_SV_ARG(dir)))
        return -1;
    struct st_note n = {.path = path, .type = ST_PKG_PORTAGE, .key = st_sv_of(key), .value = value};
    return p->emit->note(p->emit->ctx, &n, err);
}

// PMS 8.2: "A B || ( C D ) flag? ( E )". Names outside of a choice are one licence each; a choice is "C OR D" whatever
// is nested in it; whether a flag was set is not known here, so its licences count.
static int parse_license(struct st_parse *p, struct st_sv text, struct st_err *err)
{
    char *choice = st_arena_bytes(p->arena, text.len + 4 * LICENSES_MAX, err); // with an " OR " each
    size_t n = 0, depth = 0, choice_depth = 0, words = 0;
    bool choose = false;
    if (!choice)
        return -1;
    struct st_sv rest = text, line, word;
    while (st_sv_line(&rest, &line))
        while (st_sv_word(&line, &word) && words++ < LICENSES_MAX) {
            if (st_sv_eq(word, ST_SV("||"))) {
                choose = true;
            } else if (st_sv_eq(word, ST_SV("("))) {
                depth++;
                if (choose && !choice_depth)
                    choice_depth = depth;
                choose = false;
            } else if (st_sv_eq(word, ST_SV(")"))) {
                if (depth && depth-- == choice_depth) {
                    choice_depth = 0;
                    if (note(p, "license", (struct st_sv){choice, n}, err))
                        return -1;
                    n = 0;
                }
            } else if (!st_sv_ends(word, ST_SV("?")) && choice_depth) {
                memcpy(choice + n, " OR ", n ? 4 : 0);
                n += n ? 4 : 0;
                memcpy(choice + n, word.ptr, word.len);
                n += word.len;
            } else if (!st_sv_ends(word, ST_SV("?")) && note(p, "license", word, err)) {
                return -1;
            }
        }
    return 0;
}

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    struct st_sv text = st_view_all(v), file = st_sv_basename(p->path), line;
    if (st_sv_eq(file, ST_SV("CONTENTS")))
        return parse_contents(p, text, err);
    if (st_sv_eq(file, ST_SV("LICENSE")))
        return parse_license(p, text, err);
    if (!st_sv_line(&text, &line))
        return 0;
    return note(p, st_sv_eq(file, ST_SV("SLOT")) ? "meta:slot" : "meta:installedSize", st_sv_trim(line), err);
}

const struct st_cataloger st_cat_portage = {
    .name = "portage-cataloger",
    .version = 1,
    .globs = (const char *const[]){"**/var/db/pkg/*/*/CONTENTS", "**/var/db/pkg/*/*/LICENSE", "**/var/db/pkg/*/*/SLOT",
                                   "**/var/db/pkg/*/*/SIZE", NULL},
    .need = ST_NEED_CONTENT,
    .max_size = 64u << 20,
    .parse = parse,
};
