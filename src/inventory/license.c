#include "inventory/license.h"

#include "base/ckd.h"
#include "inventory/license_ids.h"

#define REF "LicenseRef-"
#define ID_MAX 128 // bytes of one identifier

// Names that are no "ID" or "ID with its .0 left out" (resolve() finds those by rule) and mean exactly one SPDX id.
static const struct {
    struct st_sv name, id;
} short_names[] = {
    {ST_SV_INIT("Expat"), ST_SV_INIT("MIT")},
    {ST_SV_INIT("CC0"), ST_SV_INIT("CC0-1.0")},
    {ST_SV_INIT("PSF-2"), ST_SV_INIT("PSF-2.0")},
    {ST_SV_INIT("GPL+"), ST_SV_INIT("GPL-1.0-or-later")},
    {ST_SV_INIT("GPLv2"), ST_SV_INIT("GPL-2.0-only")},
    {ST_SV_INIT("GPLv2+"), ST_SV_INIT("GPL-2.0-or-later")},
    {ST_SV_INIT("GPLv3"), ST_SV_INIT("GPL-3.0-only")},
    {ST_SV_INIT("GPLv3+"), ST_SV_INIT("GPL-3.0-or-later")},
    {ST_SV_INIT("LGPLv3"), ST_SV_INIT("LGPL-3.0-only")},
    {ST_SV_INIT("LGPLv3+"), ST_SV_INIT("LGPL-3.0-or-later")},
    {ST_SV_INIT("AGPLv3"), ST_SV_INIT("AGPL-3.0-only")},
    {ST_SV_INIT("AGPLv3+"), ST_SV_INIT("AGPL-3.0-or-later")},
    {ST_SV_INIT("MPLv1.1"), ST_SV_INIT("MPL-1.1")},
    {ST_SV_INIT("MPLv2.0"), ST_SV_INIT("MPL-2.0")},
};

