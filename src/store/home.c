#include "store/home.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int set_path(char ret[static PATH_MAX], const char *dir, const char *below, struct st_err *err)
{
    // Room for the names that come below: "/jobs/<id>/<file>".
    if (snprintf(ret, PATH_MAX, "%s%s", dir, below) >= PATH_MAX - 256)
        return st_err_set(err, ST_E_INPUT, "the name of the state directory is too long");
    return 0;
}

int st_home_path(char ret[static PATH_MAX], struct st_err *err)
{
    const char *v = getenv("STELLA_HOME");
    if (v && v[0])
        return set_path(ret, v, "", err);
    if (geteuid() == 0)
        return set_path(ret, "/var/lib/stella", "", err);
    v = getenv("XDG_DATA_HOME");
    if (v && v[0] == '/') // the XDG rule: a relative path is ignored
        return set_path(ret, v, "/stella", err);
    v = getenv("HOME");
    if (v && v[0] == '/')
        return set_path(ret, v, "/.local/share/stella", err);
    return st_err_set(err, ST_E_INPUT, "no state directory: none of STELLA_HOME, XDG_DATA_HOME and HOME is set");
}

int st_home_make(char ret[static PATH_MAX], struct st_err *err)
{
    char path[PATH_MAX];
    if (st_home_path(path, err))
        return -1;
    for (char *p = path + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char c = *p;
        *p = '\0';
        if (mkdir(path, 0700) && errno != EEXIST && errno != EISDIR && c == '\0')
            return st_err_sys(err, "state directory %s", path);
        *p = c;
        if (c == '\0')
            break;
    }
    if (access(path, W_OK | X_OK))
        return st_err_sys(err, "state directory %s", path);
    memcpy(ret, path, strlen(path) + 1);
    return 0;
}

int st_home_file(const char *home, const char *name, char ret[static PATH_MAX], struct st_err *err)
{
    if (snprintf(ret, PATH_MAX, "%s/%s", home, name) >= PATH_MAX)
        return st_err_set(err, ST_E_INPUT, "the name of the state directory is too long");
    return 0;
}
