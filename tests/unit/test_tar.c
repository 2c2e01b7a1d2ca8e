// The tar reader: archives by GNU tar, bsdtar, cpio and Python with the lists that Python's tarfile gives
// (tests/fixtures/tar, made by tar_truth.py), and archives made here for what no tool writes.
//   test_tar --list FILE [PIECE] [runtime]   prints an archive's list, for tar_truth.py
#include "archive/tar.h"

#include "archive/tar_int.h"
#include "base/ckd.h"
#include "base/fd.h"
#include "chop.h"
#include "tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define BUDGET (16 << 20)

static struct st_sv load(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t n = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
    char *p = n < 0 ? NULL : malloc((size_t)n + 1);
    if (!p || st_fd_pread(fd, p, (size_t)n, 0) != n) {
        perror(path);
        exit(1);
    }
    close(fd);
    p[n] = '\0';
    return (struct st_sv){p, (size_t)n};
}

static void put_escaped(FILE *f, struct st_sv s, const char *empty)
{
    if (s.len == 0)
        fputs(empty, f);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        fprintf(f, c > 0x20 && c < 0x7f && c != '\\' ? "%c" : "\\x%02x", c);
    }
}

static int put_entry(FILE *f, struct st_mem *mem, struct st_tar *t, const struct st_tar_entry *e, bool as_stream,
                     struct st_err *err)
{
    static const char *const names[] = {"file", "hardlink", "symlink", "char", "block", "dir", "fifo"};
    char hex[ST_DIGEST_HEX + 1] = "-";
    uint64_t n = 0;
    int r = 0;
    if (e->type == ST_TAR_FILE) {
        struct st_sha256 *d = st_sha256_new(mem, err);
        struct st_stream *s = d && as_stream ? st_tar_stream(mem, t, err) : NULL;
        struct st_sv run;
        r = !d || (as_stream && !s) ? -1 : 1;
        while (r > 0 && (r = s ? st_stream_fill(s, err) : st_tar_data(t, &run, err)) > 0) {
            if (s) {
                run = st_sv_mem(s->cur, (size_t)(s->end - s->cur));
                s->cur = s->end;
            }
            st_sha256_add(d, run.ptr, run.len);
            n += run.len;
        }
        if (d)
            st_sha256_hex(d, hex);
        st_sha256_free(d);
        st_stream_free(s);
    }
    if (r < 0)
        return -1;
    fprintf(f, "%s %04o %" PRIu64 " %s ", names[e->type], (unsigned)e->mode, e->size, hex);
    put_escaped(f, e->path, ".");
    fputc(' ', f);
    put_escaped(f, e->link, "-");
    fputc('\n', f);
    return n == e->size ? 0 : st_err_set(err, ST_E_INTERNAL, "entry has other data than its size says");
}

struct how {
    size_t piece;
    bool runtime, as_stream, skip;
    uint64_t fail_at;
};

// The archive's list as text (to be freed); *ret_rc is 0 or -1 with err.
static char *list(struct st_sv in, struct how how, int *ret_rc, struct st_err *err)
{
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    struct st_mem mem;
    st_mem_init(&mem, BUDGET, -1);
    mem.fail_at = how.fail_at;
    st_err_clear(err);
    struct st_stream *s = chop_new(in, how.piece);
    struct st_tar *t = st_tar_new(&mem, s, err);
    struct st_tar_entry e;
    int r = -1;
    if (t && how.runtime)
        st_tar_as_runtime(t);
    while (t && (r = st_tar_next(t, &e, err)) > 0)
        if (!how.skip && put_entry(f, &mem, t, &e, how.as_stream, err)) {
            r = -1;
            break;
        }
    if (r == 0 && st_tar_next(t, &e, err) != 0)
        abort(); // the end stays the end
    st_tar_free(t);
    st_stream_free(s);
    if (mem.used)
        abort();
    if (how.fail_at && mem.requests < how.fail_at)
        r = 1;
    st_mem_release(&mem);
    fclose(f);
    *ret_rc = r;
    return text;
}

// ---- fixtures -------------------------------------------------------------------------------------------

