#include "base/fd.h"
#include "base/map.h"
#include "tap.h"

static void test_budget(void)
{
    struct st_mem m;
    struct st_err err;
    st_mem_init(&m, 1000, -1);
    void *p = st_mem_alloc(&m, 900, &err);
    TAP_OK(p && m.used == 900, "fits");
    TAP_OK(!st_mem_alloc(&m, 200, &err) && err.code == ST_E_MEMORY, "refused over the limit: %s", err.text);
    size_t n;
    TAP_OK(!st_mem_map(&m, 4096, &n, &err) && err.code == ST_E_SPILL, "no spill file: %s", err.text);
    st_mem_free(&m, p, 900);
    TAP_OK(m.used == 0 && m.peak == 900, "given back");
    st_mem_release(&m);
}

// An arena far over the budget moves to the spill file; pointers and contents stay.
static void test_spill(void)
{
    struct st_mem m;
    struct st_err err = {0};
    ST_AUTO_CLOSE int fd = st_fd_temp("/tmp", &err);
    st_mem_init(&m, 64 * 1024, fd);
    struct st_arena a;
    st_arena_init(&a, &m);
    enum { N = 20000 };
    static struct st_sv kept[N];
    int ok = 1;
    for (int i = 0; i < N && ok; i++)
        ok = st_arena_fmt(&a, &kept[i], &err, "entry number %d of many that do not fit", i) == 0;
    TAP_OK(ok, "arena grows into the spill file %s", err.text);
    TAP_OK(m.used <= 64 * 1024 && m.spill_used > 512 * 1024, "budget kept: %zu used, %llu spilled", m.used,
           (unsigned long long)m.spill_used);
    st_mem_trim(&m);
    int same = 1;
    for (int i = 0; i < N; i++) {
        char want[64];
        int n = snprintf(want, sizeof want, "entry number %d of many that do not fit", i);
        same &= kept[i].len == (size_t)n && memcmp(kept[i].ptr, want, (size_t)n) == 0;
    }
    TAP_OK(same, "contents survive a trim");
    st_arena_release(&a);
    TAP_OK(m.used == 0 && m.spill_live == 0 && m.spill_used == 0, "everything given back");
    char *z = st_arena_alloc(&a, 100000, &err);
    int zero = 1;
    for (int i = 0; i < 100000; i++)
        zero &= z[i] == 0;
    TAP_OK(zero, "spilled blocks are zeroed again after reuse");
    st_arena_release(&a);
    st_mem_release(&m);
}

static void test_spill_full(void)
{
    struct st_mem m;
    struct st_err err = {0};
    FILE *full = fopen("/dev/full", "r+");
    st_mem_init(&m, 4096, fileno(full));
    size_t n;
    TAP_OK(!st_mem_map(&m, 1 << 20, &n, &err) && err.code == ST_E_SPILL, "a spill that fails: %s", err.text);
    fclose(full);
    st_mem_release(&m);
}

static void test_reset(void)
{
    struct st_mem m;
    st_mem_init(&m, 1 << 20, -1);
    struct st_arena a;
    st_arena_init(&a, &m);
    memset(st_arena_bytes(&a, 3000, NULL), 'x', 3000);
    st_arena_reset(&a);
    char *p = st_arena_alloc(&a, 3000, NULL);
    int zero = 1;
    for (int i = 0; i < 3000; i++)
        zero &= p[i] == 0;
    TAP_OK(zero, "an arena hands out zeroes after a reset");
    st_arena_release(&a);
    TAP_OK(m.used == 0, "arena gave everything back");
    struct st_buf b;
    st_buf_init(&b, &m);
    for (int i = 0; i < 200000; i++)
        st_buf_addc(&b, (char)i, NULL);
    int same = b.len == 200000;
    for (size_t i = 0; i < b.len; i++)
        same &= b.ptr[i] == (char)i;
    TAP_OK(same, "buffer grows from heap to mapping");
    st_buf_release(&b);
    TAP_OK(m.used == 0, "buffer gave everything back");
    st_mem_release(&m);
}

