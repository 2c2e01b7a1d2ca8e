// stella scanner cache stats, stella scanner cache prune: the layer cache.
#include "base/ckd.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/quantity.h"
#include "cli/cli.h"
#include "scan/fragstore.h"
#include "service/client.h"
#include "store/home.h"

#include <stdio.h>

enum { TABLE, JSON };
static const struct st_choice formats[] = {{"table", TABLE}, {"json", JSON}, {NULL}};

struct raw {
    const char *cache;
    int format;
    uint64_t max_bytes, max_age;
    bool stale, all;
};

// Rows of both verbs; those of prune alone come last and are left out of the count of stats.
static const struct st_opt options[] = {
    {"cache", 0, ST_OPT_STRING_AT(struct raw, cache), .arg = "DIR", .help = "the cache, as given to scan image --cache",
     .def_text = "the one that --cache on uses", .env = "STELLA_CACHE"},
    {"format", 0, ST_OPT_ENUM_AT(struct raw, format), .arg = "FORMAT", .help = "what to print", .def = "table",
     .choices = formats},
    {"stale", 0, ST_OPT_FLAG_AT(struct raw, stale), .help = "also what another version of stella left"},
    {"max-age", 0, ST_OPT_DURATION_AT(struct raw, max_age), .arg = "TIME",
     .help = "what was not used for TIME, as 12h or 7d", .def_text = "cache.ttl of the configuration"},
    {"max-bytes", 0, ST_OPT_BYTES_AT(struct raw, max_bytes), .arg = "BYTES",
     .help = "then the least recently used, until no more than BYTES are left",
     .def_text = "as scans do: when over 4/5 of cache.max_bytes, down to 1/5"},
    {"all", 0, ST_OPT_FLAG_AT(struct raw, all), .help = "everything"},
};
#define STATS_OPTIONS 2

// 1: open; 0: there is no cache. `dir` is told also then.
static int open_cache(const struct raw *r, char dir[static PATH_MAX], struct st_fragstore *ret, struct st_err *err)
{
    // STELLA_CACHE may be a word of scan image's option.
    bool standard = !r->cache || !strcmp(r->cache, "on") || !strcmp(r->cache, "off");
    char home[PATH_MAX];
    if (standard ? st_home_path(home, err) || st_home_file(home, "cache", dir, err)
                 : snprintf(dir, PATH_MAX, "%s", r->cache) >= PATH_MAX)
        return standard ? -1 : st_err_set(err, ST_E_INPUT, "directory name too long: %.100s", r->cache);
    struct st_err e = {0};
    if (st_fragstore_open(dir, "layers", false, ret, &e) == 0)
        return 1;
    if (e.code == ST_E_NOTFOUND)
        return 0;
    if (err)
        *err = e;
    return -1;
}

// The limits that scans keep, from the configuration.
struct limits {
    uint64_t bytes, age_s; // UINT64_MAX: no end
};

static int take_limit(void *ctx, const void *row, struct st_err *err)
{
    struct limits *l = ctx;
    const struct st_config_row *r = row;
    if (st_sv_eq(r->key, ST_SV("cache.max_bytes")))
        st_quantity_read(r->value, &l->bytes);
    else if (st_sv_eq(r->key, ST_SV("cache.ttl")) && !st_duration_read(r->value, &l->age_s))
        l->age_s = UINT64_MAX; // off
    return 0;
}

static int read_limits(struct limits *ret, struct st_err *err)
{
    struct st_req_key q = {.key = ST_SV("cache")};
    ST_AUTO_CLIENT struct st_client *c = NULL;
    *ret = (struct limits){ST_CACHE_BYTES_MAX, ST_CACHE_AGE_MAX};
    return st_client_open(false, &c, err) ? -1 : st_client_call(c, "config.list", &q, take_limit, ret, err);
}

// ---- stats

struct stats {
    char dir[PATH_MAX];
    struct limits limits;
    struct st_fragstore_usage use;
    struct st_fragstore_counts counts;
};

static void stats_json(struct st_out *out, const struct stats *s)
{
    struct st_json_out w;
    char text[ST_CLOCK_TEXT];
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {{"entryCount", s->use.entries}, {"usedBytes", s->use.bytes},        {"maxBytes", s->limits.bytes},
                {"staleCount", s->use.stale},   {"staleBytes", s->use.stale_bytes}, {"hits", s->counts.hits},
                {"misses", s->counts.misses},   {"evictions", s->counts.evicted}};
    st_json_out_init(&w, out, 2);
    st_json_open(&w, '{');
    st_json_kv(&w, "directory", st_sv_of(s->dir));
    for (size_t i = 0; i < ST_LEN(rows); i++) {
        st_json_key(&w, rows[i].key);
        st_json_u64(&w, rows[i].value);
    }
    st_json_key(&w, "maxAgeSeconds");
    if (s->limits.age_s == UINT64_MAX)
        st_json_null(&w);
    else
        st_json_u64(&w, s->limits.age_s);
    st_json_key(&w, "oldestUse");
    if (s->use.oldest_s) {
        st_clock_text(s->use.oldest_s * 1000, text);
        st_json_str(&w, st_sv_of(text));
    } else {
        st_json_null(&w);
    }
    st_json_close(&w, '}');
    st_out_putc(out, '\n');
}

