#include "inventory/license.h"
#include "inventory/license_ids.h"
#include "tap.h"

#include <stdlib.h>

static struct st_mem mem;

static const struct {
    const char *in;
    enum st_license_kind kind;
    const char *out;
} rows[] = {
    {"", ST_LICENSE_NONE, ""},
    {"  \n", ST_LICENSE_NONE, ""},
    {"NOASSERTION", ST_LICENSE_NONE, ""},
    {"Unknown", ST_LICENSE_NONE, ""},
    {"MIT", ST_LICENSE_ID, "MIT"},
    {" mit ", ST_LICENSE_ID, "MIT"},
    {"apache-2.0", ST_LICENSE_ID, "Apache-2.0"},
    {"zlib-acknowledgement", ST_LICENSE_ID, "zlib-acknowledgement"},
    {"0bsd", ST_LICENSE_ID, "0BSD"},
    {"(MIT)", ST_LICENSE_EXPRESSION, "(MIT)"},
    {"MIT OR Apache-2.0", ST_LICENSE_EXPRESSION, "MIT OR Apache-2.0"},
    {"mit or (apache-2.0 and bsd-3-clause)", ST_LICENSE_EXPRESSION, "MIT OR (Apache-2.0 AND BSD-3-Clause)"},
    {"((MIT)AND(ISC))", ST_LICENSE_EXPRESSION, "((MIT) AND (ISC))"},
    {"GPL-2.0-or-later WITH classpath-exception-2.0", ST_LICENSE_EXPRESSION,
     "GPL-2.0-or-later WITH Classpath-exception-2.0"},
    {"LicenseRef-My.Own-1 AND MIT", ST_LICENSE_EXPRESSION, "LicenseRef-My.Own-1 AND MIT"},
    {"Apache-2.0+", ST_LICENSE_EXPRESSION, "Apache-2.0+"},
    // short names
    {"GPL-2", ST_LICENSE_ID, "GPL-2.0-only"},
    {"GPL-2+", ST_LICENSE_ID, "GPL-2.0-or-later"},
    {"gpl-2.0+", ST_LICENSE_ID, "GPL-2.0-or-later"},
    {"GPL-2.0", ST_LICENSE_ID, "GPL-2.0"},
    {"LGPL-2.1+", ST_LICENSE_ID, "LGPL-2.1-or-later"},
    {"LGPL-3", ST_LICENSE_ID, "LGPL-3.0-only"},
    {"GFDL-1.3+", ST_LICENSE_ID, "GFDL-1.3-or-later"},
    {"Apache-2", ST_LICENSE_ID, "Apache-2.0"},
    {"Expat", ST_LICENSE_ID, "MIT"},
    {"GPLv2+", ST_LICENSE_ID, "GPL-2.0-or-later"},
    {"GPLv3+ and MIT", ST_LICENSE_EXPRESSION, "GPL-3.0-or-later AND MIT"},
    {"Expat or GPL-3+", ST_LICENSE_EXPRESSION, "MIT OR GPL-3.0-or-later"},
    // names
    {"BSD", ST_LICENSE_NAME, "BSD"},
    {"Artistic", ST_LICENSE_NAME, "Artistic"},
    {"public-domain", ST_LICENSE_NAME, "public-domain"},
    {"GPLv2+ and BSD", ST_LICENSE_NAME, "GPLv2+ and BSD"},
    {"MIT Apache-2.0", ST_LICENSE_NAME, "MIT Apache-2.0"},
    {"MIT OR", ST_LICENSE_NAME, "MIT OR"},
    {"OR MIT", ST_LICENSE_NAME, "OR MIT"},
    {"(MIT", ST_LICENSE_NAME, "(MIT"},
    {"MIT)", ST_LICENSE_NAME, "MIT)"},
    {"()", ST_LICENSE_NAME, "()"},
    {"MIT WITH MIT", ST_LICENSE_NAME, "MIT WITH MIT"},
    {"GPL-2.0-only WITH Classpath-exception-2.0 WITH GCC-exception-3.1", ST_LICENSE_NAME,
     "GPL-2.0-only WITH Classpath-exception-2.0 WITH GCC-exception-3.1"},
    {"(MIT OR ISC) WITH Classpath-exception-2.0", ST_LICENSE_NAME, "(MIT OR ISC) WITH Classpath-exception-2.0"},
    {"Classpath-exception-2.0", ST_LICENSE_NAME, "Classpath-exception-2.0"},
    {"LicenseRef-", ST_LICENSE_NAME, "LicenseRef-"},
    {"LicenseRef-a+", ST_LICENSE_NAME, "LicenseRef-a+"},
    {"LicenseRef-a_b", ST_LICENSE_NAME, "LicenseRef-a_b"},
    {"DocumentRef-x:LicenseRef-y", ST_LICENSE_NAME, "DocumentRef-x:LicenseRef-y"},
    {"+", ST_LICENSE_NAME, "+"},
    {"MIT \x01 ISC", ST_LICENSE_NAME, "MIT \x01 ISC"},
    {"\xff\xfe", ST_LICENSE_NAME, "\xff\xfe"},
};

