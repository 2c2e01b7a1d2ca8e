// Shared by merge.c (which evidence is visible) and items.c (what the inventory says about it).
#ifndef ST_SCAN_MERGE_INT_H
#define ST_SCAN_MERGE_INT_H

#include "scan/merge.h"
#include "scan/tree.h"

// One evidence file of one layer, as one cataloger read it.
struct st_evid {
    struct st_sv path;       // as the layer's tar has it
    struct st_node *named;   // node of path
    struct st_node *node;    // where it really lies
    struct st_evid *next;    // next of the same node and version (further catalogers)
    struct st_evid *before;  // what the same name held in lower layers, for `introduced`
    uint64_t entry, records; // offset in the fragment of the FILE record whose records count
    const uint64_t *keys;    // a hash per package, in order of the records
    uint32_t *introduced;    // layer per package
    uint32_t n_keys;
    uint32_t layer, order; // order: of the record in its fragment
    uint8_t cataloger;
    bool visible;
};

struct st_ref { // one package at one evidence
    struct st_sv purl;
    struct st_evid *evid;
    uint64_t record; // offset of the PACKAGE record
    struct st_sv inner;
    uint32_t introduced;
};

struct st_merge_note {
    struct st_merge_note *next; // of the same target, in order of appearance
    struct st_sv key, value;
};

struct st_merge {
    struct st_mem *mem;
    struct st_arena arena;
    const struct st_subject *subject;
    struct st_frag_window window;
    struct st_frag_reader *readers; // one a layer; fd -1: none
    size_t n_layers;
    struct st_tree tree;
    bool names_open;       // links would give evidence still more names
    struct st_evid **evid; // all, by layer, then entry, then order
    size_t n_evid, evid_bytes;
    size_t *layer_first; // index into evid, n_layers + 1 of them
    struct st_evid **visible;
    size_t n_visible;
    // items.c
    struct st_ref *refs; // sorted by purl, path, inner
    size_t n_refs, refs_bytes;
    uint32_t *items; // index into refs of each item's first, n_items + 1 of them
    size_t items_bytes;
    struct st_map provides; // capability hash -> ordinal + 1
    struct st_map owners;   // (type, name) hash -> ordinal + 1
    struct st_map notes;    // target hash -> struct st_merge_note *
    uint64_t *owner_keys;   // owner number -> (type, name) hash
    size_t n_owners, cap_owners;
    struct st_distro distro;
    int distro_rank; // 0: none
    struct st_sv distro_path;
    struct st_unknown *unknowns;
    size_t n_unknowns, cap_unknowns;
    struct st_arena item_arena; // of the item that was handed out last
    struct st_inventory inventory;
};

// Everything of the inventory, once evidence is settled.
int st_merge_items(struct st_merge *m, struct st_err *err);
void st_merge_items_release(struct st_merge *m);
int st_merge_add_unknown(struct st_merge *m, const struct st_unknown *u, struct st_err *err);

#endif
