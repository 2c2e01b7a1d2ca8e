// The program: verbs, exit codes, what --help and the manual say.
#include "watchdog/watchdog_cmd.h"

#include "base/ckd.h"
#include "watchdog/wd_replay.h"

#include <sys/utsname.h>

int st_wd_cmd_root(struct st_wd_root *root, const char *mount, struct st_err *err)
{
    return st_wd_root_open(root, mount ? mount : ST_WD_MOUNT, mount != NULL, err);
}

const char *st_wd_cmd_path(const char *mount, const char *path)
{
    size_t n = strlen(mount);
    while (n && mount[n - 1] == '/')
        n--;
    if (!strncmp(path, mount, n) && (path[n] == '/' || path[n] == '\0'))
        path += n;
    while (*path == '/')
        path++;
    return path;
}

// ---- replay -------------------------------------------------------------------------------------

enum { FORMAT_TEXT, FORMAT_JSON };
struct replay {
    int format;
    bool every;
};
static const struct st_choice formats[] = {{"text", FORMAT_TEXT}, {"json", FORMAT_JSON}, {NULL}};
static const struct st_opt replay_opts[] = {
    {.name = "format",
     .letter = 'f',
     .arg = "FORMAT",
     ST_OPT_ENUM_AT(struct replay, format),
     .choices = formats,
     .def = "text",
     .help = "what to write"},
    {.name = "every", ST_OPT_FLAG_AT(struct replay, every), .help = "a line for every sample, not only for changes"},
};

static int run_replay(const struct st_call *call, struct st_err *err)
{
    const struct replay *o = call->options;
    if (call->parsed->n_args == 0)
        return st_err_set(err, ST_E_USAGE, "which trace or evidence file? (- is standard input)");
    struct st_wd_replay_options opt = {.json = o->format == FORMAT_JSON, .every = o->every};
    return st_wd_replay(call->parsed->args, call->parsed->n_args, &opt, call->out, err);
}

const struct st_verb st_verb_wd_replay = {
    .words = "replay",
    .summary = "judge recorded samples again",
    .args = "FILE...",
    .about = "Judges traces (run --record) and evidence records (run --evidence, judge --format json) again, with the "
             "rules of this version, as far as they do not hang on what was seen before the first sample. A file of "
             "records is taken as one series: pick one incident, or one cgroup. Needs no cgroup and no permission.",
    .max_args = ST_ARGS_MAX,
    .opts = replay_opts,
    .n_opts = ST_LEN(replay_opts),
    .options_size = sizeof(struct replay),
    .examples = {{"See why it acted", "grep -h '\"id\":\"ID\"' /var/log/oom.jsonl | stella-watchdog replay -"},
                 {"Every step, for a program", "stella-watchdog replay --every --format json ci_job1.trace"}},
    .run = run_replay,
};

// ---- version, help ------------------------------------------------------------------------------

static int run_version(const struct st_call *call, struct st_err *err)
{
    (void)err;
    struct utsname u = {0};
    uname(&u);
    st_out_fmt(call->out, "stella-watchdog " ST_VERSION " (%s %s)\n", u.sysname, u.release);
    return 0;
}

const struct st_verb st_verb_wd_version = {
    .words = "version",
    .summary = "show the version",
    .args = "",
    .about = "Shows the version of this program and of the kernel here.",
    .examples = {{"Say what goes into a bug report", "stella-watchdog version"},
                 {"The same, as other programs spell it", "stella-watchdog --version"}},
    .run = run_version,
};

static const struct st_verb verb_help = {
    ST_VERB_HELP,
    .max_args = 3,
    .examples = {{"See the options of run", "stella-watchdog help run"}, {"See all commands", "stella-watchdog help"}},
};

static const struct st_verb *const verbs[] = {
    &st_verb_wd_run, &st_verb_wd_judge, &st_verb_wd_replay, &st_verb_wd_exec, &st_verb_wd_version, &verb_help, NULL,
};
static const struct st_group groups[] = {{NULL}};
static const struct st_term exit_codes[] = {
    {"0", "done"},
    {"1", "failed, or an ability that --require names cannot be had"},
    {"2", "bad input or usage"},
    {"4", "there is no such cgroup, mount or command"},
    {"137", "exec: the command died of memory; any other status of exec is the command's own"},
    {NULL, NULL},
};
static const char *const see_also[] = {"stella(1)", "cgroups(7)", NULL};

const struct st_program st_wd_program = {
    .name = "stella-watchdog",
    .section = 8,
    .summary = "end a cgroup that hangs at its memory limit, and nothing else",
    .about =
        "stella-watchdog watches cgroups (v2) and ends one that is live-locked at its memory limit, which the kernel "
        "would leave hanging for hours. One that is merely full of cache it leaves alone.",
    .description =
        "A cgroup that exhausts its memory limit can hang without ever being killed: as long as reclaim frees "
        "some page of a file, the kernel does not declare out-of-memory, and the job spends its time reading "
        "the same pages again. stella-watchdog tells this from a cgroup whose page cache fills the limit, and "
        "ends it: the process that holds most, its tree, then the cgroup.\n\n"
        "It sleeps until the kernel says that a limit was hit. Data goes to standard output, everything else "
        "to standard error.",
    .verbs = verbs,
    .groups = groups,
    .exit_codes = exit_codes,
    .version = &st_verb_wd_version,
    .see_also = see_also,
};
