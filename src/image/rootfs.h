// A directory as one layer: a tar stream of the tree, in bytewise order within each directory, for the sandboxed
// analyzer to read. Runs in a child that may open files and parses nothing. Links are never followed, other file
// systems are entered unless they are kernel interfaces (proc, sysfs, devtmpfs, cgroup ...), sockets are left out.
#ifndef ST_IMAGE_ROOTFS_H
#define ST_IMAGE_ROOTFS_H

#include "base/mem.h"

// Private pax records of the stream:
//   STELLA.size=N     the file has N bytes, none of which follow (nobody wants them); the entry's own size is 0
//   STELLA.error=TEXT the file or directory could not be read; the entry's own size is 0
#define ST_ROOTFS_PAX_SIZE "STELLA.size"
#define ST_ROOTFS_PAX_ERROR "STELLA.error"
#define ST_ROOTFS_DEPTH_MAX 512 // deeper directories: STELLA.error
#define ST_ROOTFS_HEAD 16

struct st_rootfs_how {
    // Are the file's bytes wanted? path as struct st_tar_entry.path; head: its first bytes, up to 16. NULL: all are.
    bool (*want)(void *ctx, struct st_sv path, uint32_t mode, uint64_t size, struct st_sv head);
    // Told of everything that could not be read, or changed while it was read; may be NULL.
    void (*warn)(void *ctx, struct st_sv path, const char *what);
    void *ctx;
};

struct st_rootfs_stats {
    uint64_t entries, files, content_bytes, errors, skipped; // skipped: mounts and sockets
};

// Writes the tree under dirfd (borrowed) to out_fd (borrowed). Memory: the names of the directories on one path down,
// in arenas of mem, which spill.
int st_rootfs_write(struct st_mem *mem, int dirfd, int out_fd, const struct st_rootfs_how *how,
                    struct st_rootfs_stats *ret, struct st_err *err);

#endif
