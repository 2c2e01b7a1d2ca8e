// First byte: the kind of table; second: where its chunks end, times 64 KiB; then the JSON text. What is accepted keeps
// what toc.h promises.
#include "archive/toc.h"

#include "path_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_chunks(const struct st_toc *t, const struct st_toc_file *f, uint64_t end)
{
    uint64_t at = 0;
    if (f->first > t->n_chunks || f->n > t->n_chunks - f->first)
        abort();
    for (size_t i = f->first; i < f->first + f->n; i++) {
        const struct st_toc_chunk *c = &t->chunks[i];
        if (c->at != at || c->size == 0 || c->size > f->size - at || c->offset >= c->end || c->end > end)
            abort();
        if (i && c->offset < c[-1].offset)
            abort();
        if (i && c->offset != c[-1].offset && c[-1].end > c->offset)
            abort();
        if (i && c->offset == c[-1].offset && (t->kind != ST_TOC_ESTARGZ || c->inner < c[-1].inner + c[-1].size))
            abort();
        at += c->size;
    }
    if (at != f->size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_mem mem;
    struct st_toc *t = NULL;
    uint64_t offset;
    if (size < 2)
        return 0;
    st_toc_footer(st_sv_mem(data, size), &offset);
    struct st_toc_place p = st_toc_annotations(st_sv_mem(data, size / 2), st_sv_mem(data, 71 < size ? 71 : size),
                                               st_sv_mem(data + size / 2, size - size / 2));
    if (p.kind == ST_TOC_ZSTD_CHUNKED && (!p.length || !p.unpacked || p.offset + p.length < p.offset))
        abort();
    uint64_t end = (uint64_t)data[1] << 16;
    st_mem_init(&mem, 64 << 20, -1);
    if (st_toc_parse(&mem, data[0] & 1 ? ST_TOC_ESTARGZ : ST_TOC_ZSTD_CHUNKED, st_sv_mem(data + 2, size - 2), end, &t,
                     NULL) == 0)
        for (size_t i = 0; i < t->n_files; i++) {
            const struct st_toc_file *f = &t->files[i];
            check_path(f->path);
            if (f->type == ST_TAR_HARDLINK)
                check_path(f->link);
            check_chunks(t, f, end);
        }
    st_toc_free(t);
    st_mem_release(&mem);
    return 0;
}
