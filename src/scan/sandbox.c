#include "scan/sandbox.h"

#include "base/ckd.h"
#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static const struct {
    const char *word, *what;
} rows[] = {
#define ST_SANDBOX_ROW(id, word, what) {word, what},
    ST_SANDBOX_MEASURES(ST_SANDBOX_ROW)
#undef ST_SANDBOX_ROW
};

const char *st_sandbox_word(enum st_sandbox_measure m)
{
    return rows[m].word;
}

const char *st_sandbox_what(enum st_sandbox_measure m, enum st_sandbox_net net)
{
    // Where a network makes a difference.
    static const struct {
        const char *internet, *local;
    } other[ST_SANDBOX_MEASURES_MAX] = {
        [ST_SANDBOX_LANDLOCK] = {"no file can be opened but the resolver's: /etc/resolv.conf, hosts, nsswitch.conf, "
                                 "host.conf, gai.conf, services",
                                 "no file can be opened, no TCP port used"},
        [ST_SANDBOX_SECCOMP] = {"internet sockets, and a thread that looks names up; files for reading only",
                                "local sockets (the daemon's), and threads; files for reading only"},
        [ST_SANDBOX_RLIMITS] = {"no core dump, few descriptors, bounded private memory",
                                "no core dump, few descriptors, bounded private memory"},
    };
    const char *text = net == ST_SANDBOX_INTERNET ? other[m].internet : net == ST_SANDBOX_LOCAL ? other[m].local : NULL;
    return text ? text : rows[m].what;
}

const char *st_sandbox_state_word(enum st_sandbox_state s)
{
    static const char *const words[] = {"on", "missing in this kernel", "off in this build"};
    return words[s];
}

// ABI 1 (Linux 5.13) knows 13 file rights; the later ones are added as the kernel knows them
// (Documentation/userspace-api/landlock.rst). Debian 12's header is older than the kernel may be.
#define FS_RIGHTS_ABI1 ((1ull << 13) - 1)
#define FS_RIGHT_REFER (1ull << 13)     // ABI 2
#define FS_RIGHT_TRUNCATE (1ull << 14)  // ABI 3
#define FS_RIGHT_IOCTL_DEV (1ull << 15) // ABI 5
#define NET_RIGHTS 3ull                 // ABI 4: bind, connect
#define SCOPES 3ull                     // ABI 6: abstract sockets, signals

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

#define FS_RIGHT_READ_FILE (1ull << 2)
#define FS_RIGHT_READ_DIR (1ull << 3)

// What a process keeps.
struct rights {
    enum st_sandbox_net net;
    const char *const *files; // that may still be opened for reading, NULL-terminated; what is not there now is not
    const int *dirs;          // and what lies below these
    size_t n_dirs;
};

static int allow(int ruleset, int what, uint64_t access, struct st_err *err)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = what};
    return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) ? st_err_sys(err, "landlock")
                                                                                         : 0;
}

static int landlock(const struct rights *keep, struct st_sandbox_report *rep, struct st_err *err)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1) {
        rep->state[ST_SANDBOX_LANDLOCK] = ST_SANDBOX_MISSING;
        return 0;
    }
    rep->landlock_abi = (int)abi;
    struct ruleset_attr attr = {.fs = FS_RIGHTS_ABI1};
    attr.fs |= abi >= 2 ? FS_RIGHT_REFER : 0;
    attr.fs |= abi >= 3 ? FS_RIGHT_TRUNCATE : 0;
    attr.fs |= abi >= 5 ? FS_RIGHT_IOCTL_DEV : 0;
    attr.net = abi >= 4 && keep->net != ST_SANDBOX_INTERNET ? NET_RIGHTS : 0;
    attr.scoped = abi >= 6 ? SCOPES : 0;
    size_t size = abi >= 6 ? sizeof attr : abi >= 4 ? 16 : 8;
    ST_AUTO_CLOSE int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    if (fd < 0)
        return st_err_sys(err, "landlock");
    for (const char *const *f = keep->files; f && *f; f++) {
        ST_AUTO_CLOSE int file = open(*f, O_PATH | O_CLOEXEC);
        if (file >= 0 && allow(fd, file, FS_RIGHT_READ_FILE, err))
            return -1;
    }
    for (size_t i = 0; i < keep->n_dirs; i++)
        if (allow(fd, keep->dirs[i], FS_RIGHT_READ_FILE | FS_RIGHT_READ_DIR, err))
            return -1;
    if (syscall(SYS_landlock_restrict_self, fd, 0))
        return st_err_sys(err, "landlock");
    return 0;
}

