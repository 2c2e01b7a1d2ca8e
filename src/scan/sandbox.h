// What a process gives up before it looks at image data. Nothing here can be undone.
#ifndef ST_SCAN_SANDBOX_H
#define ST_SCAN_SANDBOX_H

#include "base/err.h"

#include <stddef.h>

// One row a measure, in the order of ST_SANDBOX_*; `state` says what the kernel granted.
enum st_sandbox_state { ST_SANDBOX_ON, ST_SANDBOX_MISSING, ST_SANDBOX_OFF };

#define ST_SANDBOX_MEASURES(X)                                                                            \
    X(ST_SANDBOX_NO_NEW_PRIVS, "no_new_privs", "exec cannot gain privileges")                             \
    X(ST_SANDBOX_LANDLOCK, "landlock", "no file can be opened, no TCP port used")                         \
    X(ST_SANDBOX_SECCOMP, "seccomp", "only reading, writing and mapping of descriptors it was given")     \
    X(ST_SANDBOX_RLIMITS, "rlimits", "no core dump, no process, few descriptors, bounded private memory") \
    X(ST_SANDBOX_UNDUMPABLE, "undumpable", "other processes of the user cannot trace it")

enum st_sandbox_measure {
#define ST_SANDBOX_ENUM(id, word, what) id,
    ST_SANDBOX_MEASURES(ST_SANDBOX_ENUM)
#undef ST_SANDBOX_ENUM
        ST_SANDBOX_MEASURES_MAX
};

struct st_sandbox_report {
    enum st_sandbox_state state[ST_SANDBOX_MEASURES_MAX];
    int landlock_abi; // 0: the kernel has none
};

const char *st_sandbox_word(enum st_sandbox_measure m);
// What it means: for the process that looks at image data, and for one with a network.
enum st_sandbox_net { ST_SANDBOX_NO_NET, ST_SANDBOX_INTERNET, ST_SANDBOX_LOCAL };
const char *st_sandbox_what(enum st_sandbox_measure m, enum st_sandbox_net net);
const char *st_sandbox_state_word(enum st_sandbox_state s); // "on", "missing in this kernel", "off in this build"

// Enter the sandbox. private_bytes: cap of private memory (RLIMIT_DATA). A measure that the kernel lacks is reported,
// any other failure is an error. Descriptors that are open stay usable.
int st_sandbox_enter(size_t private_bytes, struct st_sandbox_report *ret, struct st_err *err);
// The same for a process that speaks to a network: INTERNET sockets and, for reading, the resolver's files in /etc; or
// LOCAL sockets and no file at all. Threads, since libcurl looks names up in one; no file for writing, no process, no
// exec.
int st_sandbox_enter_network(size_t private_bytes, enum st_sandbox_net net, struct st_sandbox_report *ret,
                             struct st_err *err);

// The same for a process without a network that reads what lies below some directories (open descriptors; NULL and 0:
// nothing, as st_sandbox_enter).
int st_sandbox_enter_reader(size_t private_bytes, const int *dirs, size_t n_dirs, struct st_sandbox_report *ret,
                            struct st_err *err);

#endif