static void test_cut(const char *name, struct st_sv in, const char *want)
{
    struct st_err err;
    unsigned bad = 0;
    int rc;
    size_t step = in.len > 40000 ? 97 : 7;
    for (size_t n = 0; n < in.len; n += n % 512 < 3 || n % 512 > 508 ? 1 : step) {
        char *got = list(st_sv_sub(in, 0, n), (struct how){.piece = 5000}, &rc, &err);
        bad += strncmp(got, want, strlen(got)) != 0 ||
               (rc < 0 && (err.code != ST_E_CORRUPT || !err.has_offset || err.offset > n));
        free(got);
    }
    TAP_OK(bad == 0, "%s: cut everywhere", name);
}

static void test_fixture(const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    struct st_sv in = load(path);
    snprintf(path + strlen(path) - 3, 5, "list");
    struct st_sv want = load(path);
    static const size_t pieces[] = {1 << 24, 1, 511, 512, 513, 1536, 10000};
    struct st_err err;
    unsigned good = 0;
    int rc;
    for (size_t i = 0; i < ST_LEN(pieces); i++)
        for (int how = 0; how < 4; how++) {
            char *got = list(in, (struct how){.piece = pieces[i], .as_stream = how & 1, .runtime = how & 2}, &rc, &err);
            good += rc == 0 && strcmp(got, want.ptr) == 0;
            free(got);
        }
    TAP_OK(good == 4 * ST_LEN(pieces), "%s: list, in pieces of any size", name);
    free(list(in, (struct how){.piece = 700, .skip = true}, &rc, &err));
    TAP_OK(rc == 0, "%s: data passed over", name);
    test_cut(name, in, want.ptr);
    unsigned bad = 0, n = 0;
    for (rc = -1; rc < 0 && n < 1000;) {
        free(list(in, (struct how){.piece = 700, .fail_at = ++n}, &rc, &err));
        bad += rc == 0 || (rc < 0 && err.code != ST_E_NOMEM);
    }
    TAP_OK(bad == 0 && n > 1 && n < 1000, "%s: each of %u allocations refused", name, n - 1);
    free((char *)in.ptr);
    free((char *)want.ptr);
}

