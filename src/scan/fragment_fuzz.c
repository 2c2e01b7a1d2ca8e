// Hostile fragments through reader and merge. Input: two bytes, the length of the first layer's records, then records
// of two layers; the head (which changes with every cataloger) and the end are put around them.
#include "base/wire.h"
#include "scan/fragment_int.h"
#include "scan/merge.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fragment(struct st_mem *mem, const uint8_t *records, size_t n)
{
    struct st_buf b;
    st_buf_init(&b, mem);
    struct st_frag_writer *w = st_frag_writer_new(mem, -1, &b, NULL);
    struct st_layer_stats none = {0};
    int fd = memfd_create("fragment", MFD_CLOEXEC);
    if (!w || fd < 0 || st_frag_finish(w, &none, NULL) || b.len < ST_FRAG_TAIL)
        abort();
    size_t head = b.len - ST_FRAG_TAIL;
    if (write(fd, b.ptr, head) < 0 || write(fd, records, n) < 0 || write(fd, b.ptr + head, ST_FRAG_TAIL) < 0)
        abort();
    st_frag_writer_free(w);
    st_buf_release(&b);
    return fd;
}

static void walk(const struct st_inventory *inv)
{
    for (uint32_t i = 0; i < inv->n_packages; i++) {
        struct st_item it;
        if (inv->package(inv->ctx, i, &it, NULL))
            return;
        if (it.n_evidence == 0 || (it.owner != ST_ITEM_NONE && it.owner >= inv->n_packages))
            abort();
        for (size_t k = 0; k < it.n_depends; k++)
            if (it.depends[k] >= inv->n_packages)
                abort();
    }
    for (uint32_t i = 0; i < inv->n_unknowns; i++) {
        struct st_unknown u;
        if (inv->unknown(inv->ctx, i, &u, NULL))
            return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t rest = size - 2, first = (size_t)data[0] | (size_t)data[1] << 8;
    first = first > rest ? rest : first;
    struct st_mem mem;
    st_mem_init(&mem, (size_t)64 << 20, -1);
    int fds[2] = {fragment(&mem, data + 2, first), fragment(&mem, data + 2 + first, rest - first)};
    const struct st_subject subject = {.name = ST_SV_INIT("fuzz")};
    struct st_merge *m = st_merge_new(&mem, &subject, fds, 2, NULL, 0, true, NULL);
    if (m)
        walk(st_merge_inventory(m));
    st_merge_free(m);
    struct st_layer_stats stats;
    st_frag_stats(&mem, fds[0], &stats, NULL);
    if (st_frag_verify(&mem, fds[0], NULL) == 0 && first)
        abort(); // the checksum is of a fragment without records
    close(fds[0]);
    close(fds[1]);
    if (mem.used)
        abort();
    st_mem_release(&mem);
    return 0;
}
