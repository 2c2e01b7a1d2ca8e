// Starting a process that dies with this one: clone3 into a cgroup where there is one, a pidfd, a death signal.
#ifndef ST_SUPERVISOR_SPAWN_H
#define ST_SUPERVISOR_SPAWN_H

#include "base/err.h"

#include <sys/types.h>

#define ST_SPAWN_FDS 2
struct st_spawn {
    const char *path;
    char *const *argv;
    char *const *envp;     // NULL: this process's own
    int fds[ST_SPAWN_FDS]; // n_fds: descriptors 3, 4 of the child
    size_t n_fds;
    int out;           // standard output; -1: /dev/null
    int cgroup;        // directory; -1: where this process is
    int death_signal;  // sent when this process dies
    uint64_t data_max; // RLIMIT_DATA; 0: as it is
    bool group;        // a process group of its own
};
// Standard input is /dev/null, standard error as it is, nothing else is open. A program that cannot be executed ends
// with 127. The pidfd is the caller's.
int st_spawn(const struct st_spawn *s, pid_t *ret_pid, int *ret_pidfd, struct st_err *err);

#define ST_SPAWN_PIDFD 3 // P_PIDFD of waitid, which old headers lack
// Take the status of a process that has ended: exactly one of code and signal is set. False: it has not ended yet.
bool st_spawn_reap(int pidfd, int *ret_code, int *ret_signal);
int st_spawn_signal(int pidfd, int sig); // 0, or -1 with errno

#endif
