// The one table of output formats: a new one is a file and a row.
#include "sbom/sbom_int.h"

const struct st_sbom_writer *const st_sbom_writers[] = {
    &st_sbom_table, &st_sbom_cyclonedx, &st_sbom_spdx, &st_sbom_syft, &st_sbom_purls, NULL,
};

const struct st_sbom_writer *st_sbom_writer_find(struct st_sv name)
{
    for (const struct st_sbom_writer *const *w = st_sbom_writers; *w; w++)
        if (st_sv_eq(name, st_sv_of((*w)->name)) || ((*w)->alias && st_sv_eq(name, st_sv_of((*w)->alias))))
            return *w;
    return NULL;
}

int st_sbom_write(const struct st_sbom_writer *writer, const struct st_inventory *inv,
                  const struct st_sbom_options *opts, struct st_out *out, struct st_err *err)
{
    if (opts->has_date && opts->date > ST_SBOM_DATE_MAX)
        return st_err_set(err, ST_E_USAGE, "SOURCE_DATE_EPOCH is after the year 9999");
    if (writer->write(inv, opts, out, err))
        return st_err_wrap(err, "%s", writer->name);
    return 0;
}
