// The two ways of an upload: stored first (api_upload.c), or through a pipe into a worker that is free (api_direct.c).
#ifndef ST_SERVICE_API_UPLOAD_INT_H
#define ST_SERVICE_API_UPLOAD_INT_H

#include "service/api_http_int.h"

#include <limits.h>

#define ST_UPLOADS_MAX 16 // in transfer
#define ST_UPLOAD_NAME 100

struct st_api_uploads {
    struct st_api *api;
    char dir[PATH_MAX]; // HOME/uploads
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t used; // bytes stored and reserved
    size_t n, finishing;
    pthread_t thread, pump;
    bool started, pumping, stopping;
    int wake;                  // eventfd of the pump
    struct st_upload *waiting; // suspended until their pipe has room
};

struct st_upload {
    struct st_api_uploads *all;
    struct st_api_request *r;
    char dir[PATH_MAX], path[PATH_MAX]; // of the part, then of the file for good
    char name[ST_UPLOAD_NAME + 1];
    int fd; // the file, or the pipe
    uint64_t length, written, flushed;
    int64_t begin_ms;
    struct st_req_submit submit;
    struct st_err err;
    bool finished, kept; // kept: a job has it
    // Through a pipe.
    bool direct, broken; // broken: the worker reads no more
    char job[ST_JOB_ID + 1];
    int64_t held_ms, since_ms; // time that the worker let it wait
    struct st_upload *next;    // of `waiting`
};

// ST_E_RETRY when no worker takes it at once.
int st_direct_begin(struct st_upload *u, struct st_err *err);
// *inout_n: bytes that are there, then those that were not taken (the connection is suspended). False: cut it.
bool st_direct_write(struct st_upload *u, const char *data, size_t *inout_n);
enum MHD_Result st_direct_end(struct st_upload *u);
void st_direct_drop(struct st_upload *u);                          // broken off before its end: the job is cancelled
int st_direct_start(struct st_api_uploads *a, struct st_err *err); // the pump
void st_direct_release(struct st_api_uploads *a, struct st_api_http *h); // those of h that wait go on; lock held
void st_direct_stop(struct st_api_uploads *a);

#endif
