// Streams: sources, digests, limits, and every decoder on fixtures made by the tools that own the formats (see
// tests/fixtures/stream/README), whole, in pieces, cut at every byte, damaged, and with every allocation refused.
#include "base/ckd.h"
#include "base/fd.h"
#include "chop.h"
#include "tap.h"

#include <fcntl.h>
#include <unistd.h>

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#define BUDGET (16 << 20)
#define LINES 2000 // the fixtures are `seq 1 2000`

static char expect[16384];
static size_t expect_len;

static void make_expect(void)
{
    for (int i = 1; i <= LINES; i++)
        expect_len += (size_t)snprintf(expect + expect_len, sizeof expect - expect_len, "%d\n", i);
}

static struct st_sv load(const char *dir, const char *name)
{
    char path[4096];
    const char *tests = getenv("ST_TESTS");
    snprintf(path, sizeof path, "%s/fixtures/%s/%s", tests ? tests : "tests", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t n = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    char *p = n < 0 ? NULL : malloc((size_t)n + 1);
    if (!p || st_fd_pread(fd, p, (size_t)n, 0) != n) {
        perror(path);
        exit(1);
    }
    close(fd);
    return (struct st_sv){p, (size_t)n};
}

// All of what `s` (taken) gives, compared with what is expected: 1 equal, 0 a shorter success, 2 other bytes, -1 error.
static int outcome(struct st_stream *s, struct st_err *err)
{
    size_t at = 0;
    int r;
    while ((r = st_stream_fill(s, err)) > 0) {
        size_t n = (size_t)(s->end - s->cur);
        if (n > expect_len - at || memcmp(s->cur, expect + at, n) != 0) {
            st_stream_free(s);
            return 2;
        }
        at += n;
        s->cur = s->end;
    }
    int again = st_stream_fill(s, NULL);
    uint64_t pos = st_stream_pos(s);
    st_stream_free(s);
    return r < 0 ? (again < 0 ? -1 : 3) : again != 0 || pos != at ? 3 : at == expect_len;
}

static int decode(struct st_mem *mem, struct st_sv in, size_t piece, enum st_codec codec, struct st_err *err)
{
    struct st_stream *s = st_stream_decode(mem, chop_new(in, piece), codec, err);
    return s ? outcome(s, err) : -1;
}

static const struct fixture {
    const char *name;
    enum st_codec codec;
    unsigned members; // cut between them (xz: and after each 4 bytes of padding), a stream is whole and short
} fixtures[] = {
    {"seq.gz", ST_CODEC_GZIP, 1},    {"pigz.gz", ST_CODEC_GZIP, 1},   {"multi.gz", ST_CODEC_GZIP, 3},
    {"fields.gz", ST_CODEC_GZIP, 1}, {"stored.gz", ST_CODEC_GZIP, 1}, {"zeros.gz", ST_CODEC_GZIP, 1},
    {"bgzf.gz", ST_CODEC_GZIP, 4},   {"seq.zst", ST_CODEC_ZSTD, 1},   {"nocheck.zst", ST_CODEC_ZSTD, 1},
    {"multi.zst", ST_CODEC_ZSTD, 2}, {"skip.zst", ST_CODEC_ZSTD, 4},  {"fast.zst", ST_CODEC_ZSTD, 1},
    {"seq.xz", ST_CODEC_XZ, 1},      {"multi.xz", ST_CODEC_XZ, 4},    {"blocks.xz", ST_CODEC_XZ, 1},
    {"bcj.xz", ST_CODEC_XZ, 1},      {"seq.bz2", ST_CODEC_BZIP2, 1},  {"multi.bz2", ST_CODEC_BZIP2, 2},
};

static void test_fixtures(void)
{
    static const size_t pieces[] = {1, 2, 3, 7, 64, 1000, 1 << 20};
    for (size_t i = 0; i < ST_LEN(fixtures); i++) {
        struct st_sv in = load("stream", fixtures[i].name);
        struct st_mem mem;
        st_mem_init(&mem, BUDGET, -1);
        struct st_err err;
        unsigned good = 0;
        for (size_t k = 0; k < ST_LEN(pieces); k++) {
            good += decode(&mem, in, pieces[k], fixtures[i].codec, &err) == 1;
            enum st_codec found = ST_CODEC_NONE;
            struct st_stream *s = st_stream_detect(&mem, chop_new(in, pieces[k]), &found, &err);
            good += s && outcome(s, &err) == 1 && found == fixtures[i].codec;
        }
        TAP_OK(good == 2 * ST_LEN(pieces) && mem.used == 0, "%s: whole and in pieces", fixtures[i].name);
        free((char *)in.ptr);
        st_mem_release(&mem);
    }
}

// One decoder for one stream after the other: after all of it, after its first bytes, after damage.
static void test_again(void)
{
    for (size_t i = 0; i < ST_LEN(fixtures); i++) {
        if (fixtures[i].codec != ST_CODEC_GZIP && fixtures[i].codec != ST_CODEC_ZSTD)
            continue;
        struct st_mem mem;
        struct st_err err = {0};
        st_mem_init(&mem, BUDGET, -1);
        struct st_sv in = load("stream", fixtures[i].name);
        struct st_stream *s = st_stream_decode(&mem, chop_new(in, 100), fixtures[i].codec, &err);
        bool good = st_stream_drain(s, &err) == (int64_t)expect_len;
        st_stream_decode_again(fixtures[i].codec, s, chop_new(in, 7));
        char head[10];
        good &= st_stream_pos(s) == 0 && st_stream_read(s, head, sizeof head, &err) == sizeof head;
        good &= memcmp(head, expect, sizeof head) == 0;
        st_stream_decode_again(fixtures[i].codec, s, chop_new(st_sv_sub(in, 0, in.len / 2), 1000));
        good &= st_stream_drain(s, NULL) < 0 || fixtures[i].members > 1;
        st_stream_decode_again(fixtures[i].codec, s, chop_new(in, 1000));
        TAP_OK(good && outcome(s, &err) == 1, "again: %s: %s", fixtures[i].name, err.text);
        TAP_OK(mem.used == 0, "again: nothing is left behind");
        st_mem_release(&mem);
        free((char *)in.ptr);
    }
}

static void test_cut(void)
{
    for (size_t i = 0; i < ST_LEN(fixtures); i++) {
        struct st_sv in = load("stream", fixtures[i].name);
        struct st_mem mem;
        st_mem_init(&mem, BUDGET, -1);
        unsigned bad = 0, short_success = 0, full = 0;
        // Every byte of one file of each codec, of the others every byte near the ends.
        bool all = strncmp(fixtures[i].name, "seq.", 4) == 0;
        for (size_t n = 0; n < in.len; n += all || n < 400 || in.len - n < 300 ? 1 : 7) {
            struct st_err err;
            st_err_clear(&err);
            int r = decode(&mem, st_sv_sub(in, 0, n), n % 5 ? 4096 : 13, fixtures[i].codec, &err);
            short_success += r == 0;
            full += r == 1; // only what follows the last data may be missing
            bad += r > 1 || (r < 0 && (err.code != ST_E_CORRUPT || !err.has_offset || err.offset > n));
        }
        unsigned may_full = strcmp(fixtures[i].name, "zeros.gz") == 0   ? 1000
                            : strcmp(fixtures[i].name, "skip.zst") == 0 ? 1
                            : strcmp(fixtures[i].name, "bgzf.gz") == 0  ? 1
                                                                        : 0;
        TAP_OK(bad == 0 && short_success < fixtures[i].members && full <= may_full && mem.used == 0,
               "%s: cut anywhere in %zu bytes (%u short, %u full, %u bad)", fixtures[i].name, in.len, short_success,
               full, bad);
        free((char *)in.ptr);
        st_mem_release(&mem);
    }
}

static void test_damage(void)
{
    for (size_t i = 0; i < ST_LEN(fixtures); i++) {
        if (strcmp(fixtures[i].name, "nocheck.zst") == 0)
            continue; // nothing would tell
        struct st_sv in = load("stream", fixtures[i].name);
        char *copy = malloc(in.len);
        if (!copy)
            abort();
        struct st_mem mem;
        st_mem_init(&mem, 256 << 20, -1);
        unsigned wrong = 0, runs = 0;
        for (size_t n = 0; n < in.len; n += 11, runs++) {
            memcpy(copy, in.ptr, in.len);
            copy[n] = (char)(copy[n] ^ (1 << (n & 7)));
            struct st_err err;
            int r = decode(&mem, (struct st_sv){copy, in.len}, 4096, fixtures[i].codec, &err);
            wrong += r == 0 || r == 3; // other bytes may come before the checksum tells, but never a good end
            if (r == 2) {
                struct st_stream *s =
                    st_stream_decode(&mem, chop_new((struct st_sv){copy, in.len}, 4096), fixtures[i].codec, &err);
                wrong += st_stream_drain(s, &err) >= 0;
                st_stream_free(s);
            }
        }
        // One header bit may turn a member into a skippable frame or a name field into another.
        TAP_OK(wrong <= 1 && mem.used == 0, "%s: one bit turned over, %u times (%u not seen)", fixtures[i].name, runs,
               wrong);
        free(copy);
        free((char *)in.ptr);
        st_mem_release(&mem);
    }
}

static void test_trailing(void)
{
    static const struct {
        const char *name;
        enum st_codec codec;
    } rows[] = {
        {"seq.gz", ST_CODEC_GZIP}, {"seq.zst", ST_CODEC_ZSTD}, {"seq.xz", ST_CODEC_XZ}, {"seq.bz2", ST_CODEC_BZIP2}};
    for (size_t i = 0; i < ST_LEN(rows); i++) {
        struct st_sv in = load("stream", rows[i].name);
        char *longer = malloc(in.len + 20);
        if (!longer)
            abort();
        memcpy(longer, in.ptr, in.len);
        memcpy(longer + in.len, "not a header, at all", 20);
        struct st_mem mem;
        st_mem_init(&mem, BUDGET, -1);
        struct st_err err;
        int r = decode(&mem, (struct st_sv){longer, in.len + 20}, 100, rows[i].codec, &err);
        TAP_OK(r == -1 && err.code == ST_E_CORRUPT && err.has_offset && err.offset >= in.len,
               "%s: garbage behind the end", rows[i].name);
        memset(longer + in.len, 0, 20);
        r = decode(&mem, (struct st_sv){longer, in.len + 20}, 100, rows[i].codec, &err);
        if (rows[i].codec == ST_CODEC_GZIP)
            TAP_OK(r == 1, "%s: zeros behind the end", rows[i].name);
        r = decode(&mem, ST_SV_NULL, 100, rows[i].codec, &err);
        TAP_OK(r == -1 && err.code == ST_E_CORRUPT && strstr(err.text, "early"), "%s: empty input", rows[i].name);
        free(longer);
        free((char *)in.ptr);
        st_mem_release(&mem);
    }
}

static void test_faults(void)
{
    for (size_t i = 0; i < ST_LEN(fixtures); i++) {
        struct st_sv in = load("stream", fixtures[i].name);
        unsigned bad = 0, n = 0;
        for (bool refused = true; refused && n < 200;) {
            struct st_mem mem;
            st_mem_init(&mem, BUDGET, -1);
            mem.fail_at = ++n;
            struct st_err err;
            st_err_clear(&err);
            int r = -1;
            struct st_stream *s = st_stream_memory(&mem, in, &err);
            struct st_sha256 *d = s ? st_sha256_new(&mem, &err) : NULL;
            struct st_stream *source = s;
            if (d) {
                s = st_stream_digest(&mem, s, d, &err);
                s = s ? st_stream_detect(&mem, s, NULL, &err) : NULL;
                s = s ? st_stream_limit(&mem, s, source, 1 << 20, 100, &err) : NULL;
                r = s ? outcome(s, &err) : -1;
            } else {
                st_stream_free(s);
            }
            st_sha256_free(d);
            refused = mem.requests >= mem.fail_at;
            bad += mem.used != 0 || (refused ? r != -1 || err.code != ST_E_NOMEM : r != 1);
            st_mem_release(&mem);
        }
        TAP_OK(bad == 0 && n > 4 && n < 200, "%s: each of %u allocations refused", fixtures[i].name, n - 1);
        free((char *)in.ptr);
    }
}

static void test_windows(void)
{
    static const struct {
        const char *name;
        enum st_codec codec;
        uint64_t window;
    } rows[] = {{"long27.zst", ST_CODEC_ZSTD, 128 << 20}, {"nine.xz", ST_CODEC_XZ, 64 << 20}};
    for (size_t i = 0; i < ST_LEN(rows); i++) {
        struct st_sv in = load("stream", rows[i].name);
        struct st_sv head = st_sv_sub(in, 0, ST_CODEC_WINDOW_HEAD);
        TAP_OK(st_codec_window(rows[i].codec, head) == rows[i].window, "%s: window from the first bytes", rows[i].name);
        for (size_t n = 0; n < head.len; n++)
            st_codec_window(rows[i].codec, st_sv_sub(head, 0, n));
        struct st_mem mem;
        st_mem_init(&mem, BUDGET, -1);
        struct st_err err;
        int r = decode(&mem, in, 4096, rows[i].codec, &err);
        TAP_OK(r == -1 && err.code == ST_E_MEMORY && err.need_bytes >= rows[i].window &&
                   err.need_bytes < rows[i].window * 5 / 4 && mem.used == 0,
               "%s: window over the budget, needs %llu", rows[i].name, (unsigned long long)err.need_bytes);
        TAP_OK(mem.peak < BUDGET, "peak under the budget");
        st_mem_release(&mem);
        st_mem_init(&mem, (size_t)rows[i].window * 5 / 4, -1);
        TAP_OK(decode(&mem, in, 4096, rows[i].codec, &err) == 1, "%s: within a larger budget", rows[i].name);
        st_mem_release(&mem);
        free((char *)in.ptr);
    }
    TAP_OK(st_codec_window(ST_CODEC_GZIP, ST_SV("\x1f\x8b")) == 0 && st_codec_window(ST_CODEC_ZSTD, ST_SV_NULL) == 0,
           "no window");
}

// 8 MiB of text with matches near and far, from a small generator.
static char *make_text(size_t n)
{
    char *p = malloc(n);
    if (!p)
        abort();
    uint32_t x = 1;
    for (size_t i = 0; i < n;) {
        x = x * 1664525 + 1013904223;
        size_t len = 4 + (x >> 20 & 63), back = (x >> 8) % (i + 1);
        for (size_t k = 0; k < len && i < n; k++, i++)
            p[i] = back > 200 && (x & 7) ? p[i - back] : (char)(x >> (k & 15));
    }
    return p;
}

static void test_zstd_ring(void)
{
    size_t n = 8 << 20, bound = ZSTD_compressBound(n);
    char *text = make_text(n), *packed = malloc(bound);
    if (!packed)
        abort();
    for (int log = 10; log <= 20; log += 5) {
        ZSTD_CCtx *c = ZSTD_createCCtx();
        ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, log);
        ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
        ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, log != 15);
        size_t size = ZSTD_compress2(c, packed, bound, text, n);
        ZSTD_freeCCtx(c);
        struct st_mem mem;
        st_mem_init(&mem, BUDGET, -1);
        struct st_err err;
        st_err_clear(&err);
        struct st_stream *s =
            st_stream_decode(&mem, chop_new((struct st_sv){packed, size}, 100000), ST_CODEC_ZSTD, &err);
        size_t at = 0;
        bool same = true;
        while (same && st_stream_fill(s, &err) > 0) {
            size_t got = (size_t)(s->end - s->cur);
            same = got <= n - at && memcmp(s->cur, text + at, got) == 0;
            at += got;
            s->cur = s->end;
        }
        TAP_OK(same && at == n && err.code == ST_E_NONE, "zstd window of 2^%d: the ring goes round (%s)", log,
               err.text);
        st_stream_free(s);
        st_mem_release(&mem);
    }
    free(text);
    free(packed);
}

