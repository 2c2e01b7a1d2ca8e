#include "base/ckd.h"
#include "base/wire.h"
#include "scan/fragment_int.h"
#include "scan/merge_int.h"

#include "base/sort.h"

#define NAME_ROUNDS_MAX 4 // links through links through links

// ---- loading evidence -----------------------------------------------------------------------------------------------

static int cataloger_index(struct st_sv name, uint8_t *ret)
{
    for (uint8_t i = 0; st_catalogers[i]; i++)
        if (st_sv_eq(name, st_sv_of(st_catalogers[i]->name))) {
            *ret = i;
            return 0;
        }
    return -1;
}

// Everything that makes a package the same one in the next layer: type, namespace, name, version, epoch, architecture,
// as they stand at the start of the record.
static uint64_t package_key(struct st_sv payload)
{
    struct st_wire_in in = {.rest = payload};
    st_wire_u64(&in);
    for (int i = 0; i < 5; i++)
        st_wire_sv(&in);
    return st_hash(st_sv_sub(payload, 0, payload.len - in.rest.len));
}

struct loading {           // of one fragment
    struct st_buf numbers; // struct st_evid * per FILE number
    struct st_buf keys;    // of the FILE in hand
    struct st_buf list;    // struct st_evid * of all layers
    struct st_evid *file;
};

static int add_ptr(struct st_buf *b, struct st_evid *e, struct st_err *err)
{
    return st_buf_add(b, st_sv_mem(&e, sizeof e), err);
}

static int end_file(struct st_merge *m, struct loading *l, struct st_err *err)
{
    struct st_evid *e = l->file;
    if (!e || l->keys.len == 0)
        return 0;
    uint64_t *keys = st_arena_alloc(&m->arena, l->keys.len, err);
    if (!keys)
        return -1;
    memcpy(keys, l->keys.ptr, l->keys.len);
    e->keys = keys;
    e->n_keys = (uint32_t)(l->keys.len / sizeof *keys);
    st_buf_clear(&l->keys);
    return 0;
}

static int load_file(struct st_merge *m, struct loading *l, uint32_t layer, const struct st_frag_record *rec,
                     struct st_err *err)
{
    struct st_frag_file f;
    if (end_file(m, l, err) || st_frag_get_file(rec, &f, err))
        return -1;
    struct st_evid *e = ST_ARENA_NEW(&m->arena, struct st_evid, err);
    if (!e)
        return -1;
    e->layer = layer;
    e->entry = f.entry;
    e->order = (uint32_t)(l->list.len / sizeof e);
    e->named = st_tree_add(&m->tree, f.path, err);
    if (!e->named)
        return -1;
    e->path = e->named->path;
    if (rec->tag == ST_FRAG_FILE) {
        e->records = rec->offset;
        l->file = e;
        if (cataloger_index(f.cataloger, &e->cataloger))
            return st_err_set_off(err, ST_E_CORRUPT, rec->offset, "layer fragment: unknown cataloger");
        if (add_ptr(&l->numbers, e, err))
            return -1;
    } else {
        if (f.number >= l->numbers.len / sizeof e)
            return st_err_set_off(err, ST_E_CORRUPT, rec->offset, "layer fragment: alias of a file that is not there");
        l->file = NULL;
        // The records of the FILE may still be coming (they never are: an alias follows), so only the address is kept.
        e->before = ((struct st_evid **)(void *)l->numbers.ptr)[f.number];
    }
    return add_ptr(&l->list, e, err);
}

