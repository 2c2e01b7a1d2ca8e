// What distribution the image is: os-release(5), and the release files from before it. One table row a file.
// A release file is a poor witness (from_release_file), so the merge prefers os-release; where several release files
// speak, the first by path is the more particular one (oracle-release before redhat-release).
#include "base/ckd.h"
#include "catalog/catalog_int.h"

#include <stddef.h>

// ---- shell assignments ----------------------------------------------------------------------------------

struct reader {
    struct st_sv rest;
    char *buf; // where values go, as large as the file: a value is never longer than its spelling
    size_t used;
};

static int reader_init(struct reader *r, struct st_parse *p, struct st_sv text, struct st_err *err)
{
    *r = (struct reader){.rest = text, .buf = st_arena_bytes(p->arena, text.len + 1, err)};
    return r->buf ? 0 : -1;
}

static bool at_end(const struct reader *r)
{
    return r->rest.len == 0;
}

static char take(struct reader *r)
{
    char c = r->rest.ptr[0];
    r->rest = st_sv_from(r->rest, 1);
    return c;
}

static void skip_line(struct reader *r)
{
    struct st_sv line;
    st_sv_line(&r->rest, &line);
}

static bool in_key(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

// A shell word: quoted pieces, escapes; no expansion (os-release(5) forbids what would need it). Ends at a blank or the
// end of the line; a quote may hold line ends.
static struct st_sv read_word(struct reader *r)
{
    char *start = r->buf + r->used;
    size_t n = 0;
    char quote = 0;
    while (!at_end(r)) {
        char c = r->rest.ptr[0];
        if (!quote && (c == '\n' || c == ' ' || c == '\t' || c == '\r'))
            break;
        take(r);
        if (quote ? c == quote : c == '"' || c == '\'') {
            quote = quote ? 0 : c;
        } else if (c == '\\' && quote != '\'' && !at_end(r)) {
            char next = take(r);
            // between double quotes a backslash only escapes what would be special there
            if (quote && next != '"' && next != '\\' && next != '$' && next != '`' && next != '\n')
                start[n++] = '\\';
            if (next != '\n') // a continued line
                start[n++] = next;
        } else {
            start[n++] = c;
        }
    }
    r->used += n;
    return st_sv_trim((struct st_sv){start, n});
}

// The next KEY=value; false at the end of the file.
static bool next_assignment(struct reader *r, struct st_kv *ret)
{
    while (!at_end(r)) {
        size_t n = 0;
        while (n < r->rest.len && (r->rest.ptr[n] == ' ' || r->rest.ptr[n] == '\t'))
            n++;
        r->rest = st_sv_from(r->rest, n);
        n = 0;
        while (n < r->rest.len && in_key(r->rest.ptr[n]))
            n++;
        if (n == 0 || n == r->rest.len || r->rest.ptr[n] != '=') { // comments and anything else
            skip_line(r);
            continue;
        }
        ret->key = st_sv_sub(r->rest, 0, n);
        r->rest = st_sv_from(r->rest, n + 1);
        ret->value = read_word(r);
        skip_line(r);
        return true;
    }
    return false;
}

// ---- files of assignments -------------------------------------------------------------------------------

struct key_row {
    struct st_sv key;
    size_t field; // of struct st_distro
};
#define FIELD(name) offsetof(struct st_distro, name)

static const struct key_row os_release_keys[] = {
    {ST_SV_INIT("ID"), FIELD(id)},
    {ST_SV_INIT("VERSION_ID"), FIELD(version_id)},
    {ST_SV_INIT("NAME"), FIELD(name)},
    {ST_SV_INIT("PRETTY_NAME"), FIELD(pretty_name)},
    {ST_SV_INIT("VERSION_CODENAME"), FIELD(version_codename)},
    {ST_SV_INIT("VARIANT_ID"), FIELD(variant_id)},
    {ST_SV_INIT("ID_LIKE"), FIELD(id_like)},
    {ST_SV_INIT("CPE_NAME"), FIELD(cpe_name)},
    {ST_SV_INIT("HOME_URL"), FIELD(home_url)},
    {ST_SV_NULL, 0},
};
static const struct key_row lsb_release_keys[] = {
    {ST_SV_INIT("DISTRIB_ID"), FIELD(id)},
    {ST_SV_INIT("DISTRIB_RELEASE"), FIELD(version_id)},
    {ST_SV_INIT("DISTRIB_CODENAME"), FIELD(version_codename)},
    {ST_SV_INIT("DISTRIB_DESCRIPTION"), FIELD(pretty_name)},
    {ST_SV_NULL, 0},
};

// As in a shell, the last assignment holds.
static size_t read_keys(struct reader *r, const struct key_row *rows, struct st_distro *d)
{
    struct st_kv kv;
    size_t assignments = 0;
    while (next_assignment(r, &kv)) {
        assignments++;
        for (const struct key_row *row = rows; row->key.len; row++)
            if (st_sv_eq(kv.key, row->key))
                memcpy((char *)d + row->field, &kv.value, sizeof kv.value);
    }
    return assignments;
}

static int emit(struct st_parse *p, const struct st_distro *d, struct st_err *err)
{
    if (d->id.len + d->name.len + d->pretty_name.len == 0)
        return 0;
    return p->emit->distro(p->emit->ctx, d, err);
}

static int parse_os_release(struct st_parse *p, struct st_sv text, const char *id, struct st_err *err)
{
    struct reader r;
    struct st_distro d = {.from_release_file = false};
    if (reader_init(&r, p, text, err))
        return -1;
    if (read_keys(&r, os_release_keys, &d) == 0 && st_sv_trim(text).len)
        return st_err_set(err, ST_E_FORMAT, "no KEY=value in it");
    return emit(p, &d, err);
}

static int lower(struct st_parse *p, struct st_sv *s, struct st_err *err)
{
    char *low = st_arena_bytes(p->arena, s->len + 1, err);
    if (!low)
        return -1;
    for (size_t i = 0; i < s->len; i++)
        low[i] = s->ptr[i] >= 'A' && s->ptr[i] <= 'Z' ? (char)(s->ptr[i] + 32) : s->ptr[i];
    s->ptr = low;
    return 0;
}

// Files without a DISTRIB_ID say only which LSB modules there are.
static int parse_lsb_release(struct st_parse *p, struct st_sv text, const char *id, struct st_err *err)
{
    struct reader r;
    struct st_distro d = {.from_release_file = true};
    if (reader_init(&r, p, text, err))
        return -1;
    read_keys(&r, lsb_release_keys, &d);
    if (d.id.len == 0)
        return 0;
    d.name = d.id;
    return lower(p, &d.id, err) ? -1 : emit(p, &d, err);
}

// ---- files of one sentence ------------------------------------------------------------------------------

static struct st_sv first_line(struct st_sv text)
{
    struct st_sv line;
    while (st_sv_line(&text, &line))
        if (st_sv_trim(line).len)
            return st_sv_trim(line);
    return ST_SV_NULL;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// The first word that starts with a digit, up to what cannot be of a version.
static struct st_sv version_in(struct st_sv sentence)
{
    struct st_sv word;
    while (st_sv_word(&sentence, &word)) {
        size_t n = 0;
        while (n < word.len && (is_digit(word.ptr[n]) || (n && word.ptr[n] == '.')))
            n++;
        if (n)
            return st_sv_sub(word, 0, word.ptr[n - 1] == '.' ? n - 1 : n);
    }
    return ST_SV_NULL;
}

// The file is the version.
static int parse_version(struct st_parse *p, struct st_sv text, const char *id, struct st_err *err)
{
    struct st_sv line = first_line(text);
    // "bookworm/sid" of a testing system, or of Ubuntu, says nothing that can be relied on
    if (line.len == 0 || !is_digit(line.ptr[0]))
        return 0;
    struct st_distro d = {.id = st_sv_of(id), .version_id = line, .from_release_file = true};
    return emit(p, &d, err);
}

// That the file is there is all that it says.
static int parse_presence(struct st_parse *p, struct st_sv text, const char *id, struct st_err *err)
{
    struct st_distro d = {.id = st_sv_of(id), .from_release_file = true};
    return emit(p, &d, err);
}

// How the sentence begins, longest first -> ID as os-release of later releases spells it.
static const struct {
    struct st_sv start;
    const char *id, *like;
} sentences[] = {
    {ST_SV_INIT("Red Hat"), "rhel", "fedora"},
    {ST_SV_INIT("CentOS"), "centos", "rhel fedora"},
    {ST_SV_INIT("Fedora"), "fedora", ""},
    {ST_SV_INIT("Oracle Linux"), "ol", "fedora"},
    {ST_SV_INIT("Enterprise Linux Enterprise Linux"), "ol", "fedora"}, // Oracle's first releases
    {ST_SV_INIT("Rocky"), "rocky", "rhel centos fedora"},
    {ST_SV_INIT("AlmaLinux"), "almalinux", "rhel centos fedora"},
    {ST_SV_INIT("Scientific Linux"), "scientific", "rhel fedora"},
    {ST_SV_INIT("Amazon Linux"), "amzn", "rhel fedora"},
    {ST_SV_INIT("SUSE Linux Enterprise Server"), "sles", "suse"},
    {ST_SV_INIT("SUSE Linux Enterprise Desktop"), "sled", "suse"},
    {ST_SV_INIT("openSUSE"), "opensuse", "suse"},
    {ST_SV_INIT("Gentoo"), "gentoo", ""},
    {ST_SV_INIT("VMware Photon"), "photon", ""},
    {ST_SV_INIT("Slackware"), "slackware", ""},
    {ST_SV_INIT("CBL-Mariner"), "mariner", ""},
};

// "PATCHLEVEL = 4" in SuSE-release: the service pack, which is the second part of the version.
static struct st_sv patch_level(struct st_sv text)
{
    struct st_sv line, key, value;
    while (st_sv_line(&text, &line))
        if (st_sv_cut(line, '=', &key, &value) && st_sv_eq(st_sv_trim(key), ST_SV("PATCHLEVEL")))
            return st_sv_trim(value);
    return ST_SV_NULL;
}

// "NAME release VERSION (CODENAME)", "NAME VERSION (ARCH)"
static int parse_sentence(struct st_parse *p, struct st_sv text, const char *id, struct st_err *err)
{
    struct st_sv line = first_line(text), name = line;
    struct st_distro d = {.pretty_name = line, .version_id = version_in(line), .from_release_file = true};
    for (size_t i = 0; i < ST_LEN(sentences) && d.id.len == 0; i++)
        if (line.len >= sentences[i].start.len &&
            st_sv_ieq(st_sv_sub(line, 0, sentences[i].start.len), sentences[i].start)) {
            d.id = st_sv_of(sentences[i].id);
            d.id_like = st_sv_of(sentences[i].like);
        }
    if (d.id.len == 0)
        d.id = st_sv_of(id);
    if (d.id.len == 0)
        return 0;
    size_t end = st_sv_search(line, ST_SV(" release "));
    if (end == ST_SV_NPOS && d.version_id.len)
        end = (size_t)(d.version_id.ptr - line.ptr);
    d.name = st_sv_trim(st_sv_sub(name, 0, end));
    struct st_sv level = patch_level(text);
    if (level.len && !st_sv_eq(level, ST_SV("0")) && st_sv_find(d.version_id, '.') == ST_SV_NPOS &&
        st_arena_fmt(p->arena, &d.version_id, err, ST_SV_FMT "." ST_SV_FMT, ST_SV_ARG(d.version_id), ST_SV_ARG(level)))
        return -1;
    return emit(p, &d, err);
}

// ---- the row ------------------------------------------------------------------------------------------

// clang-format off
#define FILES(X)                                            \
    X("etc/os-release", "", parse_os_release)               \
    X("usr/lib/os-release", "", parse_os_release)           \
    X("etc/SuSE-release", "", parse_sentence)               \
    X("etc/almalinux-release", "almalinux", parse_sentence) \
    X("etc/alpine-release", "alpine", parse_version)        \
    X("etc/arch-release", "arch", parse_presence)           \
    X("etc/centos-release", "centos", parse_sentence)       \
    X("etc/debian_version", "debian", parse_version)        \
    X("etc/enterprise-release", "ol", parse_sentence)       \
    X("etc/fedora-release", "fedora", parse_sentence)       \
    X("etc/gentoo-release", "gentoo", parse_sentence)       \
    X("etc/lsb-release", "", parse_lsb_release)             \
    X("etc/mariner-release", "mariner", parse_sentence)     \
    X("etc/openwrt_release", "", parse_lsb_release)         \
    X("etc/oracle-release", "ol", parse_sentence)           \
    X("etc/photon-release", "photon", parse_sentence)       \
    X("etc/redhat-release", "", parse_sentence)             \
    X("etc/rocky-release", "rocky", parse_sentence)         \
    X("etc/slackware-version", "slackware", parse_sentence) \
    X("etc/system-release", "", parse_sentence)
// clang-format on

static const struct {
    const char *path, *id;
    int (*parse)(struct st_parse *p, struct st_sv text, const char *id, struct st_err *err);
} files[] = {
#define FILE_ROW(path, id, parse) {path, id, parse},
    FILES(FILE_ROW)};

static int parse(struct st_parse *p, const struct st_view *v, struct st_err *err)
{
    for (size_t i = 0; i < ST_LEN(files); i++)
        if (st_sv_eq(p->path, st_sv_of(files[i].path)))
            return files[i].parse(p, st_view_all(v), files[i].id, err);
    return 0;
}

const struct st_cataloger st_cat_release = {
    .name = "os-release",
    .version = 1,
#define FILE_GLOB(path, id, parse) path,
    .globs = (const char *const[]){FILES(FILE_GLOB) NULL},
    .need = ST_NEED_CONTENT,
    .max_size = 1u << 20,
    .parse = parse,
};
