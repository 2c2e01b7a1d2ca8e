// One supervisor a socket, and a name for what it holds.
//
// SOCKET.lock is locked (flock) while a supervisor lives, over an upgrade too. The kernel ends the lock with the
// process, however it dies, so who has it knows that every earlier run is dead and may take its leases back at once
// (st_store_reclaim). Beside the socket and not in the state directory, which hosts may share. In the file stands the
// name of this installation, made once: hosts may have the same name, and several supervisors may be on one.
#ifndef ST_SUPERVISOR_RUN_LOCK_H
#define ST_SUPERVISOR_RUN_LOCK_H

#include "base/err.h"

#define ST_HOLDER_TEXT 160

struct st_run_lock {
    int fd;                      // -1: not locked
    char holder[ST_HOLDER_TEXT]; // "HOST/INSTALLATION/RUN": each start is a run of its own. Empty: not locked
};

// ST_E_CONFLICT: another supervisor holds it. Other errors: there can be no lock here; l->fd is -1 in any case.
int st_run_lock_take(struct st_run_lock *l, const char *socket, const char *host, struct st_err *err);
// After an upgrade: `fd` is the old program's, which is locked. Owned from here on.
int st_run_lock_adopt(struct st_run_lock *l, int fd, const char *host, struct st_err *err);

#endif
