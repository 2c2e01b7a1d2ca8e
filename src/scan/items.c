// From visible evidence to the inventory: packages sorted and joined by purl, with their evidence, notes, owners and
// dependencies. Records are read again from the fragments when an item is asked for.
#include "base/ckd.h"
#include "inventory/purl.h"
#include "scan/fragment_int.h"
#include "scan/merge_int.h"

#include "base/sort.h"

static uint64_t name_key(enum st_pkg_type type, struct st_sv name)
{
    return st_hash_mix((uint64_t)type + 1, st_hash(name));
}

// ---- reading the records of one evidence ----------------------------------------------------------------------------

// Calls visit for every record of e's file. The record is valid until visit returns.
static int each_record(struct st_merge *m, struct st_evid *e,
                       int (*visit)(struct st_merge *m, struct st_evid *e, const struct st_frag_record *rec,
                                    struct st_err *err),
                       struct st_err *err)
{
    struct st_frag_reader *r = &m->readers[e->layer];
    struct st_frag_record rec;
    int rc;
    st_frag_seek(r, e->records);
    rc = st_frag_next(r, &rec, err); // the FILE itself
    if (rc <= 0)
        return rc < 0 ? -1 : st_err_set(err, ST_E_CORRUPT, "layer fragment: cut short");
    uint64_t at = r->pos;
    for (;;) {
        r->pos = at; // visit may have moved the reader
        rc = st_frag_next(r, &rec, err);
        if (rc <= 0 || rec.tag == ST_FRAG_FILE || rec.tag == ST_FRAG_END)
            return rc < 0 ? -1 : 0;
        at = r->pos;
        if (visit(m, e, &rec, err))
            return -1;
    }
}

// ---- unknowns -------------------------------------------------------------------------------------------------------

int st_merge_add_unknown(struct st_merge *m, const struct st_unknown *u, struct st_err *err)
{
    if (m->n_unknowns == m->cap_unknowns) {
        size_t cap = m->cap_unknowns ? m->cap_unknowns * 2 : 16;
        struct st_unknown *p = st_arena_array(&m->arena, cap, sizeof *p, err);
        if (!p)
            return -1;
        if (m->n_unknowns)
            memcpy(p, m->unknowns, m->n_unknowns * sizeof *p);
        m->unknowns = p;
        m->cap_unknowns = cap;
    }
    struct st_unknown *own = &m->unknowns[m->n_unknowns];
    *own = *u;
    if (st_arena_dup(&m->arena, u->path, &own->path, err) || st_arena_dup(&m->arena, u->inner, &own->inner, err) ||
        st_arena_dup(&m->arena, u->text, &own->text, err))
        return -1;
    m->n_unknowns++;
    return 0;
}

static int by_path(const void *a, const void *b)
{
    const struct st_unknown *x = a, *y = b;
    int c = st_sv_cmp(x->path, y->path);
    c = c ? c : st_sv_cmp(x->inner, y->inner);
    c = c ? c : (x->reason > y->reason) - (x->reason < y->reason);
    return c ? c : st_sv_cmp(x->text, y->text);
}

// ---- first round: what stands for itself (distribution, notes, unknowns, owners) ------------------------------------

// os-release(5): /etc wins over /usr/lib; older release files only where there is neither.
static int distro_rank(const struct st_evid *e, const struct st_distro *d)
{
    if (d->from_release_file)
        return 1;
    return st_sv_starts(e->node->path, ST_SV("etc/")) ? 3 : 2;
}

static int take_distro(struct st_merge *m, struct st_evid *e, const struct st_frag_record *rec, struct st_err *err)
{
    struct st_distro d;
    if (st_frag_get_distro(rec, &d, err))
        return -1;
    int rank = distro_rank(e, &d);
    // Where several release files speak, the first by path counts.
    if (rank < m->distro_rank || (rank == m->distro_rank && st_sv_cmp(e->node->path, m->distro_path) >= 0))
        return 0;
    m->distro_path = e->node->path;
    m->distro_rank = rank;
    m->distro = d;
    for (size_t i = 0; i < ST_DISTRO_TEXTS; i++)
        if (st_arena_dup(&m->arena, *st_distro_text(&d, i), st_distro_text(&m->distro, i), err))
            return -1;
    return 0;
}

