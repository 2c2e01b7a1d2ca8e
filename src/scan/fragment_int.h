// Parts of the fragment format that its writer and reader share.
#ifndef ST_SCAN_FRAGMENT_INT_H
#define ST_SCAN_FRAGMENT_INT_H

#include "scan/fragment.h"

#define ST_FRAGMENT_MAGIC ST_SV("STFRAG\0\1")
#define ST_FRAGMENT_MAGIC_LEN 8

// END payload: fixed size, so that it can be found from the end of the file. Little endian, as everything here (the
// format never leaves a machine).
struct st_frag_end {
    uint64_t entries, files, bytes, stored, rereads, reread_bytes, spilled, peak;
    char digest[ST_DIGEST_HEX], diff_id[ST_DIGEST_HEX], toc[ST_DIGEST_HEX]; // NUL bytes when not computed
};
#define ST_FRAG_END_RECORD (1 + 2 + sizeof(struct st_frag_end)) // tag, two-byte length, payload
#define ST_FRAG_TAIL (ST_FRAG_END_RECORD + ST_DIGEST_HEX)

_Static_assert(sizeof(struct st_frag_end) >= 128 && sizeof(struct st_frag_end) < 16384, "END length takes two bytes");

// The text fields of the records by number, so that writer and reader cannot disagree on their order.
#define ST_PACKAGE_TEXTS 8
static inline struct st_sv *st_package_text(struct st_package *p, size_t i)
{
    struct st_sv *const fields[ST_PACKAGE_TEXTS] = {
        &p->ns, &p->name, &p->version, &p->epoch, &p->arch, &p->source_name, &p->source_version, &p->inner,
    };
    return fields[i];
}
#define ST_DISTRO_TEXTS 9
static inline struct st_sv *st_distro_text(struct st_distro *d, size_t i)
{
    struct st_sv *const fields[ST_DISTRO_TEXTS] = {
        &d->id,         &d->version_id, &d->name,     &d->pretty_name, &d->version_codename,
        &d->variant_id, &d->id_like,    &d->cpe_name, &d->home_url,
    };
    return fields[i];
}

#endif