static void test_detect(void)
{
    static const struct {
        struct st_sv head;
        enum st_codec codec;
    } rows[] = {
        {ST_SV_INIT(""), ST_CODEC_NONE},
        {ST_SV_INIT("\x1f"), ST_CODEC_NONE},
        {ST_SV_INIT("\x1f\x8b\x08"), ST_CODEC_GZIP},
        {ST_SV_INIT("\x28\xb5\x2f\xfd"), ST_CODEC_ZSTD},
        {ST_SV_INIT("\x5e\x2a\x4d\x18"), ST_CODEC_ZSTD},
        {ST_SV_INIT("\xfd"
                    "7zXZ\0"),
         ST_CODEC_XZ},
        {ST_SV_INIT("BZh91AY&SY"), ST_CODEC_BZIP2},
        {ST_SV_INIT("BZh9/usr/bin/x\0\0"), ST_CODEC_NONE},
        {ST_SV_INIT("usr/bin/x\0\0\0\0\0\0\0"), ST_CODEC_NONE},
    };
    unsigned good = 0;
    for (size_t i = 0; i < ST_LEN(rows); i++)
        good += st_codec_detect(rows[i].head) == rows[i].codec;
    TAP_OK(good == ST_LEN(rows), "magic");
    struct st_mem mem;
    st_mem_init(&mem, BUDGET, -1);
    enum st_codec codec = ST_CODEC_MAX;
    struct st_stream *s =
        st_stream_detect(&mem, st_stream_memory(&mem, (struct st_sv){expect, expect_len}, NULL), &codec, NULL);
    TAP_OK(outcome(s, NULL) == 1 && codec == ST_CODEC_NONE && mem.used == 0, "plain data comes back");
    s = st_stream_detect(&mem, chop_new(ST_SV("ab"), 1), &codec, NULL);
    char buf[8];
    TAP_OK(st_stream_read(s, buf, 8, NULL) == 2 && memcmp(buf, "ab", 2) == 0, "shorter than a magic");
    st_stream_free(s);
    st_mem_release(&mem);
}

