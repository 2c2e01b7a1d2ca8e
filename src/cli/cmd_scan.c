// stella scan image: checks what was asked for; the scan is done here or by a service.
#include "base/ckd.h"
#include "cli/cli.h"
#include "cli/remote_opts.h"
#include "cli/scan_cmd.h"
#include "fetch/pull.h"

#include <sched.h>
#include <stdio.h>

enum format { FORMAT_TABLE, FORMAT_CYCLONEDX, FORMAT_SPDX, FORMAT_SYFT, FORMAT_PURLS };

static const struct st_choice formats[] = {
    {"table", FORMAT_TABLE},
    {"cyclonedx-json", FORMAT_CYCLONEDX},
    {"spdx-json", FORMAT_SPDX},
    {"syft-json", FORMAT_SYFT},
    {"purls", FORMAT_PURLS},
    {"cyclonedx", FORMAT_CYCLONEDX, true},
    {"cdx", FORMAT_CYCLONEDX, true},
    {"spdx", FORMAT_SPDX, true},
    {"json", FORMAT_SYFT, true},
    {"syft", FORMAT_SYFT, true},
    {NULL},
};

static const struct st_choice verifies[] = {
    {"none", ST_VERIFY_NONE}, {"blob", ST_VERIFY_BLOB}, {"full", ST_VERIFY_FULL}, {NULL}};

struct raw {
    const char *image, *output, *platform, *cache, *profile_output;
    int format, verify, progress;
    struct st_opt_list also;
    struct st_remote_options remote;
    uint64_t memory, threads, timeout;
    bool strict, keep_going, foreign_layers, profile, retry, force, quiet, offline, local, sandbox_report;
};

static const struct st_opt options[] = {
    {"image", 0, ST_OPT_STRING_AT(struct raw, image), .arg = "REF|PATH",
     .help = "the image, instead of as an argument"},
    {"format", 0, ST_OPT_ENUM_AT(struct raw, format), .arg = "FORMAT", .help = "what to print", .def = "table",
     .choices = formats},
    {"output", 0, ST_OPT_STRING_AT(struct raw, output), .arg = "FILE",
     .help = "write to FILE instead of standard output; it appears under its name when it is complete"},
    {NULL, 'o', ST_OPT_LIST_AT(struct raw, also), .arg = "FORMAT=FILE",
     .help = "write FORMAT to FILE; may be given several times; standard output is then empty"},
    {"platform", 0, ST_OPT_STRING_AT(struct raw, platform), .arg = "OS/ARCH",
     .help = "which image of an index, as linux/arm64 or linux/arm/v7", .def_text = "this machine's"},
    {"memory", 0, ST_OPT_BYTES_AT(struct raw, memory), .arg = "BYTES",
     .help = "memory budget of the whole scan, from 16Mi; the result does not depend on it", .def = ST_MEMORY_DEFAULT,
     .min = ST_MEMORY_MIN, .env = "STELLA_MEMORY"},
    {"threads", 0, ST_OPT_COUNT_AT(struct raw, threads), .arg = "N", .help = "layers analyzed at once",
     .def_text = "the processors there are", .min = 1, .max = ST_THREADS_MAX, .env = "STELLA_THREADS"},
    {"cache", 0, ST_OPT_STRING_AT(struct raw, cache), .arg = "DIR|on|off",
     .help = "keep what was found in a layer and use it again for other images; not for a docker-archive, whose layers "
             "have no digest that could be checked without reading them",
     .def = "off", .def_text = "what cache.layer_dedup says: off", .env = "STELLA_CACHE"},
    {"verify", 0, ST_OPT_ENUM_AT(struct raw, verify), .arg = "WHAT",
     .help =
         "digests to check; blob is what is stored (or its table of contents, of a layer that is read in parts), full "
         "adds what it unpacks to and reads every layer whole",
     .def = "blob", .choices = verifies},
    {"strict", 0, ST_OPT_FLAG_AT(struct raw, strict), .help = "exit 1 when a file could not be read (an unknown)"},
    {"keep-going", 0, ST_OPT_FLAG_AT(struct raw, keep_going),
     .help = "when a layer is damaged, write what the others say, marked incomplete; exits 1 still"},
    {"foreign-layers", 0, ST_OPT_FLAG_AT(struct raw, foreign_layers),
     .help = "fetch layers that the registry has not from the URLs in the manifest, without a login; else they are "
             "unknowns"},
    {"profile-memory", 0, ST_OPT_FLAG_AT(struct raw, profile),
     .help = "say where memory went: peak, phases, layers, re-reads, spills"},
    {"profile-output", 0, ST_OPT_STRING_AT(struct raw, profile_output), .arg = "FILE",
     .help = "that report as JSON in FILE"},
    {"retry", 0, ST_OPT_FLAG_AT(struct raw, retry),
     .help = "do the newest failed scan of this image again, from its finished layers on"},
    {"force", 0, ST_OPT_FLAG_AT(struct raw, force),
     .help = "with --retry: also when the last scan completed or the attempts are used up"},
    {"timeout", 0, ST_OPT_DURATION_AT(struct raw, timeout), .arg = "TIME",
     .help = "give up after TIME, as 30s or 1h30m", .def_text = "never"},
    {"progress", 0, ST_OPT_ENUM_AT(struct raw, progress), .arg = "HOW", .help = "progress on standard error",
     .def = "auto", .choices = st_progress_choices, .env = "STELLA_PROGRESS"},
    {"quiet", 'q', ST_OPT_FLAG_AT(struct raw, quiet), .help = "no progress, no notes; errors still"},
    {"offline", 0, ST_OPT_FLAG_AT(struct raw, offline), .help = "never use the network; exit 5 where it is needed",
     .env = "STELLA_OFFLINE"},
    ST_REMOTE_OPTS(struct raw, remote),
    {"local", 0, ST_OPT_FLAG_AT(struct raw, local), .help = "scan in this process even if a service is running"},
    {"sandbox-report", 0, ST_OPT_FLAG_AT(struct raw, sandbox_report),
     .help = "say how the processes that read images and speak to registries are locked up here; needs no image"},
};

