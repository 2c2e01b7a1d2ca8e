// `stella image inspect` and `stella image layers`: one table of limits, two forms.
#include "image/inspect.h"
#include "base/ckd.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>

#define CREATED_BY_WIDTH 60
#define DIGEST_WIDTH 19

// ---- what the runbooks call large -----------------------------------------------------------------------------------

struct totals {
    uint64_t size, layers;
    bool known;            // every layer was read
    uint64_t bytes, files; // uncompressed; both only when known
    uint64_t layer_files;  // of the layer with most, over the layers that were read
    size_t fullest;        // that layer
};

struct limit {
    const char *code;
    size_t offset; // in struct totals
    uint64_t max;
    const char *runbook;
    const char *what, *unit;
};

static const struct limit limits[] = {
    {"image-size", offsetof(struct totals, size), 2 * ST_GIB, "scanner-oom", "the image is larger than", "bytes"},
    {"image-size", offsetof(struct totals, size), 5 * ST_GIB, "scanner-timeout", "the image is larger than", "bytes"},
    {"layer-count", offsetof(struct totals, layers), 100, "scanner-oom", "the image has more than", "layers"},
    {"layer-count", offsetof(struct totals, layers), 50, "scanner-timeout", "the image has more than", "layers"},
    {"file-count", offsetof(struct totals, files), 100000, "scanner-timeout", "the image has more than", "files"},
    {"layer-file-count", offsetof(struct totals, layer_files), 50000, "scanner-timeout", "a layer has more than",
     "files"},
};

static uint64_t value_of(const struct totals *t, const struct limit *l)
{
    uint64_t v;
    memcpy(&v, (const char *)t + l->offset, sizeof v);
    return v;
}

static void add(uint64_t *sum, uint64_t v)
{
    if (st_ckd_add(sum, *sum, v))
        *sum = UINT64_MAX;
}

static struct totals sum_up(const struct st_inspect *in)
{
    const struct st_subject *s = &in->image->subject;
    struct totals t = {.size = s->size, .layers = s->n_layers, .known = in->counts != NULL};
    for (size_t i = 0; i < s->n_layers && in->counts; i++) {
        const struct st_layer_counts *c = &in->counts[i];
        if (!c->known) {
            t.known = false;
            continue;
        }
        add(&t.bytes, c->bytes);
        add(&t.files, c->files);
        if (c->files > t.layer_files) {
            t.layer_files = c->files;
            t.fullest = i;
        }
    }
    if (!t.known)
        t.bytes = t.files = 0;
    return t;
}

// ---- order ----------------------------------------------------------------------------------------------------------

int st_layer_sort_parse(struct st_sv word, enum st_layer_sort *ret, struct st_err *err)
{
    static const struct {
        struct st_sv word;
        enum st_layer_sort sort;
    } words[] = {{ST_SV_INIT("index"), ST_SORT_INDEX},
                 {ST_SV_INIT("size"), ST_SORT_SIZE},
                 {ST_SV_INIT("file-count"), ST_SORT_FILES}};
    for (size_t i = 0; i < ST_LEN(words); i++)
        if (st_sv_eq(word, words[i].word)) {
            *ret = words[i].sort;
            return 0;
        }
    return st_err_set(err, ST_E_USAGE, "cannot sort by '" ST_SV_FMT "' (size, file-count, index)", ST_SV_ARG(word));
}

struct place {
    uint64_t key;
    size_t index;
};

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static struct place *order(const struct st_inspect *in, struct st_arena *a, struct st_err *err)
{
    size_t n = in->image->subject.n_layers;
    struct place *p = st_arena_array(a, n ? n : 1, sizeof *p, err);
    for (size_t i = 0; i < n && p; i++) {
        bool counted = in->counts && in->counts[i].known;
        p[i].index = i;
        if (in->sort == ST_SORT_SIZE)
            p[i].key = in->image->subject.layers[i].size;
        else if (in->sort == ST_SORT_FILES && counted)
            p[i].key = in->counts[i].files + 1; // not counted comes after counted with none
    }
    if (p && n)
        qsort(p, n, sizeof *p, by_place);
    return p;
}

