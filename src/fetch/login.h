// Logins for registries, as the field's tools keep them. Runs in stella, which opens the files and runs the credential
// helpers; stella-fetch only gets the one login that an endpoint needs.
//
// In order: --creds; STELLA_REGISTRY_TOKEN; the file that REGISTRY_AUTH_FILE names (it alone, when it is set); Podman's
// $XDG_RUNTIME_DIR/containers/auth.json and $XDG_CONFIG_HOME/containers/auth.json; Docker's $DOCKER_CONFIG/config.json
// or
// ~/.docker/config.json. Within a file: credHelpers of the host, credsStore, auths. Keys of `auths` are matched from
// the longest (host/namespace/repository) to the host (containers-auth.json(5)), in Docker's old spellings too
// ("https://HOST/v1/").
#ifndef ST_FETCH_LOGIN_H
#define ST_FETCH_LOGIN_H

#include "base/mem.h"
#include "base/secret.h"
#include "fetch/fetch_proto.h"

#define ST_AUTH_FILE_MAX (1u << 20)
#define ST_LOGIN_HELPER_MS 60000 // a helper may ask its user

struct st_login {
    enum st_auth_kind kind;
    char user[256];
    char origin[300]; // "--creds", a file, a helper: for messages
    struct st_secret secret;
};
void st_login_release(struct st_login *l);

// The login for host/repository ("docker.io" for Docker Hub); kind ST_AUTH_NONE when there is none. creds:
// "USER:PASSWORD", or "USER" (asked for on the terminal); NULL: not given. A damaged file or a failing helper is
// ST_E_AUTH.
int st_login_find(struct st_sv host, struct st_sv repository, const char *creds, struct st_mem *mem,
                  struct st_login *ret, struct st_err *err);

// ---- one auth file, pure (fuzzed by login_fuzz.c) ----

struct st_auth_entry {
    struct st_sv helper;             // docker-credential-HELPER is to be asked first
    struct st_sv auth;               // Base64 of "user:password"
    struct st_sv user, password;     // in clear, as some write them
    struct st_sv identity, registry; // identitytoken, registrytoken
};
// What the file says for host/repository. ST_E_FORMAT.
int st_auth_file_parse(struct st_sv text, struct st_sv host, struct st_sv repository, struct st_arena *a,
                       struct st_auth_entry *ret, struct st_err *err);

#endif
