// zip reader: members, end records, and directories that lie. Archives are made here, byte by byte.
#include "archive/zip.h"

#include "tap.h"

struct maker {
    unsigned char at[4096];
    size_t n;
    unsigned char dir[2048];
    size_t dir_n, members;
};

static void put(unsigned char *to, size_t *n, uint64_t v, unsigned width)
{
    for (unsigned i = 0; i < width; i++)
        to[(*n)++] = (unsigned char)(v >> 8 * i);
}

static void put_text(unsigned char *to, size_t *n, const char *s)
{
    memcpy(to + *n, s, strlen(s));
    *n += strlen(s);
}

// One stored member; `local` is its name in the local header, `offset` where the directory says it is (-1: right).
static void member(struct maker *m, const char *name, const char *local, const char *data, uint32_t crc, long offset)
{
    size_t at = m->n;
    const uint64_t head[][2] = {
        {0x04034b50, 4},    {20, 2}, {0, 2}, {0, 2}, {0, 4}, {crc, 4}, {strlen(data), 4}, {strlen(data), 4},
        {strlen(local), 2}, {0, 2}};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        put(m->at, &m->n, head[i][0], (unsigned)head[i][1]);
    put_text(m->at, &m->n, local);
    put_text(m->at, &m->n, data);
    const uint64_t entry[][2] = {{0x02014b50, 4},
                                 {20, 2},
                                 {20, 2},
                                 {0, 2},
                                 {0, 2},
                                 {0, 4},
                                 {crc, 4},
                                 {strlen(data), 4},
                                 {strlen(data), 4},
                                 {strlen(name), 2},
                                 {0, 2},
                                 {0, 2},
                                 {0, 2},
                                 {0, 2},
                                 {0, 4},
                                 {offset < 0 ? at : (size_t)offset, 4}};
    for (size_t i = 0; i < sizeof entry / sizeof *entry; i++)
        put(m->dir, &m->dir_n, entry[i][0], (unsigned)entry[i][1]);
    put_text(m->dir, &m->dir_n, name);
    m->members++;
}

static struct st_sv finish(struct maker *m, size_t promised, const char *comment, size_t comment_len)
{
    size_t start = m->n;
    memcpy(m->at + m->n, m->dir, m->dir_n);
    m->n += m->dir_n;
    const uint64_t end[][2] = {{0x06054b50, 4}, {0, 4},     {promised, 2},   {promised, 2},
                               {m->dir_n, 4},   {start, 4}, {comment_len, 2}};
    for (size_t i = 0; i < sizeof end / sizeof *end; i++)
        put(m->at, &m->n, end[i][0], (unsigned)end[i][1]);
    put_text(m->at, &m->n, comment);
    return st_sv_mem(m->at, m->n);
}

#define CRC_HELLO 0x3610a686u // of "hello"
#define CRC_ABC 0x352441c2u   // of "abc"

static enum st_err_code open_code(struct st_sv s)
{
    struct st_zip z;
    struct st_err err = {0};
    return st_zip_open(&z, s, &err) ? err.code : ST_E_NONE;
}

static enum st_err_code read_first(struct st_mem *mem, struct st_sv s, uint64_t max, struct st_sv *ret)
{
    struct st_zip z;
    struct st_zip_at at = {0, 0};
    struct st_zip_entry e;
    struct st_err err = {0};
    struct st_buf buf;
    st_buf_init(&buf, mem);
    int rc = st_zip_open(&z, s, &err) || !st_zip_next(&z, &at, &e) || st_zip_read(&z, &e, max, &buf, ret, &err);
    st_buf_release(&buf);
    return rc ? err.code : ST_E_NONE;
}

