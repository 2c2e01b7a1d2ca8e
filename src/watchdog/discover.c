#include "watchdog/discover.h"

#include "base/ckd.h"
#include "base/cleanup.h"
#include "watchdog/wd_files.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <sys/inotify.h>

#define EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR | IN_EXCL_UNLINK)

// ---- patterns -----------------------------------------------------------------------------------

static bool is_any(struct st_sv part)
{
    return st_sv_eq(part, ST_SV("**"));
}

int st_wd_pattern_parse(struct st_wd_pattern *p, const char *text, bool exact, struct st_err *err)
{
    struct st_sv rest = st_sv_of(text), part;
    const char *option = exact ? "--cgroup" : "--match";
    *p = (struct st_wd_pattern){.text = text, .exact = exact};
    while (st_sv_split(&rest, '/', &part)) {
        if (part.len == 0)
            continue;
        if (st_sv_eq(part, ST_SV(".")) || st_sv_eq(part, ST_SV("..")))
            return st_err_set(err, ST_E_USAGE, "%s '%.200s' must not hold '" ST_SV_FMT "'", option, text,
                              ST_SV_ARG(part));
        if (part.len > NAME_MAX || p->n == ST_WD_PATTERN_PARTS)
            return st_err_set(err, ST_E_USAGE, "%s '%.200s' is too long or too deep", option, text);
        size_t open = exact ? ST_SV_NPOS : st_sv_find(part, '[');
        if (open != ST_SV_NPOS && st_sv_find(st_sv_from(part, open + 2), ']') == ST_SV_NPOS)
            return st_err_set(err, ST_E_USAGE, "--match '%.200s': '[' without ']'", text);
        if (!exact && part.len > 2 && st_sv_search(part, ST_SV("**")) != ST_SV_NPOS)
            return st_err_set(err, ST_E_USAGE, "--match '%.200s': '**' stands alone between slashes; did you mean '*'?",
                              text);
        if (!exact && is_any(part) && p->n && is_any(p->part[p->n - 1]))
            continue;
        p->part[p->n++] = part;
    }
    if (p->n == 0 && !exact)
        return st_err_set(err, ST_E_USAGE, "--match '%.200s' matches nothing (try '**')", text);
    return 0;
}

static bool part_matches(const struct st_wd_pattern *p, struct st_sv part, struct st_sv name)
{
    char pattern[NAME_MAX + 1], text[NAME_MAX + 1];
    if (p->exact)
        return st_sv_eq(part, name);
    if (part.len > NAME_MAX || name.len > NAME_MAX)
        return false;
    memcpy(pattern, part.ptr, part.len);
    pattern[part.len] = '\0';
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    return fnmatch(pattern, text, 0) == 0;
}

// Positions that an arrival at `i` stands for: '**' may be passed over.
static uint64_t reach(const struct st_wd_pattern *p, size_t i)
{
    uint64_t set = 1ull << i;
    while (i < p->n && !p->exact && is_any(p->part[i]))
        set |= 1ull << ++i;
    return set;
}

bool st_wd_pattern_match(const struct st_wd_pattern *p, struct st_sv path, bool *ret_inside)
{
    uint64_t at = reach(p, 0); // bit i: the parts before i are matched
    struct st_sv name;
    while (st_sv_split(&path, '/', &name)) {
        uint64_t next = 0;
        for (size_t i = 0; i < p->n; i++) {
            if (!(at >> i & 1))
                continue;
            if (!p->exact && is_any(p->part[i]))
                next |= reach(p, i);
            else if (part_matches(p, p->part[i], name))
                next |= reach(p, i + 1);
        }
        at = next;
    }
    *ret_inside = (at & ((1ull << p->n) - 1)) != 0;
    return at >> p->n & 1;
}

// ---- cells --------------------------------------------------------------------------------------

