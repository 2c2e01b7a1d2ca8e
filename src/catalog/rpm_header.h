// One rpm header as a database stores it: index entries and a data store, all numbers big endian (rpm's
// docs/manual/format_header.md; without the 8 bytes of magic that a package file has). Views point into the blob.
#ifndef ST_CATALOG_RPM_HEADER_H
#define ST_CATALOG_RPM_HEADER_H

#include "base/mem.h"

#define ST_RPM_HEADER_MAX (64u << 20) // bytes of one blob; rpm itself allows 256 MiB, real ones stay under 10
#define ST_RPM_TAGS_LIMIT 0xffff      // index entries, as rpm
#define ST_RPM_ARRAY_LIMIT 0xfffff    // elements of one array, as rpm
#define ST_RPM_PATH_MAX 4096          // bytes of an owned path; more cannot be opened on Linux

// The tags that are read: id and number.
#define ST_RPM_TAGS(X)           \
    X(ST_RPM_NAME, 1000)         \
    X(ST_RPM_VERSION, 1001)      \
    X(ST_RPM_RELEASE, 1002)      \
    X(ST_RPM_EPOCH, 1003)        \
    X(ST_RPM_SIZE, 1009)         \
    X(ST_RPM_VENDOR, 1011)       \
    X(ST_RPM_LICENSE, 1014)      \
    X(ST_RPM_ARCH, 1022)         \
    X(ST_RPM_OLDFILENAMES, 1027) \
    X(ST_RPM_FILESTATES, 1029)   \
    X(ST_RPM_FILEMODES, 1030)    \
    X(ST_RPM_SOURCERPM, 1044)    \
    X(ST_RPM_PROVIDENAME, 1047)  \
    X(ST_RPM_REQUIRENAME, 1049)  \
    X(ST_RPM_DIRINDEXES, 1116)   \
    X(ST_RPM_BASENAMES, 1117)    \
    X(ST_RPM_DIRNAMES, 1118)     \
    X(ST_RPM_LONGSIZE, 5009)     \
    X(ST_RPM_MODULARITYLABEL, 5096)

enum st_rpm_tag {
#define ST_RPM_TAG_ENUM(id, number) id,
    ST_RPM_TAGS(ST_RPM_TAG_ENUM)
#undef ST_RPM_TAG_ENUM
        ST_RPM_TAGS_MAX
};

struct st_rpm_value {
    uint32_t type; // 0: the header has no such tag
    uint32_t count;
    struct st_sv data; // numbers: exactly count of them; strings: from the first to the end of the store
};

struct st_rpm_header {
    struct st_rpm_value at[ST_RPM_TAGS_MAX];
};

// Checks the whole index. ST_E_FORMAT or ST_E_LIMIT with the offset in the blob.
int st_rpm_header_open(struct st_sv blob, struct st_rpm_header *ret, struct st_err *err);

// First string of a string, string array or translated string (whose first element is the C locale's); empty
// when absent.
struct st_sv st_rpm_string(const struct st_rpm_header *h, enum st_rpm_tag tag);
// Element i of a number tag; false when absent.
bool st_rpm_number(const struct st_rpm_header *h, enum st_rpm_tag tag, uint32_t i, uint64_t *ret);

struct st_rpm_strings {
    struct st_sv rest;
    uint32_t left;
};
struct st_rpm_strings st_rpm_strings(const struct st_rpm_header *h, enum st_rpm_tag tag); // empty when absent
bool st_rpm_strings_next(struct st_rpm_strings *s, struct st_sv *ret);

// The files and links that the package put there: no directories, nothing that was left out at installation
// (FILESTATES), nothing whose path leaves the root.
struct st_rpm_files {
    const struct st_rpm_header *h;
    struct st_rpm_strings names; // BASENAMES, else OLDFILENAMES
    const uint32_t *dirs;        // offsets of DIRNAMES in their data; NULL with OLDFILENAMES
    uint32_t dirs_n, next;
    bool modes, states;
    char *buf; // ST_RPM_PATH_MAX bytes
    size_t dir_len;
    uint32_t dir;     // whose normalised path is in buf[0, dir_len)
    bool dir_bad;     // it leaves the root or is too long
    uint64_t *budget; // borrowed
};
// *budget: bytes of paths that may still be made; a million files in one long directory would be gigabytes.
int st_rpm_files_init(struct st_rpm_files *f, const struct st_rpm_header *h, uint64_t *budget, struct st_arena *arena,
                      struct st_err *err);
// 1 with the normalised path, valid until the next call; 0 at the end; -1 ST_E_LIMIT: the budget is used up.
int st_rpm_files_next(struct st_rpm_files *f, struct st_sv *ret, struct st_err *err);

// Appends `path` in normal form to buf[0, len): no empty parts, no "."; returns the new length or SIZE_MAX when there
// is
// ".." or no room. What stands before is normalised already.
size_t st_rpm_path_append(char *buf, size_t len, size_t room, struct st_sv path);

#endif
