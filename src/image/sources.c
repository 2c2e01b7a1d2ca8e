// The table of sources. A later source is a row here and a function that opens it.
#include "image/reference.h"

// Longer schemes stand before those that they start with ("docker://" before "docker:").
const struct st_source st_sources[] = {
    {"docker-archive", (const char *const[]){"docker-archive:", NULL}, ST_TAKES_PATH, ST_PIN_DOCKER, false, false,
     false, "docker-archive:FILE[:TAG]  archive as `docker save` writes it"},
    {"oci-archive", (const char *const[]){"oci-archive:", NULL}, ST_TAKES_PATH, ST_PIN_OCI, false, false, false,
     "oci-archive:FILE[:TAG]  OCI layout in a tar archive"},
    {"oci", (const char *const[]){"oci:", NULL}, ST_TAKES_PATH, ST_PIN_OCI, false, false, false,
     "oci:DIR[:TAG]  OCI layout directory"},
    {"rootfs", (const char *const[]){"rootfs:", NULL}, ST_TAKES_DIR, ST_PIN_NONE, false, false, false,
     "rootfs:DIR  directory as the root file system of one layer"},
    {"registry", (const char *const[]){"registry:", "docker://", NULL}, ST_TAKES_REGISTRY, ST_PIN_NONE, true, false,
     false, "registry:REF  image in a registry"},
    {"docker", (const char *const[]){"docker:", NULL}, ST_TAKES_REGISTRY, ST_PIN_NONE, false, true, false,
     "docker:REF  image of the local Docker daemon"},
    {"podman", (const char *const[]){"podman:", NULL}, ST_TAKES_REGISTRY, ST_PIN_NONE, false, true, false,
     "podman:REF  image of the local Podman service"},
    {"containerd", (const char *const[]){"containerd:", NULL}, ST_TAKES_REGISTRY, ST_PIN_NONE, false, false, true,
     "containerd:REF  image in the content store of containerd; containerd:[NAMESPACE@ROOT]REF says where"},
    {"containers-storage", (const char *const[]){"containers-storage:", NULL}, ST_TAKES_REGISTRY, ST_PIN_NONE, false,
     false, true,
     "containers-storage:REF  image in the store of Podman, Buildah or CRI-O; [DRIVER@ROOT]REF says where"},
    {"path", NULL, ST_TAKES_PATH, ST_PIN_NONE, false, false, false,
     "FILE|DIR|-  archive, OCI layout directory, or an archive on standard input"},
    {NULL},
};
