#include "tap.h"
#include "watchdog/discover.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_pattern(void)
{
    static const struct {
        const char *pattern, *path;
        bool match, inside;
    } rows[] = {
        {"a", "a", true, false},
        {"a", "b", false, false},
        {"a", "", false, true},
        {"a/b", "a", false, true},
        {"/a//b/", "a/b", true, false},
        {"a/b", "a/b/c", false, false},
        {"*", "x", true, false},
        {"*", "x/y", false, false},
        {"**", "", true, true},
        {"**", "x/y/z", true, true},
        {"**/c", "c", true, true},
        {"**/c", "a/b/c", true, true},
        {"**/c", "a/b", false, true},
        {"a/**/c", "a/c", true, true},
        {"a/**/c", "a/x/y/c", true, true},
        {"a/**/c", "b/c", false, false},
        {"a/**", "a", true, true},
        {"a/**", "b", false, false},
        {"kubepods*/**/cri-*", "kubepods.slice/kubepods-burstable.slice/pod1/cri-containerd-1.scope", true, true},
        {"kubepods*/**/cri-*", "system.slice", false, false},
        {"job[12]", "job2", true, false},
        {"job[12]", "job3", false, false},
        {"j?b", "job", true, false},
        {"**/a/**/b", "x/a/y/a/z/b", true, true},
    };
    struct st_err err = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct st_wd_pattern p;
        bool inside = false, ok = st_wd_pattern_parse(&p, rows[i].pattern, false, &err) == 0;
        bool match = ok && st_wd_pattern_match(&p, st_sv_of(rows[i].path), &inside);
        TAP_OK(ok && match == rows[i].match && inside == rows[i].inside, "pattern %s on %s", rows[i].pattern,
               rows[i].path);
    }
    static const char *const bad[] = {"", "/", "a/../b", "a/[b", "a/**b", "."};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct st_wd_pattern p;
        TAP_OK(st_wd_pattern_parse(&p, bad[i], false, &err) && err.code == ST_E_USAGE, "bad pattern '%s': %s", bad[i],
               err.text);
    }
    struct st_wd_pattern p;
    bool inside;
    TAP_OK(st_wd_pattern_parse(&p, "a/b*[", true, &err) == 0 && st_wd_pattern_match(&p, ST_SV("a/b*["), &inside) &&
               !st_wd_pattern_match(&p, ST_SV("a/bc"), &inside),
           "exact: no character is special");
}

// ---- a tree that changes ------------------------------------------------------------------------

static int found, gone, refused;
static char last[512];
static struct st_wd_cells cells;

static void on_found(void *ctx, uint32_t cell)
{
    (void)ctx;
    found++;
    snprintf(last, sizeof last, "%s", cells.at[cell].path);
}
static void on_gone(void *ctx, uint32_t cell)
{
    (void)ctx;
    (void)cell;
    gone++;
}
static void on_refused(void *ctx, struct st_sv path)
{
    (void)ctx;
    (void)path;
    refused++;
}