static void test_rows(struct st_buf *b)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct st_license l;
        int rc = st_license_parse(st_sv_of(rows[i].in), b, &l, NULL);
        TAP_OK(rc == 0 && l.kind == rows[i].kind && st_sv_eq(l.text, st_sv_of(rows[i].out)),
               "row %zu: kind %d, %zu bytes", i, (int)l.kind, l.text.len);
        if (l.kind == ST_LICENSE_ID || l.kind == ST_LICENSE_EXPRESSION) { // canonical text is a fixed point
            struct st_buf again;
            st_buf_init(&again, &mem);
            struct st_license m;
            rc = st_license_parse(l.text, &again, &m, NULL);
            TAP_OK(rc == 0 && m.kind == l.kind && st_sv_eq(m.text, l.text), "row %zu again", i);
            st_buf_release(&again);
        }
    }
}

static void test_flags(struct st_buf *b)
{
    struct st_license l;
    st_license_parse(ST_SV("MIT OR LicenseRef-x AND LicenseRef-y.z"), b, &l, NULL);
    TAP_OK(l.has_or && l.has_ref && !l.cyclonedx_id, "flags of an expression");
    struct st_sv rest = l.text, ref;
    TAP_OK(st_license_next_ref(&rest, &ref) && st_sv_eq(ref, ST_SV("LicenseRef-x")), "first reference");
    TAP_OK(st_license_next_ref(&rest, &ref) && st_sv_eq(ref, ST_SV("LicenseRef-y.z")), "second reference");
    TAP_OK(!st_license_next_ref(&rest, &ref), "no third");
    st_license_parse(ST_SV("(MIT OR ISC) AND Zlib"), b, &l, NULL);
    TAP_OK(!l.has_or, "an OR inside of parentheses does not show");
    st_license_parse(ST_SV("MIT"), b, &l, NULL);
    TAP_OK(l.cyclonedx_id, "MIT is in the enumeration of CycloneDX");
}

// As many '(' as given around MIT.
static enum st_license_kind nested(struct st_buf *b, size_t n)
{
    char *text = malloc(2 * n + 3);
    memset(text, '(', n);
    memcpy(text + n, "MIT", 3);
    memset(text + n + 3, ')', n);
    struct st_license l = {0};
    st_license_parse(st_sv_mem(text, 2 * n + 3), b, &l, NULL);
    free(text);
    return l.kind;
}

static void test_limits(struct st_buf *b)
{
    TAP_OK(nested(b, ST_LICENSE_DEPTH_MAX) == ST_LICENSE_EXPRESSION, "deepest");
    TAP_OK(nested(b, ST_LICENSE_DEPTH_MAX + 1) == ST_LICENSE_NAME, "one deeper is a name");
    TAP_OK(nested(b, 100000) == ST_LICENSE_NAME, "100,000 deep is a name");
    static char word[100000];
    memset(word, 'a', sizeof word);
    struct st_license l;
    st_license_parse(st_sv_mem(word, sizeof word), b, &l, NULL);
    TAP_OK(l.kind == ST_LICENSE_NAME && l.text.len == sizeof word, "100,000 letters are a name");
    st_license_parse(st_sv_mem(word, 200), b, &l, NULL);
    TAP_OK(l.kind == ST_LICENSE_NAME, "200 letters are a name");
}

static void test_table(struct st_buf *b)
{
    size_t bad = 0;
    for (size_t i = 0; i < st_license_ids.n; i++) {
        struct st_license l;
        if (st_license_parse(st_license_ids.at[i].id, b, &l, NULL) || l.kind != ST_LICENSE_ID ||
            !st_sv_eq(l.text, st_license_ids.at[i].id))
            bad++;
    }
    TAP_OK(st_license_ids.n > 700 && bad == 0, "%zu ids, each found by the search", st_license_ids.n);
    bad = 0;
    for (size_t i = 0; i < st_exception_ids.n; i++) {
        struct st_buf text;
        st_buf_init(&text, &mem);
        st_buf_fmt(&text, NULL, "MIT WITH " ST_SV_FMT, ST_SV_ARG(st_exception_ids.at[i].id));
        struct st_license l;
        if (st_license_parse(st_buf_sv(&text), b, &l, NULL) || l.kind != ST_LICENSE_EXPRESSION)
            bad++;
        st_buf_release(&text);
    }
    TAP_OK(st_exception_ids.n > 60 && bad == 0, "%zu exceptions, each found", st_exception_ids.n);
}

int main(void)
{
    st_mem_init(&mem, 16 << 20, -1);
    struct st_buf b;
    st_buf_init(&b, &mem);
    test_rows(&b);
    test_flags(&b);
    test_limits(&b);
    test_table(&b);
    st_buf_release(&b);
    st_mem_release(&mem);
    return tap_done();
}
