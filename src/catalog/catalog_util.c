#include "base/ckd.h"
#include "catalog/catalog_int.h"

#include <stdio.h>

int st_list_add(struct st_list *l, struct st_sv s, struct st_err *err)
{
    if (l->n == ST_LIST_MAX) {
        l->full = true;
        return 0;
    }
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 32;
        struct st_sv *at = st_arena_array(l->arena, cap, sizeof *at, err);
        if (!at)
            return -1;
        if (l->n)
            memcpy(at, l->at, l->n * sizeof *at);
        l->at = at;
        l->cap = cap;
    }
    l->at[l->n++] = s;
    return 0;
}

struct st_sv st_path_up(struct st_sv path, size_t parts)
{
    while (parts-- && path.len)
        path = st_sv_dirname(path);
    return path;
}

struct st_sv st_root_of(struct st_sv dir, size_t parts)
{
    struct st_sv root = st_path_up(dir, parts), last = st_sv_basename(root);
    return st_sv_eq(last, ST_SV("usr")) || st_sv_eq(last, ST_SV("var")) ? st_path_up(root, 1) : root;
}

int st_owner_init(struct st_owner *o, const struct st_parse *p, enum st_pkg_type type, struct st_sv root,
                  struct st_err *err)
{
    *o = (struct st_owner){.parse = p, .type = type, .root = root};
    size_t room;
    if (root.len == 0)
        return 0;
    if (st_ckd_add(&room, root.len, 1 + ST_OWNED_PATH_MAX))
        return st_err_nomem(err);
    o->joined = st_arena_bytes(p->arena, room, err);
    if (!o->joined)
        return -1;
    memcpy(o->joined, root.ptr, root.len);
    o->joined[root.len] = '/';
    return 0;
}

static bool normalised(struct st_sv path)
{
    size_t start = 0;
    for (size_t i = 0; i <= path.len; i++) {
        if (i < path.len && path.ptr[i] != '/')
            continue;
        size_t n = i - start;
        const char *part = path.ptr + start;
        if (n == 0 || (n <= 2 && part[0] == '.' && part[n - 1] == '.'))
            return false;
        start = i + 1;
    }
    return true;
}

int st_owner_path(struct st_owner *o, struct st_sv path, struct st_err *err)
{
    if (st_sv_starts(path, ST_SV("./")))
        path = st_sv_from(path, 1);
    if (st_sv_starts(path, ST_SV("/")))
        path = st_sv_from(path, 1);
    if (path.len == 0 || path.len > ST_OWNED_PATH_MAX || o->name.len == 0 || !normalised(path))
        return 0;
    if (o->joined) {
        memcpy(o->joined + o->root.len + 1, path.ptr, path.len);
        path = (struct st_sv){o->joined, o->root.len + 1 + path.len};
    }
    const struct st_emit *e = o->parse->emit;
    return e->owns(e->ctx, o->type, o->name, path, err);
}

int st_emit_unknown(const struct st_parse *p, enum st_unknown_reason reason, struct st_sv inner, struct st_err *err,
                    const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return p->emit->unknown(p->emit->ctx, reason, inner, st_sv_of(text), err);
}