const struct st_choice st_progress_choices[] = {
    {"auto", ST_PROGRESS_AUTO}, {"plain", ST_PROGRESS_PLAIN}, {"off", ST_PROGRESS_OFF}, {NULL}};

const struct st_choice st_source_choices[] = {{"any", ST_FROM_ANY},
                                              {"docker", ST_FROM_DOCKER},
                                              {"podman", ST_FROM_PODMAN},
                                              {"containerd", ST_FROM_CONTAINERD},
                                              {"containers-storage", ST_FROM_STORAGE},
                                              {"registry", ST_FROM_REGISTRY},
                                              {NULL}};

const struct st_term st_image_terms[] = {
    {"alpine:3.20, HOST:5000/web@sha256:...", "an image in a registry; registry:REF where a file has that name"},
    {"app.tar, app.tar.gz", "an archive of docker save, podman save or an OCI archive, plain, gzip or zstd"},
    {"./layout", "an OCI layout directory"},
    {"-", "an archive on standard input"},
    {"docker:REF, podman:REF", "an image of the local Docker or Podman"},
    {"containerd:REF",
     "an image in containerd's content store, read in place (root); containerd:[NAMESPACE@ROOT]REF says where"},
    {"containers-storage:REF",
     "an image in the store of Podman, Buildah or CRI-O, without them; [DRIVER@ROOT]REF says where"},
    {"docker-archive:FILE[:TAG]", "that kind of archive, whatever it looks like; also oci-archive:FILE[:TAG]"},
    {"oci:DIR[:TAG]", "one image of an OCI layout directory"},
    {"rootfs:DIR", "a root file system as it lies there"},
    {NULL, NULL},
};

// ---- what was asked for -------------------------------------------------------------------------

int st_image_argument(const struct st_parsed *parsed, const char *option, const char *verb, const char **ret,
                      struct st_err *err)
{
    const char *positional = parsed->n_args ? parsed->args[0] : NULL;
    if (positional && !positional[0])
        return st_err_set(err, ST_E_USAGE, "empty image name");
    if (option && positional && strcmp(option, positional) != 0)
        return st_err_set(err, ST_E_USAGE, "--image %.100s and the argument %.100s are different images", option,
                          positional);
    if (!option && !positional)
        return st_err_set(err, ST_E_USAGE, "no image given (example: stella %s ./app.tar)", verb);
    *ret = positional ? positional : option;
    return 0;
}

