// What the user typed, taken apart. Registry references: grammar of distribution/reference (reference.go).
#include "image/reference.h"
#include "base/ckd.h"

#include <limits.h>
#include <sys/stat.h>

#define REFERENCE_MAX 4096
#define REPOSITORY_MAX 255
#define TAG_MAX 128

bool st_reference_exists(void *ctx, struct st_sv path)
{
    char name[PATH_MAX];
    struct stat st;
    if (path.len == 0 || path.len >= sizeof name || st_sv_find(path, '\0') != ST_SV_NPOS)
        return false;
    memcpy(name, path.ptr, path.len);
    name[path.len] = '\0';
    return lstat(name, &st) == 0;
}

// ---- registry references --------------------------------------------------------------------------------------------

static bool is_lower(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
    return is_lower(c) || (c >= 'A' && c <= 'Z');
}

// alpha-numeric ( separator alpha-numeric )*, separator: "." | "_" | "__" | "-"+
static bool path_component_ok(struct st_sv s)
{
    size_t i = 0;
    for (;;) {
        size_t start = i;
        while (i < s.len && is_lower(s.ptr[i]))
            i++;
        if (i == start)
            return false;
        if (i == s.len)
            return true;
        char c = s.ptr[i];
        size_t run = 0;
        while (i < s.len && s.ptr[i] == c) {
            i++;
            run++;
        }
        if (!(c == '-' || (c == '_' && run <= 2) || (c == '.' && run == 1)))
            return false;
    }
}

static bool host_label_ok(struct st_sv s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_alnum(s.ptr[i]) && (s.ptr[i] != '-' || i == 0 || i == s.len - 1))
            return false;
    return s.len > 0;
}

static bool port_ok(struct st_sv s)
{
    uint64_t port;
    return st_sv_u64(s, 10, &port) && port > 0 && port < 65536;
}

// host [":" port]; host: labels with dots, or an IPv6 address in brackets
static bool domain_ok(struct st_sv s)
{
    if (s.len && s.ptr[0] == '[') {
        size_t end = st_sv_find(s, ']');
        if (end == ST_SV_NPOS || end < 3)
            return false;
        for (size_t i = 1; i < end; i++)
            if (!((s.ptr[i] >= '0' && s.ptr[i] <= '9') || (s.ptr[i] >= 'a' && s.ptr[i] <= 'f') ||
                  (s.ptr[i] >= 'A' && s.ptr[i] <= 'F') || s.ptr[i] == ':'))
                return false;
        struct st_sv rest = st_sv_from(s, end + 1);
        return rest.len == 0 || (rest.ptr[0] == ':' && port_ok(st_sv_from(rest, 1)));
    }
    struct st_sv host, port, label;
    bool has_port = st_sv_cut(s, ':', &host, &port);
    if (has_port && !port_ok(port))
        return false;
    if (host.len == 0 || host.ptr[host.len - 1] == '.')
        return false;
    while (st_sv_split(&host, '.', &label))
        if (!host_label_ok(label))
            return false;
    return true;
}

static int bad(struct st_sv text, const char *why, struct st_err *err)
{
    return st_err_set(err, ST_E_INPUT, "'%.*s' is not an image reference: %s", (int)ST_MIN(text.len, 200u),
                      text.ptr ? text.ptr : "", why);
}

static int check_tag(struct st_sv text, struct st_sv tag, struct st_err *err)
{
    if (tag.len == 0)
        return bad(text, "there is no tag behind ':'", err);
    if (tag.len > TAG_MAX)
        return bad(text, "a tag has at most 128 characters", err);
    for (size_t i = 0; i < tag.len; i++)
        if (!(is_alnum(tag.ptr[i]) || tag.ptr[i] == '_' || (i && (tag.ptr[i] == '.' || tag.ptr[i] == '-'))))
            return bad(text, "a tag is made of letters, digits, '_', '.' and '-', and begins with neither '.' nor '-'",
                       err);
    return 0;
}