static int take_note(struct st_merge *m, const struct st_frag_record *rec, struct st_err *err)
{
    struct st_note n;
    if (st_frag_get_note(rec, &n, err))
        return -1;
    uint64_t key = n.path.len ? st_path_hash(n.path) : name_key(n.type, n.name);
    uint64_t *slot = st_map_put(&m->notes, key, NULL, err);
    struct st_merge_note *note = slot ? ST_ARENA_NEW(&m->arena, struct st_merge_note, err) : NULL;
    if (!note || st_arena_dup(&m->arena, n.key, &note->key, err) || st_arena_dup(&m->arena, n.value, &note->value, err))
        return -1;
    struct st_merge_note **last = (struct st_merge_note **)(void *)slot;
    while (*last)
        last = &(*last)->next;
    *last = note;
    return 0;
}

static int take_owner(struct st_merge *m, const struct st_frag_record *rec, struct st_err *err)
{
    enum st_pkg_type type;
    struct st_sv name;
    if (st_frag_get_owner(rec, &type, &name, err))
        return -1;
    if (m->n_owners == m->cap_owners) {
        size_t cap = m->cap_owners ? m->cap_owners * 2 : 256;
        uint64_t *p = st_arena_array(&m->arena, cap, sizeof *p, err);
        if (!p)
            return -1;
        if (m->n_owners)
            memcpy(p, m->owner_keys, m->n_owners * sizeof *p);
        m->owner_keys = p;
        m->cap_owners = cap;
    }
    m->owner_keys[m->n_owners++] = name_key(type, name);
    return 0;
}

static void take_owned(struct st_merge *m, const struct st_frag_record *rec)
{
    for (size_t i = 0; m->n_owners && i < st_frag_count(rec); i++) {
        struct st_node *n = st_tree_find(&m->tree, ST_ITEM_HASH(st_frag_at(rec, i)));
        if (n)
            st_tree_resolve(&m->tree, n)->owner = (uint32_t)m->n_owners;
    }
}

static int first_round(struct st_merge *m, struct st_evid *e, const struct st_frag_record *rec, struct st_err *err)
{
    struct st_unknown u;
    switch (rec->tag) {
    case ST_FRAG_DISTRO:
        return take_distro(m, e, rec, err);
    case ST_FRAG_NOTE:
        return take_note(m, rec, err);
    case ST_FRAG_OWNER:
        return take_owner(m, rec, err);
    case ST_FRAG_OWNED:
        take_owned(m, rec);
        return 0;
    case ST_FRAG_UNKNOWN:
        if (st_frag_get_unknown(rec, &u, err))
            return -1;
        u.path = e->node->path;
        return st_merge_add_unknown(m, &u, err);
    default:
        return 0;
    }
}

// ---- second round: packages -----------------------------------------------------------------------------------------

struct notes_of {
    const struct st_merge_note *by_path, *by_name;
};

static const struct st_merge_note *notes_at(const struct st_merge *m, uint64_t key)
{
    const uint64_t *v = st_map_get(&m->notes, key);
    return v ? (const struct st_merge_note *)(uintptr_t)*v : NULL;
}

static struct notes_of notes_of(const struct st_merge *m, const struct st_evid *e, const struct st_package *p)
{
    return (struct notes_of){notes_at(m, st_path_hash(e->path)), notes_at(m, name_key(p->type, p->name))};
}

static bool same_text(const struct st_sv *list, size_t n, struct st_sv s)
{
    for (size_t i = 0; i < n; i++)
        if (st_sv_eq(list[i], s))
            return true;
    return false;
}

