// Access to the kept bytes of one file.
#include "catalog/catalog.h"

enum st_view_result st_view_get(const struct st_view *v, uint64_t off, uint64_t len, struct st_sv *ret)
{
    if (off > v->size || len > v->size - off)
        return ST_VIEW_OUTSIDE;
    if (len == 0) {
        *ret = ST_SV("");
        return ST_VIEW_OK;
    }
    for (size_t i = 0; i < v->n; i++) {
        const struct st_span *s = &v->spans[i];
        if (s->off > off)
            break;
        uint64_t skip = off - s->off;
        if (skip <= s->data.len && len <= s->data.len - skip) {
            *ret = st_sv_sub(s->data, (size_t)skip, (size_t)len);
            return ST_VIEW_OK;
        }
    }
    return ST_VIEW_MISSING;
}

struct st_sv st_view_all(const struct st_view *v)
{
    return v->n ? v->spans[0].data : ST_SV("");
}
