// stella-watchdog run.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "watchdog/ability.h"
#include "watchdog/watchdog_cmd.h"
#include "watchdog/wd_files.h"

#include <fcntl.h>
#include <stdio.h>

struct options {
    struct st_opt_list cgroups, matches, require, protect;
    const char *act, *evidence, *metrics, *hook, *record, *mount;
    int relief;
    bool dry_run, allow_self, quiet;
};

enum { RELIEF_RAISE, RELIEF_FREEZE };
static const struct st_choice reliefs[] = {{"raise", RELIEF_RAISE}, {"freeze", RELIEF_FREEZE}, {NULL}};

static const struct st_opt opts[] = {
    {.name = "cgroup",
     .arg = "PATH",
     ST_OPT_LIST_AT(struct options, cgroups),
     .help = "watch this cgroup; may be given more than once"},
    {.name = "match",
     .arg = "PATTERN",
     ST_OPT_LIST_AT(struct options, matches),
     .help = "watch all cgroups whose path matches, also those that come later; * and ? within a name, ** over any "
             "number of names"},
    {.name = "dry-run",
     .letter = 'n',
     ST_OPT_FLAG_AT(struct options, dry_run),
     .help = "do nothing, but write the same records"},
    {.name = "act",
     .arg = "RUNG",
     ST_OPT_STRING_AT(struct options, act),
     .def_text = "cgroup",
     .help = "highest rung of the ladder observe, warn, relieve, culprit, tree, kernel, cgroup, hook; +RUNG and -RUNG "
             "switch one on or off (relieve and kernel are off), separated by commas"},
    {.name = "relief",
     .arg = "HOW",
     ST_OPT_ENUM_AT(struct options, relief),
     .choices = reliefs,
     .def = "raise",
     .help = "what the rung relieve does for up to 10 s"},
    {.name = "protect",
     .arg = "NAMES",
     ST_OPT_LIST_AT(struct options, protect),
     .help = "never kill processes of these names, separated by commas, nor what they descend from; beside "
             "Runner.Listener, Runner.Worker, dockerd, containerd, containerd-shim, runc, systemd, init, tini, "
             "dumb-init and every pid 1 of a namespace"},
    {.name = "evidence",
     .arg = "FILE",
     ST_OPT_STRING_AT(struct options, evidence),
     .help = "append a JSON record for each verdict and action; the file may be rotated away at any time; - is "
             "standard output"},
    {.name = "hook",
     .arg = "COMMAND",
     ST_OPT_STRING_AT(struct options, hook),
     .help =
         "run this with each record on its standard input; words are separated by blanks, there is no shell; killed "
         "after 30 s"},
    {.name = "metrics",
     .arg = "WHERE",
     ST_OPT_STRING_AT(struct options, metrics),
     .help = "Prometheus text: a file, unix:PATH, or an address like 127.0.0.1:9101"},
    {.name = "record",
     .arg = "DIR",
     ST_OPT_STRING_AT(struct options, record),
     .help = "keep every sample, as traces that replay reads"},
    {.name = "require",
     .arg = "ABILITY",
     ST_OPT_LIST_AT(struct options, require),
     .help =
         "fail at the start when this cannot be had: events, trigger, psi, inotify, processes, signal, kill, limit, "
         "environ, mlock, oom-adj"},
    {.name = "mount",
     .arg = "DIR",
     ST_OPT_STRING_AT(struct options, mount),
     .def_text = ST_WD_MOUNT,
     .help = "where cgroup v2 is mounted"},
    {.name = "allow-self",
     ST_OPT_FLAG_AT(struct options, allow_self),
     .help = "watch also a cgroup that holds this process or process 1"},
    {.name = "quiet", .letter = 'q', ST_OPT_FLAG_AT(struct options, quiet), .help = "log actions only"},
};

struct run {
    const struct options *o;
    struct st_wd_root root;
    struct st_wd_pattern patterns[2 * ST_OPT_LIST_MAX];
    struct st_wd_watch_options watch;
    struct st_wd_aide aide;
    struct st_wd_aide_files files;
    struct st_wd_hook hook;
    struct st_wd_abilities abilities;
    enum st_wd_ability required[ST_OPT_LIST_MAX];
};