static uint8_t flags_of(const struct st_wd_discover *d, struct st_sv path)
{
    uint8_t flags = 0;
    for (size_t i = 0; i < d->n_patterns; i++) {
        bool inside;
        if (st_wd_pattern_match(&d->patterns[i], path, &inside))
            flags |= ST_WD_C_MATCHED | (d->patterns[i].exact ? ST_WD_C_NAMED : 0);
        if (inside)
            flags |= ST_WD_C_INSIDE;
    }
    return flags;
}

static bool is_own(const struct st_wd_discover *d, int dir)
{
    return !d->allow_self && (st_wd_holds_pid(dir, getpid()) || st_wd_holds_pid(dir, 1));
}

// Of a chain that leads to this process, only the uppermost is told.
static void refuse(const struct st_wd_discover *d, struct st_sv path)
{
    size_t slash = path.len;
    while (slash > 0 && path.ptr[slash] != '/')
        slash--;
    uint32_t parent = path.len ? st_wd_cells_find(d->cells, st_sv_mem(path.ptr, slash)) : ST_WD_NO_CELL;
    if (parent == ST_WD_NO_CELL || !(d->cells->at[parent].flags & ST_WD_C_OWN))
        d->refused(d->ctx, path);
}

static int open_path(const struct st_wd_discover *d, const char *path)
{
    return openat(d->root, path[0] ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

void st_wd_discover_drop(struct st_wd_discover *d, uint32_t i)
{
    if (d->cells->at[i].flags & ST_WD_C_MATCHED)
        d->gone(d->ctx, i);
    if (d->cells->wd[i] >= 0)
        inotify_rm_watch(d->inotify, d->cells->wd[i]); // fails when it went with its directory
    st_wd_cells_remove(d->cells, i);
}

static void add(struct st_wd_discover *d, struct st_sv path)
{
    char text[ST_WD_CELL_PATH];
    uint8_t flags = flags_of(d, path);
    if (!flags)
        return;
    if (path.len >= sizeof text) {
        d->cells->refused++;
        return;
    }
    snprintf(text, sizeof text, ST_SV_FMT, ST_SV_ARG(path));
    ST_AUTO_CLOSE int dir = open_path(d, text);
    uint64_t ino = dir < 0 ? 0 : st_wd_ino(dir);
    uint32_t old = st_wd_cells_find(d->cells, path);
    if (old != ST_WD_NO_CELL && dir >= 0 && d->cells->at[old].ino == ino) {
        d->cells->at[old].flags |= ST_WD_C_SEEN;
        return;
    }
    if (old != ST_WD_NO_CELL) // of the same name, but another one
        st_wd_discover_drop(d, old);
    if (dir < 0)
        return;
    if ((flags & ST_WD_C_MATCHED) && is_own(d, dir)) {
        refuse(d, path);
        flags = (flags & ST_WD_C_INSIDE) | ST_WD_C_OWN;
    }
    uint32_t i = st_wd_cells_add(d->cells, path, ino, flags | ST_WD_C_SEEN | ST_WD_C_TODO);
    if (i == ST_WD_NO_CELL)
        return;
    d->todo = true;
    if (flags & ST_WD_C_INSIDE) {
        char self[32];
        snprintf(self, sizeof self, "/proc/self/fd/%d", dir);
        d->cells->wd[i] = d->inotify < 0 ? -1 : inotify_add_watch(d->inotify, self, EVENTS);
        d->incomplete = d->incomplete || d->cells->wd[i] < 0;
    }
    if (flags & ST_WD_C_MATCHED)
        d->found(d->ctx, i);
}

static bool join(char *to, size_t cap, struct st_sv dir, const char *name)
{
    int n = snprintf(to, cap, ST_SV_FMT "%s%s", ST_SV_ARG(dir), dir.len ? "/" : "", name);
    return n > 0 && (size_t)n < cap;
}

static void list(struct st_wd_discover *d, uint32_t i)
{
    struct st_wd_listing l;
    char path[PATH_MAX];
    struct st_wd_cell *cell = &d->cells->at[i];
    ST_AUTO_CLOSE int dir = open_path(d, cell->path);
    if (dir < 0)
        return;
    st_wd_listing_init(&l, dir);
    for (const char *name; (name = st_wd_listing_next(&l, true));)
        if (join(path, sizeof path, st_wd_cell_path(cell), name))
            add(d, st_sv_of(path));
}

// New cells may lie before the index, so until a pass finds nothing.
static void list_all(struct st_wd_discover *d)
{
    while (d->todo) {
        d->todo = false;
        for (uint32_t i = 0; i < d->cells->high; i++) {
            uint8_t *flags = &d->cells->at[i].flags;
            if (!(*flags & ST_WD_C_LIVE) || !(*flags & ST_WD_C_TODO))
                continue;
            *flags &= (uint8_t)~ST_WD_C_TODO;
            if (*flags & ST_WD_C_INSIDE)
                list(d, i);
        }
    }
}

void st_wd_discover_rescan(struct st_wd_discover *d)
{
    d->overflowed = false;
    d->incomplete = d->inotify < 0;
    for (uint32_t i = 0; i < d->cells->high; i++) {
        struct st_wd_cell *c = &d->cells->at[i];
        if (!(c->flags & ST_WD_C_LIVE))
            continue;
        c->flags = (uint8_t)((c->flags & ~ST_WD_C_SEEN) | ST_WD_C_TODO);
        d->incomplete = d->incomplete || ((c->flags & ST_WD_C_INSIDE) && d->cells->wd[i] < 0);
    }
    d->todo = true;
    add(d, ST_SV_NULL);
    list_all(d);
    for (uint32_t i = 0; i < d->cells->high; i++)
        if ((d->cells->at[i].flags & (ST_WD_C_LIVE | ST_WD_C_SEEN)) == ST_WD_C_LIVE)
            st_wd_discover_drop(d, i);
}

void st_wd_discover_start(struct st_wd_discover *d)
{
    d->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    st_wd_discover_rescan(d);
}

void st_wd_discover_stop(struct st_wd_discover *d)
{
    if (d->inotify >= 0)
        close(d->inotify);
    d->inotify = -1;
}

// ---- inotify ------------------------------------------------------------------------------------

static void event(struct st_wd_discover *d, const struct inotify_event *e)
{
    char path[PATH_MAX];
    if (e->mask & IN_Q_OVERFLOW) {
        d->overflowed = true;
        return;
    }
    uint32_t i = st_wd_cells_find_wd(d->cells, e->wd);
    if (i == ST_WD_NO_CELL)
        return;
    if (e->mask & IN_IGNORED) { // the watch went, and with it most likely the directory
        d->cells->wd[i] = -1;
        ST_AUTO_CLOSE int dir = open_path(d, d->cells->at[i].path);
        if (dir < 0 || st_wd_ino(dir) != d->cells->at[i].ino)
            st_wd_discover_drop(d, i);
        return;
    }
    // Only directories are cgroups; a change of memory.max and the like comes along as no IN_ISDIR.
    if (!(e->mask & IN_ISDIR) || e->len == 0 || !join(path, sizeof path, st_wd_cell_path(&d->cells->at[i]), e->name))
        return;
    // What was deleted is gone, also when another of its name is there already (with the same inode even, on file
    // systems that give numbers out again).
    i = e->mask & (IN_DELETE | IN_MOVED_FROM) ? st_wd_cells_find(d->cells, st_sv_of(path)) : ST_WD_NO_CELL;
    if (i != ST_WD_NO_CELL)
        st_wd_discover_drop(d, i);
    add(d, st_sv_of(path));
}

void st_wd_discover_events(struct st_wd_discover *d)
{
    _Alignas(struct inotify_event) char buf[4096];
    for (ssize_t n; (n = read(d->inotify, buf, sizeof buf)) > 0;)
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const struct inotify_event *)(buf + at);
            at += (ssize_t)(sizeof *e + e->len);
            event(d, e);
        }
    list_all(d);
    if (d->overflowed) {
        st_wd_discover_rescan(d);
        d->incomplete = true; // once more later, for what came while this one looked
    }
}
