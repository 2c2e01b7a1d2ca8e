// What the verbs about workers share.
#ifndef ST_CLI_WORKERS_H
#define ST_CLI_WORKERS_H

#include "cli/render.h"

// Only a service knows workers: ST_E_RETRY where none answers.
int st_workers_service(bool writes, struct st_client **ret, struct st_err *err);

#endif
