// containers' registries.conf, version 2 (containers-registries.conf(5)): mirrors, rewritten names, insecure and
// blocked registries. Short names are Docker's here (docker.io/library/NAME), so `unqualified-search-registries` and
// aliases are not read.
#ifndef ST_FETCH_REGISTRIES_H
#define ST_FETCH_REGISTRIES_H

#include "base/mem.h"

#define ST_REGISTRIES_MAX 512
#define ST_MIRRORS_MAX 15

enum st_mirror_when { ST_MIRROR_ALL, ST_MIRROR_DIGEST, ST_MIRROR_TAG };

struct st_mirror {
    struct st_sv location;
    bool insecure;
    enum st_mirror_when when;
};
struct st_registry_rule {
    struct st_sv prefix, location; // location empty: the name stays
    bool insecure, blocked;
    struct st_mirror mirrors[ST_MIRRORS_MAX];
    size_t n_mirrors;
};
struct st_registries {
    struct st_registry_rule *rules; // in the arena
    size_t n;
};

// One file's rules, added to what is there; a prefix that is there already is replaced. ST_E_INPUT naming the line.
// Pure; fuzzed.
int st_registries_parse(struct st_sv text, struct st_arena *a, struct st_registries *inout, struct st_err *err);
// The files that Podman would read: $CONTAINERS_REGISTRIES_CONF, else $XDG_CONFIG_HOME/containers/registries.conf, else
// /etc/containers/registries.conf; then registries.conf.d/*.conf of /etc/containers and of the user, in order of names.
int st_registries_load(struct st_arena *a, struct st_registries *ret, struct st_err *err);
// The rule with the longest prefix of "HOST/REPOSITORY", or NULL. "*.example.com" fits hosts below it.
const struct st_registry_rule *st_registries_find(const struct st_registries *r, struct st_sv name);
// `name` with the rule's prefix replaced by `location`, as host and repository. ST_E_INPUT when that is no name.
int st_registries_rewrite(const struct st_registry_rule *rule, struct st_sv location, struct st_sv name,
                          struct st_arena *a, struct st_sv *ret_host, struct st_sv *ret_repository, struct st_err *err);

#endif