// Appends what the notes with `prefix` say to the package's list; arrays are made anew in the arena.
static int add_kvs(struct st_kvs *list, struct notes_of notes, struct st_sv prefix, struct st_arena *a,
                   struct st_err *err)
{
    size_t more = 0;
    const struct st_merge_note *const heads[] = {notes.by_path, notes.by_name};
    for (size_t h = 0; h < 2; h++)
        for (const struct st_merge_note *n = heads[h]; n; n = n->next)
            more += st_sv_starts(n->key, prefix);
    if (more == 0)
        return 0;
    struct st_kv *at = st_arena_array(a, list->n + more, sizeof *at, err);
    if (!at)
        return -1;
    size_t k = list->n;
    if (k)
        memcpy(at, list->at, k * sizeof *at);
    for (size_t h = 0; h < 2; h++)
        for (const struct st_merge_note *n = heads[h]; n; n = n->next)
            if (st_sv_starts(n->key, prefix))
                at[k++] = (struct st_kv){st_sv_from(n->key, prefix.len), n->value};
    *list = (struct st_kvs){at, k};
    return 0;
}

static int add_licenses(struct st_package *p, struct notes_of notes, struct st_arena *a, struct st_err *err)
{
    size_t more = 0;
    const struct st_merge_note *const heads[] = {notes.by_path, notes.by_name};
    for (size_t h = 0; h < 2; h++)
        for (const struct st_merge_note *n = heads[h]; n; n = n->next)
            more += st_sv_eq(n->key, ST_SV("license"));
    if (more == 0)
        return 0;
    struct st_sv *at = st_arena_array(a, p->licenses.n + more, sizeof *at, err);
    if (!at)
        return -1;
    size_t k = p->licenses.n;
    if (k)
        memcpy(at, p->licenses.at, k * sizeof *at);
    for (size_t h = 0; h < 2; h++)
        for (const struct st_merge_note *n = heads[h]; n; n = n->next)
            if (st_sv_eq(n->key, ST_SV("license")) && !same_text(at, k, n->value))
                at[k++] = n->value;
    p->licenses = (struct st_svs){at, k};
    return 0;
}

static int read_package(struct st_merge *m, const struct st_evid *e, const struct st_frag_record *rec,
                        struct st_arena *a, struct st_package *p, struct st_err *err)
{
    if (st_frag_get_package(rec, a, p, err))
        return -1;
    struct notes_of notes = notes_of(m, e, p);
    if (!notes.by_path && !notes.by_name)
        return 0;
    return add_kvs(&p->quals, notes, ST_SV("qual:"), a, err) || add_kvs(&p->meta, notes, ST_SV("meta:"), a, err) ||
                   add_licenses(p, notes, a, err)
               ? -1
               : 0;
}

static int second_round(struct st_merge *m, struct st_evid *e, const struct st_frag_record *rec, struct st_err *err)
{
    if (rec->tag != ST_FRAG_PACKAGE)
        return 0;
    struct st_package p;
    struct st_buf purl;
    st_buf_init(&purl, m->mem);
    st_arena_reset(&m->item_arena);
    struct st_ref *ref = &m->refs[m->n_refs];
    *ref = (struct st_ref){.evid = e, .record = rec->offset};
    int rc = read_package(m, e, rec, &m->item_arena, &p, err);
    if (rc == 0)
        rc = st_purl_package(&p, m->inventory.distro, &purl, err);
    if (rc == 0)
        rc = st_arena_dup(&m->arena, st_buf_sv(&purl), &ref->purl, err) ||
                     st_arena_dup(&m->arena, p.inner, &ref->inner, err)
                 ? -1
                 : 0;
    st_buf_release(&purl);
    m->n_refs += rc == 0;
    return rc;
}

static int by_purl(const void *a, const void *b)
{
    const struct st_ref *x = a, *y = b;
    int c = st_sv_cmp(x->purl, y->purl);
    c = c ? c : st_sv_cmp(x->evid->node->path, y->evid->node->path);
    c = c ? c : st_sv_cmp(x->inner, y->inner);
    c = c ? c : (x->evid->layer > y->evid->layer) - (x->evid->layer < y->evid->layer);
    return c ? c : (x->record > y->record) - (x->record < y->record);
}

