// The path classifier. Every path of an image goes through it, and nearly none is wanted, so a path is looked up by
// three cheap keys (its last part, its extension, its parent's name) before any glob is compared:
//   last part of the glob is literal            -> keyed by it           "**/var/lib/dpkg/status"
//   ... ends in ".ext" after its last '*'       -> keyed by the extension "**/*.jar"
//   ... has no such end, the part before literal -> keyed by the parent   "**/status.d/*"
//   otherwise                                   -> compared with every path
// The keys only pick candidates; st_glob_match decides.
#include "base/ckd.h"
#include "catalog/catalog.h"

#define GLOBS_MAX 4096     // of a whole table; more is a mistake in the table
#define CATALOGERS_MAX 256 // indices are uint8_t
#define SLOTS_PER_GLOB 4   // sparse, so that a miss usually ends at an empty bucket
#define NONE UINT16_MAX

enum key_kind { KEY_NAME, KEY_EXT, KEY_PARENT, KEY_NONE };

struct entry {
    const char *glob; // borrows from the table
    uint32_t hash;
    uint32_t parent;     // hash of the part before the last when that is literal, else 0
    struct st_sv ending; // of the last part, behind its last '*'
    uint16_t next;       // in the bucket or the slow list
    uint8_t cataloger;
};

struct st_classifier {
    struct st_mem *mem; // borrowed
    size_t bytes;       // of this block
    size_t mask;        // buckets - 1
    uint16_t slow;      // first entry of the slow list
    uint16_t *buckets;
    struct entry entries[];
};

// ---- globs ------------------------------------------------------------------------------------------

static struct st_sv first_part(struct st_sv path)
{
    size_t i = st_sv_find(path, '/');
    return i == ST_SV_NPOS ? path : st_sv_sub(path, 0, i);
}

// What stands behind the first part; NULL-pointered when that was the last.
static struct st_sv other_parts(struct st_sv path)
{
    size_t i = st_sv_find(path, '/');
    return i == ST_SV_NPOS ? ST_SV_NULL : st_sv_from(path, i + 1);
}

// One part against one part; '*' is any run of bytes. Going back to the last '*' only is enough: an earlier one could
// not leave the later ones more to match.
static bool match_part(struct st_sv glob, struct st_sv part)
{
    size_t g = 0, p = 0, star = ST_SV_NPOS, resume = 0;
    while (p < part.len) {
        if (g < glob.len && glob.ptr[g] == '*') {
            star = ++g;
            resume = p;
        } else if (g < glob.len && glob.ptr[g] == part.ptr[p]) {
            g++;
            p++;
        } else if (star != ST_SV_NPOS) {
            g = star;
            p = ++resume;
        } else {
            return false;
        }
    }
    while (g < glob.len && glob.ptr[g] == '*')
        g++;
    return g == glob.len;
}

// The same walk one level up: "**" is any run of parts.
static bool match_parts(struct st_sv glob, struct st_sv path)
{
    struct st_sv star = ST_SV_NULL, resume = ST_SV_NULL;
    bool starred = false;
    while (path.ptr) {
        struct st_sv g = first_part(glob);
        if (glob.ptr && st_sv_eq(g, ST_SV("**"))) {
            starred = true;
            star = glob = other_parts(glob);
            resume = path;
        } else if (glob.ptr && match_part(g, first_part(path))) {
            glob = other_parts(glob);
            path = other_parts(path);
        } else if (starred && star.ptr) {
            glob = star;
            path = resume = other_parts(resume);
        } else {
            return starred; // "**" was last and takes the rest
        }
    }
    while (glob.ptr && st_sv_eq(first_part(glob), ST_SV("**")))
        glob = other_parts(glob);
    return !glob.ptr;
}

bool st_glob_match(const char *glob, struct st_sv path)
{
    return path.len > 0 && match_parts(st_sv_of(glob), path);
}

// ---- keys -------------------------------------------------------------------------------------------

