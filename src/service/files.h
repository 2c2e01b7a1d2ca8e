// Images that came with a submission as a descriptor: kept until the job has ended, passed on with each claim. They are
// in this process only: when it ends, such a job has nothing to read any more and fails (source_gone). A file may be
// claimed again and again; what a pipe gave is gone, so it is passed on once.
#ifndef ST_SERVICE_FILES_H
#define ST_SERVICE_FILES_H

#include "service/op.h"

#include <sys/types.h>

#define ST_FILES_MAX 128 // those of failed jobs give way to new ones

struct st_files;
int st_files_new(struct st_files **ret, struct st_err *err);
void st_files_free(struct st_files *f); // NULL allowed
// May the caller pass this on? A file that can be read, a pipe; a directory opens more than itself (what is below it,
// with the rights of the service), so it is taken from root and the service's own user only. ret_size: of a file, else
// 0.
int st_files_check(int fd, const struct st_caller *caller, uint64_t *ret_size, struct st_err *err);
// Keeps a duplicate. ST_E_RETRY when all places are taken.
int st_files_put(struct st_files *f, const char *id, int fd, struct st_err *err);
int st_files_get(struct st_files *f, const char *id);     // a duplicate, the caller's; -1: there is none
void st_files_failed(struct st_files *f, const char *id); // kept for a retry, while there is room
void st_files_drop(struct st_files *f, const char *id);

#endif
