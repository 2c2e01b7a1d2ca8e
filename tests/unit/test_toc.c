// Tables of contents: what is read out of one, and what is refused. With "--write-corpus DIR" the cases are written as
// seeds of toc_fuzz.
#include "archive/toc.h"
#include "tap.h"

#include <stdio.h>
#include <stdlib.h>

#define D "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define V "{\"version\":1,\"entries\":["
#define REG(name, size, rest) "{\"name\":\"" name "\",\"type\":\"reg\",\"size\":" size ",\"mode\":420," rest "}"
#define CHUNK(name, rest) "{\"name\":\"" name "\",\"type\":\"chunk\"," rest "}"
#define END 1000 // where chunks end at the latest

// "path type size chunks;" of each file, "offset-end+inner@at:size[z];" of each chunk; or the words of the refusal.
static const struct {
    const char *name;
    enum st_toc_kind kind;
    const char *json, *want;
    bool refused;
} cases[] = {
    {"estargz", ST_TOC_ESTARGZ,
     V "{\"name\":\"usr/\",\"type\":\"dir\",\"mode\":493}," REG(
         "./usr/a", "5",
         "\"offset\":100,\"chunkDigest\":\"" D
         "\"") ",{\"name\":\"usr/l\",\"type\":\"symlink\",\"linkName\":\"../x\"},"
               "{\"name\":\"h\",\"type\":\"hardlink\",\"linkName\":\"/usr/a\"},{\"name\":\"e\",\"type\":\"reg\"}," REG(
                   "b", "10",
                   "\"offset\":200,\"chunkSize\":6,\"chunkDigest\":\"" D
                   "\"") "," CHUNK("b", "\"offset\":300,\"chunkOffset\":6,\"chunkDigest\":\"" D "\"") "]}",
     "usr 5 0 0;usr/a 0 5 1;usr/l 2 0 0;h 1 0 0;e 0 0 0;b 0 10 2;100-200+0@0:5;200-300+0@0:6;300-1000+0@6:4;", false},
    {"several files in one member", ST_TOC_ESTARGZ,
     V REG("a", "5", "\"innerOffset\":512,\"chunkDigest\":\"" D "\"") "," REG(
         "b", "5", "\"innerOffset\":1536,\"chunkDigest\":\"" D "\"") "," REG("c", "5",
                                                                             "\"offset\":90,\"digest\":\"" D "\"") "]}",
     "a 0 5 1;b 0 5 1;c 0 5 1;0-90+512@0:5;0-90+1536@0:5;90-1000+0@0:5;", false},
    {"zstd:chunked", ST_TOC_ZSTD_CHUNKED,
     "{\"entries\":[" REG("a", "5", "\"offset\":100,\"endOffset\":110,\"digest\":\"" D "\"") "," REG(
         "b", "30",
         "\"offset\":200,\"endOffset\":260,\"chunkSize\":10,\"chunkDigest\":\"" D
         "\"") "," CHUNK("b",
                         "\"offset\":220,\"chunkOffset\":10,\"chunkSize\":15,\"chunkType\":\"zeros\",\"chunkDigest\":"
                         "\"" D "\"") "," CHUNK("b",
                                                "\"offset\":230,\"chunkOffset\":25,\"chunkSize\":5,\"chunkDigest\":\"" D
                                                "\"") "],\"version\":1,\"tarSplitDigest\":\"" D "\"}",
     "a 0 5 1;b 0 30 3;100-110+0@0:5;200-220+0@0:10;220-230+0@10:15z;230-260+0@25:5;", false},
    {"nulls, unknown members, a key that comes twice", ST_TOC_ESTARGZ,
     V "{\"name\":\"x\",\"name\":\"y\",\"type\":\"fifo\",\"size\":null,\"xattrs\":{\"user.a\":[1,{}]}}]}", "y 6 0 0;",
     false},
    {"no entries at all", ST_TOC_ESTARGZ, V "]}", "", false},

    {"nothing", ST_TOC_ESTARGZ, "", "JSON", true},
    {"no object", ST_TOC_ESTARGZ, "[]", "no object", true},
    {"version 2", ST_TOC_ESTARGZ, "{\"version\":2,\"entries\":[]}", "version", true},
    {"no version", ST_TOC_ESTARGZ, "{\"entries\":[]}", "version", true},
    {"version as text", ST_TOC_ESTARGZ, "{\"version\":\"1\",\"entries\":[]}", "version", true},
    {"no list", ST_TOC_ESTARGZ, "{\"version\":1}", "no entries", true},
    {"two lists", ST_TOC_ESTARGZ, "{\"version\":1,\"entries\":[],\"entries\":[]}", "or two", true},
    {"something behind it", ST_TOC_ESTARGZ, V "]}x", "JSON", true},
    {"an entry that is a number", ST_TOC_ESTARGZ, V "1]}", "no object", true},
    {"unknown type", ST_TOC_ESTARGZ, V "{\"name\":\"a\",\"type\":\"door\"}]}", "unknown type of entry", true},
    {"no name", ST_TOC_ESTARGZ, V "{\"type\":\"dir\"}]}", "without a name", true},
    {"link to nothing", ST_TOC_ESTARGZ, V "{\"name\":\"a\",\"type\":\"symlink\"}]}", "without a name or target", true},
    {"a name that was not UTF-8", ST_TOC_ESTARGZ, V "{\"name\":\"a\\ufffd\",\"type\":\"dir\"}]}", "not as in the tar",
     true},
    {"a NUL in a name", ST_TOC_ESTARGZ, V "{\"name\":\"a\\u0000b\",\"type\":\"dir\"}]}", "not as in the tar", true},
    {"negative size", ST_TOC_ESTARGZ, V REG("a", "-5", "\"offset\":100,\"digest\":\"" D "\"") "]}", "negative", true},
    {"huge size", ST_TOC_ESTARGZ, V REG("a", "9223372036854775808", "\"offset\":100") "]}", "too large", true},
    {"a size with a fraction", ST_TOC_ESTARGZ, V REG("a", "5.5", "\"offset\":100") "]}", "no whole", true},
    {"negative offset", ST_TOC_ESTARGZ, V REG("a", "5", "\"offset\":-1") "]}", "negative", true},
    {"an offset behind the end", ST_TOC_ESTARGZ, V REG("a", "5", "\"offset\":1000,\"digest\":\"" D "\"") "]}",
     "where none can be", true},
    {"no offset", ST_TOC_ESTARGZ, V REG("a", "5", "\"digest\":\"" D "\"") "]}", "where none can be", true},
    {"chunks that overlap", ST_TOC_ESTARGZ,
     V REG("a", "5", "\"offset\":100,\"digest\":\"" D "\"") "," REG("b", "5",
                                                                    "\"offset\":100,\"digest\":\"" D "\"") "]}",
     "where none can be", true},
    {"chunks that go back", ST_TOC_ZSTD_CHUNKED,
     V REG("a", "5", "\"offset\":100,\"endOffset\":200,\"digest\":\"" D "\"") "," REG(
         "b", "5", "\"offset\":90,\"endOffset\":95,\"digest\":\"" D "\"") "]}",
     "where none can be", true},
    {"a chunk within another", ST_TOC_ESTARGZ,
     V REG("a", "5", "\"offset\":100,\"innerOffset\":10,\"digest\":\"" D "\"") "," REG(
         "b", "5", "\"offset\":100,\"innerOffset\":12,\"digest\":\"" D "\"") "]}",
     "where none can be", true},
    {"no digest", ST_TOC_ESTARGZ, V REG("a", "5", "\"offset\":100") "]}", "no SHA-256", true},
    {"SHA-512", ST_TOC_ESTARGZ, V REG("a", "5", "\"offset\":100,\"digest\":\"sha512:00\"") "]}", "no SHA-256", true},
    {"a file's digest for one of its chunks", ST_TOC_ESTARGZ,
     V REG("a", "5", "\"offset\":100,\"chunkSize\":2,\"digest\":\"" D "\"") "]}", "no SHA-256", true},
    {"a gap in a file", ST_TOC_ESTARGZ,
     V REG("a", "9", "\"offset\":100,\"chunkSize\":2,\"chunkDigest\":\"" D "\"") "," CHUNK(
         "a", "\"offset\":200,\"chunkOffset\":4,\"chunkDigest\":\"" D "\"") "]}",
     "do not make up", true},
    {"the end of a file is missing", ST_TOC_ESTARGZ,
     V REG("a", "9", "\"offset\":100,\"chunkSize\":2,\"chunkDigest\":\"" D "\"") "]}", "do not make up", true},
    {"more than the file", ST_TOC_ESTARGZ,
     V REG("a", "9", "\"offset\":100,\"chunkSize\":10,\"chunkDigest\":\"" D "\"") "]}", "do not make up", true},
    {"a chunk of no file", ST_TOC_ESTARGZ, V CHUNK("a", "\"offset\":100,\"chunkDigest\":\"" D "\"") "]}", "of no file",
     true},
    {"a chunk of another file", ST_TOC_ESTARGZ,
     V REG("a", "9", "\"offset\":100,\"chunkSize\":2,\"chunkDigest\":\"" D "\"") "," CHUNK(
         "b", "\"offset\":200,\"chunkOffset\":2,\"chunkDigest\":\"" D "\"") "]}",
     "of another file", true},
    {"a chunk of a directory", ST_TOC_ESTARGZ,
     V "{\"name\":\"a\",\"type\":\"dir\"}," CHUNK("a", "\"offset\":100,\"chunkDigest\":\"" D "\"") "]}",
     "do not make up", true},
    {"a file that ends before it begins", ST_TOC_ZSTD_CHUNKED,
     V REG("a", "5", "\"offset\":100,\"endOffset\":100,\"digest\":\"" D "\"") "]}", "ends where it cannot", true},
    {"a file that ends behind the end", ST_TOC_ZSTD_CHUNKED,
     V REG("a", "5", "\"offset\":100,\"endOffset\":1001,\"digest\":\"" D "\"") "]}", "ends where it cannot", true},
    {"an unknown type of chunk", ST_TOC_ZSTD_CHUNKED,
     V REG("a", "5", "\"offset\":100,\"endOffset\":200,\"chunkType\":\"ones\",\"digest\":\"" D "\"") "]}",
     "unknown type of chunk", true},
};