static void test_file(void)
{
    ST_AUTO_CLOSE int fd = st_fd_temp("/tmp", NULL);
    size_t n = 3 << 20;
    char *text = make_text(n);
    TAP_OK(fd >= 0 && st_fd_write(fd, text, n) == 0, "temporary file");
    struct st_mem mem;
    st_mem_init(&mem, BUDGET, -1);
    struct st_err err;
    struct st_stream *s = st_stream_file(&mem, fd, 1000, n - 1000, &err);
    char buf[5000];
    bool good = true;
    uint64_t at = 0;
    for (uint64_t step = 1; at + step + sizeof buf < n - 1000; step = step * 3 / 2 + 1) { // steps short and long
        good = good && st_stream_skip(s, step, &err) == (int64_t)step &&
               st_stream_read(s, buf, sizeof buf, &err) == sizeof buf;
        at += step;
        good = good && memcmp(buf, text + 1000 + at, sizeof buf) == 0;
        at += sizeof buf;
        good = good && st_stream_pos(s) == at;
    }
    TAP_OK(good, "seek and read");
    TAP_OK(st_stream_drain(s, &err) == (int64_t)(n - 1000 - at) && st_stream_fill(s, &err) == 0, "drain");
    st_stream_free(s);
    s = st_stream_file(&mem, fd, 1000, n, &err);
    TAP_OK(st_stream_skip(s, n, &err) == -1 && err.code == ST_E_CORRUPT && err.offset == n - 1000,
           "shorter file, skipped over");
    st_stream_free(s);
    s = st_stream_file(&mem, fd, 1000, n, &err);
    TAP_OK(st_stream_drain(s, &err) == -1 && err.code == ST_E_CORRUPT && err.offset == n - 1000, "shorter file, read");
    st_stream_free(s);
    TAP_OK(st_stream_file(&mem, fd, 1000, UINT64_MAX - 500, &err) == NULL &&
               st_stream_file(&mem, -1, 0, 5, &err) == NULL,
           "nonsense is refused");
    int p[2];
    TAP_OK(pipe2(p, O_CLOEXEC) == 0 && st_fd_write(p[1], text, 50000) == 0 && close(p[1]) == 0, "pipe");
    s = st_stream_pipe(&mem, p[0], &err);
    TAP_OK(st_stream_skip(s, 49000, &err) == 49000 && st_stream_read(s, buf, sizeof buf, &err) == 1000 &&
               memcmp(buf, text + 49000, 1000) == 0 && st_stream_pos(s) == 50000 && st_stream_skip(s, 5, &err) == 0,
           "skip and read");
    st_stream_free(s);
    close(p[0]);
    TAP_OK(mem.used == 0, "nothing left");
    free(text);
    st_mem_release(&mem);
}

