// Upgrade in place: the state of every slot goes through a memory file into the new program, which keeps the process id
// and with it the children; their descriptors stay open. docs/adr/0012, "Upgrade in place".
#ifndef ST_SUPERVISOR_HANDOVER_H
#define ST_SUPERVISOR_HANDOVER_H

#include "supervisor/supervisor_int.h"

// Execute the program anew, as it was called. Comes back only when that failed; then everything is as before.
void st_handover_exec(struct st_sup *s);
// Is this the new program of an upgrade? The descriptor of the memory file, or -1.
int st_handover_fd(void);
// Take over slots, stella-api and stella-watchdog. The descriptor is closed. What is not understood is an error: the
// caller ends what was handed over and begins afresh, and leases run out.
int st_handover_take(struct st_sup *s, int fd, struct st_err *err);

#endif