static void test_fixtures(void)
{
    const char *tests = getenv("ST_TESTS");
    char dir[4096];
    snprintf(dir, sizeof dir, "%s/fixtures/tar", tests ? tests : "tests");
    struct dirent **names;
    int n = scandir(dir, &names, NULL, alphasort), ran = 0;
    for (int i = 0; i < n; i++) {
        if (st_sv_ends(st_sv_of(names[i]->d_name), ST_SV(".tar"))) {
            test_fixture(dir, names[i]->d_name);
            ran++;
        }
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    TAP_OK(ran > 10, "fixtures are there");
}

// ---- archives made here -----------------------------------------------------------------------------------

struct made {
    char *p;
    size_t len;
};

static void add(struct made *m, const void *p, size_t n)
{
    size_t padded = (n + 511) & ~(size_t)511;
    m->p = realloc(m->p, m->len + padded + 1);
    if (!m->p)
        abort();
    memset(m->p + m->len, 0, padded);
    if (n)
        memcpy(m->p + m->len, p, n);
    m->len += padded;
}

static void sign(struct tar_header *h, bool as_signed)
{
    memset(h->chksum, ' ', 8);
    int sum = 0;
    for (size_t i = 0; i < 512; i++)
        sum += as_signed ? ((const signed char *)h)[i] : ((const unsigned char *)h)[i];
    snprintf(h->chksum, 8, "%06o", (unsigned)sum);
}

static struct tar_header header(const char *name, char type, uint64_t size)
{
    struct tar_header h;
    memset(&h, 0, sizeof h);
    memcpy(h.name, name, strlen(name));
    memcpy(h.mode, "0000644", 7);
    snprintf(h.size, 12, "%011" PRIo64, size);
    h.type = type;
    memcpy(h.magic, "ustar", 6);
    memcpy(h.version, "00", 2);
    return h;
}

static void put(struct made *m, struct tar_header h)
{
    sign(&h, false);
    add(m, &h, sizeof h);
}

static void put_data(struct made *m, const char *name, char type, const void *data, size_t n)
{
    put(m, header(name, type, n));
    add(m, data, n);
}

static void put_pax(struct made *m, char type, const char *records)
{
    put_data(m, "PaxHeader", type, records, strlen(records));
}

#define RECORDS_END ((const char *)NULL)
// Records "key=value", up to RECORDS_END; the lengths are put in front.
__attribute__((sentinel)) static void put_records(struct made *m, int type, ...)
{
    static char text[ST_TAR_PAX_MAX];
    size_t n = 0;
    va_list ap;
    va_start(ap, type);
    for (const char *r; (r = va_arg(ap, const char *)) != NULL;) {
        size_t len = strlen(r) + 3; // blank, newline, one digit
        for (size_t digits = 1, ten = 10; len >= ten; ten *= 10, digits++)
            len++;
        n += (size_t)snprintf(text + n, sizeof text - n, "%zu %s\n", len, r);
    }
    va_end(ap);
    put_data(m, "PaxHeader", (char)type, text, n);
}

static void put_end(struct made *m)
{
    char zero[1024] = {0};
    add(m, zero, sizeof zero);
}

// "type:path[>link]:size " for every entry, then the outcome; also checks that pieces do not matter.
static const char *brief(struct made *m, bool runtime, struct st_err *err)
{
    static char text[2][4096];
    for (int k = 0; k < 2; k++) {
        struct st_mem mem;
        st_mem_init(&mem, BUDGET, -1);
        struct st_stream *s = chop_new((struct st_sv){m->p, m->len}, k ? 200 : m->len);
        struct st_tar *t = st_tar_new(&mem, s, NULL);
        if (runtime)
            st_tar_as_runtime(t);
        struct st_tar_entry e;
        size_t n = 0;
        int r;
        while ((r = st_tar_next(t, &e, err)) > 0 && n < 4000)
            n += (size_t)snprintf(text[k] + n, sizeof text[k] - n, "%c:" ST_SV_FMT "%s" ST_SV_FMT ":%" PRIu64 " ",
                                  "fhscbdp"[e.type], ST_SV_ARG(st_sv_sub(e.path, 0, 40)), e.link.len ? ">" : "",
                                  ST_SV_ARG(e.link), e.size);
        snprintf(text[k] + n, sizeof text[k] - n, "%s", r < 0 ? st_err_word(err->code) : "end");
        st_tar_free(t);
        st_stream_free(s);
        if (mem.used)
            abort();
        st_mem_release(&mem);
    }
    return strcmp(text[0], text[1]) == 0 ? text[0] : "pieces matter";
}

static void is(struct made *m, const char *want, const char *what)
{
    struct st_err err;
    const char *got = brief(m, false, &err);
    if (!TAP_OK(strcmp(got, want) == 0, "%s", what))
        printf("# got %s\n# want %s\n", got, want);
    free(m->p);
    *m = (struct made){0};
}

static void test_types(void)
{
    struct made m = {0};
    struct tar_header h = header("d/", '\0', 0);
    memset(h.magic, 0, 6);
    put(&m, h);
    put_data(&m, "f/", '0', "data", 4); // Go, and so the runtimes: a file
    put_data(&m, "c", '7', "data", 4);
    put_data(&m, "u", 'Z', "data", 4);
    put_data(&m, "dump", 'D', "Yname\0", 6);
    put_data(&m, "label", 'V', "", 0);
    put_data(&m, "names", 'N', "Rename a to b\n", 14);
    h = header("dev", '3', 77); // the size of these means nothing
    put(&m, h);
    put(&m, header("dir", '5', 99));
    put(&m, header("p", '6', 1));
    h = header("s", '2', 512);
    memcpy(h.link, "../to//./x/", 11);
    put(&m, h);
    h = header("l", '1', 0);
    memcpy(h.link, "./to/../x/", 10);
    put(&m, h);
    put_end(&m);
    is(&m, "d:d:0 f:f:4 f:c:4 f:u:4 d:dump:0 c:dev:0 d:dir:0 p:p:0 s:s>../to//./x/:0 h:l>x:0 end", "every type flag");
    put_data(&m, "rest", 'M', "data", 4);
    is(&m, "corrupt", "continuation from another volume");
}

static void test_names(void)
{
    struct made m = {0};
    struct tar_header h = header("name", '0', 0);
    memset(h.name, 'n', 100); // no NUL behind it
    memcpy(h.prefix, "pre", 3);
    put(&m, h);
    h = header("star", '0', 0);
    memset(h.prefix, 'p', 20);
    memcpy(h.prefix + 131, "01234567654", 11); // times of star archives
    memcpy(h.pad + 8, "tar", 4);
    put(&m, h);
    h = header("gnu", '0', 0);
    memcpy(h.magic, "ustar ", 6);
    memcpy(h.version, " ", 2);
    memcpy(h.prefix, "14000000000", 11); // times of GNU archives
    put(&m, h);
    memcpy(h.prefix, "usr/lib/old/docker", 18); // Go before 1.8
    put(&m, h);
    put_data(&m, "././@LongLink", 'L', "/abs//./a/../b/\0junk", 20);
    put_pax(&m, 'x', "17 path=pax/name\n");
    put(&m, header("x", '0', 0));
    put(&m, header("../../../etc/..", '5', 0));
    put(&m, header("a/./b", '0', 0));
    is(&m,
       "f:pre/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn:0 f:pppppppppppppppppppp/star:0 f:gnu:0 f:usr/lib/old/docker/gnu:0 "
       "f:abs/b:0 d::0 f:a/b:0 end",
       "prefixes and long names");
    char *name = malloc(ST_TAR_NAME_MAX + 1);
    if (!name)
        abort();
    memset(name, 'x', ST_TAR_NAME_MAX + 1);
    put_data(&m, "L", 'L', name, ST_TAR_NAME_MAX);
    put(&m, header("short", '0', 0));
    is(&m, "f:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx:0 end", "longest name");
    put_data(&m, "L", 'L', name, ST_TAR_NAME_MAX + 1);
    put(&m, header("short", '0', 0));
    is(&m, "limit", "longer than the longest name");
    free(name);
    put(&m, header("x", 'x', ST_TAR_PAX_MAX + 1));
    is(&m, "limit", "extended header too large");
    put(&m, header("L", 'L', 500));
    is(&m, "corrupt", "extended header cut off");
    put_pax(&m, 'x', "17 path=pax/name\n");
    is(&m, "corrupt", "nothing behind an extended header");
}

static void test_pax(void)
{
    struct made m = {0};
    put_records(&m, 'g', "path=global/one", "size=4", RECORDS_END);
    put_data(&m, "a", '0', "data", 4);
    put_records(&m, 'x', "path=local", RECORDS_END);
    put_data(&m, "b", '0', "data", 4);
    put_records(&m, 'x', "path=", "comment=with = and\nnewline", RECORDS_END);
    put(&m, header("c", '5', 0));
    put_records(&m, 'g', "path=", "size=", RECORDS_END);
    put_records(&m, 'x', "path=x/replaced\n", RECORDS_END);
    put_records(&m, 'x', "linkpath=a/../b", "hdrcharset=BINARY", RECORDS_END);
    struct tar_header h = header("d", '1', 0);
    put(&m, h);
    put(&m, header("e", '0', 0));
    struct st_err err;
    // c: a '5' entry has no data, so the global size does nothing
    const char *runtime = "f:a:4 f:local:4 d:c:0 h:d>b:0 f:e:0 end", *got = brief(&m, true, &err);
    TAP_OK(strcmp(got, runtime) == 0, "pax as runtimes read it: global headers change nothing (%s)", got);
    is(&m, "f:global/one:4 f:local:4 d:c:0 h:d>b:0 f:e:0 end", "pax, global and local");
    static const char *const bad[] = {"x",          "5",           "17 path=a\n",  "9 path=a",
                                      "3 \n",       "0 path=a\n",  "-9 path=a\n",  "99999999 path=a\n",
                                      "8 path a\n", "10 size=x\n", "11 size=-1\n", "29 size=99999999999999999999\n"};
    unsigned good = 0;
    for (size_t i = 0; i < ST_LEN(bad); i++) {
        struct made b = {0};
        put_pax(&b, 'x', bad[i]);
        put(&b, header("f", '0', 0));
        good += strcmp(brief(&b, false, &err), "corrupt") == 0;
        free(b.p);
    }
    TAP_OK(good == ST_LEN(bad), "bad records");
}

static void test_numbers(void)
{
    struct made m = {0};
    struct tar_header h = header("big", '0', 0);
    memcpy(h.size, "\x80\0\0\0\0\0\0\0\0\0\0\4", 12);
    memcpy(h.mode, "\x80\0\0\0\0\0\1\xed", 8);
    put(&m, h);
    add(&m, "data", 4);
    h = header("blank", '0', 0);
    memcpy(h.size, "          4 ", 12);
    put(&m, h);
    add(&m, "data", 4);
    h = header("empty", '0', 0);
    memset(h.size, 0, 12);
    memset(h.mode, ' ', 8);
    put(&m, h);
    h = header("\xe4\xf6\xfc signed", '0', 0);
    sign(&h, true);
    add(&m, &h, 512);
    is(&m, "f:big:4 f:blank:4 f:empty:0 f:\xe4\xf6\xfc signed:0 end", "numbers and both checksums");
    static const struct {
        const char *what;
        char size[13];
    } bad[] = {{"negative", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"},
               {"over 2^63", "\x80\0\0\0\x80\0\0\0\0\0\0"},
               {"8 EiB less one", "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"},
               {"not octal", "00000000008"},
               {"letters", "0000000x000"}};
    for (size_t i = 0; i < ST_LEN(bad); i++) {
        h = header("f", '0', 0);
        memcpy(h.size, bad[i].size, 12);
        put(&m, h);
        is(&m, "corrupt", bad[i].what);
    }
    h = header("f", '0', 0);
    memcpy(h.size, "\x80\0\0\0\0\0\0\0\x7f\xff\xff\xff", 12);
    put(&m, h);
    is(&m, "f:f:2147483647 corrupt", "data that is not there");
    h = header("f", '0', 0);
    memset(h.mode, '\xff', 8);
    put(&m, h);
    is(&m, "corrupt", "negative mode");
    put(&m, header("f", '0', 0));
    put(&m, header("g", '0', 0));
    m.p[512 + 3] ^= 1;
    struct st_err err;
    const char *got = brief(&m, false, &err);
    TAP_OK(strcmp(got, "f:f:0 corrupt") == 0 && err.has_offset && err.offset == 512, "wrong checksum, with its offset");
    free(m.p);
}

static void test_end(void)
{
    struct made m = {0};
    struct st_err err;
    put(&m, header("a", '0', 0));
    put_end(&m);
    put_end(&m);
    put(&m, header("b", '0', 0));
    put_end(&m);
    add(&m, "garbage", 7);
    TAP_OK(strcmp(brief(&m, true, &err), "f:a:0 end") == 0, "runtimes stop at the first end");
    is(&m, "f:a:0 f:b:0 end", "concatenated archives, then garbage");
    put_data(&m, "a", '0', "data", 4);
    m.len -= 508;
    is(&m, "f:a:4 end", "padding cut off");
    put_data(&m, "a", '0', "data", 4);
    m.len -= 509;
    is(&m, "f:a:4 corrupt", "data cut off");
    put(&m, header("a", '0', 0));
    m.len -= 1;
    is(&m, "corrupt", "header cut off");
    put(&m, header("a", '0', 0));
    put_end(&m);
    m.len -= 300;
    is(&m, "f:a:0 end", "end marker cut off");
    m = (struct made){malloc(1), 0};
    is(&m, "end", "empty");
    put_end(&m);
    struct tar_header h = header("v7", '0', 0);
    memset(h.magic, 0, 6);
    put(&m, h);
    is(&m, "end", "v7 header behind the end is garbage");
}

static void test_hard_links(void)
{
    struct made m = {0};
    char data[600];
    memset(data, 'x', sizeof data);
    put_data(&m, "with", '1', data, sizeof data); // pax -o linkdata
    put(&m, header("without", '1', 600));
    put(&m, header("next", '0', 0));
    put_data(&m, "small", '1', data, 100);
    put(&m, header("last", '1', 600));
    put_end(&m);
    is(&m, "h:with:0 h:without:0 f:next:0 h:small:0 h:last:0 end", "hard links with and without data");
    struct tar_header h = header("gnu", '1', 600);
    memcpy(h.magic, "ustar ", 6);
    memcpy(h.version, " ", 2);
    put(&m, h);
    put(&m, header("next", '0', 0));
    is(&m, "h:gnu:0 f:next:0 end", "GNU hard links have no data");
    put(&m, header("end", '1', 600));
    is(&m, "h:end:0 end", "hard link at the end");
    put_data(&m, "cut", '1', data, sizeof data);
    m.len -= 512;
    is(&m, "h:cut:0 corrupt", "data of a hard link cut off");
}

static void test_sparse(void)
{
    struct made m = {0};
    put_records(&m, 'x', "GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.realsize=4096", "GNU.sparse.name=abc",
                RECORDS_END);
    char data[1024] = "1\n100\n5\n";
    memcpy(data + 512, "hello", 5);
    put_data(&m, "f", '0', data, 517);
    put_records(&m, 'x', "GNU.sparse.major=9", "GNU.sparse.minor=9", RECORDS_END);
    put_data(&m, "unknown", '0', "data", 4);
    is(&m, "f:abc:4096 f:unknown:4 end", "pax 1.0, and a version to come");
    static const struct {
        const char *what, *map, *size;
    } bad[] = {
        {"out of order", "GNU.sparse.map=8,2,4,2", "GNU.sparse.size=100"},
        {"beyond the size", "GNU.sparse.map=99,2,", "GNU.sparse.size=100"},
        {"more than the data", "GNU.sparse.map=0,50", "GNU.sparse.size=100"},
        {"odd", "GNU.sparse.map=0,1,2", "GNU.sparse.size=100"},
        {"overflow", "GNU.sparse.map=9223372036854775807,9223372036854775807", "GNU.sparse.size=100"},
        {"no offset", "GNU.sparse.numbytes=1", "GNU.sparse.size=100"},
    };
    for (size_t i = 0; i < ST_LEN(bad); i++) {
        put_records(&m, 'x', bad[i].map, bad[i].size, RECORDS_END);
        put_data(&m, "f", '0', "data", 4);
        is(&m, "corrupt", bad[i].what);
    }
    static const char *const maps[] = {"1\n100\n", "x\n", "\n", "99999999999999999999999\n", "3\n1\n1\n0\n1\n9\n1\n"};
    unsigned good = 0;
    for (size_t i = 0; i < ST_LEN(maps); i++) {
        put_records(&m, 'x', "GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.realsize=4096", RECORDS_END);
        put_data(&m, "f", '0', maps[i], strlen(maps[i]));
        struct st_err err;
        good += strcmp(brief(&m, false, &err), "corrupt") == 0;
        free(m.p);
        m = (struct made){0};
    }
    TAP_OK(good == ST_LEN(maps), "bad maps in the data");
    char *map = malloc(1 << 20);
    if (!map)
        abort();
    size_t n = (size_t)snprintf(map, 1 << 20, "GNU.sparse.map=");
    for (int i = 0; i <= ST_TAR_SPARSE_MAX; i++)
        n += (size_t)snprintf(map + n, (1 << 20) - n, "%s%d,0", i ? "," : "", i);
    put_records(&m, 'x', map, RECORDS_END);
    put_data(&m, "f", '0', "data", 4);
    is(&m, "limit", "too many segments");
    free(map);
    put_data(&m, "f", 'S', "data", 4);
    is(&m, "corrupt", "old sparse format outside of GNU archives");
}

static void test_normalise(void)
{
    static const struct {
        struct st_sv in, out;
    } rows[] = {
        {ST_SV_INIT(""), ST_SV_INIT("")},
        {ST_SV_INIT("/"), ST_SV_INIT("")},
        {ST_SV_INIT("."), ST_SV_INIT("")},
        {ST_SV_INIT("./"), ST_SV_INIT("")},
        {ST_SV_INIT(".."), ST_SV_INIT("")},
        {ST_SV_INIT("../../a"), ST_SV_INIT("a")},
        {ST_SV_INIT("etc/x"), ST_SV_INIT("etc/x")},
        {ST_SV_INIT("./etc/x"), ST_SV_INIT("etc/x")},
        {ST_SV_INIT("/etc/x"), ST_SV_INIT("etc/x")},
        {ST_SV_INIT("//etc///x//"), ST_SV_INIT("etc/x")},
        {ST_SV_INIT("a/./b/../c"), ST_SV_INIT("a/c")},
        {ST_SV_INIT("a/.."), ST_SV_INIT("")},
        {ST_SV_INIT("a/../../b"), ST_SV_INIT("b")},
        {ST_SV_INIT("a/b/../../c/"), ST_SV_INIT("c")},
        {ST_SV_INIT(".a/..b/...c/.wh..wh..opq"), ST_SV_INIT(".a/..b/...c/.wh..wh..opq")},
        {ST_SV_INIT("./usr/share/doc/long/enough/./for/words/.."), ST_SV_INIT("usr/share/doc/long/enough/for")},
        {ST_SV_INIT("./usr/share/doc/long/enough//for/words/"), ST_SV_INIT("usr/share/doc/long/enough/for/words")},
        {ST_SV_INIT("usr/share/doc/long/.hidden/..odd/words"), ST_SV_INIT("usr/share/doc/long/.hidden/..odd/words")},
        {ST_SV_INIT("a b/\xff\xfe\n"), ST_SV_INIT("a b/\xff\xfe\n")},
    };
    for (size_t i = 0; i < ST_LEN(rows); i++) {
        char *out = malloc(rows[i].in.len + 1);
        if (!out)
            abort();
        size_t n = st_path_normalise(rows[i].in, out);
        bool good = st_sv_eq((struct st_sv){out, n}, rows[i].out);
        if (rows[i].in.len)
            memcpy(out, rows[i].in.ptr, rows[i].in.len);
        n = st_path_normalise((struct st_sv){out, rows[i].in.len}, out);
        TAP_OK(good && st_sv_eq((struct st_sv){out, n}, rows[i].out), "path %s", rows[i].in.ptr);
        free(out);
    }
}

// In place a path is taken apart; to another place nearly all are copied by words. Both must say the same.
static void test_normalise_random(void)
{
    static const char letters[] = "//..ab\xffz";
    uint32_t seed = 1;
    bool ok = true;
    for (int round = 0; round < 200000 && ok; round++) {
        char in[64], out[64];
        size_t len = (seed = seed * 1664525 + 1013904223) >> 26;
        for (size_t i = 0; i < len; i++) { // mostly names, so that most are long enough to be copied
            seed = seed * 1664525 + 1013904223;
            in[i] = seed >> 30 ? 'x' : letters[seed >> 16 & 7];
        }
        char *exact = malloc(len + 1);
        if (!exact)
            abort();
        memcpy(exact, in, len);
        size_t n = st_path_normalise((struct st_sv){exact, len}, out);
        size_t m = st_path_normalise((struct st_sv){in, len}, in);
        ok = st_sv_eq((struct st_sv){out, n}, (struct st_sv){in, m});
        free(exact);
    }
    TAP_OK(ok, "paths copied by words and taken apart are the same");
}

// For tests/truth/tar_runtime.py: the archives on standard input, each behind its length, as runtimes read them.
static int lists(void)
{
    uint32_t n;
    while (fread(&n, sizeof n, 1, stdin) == 1) {
        char *p = malloc(n ? n : 1);
        if (!p || fread(p, 1, n, stdin) != n)
            return 1;
        struct st_err err;
        int rc;
        char *text = list(st_sv_mem(p, n), (struct how){.piece = n ? n : 1, .runtime = true}, &rc, &err);
        printf("%s%s%s\n", text, rc ? "refused: " : "end", rc ? err.text : "");
        free(text);
        free(p);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--lists") == 0)
        return lists();
    if (argc > 2 && strcmp(argv[1], "--list") == 0) {
        struct st_sv in = load(argv[2]);
        struct st_err err;
        int rc;
        size_t piece = argc > 3 ? (size_t)strtoul(argv[3], NULL, 10) : in.len;
        char *text = list(in, (struct how){.piece = piece, .runtime = argc > 4}, &rc, &err);
        fputs(text, stdout);
        if (rc)
            fprintf(stderr, "%s: %s at %" PRIu64 "\n", st_err_word(err.code), err.text, err.offset);
        free(text);
        free((char *)in.ptr);
        return rc != 0;
    }
    test_normalise();
    test_normalise_random();
    test_types();
    test_names();
    test_pax();
    test_numbers();
    test_end();
    test_hard_links();
    test_sparse();
    test_fixtures();
    return tap_done();
}
