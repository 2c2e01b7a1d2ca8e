// Layers that a manifest places on other servers ("urls"). Followed only when asked for; what they are is told by the
// digest alone. These servers get no login, whatever their name, and the address rule holds for them too.
#include "base/ckd.h"
#include "fetch/answers.h"
#include "fetch/registry_int.h"
#include "image/image.h"

#include <stdio.h>

#define FOREIGN_MAX 4096 // URLs

static void remember(void *ctx, struct st_sv digest, struct st_sv url)
{
    struct st_registry *r = ctx;
    struct st_sv rest = url, host, path;
    struct st_foreign *f;
    bool web = st_sv_starts(url, ST_SV("https://")) || st_sv_starts(url, ST_SV("http://"));
    if (!web || url.len >= ST_HTTP_URL_MAX || st_digest_check(digest, NULL) || r->n_foreign == FOREIGN_MAX)
        return;
    rest = st_sv_from(url, st_sv_search(url, ST_SV("://")) + 3);
    st_sv_cut(rest, '/', &host, &path);
    f = ST_ARENA_NEW(&r->arena, struct st_foreign, NULL);
    if (!f || st_arena_dup(&r->arena, url, &f->url, NULL) || st_arena_dup(&r->arena, host, &f->host, NULL))
        return; // then the registry alone is asked
    memcpy(f->digest, digest.ptr, digest.len);
    *(r->foreign_last ? &r->foreign_last->next : &r->foreign) = f;
    r->foreign_last = f;
    r->n_foreign++;
}

void st_foreign_learn(struct st_registry *r, struct st_sv manifest)
{
    struct st_arena a;
    if (!(r->flags & ST_FETCH_F_FOREIGN))
        return;
    st_arena_init(&a, r->mem);
    st_layer_urls(manifest, &a, remember, r);
    st_arena_release(&a);
}

bool st_foreign_next(struct st_job *j)
{
    if (j->kind != ST_JOB_BLOB)
        return false;
    const struct st_foreign *f = j->foreign ? j->foreign->next : j->reg->foreign;
    while (f && strcmp(f->digest, j->digest) != 0)
        f = f->next;
    if (f)
        j->foreign = f;
    return f != NULL;
}
