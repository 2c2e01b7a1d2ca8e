// The table of configuration keys, and what follows from their values.
#include "service/keys.h"

#include "base/ckd.h"
#include "base/json.h"
#include "base/near.h"
#include "base/quantity.h"

#include <stdio.h>

#define BYTES_MAX (1ull << 50)

// X(name, kind, default, least, most, after a restart, what for)
#define KEYS(X)                                                                                                    \
    X("cache.layer_dedup", ST_KEY_BOOL, "false", 0, 0, false,                                                      \
      "keep what was found in a layer and use it again for other images")                                          \
    X("cache.max_bytes", ST_KEY_BYTES, "5Gi", 16 * ST_MIB, BYTES_MAX, false,                                       \
      "disk that the layer cache may take; a scan makes room from four fifths of it on, down to one")              \
    X("cache.ttl", ST_KEY_DURATION_OFF, "45d", 1, ST_DURATION_MAX, false,                                          \
      "layers that were not used for so long leave the cache; off: none do")                                       \
    X("queue.max_pending", ST_KEY_COUNT, "100000", 1, 10000000, false,                                             \
      "pending jobs from which on submissions are refused for now")                                                \
    X("registry.allow_private", ST_KEY_HOSTS, "none", 0, 0, false,                                                 \
      "hosts that may have a loopback, private or link-local address (HOST:PORT,HOST)")                            \
    X("retention.jobs", ST_KEY_DURATION, "30d", 1, ST_DURATION_MAX, false,                                         \
      "time that an ended job is kept, with its attempts and results")                                             \
    X("retention.results", ST_KEY_DURATION, "30d", 1, ST_DURATION_MAX, false,                                      \
      "time that the SBOMs of an ended job are kept")                                                              \
    X("retry.max_attempts", ST_KEY_COUNT, "5", 1, 100, false, "attempts of a job before it becomes a dead letter") \
    X("routing.large_image_pool", ST_KEY_POOL, "none", 0, 0, false,                                                \
      "pool for large images and for those of unknown size")                                                       \
    X("routing.large_image_threshold", ST_KEY_BYTES, "none", 1, BYTES_MAX, false,                                  \
      "stored size from which on an image is large")                                                               \
    X("sbom.incremental_mode", ST_KEY_BOOL, "false", 0, 0, false,                                                  \
      "checkpoints within a layer, for trees of very many files")                                                  \
    X("sbom.streaming_threshold", ST_KEY_BYTES_OFF, "2Gi", 0, BYTES_MAX, true,                                     \
      "stored size from which on one layer is read at a time; 0 always, off never")                                \
    X("timeouts.scan", ST_KEY_DURATION, "20m", 1, ST_DURATION_MAX, true, "time that a scan may take")              \
    X("uploads.quota", ST_KEY_BYTES, "20Gi", 1, BYTES_MAX, false,                                                  \
      "room for archives that were uploaded and whose jobs have not ended")                                        \
    X("worker.count", ST_KEY_COUNT, "1", 1, 256, false, "workers of the default pool")                             \
    X("worker.memory_limit", ST_KEY_BYTES, "4Gi", 32 * ST_MIB, BYTES_MAX, true,                                    \
      "memory limit of one worker of the default pool")

#define KEY(name, kind, def, min, max, restart, what) {name, kind, restart, def, min, max, what},
#define TERM(name, kind, def, min, max, restart, what) {name, what " (default: " def ")"},
const struct st_key st_keys[] = {KEYS(KEY){NULL}};
const struct st_term st_key_terms[] = {KEYS(TERM){NULL}};