static int check_digest(struct st_sv text, struct st_sv digest, struct st_err *err)
{
    struct st_err why = {0};
    if (st_digest_check(digest, &why) == 0)
        return 0;
    if (digest.len == 0)
        return bad(text, "there is no digest behind '@'", err);
    if (why.code == ST_E_FAILED)
        return bad(text, "digests of sha512 are not supported, only sha256", err);
    return bad(text, "a digest is sha256: and 64 hexadecimal digits in small letters", err);
}

// The first part is a domain if it looks like a host: it has a dot, a port or capitals, or is "localhost".
static bool looks_like_domain(struct st_sv s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '.' || s.ptr[i] == ':' || (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z'))
            return true;
    return st_sv_eq(s, ST_SV("localhost"));
}

static int parse_repository(struct st_sv text, struct st_sv path, struct st_arena *a, struct st_reference *ret,
                            struct st_err *err)
{
    struct st_sv part, rest = path;
    size_t parts = 0;
    if (path.len == 0 || path.ptr[path.len - 1] == '/')
        return bad(text, "no repository name", err);
    for (size_t i = 0; i < path.len; i++)
        if (path.ptr[i] >= 'A' && path.ptr[i] <= 'Z')
            return bad(text, "a repository name has no capitals", err);
    for (; st_sv_split(&rest, '/', &part); parts++)
        if (!path_component_ok(part))
            return bad(text,
                       part.len ? "a part of a repository name is made of small letters and digits, with '.', '_', "
                                  "'__' or dashes between them"
                                : "two slashes in a row",
                       err);
    // Docker refuses it too: it would be taken for an image ID, which no registry knows.
    if (ret->source->network && parts == 1 && path.len == ST_DIGEST_TEXT - 7 && st_sv_is_hex(path))
        return bad(text, "64 hexadecimal digits are an image ID; a registry needs NAME@sha256:DIGEST", err);
    if (parts == 1 && st_sv_eq(ret->domain, ST_SV("docker.io"))) {
        if (st_arena_fmt(a, &path, err, "library/" ST_SV_FMT, ST_SV_ARG(path)))
            return -1;
    }
    if (ret->domain.len + 1 + path.len > REPOSITORY_MAX)
        return bad(text, "the name is longer than 255 characters", err);
    ret->repository = path;
    return 0;
}

static int parse_registry(struct st_sv text, struct st_arena *a, struct st_reference *ret, struct st_err *err)
{
    struct st_sv name, head, tail;
    if (st_sv_search(text, ST_SV("://")) != ST_SV_NPOS)
        return bad(text, "a reference has no scheme: HOST/NAME:TAG, or registry:HOST/NAME:TAG", err);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] <= ' ')
            return bad(text, "there is a blank in it", err);
    if (st_sv_cut(text, '@', &name, &ret->digest) && check_digest(text, ret->digest, err))
        return -1;
    size_t colon = st_sv_rfind(name, ':'), slash = st_sv_rfind(name, '/');
    if (colon != ST_SV_NPOS && (slash == ST_SV_NPOS || colon > slash)) {
        ret->tag = st_sv_from(name, colon + 1);
        name = st_sv_sub(name, 0, colon);
        if (check_tag(text, ret->tag, err))
            return -1;
    } else if (ret->digest.len == 0) {
        ret->tag = ST_SV("latest");
    }
    ret->domain = ST_SV("docker.io");
    if (st_sv_cut(name, '/', &head, &tail) && looks_like_domain(head)) {
        if (!domain_ok(head))
            return bad(text, "the registry is HOST, HOST:PORT, or [IPV6]:PORT, with a port from 1 to 65535", err);
        ret->domain = st_sv_eq(head, ST_SV("index.docker.io")) ? ret->domain : head;
        name = tail;
    }
    return parse_repository(text, name, a, ret, err);
}