static int by_entry(const void *a, const void *b)
{
    const struct st_evid *x = *(struct st_evid *const *)a, *y = *(struct st_evid *const *)b;
    if (x->entry != y->entry)
        return x->entry < y->entry ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static int load_fragment(struct st_merge *m, struct loading *l, uint32_t layer, struct st_err *err)
{
    struct st_frag_record rec;
    struct st_frag_reader *r = &m->readers[layer];
    size_t first = l->list.len / sizeof(struct st_evid *);
    int rc;
    st_buf_clear(&l->numbers);
    st_buf_clear(&l->keys);
    l->file = NULL;
    while ((rc = st_frag_next(r, &rec, err)) > 0) {
        if (rec.tag == ST_FRAG_FILE || rec.tag == ST_FRAG_ALIAS) {
            if (load_file(m, l, layer, &rec, err))
                return -1;
        } else if (rec.tag == ST_FRAG_PACKAGE) {
            uint64_t key = package_key(rec.payload);
            if (st_buf_add(&l->keys, st_sv_mem(&key, sizeof key), err))
                return -1;
        }
    }
    if (rc < 0 || end_file(m, l, err))
        return -1;
    // Aliases take over what their file says.
    struct st_evid **list = (struct st_evid **)(void *)l->list.ptr;
    size_t n = l->list.len / sizeof *list;
    for (size_t i = first; i < n; i++)
        if (list[i]->before) {
            const struct st_evid *of = list[i]->before;
            list[i]->records = of->records;
            list[i]->keys = of->keys;
            list[i]->n_keys = of->n_keys;
            list[i]->cataloger = of->cataloger;
            list[i]->before = NULL;
        }
    if (n > first)
        st_sort(list + first, n - first, sizeof *list, by_entry);
    return 0;
}

static int load_evidence(struct st_merge *m, struct st_err *err)
{
    struct loading l = {0};
    st_buf_init(&l.numbers, m->mem);
    st_buf_init(&l.keys, m->mem);
    st_buf_init(&l.list, m->mem);
    int rc = 0;
    for (uint32_t i = 0; i < m->n_layers && rc == 0; i++) {
        m->layer_first[i] = l.list.len / sizeof(struct st_evid *);
        if (m->readers[i].fd >= 0 && load_fragment(m, &l, i, err))
            rc = st_err_wrap(err, "layer %u", i);
    }
    size_t n = l.list.len / sizeof(struct st_evid *);
    m->layer_first[m->n_layers] = n;
    if (rc == 0 && n) {
        m->evid = st_arena_array(&m->arena, n, sizeof *m->evid, err);
        m->visible = st_arena_array(&m->arena, n, sizeof *m->visible, err);
        if (m->evid && m->visible)
            memcpy(m->evid, l.list.ptr, n * sizeof *m->evid);
        else
            rc = -1;
        m->n_evid = n;
    }
    st_buf_release(&l.numbers);
    st_buf_release(&l.keys);
    st_buf_release(&l.list);
    return rc;
}

// ---- links ----------------------------------------------------------------------------------------------------------

static int offer_links(struct st_merge *m, struct st_err *err)
{
    st_tree_clear_links(&m->tree);
    for (uint32_t i = 0; i < m->n_layers; i++) {
        struct st_frag_reader *r = &m->readers[i];
        if (r->fd < 0)
            continue;
        struct st_frag_record rec;
        st_frag_rewind(r);
        int rc;
        while ((rc = st_frag_next(r, &rec, err)) > 0) {
            uint64_t entry;
            struct st_sv path, target;
            if (rec.tag == ST_FRAG_SYMLINK && (st_frag_get_symlink(&rec, &entry, &path, &target, err) ||
                                               st_tree_link(&m->tree, i, entry, path, target, err) < 0))
                return -1;
        }
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int settle_names(struct st_merge *m, struct st_err *err)
{
    for (int round = 0; round < NAME_ROUNDS_MAX; round++) {
        if (offer_links(m, err))
            return -1;
        int rc = st_tree_names(&m->tree, err);
        if (rc <= 0)
            return rc;
    }
    m->names_open = true;
    return 0;
}

// ---- applying layers ------------------------------------------------------------------------------------------------

#define FEW 16 // keys that are looked for one by one

static bool few_before(const struct st_evid *e, uint64_t key, uint32_t *ret)
{
    for (const struct st_evid *b = e->before; b; b = b->next)
        for (uint32_t i = 0; i < b->n_keys; i++)
            if (b->keys[i] == key) {
                *ret = b->introduced[i];
                return true;
            }
    return false;
}

static int map_before(struct st_map *old, const struct st_evid *e, struct st_err *err)
{
    for (const struct st_evid *b = e->before; b; b = b->next)
        for (uint32_t i = 0; i < b->n_keys; i++) {
            uint64_t *v = st_map_put(old, b->keys[i], NULL, err);
            if (!v)
                return -1;
            *v = b->introduced[i];
        }
    return 0;
}

// The layer in which each package first appeared in an unbroken line of versions of this file.
static int introduce(struct st_merge *m, struct st_evid *e, struct st_err *err)
{
    if (e->n_keys == 0)
        return 0;
    e->introduced = st_arena_array(&m->arena, e->n_keys, sizeof *e->introduced, err);
    if (!e->introduced)
        return -1;
    size_t before = 0;
    for (const struct st_evid *b = e->before; b; b = b->next)
        before += b->n_keys;
    struct st_map old;
    st_map_init(&old, m->mem);
    int rc = before > FEW ? map_before(&old, e, err) : 0;
    for (uint32_t i = 0; i < e->n_keys && rc == 0; i++) {
        e->introduced[i] = e->layer;
        const uint64_t *v = st_map_get(&old, e->keys[i]);
        if (v)
            e->introduced[i] = (uint32_t)*v;
        else if (before && before <= FEW)
            few_before(e, e->keys[i], &e->introduced[i]);
    }
    st_map_release(&old);
    return rc;
}

// Names were still being added when the rounds ended, and this evidence is left under one that leads through a link.
static bool unsettled(const struct st_merge *m, const struct st_node *n)
{
    if (m->names_open)
        for (const struct st_node *a = n->parent; a; a = a->parent)
            if (a->link)
                return true;
    return false;
}

// Walks the layer's path items and its evidence side by side, in order of entries.
static int apply_items(struct st_merge *m, uint32_t layer, struct st_err *err)
{
    struct st_frag_reader *r = &m->readers[layer];
    struct st_frag_record rec;
    size_t next = m->layer_first[layer], end = m->layer_first[layer + 1];
    uint64_t entry = 0;
    int rc;
    st_frag_rewind(r);
    st_tree_begin(&m->tree, layer);
    while ((rc = st_frag_next(r, &rec, err)) > 0) {
        if (rec.tag != ST_FRAG_PATHS)
            continue;
        for (size_t i = 0; i < st_frag_count(&rec); i++, entry++) {
            st_tree_item(&m->tree, entry, st_frag_at(&rec, i));
            for (; next < end && m->evid[next]->entry == entry; next++) {
                m->evid[next]->node = st_tree_resolve(&m->tree, m->evid[next]->named);
                m->tree.too_many_names |= unsettled(m, m->evid[next]->node);
            }
        }
    }
    if (rc == 0 && next < end)
        return st_err_set(err, ST_E_CORRUPT, "layer fragment: evidence without a path");
    return rc;
}

static void hide_older(struct st_merge *m)
{
    size_t k = 0;
    for (size_t i = 0; i < m->n_visible; i++) {
        struct st_evid *e = m->visible[i];
        if (st_tree_hides_older(&m->tree, e->node))
            e->visible = false; // node->evidence stays for one more step: the new version asks it
        else
            m->visible[k++] = e;
    }
    m->n_visible = k;
}

static int show_own(struct st_merge *m, uint32_t layer, struct st_err *err)
{
    for (size_t i = m->layer_first[layer]; i < m->layer_first[layer + 1]; i++) {
        struct st_evid *e = m->evid[i];
        if (st_tree_hides_own(&m->tree, e->node, e->entry))
            continue;
        struct st_evid *here = e->node->evidence;
        // Read twice (a hard link whose target comes twice): the later reading counts.
        bool again = false;
        for (struct st_evid *o = here; o && o->layer == layer; o = o->next)
            if (o->entry == e->entry && o->cataloger == e->cataloger) {
                o->records = e->records;
                o->keys = e->keys;
                o->n_keys = e->n_keys;
                again = true;
                if (introduce(m, o, err))
                    return -1;
            }
        if (again)
            continue;
        if (here && here->layer == layer) {
            e->before = here->before;
            e->next = here;
        } else {
            e->before = here;
        }
        e->node->evidence = e;
        e->visible = true;
        m->visible[m->n_visible++] = e;
        if (introduce(m, e, err))
            return -1;
    }
    return 0;
}

static int apply_layers(struct st_merge *m, struct st_err *err)
{
    for (uint32_t i = 0; i < m->n_layers; i++) {
        if (m->readers[i].fd < 0)
            continue;
        if (apply_items(m, i, err))
            return st_err_wrap(err, "layer %u", i);
        hide_older(m);
        if (show_own(m, i, err))
            return -1;
        if (st_mem_spilled(m->mem))
            st_mem_trim(m->mem);
    }
    return 0;
}

// ---- the whole ------------------------------------------------------------------------------------------------------

static int merge(struct st_merge *m, const int *fragments, const struct st_unknown *extra, size_t n_extra,
                 struct st_err *err)
{
    for (size_t i = 0; i < m->n_layers; i++)
        m->readers[i].fd = -1;
    for (size_t i = 0; i < m->n_layers; i++)
        if (fragments[i] >= 0 && st_frag_open(&m->readers[i], &m->window, fragments[i], err))
            return st_err_wrap(err, "layer %zu", i);
    if (st_tree_init(&m->tree, &m->arena, m->mem, err) || load_evidence(m, err) || settle_names(m, err) ||
        apply_layers(m, err))
        return -1;
    for (size_t i = 0; i < n_extra; i++)
        if (st_merge_add_unknown(m, &extra[i], err))
            return -1;
    if (m->tree.too_many_names) {
        struct st_unknown u = {.reason = ST_UNKNOWN_LIMIT,
                               .text = ST_SV("symbolic links give evidence too many names")};
        if (st_merge_add_unknown(m, &u, err))
            return -1;
    }
    return st_merge_items(m, err);
}

struct st_merge *st_merge_new(struct st_mem *mem, const struct st_subject *subject, const int *fragments, size_t n,
                              const struct st_unknown *extra, size_t n_extra, bool complete, struct st_err *err)
{
    struct st_merge *m = st_mem_alloc(mem, sizeof *m, err);
    if (!m)
        return NULL;
    m->mem = mem;
    m->subject = subject;
    m->inventory.complete = complete;
    st_arena_init(&m->arena, mem);
    st_arena_init(&m->item_arena, mem);
    st_frag_window_init(&m->window, mem);
    m->readers = st_arena_array(&m->arena, n + 1, sizeof *m->readers, err);
    m->layer_first = st_arena_array(&m->arena, n + 1, sizeof *m->layer_first, err);
    if (m->readers && m->layer_first) {
        m->n_layers = n;
        if (merge(m, fragments, extra, n_extra, err) == 0)
            return m;
    }
    st_merge_free(m);
    return NULL;
}

void st_merge_free(struct st_merge *m)
{
    if (!m)
        return;
    st_merge_items_release(m);
    st_frag_window_release(&m->window);
    st_tree_release(&m->tree);
    st_arena_release(&m->item_arena);
    st_arena_release(&m->arena);
    st_mem_free(m->mem, m, sizeof *m);
}

const struct st_inventory *st_merge_inventory(const struct st_merge *m)
{
    return &m->inventory;
}