const struct st_key *st_key_find(struct st_sv name, struct st_err *err)
{
    const char *best = NULL;
    unsigned distance = UINT32_MAX;
    for (const struct st_key *k = st_keys; k->name; k++)
        if (st_sv_eq(name, st_sv_of(k->name)))
            return k;
    // By the part behind the dot too: worker.memlimit and memory_limit both mean worker.memory_limit.
    for (const struct st_key *k = st_keys; k->name; k++) {
        struct st_sv group, leaf, mine, rest;
        st_sv_cut(st_sv_of(k->name), '.', &group, &leaf);
        bool dotted = st_sv_cut(name, '.', &mine, &rest);
        if (st_edit_near(name, st_sv_of(k->name), &distance) || (!dotted && st_edit_near(name, leaf, &distance)) ||
            (dotted && st_sv_eq(mine, group) && !best && rest.len >= 3 && st_edit_distance(rest, leaf) <= leaf.len / 2))
            best = k->name;
    }
    name = st_sv_sub(name, 0, 100);
    if (best)
        st_err_set(err, ST_E_USAGE, "unknown key '" ST_SV_FMT "'; did you mean %s?", ST_SV_ARG(name), best);
    else
        st_err_set(err, ST_E_USAGE, "unknown key '" ST_SV_FMT "' (stella scanner config list shows them)",
                   ST_SV_ARG(name));
    return NULL;
}

bool st_key_group(struct st_sv name)
{
    for (const struct st_key *k = st_keys; k->name; k++)
        if (name.len && st_sv_starts(st_sv_of(k->name), name) && k->name[name.len] == '.')
            return true;
    return false;
}

bool st_pool_name(struct st_sv name)
{
    if (!name.len || name.len > 63 || name.ptr[0] == '-')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return true;
}