static struct st_buf describe(struct st_mem *mem, const struct st_toc *t)
{
    struct st_buf b;
    st_buf_init(&b, mem);
    for (size_t i = 0; i < t->n_files; i++)
        st_buf_fmt(&b, NULL, ST_SV_FMT " %d %llu %zu;", ST_SV_ARG(t->files[i].path), (int)t->files[i].type,
                   (unsigned long long)t->files[i].size, t->files[i].n);
    for (size_t i = 0; i < t->n_chunks; i++) {
        const struct st_toc_chunk *c = &t->chunks[i];
        st_buf_fmt(&b, NULL, "%llu-%llu+%llu@%llu:%llu%s;", (unsigned long long)c->offset, (unsigned long long)c->end,
                   (unsigned long long)c->inner, (unsigned long long)c->at, (unsigned long long)c->size,
                   c->zeros ? "z" : "");
    }
    st_buf_addc(&b, '\0', NULL);
    return b;
}

static void test_toc_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct st_mem mem;
        struct st_toc *t = NULL;
        struct st_err err = {0};
        st_mem_init(&mem, 1 << 20, -1);
        int rc = st_toc_parse(&mem, cases[i].kind, st_sv_of(cases[i].json), END, &t, &err);
        if (cases[i].refused) {
            TAP_OK(rc && err.code == ST_E_FORMAT && strstr(err.text, cases[i].want), "refused: %s: %s", cases[i].name,
                   rc ? err.text : "accepted");
        } else {
            struct st_buf b;
            st_buf_init(&b, &mem);
            if (rc == 0)
                b = describe(&mem, t);
            TAP_OK(rc == 0 && strcmp(b.ptr, cases[i].want) == 0, "%s: %s", cases[i].name, rc ? err.text : b.ptr);
            st_buf_release(&b);
        }
        st_toc_free(t);
        TAP_OK(mem.used == 0, "nothing is left behind");
        st_mem_release(&mem);
    }
}

