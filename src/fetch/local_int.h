// Private to local_*.c: the child that reads a store.
#ifndef ST_FETCH_LOCAL_INT_H
#define ST_FETCH_LOCAL_INT_H

#include "fetch/local.h"
#include "scan/proto.h"

struct st_child {
    pid_t pid; // -1: none
    int sock;
    bool over;         // it has said its last word, or died
    struct st_err err; // why it failed; code ST_E_NONE: it did not
    char said[256];    // its last word otherwise
};

// Runs `work` in a child that has `fds` (kept open under their own numbers) and may read below `dirs` among them. Its
// word, up to sizeof said, is what `work` writes there.
struct st_child_work {
    int (*work)(void *ctx, struct st_mem *mem, char said[static 256], struct st_err *err);
    void *ctx;
    const int *fds;
    size_t n_fds;
    const int *dirs;
    size_t n_dirs;
    size_t memory;
};
int st_child_start(const struct st_child_work *w, struct st_child *ret, struct st_err *err);
// Waits up to ms for its last word: true when it has come.
bool st_child_wait(struct st_child *c, int ms);
void st_child_end(struct st_child *c);

// ST_E_CANCELLED, ST_E_TIMEOUT or 0.
int st_local_check_time(const struct st_local_options *opt, struct st_err *err);

// A string of a TOML file by table and key; empty when the file, the table or the key is not there. The file may be
// damaged: then it is as if it were not there, as it is for the engine of another version.
struct st_sv st_local_setting(const char *path, const char *table, const char *key, struct st_arena *a);

#endif
