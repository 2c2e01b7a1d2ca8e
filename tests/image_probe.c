// Drives src/image from the command line for the tests with real tools (tests/image/image_tools.py), without
// analyzer and sandbox:  image_probe [--platform P] [--stream] [--layers|--table] [--sort S] REF   prints JSON
//                        image_probe --rootfs DIR   writes the tar stream; wants files named *.want
// Errors: "WORD: text" on standard error, exit code of the command line.
#include "archive/tar.h"
#include "base/fd.h"
#include "image/blobs.h"
#include "image/inspect.h"
#include "image/open.h"
#include "image/rootfs.h"

#include <stdio.h>

static int fail(const struct st_err *err)
{
    fprintf(stderr, "%s: %s\n", st_err_word(err->code), err->text);
    return st_err_exit_code(err->code);
}

// An unseekable archive, as the analyzer takes it: documents kept, layers passed over.
static int pass(struct st_mem *mem, int fd, struct st_members *m, struct st_err *err)
{
    struct st_tar_entry e;
    uint64_t ordinal = 0;
    struct st_stream *in = st_stream_pipe(mem, fd, err);
    in = in ? st_stream_detect(mem, in, NULL, err) : NULL;
    struct st_tar *tar = in ? st_tar_new(mem, in, err) : NULL;
    int rc = tar ? 0 : -1;
    while (tar && (rc = st_tar_next(tar, &e, err)) > 0) {
        struct st_buf b;
        st_buf_init(&b, mem);
        struct st_sv run;
        if (e.type == ST_TAR_SYMLINK || e.type == ST_TAR_HARDLINK)
            rc = st_members_link(m, e.path, e.link, e.type == ST_TAR_SYMLINK, err);
        else if (e.type != ST_TAR_FILE)
            rc = 0;
        else {
            while (b.len < ST_IMAGE_DOC_MAX && (rc = st_tar_data(tar, &run, err)) > 0)
                rc = st_buf_add(&b, run, err);
            struct st_sv head = st_sv_sub(st_buf_sv(&b), 0, ST_MEMBER_HEAD);
            enum st_member_guess g = rc < 0 ? ST_MEMBER_IGNORE : st_member_guess(e.path, e.size, head);
            if (g == ST_MEMBER_DOCUMENT)
                rc = st_members_document(m, e.path, st_buf_sv(&b), err);
            else if (g == ST_MEMBER_LAYER)
                rc = st_members_passed(m, e.path, ordinal++, e.size, err);
        }
        st_buf_release(&b);
        if (rc < 0)
            break;
    }
    st_tar_free(tar);
    st_stream_free(in);
    return rc;
}

struct args {
    const char *ref, *rootfs;
    struct st_platform platform;
    struct st_sv sort;
    bool stream, layers, table;
};

static int resolve(struct st_mem *mem, const struct args *args, struct st_arena *a, struct st_image *img,
                   struct st_err *err)
{
    struct st_reference ref;
    struct st_opened o = {.fd = -1, .dirfd = -1};
    if (st_reference_parse(st_sv_of(args->ref), st_reference_exists, NULL, a, &ref, err) ||
        st_source_open(&ref, false, 0, &o, err))
        return -1;
    struct st_resolve how = {args->platform, st_platform_host(), ref.tag, ref.source->pin};
    struct st_members *m = st_members_new(mem, err);
    struct st_blobs blobs = o.kind == ST_OPENED_OCI_DIR ? st_blobs_dir(&o.dirfd) : st_members_blobs(m);
    int rc = 0;
    if (o.kind == ST_OPENED_STREAM || (o.kind == ST_OPENED_ARCHIVE && args->stream))
        rc = pass(mem, o.fd, m, err);
    else if (o.kind == ST_OPENED_ARCHIVE)
        rc = st_members_index(m, o.fd, o.size, err);
    if (rc == 0)
        rc = o.kind == ST_OPENED_ROOTFS ? st_image_rootfs(a, img, err) : st_image_resolve(&blobs, &how, a, img, err);
    struct st_buf b; // over the wire and back, as it goes between the processes
    st_buf_init(&b, mem);
    struct st_sv wire;
    if (rc == 0)
        img->subject.name = ref.text;
    if (rc == 0)
        rc = st_image_encode(img, &b, err) || st_arena_dup(a, st_buf_sv(&b), &wire, err) ||
                     st_image_decode(wire, a, img, err)
                 ? -1
                 : 0;
    st_buf_release(&b);
    st_members_free(m);
    st_opened_close(&o);
    return rc;
}

