#include "catalog_harness.h"

#include "base/ckd.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

// The contract is checked in every build, also where assert() is off.
#define MUST(cond)                                                                      \
    do {                                                                                \
        if (!(cond)) {                                                                  \
            fprintf(stderr, "%s:%d: contract broken: %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                                    \
        }                                                                               \
    } while (0)

// ---- records as text --------------------------------------------------------------------------------

static void field(struct harness *h, const char *key, struct st_sv value)
{
    MUST(value.len == 0 || value.ptr);
    if (!h->out || value.len == 0)
        return;
    st_out_fmt(h->out, "  %s ", key);
    st_out_safe(h->out, value);
    st_out_putc(h->out, '\n');
}

static void fields(struct harness *h, const char *key, struct st_svs list)
{
    MUST(list.n == 0 || list.at);
    for (size_t i = 0; i < list.n; i++)
        field(h, key, list.at[i]);
}

static void pairs(struct harness *h, const char *kind, struct st_kvs list)
{
    MUST(list.n == 0 || list.at);
    for (size_t i = 0; i < list.n; i++) {
        struct st_kv kv = list.at[i];
        MUST(kv.key.len && (kv.value.len == 0 || kv.value.ptr));
        if (!h->out)
            continue;
        st_out_fmt(h->out, "  %s " ST_SV_FMT "=", kind, ST_SV_ARG(kv.key));
        st_out_safe(h->out, kv.value);
        st_out_putc(h->out, '\n');
    }
}

static void word(struct harness *h, struct st_sv s)
{
    MUST(s.len == 0 || s.ptr);
    if (h->out)
        st_out_safe(h->out, s);
}

static void text(struct harness *h, const char *s)
{
    if (h->out)
        st_out_puts(h->out, s);
}

// ---- sinks ------------------------------------------------------------------------------------------

static int allow(struct harness *h, struct st_err *err)
{
    MUST(!h->refused);
    if (++h->emits != h->fail_emit)
        return 0;
    h->refused = true;
    return st_err_set(err, ST_E_NOMEM, "refused by the test");
}

static bool normalised(struct st_sv path)
{
    struct st_sv part, rest = path;
    if (path.len == 0 || path.ptr[0] == '/' || path.ptr[path.len - 1] == '/')
        return false;
    while (st_sv_split(&rest, '/', &part))
        if (part.len == 0 || st_sv_eq(part, ST_SV(".")) || st_sv_eq(part, ST_SV("..")))
            return false;
    return true;
}

static int on_package(void *ctx, const struct st_package *p, struct st_err *err)
{
    struct harness *h = ctx;
    MUST(p->type < ST_PKG_TYPES_MAX && p->name.len);
    if (allow(h, err))
        return -1;
    text(h, "package ");
    text(h, st_pkg_type_info(p->type)->word);
    text(h, "\n");
    field(h, "ns", p->ns);
    field(h, "name", p->name);
    field(h, "version", p->version);
    field(h, "epoch", p->epoch);
    field(h, "arch", p->arch);
    field(h, "source", p->source_name);
    field(h, "source-version", p->source_version);
    fields(h, "license", p->licenses);
    pairs(h, "qual", p->quals);
    pairs(h, "meta", p->meta);
    fields(h, "depends", p->depends);
    fields(h, "provides", p->provides);
    field(h, "inner", p->inner);
    return 0;
}

static int on_distro(void *ctx, const struct st_distro *d, struct st_err *err)
{
    struct harness *h = ctx;
    if (allow(h, err))
        return -1;
    text(h, d->from_release_file ? "distro from-release-file\n" : "distro\n");
    field(h, "id", d->id);
    field(h, "version-id", d->version_id);
    field(h, "name", d->name);
    field(h, "pretty-name", d->pretty_name);
    field(h, "version-codename", d->version_codename);
    field(h, "variant-id", d->variant_id);
    field(h, "id-like", d->id_like);
    field(h, "cpe-name", d->cpe_name);
    field(h, "home-url", d->home_url);
    return 0;
}

static int on_owns(void *ctx, enum st_pkg_type type, struct st_sv owner, struct st_sv path, struct st_err *err)
{
    struct harness *h = ctx;
    MUST(type < ST_PKG_TYPES_MAX && st_pkg_type_info(type)->database && owner.len && normalised(path));
    if (allow(h, err))
        return -1;
    text(h, "owns ");
    text(h, st_pkg_type_info(type)->word);
    text(h, " ");
    word(h, owner);
    text(h, " ");
    word(h, path);
    text(h, "\n");
    return 0;
}

static int on_note(void *ctx, const struct st_note *n, struct st_err *err)
{
    struct harness *h = ctx;
    MUST(n->type < ST_PKG_TYPES_MAX && n->key.len && n->value.len && (n->path.len || n->name.len));
    if (allow(h, err))
        return -1;
    text(h, "note ");
    text(h, n->path.len ? "path" : st_pkg_type_info(n->type)->word);
    text(h, " ");
    word(h, n->path.len ? n->path : n->name);
    text(h, " ");
    word(h, n->key);
    text(h, "=");
    word(h, n->value);
    text(h, "\n");
    return 0;
}

static int on_unknown(void *ctx, enum st_unknown_reason reason, struct st_sv inner, struct st_sv why,
                      struct st_err *err)
{
    struct harness *h = ctx;
    MUST(reason < ST_UNKNOWN_REASONS_MAX && st_sv_find(why, '\n') == ST_SV_NPOS);
    if (allow(h, err))
        return -1;
    text(h, "unknown ");
    text(h, st_unknown_word(reason));
    text(h, " [");
    word(h, inner);
    text(h, "] ");
    word(h, why);
    text(h, "\n");
    return 0;
}

// ---- views ------------------------------------------------------------------------------------------

static int by_offset(const void *a, const void *b)
{
    const struct st_span *x = a, *y = b;
    return (x->off > y->off) - (x->off < y->off);
}

static void *copy(struct st_sv s)
{
    char *p = malloc(s.len ? s.len : 1);
    MUST(p);
    if (s.len)
        memcpy(p, s.ptr, s.len);
    return p;
}

// The ranges of a plan, clipped to the file, sorted, overlapping and touching ones joined, the sum capped.
static size_t spans_of_plan(const struct st_plan *plan, struct st_sv bytes, struct st_span *ret)
{
    size_t n = 0, joined = 0;
    uint64_t sum = 0;
    MUST(plan->n <= ST_PLAN_MAX);
    for (size_t i = 0; i < plan->n; i++) {
        uint64_t off = plan->range[i].off;
        if (off >= bytes.len || plan->range[i].len == 0)
            continue;
        uint64_t len = ST_MIN(plan->range[i].len, bytes.len - off);
        len = ST_MIN(len, ST_PLAN_BYTES - sum);
        sum += len;
        ret[n++] = (struct st_span){off, st_sv_sub(bytes, (size_t)off, (size_t)len)};
    }
    qsort(ret, n, sizeof *ret, by_offset);
    for (size_t i = 0; i < n; i++) {
        struct st_span *last = joined ? &ret[joined - 1] : NULL;
        if (!last || ret[i].off > last->off + last->data.len) {
            ret[joined++] = ret[i];
            continue;
        }
        uint64_t end = ST_MAX(last->off + last->data.len, ret[i].off + ret[i].data.len);
        last->data.len = (size_t)(end - last->off);
    }
    return joined;
}

static int parse_spans(struct harness *h, const struct st_cataloger *c, struct st_sv path, uint64_t size,
                       struct st_span *spans, size_t n, struct st_err *err)
{
    static const struct st_emit sinks = {
        .package = on_package, .distro = on_distro, .owns = on_owns, .note = on_note, .unknown = on_unknown};
    struct st_emit emit = sinks;
    emit.ctx = h;
    struct st_arena arena;
    st_arena_init(&arena, h->mem);
    size_t used = h->mem->used;
    char *own_path = copy(path);
    for (size_t i = 0; i < n; i++)
        spans[i].data.ptr = copy(spans[i].data);
    struct st_view view = {.size = size, .spans = spans, .n = n};
    struct st_parse p = {.path = {own_path, path.len},
                         .mode = c->need == ST_NEED_NAME ? S_IFDIR | 0755 : 0644,
                         .size = size,
                         .arena = &arena,
                         .mem = h->mem,
                         .emit = &emit};
    unsigned long before = h->emits;
    int rc = c->parse(&p, &view, err);
    MUST(rc == 0 || rc == -1 || (rc == ST_PARSE_AGAIN && c->need == ST_NEED_SPARSE && h->emits == before));
    MUST(!h->refused || rc == -1);
    for (size_t i = 0; i < n; i++)
        free((void *)spans[i].data.ptr);
    free(own_path);
    st_arena_release(&arena);
    MUST(h->mem->used == used); // whatever was taken from the heap has been given back
    return rc;
}

int harness_run(struct harness *h, const struct st_cataloger *c, struct st_sv path, struct st_sv bytes,
                struct st_err *err)
{
    h->emits = 0;
    h->refused = false;
    if (c->need != ST_NEED_NAME && bytes.len > c->max_size)
        return st_err_set(err, ST_E_LIMIT, "%zu bytes are more than %llu", bytes.len, (unsigned long long)c->max_size);
    struct st_span all[1] = {{0, bytes}};
    if (c->need == ST_NEED_NAME)
        return parse_spans(h, c, path, bytes.len, all, 0, err);
    if (c->need == ST_NEED_SPARSE && !h->whole) {
        struct st_plan plan = {.n = 0};
        struct st_sv head = st_sv_sub(bytes, 0, ST_PLAN_HEAD);
        char *exact = copy(head);
        int rc = c->plan((struct st_sv){exact, head.len}, bytes.len, &plan);
        free(exact);
        if (rc || plan.n == 0)
            return rc ? st_err_set(err, ST_E_FORMAT, "no plan for this file") : 0;
        struct st_span spans[ST_PLAN_MAX];
        size_t n = spans_of_plan(&plan, bytes, spans);
        rc = parse_spans(h, c, path, bytes.len, spans, n, err);
        if (rc != ST_PARSE_AGAIN)
            return rc;
        h->again = true;
    }
    int rc = parse_spans(h, c, path, bytes.len, all, bytes.len > 0, err);
    MUST(rc != ST_PARSE_AGAIN); // it had everything
    return rc;
}

void harness_print(struct harness *h, const struct st_cataloger *c, struct st_sv path, struct st_sv bytes)
{
    struct st_err err = {0};
    int rc = harness_run(h, c, path, bytes, &err);
    if (!h->out)
        return;
    if (rc == 0) {
        st_out_puts(h->out, "result ok\n");
        return;
    }
    st_out_fmt(h->out, "result %s: ", st_err_word(err.code));
    st_out_safe(h->out, st_sv_of(err.text));
    if (err.has_offset)
        st_out_fmt(h->out, " at byte %llu", (unsigned long long)err.offset);
    st_out_putc(h->out, '\n');
}

// ---- the table --------------------------------------------------------------------------------------

const struct st_cataloger *harness_find(const char *name)
{
    for (const struct st_cataloger *const *c = st_catalogers; *c; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}

bool harness_wants(const struct st_cataloger *c, struct st_sv path, struct st_sv bytes)
{
    if (!c->globs) // `head` is up to 16 bytes of a regular file
        return c->magic(st_sv_sub(bytes, 0, 16), bytes.len);
    for (const char *const *g = c->globs; *g; g++)
        if (st_glob_match(*g, path))
            return true;
    return false;
}
