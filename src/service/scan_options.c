// The options of a scan as a record.
#include "service/scan_options.h"

#include "base/ckd.h"

#define OPT struct st_scan_options

static const char *const verify_words[] = {"none", "blob", "full", NULL}; // enum st_verify

static const struct st_field fields[] = {
    {"memory", ST_FIELD_U64_AT(OPT, memory), .max = 1ull << 50,
     .what = "budget of the scan in bytes, from 16 MiB; default: what the worker has"},
    {"threads", ST_FIELD_U32_AT(OPT, threads), .max = ST_THREADS_MAX, .what = "layers analyzed at once"},
    {"cache", ST_FIELD_BOOL_AT(OPT, cache), .has = offsetof(OPT, has_cache) + 1,
     .what = "use the layer cache; default: cache.layer_dedup"},
    {"verify", ST_FIELD_WORD_AT(OPT, verify, verify_words), .has = offsetof(OPT, has_verify) + 1,
     .what = "digests to check; default: blob"},
    {"strict", ST_FIELD_BOOL_AT(OPT, strict), .what = "fail when a file could not be read"},
    {"keepGoing", ST_FIELD_BOOL_AT(OPT, keep_going), .what = "write what the undamaged layers say; it fails still"},
    {"offline", ST_FIELD_BOOL_AT(OPT, offline), .what = "never use the network"},
    {"foreignLayers", ST_FIELD_BOOL_AT(OPT, foreign_layers),
     .what = "fetch layers that the registry has not from the URLs in the manifest"},
    {"platform", ST_FIELD_TEXT_AT(OPT, platform), .max = 100, .what = "as linux/arm64"},
    {"formats", ST_FIELD_TEXT_AT(OPT, formats), .max = 200, .what = "SBOMs to write, as spdx-json,purls"},
    {"width", ST_FIELD_U32_AT(OPT, width), .max = 10000, .what = "columns that the table is cut to"},
    {"timeoutSeconds", ST_FIELD_U64_AT(OPT, timeout_s), .max = 315360000, .what = "default: timeouts.scan"},
    {"bandwidth", ST_FIELD_U64_AT(OPT, bandwidth), .max = 1ull << 50, .what = "bytes a second from the registry"},
    {"insecure", ST_FIELD_TEXT_AT(OPT, insecure), .what = "registries without a good certificate, as host:port,host"},
    {"path", ST_FIELD_TEXT_AT(OPT, path), .what = "name of the file that was passed, as its client read it"},
    {"file", ST_FIELD_BOOL_AT(OPT, file), .what = "the image's bytes came with the submission"},
};
const struct st_record st_record_scan_options = ST_RECORD("ScanOptions", OPT, fields);

const char *const st_sbom_format_words[] = {"cyclonedx-json", "spdx-json", "syft-json", "purls", "table", NULL};

int st_scan_formats(struct st_sv formats, unsigned *ret_bits, struct st_err *err)
{
    struct st_sv word;
    unsigned bits = 0;
    while (formats.len && st_sv_split(&formats, ',', &word)) {
        unsigned i = 0;
        while (st_sbom_format_words[i] && !st_sv_eq(word, st_sv_of(st_sbom_format_words[i])))
            i++;
        if (!st_sbom_format_words[i])
            return st_err_set(err, ST_E_INPUT,
                              "field 'formats': unknown format '" ST_SV_FMT
                              "' (cyclonedx-json, spdx-json, syft-json, purls, table)",
                              ST_SV_ARG(st_sv_sub(word, 0, 60)));
        bits |= 1u << i;
    }
    *ret_bits = bits;
    return 0;
}

int st_platform_check(struct st_sv platform, struct st_err *err)
{
    if (!platform.len)
        return 0;
    struct st_sv rest = platform, part;
    size_t n = 0;
    bool good = !st_sv_ends(rest, ST_SV("/"));
    for (; st_sv_split(&rest, '/', &part); n++)
        good = good && part.len && part.len <= 32;
    if (!good || n < 2 || n > 3)
        return st_err_set(err, ST_E_USAGE, "invalid platform '" ST_SV_FMT "' (examples: linux/amd64, linux/arm/v7)",
                          ST_SV_ARG(st_sv_sub(platform, 0, 100)));
    return 0;
}

int st_scan_options_read(struct st_sv json, struct st_scan_options *ret, struct st_arena *a, struct st_err *err)
{
    struct st_scan_options o = {0};
    unsigned bits;
    if (st_record_read(&st_record_scan_options, json.len ? json : ST_SV("{}"), false, 0, &o, a, err) ||
        st_scan_formats(o.formats, &bits, err))
        return -1;
    if (o.memory && o.memory < ST_MEMORY_MIN)
        return st_err_set(err, ST_E_INPUT, "field 'memory': at least 16 MiB (16777216) is accepted");
    if (st_platform_check(o.platform, err)) {
        if (err)
            err->code = ST_E_INPUT;
        return -1;
    }
    *ret = o;
    return 0;
}

int st_scan_options_write(const struct st_scan_options *o, struct st_buf *to, struct st_err *err)
{
    struct st_out out;
    struct st_json_out w;
    st_out_init_buf(&out, to);
    st_json_out_init(&w, &out, 0);
    st_record_brief(&w, &st_record_scan_options, o);
    return st_out_finish(&out, err);
}
