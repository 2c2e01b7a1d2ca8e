#include "fetch/login.h"
#include "base/base64.h"
#include "base/ckd.h"
#include "base/clock.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>

extern char **environ;

void st_login_release(struct st_login *l)
{
    st_secret_release(&l->secret);
    l->kind = ST_AUTH_NONE;
}

static void wipe(struct st_buf *b)
{
    if (b->ptr)
        explicit_bzero(b->ptr, b->cap);
    st_buf_release(b);
}

static int set(struct st_login *l, enum st_auth_kind kind, struct st_sv user, struct st_sv secret, struct st_err *err)
{
    if (user.len >= sizeof l->user)
        return st_err_set(err, ST_E_AUTH, "the user name in %s is longer than 255 bytes", l->origin);
    if (st_secret_set(&l->secret, secret, err))
        return -1;
    snprintf(l->user, sizeof l->user, ST_SV_FMT, ST_SV_ARG(user));
    l->kind = kind;
    return 0;
}

// ---- --creds --------------------------------------------------------------------------------------------------------

// Asked for where the user is, without showing it.
static int ask_password(const char *user, struct st_sv host, struct st_secret *ret, struct st_err *err)
{
    ST_AUTO_CLOSE int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    struct termios old, quiet;
    char c, text[512];
    size_t n = 0;
    if (tty < 0 || tcgetattr(tty, &old))
        return st_err_set(err, ST_E_USAGE,
                          "--creds %.100s has no password and there is no terminal to ask on: "
                          "give USER:PASSWORD, or log in with docker or podman",
                          user);
    dprintf(tty, "Password of %s at " ST_SV_FMT ": ", user, ST_SV_ARG(host));
    quiet = old;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(tty, TCSAFLUSH, &quiet);
    while (n < sizeof text && read(tty, &c, 1) == 1 && c != '\n')
        text[n++] = c;
    tcsetattr(tty, TCSAFLUSH, &old);
    dprintf(tty, "\n");
    int rc = st_secret_set(ret, st_sv_mem(text, n), err);
    explicit_bzero(text, sizeof text);
    return rc;
}

static int from_creds(const char *creds, struct st_sv host, struct st_login *l, struct st_err *err)
{
    struct st_sv user, password;
    snprintf(l->origin, sizeof l->origin, "--creds");
    if (st_sv_cut(st_sv_of(creds), ':', &user, &password))
        return user.len ? set(l, ST_AUTH_BASIC, user, password, err)
                        : st_err_set(err, ST_E_USAGE, "--creds is USER:PASSWORD or USER");
    ST_AUTO_SECRET struct st_secret typed = {0};
    if (ask_password(creds, host, &typed, err))
        return -1;
    return set(l, ST_AUTH_BASIC, user, st_secret_reveal(&typed), err);
}

// ---- credential helpers ---------------------------------------------------------------------------------------------

static bool helper_name_ok(struct st_sv s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (!((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' || c == '_' ||
              (c == '.' && i)))
            return false;
    }
    return s.len > 0 && s.len < 64;
}

static int spawn_helper(const char *program, int in, int out, pid_t *ret)
{
    char *const argv[] = {(char *)program, (char *)"get", NULL};
    posix_spawn_file_actions_t fa;
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_adddup2(&fa, in, 0);
    posix_spawn_file_actions_adddup2(&fa, out, 1);
    int e = posix_spawnp(ret, program, &fa, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&fa);
    return e;
}

// What it prints, within ST_LOGIN_HELPER_MS.
static int hear_helper(int fd, struct st_secret *ret, const char *program, struct st_err *err)
{
    int64_t end = st_clock_mono_ms() + ST_LOGIN_HELPER_MS;
    char text[16384];
    size_t n = 0;
    int rc = 0;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = end - st_clock_mono_ms();
        if (left <= 0 || n == sizeof text) {
            rc = st_err_set(err, ST_E_AUTH, "%s %s", program, left <= 0 ? "does not answer" : "answers with too much");
            break;
        }
        if (poll(&p, 1, (int)ST_MIN(left, (int64_t)1000)) <= 0)
            continue;
        ssize_t k = read(fd, text + n, sizeof text - n);
        if (k <= 0)
            break;
        n += (size_t)k;
    }
    if (rc == 0)
        rc = st_secret_set(ret, st_sv_mem(text, n), err);
    explicit_bzero(text, sizeof text);
    return rc;
}

