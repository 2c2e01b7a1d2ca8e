// What the user typed: SCHEME:REST, a path, "-", or a registry reference (grammar of distribution/reference). Pure:
// whether a file exists is asked through a callback.
#ifndef ST_IMAGE_REFERENCE_H
#define ST_IMAGE_REFERENCE_H

#include "image/image.h"

enum st_source_takes {
    ST_TAKES_PATH,     // PATH[:TAG], file or directory
    ST_TAKES_DIR,      // DIR
    ST_TAKES_REGISTRY, // [DOMAIN/]REPOSITORY[:TAG][@DIGEST]; of a store with [WHERE] before it
};

// One row a source (sources.c).
struct st_source {
    const char *name;
    const char *const *schemes; // with their ':' ("oci:", "docker://"), NULL-terminated; NULL: none
    enum st_source_takes takes;
    enum st_image_pin pin;
    bool network;     // reached over one: --offline forbids it
    bool daemon;      // a local one, by its Unix socket
    bool store;       // files that an engine keeps on this machine; [WHERE] may stand before the reference
    const char *help; // one line for --help
};
extern const struct st_source st_sources[]; // ends with name NULL

struct st_reference {
    const struct st_source *source;
    struct st_sv text; // as typed
    struct st_sv name; // without its scheme and [WHERE]
    bool by_rule;      // a path by its looks, without a scheme: say so on standard error
    bool standard_input;
    struct st_sv path; // ST_TAKES_PATH, ST_TAKES_DIR
    struct st_sv tag;  // of an image in a layout or archive; of a registry reference ("latest" when neither is given)
    struct st_sv domain, repository, digest; // ST_TAKES_REGISTRY, defaults filled in: docker.io, library/NAME
    struct st_sv where;                      // of a store: what stands in the brackets
};

// ST_E_INPUT with what is wrong. Views point into text or are static. exists == NULL: nothing exists.
int st_reference_parse(struct st_sv text, bool (*exists)(void *ctx, struct st_sv path), void *ctx, struct st_arena *a,
                       struct st_reference *ret, struct st_err *err);
bool st_reference_exists(void *ctx, struct st_sv path); // the callback that looks (lstat); ctx unused

#endif
