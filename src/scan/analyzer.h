// The parent's side of one stella-analyze process.
#ifndef ST_SCAN_ANALYZER_H
#define ST_SCAN_ANALYZER_H

#include "scan/layer.h"
#include "scan/proto.h"

#include <sys/types.h>

struct st_analyzer {
    pid_t pid; // -1: not running
    int sock;
    struct st_layer_watch *watch; // shared with it
    struct st_sandbox_report sandbox;
    uint64_t max_rss; // bytes, known after st_analyzer_stop
};
#define ST_ANALYZER_NONE ((struct st_analyzer){.pid = -1, .sock = -1})

#define ST_ANALYZER_NAME "stella-analyze"
// Start it and read its HELLO. private_bytes: cap of its private memory.
int st_analyzer_start(const char *path, size_t private_bytes, struct st_analyzer *ret, struct st_err *err);
// Kill and reap it; safe on one that does not run. ret_status (NULL allowed): its wait status before that when it had
// died by itself, else 0.
void st_analyzer_stop(struct st_analyzer *a, int *ret_status);

#endif
