// A file that appears under its name when it is complete: written under another name beside it, then renamed.
#ifndef ST_WORKER_SBOM_FILE_H
#define ST_WORKER_SBOM_FILE_H

#include "sbom/sbom.h"

#include <limits.h>

// Opened before the scan, so that a wrong name costs no time. What a killed run left is written over by the next.
struct st_sbom_file {
    int fd;       // owned; -1: not open
    bool special; // /dev/null, a pipe: there is nothing to rename
    char aside[PATH_MAX];
};
#define ST_SBOM_FILE_NONE ((struct st_sbom_file){.fd = -1})

int st_sbom_file_open(struct st_sbom_file *f, const char *path, struct st_err *err);
// Write the document and give the file its name. sync: it has reached the disk before.
int st_sbom_file_write(struct st_sbom_file *f, const char *path, const char *format, const struct st_inventory *inv,
                       const struct st_sbom_options *opt, bool sync, struct st_err *err);
int st_sbom_file_keep(struct st_sbom_file *f, const char *path, struct st_err *err); // written by others: its name
void st_sbom_file_drop(struct st_sbom_file *f); // not renamed: the name stays what it was; safe when not open

// The document into `out`, which the caller finishes.
int st_sbom_file_print(const char *format, const struct st_inventory *inv, const struct st_sbom_options *opt,
                       struct st_out *out, struct st_err *err);
// Of this program and $SOURCE_DATE_EPOCH. ST_E_USAGE.
int st_sbom_file_options(struct st_mem *mem, struct st_sbom_options *ret, struct st_err *err);

#endif