// ---- JSON -----------------------------------------------------------------------------------------------------------

static void text_or_null(struct st_json_out *w, const char *key, struct st_sv value)
{
    st_json_key(w, key);
    if (value.len)
        st_json_str(w, value);
    else
        st_json_null(w);
}

static void number(struct st_json_out *w, const char *key, uint64_t value)
{
    st_json_key(w, key);
    st_json_u64(w, value);
}

static void number_or_null(struct st_json_out *w, const char *key, bool known, uint64_t value)
{
    st_json_key(w, key);
    if (known)
        st_json_u64(w, value);
    else
        st_json_null(w);
}

static void layer_json(struct st_json_out *w, const struct st_inspect *in, size_t i)
{
    const struct st_subject_layer *l = &in->image->subject.layers[i];
    struct st_layer_counts c = in->counts ? in->counts[i] : (struct st_layer_counts){0};
    st_json_open(w, '{');
    number(w, "index", i);
    text_or_null(w, "digest", l->digest);
    text_or_null(w, "diffId", l->diff_id);
    text_or_null(w, "mediaType", l->media_type);
    number(w, "size", l->size);
    number_or_null(w, "uncompressedSize", c.known, c.bytes);
    number_or_null(w, "fileCount", c.known, c.files);
    text_or_null(w, "createdBy", l->created_by);
    st_json_key(w, "foreign");
    st_json_bool(w, in->image->layers[i].foreign);
    st_json_close(w, '}');
}

static int layers_json(struct st_json_out *w, const struct st_inspect *in, struct st_arena *a, struct st_err *err)
{
    const struct place *p = order(in, a, err);
    if (!p)
        return -1;
    st_json_open(w, '[');
    for (size_t i = 0; i < in->image->subject.n_layers; i++)
        layer_json(w, in, p[i].index);
    st_json_close(w, ']');
    return 0;
}

static void warnings_json(struct st_json_out *w, const struct st_inspect *in, const struct totals *t)
{
    const char *const not_read = "file counts and uncompressed sizes are not known: not every layer was read";
    st_json_open(w, '[');
    for (size_t i = 0; i < ST_LEN(limits); i++) {
        const struct limit *l = &limits[i];
        char text[160];
        if (value_of(t, l) <= l->max)
            continue;
        int n = snprintf(text, sizeof text, "%s %llu %s; see runbook %s", l->what, (unsigned long long)l->max, l->unit,
                         l->runbook);
        st_json_open(w, '{');
        st_json_kv(w, "code", st_sv_of(l->code));
        number(w, "limit", l->max);
        number(w, "value", value_of(t, l));
        if (l->offset == offsetof(struct totals, layer_files))
            number(w, "layer", t->fullest);
        st_json_kv(w, "runbook", st_sv_of(l->runbook));
        st_json_kv(w, "text", st_sv_mem(text, (size_t)n));
        st_json_close(w, '}');
    }
    for (size_t i = 0; i < in->image->warnings.n; i++) {
        st_json_open(w, '{');
        st_json_kv(w, "code", ST_SV("image"));
        st_json_kv(w, "text", in->image->warnings.at[i]);
        st_json_close(w, '}');
    }
    if (!t->known) {
        st_json_open(w, '{');
        st_json_kv(w, "code", ST_SV("not-read"));
        st_json_kv(w, "text", st_sv_of(not_read));
        st_json_close(w, '}');
    }
    st_json_close(w, ']');
}