// docker-credential-helpers: the server's URL on standard input, {"Username": "...", "Secret": "..."} on standard
// output.
static int parse_helper(struct st_sv text, struct st_mem *mem, struct st_login *l, struct st_err *err)
{
    struct st_arena a;
    struct st_json j;
    struct st_json_tok t, key, val;
    struct st_sv user = ST_SV_NULL, secret = ST_SV_NULL;
    st_arena_init(&a, mem);
    st_json_init(&j, text);
    int rc = st_json_next(&j, &t, NULL) || t.type != ST_JSON_OBJECT ? -1 : 1;
    while (rc > 0 && (rc = st_json_member(&j, &key, &val, NULL)) > 0) {
        struct st_sv *to = st_json_is(&key, ST_SV("Username")) ? &user
                           : st_json_is(&key, ST_SV("Secret")) ? &secret
                                                               : NULL;
        if (to && val.type == ST_JSON_STRING ? st_json_text(&val, &a, to, NULL) : st_json_skip(&j, &val, NULL))
            rc = -1;
    }
    if (rc < 0 || !secret.len)
        rc = st_err_set(err, ST_E_AUTH, "%s does not answer with a login", l->origin);
    else if (st_sv_eq(user, ST_SV("<token>")))
        rc = set(l, ST_AUTH_IDENTITY, ST_SV(""), secret, err);
    else
        rc = set(l, ST_AUTH_BASIC, user, secret, err);
    st_arena_release(&a); // copies of escaped texts; the arena's pages go back to the kernel
    return rc;
}

// 1: a login; 0: it has none; -1.
static int from_helper(struct st_sv name, struct st_sv host, struct st_mem *mem, struct st_login *l, struct st_err *err)
{
    char program[96], server[300];
    int in[2], out[2];
    pid_t pid;
    if (!helper_name_ok(name))
        return st_err_set(err, ST_E_AUTH, "%s names a credential helper that cannot be: '%.*s'", l->origin,
                          (int)ST_MIN(name.len, (size_t)60), name.ptr);
    snprintf(program, sizeof program, "docker-credential-" ST_SV_FMT, ST_SV_ARG(name));
    int n = snprintf(server, sizeof server, ST_SV_FMT "\n",
                     ST_SV_ARG(st_sv_eq(host, ST_SV("docker.io")) ? ST_SV("https://index.docker.io/v1/") : host));
    if (pipe2(in, O_CLOEXEC))
        return st_err_sys(err, "pipe");
    if (pipe2(out, O_CLOEXEC)) {
        close(in[0]);
        close(in[1]);
        return st_err_sys(err, "pipe");
    }
    int e = spawn_helper(program, in[0], out[1], &pid);
    close(in[0]);
    close(out[1]);
    ST_AUTO_SECRET struct st_secret text = {0};
    int rc = e ? st_err_set(err, ST_E_AUTH, "%s: %s (named in %s)", program, strerror(e), l->origin) : 0;
    if (rc == 0 && n > 0 && (size_t)n < sizeof server && write(in[1], server, (size_t)n) < 0) {
        // One that does not read its input may still answer.
    }
    close(in[1]);
    int status = 0;
    if (rc == 0) {
        rc = hear_helper(out[0], &text, program, err);
        if (rc)
            kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    close(out[0]);
    if (rc)
        return -1;
    struct st_sv says = st_sv_trim(st_secret_reveal(&text));
    snprintf(l->origin, sizeof l->origin, "%s", program);
    if (status == 0)
        return parse_helper(says, mem, l, err) ? -1 : 1;
    if (st_sv_search(says, ST_SV("credentials not found")) != ST_SV_NPOS)
        return 0;
    return st_err_set(err, ST_E_AUTH, "%s fails: %.*s", program, (int)ST_MIN(says.len, (size_t)200), says.ptr);
}

// ---- files ----------------------------------------------------------------------------------------------------------

// "auth": Base64 of "user:password".
static int from_auth(struct st_sv auth, struct st_login *l, struct st_err *err)
{
    char text[4096] = "";
    size_t n = 0;
    struct st_sv user, password;
    if (!st_base64_decode(auth, text, sizeof text, &n)) {
        explicit_bzero(text, sizeof text);
        return st_err_set(err, ST_E_AUTH, "the login in %s is not Base64", l->origin);
    }
    while (n && text[n - 1] == '\0') // as an old docker wrote it
        n--;
    int rc = st_sv_cut(st_sv_mem(text, n), ':', &user, &password)
                 ? set(l, ST_AUTH_BASIC, user, password, err)
                 : st_err_set(err, ST_E_AUTH, "the login in %s has no password", l->origin);
    explicit_bzero(text, sizeof text);
    return rc;
}

static int from_entry(const struct st_auth_entry *e, struct st_sv host, struct st_mem *mem, struct st_login *l,
                      struct st_err *err)
{
    int rc = e->helper.len ? from_helper(e->helper, host, mem, l, err) : 0;
    if (rc)
        return rc;
    if (e->registry.len)
        return set(l, ST_AUTH_BEARER, ST_SV(""), e->registry, err) ? -1 : 1;
    if (e->identity.len)
        return set(l, ST_AUTH_IDENTITY, ST_SV(""), e->identity, err) ? -1 : 1;
    if (e->auth.len)
        return from_auth(e->auth, l, err) ? -1 : 1;
    if (e->user.len)
        return set(l, ST_AUTH_BASIC, e->user, e->password, err) ? -1 : 1;
    return 0;
}

// 1: a login; 0: no such file, or nothing in it; -1.
static int from_file(const char *path, bool must, struct st_sv host, struct st_sv repository, struct st_mem *mem,
                     struct st_login *l, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && !must && (errno == ENOENT || errno == ENOTDIR || errno == EACCES))
        return 0;
    if (fd < 0)
        return st_err_sys(err, "%s", path);
    struct st_buf b;
    struct st_arena a;
    struct st_auth_entry e;
    st_buf_init(&b, mem);
    st_arena_init(&a, mem);
    snprintf(l->origin, sizeof l->origin, "%s", path);
    int rc = st_buf_reserve(&b, ST_AUTH_FILE_MAX + 1, err);
    if (rc == 0) {
        ssize_t n = st_fd_read(fd, b.ptr, ST_AUTH_FILE_MAX + 1);
        b.len = n > 0 ? (size_t)n : 0;
        if (n < 0)
            rc = st_err_sys(err, "%s", path);
        else if (b.len > ST_AUTH_FILE_MAX)
            rc = st_err_set(err, ST_E_AUTH, "%s is larger than 1 MiB", path);
        else if (st_sv_trim(st_buf_sv(&b)).len == 0)
            rc = 0;
        else if (st_auth_file_parse(st_buf_sv(&b), host, repository, &a, &e, err))
            rc = st_err_set(err, ST_E_AUTH, "%s is not a JSON file of logins; mend or remove it", path);
        else
            rc = from_entry(&e, host, mem, l, err);
    }
    wipe(&b);
    st_arena_release(&a);
    return rc;
}

