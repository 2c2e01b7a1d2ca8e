// Starting the programs that stella is made of: found beside it, given a few descriptors and nothing else.
#ifndef ST_SCAN_HELPER_H
#define ST_SCAN_HELPER_H

#include "base/err.h"

#include <stddef.h>
#include <sys/types.h>

#define ST_HELPER_FDS_MAX 2

// libexec beside the running executable's directory, else that directory itself. ST_E_NOTFOUND.
int st_helper_find(const char *name, char *ret, size_t n, struct st_err *err);
// Start it with /dev/null as standard input and output, standard error as it is, fds[i] as descriptor 3 + i, and
// nothing else open. fds: from st_helper_fd.
int st_helper_spawn(const char *path, char *const *argv, char *const *envp, const int *fds, size_t n_fds, pid_t *ret,
                    struct st_err *err);
// The same descriptor above those that a child finds its own at; the old one is closed. -1 stays -1.
int st_helper_fd(int fd);
// A SOCK_SEQPACKET pair that takes messages of ST_PROTO_MAX, both ends from st_helper_fd.
int st_helper_socket(int ret[2], struct st_err *err);

#endif