// Tables that the formats' own tools made, of one layer (tests/fixtures/toc/README).
static const struct {
    const char *name;
    enum st_toc_kind kind;
    uint64_t end;
    const char *want;
} fixtures[] = {
    {"estargz.json", ST_TOC_ESTARGZ, 3943,
     ".no.prefetch.landmark 0 1 1;etc 5 0 0;etc/os-release 0 10 1;usr/bin/tool 0 3000 3;"
     "usr/bin/other 1 0 0;lib 2 0 0;empty 0 0 0;var/zeros 0 5001 5;opt/ä b 0 1 1;90-203+0@0:1;"
     "203-306+0@0:10;306-1363+0@0:1024;1363-2420+0@1024:1024;2420-3591+0@2048:952;"
     "3591-3628+0@0:1024;3628-3665+0@1024:1024;3665-3702+0@2048:1024;3702-3739+0@3072:1024;"
     "3739-3913+0@4096:905;3913-3943+0@0:1;"},
    {"estargz-members.json", ST_TOC_ESTARGZ, 3587,
     ".no.prefetch.landmark 0 1 1;etc 5 0 0;etc/os-release 0 10 1;usr/bin/tool 0 3000 3;"
     "usr/bin/other 1 0 0;lib 2 0 0;empty 0 0 0;var/zeros 0 5001 5;opt/ä b 0 1 1;90-3587+0@0:1;"
     "90-3587+1536@0:10;90-3587+2560@0:1024;90-3587+3584@1024:1024;90-3587+4608@2048:952;"
     "90-3587+7680@0:1024;90-3587+8704@1024:1024;90-3587+9728@2048:1024;90-3587+10752@3072:1024;"
     "90-3587+11776@4096:905;90-3587+14336@0:1;"},
    {"zstd-chunked.json", ST_TOC_ZSTD_CHUNKED, 3598,
     "etc 5 0 0;etc/os-release 0 10 1;usr/bin/tool 0 3000 1;usr/bin/other 1 0 0;lib 2 0 0;"
     "empty 0 0 0;var/zeros 0 5001 2;opt/ä b 0 1 1;103-126+0@0:10;214-3228+0@0:3000;"
     "3377-3392+0@0:5000z;3392-3406+0@5000:1;3550-3564+0@0:1;"},
};