static const struct st_sv silent[] = {ST_SV_INIT("NOASSERTION"), ST_SV_INIT("NONE"), ST_SV_INIT("UNKNOWN")};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int icmp(struct st_sv a, struct st_sv b)
{
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        unsigned char x = (unsigned char)lower(a.ptr[i]), y = (unsigned char)lower(b.ptr[i]);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

static const struct st_license_id *find(const struct st_license_ids *ids, struct st_sv id)
{
    size_t lo = 0, hi = ids->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = icmp(ids->at[mid].id, id);
        if (c == 0)
            return &ids->at[mid];
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

// `id` followed by one of the suffixes, in order; NULL ends the list.
static const struct st_license_id *find_with(struct st_sv id, const char *const *suffixes)
{
    char text[ID_MAX + 16];
    if (id.len == 0 || id.len > ID_MAX)
        return NULL;
    memcpy(text, id.ptr, id.len);
    for (; *suffixes; suffixes++) {
        size_t n = strlen(*suffixes);
        memcpy(text + id.len, *suffixes, n);
        const struct st_license_id *found = find(&st_license_ids, st_sv_mem(text, id.len + n));
        if (found)
            return found;
    }
    return NULL;
}

// The listed id that a word means; *ret_plus when "or later" has to be written behind it.
static const struct st_license_id *resolve(struct st_sv word, bool *ret_plus)
{
    static const char *const later[] = {"-or-later", ".0-or-later", NULL};
    static const char *const exact[] = {"", ".0-only", ".0", NULL};
    static const char *const plain[] = {"", ".0", NULL};
    *ret_plus = false;
    for (size_t i = 0; i < ST_LEN(short_names); i++)
        if (st_sv_ieq(short_names[i].name, word))
            return find(&st_license_ids, short_names[i].id);
    if (!st_sv_ends(word, ST_SV("+")))
        return find_with(word, exact);
    word.len--;
    const struct st_license_id *found = find_with(word, later);
    if (!found) {
        found = find_with(word, plain);
        *ret_plus = found != NULL;
    }
    return found;
}

// ---- the grammar, as a row of tokens: parentheses are a counter, so there is nothing to recurse into ---------

struct parse {
    struct st_sv rest;
    struct st_buf *out;
    struct st_license *ret;
    unsigned depth, operands;
    bool want_operand, want_exception, compound;
    bool excepted; // the last operand has its exception
};

static bool is_word(char c)
{
    return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' ||
           c == '_';
}

static bool next_token(struct st_sv *rest, struct st_sv *ret)
{
    *rest = st_sv_trim(*rest);
    if (rest->len == 0)
        return false;
    size_t n = 0;
    while (n < rest->len && is_word(rest->ptr[n]))
        n++;
    *ret = st_sv_sub(*rest, 0, n ? n : 1);
    *rest = st_sv_from(*rest, n ? n : 1);
    return true;
}

static bool valid_ref(struct st_sv word)
{
    if (!st_sv_ieq(st_sv_sub(word, 0, sizeof REF - 1), ST_SV(REF)) || word.len == sizeof REF - 1)
        return false;
    return st_sv_find(word, '+') == ST_SV_NPOS && st_sv_find(word, '_') == ST_SV_NPOS;
}

// 1: taken; 0: not in the grammar; -1: memory.
static int take_operand(struct parse *p, struct st_sv word, struct st_err *err)
{
    p->want_operand = false;
    p->operands++;
    if (valid_ref(word)) {
        p->ret->has_ref = p->compound = true;
        return st_buf_add(p->out, ST_SV(REF), err) || st_buf_add(p->out, st_sv_from(word, sizeof REF - 1), err) ? -1
                                                                                                                : 1;
    }
    bool plus;
    const struct st_license_id *id = resolve(word, &plus);
    if (!id)
        return 0;
    p->ret->cyclonedx_id = id->cyclonedx;
    p->compound |= plus;
    return st_buf_add(p->out, id->id, err) || (plus && st_buf_addc(p->out, '+', err)) ? -1 : 1;
}

static int take_exception(struct parse *p, struct st_sv word, struct st_err *err)
{
    p->want_exception = false;
    const struct st_license_id *id = find(&st_exception_ids, word);
    return !id ? 0 : st_buf_add(p->out, id->id, err) ? -1 : 1;
}

static int take_operator(struct parse *p, struct st_sv word, struct st_err *err)
{
    static const struct {
        struct st_sv word, text;
    } operators[] = {
        {ST_SV_INIT("AND"), ST_SV_INIT(" AND ")},
        {ST_SV_INIT("OR"), ST_SV_INIT(" OR ")},
        {ST_SV_INIT("WITH"), ST_SV_INIT(" WITH ")},
    };
    for (size_t i = 0; i < ST_LEN(operators); i++) {
        if (!st_sv_ieq(word, operators[i].word))
            continue;
        // an exception belongs to one licence, not to a group, and not to an exception
        struct st_sv so_far = st_buf_sv(p->out);
        bool with = i == 2;
        if (with && (p->excepted || st_sv_ends(so_far, ST_SV(")"))))
            return 0;
        p->excepted = with;
        p->want_exception = with;
        p->want_operand = !with;
        p->compound = true;
        p->ret->has_or |= i == 1 && p->depth == 0;
        return st_buf_add(p->out, operators[i].text, err) ? -1 : 1;
    }
    return 0;
}

static int take(struct parse *p, struct st_sv word, struct st_err *err)
{
    if (p->want_exception)
        return take_exception(p, word, err);
    if (st_sv_eq(word, ST_SV("("))) {
        if (!p->want_operand || ++p->depth > ST_LICENSE_DEPTH_MAX)
            return 0;
        p->compound = true;
        return st_buf_addc(p->out, '(', err) ? -1 : 1;
    }
    if (st_sv_eq(word, ST_SV(")"))) {
        if (p->want_operand || p->depth-- == 0)
            return 0;
        return st_buf_addc(p->out, ')', err) ? -1 : 1;
    }
    return p->want_operand ? take_operand(p, word, err) : take_operator(p, word, err);
}

int st_license_parse(struct st_sv declared, struct st_buf *text, struct st_license *ret, struct st_err *err)
{
    *ret = (struct st_license){0};
    st_buf_clear(text);
    declared = st_sv_trim(declared);
    if (declared.len == 0)
        return 0;
    for (size_t i = 0; i < ST_LEN(silent); i++)
        if (st_sv_ieq(silent[i], declared))
            return 0;
    struct parse p = {.rest = declared, .out = text, .ret = ret, .want_operand = true};
    struct st_sv word;
    int rc = declared.len <= ST_LICENSE_TEXT_MAX;
    while (rc > 0 && next_token(&p.rest, &word))
        rc = take(&p, word, err);
    if (rc < 0)
        return -1;
    bool good = rc > 0 && !p.want_operand && !p.want_exception && p.depth == 0;
    if (good) {
        ret->kind = p.compound ? ST_LICENSE_EXPRESSION : ST_LICENSE_ID;
        ret->cyclonedx_id &= !p.compound;
    } else {
        st_buf_clear(text);
        *ret = (struct st_license){.kind = ST_LICENSE_NAME};
        if (st_buf_add(text, declared, err))
            return -1;
    }
    ret->text = st_buf_sv(text);
    return 0;
}

bool st_license_next_ref(struct st_sv *rest, struct st_sv *ret_ref)
{
    struct st_sv word;
    while (next_token(rest, &word))
        if (st_sv_starts(word, ST_SV(REF))) {
            *ret_ref = word;
            return true;
        }
    return false;
}
