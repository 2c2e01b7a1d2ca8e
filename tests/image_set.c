#include "image_set.h"

#include "stream/stream.h"

#include <stdio.h>

#define RECORDS_MAX 256
#define TEXT_MAX (8u << 20)

struct record {
    struct st_sv label, name;
    char digest[ST_DIGEST_HEX + 1];
    size_t size;
};

struct set {
    struct record at[RECORDS_MAX];
    size_t n;
};

static int hash(struct st_mem *mem, struct st_sv s, char *ret, struct st_err *err)
{
    struct st_sha256 *d = st_sha256_new(mem, err);
    if (!d)
        return -1;
    st_sha256_add(d, s.ptr, s.len);
    st_sha256_hex(d, ret);
    st_sha256_free(d);
    return 0;
}

static const struct record *find(const struct set *s, struct st_sv label)
{
    if (st_sv_eq(label, ST_SV("@")))
        return s->n ? &s->at[s->n - 1] : NULL;
    for (size_t i = s->n; i > 0; i--)
        if (st_sv_eq(s->at[i - 1].label, label))
            return &s->at[i - 1];
    return NULL;
}

// "${sha256 X}", "${size X}", "${repeat N}" (N blanks)
static int expand(const struct set *s, struct st_sv in, struct st_buf *out, struct st_err *err)
{
    size_t at;
    while ((at = st_sv_search(in, ST_SV("${"))) != ST_SV_NPOS && out->len < TEXT_MAX) {
        struct st_sv rest = st_sv_from(in, at + 2), body, after, verb, arg;
        if (!st_sv_cut(rest, '}', &body, &after))
            break;
        st_sv_cut(body, ' ', &verb, &arg);
        uint64_t n = 0;
        const struct record *r = find(s, arg);
        int rc = st_buf_add(out, st_sv_sub(in, 0, at), err);
        if (rc == 0 && st_sv_eq(verb, ST_SV("sha256")) && r)
            rc = st_buf_fmt(out, err, "sha256:%s", r->digest);
        else if (rc == 0 && st_sv_eq(verb, ST_SV("size")) && r)
            rc = st_buf_fmt(out, err, "%zu", r->size);
        else if (rc == 0 && st_sv_eq(verb, ST_SV("repeat")) && st_sv_u64(arg, 10, &n) && n <= TEXT_MAX)
            rc = st_buf_fmt(out, err, "%*s", (int)n, "");
        if (rc)
            return -1;
        in = after;
    }
    return st_buf_add(out, in, err);
}

static int add(struct set *s, struct st_members *m, struct st_arena *a, struct st_sv label, struct st_sv body,
               struct st_err *err)
{
    struct st_buf b;
    st_buf_init(&b, a->mem);
    struct record r = {.label = label, .name = label};
    int rc = expand(s, body, &b, err);
    r.size = b.len;
    if (rc == 0)
        rc = hash(a->mem, st_buf_sv(&b), r.digest, err);
    if (rc == 0 && st_sv_starts(label, ST_SV("blob:")))
        rc = st_arena_fmt(a, &r.name, err, "blobs/sha256/%s", r.digest);
    if (rc == 0 && st_sv_starts(label, ST_SV("link:"))) { // link:NAME, body TARGET
        rc = st_members_link(m, st_sv_from(label, 5), st_sv_trim(body), true, err);
    } else if (rc == 0 && (st_sv_starts(body, ST_SV("{")) || st_sv_starts(body, ST_SV("[")))) {
        rc = st_members_document(m, r.name, st_buf_sv(&b), err);
    } else if (rc == 0) {
        rc = st_members_passed(m, r.name, s->n, b.len, err);
    }
    if (rc == 0 && s->n < RECORDS_MAX)
        s->at[s->n++] = r;
    st_buf_release(&b);
    return rc;
}

int image_set_load(struct st_members *m, struct st_arena *a, struct st_sv text, struct st_err *err)
{
    struct set *s = ST_ARENA_NEW(a, struct set, err);
    if (!s)
        return -1;
    struct st_sv mark = ST_SV("@ ");
    while (st_sv_starts(text, mark)) {
        struct st_sv label, body;
        st_sv_cut(st_sv_from(text, mark.len), '\n', &label, &text);
        size_t end = st_sv_starts(text, mark) ? 0 : st_sv_search(text, ST_SV("\n@ "));
        body = st_sv_sub(text, 0, end);
        text = end == 0 ? text : end == ST_SV_NPOS ? ST_SV_NULL : st_sv_from(text, end + 1);
        if (add(s, m, a, st_sv_trim(label), body, err))
            return -1;
    }
    return 0;
}