static void identity_json(struct st_json_out *w, const struct st_inspect *in)
{
    const struct st_subject *s = &in->image->subject;
    st_json_kv(w, "name", s->name);
    st_json_kv(w, "kind", st_sv_of(st_image_kind_name(in->image->kind)));
    st_json_key(w, "tags");
    st_json_open(w, '[');
    for (size_t i = 0; i < s->tags.n; i++)
        st_json_str(w, s->tags.at[i]);
    st_json_close(w, ']');
    st_json_key(w, "platform");
    st_json_open(w, '{');
    text_or_null(w, "os", s->os);
    text_or_null(w, "architecture", s->architecture);
    text_or_null(w, "variant", s->variant);
    st_json_close(w, '}');
    text_or_null(w, "created", in->image->created);
    st_json_key(w, "labels");
    st_json_open(w, '{');
    for (size_t i = 0; i < s->labels.n; i++) {
        st_json_key_sv(w, s->labels.at[i].key);
        st_json_str(w, s->labels.at[i].value);
    }
    st_json_close(w, '}');
}

int st_inspect_json(const struct st_inspect *in, struct st_arena *a, struct st_out *out, struct st_err *err)
{
    const struct st_subject *s = &in->image->subject;
    struct totals t = sum_up(in);
    struct st_json_out w;
    st_json_out_init(&w, out, 2);
    st_json_open(&w, '{');
    identity_json(&w, in);
    st_json_key(&w, "manifest");
    st_json_open(&w, '{');
    text_or_null(&w, "digest", s->manifest_digest);
    text_or_null(&w, "mediaType", s->media_type);
    number_or_null(&w, "fileCount", t.known, t.files);
    st_json_close(&w, '}');
    st_json_key(&w, "config");
    st_json_open(&w, '{');
    text_or_null(&w, "digest", s->config_digest);
    number(&w, "size", in->image->config_size);
    st_json_close(&w, '}');
    number(&w, "size", s->size);
    number_or_null(&w, "uncompressedSize", t.known, t.bytes);
    number(&w, "layerCount", s->n_layers);
    st_json_key(&w, "layers");
    if (layers_json(&w, in, a, err))
        return -1;
    st_json_key(&w, "warnings");
    warnings_json(&w, in, &t);
    st_json_close(&w, '}');
    st_out_putc(out, '\n');
    return 0;
}

int st_layers_json(const struct st_inspect *in, struct st_arena *a, struct st_out *out, struct st_err *err)
{
    struct st_json_out w;
    st_json_out_init(&w, out, 2);
    if (layers_json(&w, in, a, err))
        return -1;
    st_out_putc(out, '\n');
    return 0;
}

// ---- text -----------------------------------------------------------------------------------------------------------

// "812.4 MiB", at most 9 characters for what an image can be.
static void human(uint64_t bytes, char *out, size_t n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t u = 0;
    uint64_t whole = bytes, tenth = 0;
    for (; whole >= 1024 && u < ST_LEN(units) - 1; u++) {
        tenth = (whole % 1024) * 10 / 1024;
        whole /= 1024;
    }
    if (u)
        snprintf(out, n, "%llu.%llu %s", (unsigned long long)whole, (unsigned long long)tenth, units[u]);
    else
        snprintf(out, n, "%llu %s", (unsigned long long)whole, units[u]);
}

