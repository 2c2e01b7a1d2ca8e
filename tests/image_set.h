// A set of named documents for tests and fuzzing of the resolver. Text form: records "@ NAME\n" up to the next line
// that starts so. "${sha256 NAME}" and "${size NAME}" in a document stand for those of another, earlier record (the
// fuzzer must not have to guess digests); NAME "@" is the record before. "@ blob:REST" is stored as
// blobs/sha256/<digest of itself>.
#ifndef TESTS_IMAGE_SET_H
#define TESTS_IMAGE_SET_H

#include "image/blobs.h"

int image_set_load(struct st_members *m, struct st_arena *a, struct st_sv text, struct st_err *err);

#endif
