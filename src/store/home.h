// The state directory: stella.db, jobs/, cache/ (DESIGN section 5).
#ifndef ST_STORE_HOME_H
#define ST_STORE_HOME_H

#include "base/err.h"

#include <limits.h>

// $STELLA_HOME, else root's /var/lib/stella, else $XDG_DATA_HOME/stella, else ~/.local/share/stella. Nothing is
// created.
int st_home_path(char ret[static PATH_MAX], struct st_err *err);
// As above, and make the directory (0700) and those above it that are missing. Fails when it is not writable.
int st_home_make(char ret[static PATH_MAX], struct st_err *err);
// home/name.
int st_home_file(const char *home, const char *name, char ret[static PATH_MAX], struct st_err *err);

#endif