static int collect_refs(struct st_merge *m, struct st_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_visible; i++)
        n += m->visible[i]->n_keys;
    if (n == 0)
        return 0;
    if (n >= UINT32_MAX / 2)
        return st_err_set(err, ST_E_LIMIT, "%zu packages are more than an inventory can hold", n);
    m->refs = st_mem_map(m->mem, n * sizeof *m->refs, &m->refs_bytes, err);
    if (!m->refs)
        return -1;
    for (size_t i = 0; i < m->n_visible; i++) {
        struct st_evid *e = m->visible[i];
        size_t first = m->n_refs;
        if (e->n_keys == 0)
            continue;
        if (each_record(m, e, second_round, err))
            return -1;
        if (m->n_refs - first != e->n_keys)
            return st_err_set(err, ST_E_CORRUPT, "layer fragment: package count changed");
        for (size_t k = first; k < m->n_refs; k++)
            m->refs[k].introduced = e->introduced[k - first];
    }
    st_sort(m->refs, m->n_refs, sizeof *m->refs, by_purl);
    return 0;
}

// ---- joining by purl, and what packages declare of each other -------------------------------------------------------

static int number_items(struct st_merge *m, struct st_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_refs; i++)
        n += i == 0 || !st_sv_eq(m->refs[i].purl, m->refs[i - 1].purl);
    m->items = st_mem_map(m->mem, (n + 1) * sizeof *m->items, &m->items_bytes, err);
    if (!m->items)
        return -1;
    size_t k = 0;
    for (size_t i = 0; i < m->n_refs; i++)
        if (i == 0 || !st_sv_eq(m->refs[i].purl, m->refs[i - 1].purl))
            m->items[k++] = (uint32_t)i;
    m->items[k] = (uint32_t)m->n_refs;
    m->inventory.n_packages = (uint32_t)n;
    return 0;
}

static int read_item(struct st_merge *m, uint32_t i, struct st_arena *a, struct st_package *ret, struct st_err *err)
{
    const struct st_ref *ref = &m->refs[m->items[i]];
    struct st_frag_reader *r = &m->readers[ref->evid->layer];
    struct st_frag_record rec;
    st_frag_seek(r, ref->record);
    int rc = st_frag_next(r, &rec, err);
    if (rc <= 0 || rec.tag != ST_FRAG_PACKAGE)
        return rc < 0 ? -1 : st_err_set(err, ST_E_CORRUPT, "layer fragment: package is gone");
    return read_package(m, ref->evid, &rec, a, ret, err);
}

// First to come keeps the name; a package's own name goes before what others provide (own names are put first).
static int put_first(struct st_map *map, uint64_t key, uint32_t item, struct st_err *err)
{
    bool fresh;
    uint64_t *v = st_map_put(map, key, &fresh, err);
    if (!v)
        return -1;
    if (fresh)
        *v = item + 1ull;
    return 0;
}

static int index_names(struct st_merge *m, struct st_err *err)
{
    struct st_package p;
    for (int provided = 0; provided < 2; provided++)
        for (uint32_t i = 0; i < m->inventory.n_packages; i++) {
            // Only databases have names to look for; a look at the purl saves reading the others.
            st_arena_reset(&m->item_arena);
            if (read_item(m, i, &m->item_arena, &p, err))
                return -1;
            if (!st_pkg_type_info(p.type)->database)
                continue;
            if (!provided && (put_first(&m->provides, name_key(p.type, p.name), i, err) ||
                              put_first(&m->owners, name_key(p.type, p.name), i, err)))
                return -1;
            for (size_t k = 0; provided && k < p.provides.n; k++)
                if (put_first(&m->provides, name_key(p.type, p.provides.at[k]), i, err))
                    return -1;
        }
    return 0;
}