static int parse(struct run *r, struct st_err *err)
{
    const struct options *o = r->o;
    struct st_wd_watch_options *w = &r->watch;
    const char *mount = o->mount ? o->mount : ST_WD_MOUNT;
    if (o->cgroups.n + o->matches.n == 0)
        return st_err_set(err, ST_E_USAGE, "which cgroup? Give --cgroup PATH or --match PATTERN");
    for (size_t i = 0; i < o->cgroups.n; i++)
        if (st_wd_pattern_parse(&r->patterns[w->n_patterns++], st_wd_cmd_path(mount, o->cgroups.at[i]), true, err))
            return -1;
    for (size_t i = 0; i < o->matches.n; i++)
        if (st_wd_pattern_parse(&r->patterns[w->n_patterns++], st_wd_cmd_path(mount, o->matches.at[i]), false, err))
            return -1;
    st_wd_ladder_init(&w->ladder);
    if (o->act && st_wd_ladder_parse(&w->ladder, st_sv_of(o->act), err))
        return -1;
    for (size_t i = 0; i < o->protect.n; i++)
        if (st_wd_protect_add(&w->ladder.protect, st_sv_of(o->protect.at[i]), err))
            return -1;
    for (size_t i = 0; i < o->require.n; i++)
        if (st_wd_ability_find(st_sv_of(o->require.at[i]), &r->required[i], err))
            return -1;
    if (o->hook && st_wd_hook_init(&r->hook, o->hook, err))
        return -1;
    w->ladder.dry_run = o->dry_run;
    w->ladder.freeze = o->relief == RELIEF_FREEZE;
    w->patterns = r->patterns;
    w->allow_self = o->allow_self;
    w->hook = o->hook ? &r->hook : NULL;
    w->quiet = o->quiet;
    return 0;
}

