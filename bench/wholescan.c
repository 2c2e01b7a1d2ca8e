// The work of a scan in one process: every layer to its fragment, the merge, a CycloneDX document that nobody keeps.
// No sandbox and no second process, so that callgrind and perf see all of it. To be compared with `floor`.
#include "layout.h"

#include "base/ckd.h"
#include "base/fd.h"
#include "sbom/sbom.h"
#include "scan/layer.h"
#include "scan/merge.h"

#include <fcntl.h>
#include <sys/stat.h>

#define BUDGET ((size_t)32 << 20)
#define SPILL_AT ((size_t)8 << 20) // as src/scan/scan_int.h

struct blob {
    struct st_mem *mem;
    int fd;
    uint64_t size;
};

static uint64_t entries, rereads, reread_bytes, spilled, packages;

static int open_blob(void *ctx, struct st_stream **ret, struct st_err *err)
{
    const struct blob *b = ctx;
    *ret = st_stream_file(b->mem, b->fd, 0, b->size, err);
    return *ret ? 0 : -1;
}

static int layer(struct st_mem *mem, const char *path, int out, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        return st_err_sys(err, "%s", path);
    struct blob blob = {mem, fd, (uint64_t)st.st_size};
    struct st_layer_source src = {open_blob, &blob, true};
    struct st_layer_options opt = {.classifier = st_classifier_new(mem, st_catalogers, err)};
    memcpy(opt.digest, path + strlen(path) - ST_DIGEST_HEX, ST_DIGEST_HEX);
    struct st_frag_writer *w = opt.classifier ? st_frag_writer_new(mem, out, NULL, err) : NULL;
    struct st_layer_stats stats = {0};
    int rc = w ? st_layer_scan(mem, &src, &opt, w, &stats, err) : -1;
    st_frag_writer_free(w);
    st_classifier_free((struct st_classifier *)opt.classifier);
    entries += stats.entries;
    rereads += stats.rereads;
    reread_bytes += stats.reread_bytes;
    spilled += stats.spilled;
    return rc;
}

static int document(struct st_mem *mem, const int *fragments, size_t n, struct st_err *err)
{
    struct st_subject_layer layers[LAYERS_MAX] = {0};
    struct st_subject subject = {.name = ST_SV("bench"), .layers = layers, .n_layers = n};
    struct st_merge *m = st_merge_new(mem, &subject, fragments, n, NULL, 0, true, err);
    if (!m)
        return -1;
    ST_AUTO_CLOSE int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    struct st_out out;
    st_out_init_fd(&out, fd);
    struct st_sbom_options opts = {.mem = mem};
    const struct st_inventory *inv = st_merge_inventory(m);
    packages = inv->n_packages;
    int rc = st_sbom_write(st_sbom_writer_find(ST_SV("cyclonedx-json")), inv, &opts, &out, err);
    if (rc == 0)
        rc = st_out_finish(&out, err);
    st_merge_free(m);
    return rc;
}

static void once(char **paths, size_t n, char *ret_note)
{
    int fragments[LAYERS_MAX];
    struct st_err err = {0};
    int rc = 0;
    entries = rereads = reread_bytes = spilled = 0;
    struct st_mem mem;
    size_t peak = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        ST_AUTO_CLOSE int spill = st_fd_temp("/var/tmp", &err);
        st_mem_init(&mem, BUDGET, spill);
        mem.spill_at = SPILL_AT;
        fragments[i] = st_fd_temp("/var/tmp", &err);
        rc = fragments[i] < 0 || spill < 0 ? -1 : layer(&mem, paths[i], fragments[i], &err);
        peak = ST_MAX(peak, mem.peak);
        st_mem_release(&mem);
    }
    st_mem_init(&mem, BUDGET, -1);
    if (rc == 0)
        rc = document(&mem, fragments, n, &err);
    st_mem_release(&mem);
    if (rc) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    for (size_t i = 0; i < n; i++)
        close(fragments[i]);
    snprintf(ret_note, 256,
             "%llu entries, %llu packages, %llu files (%llu MiB decoded) read twice, %llu MiB spilled, "
             "budget peak %zu KiB",
             (unsigned long long)entries, (unsigned long long)packages, (unsigned long long)rereads,
             (unsigned long long)reread_bytes >> 20, (unsigned long long)spilled >> 20, peak / 1024);
}

int main(int argc, char **argv)
{
    return bench_main(argc, argv, once);
}