static int by_ordinal(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int fill_depends(struct st_merge *m, uint32_t self, struct st_item *it, struct st_err *err)
{
    if (it->pkg.depends.n == 0)
        return 0;
    uint32_t *at = st_arena_array(&m->item_arena, it->pkg.depends.n, sizeof *at, err);
    if (!at)
        return -1;
    size_t n = 0;
    for (size_t i = 0; i < it->pkg.depends.n; i++) {
        struct st_sv rest = it->pkg.depends.at[i], name;
        while (st_sv_split(&rest, '|', &name)) { // the first alternative that is installed
            const uint64_t *v = st_map_get(&m->provides, name_key(it->pkg.type, name));
            if (!v)
                continue;
            if (*v - 1 != self)
                at[n++] = (uint32_t)(*v - 1);
            break;
        }
    }
    if (n)
        st_sort(at, n, sizeof *at, by_ordinal);
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (k == 0 || at[k - 1] != at[i])
            at[k++] = at[i];
    it->depends = at;
    it->n_depends = k;
    return 0;
}

// ---- the inventory's functions --------------------------------------------------------------------------------------

static uint32_t owner_of(const struct st_merge *m, const struct st_evid *e, const struct st_package *p)
{
    if (!e->node->owner || st_pkg_type_info(p->type)->database)
        return ST_ITEM_NONE;
    const uint64_t *v = st_map_get(&m->owners, m->owner_keys[e->node->owner - 1]);
    return v ? (uint32_t)(*v - 1) : ST_ITEM_NONE;
}

static int fill_evidence(struct st_merge *m, uint32_t i, struct st_item *it, struct st_err *err)
{
    uint32_t first = m->items[i], end = m->items[i + 1];
    struct st_evidence *ev = st_arena_array(&m->item_arena, end - first, sizeof *ev, err);
    if (!ev)
        return -1;
    size_t k = 0;
    it->layer = UINT32_MAX;
    for (uint32_t r = first; r < end; r++) {
        const struct st_ref *ref = &m->refs[r];
        it->layer = ST_MIN(it->layer, ref->introduced);
        if (k && st_sv_eq(ev[k - 1].path, ref->evid->node->path) && st_sv_eq(ev[k - 1].inner, ref->inner))
            continue; // two catalogers, or one file that names a package twice
        ev[k++] = (struct st_evidence){ref->evid->node->path, ref->inner, ref->evid->layer};
    }
    it->evidence = ev;
    it->n_evidence = k;
    return 0;
}

static int get_package(void *ctx, uint32_t i, struct st_item *ret, struct st_err *err)
{
    struct st_merge *m = ctx;
    st_arena_reset(&m->item_arena);
    const struct st_ref *ref = &m->refs[m->items[i]];
    *ret = (struct st_item){.purl = ref->purl, .found_by = st_sv_of(st_catalogers[ref->evid->cataloger]->name)};
    if (read_item(m, i, &m->item_arena, &ret->pkg, err) || fill_evidence(m, i, ret, err) ||
        fill_depends(m, i, ret, err))
        return -1;
    ret->owner = owner_of(m, ref->evid, &ret->pkg);
    if (m->mem->spill_live && (i & 255) == 0)
        st_mem_trim(m->mem);
    return 0;
}

static int get_purl(void *ctx, uint32_t i, struct st_sv *ret, struct st_err *err)
{
    (void)err;
    const struct st_merge *m = ctx;
    *ret = m->refs[m->items[i]].purl;
    return 0;
}

static int get_unknown(void *ctx, uint32_t i, struct st_unknown *ret, struct st_err *err)
{
    (void)err;
    *ret = ((const struct st_merge *)ctx)->unknowns[i];
    return 0;
}

int st_merge_items(struct st_merge *m, struct st_err *err)
{
    st_map_init(&m->provides, m->mem);
    st_map_init(&m->owners, m->mem);
    st_map_init(&m->notes, m->mem);
    for (size_t i = 0; i < m->n_visible; i++)
        if (each_record(m, m->visible[i], first_round, err))
            return -1;
    m->inventory.distro = m->distro_rank ? &m->distro : NULL;
    if (collect_refs(m, err) || number_items(m, err) || index_names(m, err))
        return -1;
    if (m->n_unknowns)
        st_sort(m->unknowns, m->n_unknowns, sizeof *m->unknowns, by_path);
    m->inventory.subject = m->subject;
    m->inventory.n_unknowns = (uint32_t)m->n_unknowns;
    m->inventory.ctx = m;
    m->inventory.package = get_package;
    m->inventory.purl = get_purl;
    m->inventory.unknown = get_unknown;
    return 0;
}

void st_merge_items_release(struct st_merge *m)
{
    if (m->notes.mem)
        st_map_release(&m->notes);
    if (m->owners.mem)
        st_map_release(&m->owners);
    if (m->provides.mem)
        st_map_release(&m->provides);
    st_mem_unmap(m->mem, m->items, m->items_bytes);
    st_mem_unmap(m->mem, m->refs, m->refs_bytes);
}
