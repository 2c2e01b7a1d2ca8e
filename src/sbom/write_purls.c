// purls: one package URL a line, sorted; plain ASCII by construction.
#include "sbom/sbom_int.h"

static int write_purls(const struct st_inventory *inv, const struct st_sbom_options *opts, struct st_out *out,
                       struct st_err *err)
{
    struct st_doc d;
    st_doc_init(&d, inv, opts, out);
    struct st_sv purl;
    int rc = 1;
    for (uint32_t i = 0; (rc = st_doc_purl(&d, i, &purl, err)) > 0; i++) {
        st_out_write(out, purl);
        st_out_putc(out, '\n');
    }
    st_doc_release(&d);
    return rc;
}

const struct st_sbom_writer st_sbom_purls = {"purls", NULL, "text/plain", ".txt", write_purls};