static void grouped(uint64_t v, char *out, size_t n)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);
    size_t at = 0;
    for (int i = 0; i < len && at + 2 < n; i++) {
        if (i && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
}

// As much of the text as fits the column, not cut within a UTF-8 sequence.
static struct st_sv clip(struct st_sv s, size_t width)
{
    size_t n = ST_MIN(s.len, width);
    while (n && n < s.len && ((unsigned char)s.ptr[n] & 0xC0) == 0x80)
        n--;
    return st_sv_sub(s, 0, n);
}

static void row(struct st_out *out, const char *label, struct st_sv value)
{
    if (value.len == 0)
        return;
    st_out_fmt(out, "%-14s", label);
    st_out_safe(out, value);
    st_out_putc(out, '\n');
}

static void bytes_row(struct st_out *out, const char *label, uint64_t bytes)
{
    char h[24], g[32];
    human(bytes, h, sizeof h);
    grouped(bytes, g, sizeof g);
    st_out_fmt(out, "%-14s%s (%s bytes)\n", label, h, g);
}

static void layer_row(struct st_out *out, const struct st_inspect *in, size_t i)
{
    const struct st_subject_layer *l = &in->image->subject.layers[i];
    struct st_layer_counts c = in->counts ? in->counts[i] : (struct st_layer_counts){0};
    char size[24], full[24] = "-", files[32] = "-";
    human(l->size, size, sizeof size);
    if (c.known) {
        human(c.bytes, full, sizeof full);
        grouped(c.files, files, sizeof files);
    }
    struct st_sv id = l->digest.len ? l->digest : l->diff_id;
    id = id.len ? clip(id, DIGEST_WIDTH) : ST_SV("-"); // digests are checked: plain text
    st_out_fmt(out, "%5zu  %10s  %12s  %11s  %-*.*s  ", i, size, full, files, DIGEST_WIDTH, (int)id.len, id.ptr);
    st_out_safe(out, clip(l->created_by, CREATED_BY_WIDTH));
    st_out_puts(out, in->image->layers[i].foreign ? "  (foreign)\n" : "\n");
}

int st_layers_table(const struct st_inspect *in, struct st_arena *a, struct st_out *out, struct st_err *err)
{
    const struct place *p = order(in, a, err);
    if (!p)
        return -1;
    st_out_puts(out, "INDEX        SIZE  UNCOMPRESSED        FILES  DIGEST               CREATED BY\n");
    for (size_t i = 0; i < in->image->subject.n_layers; i++)
        layer_row(out, in, p[i].index);
    return 0;
}

static void warnings_table(const struct st_inspect *in, const struct totals *t, struct st_out *out)
{
    char value[32], max[32];
    for (size_t i = 0; i < ST_LEN(limits); i++) {
        const struct limit *l = &limits[i];
        if (value_of(t, l) <= l->max)
            continue;
        grouped(value_of(t, l), value, sizeof value);
        grouped(l->max, max, sizeof max);
        st_out_fmt(out, "warning: %s %s %s (%s); see runbook %s\n", l->what, max, l->unit, value, l->runbook);
    }
    for (size_t i = 0; i < in->image->warnings.n; i++) {
        st_out_puts(out, "warning: ");
        st_out_safe(out, in->image->warnings.at[i]);
        st_out_putc(out, '\n');
    }
}

int st_inspect_table(const struct st_inspect *in, struct st_arena *a, struct st_out *out, struct st_err *err)
{
    const struct st_subject *s = &in->image->subject;
    struct totals t = sum_up(in);
    char platform[160], g[32];
    snprintf(platform, sizeof platform, ST_SV_FMT "/" ST_SV_FMT "%s" ST_SV_FMT, ST_SV_ARG(s->os),
             ST_SV_ARG(s->architecture), s->variant.len ? "/" : "", ST_SV_ARG(s->variant));
    row(out, "Image", s->name);
    for (size_t i = 0; i < s->tags.n; i++)
        row(out, "Tag", s->tags.at[i]);
    row(out, "Kind", st_sv_of(st_image_kind_name(in->image->kind)));
    if (s->os.len)
        row(out, "Platform", st_sv_of(platform));
    row(out, "Manifest", s->manifest_digest);
    row(out, "Config", s->config_digest);
    row(out, "Created", in->image->created);
    bytes_row(out, "Size", s->size);
    if (t.known)
        bytes_row(out, "Uncompressed", t.bytes);
    grouped(s->n_layers, g, sizeof g);
    row(out, "Layers", st_sv_of(g));
    grouped(t.files, g, sizeof g);
    row(out, "Files", t.known ? st_sv_of(g) : ST_SV("not counted"));
    st_out_putc(out, '\n');
    if (st_layers_table(in, a, out, err))
        return -1;
    warnings_table(in, &t, out);
    return 0;
}
