// Eviction: what goes, in which order, and what stays.
#include "scan/fragstore.h"
#include "tap.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KIB 1024ull
#define DAY (24ull * 3600)

static char dir[64];
static struct st_fragstore store;

static void name_of(int i, bool stale, char ret[static 256])
{
    char hex[ST_DIGEST_HEX + 1];
    snprintf(hex, sizeof hex, "%0*d", ST_DIGEST_HEX, i);
    st_fragstore_name(hex, ret);
    if (stale)
        snprintf(ret, 256, "%s.0123456789abcdef.frag", hex);
}

static void put(int i, bool stale, size_t kib, uint64_t age_s)
{
    char name[256];
    name_of(i, stale, name);
    static const char data[64 * KIB] = {1};
    int fd = openat(store.dirfd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (size_t k = 0; k < kib; k += 64)
        if (write(fd, data, 64 * KIB) < 0)
            perror("write");
    struct timespec t[2] = {{.tv_sec = time(NULL) - (time_t)age_s}, {.tv_sec = time(NULL) - (time_t)age_s}};
    futimens(fd, t);
    close(fd);
}

static bool there(int i, bool stale)
{
    char name[256];
    name_of(i, stale, name);
    return faccessat(store.dirfd, name, F_OK, 0) == 0;
}

static struct st_fragstore_pruned prune(struct st_fragstore_limits limits)
{
    struct st_fragstore_pruned got;
    struct st_err err = {0};
    int rc = st_fragstore_prune(&store, &limits, &got, &err);
    TAP_OK(rc == 0, "prune: %s", err.text);
    return got;
}

static void empty(void)
{
    prune((struct st_fragstore_limits){.all = true});
}

static struct st_fragstore_limits standard(void)
{
    return st_fragstore_limits_of(ST_CACHE_BYTES_MAX, ST_CACHE_AGE_MAX);
}

static void test_fragstore_limits(void)
{
    struct st_fragstore_limits l = standard();
    TAP_OK(l.max_age == 45 * DAY && l.full == (4ull << 30) && l.roomy == (1ull << 30) && !l.stale && !l.all,
           "a scan keeps 45 days, and goes from 80 %% of 5 GiB to 20 %%");
    l = st_fragstore_limits_of(UINT64_MAX, UINT64_MAX);
    TAP_OK(l.full > l.roomy && l.roomy > 0, "the largest values do not wrap");
}

static void test_fragstore_age(void)
{
    put(1, false, 64, 46 * DAY);
    put(2, false, 64, 44 * DAY);
    put(3, true, 64, 46 * DAY);
    put(4, true, 64, 1);
    struct st_fragstore_pruned got = prune(standard());
    TAP_OK(got.removed == 2 && got.entries == 2 && !there(1, false) && there(2, false) && !there(3, true) &&
               there(4, true),
           "what was not used for 45 days goes, whatever version filed it");
    TAP_OK(got.removed_bytes == 128 * KIB && got.bytes == 128 * KIB, "bytes are counted");
    struct st_fragstore_limits limits = standard();
    limits.stale = true;
    got = prune(limits);
    TAP_OK(got.removed == 1 && there(2, false) && !there(4, true), "stale: what another version filed goes too");
    put(5, false, 64, 4000 * DAY);
    got = prune(st_fragstore_limits_of(ST_CACHE_BYTES_MAX, UINT64_MAX));
    TAP_OK(got.removed == 0 && there(5, false), "no age is too old where none is set");
    got = prune(st_fragstore_limits_of(ST_CACHE_BYTES_MAX, 60));
    TAP_OK(got.removed == 2 && !there(2, false) && !there(5, false), "an age that is set counts");
    got = (put(6, false, 64, 20), put(7, false, 64, 4000), prune(st_fragstore_limits_of(128 * KIB, UINT64_MAX)));
    TAP_OK(got.removed == 2, "a size that is set counts: over four fifths of it, down to one: %llu",
           (unsigned long long)got.removed);
    empty();
}

static void test_fragstore_size(void)
{
    struct st_fragstore_limits limits = {.max_age = 45 * DAY, .full = 640 * KIB, .roomy = 200 * KIB};
    for (int i = 0; i < 10; i++)
        put(i, false, 64, (uint64_t)(i + 1) * 3600);
    struct st_fragstore_pruned got = prune(limits);
    TAP_OK(got.removed == 0 && got.entries == 10, "at the limit nothing goes");
    put(10, false, 64, 0);
    put(11, true, 64, 0);
    got = prune(limits);
    TAP_OK(got.removed == 9 && got.entries == 3 && got.bytes == 192 * KIB, "over it, all but a fifth goes: %llu left",
           (unsigned long long)got.entries);
    TAP_OK(there(10, false) && there(0, false) && there(1, false) && !there(2, false) && !there(11, true),
           "first what another version filed, then what was used longest ago");
    empty();
    for (int i = 0; i < 12; i++)
        put(i, false, 64, 5);
    got = prune(limits);
    TAP_OK(got.entries == 3 && got.removed == 9, "all used in the same span: as many go as must");
    put(1, false, 64, 0);
    put(2, true, 64, 0);
    int other = openat(store.dirfd, "README", O_WRONLY | O_CREAT, 0600);
    close(other);
    got = prune((struct st_fragstore_limits){.all = true});
    TAP_OK(got.entries == 0 && got.bytes == 0 && faccessat(store.dirfd, "README", F_OK, 0) == 0,
           "all: every fragment goes and nothing else");
    unlinkat(store.dirfd, "README", 0);
}

static void test_fragstore_counts(void)
{
    struct st_fragstore_counts c;
    st_fragstore_counts(&store, &c);
    uint64_t before = c.evicted;
    TAP_OK(before > 0, "what was evicted is counted");
    st_fragstore_count(&store, &(struct st_fragstore_counts){.hits = 9, .misses = 95});
    st_fragstore_count(&store, &(struct st_fragstore_counts){.hits = 3, .misses = 5, .evicted = 1});
    st_fragstore_counts(&store, &c);
    TAP_OK(c.hits == 12 && c.misses == 100 && c.evicted == before + 1, "counts add up");
    int fd = openat(store.dirfd, ".counts", O_WRONLY | O_TRUNC);
    TAP_OK(write(fd, "12 x", 4) == 4, "damage");
    close(fd);
    st_fragstore_counts(&store, &c);
    TAP_OK(c.hits == 12 && c.misses == 0 && c.evicted == 0, "a damaged file counts as far as it goes");
}

static void test_fragstore_sweep(void)
{
    static const char *const subs[] = {"jobs/old", "jobs/new"};
    for (size_t i = 0; i < 2; i++) {
        struct st_fragstore s;
        TAP_OK(st_fragstore_open(dir, subs[i], true, &s, NULL) == 0, "%s", subs[i]);
        close(openat(s.dirfd, "0000.frag", O_WRONLY | O_CREAT, 0600));
        struct timespec t[2] = {{.tv_sec = time(NULL) - 40 * (time_t)DAY}, {.tv_sec = time(NULL) - 40 * (time_t)DAY}};
        if (i == 0)
            futimens(s.dirfd, t);
        st_fragstore_close(&s);
    }
    st_fragstore_sweep(dir, "jobs", 30 * DAY);
    st_fragstore_sweep(dir, "nothing", 30 * DAY);
    char path[128];
    snprintf(path, sizeof path, "%s/jobs/old", dir);
    TAP_OK(access(path, F_OK) != 0, "checkpoints that nobody retries any more go");
    snprintf(path, sizeof path, "%s/jobs/new/0000.frag", dir);
    TAP_OK(access(path, F_OK) == 0, "those that somebody may stay");
    st_fragstore_remove(dir, "jobs/new");
    st_fragstore_remove(dir, "jobs");
}

int main(void)
{
    struct st_err err = {0};
    snprintf(dir, sizeof dir, "/var/tmp/stella-fragstore-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    TAP_OK(st_fragstore_open(dir, "layers", false, &store, &err) == -1 && err.code == ST_E_NOTFOUND,
           "not there and not made");
    TAP_OK(st_fragstore_open(dir, "layers", true, &store, NULL) == 0, "made");
    test_fragstore_limits();
    test_fragstore_age();
    test_fragstore_size();
    test_fragstore_counts();
    test_fragstore_sweep();
    unlinkat(store.dirfd, ".counts", 0);
    st_fragstore_close(&store);
    st_fragstore_remove(dir, "layers");
    TAP_OK(rmdir(dir) == 0, "nothing is left");
    return tap_done();
}