static void test_part(void)
{
    struct st_mem mem;
    st_mem_init(&mem, BUDGET, -1);
    struct st_err err;
    struct st_stream *in = chop_new((struct st_sv){expect, expect_len}, 100), *s;
    char buf[400];
    st_stream_skip(in, 50, NULL);
    s = st_stream_part(&mem, in, 300, &err);
    TAP_OK(st_stream_read(s, buf, sizeof buf, &err) == 300 && memcmp(buf, expect + 50, 300) == 0 &&
               st_stream_pos(in) == 350,
           "part, then the outer stream goes on");
    st_stream_free(s);
    s = st_stream_part(&mem, in, 300, &err);
    TAP_OK(st_stream_skip(s, 120, &err) == 120 && st_stream_read(s, buf, 10, &err) == 10 &&
               memcmp(buf, expect + 470, 10) == 0 && st_stream_skip(s, 500, &err) == 170,
           "skip inside of a part");
    TAP_OK(st_stream_pos(in) == 650, "outer position");
    st_stream_free(s);
    s = st_stream_part(&mem, in, 1 << 20, &err);
    TAP_OK(st_stream_drain(s, &err) == -1 && err.code == ST_E_CORRUPT && err.offset == expect_len,
           "outer stream ends early");
    st_stream_free(s);
    st_stream_free(in);
    TAP_OK(mem.used == 0, "nothing left");
    st_mem_release(&mem);
}

