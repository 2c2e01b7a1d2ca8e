// stella-watchdog judge.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "watchdog/evidence.h"
#include "watchdog/watchdog_cmd.h"
#include "watchdog/wd_files.h"
#include "watchdog/wd_screen.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#define STEP_MS 250
#define SHOW_MS 1000

enum { FORMAT_TEXT, FORMAT_JSON };

struct options {
    uint64_t seconds;
    int format;
    const char *mount;
};

static const struct st_choice formats[] = {{"text", FORMAT_TEXT}, {"json", FORMAT_JSON}, {NULL}};

static const struct st_opt opts[] = {
    {.name = "seconds",
     .letter = 's',
     .arg = "N",
     ST_OPT_COUNT_AT(struct options, seconds),
     .def = "8",
     .min = 1,
     .max = 3600,
     .help = "look for so long; a hang shows after 5 to 7"},
    {.name = "format",
     .letter = 'f',
     .arg = "FORMAT",
     ST_OPT_ENUM_AT(struct options, format),
     .choices = formats,
     .def = "text",
     .help = "what to write; json is one record, with the samples"},
    {.name = "mount",
     .arg = "DIR",
     ST_OPT_STRING_AT(struct options, mount),
     .def_text = ST_WD_MOUNT,
     .help = "where cgroup v2 is mounted"},
};

struct look {
    struct st_wd_root root;
    struct st_wd_domain domain;
    struct st_wd_sampler sampler;
    int dir; // owns
    char owner[512];
    struct st_sv path;
    struct st_wd_protect protect;
    struct st_wd_series series;
    struct st_wd_judge judge;
    struct st_wd_verdict verdict;
    struct st_wd_processes processes;
};

static int look_open(struct look *l, const struct options *o, const char *path, struct st_err *err)
{
    const char *mount = o->mount ? o->mount : ST_WD_MOUNT;
    ST_AUTO_CLOSE int owner = -1;
    l->path = st_sv_of(st_wd_cmd_path(mount, path));
    if (st_wd_cmd_root(&l->root, o->mount, err) || st_wd_domain_open(&l->domain, &l->root, l->path, err) ||
        st_wd_domain_owner(&l->domain, &l->root, &owner, err) || st_wd_sampler_open(&l->sampler, owner, NULL, err))
        return -1;
    l->dir = openat(l->domain.dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->dir < 0)
        return st_err_sys(err, "open %.200s", path);
    if (st_wd_dir_path(&l->root, owner, l->owner, sizeof l->owner))
        snprintf(l->owner, sizeof l->owner, "/?");
    st_wd_protect_init(&l->protect);
    return 0;
}

static void look_close(struct look *l)
{
    st_wd_sampler_close(&l->sampler);
    st_wd_domain_close(&l->domain);
    st_wd_root_close(&l->root);
    if (l->dir >= 0)
        close(l->dir);
}

static int sample(struct look *l, struct st_err *err)
{
    struct st_wd_sample s;
    uint32_t next;
    if (st_wd_sampler_read(&l->sampler, &s))
        return st_err_set(err, ST_E_NOTFOUND, "/" ST_SV_FMT " is gone", ST_SV_ARG(l->path));
    st_wd_series_push(&l->series, &s);
    st_wd_judge_step(&l->judge, &st_wd_policy_default, &l->series, &l->verdict, &next);
    return 0;
}

static void scan(struct look *l)
{
    st_wd_processes_clear(&l->processes, &l->protect);
    st_wd_processes_scan(&l->processes, l->dir, 0, 0, st_wd_now_ms() + 1000);
    st_wd_processes_finish(&l->processes);
}

static void show(struct look *l, struct st_out *o, double seconds)
{
    const struct st_wd_sample *s = st_wd_series_get(&l->series, l->series.n - 1);
    scan(l);
    st_wd_screen_write(o, &(struct st_wd_screen){.path = l->path,
                                                 .owner = st_sv_of(l->owner),
                                                 .verdict = &l->verdict,
                                                 .processes = &l->processes,
                                                 .swap = s->v[ST_WD_F_host_swap_free] > 0,
                                                 .seconds = seconds});
}

static void record(struct look *l, struct st_out *o)
{
    char id[ST_WD_ID], text[1024];
    int64_t wall_ms = st_clock_wall_ms();
    scan(l);
    st_wd_incident_id(l->domain.ino, st_wd_now_ms(), wall_ms, id);
    st_wd_verdict_text(&l->verdict, st_sv_of(l->owner), text, sizeof text);
    st_wd_record_write(o, &(struct st_wd_record){.id = id,
                                                 .wall_ms = wall_ms,
                                                 .dry_run = true,
                                                 .path = l->path,
                                                 .owner = st_sv_of(l->owner),
                                                 .ino = l->domain.ino,
                                                 .verdict = &l->verdict,
                                                 .text = st_sv_of(text),
                                                 .culprit = st_wd_culprit(&l->processes),
                                                 .before = &l->verdict.n,
                                                 .series = &l->series});
}

static int watch(struct look *l, const struct options *o, struct st_out *out, struct st_err *err)
{
    bool live = o->format == FORMAT_TEXT && isatty(STDOUT_FILENO);
    uint64_t start = st_wd_now_ms(), end = start + o->seconds * 1000, shown = start;
    for (uint64_t now = start; now < end; now = st_wd_now_ms()) {
        if (sample(l, err))
            return -1;
        if (live && now >= shown + SHOW_MS) {
            st_out_puts(out, "\033[H\033[2J");
            show(l, out, (double)(now - start) / 1000);
            st_out_fmt(out, "\n  looking for another %llu s\n", (unsigned long long)((end - now + 999) / 1000));
            st_out_flush(out);
            shown = now;
        }
        nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
    }
    if (sample(l, err))
        return -1;
    if (live)
        st_out_puts(out, "\033[H\033[2J");
    if (o->format == FORMAT_JSON)
        record(l, out);
    else
        show(l, out, (double)o->seconds);
    return 0;
}

static int run(const struct st_call *call, struct st_err *err)
{
    if (call->parsed->n_args != 1)
        return st_err_set(err, ST_E_USAGE,
                          "which cgroup? Give its path, as in /proc/PID/cgroup (stella-watchdog judge "
                          "--help)");
    struct look *l = calloc(1, sizeof *l);
    if (!l)
        return st_err_nomem(err);
    l->root.fd = l->domain.dir_fd = l->dir = -1;
    l->sampler = (struct st_wd_sampler)ST_WD_SAMPLER_INIT;
    int rc = look_open(l, call->options, call->parsed->args[0], err);
    rc = rc ? rc : watch(l, call->options, call->out, err);
    look_close(l);
    free(l);
    return rc;
}

const struct st_verb st_verb_wd_judge = {
    .words = "judge",
    .summary = "look at one cgroup and say what state it is in",
    .args = "PATH",
    .about =
        "Looks at a cgroup for some seconds and says in one screen what is happening, whose limit it is, who holds "
        "the memory and what to do. Changes nothing. At a terminal the screen is live.",
    .max_args = 1,
    .opts = opts,
    .n_opts = ST_LEN(opts),
    .options_size = sizeof(struct options),
    .examples = {{"Is this runner hung, or just full of cache",
                  "stella-watchdog judge /kubepods.slice/kubepods-pod1.slice"},
                 {"Keep the answer with its samples", "stella-watchdog judge --format json /ci/job1 >job1.json"}},
    .run = run,
};
