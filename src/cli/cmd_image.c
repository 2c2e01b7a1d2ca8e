// stella image inspect, stella image layers.
#include "base/ckd.h"
#include "cli/cli.h"
#include "cli/remote_opts.h"
#include "cli/scan_cmd.h"
#include "store/home.h"

#include <limits.h>

struct raw {
    const char *image, *platform;
    struct st_remote_options remote;
    int format, progress, sort;
    uint64_t memory;
    bool quiet, offline;
};

enum { TABLE, JSON };
static const struct st_choice formats[] = {{"table", TABLE}, {"json", JSON}, {NULL}};
static const struct st_choice sorts[] = {
    {"index", ST_SORT_INDEX}, {"size", ST_SORT_SIZE}, {"file-count", ST_SORT_FILES}, {NULL}};

// Rows of both verbs; --sort-by comes last and is left out of inspect's count.
static const struct st_opt options[] = {
    {"image", 0, ST_OPT_STRING_AT(struct raw, image), .arg = "REF|PATH",
     .help = "the image, instead of as an argument"},
    {"format", 0, ST_OPT_ENUM_AT(struct raw, format), .arg = "FORMAT", .help = "what to print", .def = "table",
     .choices = formats},
    {"platform", 0, ST_OPT_STRING_AT(struct raw, platform), .arg = "OS/ARCH",
     .help = "which image of an index, as linux/arm64 or linux/arm/v7", .def_text = "this machine's"},
    {"memory", 0, ST_OPT_BYTES_AT(struct raw, memory), .arg = "BYTES", .help = "memory budget, from 16Mi",
     .def = ST_MEMORY_DEFAULT, .min = ST_MEMORY_MIN, .env = "STELLA_MEMORY"},
    {"progress", 0, ST_OPT_ENUM_AT(struct raw, progress), .arg = "HOW", .help = "progress on standard error",
     .def = "auto", .choices = st_progress_choices, .env = "STELLA_PROGRESS"},
    {"quiet", 'q', ST_OPT_FLAG_AT(struct raw, quiet), .help = "no progress, no notes; errors still"},
    {"offline", 0, ST_OPT_FLAG_AT(struct raw, offline), .help = "never use the network; exit 5 where it is needed",
     .env = "STELLA_OFFLINE"},
    ST_REMOTE_OPTS(struct raw, remote),
    {"sort-by", 0, ST_OPT_ENUM_AT(struct raw, sort), .arg = "KEY", .help = "order of the layers, largest first",
     .def = "index", .choices = sorts},
};

typedef int print_fn(const struct st_inspect *in, struct st_arena *a, struct st_out *out, struct st_err *err);

struct printing {
    print_fn *print;
    enum st_layer_sort sort;
    struct st_out *out;
};

static int print(void *ctx, const struct st_inspect *in, struct st_arena *a, struct st_err *err)
{
    struct printing *p = ctx;
    struct st_inspect sorted = *in;
    sorted.sort = p->sort;
    return p->print(&sorted, a, p->out, err);
}

static int inspect(const struct st_call *call, const char *verb, print_fn *table, print_fn *json, struct st_err *err)
{
    const struct raw *r = call->options;
    struct printing p = {r->format == JSON ? json : table, (enum st_layer_sort)r->sort, call->out};
    struct st_scan_options o = {
        .platform = st_sv_of(r->platform), .offline = r->offline, .bandwidth = r->remote.bandwidth};
    struct st_scan_show show = {.mode = r->quiet ? ST_PROGRESS_OFF : (enum st_progress_mode)r->progress,
                                .quiet = r->quiet};
    char home[PATH_MAX];
    struct st_engine_request q = {
        .options = &o, .memory = r->memory, .access = st_remote_access(&r->remote), .file = -1};
    if (st_image_argument(call->parsed, r->image, verb, &q.image, err) || st_platform_check(o.platform, err))
        return -1;
    q.spill = st_home_path(home, NULL) ? NULL : home;
    q.interrupted = st_cli_catch_signals();
    st_scan_show_begin(&show);
    q.observer = &show.engine;
    return st_engine_inspect(&q, print, &p, err);
}

static int run_inspect(const struct st_call *call, struct st_err *err)
{
    return inspect(call, "image inspect", st_inspect_table, st_inspect_json, err);
}

static int run_layers(const struct st_call *call, struct st_err *err)
{
    return inspect(call, "image layers", st_layers_table, st_layers_json, err);
}

const struct st_verb st_verb_image_inspect = {
    .words = "image inspect",
    .summary = "show an image's size, layers and what may trouble a scan",
    .args = "REF|PATH",
    .about =
        "Shows digests, platform, size as stored and unpacked, the number of files, and warnings: very large, very "
        "many layers, very many files. The layers of a local image are read once to count its files; nothing "
        "is unpacked. Of an image in a registry only the manifest is fetched, so what layers hold is not known.",
    .max_args = 1,
    .terms = st_image_terms,
    .opts = options,
    .n_opts = ST_LEN(options) - 1,
    .options_size = sizeof(struct raw),
    .examples = {{"Look at an archive", "stella image inspect app.tar"},
                 {"Take one number out of it", "stella image inspect app.tar --format json | jq .manifest.fileCount"}},
    .run = run_inspect,
};

const struct st_verb st_verb_image_layers = {
    .words = "image layers",
    .summary = "list an image's layers with size and file count",
    .args = "REF|PATH",
    .about = "Lists the layers from the base up, or the heaviest first, with their size as stored and unpacked, their "
             "number of files and the instruction that made them.",
    .max_args = 1,
    .terms = st_image_terms,
    .opts = options,
    .n_opts = ST_LEN(options),
    .options_size = sizeof(struct raw),
    .examples = {{"See which layer is heaviest", "stella image layers app.tar --sort-by size"},
                 {"See which layer has the most files", "stella image layers app.tar --sort-by file-count"}},
    .run = run_layers,
};
