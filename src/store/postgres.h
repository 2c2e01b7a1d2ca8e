// The PostgreSQL back end: a library of its own, so that only stella-api links libpq.
#ifndef ST_STORE_POSTGRES_H
#define ST_STORE_POSTGRES_H

#include "store/store.h"

// url: postgresql://... as libpq takes it. Tables are in the schema "stella", made when absent. Every message names the
// host and the database, never the password.
int st_store_open_postgres(const char *url, struct st_store **ret, struct st_err *err);

#endif
