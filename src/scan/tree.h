// The paths that evidence depends on (every evidence file and its ancestors, under every name that symbolic links give
// them) and what the layers, applied one after the other, do to them. Everything else in an image is looked up here by
// hash, missed, and forgotten.
#ifndef ST_SCAN_TREE_H
#define ST_SCAN_TREE_H

#include "base/map.h"
#include "scan/fragment.h"

#define ST_MERGE_NAMES_MAX 1000000 // names of evidence through symbolic links; more: an unknown (limit)

struct st_node {
    struct st_node *parent, *child, *sibling;
    struct st_sv path;    // normalised; borrowed from the arena
    struct st_link *link; // the symbolic link that stands here now; NULL: none
    void *evidence;       // of the merge: what is visible here now
    uint32_t owner;       // of the merge: number of the owning package + 1
    // What the layer `stamp` did here: entry index + 1 of the last of each, 0: nothing.
    uint32_t stamp;
    bool whiteout, opaque;
    uint64_t nondir, dir;
};

struct st_link {
    struct st_link *next;      // in order of (layer, entry)
    struct st_sv path, target; // target: normalised, from the root
    uint32_t layer;
    uint64_t entry;
    struct st_node *node; // of path
    bool active;
};

struct st_tree {
    struct st_arena *arena; // borrowed
    struct st_map by_hash;  // path hash -> struct st_node *
    struct st_node *root;
    struct st_link *links, *last_link, *next_link; // next_link: first that st_tree_item has not passed
    size_t names;                                  // nodes made for names through links
    bool too_many_names;
    uint32_t layer; // being applied
};

int st_tree_init(struct st_tree *t, struct st_arena *arena, struct st_mem *mem, struct st_err *err);
void st_tree_release(struct st_tree *t);
// The node of a path, made with its ancestors when it is not there.
struct st_node *st_tree_add(struct st_tree *t, struct st_sv path, struct st_err *err);
struct st_node *st_tree_find(const struct st_tree *t, uint64_t hash); // st_path_hash; NULL when nothing depends on it

// A symbolic link of a layer (called in order of layers). Kept when its path or its target is in the tree.
// 1: kept, 0: of no interest now. *target as stored.
int st_tree_link(struct st_tree *t, uint32_t layer, uint64_t entry, struct st_sv path, struct st_sv target,
                 struct st_err *err);
// Give every node its further names through the kept links. 1: nodes were added (offer the links that were not kept
// again), 0: nothing new.
int st_tree_names(struct st_tree *t, struct st_err *err);
void st_tree_clear_links(struct st_tree *t); // before they are offered again

// Apply a layer: begin, then its items in order of entries, then ask.
void st_tree_begin(struct st_tree *t, uint32_t layer);
void st_tree_item(struct st_tree *t, uint64_t entry, uint64_t item);
// The node that a name leads to now. The result may be the node itself.
struct st_node *st_tree_resolve(const struct st_tree *t, struct st_node *n);
// Has the layer that is being applied taken away what stood at n before it?
bool st_tree_hides_older(const struct st_tree *t, const struct st_node *n);
// Has it taken away what its own entry `entry` put there?
bool st_tree_hides_own(const struct st_tree *t, const struct st_node *n, uint64_t entry);

#endif
