// stella-watchdog exec: a command in a fresh cgroup, under watch.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/quantity.h"
#include "watchdog/ability.h"
#include "watchdog/watchdog_cmd.h"
#include "watchdog/wd_files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define EXIT_MEMORY 137

struct options {
    uint64_t max;
    const char *parent, *evidence, *mount;
};

static const struct st_opt opts[] = {
    {.name = "memory-max",
     .letter = 'm',
     .arg = "BYTES",
     ST_OPT_BYTES_AT(struct options, max),
     .min = ST_MIB,
     .help = "memory.max of the cgroup, like 3G or 512Mi"},
    {.name = "parent",
     .arg = "PATH",
     ST_OPT_STRING_AT(struct options, parent),
     .help = "make the cgroup in this one; it must hold no process of its own"},
    {.name = "evidence",
     .arg = "FILE",
     ST_OPT_STRING_AT(struct options, evidence),
     .help = "append a JSON record for each verdict and action"},
    {.name = "mount",
     .arg = "DIR",
     ST_OPT_STRING_AT(struct options, mount),
     .def_text = ST_WD_MOUNT,
     .help = "where cgroup v2 is mounted"},
};

struct job {
    const struct options *o;
    char *const *command;
    struct st_wd_root root;
    int parent; // owns
    int dir;    // owns
    char name[40], path[ST_WD_CELL_PATH];
    char oom_adj[16];
    struct rlimit nofile;
};

// ---- the cgroup ---------------------------------------------------------------------------------

static bool gives_memory(int dir)
{
    char buf[256];
    ssize_t n = st_wd_read_at(dir, "cgroup.subtree_control", buf, sizeof buf);
    struct st_sv text = st_sv_trim(st_sv_mem(buf, n > 0 ? (size_t)n : 0)), word;
    while (st_sv_split(&text, ' ', &word))
        if (st_sv_eq(word, ST_SV("memory")))
            return true;
    return st_wd_write_at(dir, "cgroup.subtree_control", "+memory", 0) == 0;
}

static bool try_parent(struct job *j, struct st_sv path)
{
    char text[ST_WD_CELL_PATH];
    while (path.len && path.ptr[0] == '/')
        path = st_sv_from(path, 1);
    if (path.len + sizeof j->name >= sizeof text)
        return false;
    snprintf(text, sizeof text, ST_SV_FMT, ST_SV_ARG(path));
    ST_AUTO_CLOSE int dir = openat(j->root.fd, text[0] ? text : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || !gives_memory(dir) || mkdirat(dir, j->name, 0755))
        return false;
    snprintf(j->path, sizeof j->path, "%s%s%s", text, text[0] ? "/" : "", j->name);
    j->parent = st_take_fd(&dir);
    return true;
}

