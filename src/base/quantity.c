#include "base/quantity.h"

#include "base/ckd.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    struct st_sv suffix;
    uint64_t bytes;
} units[] = {
    {ST_SV_INIT(""), 1},
    {ST_SV_INIT("B"), 1},
    {ST_SV_INIT("Ki"), 1ull << 10},
    {ST_SV_INIT("Mi"), 1ull << 20},
    {ST_SV_INIT("Gi"), 1ull << 30},
    {ST_SV_INIT("Ti"), 1ull << 40},
    {ST_SV_INIT("K"), 1000},
    {ST_SV_INIT("KB"), 1000},
    {ST_SV_INIT("M"), 1000000},
    {ST_SV_INIT("MB"), 1000000},
    {ST_SV_INIT("G"), 1000000000},
    {ST_SV_INIT("GB"), 1000000000},
    {ST_SV_INIT("T"), 1000000000000},
    {ST_SV_INIT("TB"), 1000000000000},
};

#define FRACTION_DIGITS 18 // more cannot change a result below 2^64

static size_t digits(struct st_sv s)
{
    size_t n = 0;
    while (n < s.len && s.ptr[n] >= '0' && s.ptr[n] <= '9')
        n++;
    return n;
}

static bool unit_of(struct st_sv suffix, uint64_t *ret)
{
    for (size_t i = 0; i < ST_LEN(units); i++)
        if (st_sv_eq(units[i].suffix, suffix)) {
            *ret = units[i].bytes;
            return true;
        }
    return false;
}

bool st_quantity_read(struct st_sv text, uint64_t *ret_bytes)
{
    size_t n = digits(text);
    uint64_t whole, fraction = 0, scale = 1, unit, value;
    if (!st_sv_u64(st_sv_sub(text, 0, n), 10, &whole))
        return false;
    text = st_sv_from(text, n);
    if (text.len && text.ptr[0] == '.') {
        text = st_sv_from(text, 1);
        n = digits(text);
        if (n == 0)
            return false;
        for (size_t i = 0; i < ST_MIN(n, FRACTION_DIGITS); i++) {
            fraction = fraction * 10 + (uint64_t)(text.ptr[i] - '0');
            scale *= 10;
        }
        text = st_sv_from(text, n);
    }
    if (!unit_of(text, &unit) || st_ckd_mul(&value, whole, unit))
        return false;
    uint64_t part = (uint64_t)((unsigned __int128)fraction * unit / scale);
    if (st_ckd_add(&value, value, part))
        return false;
    *ret_bytes = value;
    return true;
}

int st_quantity_for(const char *name, struct st_sv text, uint64_t min, uint64_t max, uint64_t *ret_bytes,
                    struct st_err *err)
{
    uint64_t v;
    char limit[ST_QUANTITY_TEXT];
    if (!st_quantity_read(text, &v))
        return st_err_set(err, ST_E_USAGE, "invalid quantity '" ST_SV_FMT "' for %s (examples: 64Mi, 1Gi, 2147483648)",
                          ST_SV_ARG(st_sv_sub(text, 0, 100)), name);
    if (v < min) {
        st_quantity_text(min, limit);
        return st_err_set(err, ST_E_USAGE, "quantity '" ST_SV_FMT "' for %s is below the least accepted, %s",
                          ST_SV_ARG(st_sv_sub(text, 0, 100)), name, limit);
    }
    if (v > max) {
        st_quantity_text(max, limit);
        return st_err_set(err, ST_E_USAGE, "quantity '" ST_SV_FMT "' for %s is above the most accepted, %s",
                          ST_SV_ARG(st_sv_sub(text, 0, 100)), name, limit);
    }
    *ret_bytes = v;
    return 0;
}

static const struct {
    char letter;
    uint64_t seconds;
} spans[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};

bool st_duration_read(struct st_sv text, uint64_t *ret_seconds)
{
    uint64_t sum = 0;
    size_t next = 0; // spans before this one are used up
    if (text.len == 0)
        return false;
    while (text.len) {
        size_t n = digits(text);
        uint64_t count;
        if (n == text.len || !st_sv_u64(st_sv_sub(text, 0, n), 10, &count))
            return false;
        while (next < ST_LEN(spans) && spans[next].letter != text.ptr[n])
            next++;
        if (next == ST_LEN(spans) || st_ckd_mul(&count, count, spans[next].seconds) || st_ckd_add(&sum, sum, count))
            return false;
        next++;
        text = st_sv_from(text, n + 1);
    }
    *ret_seconds = sum;
    return true;
}

int st_duration_for(const char *name, struct st_sv text, uint64_t *ret_seconds, struct st_err *err)
{
    uint64_t v;
    if (!st_duration_read(text, &v) || v == 0)
        return st_err_set(err, ST_E_USAGE, "invalid duration '" ST_SV_FMT "' for %s (examples: 30s, 10m, 1h30m, 7d)",
                          ST_SV_ARG(st_sv_sub(text, 0, 100)), name);
    if (v > ST_DURATION_MAX)
        return st_err_set(err, ST_E_USAGE, "duration '" ST_SV_FMT "' for %s is longer than 10 years",
                          ST_SV_ARG(st_sv_sub(text, 0, 100)), name);
    *ret_seconds = v;
    return 0;
}

static const char *const binary[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};

void st_quantity_text(uint64_t bytes, char ret[static ST_QUANTITY_TEXT])
{
    size_t u = 0;
    while (bytes && bytes % 1024 == 0 && u < 4) { // Ti is the largest unit that reads back
        bytes /= 1024;
        u++;
    }
    snprintf(ret, ST_QUANTITY_TEXT, "%" PRIu64 "%s", bytes, binary[u]);
}

void st_quantity_human(uint64_t bytes, char ret[static ST_QUANTITY_TEXT])
{
    if (bytes < 1024) {
        snprintf(ret, ST_QUANTITY_TEXT, "%" PRIu64, bytes);
        return;
    }
    size_t u = 0;
    uint64_t rest = 0;
    // 1023.95 and more would print as 1024.0: the next unit takes it.
    for (; u + 1 < ST_LEN(binary) && (bytes >= 1024 || (bytes == 1023 && rest >= 973)); u++) {
        rest = bytes % 1024;
        bytes /= 1024;
    }
    uint64_t tenth = (rest * 10 + 512) / 1024;
    if (tenth == 10) {
        bytes++;
        tenth = 0;
    }
    snprintf(ret, ST_QUANTITY_TEXT, "%" PRIu64 ".%" PRIu64 "%s", bytes, tenth, binary[u]);
}

void st_duration_human(uint64_t s, char ret[static ST_QUANTITY_TEXT])
{
    s = ST_MIN(s, 9999ull * 86400);
    if (s < 60)
        snprintf(ret, ST_QUANTITY_TEXT, "%" PRIu64 "s", s);
    else if (s < 3600)
        snprintf(ret, ST_QUANTITY_TEXT, "%" PRIu64 "m %02" PRIu64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(ret, ST_QUANTITY_TEXT, "%" PRIu64 "h %02" PRIu64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(ret, ST_QUANTITY_TEXT, "%" PRIu64 "d %" PRIu64 "h", s / 86400, s / 3600 % 24);
}