static int add_output(struct st_scan_ask *o, const char *format, const char *path, struct st_err *err)
{
    if (path && !strcmp(path, "-"))
        path = NULL;
    for (size_t i = 0; i < o->n_outputs; i++) {
        const char *other = o->outputs[i].path;
        if (!path && !other)
            return st_err_set(err, ST_E_USAGE, "two formats go to standard output: give one of them a file");
        if (path && other && !strcmp(path, other))
            return st_err_set(err, ST_E_USAGE, "two outputs go to %.200s", path);
    }
    o->outputs[o->n_outputs++] = (struct st_engine_output){format, path, path ? 0 : st_terminal_width(1)};
    return 0;
}

// One format only, from --format, `--output json` and `-o json`: two that differ contradict each other.
static int one_format(int *format, bool *given, int wanted, struct st_err *err)
{
    if (*given && *format != wanted)
        return st_err_set(err, ST_E_USAGE, "two formats for one output: %s and %s (-o FORMAT=FILE writes several)",
                          st_choice_word(formats, *format), st_choice_word(formats, wanted));
    *format = wanted;
    *given = true;
    return 0;
}

static int outputs(const struct raw *r, const struct st_parsed *parsed, struct st_scan_ask *o, struct st_err *err)
{
    int format = r->format;
    bool given = st_opt_source(parsed, "format") == ST_FROM_COMMAND_LINE;
    const char *file = r->output;
    // A value that is just a format's word means the format (operator-surface 6.2).
    const struct st_choice *word = file ? st_choice_find(formats, st_sv_of(file)) : NULL;
    if (word && one_format(&format, &given, word->value, err))
        return -1;
    if (word)
        file = NULL;
    for (size_t i = 0; i < r->also.n; i++) {
        struct st_sv name, path;
        bool pair = st_sv_cut(st_sv_of(r->also.at[i]), '=', &name, &path);
        const struct st_choice *f = st_choice_find(formats, name);
        char words[200];
        st_choice_words(formats, words, sizeof words);
        if (!f)
            return st_err_set(err, ST_E_USAGE, "unknown format '" ST_SV_FMT "' for -o FORMAT=FILE (one of %s)",
                              ST_SV_ARG(st_sv_sub(name, 0, 100)), words);
        if (pair && !path.len)
            return st_err_set(err, ST_E_USAGE, "no file in '-o %s'", r->also.at[i]);
        if (pair ? add_output(o, st_choice_word(formats, f->value), path.ptr, err)
                 : one_format(&format, &given, f->value, err))
            return -1;
    }
    if (file || given || o->n_outputs == 0)
        return add_output(o, st_choice_word(formats, format), file, err);
    return 0;
}

static unsigned processors(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return (unsigned)ST_MIN(ST_MAX(n, 1), ST_THREADS_MAX);
}

static int resolve(const struct raw *r, const struct st_parsed *parsed, struct st_scan_ask *o, struct st_err *err)
{
    bool image_given = r->image || parsed->n_args;
    if ((image_given || !r->sandbox_report) && st_image_argument(parsed, r->image, "scan image", &o->image, err))
        return -1;
    if (st_platform_check(st_sv_of(r->platform), err) || outputs(r, parsed, o, err))
        return -1;
    if (r->force && !r->retry)
        return st_err_set(err, ST_E_USAGE, "--force goes with --retry");
    if (r->retry && !image_given)
        return st_err_set(err, ST_E_USAGE, "--retry needs the image of the failed scan");
    if (r->retry && !strcmp(o->image, "-"))
        return st_err_set(err, ST_E_USAGE, "--retry cannot read standard input again: give it as a file");
    o->options = (struct st_scan_options){
        .memory = st_opt_source(parsed, "memory") == ST_FROM_DEFAULT ? 0 : r->memory,
        .threads = (uint32_t)r->threads,
        .cache = strcmp(r->cache, "off") != 0,
        .has_cache = st_opt_source(parsed, "cache") != ST_FROM_DEFAULT,
        .verify = (enum st_verify)r->verify,
        .has_verify = r->verify != ST_VERIFY_BLOB,
        .strict = r->strict,
        .keep_going = r->keep_going,
        .offline = r->offline,
        .foreign_layers = r->foreign_layers,
        .platform = st_sv_of(r->platform),
        .timeout_s = r->timeout,
        .bandwidth = r->remote.bandwidth,
    };
    o->remote = r->remote;
    o->memory = r->memory;
    o->threads = r->threads ? (unsigned)r->threads : processors();
    o->cache_dir = o->options.cache && strcmp(r->cache, "on") != 0 ? r->cache : NULL;
    o->local = r->local;
    o->quiet = r->quiet;
    o->profile = r->profile || r->profile_output;
    o->profile_output = r->profile_output;
    o->progress = r->quiet ? ST_PROGRESS_OFF : (enum st_progress_mode)r->progress;
    o->retry = r->retry;
    o->force = r->force;
    o->sandbox_report = r->sandbox_report;
    return 0;
}