static void duration_text(uint64_t s, char ret[static ST_KEY_TEXT])
{
    static const struct {
        uint64_t seconds;
        char letter;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    size_t n = 0;
    for (size_t i = 0; i < ST_LEN(units); i++) {
        if (s >= units[i].seconds) {
            int k = snprintf(ret + n, ST_KEY_TEXT - n, "%llu%c", (unsigned long long)(s / units[i].seconds),
                             units[i].letter);
            n += k > 0 ? (size_t)k : 0;
        }
        s %= units[i].seconds;
    }
}

static int canonical_bytes(const struct st_key *k, struct st_sv v, char ret[static ST_KEY_TEXT], struct st_err *err)
{
    uint64_t n;
    if (k->kind == ST_KEY_BYTES_OFF && (st_sv_eq(v, ST_SV("off")) || st_sv_eq(v, ST_SV("0")))) {
        snprintf(ret, ST_KEY_TEXT, ST_SV_FMT, ST_SV_ARG(v));
        return 0;
    }
    if (!st_quantity_read(v, &n))
        return st_err_set(err, ST_E_USAGE, "invalid quantity '" ST_SV_FMT "' for %s (examples: 4Gi, 512Mi, 2147483648)",
                          ST_SV_ARG(st_sv_sub(v, 0, 60)), k->name);
    if (st_quantity_for(k->name, v, ST_MAX(k->min, 1ull), k->max, &n, err))
        return -1;
    st_quantity_text(n, ret);
    return 0;
}

static bool host_list(struct st_sv v)
{
    struct st_sv one;
    if (!v.len || v.len >= ST_KEY_TEXT || st_sv_ends(v, ST_SV(",")))
        return false;
    while (v.len && st_sv_split(&v, ',', &one)) {
        if (!one.len)
            return false;
        for (size_t i = 0; i < one.len; i++)
            if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789.-:[]", one.ptr[i]))
                return false;
    }
    return true;
}

int st_key_canonical(const struct st_key *k, struct st_sv v, char ret[static ST_KEY_TEXT], struct st_err *err)
{
    uint64_t n;
    struct st_sv shown = st_sv_sub(v, 0, 60);
    if (!strcmp(k->def, "none") && st_sv_eq(v, ST_SV("none"))) {
        snprintf(ret, ST_KEY_TEXT, "none");
        return 0;
    }
    switch (k->kind) {
    case ST_KEY_BYTES:
    case ST_KEY_BYTES_OFF:
        return canonical_bytes(k, v, ret, err);
    case ST_KEY_DURATION_OFF:
        if (st_sv_eq(v, ST_SV("off")) || st_sv_eq(v, ST_SV("0"))) {
            snprintf(ret, ST_KEY_TEXT, "off");
            return 0;
        }
        __attribute__((fallthrough));
    case ST_KEY_DURATION:
        if (st_duration_for(k->name, v, &n, err))
            return -1;
        duration_text(n, ret);
        return 0;
    case ST_KEY_COUNT:
        if (!st_sv_u64(v, 10, &n) || n < k->min || n > k->max)
            return st_err_set(err, ST_E_USAGE, "invalid number '" ST_SV_FMT "' for %s (%llu to %llu)", ST_SV_ARG(shown),
                              k->name, (unsigned long long)k->min, (unsigned long long)k->max);
        snprintf(ret, ST_KEY_TEXT, "%llu", (unsigned long long)n);
        return 0;
    case ST_KEY_BOOL:
        if (!st_sv_eq(v, ST_SV("true")) && !st_sv_eq(v, ST_SV("false")))
            return st_err_set(err, ST_E_USAGE, "invalid value '" ST_SV_FMT "' for %s (true or false)", ST_SV_ARG(shown),
                              k->name);
        break;
    case ST_KEY_HOSTS:
        if (!host_list(v))
            return st_err_set(err, ST_E_USAGE,
                              "invalid list '" ST_SV_FMT "' for %s (HOST or HOST:PORT, with commas; at most %d bytes)",
                              ST_SV_ARG(shown), k->name, ST_KEY_TEXT - 1);
        break;
    case ST_KEY_POOL:
        if (!st_pool_name(v))
            return st_err_set(err, ST_E_USAGE,
                              "invalid pool name '" ST_SV_FMT "' for %s (small letters, digits and '-', at most 63)",
                              ST_SV_ARG(shown), k->name);
        break;
    }
    snprintf(ret, ST_KEY_TEXT, ST_SV_FMT, ST_SV_ARG(v));
    return 0;
}

// ---- effective values ---------------------------------------------------------------------------

struct value {
    char text[ST_KEY_TEXT];
};

static int take_value(void *ctx, const struct st_config *c, struct st_err *err)
{
    struct value *v = ctx;
    snprintf(v->text, sizeof v->text, ST_SV_FMT, ST_SV_ARG(c->value));
    return 0;
}

int st_key_value(struct st_store *s, const struct st_key *k, char ret[static ST_KEY_TEXT], struct st_err *err)
{
    struct value v;
    snprintf(v.text, sizeof v.text, "%s", k->def);
    if (st_store_config(s, st_sv_of(k->name), take_value, &v, err))
        return -1;
    // What an older or newer version stored may not be what this one takes.
    return st_key_canonical(k, st_sv_of(v.text), ret, err);
}

static int value_of(struct st_store *s, const char *key, char ret[static ST_KEY_TEXT], struct st_err *err)
{
    const struct st_key *k = st_key_find(st_sv_of(key), err);
    return k ? st_key_value(s, k, ret, err) : -1;
}

int st_key_bytes(struct st_store *s, const char *key, uint64_t *ret, struct st_err *err)
{
    char text[ST_KEY_TEXT];
    if (value_of(s, key, text, err))
        return -1;
    if (!st_quantity_read(st_sv_of(text), ret))
        *ret = UINT64_MAX; // off, none
    return 0;
}

int st_key_count(struct st_store *s, const char *key, uint64_t *ret, struct st_err *err)
{
    char text[ST_KEY_TEXT];
    if (value_of(s, key, text, err))
        return -1;
    if (!strcmp(text, "off"))
        *ret = UINT64_MAX;
    else if (!st_sv_u64(st_sv_of(text), 10, ret) && !st_duration_read(st_sv_of(text), ret))
        return st_err_set(err, ST_E_INTERNAL, "%s is no number", key);
    return 0;
}

int st_key_bool(struct st_store *s, const char *key, bool *ret, struct st_err *err)
{
    char text[ST_KEY_TEXT];
    if (value_of(s, key, text, err))
        return -1;
    *ret = !strcmp(text, "true");
    return 0;
}

struct snapshot {
    char at[ST_LEN(st_keys)][ST_KEY_TEXT];
};

static int take_row(void *ctx, const struct st_config *c, struct st_err *err)
{
    struct snapshot *n = ctx;
    for (size_t i = 0; st_keys[i].name; i++)
        if (st_sv_eq(c->key, st_sv_of(st_keys[i].name)))
            snprintf(n->at[i], ST_KEY_TEXT, ST_SV_FMT, ST_SV_ARG(c->value));
    return 0;
}

static int current(struct st_store *s, struct snapshot *n, struct st_err *err)
{
    for (size_t i = 0; st_keys[i].name; i++)
        snprintf(n->at[i], ST_KEY_TEXT, "%s", st_keys[i].def);
    return st_store_config(s, ST_SV_NULL, take_row, n, err);
}

static int write_keys(const struct snapshot *n, bool all, struct st_buf *to, struct st_err *err)
{
    struct st_out o;
    struct st_json_out w;
    st_out_init_buf(&o, to);
    st_json_out_init(&w, &o, 0);
    st_json_open(&w, '{');
    for (size_t i = 0; st_keys[i].name; i++)
        if (all || st_keys[i].restart)
            st_json_kv(&w, st_keys[i].name, st_sv_of(n->at[i]));
    st_json_close(&w, '}');
    return st_out_finish(&o, err);
}

int st_keys_snapshot(struct st_store *s, struct st_buf *to, struct st_err *err)
{
    struct snapshot n;
    return current(s, &n, err) ? -1 : write_keys(&n, true, to, err);
}

int st_keys_restart(struct st_store *s, struct st_buf *to, struct st_err *err)
{
    struct snapshot n;
    return current(s, &n, err) ? -1 : write_keys(&n, false, to, err);
}

// One "key": "value" of `over`.
static int put_over(struct snapshot *n, const struct st_json_tok *key, const struct st_json_tok *value,
                    struct st_arena *a, struct st_err *err)
{
    struct st_sv name, text;
    if (value->type != ST_JSON_STRING || st_json_text(key, a, &name, err) || st_json_text(value, a, &text, err))
        return st_err_set(err, ST_E_INPUT, "field 'config': an object of texts is wanted");
    for (size_t i = 0; st_keys[i].name; i++)
        if (st_keys[i].restart && st_sv_eq(name, st_sv_of(st_keys[i].name)))
            return st_key_canonical(&st_keys[i], text, n->at[i], err);
    return st_err_set(err, ST_E_INPUT, "field 'config': '" ST_SV_FMT "' is no key that a restart takes over",
                      ST_SV_ARG(st_sv_sub(name, 0, 60)));
}

int st_keys_snapshot_over(struct st_store *s, struct st_sv over, struct st_arena *a, struct st_buf *to,
                          struct st_err *err)
{
    struct snapshot n;
    struct st_json j;
    struct st_json_tok key, value;
    int rc = 0;
    if (current(s, &n, err))
        return -1;
    if (over.len) {
        st_json_init(&j, over);
        if (st_json_next(&j, &value, err) || value.type != ST_JSON_OBJECT)
            return st_err_set(err, ST_E_INPUT, "field 'config': an object is wanted");
        while ((rc = st_json_member(&j, &key, &value, err)) > 0)
            if (put_over(&n, &key, &value, a, err))
                return -1;
    }
    return rc ? -1 : write_keys(&n, true, to, err);
}

int st_key_route(struct st_store *s, bool has_size, uint64_t size, char ret[static ST_KEY_TEXT], struct st_err *err)
{
    uint64_t threshold;
    char pool[ST_KEY_TEXT];
    if (st_key_bytes(s, "routing.large_image_threshold", &threshold, err) ||
        value_of(s, "routing.large_image_pool", pool, err))
        return -1;
    bool active = threshold != UINT64_MAX && strcmp(pool, "none") != 0;
    snprintf(ret, ST_KEY_TEXT, "%s", active && (!has_size || size >= threshold) ? pool : "default");
    return 0;
}