// What decoding and parsing need: bytes of descriptors that are there, memory, time, the end.
static const int allowed[] = {
    SCMP_SYS(read),          SCMP_SYS(pread64),         SCMP_SYS(readv),
    SCMP_SYS(write),         SCMP_SYS(pwrite64),        SCMP_SYS(writev),
    SCMP_SYS(lseek),         SCMP_SYS(close),           SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),    SCMP_SYS(ftruncate),       SCMP_SYS(fallocate),
    SCMP_SYS(recvmsg),       SCMP_SYS(sendmsg),         SCMP_SYS(munmap),
    SCMP_SYS(mremap),        SCMP_SYS(madvise),         SCMP_SYS(brk),
    SCMP_SYS(futex),         SCMP_SYS(rt_sigreturn),    SCMP_SYS(getpid),
    SCMP_SYS(clock_gettime), SCMP_SYS(restart_syscall), SCMP_SYS(exit),
    SCMP_SYS(exit_group),    SCMP_SYS(rt_sigprocmask),  SCMP_SYS(getrandom),
    SCMP_SYS(gettid),        SCMP_SYS(tgkill),          SCMP_SYS(poll),
};

// What a network needs beyond that: sockets, and the thread that libcurl looks names up in. The C library opens its
// files by openat: for reading only, and only those that Landlock lets through.
static const int allowed_network[] = {
    SCMP_SYS(connect),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(sendto),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(bind),
    SCMP_SYS(shutdown),
    SCMP_SYS(fcntl),
    SCMP_SYS(pipe2),
    SCMP_SYS(socketpair),
    SCMP_SYS(eventfd2),
    SCMP_SYS(ppoll),
    SCMP_SYS(memfd_create),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(uname),
    SCMP_SYS(stat),
    SCMP_SYS(access),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(sysinfo),
    SCMP_SYS(readlink),
    SCMP_SYS(mlock),
    SCMP_SYS(nanosleep),
    SCMP_SYS(prlimit64),
};

static int add_network_rules(scmp_filter_ctx ctx, enum st_sandbox_net net)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    size_t first = net == ST_SANDBOX_LOCAL ? 0 : 1, last = net == ST_SANDBOX_LOCAL ? 1 : ST_LEN(families);
    for (size_t i = 0; i < ST_LEN(allowed_network); i++)
        if (seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed_network[i], 0))
            return -1;
    for (size_t i = first; i < last; i++)
        if (seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i])))
            return -1;
    // clone3 hides its flags from a filter; without it the C library uses clone.
    return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) ||
                   seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                    SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)) ||
                   seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, FIONREAD)) ||
                   seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                                    SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY))
               ? -1
               : 0;
}

// Files below a directory: opened for reading. openat2's flags are behind a pointer, which no filter sees: there it is
// Landlock that forbids to write.
static int add_reader_rules(scmp_filter_ctx ctx)
{
    return seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(openat2), 0) ||
                   seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
                                    SCMP_A2(SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY))
               ? -1
               : 0;
}

static int add_rules(scmp_filter_ctx ctx, const struct rights *keep)
{
    for (size_t i = 0; i < ST_LEN(allowed); i++)
        if (seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0))
            return -1;
    // No executable memory.
    static const int maps[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
    for (size_t i = 0; i < ST_LEN(maps); i++)
        if (seccomp_rule_add(ctx, SCMP_ACT_ALLOW, maps[i], 1, SCMP_A2(SCMP_CMP_MASKED_EQ, 4 /* PROT_EXEC */, 0)))
            return -1;
    // Never needed by anything that is linked here: somebody else's code is running.
    static const int deadly[] = {SCMP_SYS(execve), SCMP_SYS(execveat),
                                 SCMP_SYS(ptrace), SCMP_SYS(process_vm_writev),
                                 SCMP_SYS(bpf),    SCMP_SYS(io_uring_setup)};
    for (size_t i = 0; i < ST_LEN(deadly); i++)
        if (seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, deadly[i], 0))
            return -1;
    if (keep->n_dirs && add_reader_rules(ctx))
        return -1;
    return keep->net ? add_network_rules(ctx, keep->net) : 0;
}