static void show_sandbox(struct st_out *out, const char *who, const struct st_sandbox_report *rep,
                         enum st_sandbox_net net)
{
    st_out_fmt(out, "%s\n", who);
    for (int i = 0; i < ST_SANDBOX_MEASURES_MAX; i++)
        st_out_fmt(out, "  %-14s %-24s %s\n", st_sandbox_word((enum st_sandbox_measure)i),
                   st_sandbox_state_word(rep->state[i]), st_sandbox_what((enum st_sandbox_measure)i, net));
}

// The reader of a store is forked, not started: it has the analyzer's sandbox, and reads below the store's directories.
static int sandbox_report(struct st_out *out, struct st_err *err)
{
    struct st_sandbox_report analyze, internet, local;
    if (st_scan_sandbox(&analyze, err) || st_pull_sandbox(ST_SANDBOX_INTERNET, &internet, err) ||
        st_pull_sandbox(ST_SANDBOX_LOCAL, &local, err))
        return -1;
    show_sandbox(out, "stella-analyze, which reads what is in an image", &analyze, ST_SANDBOX_NO_NET);
    show_sandbox(out, "stella-fetch, which speaks to a registry", &internet, ST_SANDBOX_INTERNET);
    show_sandbox(out, "stella-fetch, which speaks to a daemon of this machine", &local, ST_SANDBOX_LOCAL);
    st_out_fmt(out, "%-16s %d\n", "landlock ABI", analyze.landlock_abi);
    return 0;
}

static int run_scan(const struct st_call *call, struct st_err *err)
{
    struct st_scan_ask ask = {.out = call->out};
    if (resolve(call->options, call->parsed, &ask, err))
        return -1;
    if (ask.sandbox_report) { // with an image: on standard error, then the scan
        struct st_out to_err;
        st_out_init_fd(&to_err, 2);
        int rc = sandbox_report(ask.image ? &to_err : ask.out, err);
        if (st_out_finish(&to_err, rc ? NULL : err) || rc || !ask.image)
            return rc;
    }
    bool done;
    int rc = st_scan_remote(&ask, &done, err);
    return done ? rc : st_scan_local(&ask, err);
}

const struct st_verb st_verb_scan_image = {
    .words = "scan image",
    .summary = "list the packages in an image (SBOM)",
    .args = "REF|PATH",
    .about =
        "Reads the image once, as a stream, inside the memory budget, and prints the packages in it: of the "
        "distribution, of the languages, and what is inside binaries. One image gives the same bytes each time, at "
        "any budget.\n\n"
        "A file that cannot be read becomes a named unknown and the scan is complete. A damaged layer is a failure "
        "and nothing is written, unless --keep-going.\n\n"
        "When a scan service answers on this machine (stella serve), the scan is a job of it, and a file, pipe or "
        "local "
        "daemon's image is passed along: result, exit code and last lines are the same. Ctrl-C cancels the job. Logins "
        "and certificates given here do not travel: --local, or those of the service's user.",
    .max_args = 1,
    .terms = st_image_terms,
    .opts = options,
    .n_opts = ST_LEN(options),
    .options_size = sizeof(struct raw),
    .examples =
        {
            {"See what is in an image that docker save wrote", "stella scan image app.tar"},
            {"See what is in an image of a registry", "stella scan image registry.example/team/web:1.2"},
            {"Make a CycloneDX SBOM", "stella scan image app.tar --format cdx --output app.cdx.json"},
            {"Scan what docker has, with half the default memory",
             "docker save app | stella scan image - --memory 32Mi"},
        },
    .run = run_scan,
};
