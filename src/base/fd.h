// Descriptors: full reads and writes, temporary files, descriptor passing. All opens are O_CLOEXEC.
#ifndef ST_BASE_FD_H
#define ST_BASE_FD_H

#include "base/cleanup.h"
#include "base/err.h"

#include <stddef.h>
#include <sys/types.h>

// Read up to n bytes, short only at the end of the file. Bytes read, or -1 with errno set.
ssize_t st_fd_read(int fd, void *buf, size_t n);
ssize_t st_fd_pread(int fd, void *buf, size_t n, uint64_t off);
// 0 or -1 with errno set.
int st_fd_write(int fd, const void *buf, size_t n);
int st_fd_pwrite(int fd, const void *buf, size_t n, uint64_t off);
// An anonymous read/write file in `dir` (unlinked at birth). Descriptor or -1.
int st_fd_temp(const char *dir, struct st_err *err);
// One message with up to ST_FD_PASS_MAX descriptors over a SOCK_SEQPACKET socket.
// recv: bytes, 0 at end of file, -1 with errno; descriptors not asked for are closed.
#define ST_FD_PASS_MAX 4
int st_fd_send(int sock, const void *buf, size_t n, const int *fds, size_t nfds);
// The same, but EAGAIN instead of waiting for room.
int st_fd_send_now(int sock, const void *buf, size_t n, const int *fds, size_t nfds);
ssize_t st_fd_recv(int sock, void *buf, size_t n, int *ret_fds, size_t *inout_nfds);
ssize_t st_fd_recv_now(int sock, void *buf, size_t n, int *ret_fds, size_t *inout_nfds);

#endif
