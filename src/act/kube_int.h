// Inside the Kubernetes part: one request, and pages of a list.
#ifndef ST_ACT_KUBE_INT_H
#define ST_ACT_KUBE_INT_H

#include "act/kubernetes.h"

// `path` begins with '/'. Sends the token; once more with it read again after a 401 (it may just have been rotated).
int st_kube_ask(struct st_kube *k, const char *method, const char *path, const char *content_type, struct st_sv body,
                const char *what, struct st_http_response *ret, struct st_err *err);
// 0 for 2xx; else the error with the API server's own message, and for 403 where the permissions are.
int st_kube_check(const struct st_http_response *r, const char *what, struct st_arena *a, struct st_err *err);

// Every object of a list, page by page. `selector`: a query parameter, or NULL. `each`: 0 go on, 1 enough, -1. Objects
// are in `a`, which `keep` false resets before each further page. 1 or 0 as the last `each`, or -1.
typedef int st_kube_object_fn(void *ctx, struct st_sv json, struct st_err *err);
int st_kube_list(struct st_kube *k, const char *path, const char *selector, const char *what, struct st_arena *a,
                 bool keep, st_kube_object_fn *each, void *ctx, struct st_err *err);

// A name for a URL's path: [a-z0-9.-], as Kubernetes makes them. False on anything else.
bool st_kube_is_name(struct st_sv s);

#endif
