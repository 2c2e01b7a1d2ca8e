// The Kubernetes API, as far as the last rung needs it: find a pod by its cgroup, its EphemeralRunner, say it in an
// Event, delete the runner. What the verbs need of the API server is in deploy/watchdog/rbac.yaml, and tests/kubernetes
// proves against a real one that it is enough and that nothing of it can be left out.
#ifndef ST_ACT_KUBERNETES_H
#define ST_ACT_KUBERNETES_H

#include "act/act_call.h"
#include "act/act_record.h"
#include "act/arc.h"

#define ST_KUBE_SERVICE_ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
#define ST_KUBE_PAGE 100 // objects of one list answer

struct st_kube {
    struct st_act_call *call;
    const char *server;     // "https://10.0.0.1:443", no '/' at its end; borrowed
    const char *token_file; // read again for every request: projected tokens rotate; NULL: none is sent
    const char *node;       // only pods of this node; NULL: all nodes
    const char *namespace;  // only pods and runners of this namespace; NULL: all
    const char *instance;   // reportingInstance of events: the node or host name
    struct st_http_tls tls; // with the cluster's certificate authority
    struct st_arena pages;  // one page of a list at a time; made and released by the caller
};

// $KUBERNETES_SERVICE_HOST and _PORT as "https://HOST:PORT" (IPv6 in brackets), into the arena. ST_E_INPUT: not in a
// cluster.
int st_kube_in_cluster(struct st_act_call *c, const char **ret_server, struct st_err *err);

// The pod of `ref`. ST_E_NOTFOUND says where it was looked for.
int st_kube_find_pod(struct st_kube *k, const struct st_pod_ref *ref, struct st_pod *ret, struct st_err *err);
// The EphemeralRunner of a pod that has one (pod->runner.len). Without runner_uid the name decides, within the pod's
// namespace. ST_E_NOTFOUND: gone, or another one has its name now.
int st_kube_find_runner(struct st_kube *k, const struct st_pod *pod, struct st_runner *ret, struct st_err *err);

enum st_kube_event { ST_KUBE_EVENT_NEW, ST_KUBE_EVENT_AGAIN, ST_KUBE_EVENT_KNOWN, ST_KUBE_EVENT_DRY };
// An events.k8s.io/v1 Event about the pod. The same reason for the same pod again is a series of the first one (its
// count grows), the same record again is nothing. Name: POD.HASH, so that a repeated run finds it.
int st_kube_post_event(struct st_kube *k, const struct st_act_record *r, const struct st_pod *pod, bool deleting,
                       enum st_kube_event *ret, struct st_err *err);

enum st_kube_delete { ST_KUBE_DELETED, ST_KUBE_GONE, ST_KUBE_DELETING, ST_KUBE_DELETE_DRY };
// With a uid precondition, so that a runner that was made again under the same name is left alone (ST_KUBE_GONE).
int st_kube_delete_runner(struct st_kube *k, const struct st_runner *r, enum st_kube_delete *ret, struct st_err *err);

// Every zombie (arc.h) of the namespace, in the order of the API server. `each` may delete it; its error ends the walk.
typedef int st_kube_zombie_fn(void *ctx, const struct st_runner *r, enum st_zombie z, uint64_t seconds,
                              struct st_err *err);
int st_kube_zombies(struct st_kube *k, uint64_t older, st_kube_zombie_fn *each, void *ctx, struct st_err *err);

#endif