static int from_files(struct st_sv host, struct st_sv repository, struct st_mem *mem, struct st_login *l,
                      struct st_err *err)
{
    const char *named = getenv("REGISTRY_AUTH_FILE"), *home = getenv("HOME"), *docker = getenv("DOCKER_CONFIG");
    const char *config = getenv("XDG_CONFIG_HOME");
    const struct {
        const char *dir, *rest;
    } places[] = {{getenv("XDG_RUNTIME_DIR"), "/containers/auth.json"},
                  {config && *config ? config : home,
                   config && *config ? "/containers/auth.json" : "/.config/containers/auth.json"},
                  {docker && *docker ? docker : home, docker && *docker ? "/config.json" : "/.docker/config.json"}};
    if (named && *named)
        return from_file(named, true, host, repository, mem, l, err);
    for (size_t i = 0; i < ST_LEN(places); i++) {
        char path[PATH_MAX];
        if (!places[i].dir || !*places[i].dir ||
            snprintf(path, sizeof path, "%s%s", places[i].dir, places[i].rest) >= (int)sizeof path)
            continue;
        int rc = from_file(path, false, host, repository, mem, l, err);
        if (rc)
            return rc;
    }
    return 0;
}

int st_login_find(struct st_sv host, struct st_sv repository, const char *creds, struct st_mem *mem,
                  struct st_login *ret, struct st_err *err)
{
    const char *token = getenv("STELLA_REGISTRY_TOKEN");
    *ret = (struct st_login){.kind = ST_AUTH_NONE};
    if (creds)
        return from_creds(creds, host, ret, err);
    if (token && *token) {
        snprintf(ret->origin, sizeof ret->origin, "STELLA_REGISTRY_TOKEN");
        return set(ret, ST_AUTH_BEARER, ST_SV(""), st_sv_of(token), err);
    }
    return from_files(host, repository, mem, ret, err) < 0 ? -1 : 0;
}
