// Which process does a local scan: found again, found gone, told to stop.
#include "base/ckd.h"
#include "base/fd.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static size_t read_text(const char *path, char *buf, size_t cap)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : st_fd_read(fd, buf, cap - 1);
    buf[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

// Start time in clock ticks since boot: field 22 of /proc/PID/stat, counted behind the name, which may hold anything.
static bool start_time(uint64_t pid, uint64_t *ret)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%llu/stat", (unsigned long long)pid);
    struct st_sv rest = {text, read_text(path, text, sizeof text)}, word = ST_SV_NULL;
    size_t close = st_sv_rfind(rest, ')');
    if (close == ST_SV_NPOS)
        return false;
    rest = st_sv_from(rest, close + 1);
    for (int field = 3; field <= 22; field++)
        if (!st_sv_word(&rest, &word))
            return false;
    return st_sv_u64(word, 10, ret);
}

static void here(char *boot, size_t boot_cap, char *ns, size_t ns_cap)
{
    read_text("/proc/sys/kernel/random/boot_id", boot, boot_cap);
    boot[strcspn(boot, "\n")] = '\0';
    ssize_t n = readlink("/proc/self/ns/pid", ns, ns_cap - 1);
    ns[n > 0 ? n : 0] = '\0';
    for (char *p = ns; *p; p++)
        if (*p == ' ')
            *p = '_';
    if (!boot[0])
        snprintf(boot, boot_cap, "?");
    if (!ns[0])
        snprintf(ns, ns_cap, "?");
}

void st_owner_self(char ret[static ST_OWNER_TEXT])
{
    char boot[48], ns[32];
    uint64_t start = 0;
    here(boot, sizeof boot, ns, sizeof ns);
    start_time((uint64_t)getpid(), &start);
    snprintf(ret, ST_OWNER_TEXT, "%s %s %ld %llu", boot, ns, (long)getpid(), (unsigned long long)start);
}

bool st_owner_gone(struct st_sv owner)
{
    char boot[48], ns[32];
    struct st_sv w[4];
    uint64_t pid, start, now;
    for (size_t i = 0; i < ST_LEN(w); i++)
        if (!st_sv_word(&owner, &w[i]))
            return false;
    here(boot, sizeof boot, ns, sizeof ns);
    if (boot[0] == '?' || w[0].ptr[0] == '?')
        return false;
    if (!st_sv_eq(w[0], st_sv_of(boot)))
        return true;
    if (!st_sv_eq(w[1], st_sv_of(ns)) || !st_sv_u64(w[2], 10, &pid) || !st_sv_u64(w[3], 10, &start))
        return false;
    return !start_time(pid, &now) || now != start;
}

int st_owner_stop(struct st_sv owner, struct st_err *err)
{
    struct st_sv boot, ns, number;
    struct st_sv rest = owner;
    uint64_t pid;
    if (!st_sv_word(&rest, &boot) || !st_sv_word(&rest, &ns) || !st_sv_word(&rest, &number) ||
        !st_sv_u64(number, 10, &pid) || pid == 0 || pid > INT32_MAX)
        return st_err_set(err, ST_E_FAILED, "its process is not known");
    // First the descriptor, then the check: afterwards the number cannot mean another process.
    ST_AUTO_CLOSE int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (fd < 0 && errno != ESRCH)
        return st_err_sys(err, "process %llu", (unsigned long long)pid);
    if (fd < 0 || st_owner_gone(owner))
        return st_err_set(err, ST_E_NOTFOUND, "its process is gone");
    char me[ST_OWNER_TEXT];
    st_owner_self(me);
    struct st_sv mine = st_sv_of(me), my_boot, my_ns;
    st_sv_word(&mine, &my_boot);
    st_sv_word(&mine, &my_ns);
    if (!st_sv_eq(boot, my_boot) || !st_sv_eq(ns, my_ns))
        return st_err_set(err, ST_E_FAILED, "its process runs in another PID namespace");
    if (syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0))
        return st_err_sys(err, "process %llu", (unsigned long long)pid);
    return 0;
}