// ---- sources --------------------------------------------------------------------------------------------------------

static const struct st_source *source_named(const char *name)
{
    const struct st_source *s = st_sources;
    while (s->name && strcmp(s->name, name) != 0)
        s++;
    return s;
}

static const struct st_source *source_of(struct st_sv text, struct st_sv *ret_rest)
{
    for (const struct st_source *s = st_sources; s->name; s++)
        for (const char *const *scheme = s->schemes; scheme && *scheme; scheme++)
            if (st_sv_starts(text, st_sv_of(*scheme))) {
                *ret_rest = st_sv_from(text, strlen(*scheme));
                return s;
            }
    return NULL;
}

// [WHERE]REF. What goes on with a port or a slash is the address of a registry: [::1]:5000/web.
static void split_where(struct st_sv *inout_rest, struct st_reference *ret)
{
    struct st_sv rest = *inout_rest;
    size_t end = st_sv_find(rest, ']');
    if (!st_sv_starts(rest, ST_SV("[")) || end == ST_SV_NPOS)
        return;
    struct st_sv behind = st_sv_from(rest, end + 1);
    if (st_sv_starts(behind, ST_SV(":")) || st_sv_starts(behind, ST_SV("/")))
        return;
    ret->where = st_sv_sub(rest, 1, end - 1);
    *inout_rest = behind;
}

// PATH[:TAG]. A path that exists as it stands has no tag; else the first ':' ends it, since tags may hold ':'
// themselves
// ("registry:5000/web:1").
static void split_path(struct st_sv rest, bool (*exists)(void *ctx, struct st_sv path), void *ctx,
                       struct st_reference *ret)
{
    ret->path = rest;
    if (!(exists && exists(ctx, rest)))
        st_sv_cut(rest, ':', &ret->path, &ret->tag);
}

int st_reference_parse(struct st_sv text, bool (*exists)(void *ctx, struct st_sv path), void *ctx, struct st_arena *a,
                       struct st_reference *ret, struct st_err *err)
{
    struct st_reference ref = {.text = text};
    struct st_sv rest = text;
    bool looks = st_sv_starts(text, ST_SV("/")) || st_sv_starts(text, ST_SV("./")) || st_sv_starts(text, ST_SV("../"));
    if (text.len == 0)
        return st_err_set(err, ST_E_INPUT, "no image given");
    if (text.len > REFERENCE_MAX)
        return st_err_set(err, ST_E_INPUT, "the reference is longer than %d bytes", REFERENCE_MAX);
    if (st_sv_find(text, '\0') != ST_SV_NPOS)
        return st_err_set(err, ST_E_INPUT, "the reference holds a NUL byte");
    ref.source = looks ? NULL : source_of(text, &rest);
    if (ref.source && ref.source->store)
        split_where(&rest, &ref);
    ref.name = rest;
    if (!ref.source && (looks || st_sv_eq(text, ST_SV("-")) || (exists && exists(ctx, text)))) {
        ref.source = source_named("path");
        ref.by_rule = !st_sv_eq(text, ST_SV("-"));
        ref.path = text;
    } else if (!ref.source) {
        ref.source = source_named("registry");
    } else if (ref.source->takes == ST_TAKES_PATH) {
        split_path(rest, exists, ctx, &ref);
    } else if (ref.source->takes == ST_TAKES_DIR) {
        ref.path = rest;
    }
    if (ref.source->takes == ST_TAKES_REGISTRY) {
        if (parse_registry(rest, a, &ref, err))
            return -1;
    } else if (ref.path.len == 0) {
        return st_err_set(err, ST_E_INPUT, "no path given: '" ST_SV_FMT "'", ST_SV_ARG(text));
    }
    ref.standard_input = ref.source->takes == ST_TAKES_PATH && st_sv_eq(ref.path, ST_SV("-"));
    *ret = ref;
    return 0;
}