// A buffer that outgrows its budget: it moves to the spill file once, then grows there in place.
static void test_grow(void)
{
    struct st_mem m;
    struct st_err err = {0};
    ST_AUTO_CLOSE int fd = st_fd_temp("/tmp", &err);
    st_mem_init(&m, 256 * 1024, fd);
    struct st_buf b;
    st_buf_init(&b, &m);
    int ok = 1;
    for (uint32_t i = 0; i < 1000000 && ok; i++) {
        ok = st_buf_add(&b, st_sv_mem(&i, sizeof i), &err) == 0;
        if (i % 50000 == 0)
            st_mem_trim(&m);
    }
    for (uint32_t i = 0; i < 1000000 && ok; i++)
        ok = memcmp(b.ptr + 4 * (size_t)i, &i, 4) == 0;
    static char chunk[10000];
    size_t before = b.len;
    for (int i = 0; i < 300 && ok; i++) {
        memset(chunk, i, sizeof chunk);
        ok = st_buf_add(&b, st_sv_mem(chunk, sizeof chunk), &err) == 0;
    }
    for (int i = 0; i < 300 && ok; i++) {
        memset(chunk, i, sizeof chunk);
        ok = memcmp(b.ptr + before + (size_t)i * sizeof chunk, chunk, sizeof chunk) == 0;
    }
    TAP_OK(ok && m.used <= 256 * 1024 && m.spill_used == b.cap, "7 MB in a budget of 256 KiB, in one piece: %s",
           err.text);
    st_buf_release(&b);
    TAP_OK(m.used == 0 && m.spill_live == 0, "given back");
    st_mem_release(&m);
}

static void test_map(void)
{
    struct st_mem m;
    st_mem_init(&m, 16 << 20, -1);
    struct st_map map;
    st_map_init(&map, &m);
    int ok = 1;
    for (uint64_t i = 0; i < 50000; i++) {
        bool fresh;
        uint64_t *v = st_map_put(&map, i * i, &fresh, NULL);
        ok &= v != NULL;
        if (v)
            *v += i;
    }
    for (uint64_t i = 2; i < 50000; i++) {
        uint64_t *v = st_map_get(&map, i * i);
        ok &= v && *v == i;
    }
    TAP_OK(ok && !st_map_get(&map, 3), "50,000 keys in and out");
    st_map_release(&map);
    TAP_OK(st_hash(ST_SV("usr/bin/env")) == st_hash(ST_SV("usr/bin/env")) && st_hash(ST_SV("a")) != st_hash(ST_SV("b")),
           "hash");
    // Kept fragments hold hashes: they must not change. Every length and alignment of the tail.
    char text[70];
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 37 + 11);
    for (size_t n = 0; n <= 64; n++)
        sum = sum * 31 + st_hash((struct st_sv){text + (n & 3), n});
    TAP_OK(sum == 0x5538fc03ed4bd50bull, "hashes are what they always were");
    st_mem_release(&m);
}

// Refuse the Nth request for every N: no crash, nothing leaked.
static void test_faults(void)
{
    int leaks = 0, n;
    for (n = 1; n < 200; n++) {
        struct st_mem m;
        st_mem_init(&m, 1 << 20, -1);
        m.fail_at = (uint64_t)n;
        struct st_arena a;
        st_arena_init(&a, &m);
        struct st_map map;
        st_map_init(&map, &m);
        int done = 1;
        for (uint64_t i = 1; i < 1000 && done; i++)
            done = st_arena_alloc(&a, 100, NULL) && st_map_put(&map, i, NULL, NULL);
        st_map_release(&map);
        st_arena_release(&a);
        leaks += m.used != 0;
        st_mem_release(&m);
        if (done)
            break;
    }
    TAP_OK(leaks == 0 && n > 3, "every one of %d requests refused in turn, nothing leaked", n - 1);
}

int main(void)
{
    test_budget();
    test_spill();
    test_spill_full();
    test_reset();
    test_grow();
    test_map();
    test_faults();
    return tap_done();
}