static uint64_t load8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t load4(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

// Length and both ends of the text: cheap, and equal texts have equal hashes, which is all that is needed.
static uint32_t key_hash(enum key_kind kind, struct st_sv s)
{
    uint64_t head = 0, tail = 0;
    if (s.len >= 8) {
        head = load8(s.ptr);
        tail = load8(s.ptr + s.len - 8);
    } else if (s.len >= 4) {
        head = load4(s.ptr);
        tail = load4(s.ptr + s.len - 4);
    } else if (s.len) {
        head = (unsigned char)s.ptr[0];
        tail = (uint64_t)(unsigned char)s.ptr[s.len / 2] << 8 | (unsigned char)s.ptr[s.len - 1];
    }
    uint64_t h = (head ^ (s.len << 2 | (uint64_t)kind)) * 0x9e3779b97f4a7c15ull;
    h = (h ^ (h >> 29) ^ tail) * 0xbf58476d1ce4e5b9ull;
    return (uint32_t)(h >> 32);
}

static bool extension(struct st_sv name, struct st_sv *ret)
{
    size_t dot = st_sv_rfind(name, '.');
    *ret = dot == ST_SV_NPOS ? ST_SV_NULL : st_sv_from(name, dot + 1);
    return dot != ST_SV_NPOS;
}

static enum key_kind key_of_glob(struct st_sv glob, struct st_sv *ret)
{
    struct st_sv name = st_sv_basename(glob);
    size_t star = st_sv_rfind(name, '*');
    if (star == ST_SV_NPOS) {
        *ret = name;
        return KEY_NAME;
    }
    if (extension(st_sv_from(name, star + 1), ret))
        return KEY_EXT;
    *ret = st_sv_basename(st_sv_dirname(glob));
    if (!st_sv_eq(name, ST_SV("**")) && ret->len && st_sv_find(*ret, '*') == ST_SV_NPOS)
        return KEY_PARENT;
    return KEY_NONE;
}

// ---- the table --------------------------------------------------------------------------------------

static size_t count_globs(const struct st_cataloger *const *table, size_t *ret_rows)
{
    size_t n = 0, rows = 0;
    for (; table[rows]; rows++)
        for (const char *const *g = table[rows]->globs; g && *g; g++)
            n++;
    *ret_rows = rows;
    return n;
}

static void add_glob(struct st_classifier *c, uint16_t at, uint8_t cataloger, const char *glob)
{
    struct entry *e = &c->entries[at];
    *e = (struct entry){.glob = glob, .cataloger = cataloger};
    struct st_sv key;
    enum key_kind kind = key_of_glob(st_sv_of(glob), &key);
    if (kind != KEY_NONE)
        e->hash = key_hash(kind, key);
    struct st_sv all = st_sv_of(glob), last = st_sv_basename(all), before = st_sv_basename(st_sv_dirname(all));
    size_t star = st_sv_rfind(last, '*');
    e->ending = star == ST_SV_NPOS ? last : st_sv_from(last, star + 1);
    if (before.len && st_sv_find(before, '*') == ST_SV_NPOS && !st_sv_eq(last, ST_SV("**")))
        e->parent = key_hash(KEY_PARENT, before);
    uint16_t *list = kind == KEY_NONE ? &c->slow : &c->buckets[e->hash & c->mask];
    e->next = *list;
    *list = at;
}

struct st_classifier *st_classifier_new(struct st_mem *mem, const struct st_cataloger *const *table, struct st_err *err)
{
    size_t rows, globs = count_globs(table, &rows);
    if (globs > GLOBS_MAX || rows > CATALOGERS_MAX)
        return st_err_set(err, ST_E_INTERNAL, "%zu globs of %zu catalogers are too many", globs, rows), NULL;
    size_t slots = 64;
    while (slots < globs * SLOTS_PER_GLOB)
        slots *= 2;
    size_t bytes = sizeof(struct st_classifier) + globs * sizeof(struct entry) + slots * sizeof(uint16_t);
    struct st_classifier *c = st_mem_alloc(mem, bytes, err);
    if (!c)
        return NULL;
    *c = (struct st_classifier){.mem = mem, .bytes = bytes, .mask = slots - 1, .slow = NONE};
    c->buckets = (uint16_t *)&c->entries[globs];
    memset(c->buckets, 0xff, slots * sizeof(uint16_t)); // NONE
    uint16_t at = 0;
    for (size_t i = 0; i < rows; i++)
        for (const char *const *g = table[i]->globs; g && *g; g++)
            add_glob(c, at++, (uint8_t)i, *g);
    return c;
}

void st_classifier_free(struct st_classifier *c)
{
    if (c)
        st_mem_free(c->mem, c, c->bytes);
}

// ---- look-up ----------------------------------------------------------------------------------------

struct found {
    uint8_t *at;
    size_t n, max;
};

static bool has(const struct found *f, uint8_t cataloger)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->at[i] == cataloger)
            return true;
    return false;
}

// Ascending; of more than fit the first ones stay.
static void insert(struct found *f, uint8_t cataloger)
{
    size_t i = f->n;
    if (f->n < f->max)
        f->n++;
    else if (i == 0 || f->at[--i] < cataloger)
        return;
    for (; i > 0 && f->at[i - 1] > cataloger; i--)
        f->at[i] = f->at[i - 1];
    f->at[i] = cataloger;
}

// Cheap answers first: most of what shares a key (every .json) differs in the name's end or in its directory.
static bool matches(const struct entry *e, struct st_sv path, struct st_sv name, uint32_t parent)
{
    if (e->parent && e->parent != parent)
        return false;
    size_t n = e->ending.len;
    if (name.len < n || memcmp(name.ptr + name.len - n, e->ending.ptr, n) != 0)
        return false;
    return st_glob_match(e->glob, path);
}

struct asked {
    struct st_sv path, name;
    uint32_t parent; // hash of the name of its directory, 0: none
};

static void look_up(const struct st_classifier *c, uint32_t hash, const struct asked *a, struct found *f)
{
    for (uint16_t i = c->buckets[hash & c->mask]; i != NONE; i = c->entries[i].next) {
        const struct entry *e = &c->entries[i];
        if (e->hash == hash && !has(f, e->cataloger) && matches(e, a->path, a->name, a->parent))
            insert(f, e->cataloger);
    }
}

size_t st_classify(const struct st_classifier *c, struct st_sv path, uint8_t *ret, size_t max)
{
    struct found f = {.at = ret, .max = max};
    if (path.len == 0)
        return 0;
    struct asked a = {.path = path, .name = st_sv_basename(path)};
    struct st_sv ext;
    if (a.name.len < path.len)
        a.parent = key_hash(KEY_PARENT, st_sv_basename(st_sv_sub(path, 0, path.len - a.name.len - 1)));
    look_up(c, key_hash(KEY_NAME, a.name), &a, &f);
    if (extension(a.name, &ext))
        look_up(c, key_hash(KEY_EXT, ext), &a, &f);
    if (a.name.len < path.len)
        look_up(c, a.parent, &a, &f);
    for (uint16_t i = c->slow; i != NONE; i = c->entries[i].next) {
        const struct entry *e = &c->entries[i];
        if (!has(&f, e->cataloger) && st_glob_match(e->glob, path))
            insert(&f, e->cataloger);
    }
    return f.n;
}
