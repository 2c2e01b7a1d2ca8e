// What is known without a network about pods and ARC's runners: which pod a cgroup belongs to, what a pod's and an
// EphemeralRunner's JSON say, which EphemeralRunners are zombies. All pure.
//
// Names of cgroups: kubernetes pkg/kubelet/cm/cgroup_manager_linux.go and pod_container_manager_linux.go; runtimes'
// scopes: cri-containerd-ID.scope, crio-ID.scope, docker-ID.scope (systemd driver), ID (cgroupfs driver).
// ARC's objects: actions.github.com/v1alpha1, apis/actions.github.com/v1alpha1/ephemeralrunner_types.go.
#ifndef ST_ACT_ARC_H
#define ST_ACT_ARC_H

#include "base/mem.h"

// ---- from a cgroup path ---------------------------------------------------------------------------------------------

#define ST_POD_UID_LEN 36      // of an API object; of a static pod the path has 32 digits, its config hash
#define ST_CONTAINER_ID_LEN 64 // what containerd, CRI-O and docker make

struct st_pod_ref {
    char uid[ST_POD_UID_LEN + 1];            // lower case with '-', or a static pod's hash (then static_pod)
    char container[ST_CONTAINER_ID_LEN + 1]; // "" for the pod's own cgroup
    bool static_pod;
};

// The pod, and the container in it, that a cgroup path names. Both spellings of the kubelet (POD_UID with '-' and with
// '_'), under any parents (kind, k3s, Talos nest theirs), and with anything below (dind's own cgroups). The innermost
// pod wins: a kind node is itself a container, whose pods are pods of another API server. ST_E_NOTFOUND: no pod in it.
int st_pod_ref_read(struct st_sv path, struct st_pod_ref *ret, struct st_err *err);

// ---- objects --------------------------------------------------------------------------------------------------------

// Texts borrow from the JSON and the arena.
struct st_pod {
    struct st_sv name, namespace, uid, node, phase, created, deleted;
    struct st_sv config_hash;             // of a static pod's mirror
    struct st_sv runner, runner_uid;      // EphemeralRunner that owns it, or that it works for ("" uid); empty: none
    struct st_sv container, container_id; // of the asked cgroup, by status.containerStatuses; empty: not found
    // the container named "runner": since when it is dead and why; empty: it is not
    struct st_sv runner_finished, runner_reason;
    uint64_t runner_exit;
};

struct st_runner {
    struct st_sv name, namespace, uid, phase, created, deleted;
    struct st_sv repository; // "owner/name", "" until a job has started
    uint64_t run_id;         // 0 until then
    struct st_sv job;        // its display name
    bool failed_before;      // status.failures has entries: its pod was made again
};

// One Pod. `container_id` (may be empty) is looked for among all kinds of container statuses.
int st_pod_read(struct st_sv json, struct st_sv container_id, struct st_arena *a, struct st_pod *ret,
                struct st_err *err);
// Is it the pod of that cgroup? A static pod is known by its hash.
bool st_pod_is(const struct st_pod *pod, const struct st_pod_ref *ref);
int st_runner_read(struct st_sv json, struct st_arena *a, struct st_runner *ret, struct st_err *err);

// ---- zombies --------------------------------------------------------------------------------------------------------

#define ST_ZOMBIES(X)                                                                                                 \
    X(NONE, "no", false, "")                                                                                          \
    X(DEAD, "container-dead", true, "its runner container is dead, and it still counts as running")                   \
    X(GONE, "pod-gone", true, "its pod is gone, and it still counts as running")                                      \
    X(AGAIN, "pod-again", false, "its pod was made again after a failure; its registration may be spent, look at it") \
    X(DELETING, "deleting", false,                                                                                    \
      "it is being deleted, but its finalizer waits: the service says that its job still runs")

enum st_zombie {
#define ST_ZOMBIE_ENUM(id, word, delete, text) ST_ZOMBIE_##id,
    ST_ZOMBIES(ST_ZOMBIE_ENUM)
#undef ST_ZOMBIE_ENUM
};
const char *st_zombie_word(enum st_zombie z);
const char *st_zombie_text(enum st_zombie z);
bool st_zombie_may_delete(enum st_zombie z);

// `pod` NULL: there is none of its name. `now` and `older` in seconds: what is younger may still be on its way.
// *ret_for: seconds since it is so.
enum st_zombie st_zombie_judge(const struct st_runner *r, const struct st_pod *pod, int64_t now, uint64_t older,
                               uint64_t *ret_for);

// RFC 3339 in UTC as Kubernetes and GitHub write it ("2026-01-31T07:05:09Z", fractions cut off), in seconds since 1970.
bool st_time_read(struct st_sv text, int64_t *ret);

#endif
