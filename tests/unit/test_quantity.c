// Grammar of quantities and durations (operator-surface 6.3), and their text forms.
#include "base/clock.h"
#include "base/quantity.h"
#include "tap.h"

static void test_quantity_read(void)
{
    static const struct {
        const char *text;
        int ok;
        uint64_t bytes;
    } rows[] = {
        {"0", 1, 0},
        {"2147483648", 1, 2147483648u},
        {"64Mi", 1, 64u << 20},
        {"2Gi", 1, 2147483648u},
        {"2GB", 1, 2000000000},
        {"2G", 1, 2000000000},
        {"1.5Gi", 1, 1610612736},
        {"0.1Ki", 1, 102},
        {"1.999999999999999999999999Ki", 1, 2047},
        {"7B", 1, 7},
        {"1.9", 1, 1},
        {"16777215Ti", 1, 16777215ull << 40},
        {"16777215.999999Ti", 1, (16777215ull << 40) + 1099510528264ull},
        {"18446744073709551615", 1, UINT64_MAX},
        {"18446744073709551615.9", 1, UINT64_MAX},
        {"18446744073709551616", 0, 0},
        {"16777216Ti", 0, 0},
        {"18014398509481984Ki", 0, 0},
        {"", 0, 0},
        {"8 gigs", 0, 0},
        {"8 Gi", 0, 0},
        {" 8Gi", 0, 0},
        {"8gi", 0, 0},
        {"8GiB", 0, 0},
        {"8Pi", 0, 0},
        {"-1", 0, 0},
        {"+1", 0, 0},
        {".5Gi", 0, 0},
        {"1.Gi", 0, 0},
        {"1.2.3", 0, 0},
        {"Mi", 0, 0},
        {"0x10", 0, 0},
        {"1e3", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t v = 0;
        bool ok = st_quantity_read(st_sv_of(rows[i].text), &v);
        TAP_OK(ok == rows[i].ok && v == rows[i].bytes, "quantity '%s' (%llu)", rows[i].text, (unsigned long long)v);
    }
    uint64_t v;
    TAP_OK(!st_quantity_read(st_sv_mem("1\0Ki", 4), &v), "quantity with a NUL");
}

static void test_quantity_messages(void)
{
    struct st_err err = {0};
    uint64_t v = 0;
    TAP_OK(st_quantity_for("--memory", ST_SV("8 gigs"), 1, UINT64_MAX, &v, &err) == -1 && err.code == ST_E_USAGE &&
               !strcmp(err.text, "invalid quantity '8 gigs' for --memory (examples: 64Mi, 1Gi, 2147483648)"),
           "message of a bad quantity");
    TAP_OK(st_quantity_for("--memory", ST_SV("8Mi"), 16 << 20, UINT64_MAX, &v, &err) == -1 &&
               !strcmp(err.text, "quantity '8Mi' for --memory is below the least accepted, 16Mi"),
           "message of one below the least");
    TAP_OK(st_quantity_for("--memory", ST_SV("2Ki"), 0, 1024, &v, &err) == -1 && strstr(err.text, "most accepted, 1Ki"),
           "message of one above the most");
    TAP_OK(st_duration_for("--last", ST_SV("3651d"), &v, &err) == -1 && err.code == ST_E_USAGE &&
               !strcmp(err.text, "duration '3651d' for --last is longer than 10 years"),
           "message of too long a duration");
    TAP_OK(st_duration_for("--last", ST_SV("0s"), &v, &err) == -1, "a duration of nothing");
    TAP_OK(st_duration_for("--last", ST_SV("3650d"), &v, &err) == 0 && v == ST_DURATION_MAX, "ten years fit");
}

static void test_duration_read(void)
{
    static const struct {
        const char *text;
        int ok;
        uint64_t seconds;
    } rows[] = {
        {"30s", 1, 30},
        {"10m", 1, 600},
        {"1h", 1, 3600},
        {"7d", 1, 604800},
        {"1h30m", 1, 5400},
        {"1d2h3m4s", 1, 93784},
        {"90m", 1, 5400},
        {"", 0, 0},
        {"30", 0, 0},
        {"h", 0, 0},
        {"30m1h", 0, 0},
        {"1h1h", 0, 0},
        {"1h 30m", 0, 0},
        {"-1h", 0, 0},
        {"1.5h", 0, 0},
        {"1w", 0, 0},
        {"1h30", 0, 0},
        {"18446744073709551615d", 0, 0},
        {"18446744073709551615m18446744073709551615s", 0, 0},
        {"99999999999999999999s", 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t v = 0;
        bool ok = st_duration_read(st_sv_of(rows[i].text), &v);
        TAP_OK(ok == rows[i].ok && v == rows[i].seconds, "duration '%s'", rows[i].text);
    }
}

static void test_text(void)
{
    static const struct {
        uint64_t bytes;
        const char *exact, *human;
    } rows[] = {
        {0, "0", "0"},
        {1023, "1023", "1023"},
        {1024, "1Ki", "1.0Ki"},
        {1536, "1536", "1.5Ki"},
        {64 << 20, "64Mi", "64.0Mi"},
        {(1 << 20) - 1, "1048575", "1.0Mi"},
        {66165145, "66165145", "63.1Mi"},
        {5ull << 50, "5120Ti", "5.0Pi"},
        {UINT64_MAX, "18446744073709551615", "16.0Ei"},
    };
    char a[ST_QUANTITY_TEXT], b[ST_QUANTITY_TEXT];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t back;
        st_quantity_text(rows[i].bytes, a);
        st_quantity_human(rows[i].bytes, b);
        TAP_OK(!strcmp(a, rows[i].exact) && !strcmp(b, rows[i].human), "text of %s (%s %s)", rows[i].exact, a, b);
        TAP_OK(st_quantity_read(st_sv_of(a), &back) && back == rows[i].bytes, "%s reads back", a);
    }
    static const struct {
        uint64_t s;
        const char *text;
    } spans[] = {{0, "0s"}, {59, "59s"}, {187, "3m 07s"}, {5400, "1h 30m"}, {187200, "2d 4h"}};
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        st_duration_human(spans[i].s, a);
        TAP_OK(!strcmp(a, spans[i].text), "duration text %s", spans[i].text);
    }
    char t[ST_CLOCK_TEXT];
    st_clock_text(1790000000123, t);
    TAP_OK(!strcmp(t, "2026-09-21T14:13:20Z"), "clock text %s", t);
    st_clock_text(0, t);
    TAP_OK(!strcmp(t, "-"), "no time");
    st_clock_text(INT64_MAX, t);
    TAP_OK(!strcmp(t, "-"), "a year that does not fit");
}

int main(void)
{
    test_quantity_read();
    test_quantity_messages();
    test_duration_read();
    test_text();
    return tap_done();
}
