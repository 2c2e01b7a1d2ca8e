#include "base/map.h"

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = ROTL(s->v1, 13) ^ s->v0;
    s->v0 = ROTL(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = ROTL(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = ROTL(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = ROTL(s->v1, 17) ^ s->v2;
    s->v2 = ROTL(s->v2, 32);
}

uint64_t st_hash(struct st_sv text)
{
    const uint64_t k0 = 0x7374656c6c612d31ull, k1 = 0x706174682d736574ull;
    struct sip s = {k0 ^ 0x736f6d6570736575ull, k1 ^ 0x646f72616e646f6dull, k0 ^ 0x6c7967656e657261ull,
                    k1 ^ 0x7465646279746573ull};
    const char *p = text.ptr;
    size_t left = text.len;
    for (; left >= 8; p += 8, left -= 8) {
        uint64_t m;
        memcpy(&m, p, 8);
        s.v3 ^= m;
        sip_round(&s);
        s.v0 ^= m;
    }
    uint64_t b = 0;
    if (left && text.len >= 8) { // the last word of the text, less what was taken already
        memcpy(&b, p + left - 8, 8);
        b >>= 64 - 8 * left;
    }
    for (size_t i = 0; i < left && text.len < 8; i++)
        b |= (uint64_t)(unsigned char)p[i] << (8 * i);
    b |= (uint64_t)text.len << 56;
    s.v3 ^= b;
    sip_round(&s);
    s.v0 ^= b;
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

void st_map_init(struct st_map *m, struct st_mem *mem)
{
    *m = (struct st_map){.mem = mem};
}

void st_map_release(struct st_map *m)
{
    st_mem_unmap(m->mem, m->slots, m->bytes);
    *m = (struct st_map){.mem = m->mem};
}

// Keys are hashes already; one multiplication spreads those that callers composed by hand.
static size_t start_of(uint64_t key, size_t cap)
{
    return (size_t)((key * 0x9e3779b97f4a7c15ull) >> 20) & (cap - 1);
}

static struct st_map_slot *find(struct st_map_slot *slots, size_t cap, uint64_t key)
{
    size_t i = start_of(key, cap);
    while (slots[i].key && slots[i].key != key)
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

uint64_t *st_map_get(const struct st_map *m, uint64_t key)
{
    if (m->cap == 0)
        return NULL;
    key += key == 0;
    struct st_map_slot *s = find(m->slots, m->cap, key);
    return s->key ? &s->value : NULL;
}

static int grow(struct st_map *m, struct st_err *err)
{
    size_t cap = m->cap ? m->cap * 2 : 256, bytes;
    struct st_map_slot *slots = st_mem_map(m->mem, cap * sizeof *slots, &bytes, err);
    if (!slots)
        return -1;
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key)
            *find(slots, cap, m->slots[i].key) = m->slots[i];
    st_mem_unmap(m->mem, m->slots, m->bytes);
    m->slots = slots;
    m->bytes = bytes;
    m->cap = cap;
    return 0;
}

uint64_t *st_map_put(struct st_map *m, uint64_t key, bool *ret_new, struct st_err *err)
{
    if (m->count >= m->cap - m->cap / 4 && grow(m, err))
        return NULL;
    key += key == 0;
    struct st_map_slot *s = find(m->slots, m->cap, key);
    bool fresh = s->key == 0;
    if (fresh) {
        s->key = key;
        m->count++;
    }
    if (ret_new)
        *ret_new = fresh;
    return &s->value;
}
