// table: for people. Everything from outside passes st_out_safe. Two passes: the first measures the columns. On a
// terminal long cells are cut to fit its width; elsewhere they are never cut and run over their column.
#include "base/ckd.h"
#include "sbom/sbom_int.h"

#include <stdio.h>

enum { NAME_WIDE = 48, VERSION_WIDE = 32, LAYER_WIDE = 5, NAME_LEAST = 12, VERSION_LEAST = 8, GAP = 2 };

struct table {
    struct st_doc d;
    unsigned name, version, type; // widths in columns
    bool owned, layers;
    uint32_t count[ST_PKG_TYPES_MAX];
};

// ---- cells ----------------------------------------------------------------------------------------

static int make_safe(struct st_buf *b, struct st_sv s, struct st_err *err)
{
    struct st_out o;
    st_buf_clear(b);
    st_out_init_buf(&o, b);
    st_out_safe(&o, s);
    return st_out_finish(&o, err);
}

// Code points of valid UTF-8; wide and combining characters are not told apart.
static size_t columns(struct st_sv s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
    return n;
}

static struct st_sv first_columns(struct st_sv s, size_t n)
{
    size_t i = 0;
    for (; i < s.len; i++)
        if (((unsigned char)s.ptr[i] & 0xC0) != 0x80 && n-- == 0)
            break;
    return st_sv_sub(s, 0, i);
}

// `wide` 0: the last column, as long as it is.
static int cell(struct table *t, struct st_sv s, unsigned wide, struct st_err *err)
{
    struct st_out *o = t->d.out;
    if (make_safe(&t->d.text, s, err))
        return -1;
    struct st_sv text = st_buf_sv(&t->d.text);
    size_t n = columns(text);
    if (t->d.opts->width && wide && n > wide) {
        st_out_write(o, first_columns(text, wide - 1));
        st_out_puts(o, "\xE2\x80\xA6");
        n = wide;
    } else {
        st_out_write(o, text);
    }
    for (; wide && n < wide + GAP; n++)
        st_out_putc(o, ' ');
    return 0;
}

// ---- measuring ------------------------------------------------------------------------------------

static int measure_item(struct table *t, const struct st_item *item, struct st_err *err)
{
    struct st_sv s;
    if (st_doc_name(&item->pkg, &t->d.more, &s, err) || make_safe(&t->d.text, s, err))
        return -1;
    size_t n = columns(st_buf_sv(&t->d.text));
    t->name = (unsigned)ST_MAX(t->name, ST_MIN(n, NAME_WIDE));
    if (st_doc_version(&item->pkg, &t->d.more, &s, err) || make_safe(&t->d.text, s, err))
        return -1;
    n = columns(st_buf_sv(&t->d.text));
    t->version = (unsigned)ST_MAX(t->version, ST_MIN(n, VERSION_WIDE));
    t->type = (unsigned)ST_MAX(t->type, strlen(st_pkg_type_info(item->pkg.type)->word));
    t->owned |= item->owner != ST_ITEM_NONE;
    t->count[item->pkg.type]++;
    return 0;
}

// Names give way first, then versions; types and layers are short.
static void fit(struct table *t)
{
    unsigned width = t->d.opts->width, rest = t->type + (t->layers ? GAP + LAYER_WIDE : 0) + 2 * GAP;
    if (t->owned)
        rest += GAP + NAME_LEAST;
    if (width == 0 || t->name + t->version + rest <= width)
        return;
    unsigned have = width > rest ? width - rest : 0;
    unsigned least = ST_MIN(t->version, (unsigned)VERSION_LEAST);
    unsigned name = have > t->version ? have - t->version : 0;
    t->name = ST_MAX(ST_MIN(t->name, (unsigned)NAME_LEAST), ST_MIN(name, t->name));
    t->version = ST_MAX(least, ST_MIN(t->version, have > t->name ? have - t->name : 0));
}

static int measure(struct table *t, struct st_err *err)
{
    *t = (struct table){.d = t->d, .name = 4, .version = 7, .type = 4, .layers = t->d.inv->subject->n_layers > 1};
    struct st_item item;
    int rc = 1;
    for (uint32_t i = 0; (rc = st_doc_item(&t->d, i, &item, err)) > 0; i++)
        if (measure_item(t, &item, err))
            return -1;
    fit(t);
    return rc;
}

// ---- head -----------------------------------------------------------------------------------------

static void line(struct table *t, const char *label, struct st_sv value)
{
    if (value.len == 0)
        return;
    st_out_fmt(t->d.out, "%-9s ", label);
    st_out_safe(t->d.out, value);
    st_out_putc(t->d.out, '\n');
}

static void write_counts(struct table *t)
{
    struct st_out *o = t->d.out;
    st_out_fmt(o, "%-9s %u", "Packages", t->d.inv->n_packages);
    bool first = true;
    for (int type = 0; type < ST_PKG_TYPES_MAX; type++)
        if (t->count[type]) {
            st_out_fmt(o, "%s%u %s", first ? ": " : ", ", t->count[type],
                       st_pkg_type_info((enum st_pkg_type)type)->word);
            first = false;
        }
    st_out_putc(o, '\n');
}