// Its own cgroup is where this process is, which as a rule forbids cgroups with memory in it; then beside it.
static int make_cgroup(struct job *j, struct st_err *err)
{
    char buf[1024], max[24];
    ssize_t n = st_wd_read_at(AT_FDCWD, "/proc/self/cgroup", buf, sizeof buf);
    struct st_sv text = st_sv_mem(buf, n > 0 ? (size_t)n : 0), line, own = ST_SV_NULL;
    snprintf(j->name, sizeof j->name, "stella-exec-%d", (int)getpid());
    while (st_sv_line(&text, &line))
        if (st_sv_starts(line, ST_SV("0::")))
            own = st_sv_from(line, 3);
    bool made = j->o->parent
                    ? try_parent(j, st_sv_of(st_wd_cmd_path(j->o->mount ? j->o->mount : ST_WD_MOUNT, j->o->parent)))
                    : try_parent(j, own) || try_parent(j, st_sv_dirname(own));
    if (!made)
        return st_err_sys(err,
                          "no cgroup with a memory limit can be made in %s; give --parent PATH of one that is "
                          "yours and holds no process (systemd-run --user --scope -p Delegate=yes makes one)",
                          j->o->parent ? j->o->parent : "this process's own or beside it");
    j->dir = openat(j->parent, j->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(max, sizeof max, "%llu", (unsigned long long)j->o->max);
    if (j->dir < 0 || st_wd_write_at(j->dir, "memory.max", max, 0))
        return st_err_sys(err, "memory.max of /%s", j->path);
    return 0;
}

static void remove_cgroup(struct job *j)
{
    if (j->parent < 0)
        return;
    if (j->dir >= 0)
        st_wd_write_at(j->dir, "cgroup.kill", "1", 0); // what the command has left behind
    for (int i = 0; i < 200 && unlinkat(j->parent, j->name, AT_REMOVEDIR) && errno == EBUSY; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

// ---- the command --------------------------------------------------------------------------------

static void become(const struct job *j, int report)
{
    sigset_t none;
    sigemptyset(&none);
    int failed = st_wd_write_at(j->dir, "cgroup.procs", "0", 0) ? errno : 0;
    if (!failed) {
        st_wd_write_at(AT_FDCWD, "/proc/self/oom_score_adj", j->oom_adj, 0);
        setrlimit(RLIMIT_NOFILE, &j->nofile);
        signal(SIGPIPE, SIG_DFL);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execvp(j->command[0], j->command);
        failed = errno;
    }
    _exit(write(report, &failed, sizeof failed) == sizeof failed ? 127 : 126);
}

static pid_t start(const struct job *j, struct st_err *err)
{
    int fds[2], failed = 0;
    if (pipe2(fds, O_CLOEXEC))
        return st_err_sys(err, "pipe");
    pid_t pid = fork();
    if (pid == 0)
        become(j, fds[1]);
    close(fds[1]);
    if (pid < 0)
        st_err_sys(err, "fork");
    else if (read(fds[0], &failed, sizeof failed) == sizeof failed) {
        waitpid(pid, NULL, 0);
        pid = -1;
        st_err_set(err, failed == ENOENT ? ST_E_NOTFOUND : ST_E_FAILED, "%.200s: %s", j->command[0], strerror(failed));
    }
    close(fds[0]);
    return pid;
}

// ---- the end ------------------------------------------------------------------------------------

static uint64_t kernel_kills(const struct job *j)
{
    char buf[512];
    uint64_t n = 0;
    ssize_t got = st_wd_read_at(j->dir, "memory.events", buf, sizeof buf);
    if (got > 0)
        st_wd_key_number(st_sv_mem(buf, (size_t)got), ST_SV("oom_kill"), &n);
    return n;
}

// The command failed and something in it was killed for memory: that is what it died of.
static int verdict(const struct job *j, const struct st_wd_metrics *m, int status, struct st_wd_aide *aide)
{
    uint64_t kernel = kernel_kills(j), ours = m->kills;
    int own = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    char max[ST_QUANTITY_TEXT];
    if (!kernel && !ours)
        return own;
    st_quantity_human(j->o->max, max);
    if (own == 0) {
        st_wd_aide_say(aide, "%s ended well, but %s in it was killed for memory (limit %s)", j->command[0],
                       kernel + ours == 1 ? "one process" : "more than one process", max);
        return 0;
    }
    st_wd_aide_say(aide, "%s died of memory: its limit of %s %s", j->command[0], max,
                   ours ? "left no room for its code and files, it hung, and was ended"
                        : "was full, and the kernel killed it");
    return EXIT_MEMORY;
}

static int watch(struct job *j, struct st_wd_aide *aide, int *ret_status, struct st_err *err)
{
    struct st_wd_abilities abilities;
    struct st_wd_pattern pattern;
    struct st_wd_aide_files files = {.root = j->root.fd, .evidence = j->o->evidence, .traces = -1};
    if (st_wd_pattern_parse(&pattern, j->path, true, err) || st_wd_aide_start(aide, &files, err))
        return -1;
    struct st_wd_watch_options w = {.root = j->root,
                                    .patterns = &pattern,
                                    .n_patterns = 1,
                                    .aide = aide,
                                    .evidence = j->o->evidence,
                                    .metrics = {.fd = -1},
                                    .quiet = true};
    st_wd_ladder_init(&w.ladder);
    getrlimit(RLIMIT_NOFILE, &j->nofile);
    st_wd_abilities_protect_self(&abilities, aide->pid);
    struct st_wd_watch *watch = st_wd_watch_new(&w, err);
    pid_t child = watch ? start(j, err) : -1;
    int status = 0, rc = child < 0 ? -1 : st_wd_watch_run(watch, child, &status, err);
    if (rc == 0)
        *ret_status = verdict(j, st_wd_watch_metrics(watch), status, aide);
    st_wd_watch_free(watch);
    return rc;
}

static int run(const struct st_call *call, struct st_err *err)
{
    struct job j = {.o = call->options, .command = call->command, .root = {.fd = -1}, .parent = -1, .dir = -1};
    struct st_wd_aide aide = {.fd = -1};
    int status = 0;
    if (call->n_command == 0)
        return st_err_set(err, ST_E_USAGE,
                          "which command? stella-watchdog exec --memory-max 3G -- COMMAND ARGUMENT...");
    if (!j.o->max)
        return st_err_set(err, ST_E_USAGE, "exec needs --memory-max BYTES");
    if (j.o->evidence && st_wd_aide_evidence_try(j.o->evidence, err))
        return -1;
    st_wd_read_at(AT_FDCWD, "/proc/self/oom_score_adj", j.oom_adj, sizeof j.oom_adj);
    int rc = st_wd_cmd_root(&j.root, j.o->mount, err);
    rc = rc ? rc : make_cgroup(&j, err);
    rc = rc ? rc : watch(&j, &aide, &status, err);
    remove_cgroup(&j);
    st_wd_aide_stop(&aide, 2000);
    st_wd_root_close(&j.root);
    const int fds[] = {j.parent, j.dir};
    for (size_t i = 0; i < ST_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (rc == 0 && status) {
        st_out_flush(call->out);
        exit(status); // the command's own, which no error code of ours stands for
    }
    return rc;
}

const struct st_verb st_verb_wd_exec = {
    .words = "exec",
    .summary = "run a command in a fresh cgroup with a memory limit, under watch",
    .args = "-- COMMAND [ARGUMENT]...",
    .about =
        "Runs a command in a cgroup of its own. When it dies of memory (killed by the kernel, or ended here because "
        "it hung at its limit), the exit status is 137 and one line says so; else it is the command's own. What the "
        "command leaves running is killed when it ends.",
    .takes_command = true,
    .opts = opts,
    .n_opts = ST_LEN(opts),
    .options_size = sizeof(struct options),
    .examples = {{"Build within 3 GiB", "stella-watchdog exec --memory-max 3G -- make -j8"},
                 {"In a cgroup of your own", "stella-watchdog exec -m 512Mi --parent /user.slice/ci -- ./test"}},
    .run = run,
};
