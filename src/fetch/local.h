// Images that an engine keeps in files of this machine, read without the engine: containerd's content store
// (image/containerd.h) and the store of Podman, Buildah and CRI-O (image/storage.h).
//
// stella opens the store; a child of its own reads in it. The child may read below the store's directories and can do
// nothing else: it has no other descriptors, no network, no exec (Landlock, seccomp, rlimits), since names, sizes and
// archives in there come from whoever made the images. docs/adr/0015.
#ifndef ST_FETCH_LOCAL_H
#define ST_FETCH_LOCAL_H

#include "image/open.h"
#include "image/reference.h"

// What a child costs. Measured (docs/BENCHMARKS.md).
#define ST_LOCAL_PRIVATE_BYTES (2ull << 20)

struct st_local_options {
    uint64_t deadline_ms;            // CLOCK_MONOTONIC; 0: none
    const volatile int *interrupted; // NULL allowed
    bool stream;                     // one descriptor is wanted
    unsigned readers;                // layers read at once, for the memory of the tree
};

// The image in containerd's store: a directory of blobs and the digest of what is meant. reference.where is
// [NAMESPACE][@ROOT]; without a namespace $CONTAINERD_NAMESPACE, else all that there are; without a root what
// /etc/containerd/config.toml says, else /var/lib/containerd.
// ST_E_NOTFOUND (no such store, no such image in it), ST_E_IO (it may not be read), ST_E_INPUT, ST_E_CORRUPT.
int st_local_containerd(const struct st_reference *ref, const struct st_local_options *opt, struct st_opened *ret,
                        struct st_err *err);
// A passed directory of such a store: `digest` is the image.
int st_local_content(int dirfd, struct st_sv digest, struct st_opened *ret, struct st_err *err);

// The image in a containers/storage: a remote one for the scan, whose layers children put together as they are asked
// for; with `stream` an archive out of a pipe, which can be passed on (what a child met later is asked for with
// ret->remote->failed and ret->ticket). reference.where is [DRIVER@]ROOT (what containers/image writes behind it,
// +RUNROOT and :OPTIONS, is passed over); without it $STORAGE_DRIVER and storage.conf ($CONTAINERS_STORAGE_CONF,
// ~/.config/containers, /etc/containers), else /var/lib/containers/storage or, for a user,
// $XDG_DATA_HOME/containers/storage.
struct st_local;
int st_local_storage(const struct st_reference *ref, const struct st_local_options *opt, struct st_local **ret_local,
                     struct st_opened *ret, struct st_err *err);
void st_local_close(struct st_local *l); // NULL allowed; ends the child

// Is there such a store, and may it be read? Else why not: ST_E_NOTFOUND, ST_E_IO, ST_E_INPUT.
bool st_local_containerd_there(const struct st_reference *ref, struct st_err *err);
bool st_local_storage_there(const struct st_reference *ref, struct st_err *err);

#endif