static void write_head(struct table *t)
{
    const struct st_subject *s = t->d.inv->subject;
    const struct st_distro *distro = t->d.inv->distro;
    struct st_out *o = t->d.out;
    line(t, s->rootfs ? "Directory" : "Image", s->name);
    line(t, "Digest", s->manifest_digest.len ? s->manifest_digest : s->config_digest);
    if (distro)
        line(t, "System", distro->pretty_name.len ? distro->pretty_name : distro->id);
    if (s->os.len || s->architecture.len) {
        st_out_fmt(o, "%-9s ", "Platform");
        st_out_safe(o, s->os);
        st_out_putc(o, '/');
        st_out_safe(o, s->architecture);
        if (s->variant.len) {
            st_out_putc(o, '/');
            st_out_safe(o, s->variant);
        }
        st_out_putc(o, '\n');
    }
    if (s->n_layers)
        st_out_fmt(o, "%-9s %zu\n", "Layers", s->n_layers);
    write_counts(t);
    if (t->d.inv->n_unknowns)
        st_out_fmt(o, "%-9s %u, listed at the end: %s could not be read\n", "Unknown", t->d.inv->n_unknowns,
                   t->d.inv->n_unknowns == 1 ? "this" : "these");
    if (!t->d.inv->complete)
        st_out_puts(o, "INCOMPLETE: layers that could not be read were passed over; packages are missing here\n");
}

// ---- rows -----------------------------------------------------------------------------------------

// The owner comes last: asking for it ends the life of the item.
static int write_row(struct table *t, const struct st_item *item, struct st_err *err)
{
    struct st_out *o = t->d.out;
    uint32_t owner = item->owner;
    struct st_sv s;
    if (st_doc_name(&item->pkg, &t->d.more, &s, err) || cell(t, s, t->name, err) ||
        st_doc_version(&item->pkg, &t->d.more, &s, err) || cell(t, s, t->version, err))
        return -1;
    bool last = !t->layers && owner == ST_ITEM_NONE;
    if (cell(t, st_sv_of(st_pkg_type_info(item->pkg.type)->word), last ? 0 : t->type, err))
        return -1;
    if (t->layers)
        st_out_fmt(o, "%-*u", owner == ST_ITEM_NONE ? 1 : LAYER_WIDE + GAP, (unsigned)item->layer);
    struct st_item other;
    int rc = owner == ST_ITEM_NONE ? 0 : st_doc_item(&t->d, owner, &other, err);
    if (rc > 0)
        rc = st_doc_name(&other.pkg, &t->d.more, &s, err) || cell(t, s, 0, err) ? -1 : 0;
    st_out_putc(o, '\n');
    return rc;
}

static int write_rows(struct table *t, struct st_err *err)
{
    struct st_out *o = t->d.out;
    if (t->d.inv->n_packages == 0)
        return 0;
    bool last = !t->layers && !t->owned;
    st_out_putc(o, '\n');
    if (cell(t, ST_SV("NAME"), t->name, err) || cell(t, ST_SV("VERSION"), t->version, err) ||
        cell(t, ST_SV("TYPE"), last ? 0 : t->type, err) ||
        (t->layers && cell(t, ST_SV("LAYER"), t->owned ? LAYER_WIDE : 0, err)))
        return -1;
    st_out_puts(o, t->owned ? "OWNED BY\n" : "\n");
    struct st_item item;
    int rc = 1;
    for (uint32_t i = 0; (rc = st_doc_item(&t->d, i, &item, err)) > 0; i++)
        if (write_row(t, &item, err))
            return -1;
    return rc;
}

static int write_unknowns(struct table *t, struct st_err *err)
{
    struct st_out *o = t->d.out;
    struct st_unknown u;
    struct st_sv place;
    int rc = 1;
    for (uint32_t i = 0; (rc = st_doc_unknown(&t->d, i, &u, err)) > 0; i++) {
        if (i == 0)
            st_out_puts(o, "\nUNKNOWN\n");
        if (st_doc_place(u.path, u.inner, &t->d.more, &place, err))
            return -1;
        st_out_safe(o, place);
        st_out_fmt(o, "\n    %s: ", st_unknown_word(u.reason));
        st_out_safe(o, u.text);
        st_out_putc(o, '\n');
    }
    return rc;
}

static int write_table(const struct st_inventory *inv, const struct st_sbom_options *opts, struct st_out *out,
                       struct st_err *err)
{
    struct table t = {0};
    st_doc_init(&t.d, inv, opts, out);
    int rc = measure(&t, err);
    if (rc == 0) {
        write_head(&t);
        rc = write_rows(&t, err);
    }
    if (rc == 0)
        rc = write_unknowns(&t, err);
    st_doc_release(&t.d);
    return rc;
}

const struct st_sbom_writer st_sbom_table = {"table", NULL, "text/plain; charset=utf-8", ".txt", write_table};
