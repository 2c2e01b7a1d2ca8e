// Bearer tokens: lines "ROLE NAME TOKEN" of a file that only its owner reads.
#include "base/ckd.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "service/api.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <sys/stat.h>

#define FILE_MAX (64 * 1024)
#define NAME_MAX_ 64
#define HASH SHA256_DIGEST_LENGTH

struct token {
    enum st_role role;
    char name[NAME_MAX_ + 1];
    unsigned char hash[HASH]; // the file may be large in secrets, memory need not be
};

struct st_tokens {
    struct token at[ST_TOKENS_MAX];
    size_t n;
};

static int role_of(struct st_sv word, enum st_role *ret)
{
    for (enum st_role r = ST_ROLE_READ; r <= ST_ROLE_ADMIN; r++)
        if (st_sv_eq(word, st_sv_of(st_role_words[r]))) {
            *ret = r;
            return 0;
        }
    return -1;
}

static int add(struct st_tokens *t, struct st_sv line, unsigned number, const char *path, struct st_err *err)
{
    struct st_sv role, name, token, more;
    line = st_sv_trim(line);
    if (!line.len || line.ptr[0] == '#')
        return 0;
    bool good =
        st_sv_word(&line, &role) && st_sv_word(&line, &name) && st_sv_word(&line, &token) && !st_sv_word(&line, &more);
    if (!good || !name.len || name.len > NAME_MAX_)
        return st_err_set(err, ST_E_INPUT, "%s line %u: ROLE NAME TOKEN is wanted", path, number);
    if (t->n == ST_TOKENS_MAX)
        return st_err_set(err, ST_E_LIMIT, "%s: more than %d tokens", path, ST_TOKENS_MAX);
    struct token *k = &t->at[t->n];
    if (role_of(role, &k->role))
        return st_err_set(err, ST_E_INPUT, "%s line %u: unknown role (read, submit, admin)", path, number);
    if (token.len < ST_TOKEN_MIN)
        return st_err_set(err, ST_E_INPUT,
                          "%s line %u: the token is shorter than %d characters (openssl rand -hex 32 makes "
                          "one)",
                          path, number, ST_TOKEN_MIN);
    snprintf(k->name, sizeof k->name, ST_SV_FMT, ST_SV_ARG(name));
    SHA256((const unsigned char *)token.ptr, token.len, k->hash);
    t->n++;
    return 0;
}

static int read_file(struct st_tokens *t, const char *path, char *buf, struct st_err *err)
{
    struct stat st;
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        return st_err_sys(err, "tokens %s", path);
    if (st.st_mode & 077)
        return st_err_set(err, ST_E_INPUT, "tokens %s may be read by others: chmod 600 %s", path, path);
    ssize_t n = st_fd_read(fd, buf, FILE_MAX);
    if (n < 0)
        return st_err_sys(err, "tokens %s", path);
    if (n == FILE_MAX)
        return st_err_set(err, ST_E_LIMIT, "tokens %s: longer than %d bytes", path, FILE_MAX);
    struct st_sv rest = {buf, (size_t)n}, line;
    for (unsigned number = 1; st_sv_line(&rest, &line); number++)
        if (add(t, line, number, path, err))
            return -1;
    return t->n ? 0 : st_err_set(err, ST_E_INPUT, "%s holds no token (lines of ROLE NAME TOKEN)", path);
}

int st_tokens_read(const char *path, struct st_tokens **ret, struct st_err *err)
{
    struct st_tokens *t = calloc(1, sizeof *t);
    ST_AUTO_FREE char *buf = malloc(FILE_MAX);
    int rc = t && buf ? read_file(t, path, buf, err) : st_err_nomem(err);
    if (buf)
        OPENSSL_cleanse(buf, FILE_MAX);
    if (rc)
        free(t);
    else
        *ret = t;
    return rc;
}

void st_tokens_free(struct st_tokens *t)
{
    free(t);
}

struct st_caller st_tokens_find(const struct st_tokens *t, struct st_sv token)
{
    struct st_caller c = {ST_ROLE_NONE, ST_SV("nobody")};
    unsigned char hash[HASH];
    SHA256((const unsigned char *)token.ptr, token.len, hash);
    for (size_t i = 0; i < t->n; i++)
        if (CRYPTO_memcmp(hash, t->at[i].hash, HASH) == 0)
            c = (struct st_caller){t->at[i].role, st_sv_of(t->at[i].name)};
    return c;
}
