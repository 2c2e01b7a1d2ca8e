// Writers: an inventory as one document. Streamed: every package is asked for, written and forgotten; what stays in
// memory does not grow with the number of packages (the SPDX writer's set of licence names is the exception: 32 bytes
// for each different name that is no SPDX expression, in memory that may be spilled).
// The same inventory and options give the same bytes: no clock, nothing random.
#ifndef ST_SBOM_SBOM_H
#define ST_SBOM_SBOM_H

#include "base/out.h"
#include "inventory/inventory.h"

struct st_sbom_options {
    struct st_mem *mem;        // borrowed: scratch memory
    struct st_sv tool_version; // of stella
    bool has_date;             // SOURCE_DATE_EPOCH was given ...
    uint64_t date;             // ... in seconds since 1970; otherwise no document has a time, SPDX 1970-01-01
    unsigned width;            // columns of the terminal that the table goes to; 0: no terminal, nothing is cut
};

#define ST_SBOM_DATE_MAX 253402300799ull // 9999-12-31T23:59:59Z: what the formats can write

struct st_sbom_writer {
    const char *name, *alias; // alias may be NULL
    const char *media_type;
    const char *extension; // of a file that holds one, with its dot
    int (*write)(const struct st_inventory *inv, const struct st_sbom_options *opts, struct st_out *out,
                 struct st_err *err);
};

extern const struct st_sbom_writer *const st_sbom_writers[]; // ends with NULL; the first is the default
const struct st_sbom_writer *st_sbom_writer_find(struct st_sv name_or_alias); // NULL: there is none

// The document. `out` is not finished: the caller does that, and learns of failed writes there (the writer stops
// early then). ST_E_USAGE for a date over ST_SBOM_DATE_MAX.
int st_sbom_write(const struct st_sbom_writer *writer, const struct st_inventory *inv,
                  const struct st_sbom_options *opts, struct st_out *out, struct st_err *err);

#endif
