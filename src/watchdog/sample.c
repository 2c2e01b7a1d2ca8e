#include "watchdog/sample.h"

#include "base/ckd.h"

static const struct field {
    const char *name;
    uint8_t file;
    struct st_sv key;
} fields[ST_WD_FIELD_COUNT] = {
#define FIELD_ROW(name, file, key) {#name, ST_WD_FILE_##file, ST_SV_INIT(key)},
    ST_WD_FIELDS(FIELD_ROW)
#undef FIELD_ROW
};

static const char *const files[ST_WD_FILE_COUNT] = {
#define FILE_ROW(id, name) name,
    ST_WD_FILES(FILE_ROW)
#undef FILE_ROW
};

const char *st_wd_field_name(enum st_wd_field f)
{
    return (unsigned)f < ST_WD_FIELD_COUNT ? fields[f].name : "";
}

const char *st_wd_file_name(enum st_wd_file f)
{
    return (unsigned)f < ST_WD_FILE_COUNT ? files[f] : "";
}

// The value of one line under a key: what follows the key, in the file's own way of writing it.
static bool value(enum st_wd_file file, struct st_sv rest, uint64_t *ret)
{
    struct st_sv word;
    switch (file) {
    case ST_WD_FILE_MEMORY_PRESSURE: // "avg10=0.00 avg60=0.00 avg300=0.00 total=0"
    case ST_WD_FILE_IO_PRESSURE:
        while (st_sv_word(&rest, &word))
            if (st_sv_starts(word, ST_SV("total=")))
                return st_sv_u64(st_sv_from(word, 6), 10, ret);
        return false;
    case ST_WD_FILE_HOST_MEMINFO: { // "     1024 kB"
        struct st_sv unit;
        return st_sv_word(&rest, &word) && st_sv_word(&rest, &unit) && st_sv_eq(unit, ST_SV("kB")) &&
               st_sv_u64(word, 10, ret) && !st_ckd_mul(ret, *ret, (uint64_t)1024);
    }
    case ST_WD_FILE_MEMORY_EVENTS:
    case ST_WD_FILE_MEMORY_EVENTS_LOCAL:
    case ST_WD_FILE_SWAP_EVENTS:
    case ST_WD_FILE_CPU_STAT:
    case ST_WD_FILE_MEMORY_STAT:
        return st_sv_u64(rest, 10, ret);
    default: // files of one number
        if (st_sv_eq(rest, ST_SV("max"))) {
            *ret = ST_WD_NONE;
            return true;
        }
        return st_sv_u64(rest, 10, ret);
    }
}

// The fields that come from a file and are still wanted, as bits.
static uint64_t wanted(const struct st_wd_sample *s, enum st_wd_file file)
{
    uint64_t bits = 0;
    for (size_t f = 0; f < ST_WD_FIELD_COUNT; f++)
        bits |= (uint64_t)(fields[f].file == file) << f;
    return bits & ~s->has;
}

void st_wd_sample_parse(struct st_wd_sample *s, enum st_wd_file file, struct st_sv text)
{
    uint64_t todo = wanted(s, file);
    size_t end = st_sv_rfind(text, '\n');
    text.len = end == ST_SV_NPOS ? 0 : end + 1;
    for (struct st_sv line; todo && st_sv_line(&text, &line);) {
        struct st_sv key = {"", 0}, rest = line;
        size_t blank = st_sv_find(line, ' ');
        if (blank != ST_SV_NPOS) {
            key = st_sv_sub(line, 0, blank);
            rest = st_sv_from(line, blank + 1);
        }
        if (file == ST_WD_FILE_HOST_MEMINFO && key.len && key.ptr[key.len - 1] == ':')
            key.len--;
        for (uint64_t bits = todo; bits; bits &= bits - 1) {
            unsigned f = (unsigned)__builtin_ctzll(bits);
            uint64_t v;
            if (!st_sv_eq(fields[f].key, key))
                continue;
            if (value(file, rest, &v)) {
                s->v[f] = v;
                s->has |= (uint64_t)1 << f;
                todo &= ~((uint64_t)1 << f);
            }
            break;
        }
    }
}