static int seccomp(const struct rights *keep, struct st_sandbox_report *rep, struct st_err *err)
{
#ifdef ST_SANITIZED
    (void)err;
    (void)add_rules;
    (void)keep;
    rep->state[ST_SANDBOX_SECCOMP] = ST_SANDBOX_OFF; // the sanitizers' run time needs more
    return 0;
#else
    if (prctl(PR_GET_SECCOMP) < 0) {
        rep->state[ST_SANDBOX_SECCOMP] = ST_SANDBOX_MISSING;
        return 0;
    }
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int rc = ctx && add_rules(ctx, keep) == 0 ? seccomp_load(ctx) : -ENOMEM;
    if (ctx)
        seccomp_release(ctx);
    return rc ? st_err_set(err, ST_E_FAILED, "seccomp filter: %s", strerror(-rc)) : 0;
#endif
}

static int rlimits(size_t private_bytes, bool network, struct st_err *err)
{
    const struct {
        int what;
        rlim_t value;
    } limits[] = {
        {RLIMIT_CORE, 0},
        {RLIMIT_NPROC, network ? RLIM_INFINITY : 0}, // threads count, too; seccomp keeps it to threads
        {RLIMIT_NOFILE, network ? 256 : 32},
#ifndef ST_SANITIZED
        {RLIMIT_DATA, private_bytes},
#endif
    };
    (void)private_bytes;
    for (size_t i = 0; i < ST_LEN(limits); i++) {
        struct rlimit r;
        if (limits[i].value == RLIM_INFINITY)
            continue;
        if (getrlimit(limits[i].what, &r))
            return st_err_sys(err, "getrlimit");
        r.rlim_max = ST_MIN(r.rlim_max, limits[i].value); // what is given from above (a worker's limit) stays
        r.rlim_cur = r.rlim_max;
        if (setrlimit(limits[i].what, &r))
            return st_err_sys(err, "setrlimit");
    }
    return 0;
}

static int enter(size_t private_bytes, const struct rights *keep, struct st_sandbox_report *ret, struct st_err *err)
{
    *ret = (struct st_sandbox_report){0};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return st_err_sys(err, "no_new_privs");
#ifdef ST_SANITIZED
    ret->state[ST_SANDBOX_UNDUMPABLE] = ST_SANDBOX_OFF;
#else
    if (prctl(PR_SET_DUMPABLE, 0))
        return st_err_sys(err, "PR_SET_DUMPABLE");
#endif
    if (rlimits(private_bytes, keep->net != ST_SANDBOX_NO_NET, err) || landlock(keep, ret, err) ||
        seccomp(keep, ret, err))
        return -1;
    return 0;
}

int st_sandbox_enter(size_t private_bytes, struct st_sandbox_report *ret, struct st_err *err)
{
    return enter(private_bytes, &(struct rights){.net = ST_SANDBOX_NO_NET}, ret, err);
}

int st_sandbox_enter_reader(size_t private_bytes, const int *dirs, size_t n_dirs, struct st_sandbox_report *ret,
                            struct st_err *err)
{
    return enter(private_bytes, &(struct rights){.net = ST_SANDBOX_NO_NET, .dirs = dirs, .n_dirs = n_dirs}, ret, err);
}

int st_sandbox_enter_network(size_t private_bytes, enum st_sandbox_net net, struct st_sandbox_report *ret,
                             struct st_err *err)
{
    // What glibc's resolver reads again when it has changed. The name services were loaded before (no PROT_EXEC here).
    static const char *const resolver[] = {
        "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf",
        "/etc/services",    NULL};
    struct rights keep = {.net = net, .files = net == ST_SANDBOX_INTERNET ? resolver : NULL};
    return enter(private_bytes, &keep, ret, err);
}
