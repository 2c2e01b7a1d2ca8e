#include "fetch/registries.h"
#include "base/ckd.h"
#include "base/fd.h"
#include "base/toml.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

// ---- one file -------------------------------------------------------------------------------------------------------

static struct st_sv text_of(const struct st_toml *table, const char *key)
{
    const struct st_toml *v = st_toml_get(table, st_sv_of(key), ST_TOML_STRING);
    struct st_sv s = v ? v->text : ST_SV_NULL;
    while (s.len && s.ptr[s.len - 1] == '/')
        s.len--;
    return s;
}

static bool flag_of(const struct st_toml *table, const char *key)
{
    const struct st_toml *v = st_toml_get(table, st_sv_of(key), ST_TOML_BOOL);
    return v && v->integer;
}

static int bad(const struct st_toml *at, const char *what, struct st_err *err)
{
    return st_err_set(err, ST_E_INPUT, "line %zu: %s", at->line, what);
}

static int read_mirrors(const struct st_toml *t, bool by_digest, struct st_registry_rule *into, struct st_err *err)
{
    const struct st_toml *list = st_toml_get(t, ST_SV("mirror"), ST_TOML_ARRAY);
    for (const struct st_toml *m = list ? list->first : NULL; m; m = m->next) {
        struct st_sv when = text_of(m, "pull-from-mirror");
        struct st_mirror one = {.location = text_of(m, "location"), .insecure = flag_of(m, "insecure")};
        one.when = by_digest || st_sv_eq(when, ST_SV("digest-only")) ? ST_MIRROR_DIGEST
                   : st_sv_eq(when, ST_SV("tag-only"))               ? ST_MIRROR_TAG
                                                                     : ST_MIRROR_ALL;
        if (!one.location.len)
            return bad(m, "a mirror without a location", err);
        if (into->n_mirrors == ST_MIRRORS_MAX)
            return bad(m, "more than 15 mirrors of one registry", err);
        into->mirrors[into->n_mirrors++] = one;
    }
    return 0;
}

static int add_rule(struct st_registries *all, const struct st_registry_rule *rule, const struct st_toml *at,
                    struct st_err *err)
{
    for (size_t i = 0; i < all->n; i++)
        if (st_sv_eq(all->rules[i].prefix, rule->prefix)) {
            all->rules[i] = *rule;
            return 0;
        }
    if (all->n == ST_REGISTRIES_MAX)
        return bad(at, "more than 512 registries", err);
    all->rules[all->n++] = *rule;
    return 0;
}

int st_registries_parse(struct st_sv text, struct st_arena *a, struct st_registries *inout, struct st_err *err)
{
    const struct st_toml *root;
    if (st_toml_parse(text, a, &root, err)) {
        if (err && err->code == ST_E_FORMAT)
            err->code = ST_E_INPUT;
        return -1;
    }
    if (!inout->rules && !(inout->rules = st_arena_array(a, ST_REGISTRIES_MAX, sizeof *inout->rules, err)))
        return -1;
    const struct st_toml *old = st_toml_get(root, ST_SV("registries"), ST_TOML_TABLE);
    if (old)
        return bad(old,
                   "the first form of this file ([registries.search]) is not read; see containers-registries.conf(5)",
                   err);
    const struct st_toml *list = st_toml_get(root, ST_SV("registry"), ST_TOML_ARRAY);
    for (const struct st_toml *t = list ? list->first : NULL; t; t = t->next) {
        struct st_registry_rule rule = {.prefix = text_of(t, "prefix"),
                                        .location = text_of(t, "location"),
                                        .insecure = flag_of(t, "insecure"),
                                        .blocked = flag_of(t, "blocked")};
        if (!rule.prefix.len)
            rule.prefix = rule.location;
        if (!rule.prefix.len)
            return bad(t, "a registry with neither prefix nor location", err);
        if (read_mirrors(t, flag_of(t, "mirror-by-digest-only"), &rule, err) || add_rule(inout, &rule, t, err))
            return -1;
    }
    return 0;
}

// ---- names ----------------------------------------------------------------------------------------------------------

// How many bytes of the name the prefix stands for; 0: it does not fit.
static size_t fits(struct st_sv prefix, struct st_sv name)
{
    if (st_sv_starts(prefix, ST_SV("*."))) {
        struct st_sv host, rest, tail = st_sv_from(prefix, 1); // ".example.com"
        st_sv_cut(name, '/', &host, &rest);
        return host.len > tail.len && st_sv_ends(host, tail) ? host.len : 0;
    }
    bool whole = name.len == prefix.len || (name.len > prefix.len && name.ptr[prefix.len] == '/');
    return st_sv_starts(name, prefix) && whole ? prefix.len : 0;
}

