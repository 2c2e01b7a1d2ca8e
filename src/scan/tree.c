#include "scan/tree.h"

#include "archive/tar.h"

#define HOPS_MAX 40 // symbolic links followed for one name, as Linux does (namei.c MAXSYMLINKS)
#define PATH_LIMIT ((size_t)ST_TAR_NAME_MAX)

int st_tree_init(struct st_tree *t, struct st_arena *arena, struct st_mem *mem, struct st_err *err)
{
    *t = (struct st_tree){.arena = arena};
    st_map_init(&t->by_hash, mem);
    t->root = ST_ARENA_NEW(arena, struct st_node, err);
    uint64_t *slot = t->root ? st_map_put(&t->by_hash, st_path_hash(ST_SV("")), NULL, err) : NULL;
    if (!slot)
        return -1;
    t->root->path = ST_SV("");
    *slot = (uint64_t)(uintptr_t)t->root;
    return 0;
}

void st_tree_release(struct st_tree *t)
{
    if (t->by_hash.mem)
        st_map_release(&t->by_hash);
}

struct st_node *st_tree_find(const struct st_tree *t, uint64_t hash)
{
    const uint64_t *v = st_map_get(&t->by_hash, hash);
    return v ? (struct st_node *)(uintptr_t)*v : NULL;
}

// One node; its parent is there. `path` must live as long as the arena.
static struct st_node *add_one(struct st_tree *t, struct st_sv path, struct st_node *parent, struct st_err *err)
{
    bool fresh;
    uint64_t *slot = st_map_put(&t->by_hash, st_path_hash(path), &fresh, err);
    if (!slot)
        return NULL;
    if (!fresh)
        return (struct st_node *)(uintptr_t)*slot;
    struct st_node *n = ST_ARENA_NEW(t->arena, struct st_node, err);
    if (!n)
        return NULL;
    *n = (struct st_node){.parent = parent, .sibling = parent->child, .path = path};
    parent->child = n;
    *slot = (uint64_t)(uintptr_t)n;
    return n;
}

struct st_node *st_tree_add(struct st_tree *t, struct st_sv path, struct st_err *err)
{
    struct st_node *n = st_tree_find(t, st_path_hash(path));
    if (n)
        return n;
    struct st_sv own;
    if (st_arena_dup(t->arena, path, &own, err))
        return NULL;
    n = t->root;
    for (size_t i = 0; n && i < own.len;) {
        size_t len = st_sv_find(st_sv_from(own, i), '/');
        i = len == ST_SV_NPOS ? own.len : i + len;
        n = add_one(t, st_sv_sub(own, 0, i), n, err);
        i++;
    }
    return n;
}

// ---- symbolic links -------------------------------------------------------------------------------------------------

// dir + "/" + rest, normalised; false when too long.
static bool join(struct st_sv dir, struct st_sv rest, char *buf, struct st_sv *ret)
{
    if (dir.len + 1 + rest.len > PATH_LIMIT)
        return false;
    char raw[PATH_LIMIT];
    memcpy(raw, dir.ptr, dir.len);
    raw[dir.len] = '/';
    memcpy(raw + dir.len + 1, rest.ptr, rest.len);
    *ret = st_sv_mem(buf, st_path_normalise(st_sv_mem(raw, dir.len + 1 + rest.len), buf));
    return true;
}

int st_tree_link(struct st_tree *t, uint32_t layer, uint64_t entry, struct st_sv path, struct st_sv target,
                 struct st_err *err)
{
    char buf[PATH_LIMIT];
    struct st_sv to;
    struct st_sv from_dir = target.len && target.ptr[0] == '/' ? ST_SV("") : st_sv_dirname(path);
    if (!join(from_dir, target, buf, &to))
        return 0;
    struct st_node *at = st_tree_find(t, st_path_hash(path)), *goal = st_tree_find(t, st_path_hash(to));
    if (!at && !(goal && goal->child))
        return 0;
    struct st_link *l = ST_ARENA_NEW(t->arena, struct st_link, err);
    if (!l || st_arena_dup(t->arena, to, &l->target, err))
        return -1;
    l->node = st_tree_add(t, path, err);
    if (!l->node)
        return -1;
    l->path = l->node->path;
    l->layer = layer;
    l->entry = entry;
    if (t->last_link)
        t->last_link->next = l;
    else
        t->links = l;
    t->last_link = l;
    return 1;
}

void st_tree_clear_links(struct st_tree *t)
{
    t->links = t->last_link = NULL;
}

// Every node below `from` gets a twin below `to`. Pre-order walk by parent pointers; what is added below `to` while
// `to` lies below `from` is cut off by the limit.
static int twin(struct st_tree *t, struct st_node *from, struct st_sv to, size_t *added, struct st_err *err)
{
    char buf[PATH_LIMIT];
    struct st_node *n = from->child;
    while (n) {
        struct st_sv path, rest = st_sv_from(n->path, from->path.len ? from->path.len + 1 : 0);
        bool inside = st_sv_starts(n->path, to) && (n->path.len == to.len || n->path.ptr[to.len] == '/') &&
                      to.len > from->path.len;
        if (!inside && join(to, rest, buf, &path) && !st_tree_find(t, st_path_hash(path))) {
            if (t->names >= ST_MERGE_NAMES_MAX) {
                t->too_many_names = true;
                return 0;
            }
            if (!st_tree_add(t, path, err))
                return -1;
            t->names++;
            ++*added;
        }
        if (n->child && !inside) {
            n = n->child;
            continue;
        }
        while (n != from && !n->sibling)
            n = n->parent;
        if (n == from)
            break;
        n = n->sibling;
    }
    return 0;
}