static bool want(void *ctx, struct st_sv path, uint32_t mode, uint64_t size, struct st_sv head)
{
    return st_sv_ends(path, ST_SV(".want")) || st_sv_starts(head, ST_SV("MAGIC"));
}

static void warn(void *ctx, struct st_sv path, const char *what)
{
    fprintf(stderr, "warning: " ST_SV_FMT ": %s\n", ST_SV_ARG(path), what);
}

static int rootfs(struct st_mem *mem, const struct args *args, struct st_arena *a, struct st_err *err)
{
    struct st_reference ref;
    struct st_opened o;
    struct st_sv text;
    struct st_rootfs_how how = {want, warn, NULL};
    struct st_rootfs_stats stats;
    if (st_arena_fmt(a, &text, err, "rootfs:%s", args->rootfs) ||
        st_reference_parse(text, st_reference_exists, NULL, a, &ref, err) || st_source_open(&ref, false, 0, &o, err) ||
        st_rootfs_write(mem, o.dirfd, STDOUT_FILENO, &how, &stats, err))
        return -1;
    st_opened_close(&o);
    fprintf(stderr, "entries %llu files %llu content %llu errors %llu skipped %llu peak %zu\n",
            (unsigned long long)stats.entries, (unsigned long long)stats.files, (unsigned long long)stats.content_bytes,
            (unsigned long long)stats.errors, (unsigned long long)stats.skipped, mem->peak);
    return 0;
}

static int print(const struct args *args, const struct st_image *img, struct st_arena *a, struct st_err *err)
{
    struct st_inspect in = {.image = img};
    struct st_out out;
    st_out_init_fd(&out, STDOUT_FILENO);
    if (args->sort.len && st_layer_sort_parse(args->sort, &in.sort, err))
        return -1;
    int rc = args->layers ? (args->table ? st_layers_table : st_layers_json)(&in, a, &out, err)
                          : (args->table ? st_inspect_table : st_inspect_json)(&in, a, &out, err);
    return st_out_finish(&out, err) || rc ? -1 : 0;
}

int main(int argc, char **argv)
{
    struct st_err err = {0};
    struct args args = {0};
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--platform") && more) {
            if (st_platform_parse(st_sv_of(argv[++i]), &args.platform, &err))
                return fail(&err);
        } else if (!strcmp(argv[i], "--sort") && more) {
            args.sort = st_sv_of(argv[++i]);
        } else if (!strcmp(argv[i], "--rootfs") && more) {
            args.rootfs = argv[++i];
        } else if (!strcmp(argv[i], "--stream")) {
            args.stream = true;
        } else if (!strcmp(argv[i], "--layers")) {
            args.layers = true;
        } else if (!strcmp(argv[i], "--table")) {
            args.table = true;
        } else {
            args.ref = argv[i];
        }
    }
    if (!args.ref && !args.rootfs)
        return 2;
    struct st_mem mem;
    ST_AUTO_CLOSE int spill = args.rootfs ? st_fd_temp("/tmp", &err) : -1; // as much as stella's child gets
    st_mem_init(&mem, args.rootfs ? 4 << 20 : 64 << 20, spill);
    struct st_arena a;
    st_arena_init(&a, &mem);
    struct st_image img;
    int rc = args.rootfs ? rootfs(&mem, &args, &a, &err)
                         : resolve(&mem, &args, &a, &img, &err) || print(&args, &img, &a, &err);
    st_arena_release(&a);
    st_mem_release(&mem);
    return rc ? fail(&err) : 0;
}