const struct st_registry_rule *st_registries_find(const struct st_registries *r, struct st_sv name)
{
    const struct st_registry_rule *best = NULL;
    for (size_t i = 0; i < r->n; i++)
        if (fits(r->rules[i].prefix, name) && (!best || r->rules[i].prefix.len > best->prefix.len))
            best = &r->rules[i];
    return best;
}

int st_registries_rewrite(const struct st_registry_rule *rule, struct st_sv location, struct st_sv name,
                          struct st_arena *a, struct st_sv *ret_host, struct st_sv *ret_repository, struct st_err *err)
{
    struct st_sv whole = name;
    if (location.len && st_arena_fmt(a, &whole, err, ST_SV_FMT ST_SV_FMT, ST_SV_ARG(location),
                                     ST_SV_ARG(st_sv_from(name, fits(rule->prefix, name)))))
        return -1;
    if (!st_sv_cut(whole, '/', ret_host, ret_repository) || !ret_host->len || !ret_repository->len)
        return st_err_set(err, ST_E_INPUT, "registries.conf makes '" ST_SV_FMT "' of the name, which has no repository",
                          ST_SV_ARG(st_sv_sub(whole, 0, 200)));
    for (size_t i = 0; i < whole.len; i++)
        if ((unsigned char)whole.ptr[i] <= ' ' || strchr("?#%@\\\"<>", whole.ptr[i]) || whole.ptr[i] == 0x7f)
            return st_err_set(err, ST_E_INPUT, "registries.conf makes '" ST_SV_FMT "' of the name: not a location",
                              ST_SV_ARG(st_sv_sub(whole, 0, 200)));
    return 0;
}

// ---- files ----------------------------------------------------------------------------------------------------------

// 1: read; 0: not there; -1.
static int load(const char *path, bool must, struct st_arena *a, struct st_registries *all, struct st_err *err)
{
    ST_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && !must)
        return 0;
    if (fd < 0)
        return st_err_sys(err, "%s", path);
    char *text = st_arena_bytes(a, ST_TOML_TEXT_MAX + 1, err);
    if (!text)
        return -1;
    ssize_t n = st_fd_read(fd, text, ST_TOML_TEXT_MAX + 1);
    if (n < 0)
        return st_err_sys(err, "%s", path);
    return st_registries_parse(st_sv_mem(text, (size_t)n), a, all, err) ? st_err_wrap(err, "%s", path) : 1;
}

static int is_conf(const struct dirent *d)
{
    return st_sv_ends(st_sv_of(d->d_name), ST_SV(".conf"));
}

static int load_dir(const char *dir, struct st_arena *a, struct st_registries *all, struct st_err *err)
{
    struct dirent **names = NULL;
    int n = scandir(dir, &names, is_conf, alphasort), rc = 0;
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        if (rc >= 0 && snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name) < (int)sizeof path)
            rc = load(path, false, a, all, err);
        free(names[i]);
    }
    free(names);
    return rc < 0 ? -1 : 0;
}

int st_registries_load(struct st_arena *a, struct st_registries *ret, struct st_err *err)
{
    const char *named = getenv("CONTAINERS_REGISTRIES_CONF"), *config = getenv("XDG_CONFIG_HOME"),
               *home = getenv("HOME");
    char user[PATH_MAX - 64] = "", path[PATH_MAX];
    *ret = (struct st_registries){0};
    if (named && *named)
        return load(named, true, a, ret, err) < 0 ? -1 : 0;
    if (config && *config)
        snprintf(user, sizeof user, "%s/containers", config);
    else if (home && *home)
        snprintf(user, sizeof user, "%s/.config/containers", home);
    snprintf(path, sizeof path, "%s/registries.conf", user);
    int rc = user[0] ? load(path, false, a, ret, err) : 0;
    if (rc == 0)
        rc = load("/etc/containers/registries.conf", false, a, ret, err);
    if (rc < 0 || load_dir("/etc/containers/registries.conf.d", a, ret, err))
        return -1;
    snprintf(path, sizeof path, "%s/registries.conf.d", user);
    return user[0] ? load_dir(path, a, ret, err) : 0;
}
