// The parent's side of stella-fetch: starts it for one image of a registry and offers what it brings as a struct
// st_remote. Links no network library.
#ifndef ST_FETCH_PULL_H
#define ST_FETCH_PULL_H

#include "fetch/fetch_proto.h"
#include "image/open.h"

// What the process costs: code, libcurl, OpenSSL, certificates. Measured (docs/BENCHMARKS.md).
#define ST_PULL_PRIVATE_BYTES (6ull << 20)

// Without ca_file or cert_file, what certs.d of podman or docker has for the registry as it was typed.
struct st_pull_options {
    const char *creds;           // "USER:PASSWORD" or "USER"; NULL: where logins are kept (login.h)
    const char *const *insecure; // hosts (host[:port]) whose certificate may be any, or that may speak plain HTTP
    size_t n_insecure;
    const char *ca_file;              // more certificates to trust; NULL: none
    const char *cert_file, *key_file; // client certificate; NULL: none
    uint64_t bytes_per_second;        // 0: no limit
    bool verbose;                     // a line for each request
    bool public_only;                 // the service's rule: no address that is not public, wherever it is met ...
    struct st_sv private_hosts;       // ... but of these, "HOST[:PORT],HOST"
    bool foreign_layers;              // those that the registry has not, from the URLs in the manifest
    uint64_t deadline_ms;             // CLOCK_MONOTONIC; 0: none
    const volatile int *interrupted;  // NULL allowed
};

struct st_pull;
// The image is not asked for yet: the first document does that.
int st_pull_open(const struct st_reference *ref, const struct st_pull_options *opt, struct st_pull **ret,
                 struct st_err *err);
// ---- local daemons ----

enum st_daemon { ST_DAEMON_DOCKER, ST_DAEMON_PODMAN, ST_DAEMON_MAX };
bool st_pull_daemon_there(enum st_daemon d, struct st_err *err); // does it answer? Else why not
// The image as the daemon packs it: an archive out of *ret_fd (the caller closes), whose end is to be asked about with
// st_pull_remote's `failed` and *ret_ticket. Waits for its first byte, so that "no such image" is known (ST_E_NOTFOUND,
// as when no daemon answers). Its socket: $DOCKER_HOST (unix://), $XDG_RUNTIME_DIR/docker.sock, /var/run/docker.sock;
// $CONTAINER_HOST, $XDG_RUNTIME_DIR/podman/podman.sock, /run/podman/podman.sock.
int st_pull_export(enum st_daemon d, struct st_sv name, const struct st_pull_options *opt, struct st_pull **ret,
                   int *ret_fd, uint64_t *ret_ticket, struct st_err *err);

struct st_remote *st_pull_remote(struct st_pull *p);
void st_pull_close(struct st_pull *p); // NULL allowed

// What such a process is locked up in on this machine; one is started for it, and asks nobody.
int st_pull_sandbox(enum st_sandbox_net net, struct st_sandbox_report *ret, struct st_err *err);

#endif