static int open_files(struct run *r, struct st_err *err)
{
    const struct options *o = r->o;
    r->files = (struct st_wd_aide_files){.root = r->root.fd, .evidence = o->evidence, .traces = -1};
    if (o->evidence && st_wd_aide_evidence_try(o->evidence, err))
        return -1;
    if (o->record) {
        r->files.traces = open(o->record, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (r->files.traces < 0)
            return st_err_sys(err, "--record %.200s", o->record);
    }
    r->watch.metrics = (struct st_wd_metrics_at){.fd = -1};
    if (o->metrics && st_wd_metrics_open(&r->watch.metrics, o->metrics, err))
        return -1;
    r->files.metrics = r->watch.metrics.file;
    r->watch.evidence = o->evidence;
    r->watch.traces = r->files.traces >= 0;
    return 0;
}

// A cgroup to try the abilities on: the root has no memory files. The root itself when it is empty.
static int any_cgroup(const struct st_wd_root *root)
{
    struct st_wd_listing l;
    ST_AUTO_CLOSE int dir = openat(root->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return -1;
    st_wd_listing_init(&l, dir);
    for (const char *name; (name = st_wd_listing_next(&l, true));) {
        ST_AUTO_CLOSE int one = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (one >= 0 && faccessat(one, "memory.events", F_OK, 0) == 0)
            return st_take_fd(&one);
    }
    return st_take_fd(&dir);
}

static bool is_literal(struct st_sv part)
{
    for (size_t i = 0; i < part.len; i++)
        if (strchr("*?[\\", part.ptr[i]))
            return false;
    return true;
}

// The cgroup below which the first pattern matches, where it is there and not the root: -1.
static int parent_cgroup(const struct run *r)
{
    const struct st_wd_pattern *p = &r->patterns[0];
    struct st_wd_domain d = {.dir_fd = -1};
    size_t n = 0;
    while (n < p->n && is_literal(p->part[n]))
        n++;
    if (n == 0 || n == p->n ||
        st_wd_domain_open(&d, &r->root, st_sv_mem(p->text, (size_t)(p->part[n].ptr - p->text)), NULL))
        return -1;
    int dir = openat(d.dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    st_wd_domain_close(&d);
    return dir;
}

// Each --cgroup must be there; the abilities are those of the first one, else of where the first --match looks, else of
// any.
static int look(struct run *r, struct st_err *err)
{
    ST_AUTO_CLOSE int dir = parent_cgroup(r);
    if (dir < 0)
        dir = any_cgroup(&r->root);
    for (size_t i = 0; i < r->watch.n_patterns && r->patterns[i].exact; i++) {
        struct st_wd_domain d = {.dir_fd = -1};
        if (st_wd_domain_open(&d, &r->root, st_sv_of(r->patterns[i].text), err))
            return err->code == ST_E_NOTFOUND ? st_err_wrap(err, "--cgroup (--match waits for what comes later)") : -1;
        ST_AUTO_CLOSE int one = openat(d.dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        st_wd_domain_close(&d);
        bool self = one >= 0 && st_wd_holds_pid(one, getpid());
        if (one >= 0 && !r->o->allow_self && (self || st_wd_holds_pid(one, 1)))
            return st_err_set(err, ST_E_INPUT,
                              "--cgroup %.200s holds %s: killing it would end %s (--allow-self "
                              "watches it all the same)",
                              r->patterns[i].text, self ? "this process" : "process 1",
                              self ? "the watchdog too" : "the whole system");
        if (i == 0 && one >= 0) {
            close(dir);
            dir = st_take_fd(&one);
        }
    }
    st_wd_abilities_probe(&r->abilities, dir);
    return 0;
}

static int tell_abilities(struct run *r, struct st_err *err)
{
    for (int a = 0; a < ST_WD_ABILITY_COUNT; a++)
        if (!r->abilities.has[a])
            st_wd_aide_say(&r->aide, "without %s (%s): %s", st_wd_ability_word((enum st_wd_ability)a),
                           r->abilities.why[a], st_wd_ability_lost((enum st_wd_ability)a));
    for (size_t i = 0; i < r->o->require.n; i++)
        if (!r->abilities.has[r->required[i]])
            return st_err_set(err, ST_E_FAILED, "--require %s: %s", st_wd_ability_word(r->required[i]),
                              r->abilities.why[r->required[i]]);
    return 0;
}

static void tell_start(struct run *r)
{
    char rungs[120] = "", what[400] = "";
    size_t n = 0;
    for (int i = ST_WD_RUNG_RELIEVE; i < ST_WD_RUNG_COUNT; i++)
        if (r->watch.ladder.on[i] && (i != ST_WD_RUNG_HOOK || r->watch.hook))
            n += (size_t)snprintf(rungs + n, sizeof rungs - n, "%s%s", n ? ", " : "", st_wd_rungs[i].word);
    for (size_t i = 0, at = 0; i < r->watch.n_patterns && at < sizeof what; i++)
        at += (size_t)snprintf(what + at, sizeof what - at, "%s/%s", i ? " " : "", r->patterns[i].text);
    if (!r->o->quiet)
        st_wd_aide_say(&r->aide, "watching %s; rungs: %s%s", what, n ? rungs : "none, only warns",
                       r->watch.ladder.dry_run ? " (dry run)" : "");
}

static int run_with(struct run *r, struct st_err *err)
{
    char text[ST_CLOCK_TEXT];
    st_clock_text(st_clock_wall_ms(), text); // whatever the C library sets up for it, it sets up now
    r->watch.root = r->root;
    r->watch.aide = &r->aide;
    if (open_files(r, err) || st_wd_aide_start(&r->aide, &r->files, err))
        return -1;
    st_wd_abilities_protect_self(&r->abilities, r->aide.pid);
    if (tell_abilities(r, err))
        return -1;
    struct st_wd_watch *w = st_wd_watch_new(&r->watch, err);
    if (!w)
        return -1;
    tell_start(r);
    int rc = st_wd_watch_run(w, 0, NULL, err);
    st_wd_watch_free(w);
    return rc;
}

static int run(const struct st_call *call, struct st_err *err)
{
    struct run r = {.o = call->options, .root = {.fd = -1}, .aide = {.fd = -1}};
    if (parse(&r, err) || st_wd_cmd_root(&r.root, r.o->mount, err))
        return -1;
    int rc = look(&r, err) ? -1 : run_with(&r, err);
    st_wd_aide_stop(&r.aide, 2000);
    st_wd_root_close(&r.root);
    return rc;
}

const struct st_verb st_verb_wd_run = {
    .words = "run",
    .summary = "watch cgroups, and end one that hangs at its memory limit",
    .args = "",
    .about =
        "Watches cgroups and sleeps until one runs into its memory limit. One that is merely full of cache is left "
        "alone. One that is live-locked is ended: first the process that holds most memory, then its tree, then the "
        "watched cgroup that holds it (a container, or its pod where only that is watched); never agents, container "
        "runtimes and inits (--protect).\n\n"
        "What cannot be done here (a read-only mount, no permission) is said at the start, and the rest goes on.",
    .opts = opts,
    .n_opts = ST_LEN(opts),
    .options_size = sizeof(struct options),
    .examples = {{"See what it would do to the pods of this node",
                  "stella-watchdog run --match '**/*kubepods*/**' --dry-run"},
                 {"Guard one cgroup, and kill no more than the culprit",
                  "stella-watchdog run --cgroup /system.slice/ci.service --act culprit"},
                 {"Keep evidence and metrics",
                  "stella-watchdog run --match 'ci/*' --evidence /var/log/oom.jsonl --metrics 127.0.0.1:9101"},
                 {"Hand over what is left to stella-act",
                  "stella-watchdog run --match '**/*kubepods*/**' --hook 'stella-act kubernetes'"}},
    .run = run,
};