static void good(struct st_mem *mem)
{
    struct maker m = {.n = 0};
    struct st_sv got = ST_SV(""), s;
    put_text(m.at, &m.n, "");
    member(&m, "a/b.txt", "a/b.txt", "hello", CRC_HELLO, -1);
    member(&m, "c/", "c/", "", 0, -1);
    s = finish(&m, 2, "note", 4);
    TAP_OK(read_first(mem, s, 100, &got) == ST_E_NONE && st_sv_eq(got, ST_SV("hello")), "a stored member");
    TAP_OK(read_first(mem, s, 4, &got) == ST_E_LIMIT, "larger than asked for");
    struct st_zip z;
    struct st_zip_at at = {0, 0};
    struct st_zip_entry e;
    bool ok = st_zip_open(&z, s, NULL) == 0 && z.n == 2 && st_zip_next(&z, &at, &e) && !e.directory &&
              st_sv_eq(e.name, ST_SV("a/b.txt")) && st_zip_next(&z, &at, &e) && e.directory &&
              !st_zip_next(&z, &at, &e);
    TAP_OK(ok, "entries in order");
    for (size_t i = 0; i < s.len; i++)
        ok = ok && open_code(st_sv_sub(s, 0, i)) != ST_E_NONE;
    TAP_OK(ok, "cut at every length");
    TAP_OK(open_code(ST_SV("")) == ST_E_FORMAT, "empty input");
}

static void prefixed(struct st_mem *mem)
{
    struct maker m = {.n = 0}, adjusted = {.n = 0};
    struct st_sv got;
    member(&m, "x", "x", "abc", CRC_ABC, -1);
    struct st_sv s = finish(&m, 1, "", 0);
    unsigned char moved[4096] = "#!/bin/sh\n";
    memcpy(moved + 10, s.ptr, s.len);
    TAP_OK(read_first(mem, st_sv_mem(moved, s.len + 10), 10, &got) == ST_E_NONE && st_sv_eq(got, ST_SV("abc")),
           "bytes in front, offsets as they were");
    put_text(adjusted.at, &adjusted.n, "#!/bin/sh\n");
    member(&adjusted, "x", "x", "abc", CRC_ABC, -1);
    TAP_OK(read_first(mem, finish(&adjusted, 1, "", 0), 10, &got) == ST_E_NONE, "bytes in front, offsets adjusted");
}

static void lies(struct st_mem *mem)
{
    struct st_sv got;
    struct maker m = {.n = 0};
    member(&m, "name", "mane", "abc", CRC_ABC, -1);
    TAP_OK(read_first(mem, finish(&m, 1, "", 0), 10, &got) == ST_E_FORMAT, "another name in the local header");
    m = (struct maker){.n = 0};
    member(&m, "a", "a", "abc", CRC_ABC + 1, -1);
    TAP_OK(read_first(mem, finish(&m, 1, "", 0), 10, &got) == ST_E_FORMAT, "wrong checksum");
    m = (struct maker){.n = 0};
    member(&m, "a", "a", "abcabcabcabc", 0, -1);
    member(&m, "b", "b", "abc", 0, 5);
    TAP_OK(open_code(finish(&m, 2, "", 0)) == ST_E_FORMAT, "members overlap");
    m = (struct maker){.n = 0};
    member(&m, "a", "a", "abc", 0, 4000);
    TAP_OK(open_code(finish(&m, 1, "", 0)) == ST_E_FORMAT, "a member behind the directory");
    m = (struct maker){.n = 0};
    member(&m, "a", "a", "abc", 0, -1);
    TAP_OK(open_code(finish(&m, 2, "", 0)) == ST_E_FORMAT, "fewer members than promised");
    // 65,537 promised as 1 is what writers without zip64 did: the directory's size decides
    m = (struct maker){.n = 0};
    member(&m, "a", "a", "abc", CRC_ABC, -1);
    member(&m, "b", "b", "abc", CRC_ABC, -1);
    struct st_zip z;
    TAP_OK(st_zip_open(&z, finish(&m, 1, "", 0), NULL) == 0 && z.n == 2, "more members than promised");
}

// Members in no order that all use the same bytes are held to the sum of what is read.
static void reused(struct st_mem *mem)
{
    struct maker m = {.n = 0};
    member(&m, "big", "big", "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567",
           0x0, -1);
    struct st_zip z;
    struct st_zip_at at = {0, 0};
    struct st_zip_entry e;
    struct st_sv raw;
    int rc = st_zip_open(&z, finish(&m, 1, "", 0), NULL) || !st_zip_next(&z, &at, &e);
    for (int i = 0; rc == 0 && i < 10; i++)
        rc = st_zip_raw(&z, &e, &raw, NULL) ? i : 0;
    TAP_OK(rc > 1, "bytes read more often than there are");
}

int main(void)
{
    struct st_mem mem;
    st_mem_init(&mem, 64 << 20, -1);
    good(&mem);
    prefixed(&mem);
    lies(&mem);
    reused(&mem);
    st_mem_release(&mem);
    return tap_done();
}