int st_tree_names(struct st_tree *t, struct st_err *err)
{
    size_t added = 0;
    for (struct st_link *l = t->links; l && !t->too_many_names; l = l->next) {
        struct st_node *goal = st_tree_find(t, st_path_hash(l->target));
        if (l->node->child) { // evidence was found under the link's name: it lies under the target
            if (!goal && !(goal = st_tree_add(t, l->target, err)))
                return -1;
            if (twin(t, l->node, goal->path, &added, err))
                return -1;
        }
        if (goal && goal->child && goal != l->node && twin(t, goal, l->node->path, &added, err))
            return -1;
    }
    return added > 0;
}

struct st_node *st_tree_resolve(const struct st_tree *t, struct st_node *n)
{
    char buf[2][PATH_LIMIT];
    for (int hop = 0; hop < HOPS_MAX; hop++) {
        // The highest ancestor that is a link decides.
        struct st_node *through = NULL;
        for (struct st_node *a = n->parent; a; a = a->parent)
            if (a->link)
                through = a;
        if (!through)
            return n;
        struct st_sv path;
        struct st_node *next = NULL;
        if (join(through->link->target, st_sv_from(n->path, through->path.len + 1), buf[hop & 1], &path))
            next = st_tree_find(t, st_path_hash(path));
        if (!next || next == n)
            return n;
        n = next;
    }
    return n;
}

// ---- one layer ------------------------------------------------------------------------------------------------------

void st_tree_begin(struct st_tree *t, uint32_t layer)
{
    t->layer = layer;
    if (layer == 0 || !t->next_link)
        t->next_link = t->links;
    while (t->next_link && t->next_link->layer < layer)
        t->next_link = t->next_link->next;
}

static bool below(struct st_sv path, struct st_sv dir)
{
    return dir.len == 0 || (st_sv_starts(path, dir) && path.len > dir.len && path.ptr[dir.len] == '/');
}

// Links of the layers before `before` that go with what is taken away at n. Where a link really lies counts: its name
// may lead through other links.
static void drop_links(struct st_tree *t, const struct st_node *n, bool itself, uint32_t before)
{
    for (struct st_link *l = t->links; l && l->layer < before; l = l->next)
        if (l->active && (below(l->node->path, n->path) || (itself && l->node == n))) {
            l->active = false;
            if (l->node->link == l)
                l->node->link = NULL;
        }
}

static void stamp(struct st_tree *t, struct st_node *n)
{
    if (n->stamp != t->layer + 1) {
        n->stamp = t->layer + 1;
        n->whiteout = n->opaque = false;
        n->nondir = n->dir = 0;
    }
}

// As st_tree_resolve, and what a link at the name itself points to: the mark of an opaque directory is a file in it.
static struct st_node *follow(const struct st_tree *t, struct st_node *n)
{
    n = st_tree_resolve(t, n);
    for (int hop = 0; hop < HOPS_MAX && n->link; hop++) {
        struct st_node *next = st_tree_find(t, st_path_hash(n->link->target));
        if (!next)
            break;
        n = st_tree_resolve(t, next);
    }
    return n;
}

void st_tree_item(struct st_tree *t, uint64_t entry, uint64_t item)
{
    struct st_node *n = st_tree_find(t, ST_ITEM_HASH(item));
    if (!n)
        return;
    n = ST_ITEM_KIND(item) == ST_ITEM_OPAQUE ? follow(t, n) : st_tree_resolve(t, n);
    stamp(t, n);
    switch (ST_ITEM_KIND(item)) {
    case ST_ITEM_WHITEOUT:
        n->whiteout = true;
        drop_links(t, n, true, t->layer);
        return;
    case ST_ITEM_OPAQUE:
        n->opaque = true;
        drop_links(t, n, false, t->layer);
        return;
    case ST_ITEM_NONDIR:
        n->nondir = entry + 1;
        drop_links(t, n, true, t->layer + 1); // what its own layer put there before goes too
        break;
    case ST_ITEM_DIR: // over a directory it changes nothing, over anything else it takes its place
        n->dir = entry + 1;
        break;
    }
    if (n->link) {
        n->link->active = false;
        n->link = NULL;
    }
    while (t->next_link && t->next_link->layer == t->layer && t->next_link->entry < entry)
        t->next_link = t->next_link->next;
    if (t->next_link && t->next_link->layer == t->layer && t->next_link->entry == entry) {
        n->link = t->next_link;
        n->link->active = true;
        n->link->node = n;
    }
}

bool st_tree_hides_older(const struct st_tree *t, const struct st_node *n)
{
    uint32_t now = t->layer + 1;
    if (n->stamp == now && (n->whiteout || n->nondir || n->dir))
        return true;
    for (const struct st_node *a = n->parent; a; a = a->parent)
        if (a->stamp == now && (a->whiteout || a->opaque || a->nondir))
            return true;
    return false;
}

bool st_tree_hides_own(const struct st_tree *t, const struct st_node *n, uint64_t entry)
{
    uint32_t now = t->layer + 1;
    if (n->stamp == now && (n->nondir > entry + 1 || n->dir > entry + 1))
        return true;
    for (const struct st_node *a = n->parent; a; a = a->parent)
        if (a->stamp == now && a->nondir > entry + 1)
            return true;
    return false;
}
