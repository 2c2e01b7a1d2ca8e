#include "base/sv.h"
#include "tap.h"

static void test_split(void)
{
    struct st_sv rest = ST_SV("a,,b,"), part;
    char got[32] = "";
    while (st_sv_split(&rest, ',', &part)) {
        strncat(got, part.ptr, part.len);
        strcat(got, "|");
    }
    TAP_OK(strcmp(got, "a||b|") == 0, "split keeps inner empty parts, no empty last one: %s", got);
    rest = ST_SV("x\r\n\ny");
    int lines = 0;
    while (st_sv_line(&rest, &part))
        lines++;
    TAP_OK(lines == 3, "lines with CRLF, an empty one and no final LF");
}

static void test_numbers(void)
{
    static const struct {
        const char *text;
        unsigned base;
        int ok;
        uint64_t value;
    } rows[] = {
        {"0", 10, 1, 0},
        {"18446744073709551615", 10, 1, UINT64_MAX},
        {"18446744073709551616", 10, 0, 0},
        {"", 10, 0, 0},
        {"-1", 10, 0, 0},
        {"12a", 10, 0, 0},
        {"ff", 16, 1, 255},
        {"777", 8, 1, 511},
        {"8", 8, 0, 0},
        {" 1", 10, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t v = 0;
        int ok = st_sv_u64(st_sv_of(rows[i].text), rows[i].base, &v);
        TAP_OK(ok == rows[i].ok && v == rows[i].value, "number '%s' base %u", rows[i].text, rows[i].base);
    }
}

static void test_utf8(void)
{
    static const struct {
        const char *text;
        int ok;
    } rows[] = {
        {"plain", 1},    {"\xC3\xA9", 1},     {"\xE2\x82\xAC", 1},     {"\xF0\x9F\x90\xA7", 1},
        {"\xC0\x80", 0}, {"\xED\xA0\x80", 0}, {"\xF4\x90\x80\x80", 0}, {"\xE2\x82", 0},
        {"\x80", 0},     {"\xE0\x80\x80", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        TAP_OK(st_sv_is_utf8(st_sv_of(rows[i].text)) == rows[i].ok, "utf-8 row %zu", i);
}

int main(void)
{
    test_split();
    test_numbers();
    test_utf8();
    TAP_OK(st_sv_eq(st_sv_basename(ST_SV("a/b/c")), ST_SV("c")) &&
               st_sv_eq(st_sv_dirname(ST_SV("a/b/c")), ST_SV("a/b")),
           "basename, dirname");
    TAP_OK(st_sv_basename(ST_SV("c")).len == 1 && st_sv_dirname(ST_SV("c")).len == 0,
           "basename, dirname without a slash");
    TAP_OK(st_sv_search(ST_SV("haystack"), ST_SV("st")) == 3 && st_sv_search(ST_SV("a"), ST_SV("ab")) == ST_SV_NPOS,
           "search");
    TAP_OK(st_sv_trim(ST_SV(" \t\r\n")).len == 0, "trim to nothing");
    return tap_done();
}
