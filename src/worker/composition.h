// What a job leaves about the image's layers: a list of them, and the recipe by which the SBOM was put together.
#ifndef ST_WORKER_COMPOSITION_H
#define ST_WORKER_COMPOSITION_H

#include "base/out.h"
#include "scan/scan.h"

// JSON array, base first: index, digest, diffId, mediaType, size, uncompressedSize, fileCount, createdBy, state.
void st_composition_layers(const struct st_scan *scan, struct st_out *o);
// JSON object: the subject's digests, for each layer that was read its digest and the SHA-256 of its fragment, by
// digest, and the Merkle root over them (RFC 6962, 2.1: SHA-256; a leaf is "DIGEST\nFRAGMENT" as text). Two runs of one
// version over one image have the same bytes.
int st_composition_recipe(const struct st_scan *scan, struct st_out *o, struct st_err *err);

#endif