static void test_digest(void)
{
    struct st_mem mem;
    st_mem_init(&mem, BUDGET, -1);
    char hex[ST_DIGEST_HEX + 1];
    struct st_sha256 *d = st_sha256_new(&mem, NULL);
    st_sha256_add(d, "abc", 3);
    st_sha256_hex(d, hex);
    TAP_OK(strcmp(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") == 0, "FIPS 180 example");
    st_sha256_free(d);
    d = st_sha256_new(&mem, NULL);
    struct st_stream *s = st_stream_digest(&mem, chop_new((struct st_sv){expect, expect_len}, 77), d, NULL);
    char buf[10];
    st_stream_read(s, buf, 10, NULL);
    TAP_OK(st_stream_skip(s, 100, NULL) == 100 && st_stream_drain(s, NULL) == (int64_t)expect_len - 110, "drain");
    st_stream_free(s);
    st_sha256_hex(d, hex);
    st_sha256_free(d);
    // seq 1 2000 | sha256sum
    TAP_OK(strcmp(hex, "6251e5743b6fd6a7d606130bdf7c15077ce85ebd3a0fdee284d15a46df199e38") == 0,
           "digest of what passed");
    TAP_OK(mem.used == 0, "nothing left");
    st_mem_release(&mem);
}

static int64_t limited(uint64_t max, uint64_t ratio, size_t zeros, struct st_err *err)
{
    struct st_mem mem;
    st_mem_init(&mem, BUDGET, -1);
    char *text = calloc(1, zeros), *packed = malloc(ZSTD_compressBound(zeros));
    if (!text || !packed)
        abort();
    size_t n = ZSTD_compress(packed, ZSTD_compressBound(zeros), text, zeros, 1);
    struct st_stream *in = chop_new((struct st_sv){packed, n}, 256);
    struct st_stream *s = st_stream_limit(&mem, st_stream_decode(&mem, in, ST_CODEC_ZSTD, err), in, max, ratio, err);
    int64_t r = st_stream_drain(s, err);
    st_stream_free(s);
    free(text);
    free(packed);
    st_mem_release(&mem);
    return r;
}

static void test_limit(void)
{
    struct st_err err;
    TAP_OK(limited(1 << 20, 10, 1 << 20, &err) == 1 << 20, "as much as allowed");
    TAP_OK(limited((1 << 20) - 1, 10, 1 << 20, &err) == -1 && err.code == ST_E_LIMIT, "one byte more");
    TAP_OK(limited(1 << 30, 1000, 80 << 20, &err) == -1 && err.code == ST_E_LIMIT, "ratio");
    TAP_OK(limited(1 << 30, 1000, 60 << 20, &err) == 60 << 20, "ratio of a small stream");
    TAP_OK(limited(1 << 30, 1 << 20, 80 << 20, &err) == 80 << 20, "larger ratio allowed");
}

static void test_inflate(void)
{
    struct st_mem mem;
    st_mem_init(&mem, BUDGET, -1);
    struct st_err err;
    for (int wrap = 0; wrap < 2; wrap++) {
        struct st_sv in = load("stream", wrap == ST_DEFLATE_ZLIB ? "seq.zlib" : "seq.deflate");
        struct st_buf out;
        st_buf_init(&out, &mem);
        st_buf_add(&out, ST_SV("xy"), NULL);
        TAP_OK(st_inflate(in, (enum st_deflate_wrap)wrap, expect_len, &out, &err) == 0 && out.len == expect_len + 2 &&
                   memcmp(out.ptr + 2, expect, expect_len) == 0,
               "inflate behind what is there");
        out.len = 0;
        TAP_OK(st_inflate(in, (enum st_deflate_wrap)wrap, expect_len - 1, &out, &err) == -1 && err.code == ST_E_LIMIT &&
                   out.len == 0,
               "one byte over the limit");
        unsigned good = 0;
        for (size_t n = 0; n < in.len; n++)
            good += st_inflate(st_sv_sub(in, 0, n), (enum st_deflate_wrap)wrap, expect_len, &out, &err) == -1 &&
                    err.code == ST_E_FORMAT;
        TAP_OK(good == in.len, "cut at every byte");
        st_buf_release(&out);
        unsigned bad = 0, n = 0;
        for (int r = -1; r < 0 && n < 50; st_buf_release(&out)) {
            mem.requests = 0;
            mem.fail_at = ++n;
            r = st_inflate(in, (enum st_deflate_wrap)wrap, 1 << 20, &out, &err);
            bad += r < 0 && err.code != ST_E_NOMEM;
        }
        mem.fail_at = 0;
        TAP_OK(bad == 0 && n > 2 && n < 50, "every allocation refused");
        free((char *)in.ptr);
    }
    TAP_OK(mem.used == 0, "nothing left");
    st_mem_release(&mem);
}

int main(void)
{
    make_expect();
    test_fixtures();
    test_again();
    test_cut();
    test_damage();
    test_trailing();
    test_faults();
    test_windows();
    test_zstd_ring();
    test_detect();
    test_file();
    test_part();
    test_digest();
    test_limit();
    test_inflate();
    return tap_done();
}
