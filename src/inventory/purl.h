// Package URLs (package-url/purl-spec; conventions of the field: distribution qualifiers as syft and grype use them).
#ifndef ST_INVENTORY_PURL_H
#define ST_INVENTORY_PURL_H

#include "base/mem.h"
#include "inventory/package.h"

// The parts of a purl, none of them encoded. Everything but type and name may be empty.
struct st_purl {
    struct st_sv type, ns, name, version, subpath;
    struct st_kvs quals; // any order; empty values are left out
};

#define ST_PURL_QUALIFIERS_MAX 32

// The canonical text, appended to out: the type's own rules (letter case, pypi's dashes) applied. ST_E_FORMAT without
// a name, with an invalid type or qualifier key, or with a key twice; ST_E_LIMIT over ST_PURL_QUALIFIERS_MAX.
int st_purl_build(const struct st_purl *purl, struct st_buf *out, struct st_err *err);

// The canonical purl of a package in an image of this distribution (NULL: unknown), appended to out.
// A package from a distribution's database has the distribution as namespace. Where none is known the namespace is
// ST_PURL_NO_DISTRO and there is no `distro`: the specification wants a namespace, and a guessed one would be matched
// against the wrong advisories. A maven package without groupId has its artifactId there, as syft does it.
#define ST_PURL_NO_DISTRO "unknown"
int st_purl_package(const struct st_package *pkg, const struct st_distro *distro, struct st_buf *out,
                    struct st_err *err);

#endif
