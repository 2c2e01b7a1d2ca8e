#include "sbom/sbom_int.h"

#include "base/ckd.h"
#include "base/map.h"
#include "inventory/purl.h"

#include <stdio.h>
#include <time.h>

void st_doc_init(struct st_doc *d, const struct st_inventory *inv, const struct st_sbom_options *opts,
                 struct st_out *out)
{
    *d = (struct st_doc){.inv = inv, .opts = opts, .out = out};
    st_json_out_init(&d->w, out, 1);
    st_buf_init(&d->text, opts->mem);
    st_buf_init(&d->more, opts->mem);
    st_buf_init(&d->list, opts->mem);
}

void st_doc_release(struct st_doc *d)
{
    st_buf_release(&d->text);
    st_buf_release(&d->more);
    st_buf_release(&d->list);
}

int st_doc_item(struct st_doc *d, uint32_t i, struct st_item *ret, struct st_err *err)
{
    if (i >= d->inv->n_packages || d->out->err.code)
        return 0;
    return d->inv->package(d->inv->ctx, i, ret, err) ? -1 : 1;
}

int st_doc_purl(struct st_doc *d, uint32_t i, struct st_sv *ret, struct st_err *err)
{
    if (i >= d->inv->n_packages || d->out->err.code)
        return 0;
    return d->inv->purl(d->inv->ctx, i, ret, err) ? -1 : 1;
}

int st_doc_unknown(struct st_doc *d, uint32_t i, struct st_unknown *ret, struct st_err *err)
{
    if (i >= d->inv->n_unknowns || d->out->err.code)
        return 0;
    return d->inv->unknown(d->inv->ctx, i, ret, err) ? -1 : 1;
}

// ---- names ----------------------------------------------------------------------------------------

static int finish(struct st_buf *b, int rc, struct st_sv *ret)
{
    *ret = st_buf_sv(b);
    return rc ? -1 : 0;
}

int st_doc_name(const struct st_package *pkg, struct st_buf *b, struct st_sv *ret, struct st_err *err)
{
    static const bool with_ns[ST_PKG_TYPES_MAX] = {
        [ST_PKG_NPM] = true, [ST_PKG_GOLANG] = true, [ST_PKG_COMPOSER] = true, [ST_PKG_PORTAGE] = true};
    st_buf_clear(b);
    if (pkg->ns.len && with_ns[pkg->type] && (st_buf_add(b, pkg->ns, err) || st_buf_addc(b, '/', err)))
        return -1;
    return finish(b, st_buf_add(b, pkg->name, err), ret);
}

int st_doc_version(const struct st_package *pkg, struct st_buf *b, struct st_sv *ret, struct st_err *err)
{
    st_buf_clear(b);
    if (pkg->epoch.len && !st_sv_eq(pkg->epoch, ST_SV("0")) &&
        (st_buf_add(b, pkg->epoch, err) || st_buf_addc(b, ':', err)))
        return -1;
    return finish(b, st_buf_add(b, pkg->version, err), ret);
}

int st_doc_place(struct st_sv path, struct st_sv inner, struct st_buf *b, struct st_sv *ret, struct st_err *err)
{
    st_buf_clear(b);
    struct st_sv hex;
    if (!st_doc_digest(path, &hex) && st_buf_addc(b, '/', err))
        return -1;
    if (st_buf_add(b, path, err) || (inner.len && (st_buf_addc(b, ':', err) || st_buf_add(b, inner, err))))
        return -1;
    return finish(b, 0, ret);
}

// "host/repo:tag@digest" without tag and digest.
static struct st_sv repository(struct st_sv ref, struct st_sv *ret_tag)
{
    struct st_sv head, tail;
    st_sv_cut(ref, '@', &head, &tail);
    size_t colon = st_sv_rfind(head, ':'), slash = st_sv_rfind(head, '/');
    *ret_tag = ST_SV_NULL;
    if (colon == ST_SV_NPOS || (slash != ST_SV_NPOS && colon < slash))
        return head;
    *ret_tag = st_sv_from(head, colon + 1);
    return st_sv_sub(head, 0, colon);
}

int st_doc_image_purl(struct st_doc *d, struct st_buf *b, struct st_sv *ret, struct st_err *err)
{
    const struct st_subject *s = d->inv->subject;
    st_buf_clear(b);
    *ret = ST_SV_NULL;
    if (s->manifest_digest.len == 0)
        return 0;
    struct st_sv tag, repo = s->tags.n ? s->tags.at[0] : s->name;
    bool path = repo.len == 0 || repo.ptr[0] == '/' || repo.ptr[0] == '.' || repo.ptr[0] == '-';
    repo = repository(repo, &tag);
    struct st_sv name = st_sv_basename(repo);
    bool has_repo = !path && st_sv_find(repo, '/') != ST_SV_NPOS;
    struct st_kv quals[] = {
        {ST_SV("arch"), s->architecture},
        {ST_SV("repository_url"), has_repo ? repo : ST_SV_NULL},
        {ST_SV("tag"), path ? ST_SV_NULL : tag},
    };
    struct st_purl p = {.type = ST_SV("oci"),
                        .name = name.len ? name : ST_SV("image"),
                        .version = s->manifest_digest,
                        .quals = {quals, ST_LEN(quals)}};
    return finish(b, st_purl_build(&p, b, err), ret);
}