static void stats_table(struct st_out *out, const struct stats *s)
{
    char used[ST_QUANTITY_TEXT], max[ST_QUANTITY_TEXT], stale[ST_QUANTITY_TEXT], text[ST_CLOCK_TEXT] = "-";
    uint64_t asked = s->counts.hits + s->counts.misses;
    st_quantity_human(s->use.bytes, used);
    st_quantity_human(s->limits.bytes, max);
    st_quantity_human(s->use.stale_bytes, stale);
    if (s->use.oldest_s)
        st_clock_text(s->use.oldest_s * 1000, text);
    st_out_puts(out, "directory:    ");
    st_out_safe(out, st_sv_of(s->dir));
    st_out_fmt(out, "\nlayers:       %llu\n", (unsigned long long)s->use.entries);
    st_out_fmt(out, "on disk:      %s of %s (%llu %%)\n", used, max,
               (unsigned long long)(s->use.bytes * 100 / s->limits.bytes));
    st_out_fmt(out, "stale:        %llu, %s (of another version; prune --stale removes them)\n",
               (unsigned long long)s->use.stale, stale);
    st_out_fmt(out, "oldest use:   %s\n", text);
    st_out_fmt(out, "hits:         %llu of %llu layers", (unsigned long long)s->counts.hits, (unsigned long long)asked);
    if (asked)
        st_out_fmt(out, " (%llu %%)", (unsigned long long)(s->counts.hits * 100 / asked));
    st_out_fmt(out, "\nevicted:      %llu\n", (unsigned long long)s->counts.evicted);
}

static int run_stats(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct stats s = {0};
    struct st_fragstore store = {-1};
    if (read_limits(&s.limits, err))
        return -1;
    int there = open_cache(r, s.dir, &store, err);
    if (there < 0)
        return -1;
    int rc = there ? st_fragstore_usage(&store, &s.use, err) : 0;
    if (there)
        st_fragstore_counts(&store, &s.counts);
    st_fragstore_close(&store);
    if (rc == 0)
        (r->format == JSON ? stats_json : stats_table)(call->out, &s);
    return rc;
}

// ---- prune

static void say_pruned(struct st_out *out, const struct st_fragstore_pruned *p, int format)
{
    char removed[ST_QUANTITY_TEXT], left[ST_QUANTITY_TEXT];
    if (format == JSON) {
        st_out_fmt(out, "{\"removed\": %llu, \"removedBytes\": %llu, \"entryCount\": %llu, \"usedBytes\": %llu}\n",
                   (unsigned long long)p->removed, (unsigned long long)p->removed_bytes, (unsigned long long)p->entries,
                   (unsigned long long)p->bytes);
        return;
    }
    st_quantity_human(p->removed_bytes, removed);
    st_quantity_human(p->bytes, left);
    st_out_fmt(out, "removed %llu layers, %s; %llu layers, %s left\n", (unsigned long long)p->removed, removed,
               (unsigned long long)p->entries, left);
}

static int run_prune(const struct st_call *call, struct st_err *err)
{
    const struct raw *r = call->options;
    struct limits kept;
    struct st_fragstore_pruned pruned = {0};
    struct st_fragstore store = {-1};
    char dir[PATH_MAX];
    if (read_limits(&kept, err))
        return -1;
    bool age = st_opt_source(call->parsed, "max-age") != ST_FROM_DEFAULT;
    struct st_fragstore_limits limits = st_fragstore_limits_of(kept.bytes, age ? r->max_age : kept.age_s);
    limits.stale = r->stale;
    limits.all = r->all;
    if (st_opt_source(call->parsed, "max-bytes") != ST_FROM_DEFAULT)
        limits.full = limits.roomy = r->max_bytes;
    int there = open_cache(r, dir, &store, err);
    if (there < 0)
        return -1;
    int rc = there ? st_fragstore_prune(&store, &limits, &pruned, err) : 0;
    st_fragstore_close(&store);
    if (rc == 0)
        say_pruned(call->out, &pruned, r->format);
    return rc;
}

const struct st_verb st_verb_cache_stats = {
    .words = "scanner cache stats",
    .summary = "show how large the layer cache is and what it saved",
    .args = "",
    .about = "Shows the layer cache: where it is, how many layers it knows, its size on disk, what another version of "
             "stella "
             "left there, and how many layers scans found in it instead of reading them.",
    .opts = options,
    .n_opts = STATS_OPTIONS,
    .options_size = sizeof(struct raw),
    .examples = {{"See whether the cache pays", "stella scanner cache stats"},
                 {"Give a script its size", "stella scanner cache stats --format json | jq .usedBytes"}},
    .run = run_stats,
};

const struct st_verb st_verb_cache_prune = {
    .words = "scanner cache prune",
    .summary = "remove layers from the layer cache",
    .args = "",
    .about =
        "Removes from the layer cache what was not used for the time cache.ttl (45 days) and, when it takes more than "
        "four fifths of cache.max_bytes (5 GiB), the least recently used layers until one fifth is left; every scan "
        "that "
        "adds to the cache does the same. The options ask for more. Scans that run meanwhile are not disturbed: a "
        "layer that is gone is read again.",
    .opts = options,
    .n_opts = ST_LEN(options),
    .options_size = sizeof(struct raw),
    .examples = {{"After an update, remove what only the old version could use", "stella scanner cache prune --stale"},
                 {"Make room: keep at most 500 MiB", "stella scanner cache prune --max-bytes 500Mi"},
                 {"Empty it, for instance after turning the cache off", "stella scanner cache prune --all"}},
    .run = run_prune,
};