static struct st_sv load(const char *name, char *buf, size_t n)
{
    char path[4096];
    const char *tests = getenv("ST_TESTS");
    snprintf(path, sizeof path, "%s/fixtures/toc/%s", tests ? tests : "tests", name);
    FILE *f = fopen(path, "r");
    size_t k = f ? fread(buf, 1, n, f) : 0;
    if (f)
        fclose(f);
    return st_sv_mem(buf, k);
}

static void test_toc_of_tools(void)
{
    static char text[16384];
    for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++) {
        struct st_mem mem;
        struct st_toc *t = NULL;
        struct st_err err = {0};
        st_mem_init(&mem, 1 << 20, -1);
        int rc =
            st_toc_parse(&mem, fixtures[i].kind, load(fixtures[i].name, text, sizeof text), fixtures[i].end, &t, &err);
        struct st_buf b;
        st_buf_init(&b, &mem);
        if (rc == 0)
            b = describe(&mem, t);
        TAP_OK(rc == 0 && strcmp(b.ptr, fixtures[i].want) == 0, "%s: %s", fixtures[i].name, rc ? err.text : b.ptr);
        st_buf_release(&b);
        st_toc_free(t);
        st_mem_release(&mem);
    }
}

static void test_toc_deep(void)
{
    struct st_mem mem;
    struct st_buf b;
    struct st_toc *t = NULL;
    struct st_err err = {0};
    st_mem_init(&mem, 4 << 20, -1);
    st_buf_init(&b, &mem);
    st_buf_add(&b, ST_SV("{\"version\":1,\"entries\":[{\"xattrs\":"), NULL);
    for (int i = 0; i < 100000; i++)
        st_buf_addc(&b, '[', NULL);
    int rc = st_toc_parse(&mem, ST_TOC_ESTARGZ, st_buf_sv(&b), END, &t, &err);
    TAP_OK(rc && err.code == ST_E_LIMIT, "100,000 deep: %s", err.text);
    st_buf_release(&b);
    st_mem_release(&mem);
}

// Every allocation refused in turn.
static void test_toc_memory(void)
{
    bool good = true;
    for (uint64_t n = 1;; n++) {
        struct st_mem mem;
        struct st_toc *t = NULL;
        struct st_err err = {0};
        st_mem_init(&mem, 1 << 20, -1);
        mem.fail_at = n;
        int rc = st_toc_parse(&mem, cases[0].kind, st_sv_of(cases[0].json), END, &t, &err);
        bool refused = mem.requests >= n;
        good &= refused ? rc && err.code == ST_E_NOMEM : rc == 0;
        st_toc_free(t);
        good &= mem.used == 0;
        st_mem_release(&mem);
        if (!refused)
            break;
    }
    TAP_OK(good, "memory that is refused is an error, and nothing is left behind");
}

