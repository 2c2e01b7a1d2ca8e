#include "image/containerd.h"
#include "base/ckd.h"
#include "image/image_int.h"

#include <stdio.h>

// Buckets one in the other: 1, 0, -1.
static int walk(struct st_bolt *db, struct st_bolt_bucket *inout, const struct st_sv *names, size_t n,
                struct st_err *err)
{
    for (size_t i = 0; i < n; i++) {
        int rc = st_bolt_bucket(db, *inout, names[i], inout, err);
        if (rc <= 0)
            return rc;
    }
    return 1;
}

static int by_name(struct st_bolt *db, struct st_bolt_bucket images, struct st_sv name, struct st_sv *ret,
                   struct st_err *err)
{
    const struct st_sv way[] = {name, ST_SV("target")};
    int rc = walk(db, &images, way, ST_LEN(way), err);
    if (rc > 0)
        rc = st_bolt_value(db, images, ST_SV("digest"), ret, err);
    if (rc > 0 && st_digest_check(*ret, err))
        return st_err_wrap(err, ST_SV_FMT, ST_SV_ARG(st_sv_sub(name, 0, 200)));
    return rc;
}

#define NAMES 3

// What it may be called, the most literal first.
static int names_of(const struct st_reference *ref, struct st_arena *a, struct st_sv ret[static NAMES], size_t *ret_n,
                    struct st_err *err)
{
    size_t n = 0;
    ret[n++] = ref->name;
    if (ref->tag.len && st_arena_fmt(a, &ret[n++], err, ST_SV_FMT "/" ST_SV_FMT ":" ST_SV_FMT, ST_SV_ARG(ref->domain),
                                     ST_SV_ARG(ref->repository), ST_SV_ARG(ref->tag)))
        return -1;
    if (ref->digest.len && st_arena_fmt(a, &ret[n++], err, ST_SV_FMT "/" ST_SV_FMT "@" ST_SV_FMT,
                                        ST_SV_ARG(ref->domain), ST_SV_ARG(ref->repository), ST_SV_ARG(ref->digest)))
        return -1;
    *ret_n = n;
    return 0;
}

struct search {
    struct st_bolt *db;
    const struct st_reference *ref;
    struct st_sv names[NAMES];
    size_t n_names;
    struct st_containerd_image *found;
    bool any, differ;
    struct st_names spaces; // where it is
};

static int in_namespace(struct search *s, struct st_bolt_bucket v1, struct st_sv space, struct st_err *err)
{
    const struct st_sv way[] = {space, ST_SV("images")};
    int rc = walk(s->db, &v1, way, ST_LEN(way), err);
    for (size_t i = 0; rc > 0 && i < s->n_names; i++) {
        struct st_sv digest;
        int hit = by_name(s->db, v1, s->names[i], &digest, err);
        if (hit < 0)
            return -1;
        if (hit == 0 || (s->ref->digest.len && !st_sv_eq(s->ref->digest, digest)))
            continue;
        st_names_add(&s->spaces, space);
        s->differ |= s->any && !st_sv_eq(digest, st_sv_of(s->found->digest));
        if (!s->any) {
            *s->found = (struct st_containerd_image){.name_space = space, .name = s->names[i]};
            memcpy(s->found->digest, digest.ptr, ST_DIGEST_TEXT);
        }
        s->any = true;
        break;
    }
    return rc < 0 ? -1 : 0;
}

int st_containerd_find(struct st_bolt *db, struct st_sv name_space, const struct st_reference *ref,
                       struct st_containerd_image *ret, struct st_err *err)
{
    struct search s = {.db = db, .ref = ref, .found = ret};
    struct st_sv *spaces = &name_space;
    size_t n = 1;
    struct st_bolt_bucket v1 = st_bolt_root(db);
    int rc = st_bolt_bucket(db, v1, ST_SV("v1"), &v1, err);
    if (rc == 0)
        return st_err_set(err, ST_E_CORRUPT, "containerd's database has no bucket v1: of a version that is not known");
    if (rc < 0 || names_of(ref, db->arena, s.names, &s.n_names, err))
        return -1;
    if (!name_space.len) {
        spaces = st_arena_array(db->arena, ST_CONTAINERD_NAMESPACES_MAX, sizeof *spaces, err);
        if (!spaces || st_bolt_buckets(db, v1, spaces, ST_CONTAINERD_NAMESPACES_MAX, &n, err))
            return -1;
    }
    for (size_t i = 0; i < n; i++)
        if (in_namespace(&s, v1, spaces[i], err))
            return -1;
    if (s.differ)
        return st_err_set(err, ST_E_INPUT,
                          "containerd's namespaces %s have different images of that name; choose one: "
                          "containerd:[NAMESPACE]" ST_SV_FMT,
                          s.spaces.text, ST_SV_ARG(st_sv_sub(ref->name, 0, 200)));
    return s.any;
}