struct st_sv st_doc_layer(const struct st_doc *d, uint32_t layer)
{
    return layer < d->inv->subject->n_layers ? d->inv->subject->layers[layer].diff_id : ST_SV_NULL;
}

const struct st_pkg_type_info *st_doc_purl_type(struct st_sv purl)
{
    struct st_sv head, tail;
    st_sv_cut(st_sv_from(purl, 4), '/', &head, &tail);
    for (int t = 0; t < ST_PKG_TYPES_MAX; t++) {
        const struct st_pkg_type_info *info = st_pkg_type_info((enum st_pkg_type)t);
        if (st_sv_eq(head, st_sv_of(info->purl_type)))
            return info;
    }
    return st_pkg_type_info(ST_PKG_GENERIC);
}

bool st_doc_repeats(struct st_svs texts, size_t i)
{
    enum { BACK = 64 }; // a longer list may repeat itself: better than a square of a hostile length
    for (size_t k = i > BACK ? i - BACK : 0; k < i; k++)
        if (st_sv_eq(texts.at[k], texts.at[i]))
            return true;
    return false;
}

// ---- ids ------------------------------------------------------------------------------------------

struct hash128 {
    uint64_t a, b;
};

static struct hash128 hash128(struct st_sv s)
{
    size_t half = s.len / 2;
    return (struct hash128){st_hash(s), st_hash_mix(st_hash(st_sv_sub(s, 0, half)), st_hash(st_sv_from(s, half)))};
}

static void put_hex(uint64_t v, char *to)
{
    for (int i = 15; i >= 0; i--, v >>= 4)
        to[i] = "0123456789abcdef"[v & 15];
}

void st_doc_id(struct st_sv s, char ret[ST_DOC_ID])
{
    struct hash128 h = hash128(s);
    put_hex(h.a, ret);
    put_hex(h.b, ret + 16);
    ret[32] = 0;
}

static void mix(struct hash128 *h, struct st_sv s)
{
    struct hash128 n = hash128(s);
    h->a = st_hash_mix(h->a, n.a);
    h->b = st_hash_mix(h->b, n.b);
}

int st_doc_uuid(struct st_doc *d, const char *format, char ret[ST_DOC_UUID], struct st_err *err)
{
    const struct st_subject *s = d->inv->subject;
    struct hash128 h = {0, 0};
    mix(&h, st_sv_of(format));
    mix(&h, d->opts->tool_version);
    mix(&h, s->config_digest);
    for (size_t i = 0; i < s->n_layers; i++)
        mix(&h, s->layers[i].diff_id);
    mix(&h, d->inv->complete ? ST_SV("complete") : ST_SV("incomplete"));
    h.a = st_hash_mix(h.a, d->inv->n_packages);
    h.b = st_hash_mix(h.b, d->inv->n_unknowns);
    if (s->config_digest.len == 0) { // nothing else says what was scanned
        struct st_sv purl;
        int rc = 1;
        mix(&h, s->name);
        for (uint32_t i = 0; (rc = st_doc_purl(d, i, &purl, err)) > 0; i++)
            mix(&h, purl);
        if (rc < 0)
            return -1;
    }
    char hex[ST_DOC_ID];
    put_hex(h.a, hex);
    put_hex(h.b, hex + 16);
    hex[32] = 0;
    hex[12] = '8';
    hex[16] = "89ab"[h.b >> 60 & 3];
    snprintf(ret, ST_DOC_UUID, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    return 0;
}

void st_doc_date(const struct st_sbom_options *opts, char ret[ST_DOC_DATE])
{
    time_t t = opts->has_date ? (time_t)opts->date : 0;
    struct tm tm = {0};
    gmtime_r(&t, &tm);
    if (strftime(ret, ST_DOC_DATE, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        ret[0] = 0;
}

const struct st_digest_name *st_doc_digest(struct st_sv digest, struct st_sv *ret_hex)
{
    static const struct st_digest_name names[] = {
        {"SHA-256", "SHA256", ST_SV_INIT("sha256:"), 64},
        {"SHA-512", "SHA512", ST_SV_INIT("sha512:"), 128},
    };
    for (size_t i = 0; i < ST_LEN(names); i++) {
        if (!st_sv_starts(digest, names[i].prefix) || digest.len != names[i].prefix.len + names[i].hex)
            continue;
        *ret_hex = st_sv_from(digest, names[i].prefix.len);
        for (size_t k = 0; k < ret_hex->len; k++)
            if (!strchr("0123456789abcdef", ret_hex->ptr[k]) || !ret_hex->ptr[k])
                return NULL;
        return &names[i];
    }
    return NULL;
}