static void test_toc_annotations(void)
{
    static const struct {
        const char *estargz, *checksum, *position;
        enum st_toc_kind kind;
    } a[] = {
        {D, "", "", ST_TOC_ESTARGZ},
        {"", D, "100:20:300:1", ST_TOC_ZSTD_CHUNKED},
        {"", D, "", ST_TOC_NONE},
        {"", "", "100:20:300:1", ST_TOC_NONE},
        {"", D, "100:20:300:2", ST_TOC_NONE},
        {"", D, "100:20:300:1:5", ST_TOC_NONE},
        {"", D, "100:20:300", ST_TOC_NONE},
        {"", D, "100:-20:300:1", ST_TOC_NONE},
        {"", D, "100:0:300:1", ST_TOC_NONE},
        {"", D, "9223372036854775807:9223372036854775807:300:1", ST_TOC_NONE},
        {"sha256:0123", "", "", ST_TOC_NONE},
        {"sha512:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "", "", ST_TOC_NONE},
        {"sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef", "", "", ST_TOC_NONE},
    };
    for (size_t i = 0; i < sizeof a / sizeof *a; i++) {
        struct st_toc_place p =
            st_toc_annotations(st_sv_of(a[i].estargz), st_sv_of(a[i].checksum), st_sv_of(a[i].position));
        TAP_OK(p.kind == a[i].kind && (p.kind == ST_TOC_NONE || strcmp(p.digest, D + 7) == 0), "annotations %s %s %s",
               a[i].estargz, a[i].checksum, a[i].position);
    }
    struct st_toc_place p = st_toc_annotations(ST_SV(""), ST_SV(D), ST_SV("100:20:300:1"));
    TAP_OK(p.offset == 100 && p.length == 20 && p.unpacked == 300, "the place of the table");
}

static void test_toc_footer(void)
{
    char f[ST_TOC_FOOTER] = "\x1f\x8b\x08\x04\0\0\0\0\0\xff\x1a\0SG\x16\0"
                            "00000000000012abSTARGZ\x01\0\0\xff\xff";
    uint64_t at = 0;
    TAP_OK(st_toc_footer(st_sv_mem(f, sizeof f), &at) && at == 0x12ab, "the footer's offset: %llx",
           (unsigned long long)at);
    TAP_OK(!st_toc_footer(st_sv_mem(f, sizeof f - 1), &at), "a short one");
    f[16] = '-';
    TAP_OK(!st_toc_footer(st_sv_mem(f, sizeof f), &at), "no number");
    f[16] = 'f';
    TAP_OK(!st_toc_footer(st_sv_mem(f, sizeof f), &at), "an offset beyond 2^63");
    f[16] = '0';
    f[12] = 'X';
    TAP_OK(!st_toc_footer(st_sv_mem(f, sizeof f), &at), "another extra field");
}

static int write_corpus(const char *dir)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/%s", dir, cases[i].name);
        for (char *p = path + strlen(dir) + 1; *p; p++)
            *p = strchr(" ,:'", *p) ? '-' : *p;
        FILE *f = fopen(path, "w");
        if (!f)
            return 1;
        fprintf(f, "%c%c%s", cases[i].kind == ST_TOC_ESTARGZ ? '1' : '0', 1, cases[i].json);
        fclose(f);
    }
    for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++) {
        static char text[16384];
        char path[300];
        snprintf(path, sizeof path, "%s/%s", dir, fixtures[i].name);
        FILE *f = fopen(path, "w");
        if (!f)
            return 1;
        fprintf(f, "%c%c" ST_SV_FMT, fixtures[i].kind == ST_TOC_ESTARGZ ? '1' : '0', 1,
                ST_SV_ARG(load(fixtures[i].name, text, sizeof text)));
        fclose(f);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--write-corpus") == 0)
        return write_corpus(argv[2]);
    test_toc_cases();
    test_toc_of_tools();
    test_toc_deep();
    test_toc_memory();
    test_toc_annotations();
    test_toc_footer();
    return tap_done();
}