static void make(int root, const char *path, const char *procs)
{
    mkdirat(root, path, 0755);
    char file[300];
    snprintf(file, sizeof file, "%s/cgroup.procs", path);
    int fd = openat(root, file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (write(fd, procs, strlen(procs)) < 0)
        perror(file);
    close(fd);
}

static void drop(int root, const char *path)
{
    char file[300];
    snprintf(file, sizeof file, "%s/cgroup.procs", path);
    unlinkat(root, file, 0);
    unlinkat(root, path, AT_REMOVEDIR);
}

static void test_tree(void)
{
    char base[] = "/tmp/wd-discover-XXXXXX", self[32];
    struct st_wd_pattern p[2];
    int root = open(mkdtemp(base), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    st_wd_pattern_parse(&p[0], "pods/**/c*", false, NULL);
    st_wd_pattern_parse(&p[1], "one", true, NULL);
    struct st_wd_discover d = {.cells = &cells,
                               .root = root,
                               .inotify = -1,
                               .patterns = p,
                               .n_patterns = 2,
                               .found = on_found,
                               .gone = on_gone,
                               .refused = on_refused};
    st_wd_cells_init(&cells, NULL);
    make(root, "pods", "");
    make(root, "pods/p1", "");
    make(root, "pods/p1/c1", "");
    make(root, "other", "");
    st_wd_discover_start(&d);
    TAP_OK(found == 1 && !strcmp(last, "pods/p1/c1") && cells.matched == 1 && !d.incomplete, "found at the start");
    make(root, "one", "");
    st_wd_discover_events(&d);
    TAP_OK(found == 2 && (cells.at[st_wd_cells_find(&cells, ST_SV("one"))].flags & ST_WD_C_NAMED),
           "an exact path comes later");
    make(root, "pods/p2", ""); // a directory and one in it, before the first is listed
    make(root, "pods/p2/c1", "");
    make(root, "pods/p2/x", "");
    make(root, "pods/p2/x/c2", "");
    st_wd_discover_events(&d);
    TAP_OK(found == 4 && cells.matched == 4, "a tree that comes at once is found whole");
    drop(root, "pods/p1/c1");
    st_wd_discover_events(&d);
    TAP_OK(gone == 1 && cells.matched == 3, "gone");
    drop(root, "one");        // gone and there again, in one batch of events
    make(root, "filler", ""); // takes the inode number where the file system hands it out again
    make(root, "one", "");
    st_wd_discover_events(&d);
    TAP_OK(gone == 2 && found == 5 && cells.matched == 3, "one that is made again is another one (by inode; %d %d)",
           gone, found);
    snprintf(self, sizeof self, "%d\n", (int)getpid());
    make(root, "pods/p2/cself", self);
    make(root, "pods/p2/cinit", "1\n");
    st_wd_discover_events(&d);
    TAP_OK(refused == 2 && cells.matched == 3, "cgroups with this process or process 1 are refused");
    make(root, "pods/cup", "");
    make(root, "pods/cup/cdown", self);
    st_wd_discover_events(&d);
    st_wd_discover_rescan(&d);
    TAP_OK(refused == 3 && cells.matched == 3,
           "of a chain that leads to this process the uppermost is told, and once: %d", refused);
    // Lost events: the rescan finds both ways.
    char buf[4096];
    drop(root, "pods/p2/c1");
    make(root, "pods/p2/c9", "");
    while (read(d.inotify, buf, sizeof buf) > 0)
        ;
    int before = found;
    st_wd_discover_rescan(&d);
    TAP_OK(gone == 3 && found == before + 1 && cells.matched == 3, "rescan after an overflow");
    st_wd_discover_stop(&d);
    found = 0;
    d.inotify = -1;
    make(root, "pods/p2/c10", "");
    st_wd_discover_rescan(&d);
    TAP_OK(found == 1 && d.incomplete, "without inotify: by rescan, and it says so");
    st_wd_cells_release(&cells);
    char command[200];
    snprintf(command, sizeof command, "%s", base);
    static const char *const all[] = {
        "pods/p2/x/c2", "pods/p2/x", "pods/p2/c9", "pods/p2/c10", "pods/p2/cself", "pods/p2/cinit", "pods/cup/cdown",
        "pods/cup",     "pods/p2",   "pods/p1",    "pods",        "one",           "other",         "filler"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        drop(root, all[i]);
    rmdir(base);
    close(root);
}

static void test_cells(void)
{
    char path[ST_WD_CELL_PATH + 10];
    memset(path, 'a', sizeof path);
    st_wd_cells_init(&cells, NULL);
    TAP_OK(sizeof(struct st_wd_cell) <= 1024, "a cell has at most 1 KiB (%zu)", sizeof(struct st_wd_cell));
    TAP_OK(st_wd_cells_add(&cells, st_sv_mem(path, ST_WD_CELL_PATH), 1, 0) == ST_WD_NO_CELL && cells.refused == 1,
           "a path that is too long is refused and counted");
    uint32_t a = st_wd_cells_add(&cells, ST_SV("x"), 1, ST_WD_C_MATCHED), gen = cells.at[a].gen;
    st_wd_cells_remove(&cells, a);
    uint32_t b = st_wd_cells_add(&cells, ST_SV("y"), 2, 0);
    TAP_OK(a == b && cells.at[b].gen != gen && cells.matched == 0, "a cell used again has another generation");
    size_t n = 1;
    while (st_wd_cells_add(&cells, ST_SV("z"), 3, 0) != ST_WD_NO_CELL)
        n++;
    TAP_OK(n == ST_WD_CELLS_MAX, "the table ends at %zu", n);
    st_wd_cells_release(&cells);
}

int main(void)
{
    test_pattern();
    test_tree();
    test_cells();
    return tap_done();
}
