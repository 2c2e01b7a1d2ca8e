// Hashing and a small open-addressing map from 64-bit keys to 64-bit values.
#ifndef ST_BASE_MAP_H
#define ST_BASE_MAP_H

#include "base/mem.h"

// SipHash-1-3 with a fixed key: the same text has the same hash in every process, so hashes may be
// stored in fragments (docs/adr/0003). 64 bits: chance of one false match among 10^6 candidates and
// 10^7 paths is below 10^-6.
uint64_t st_hash(struct st_sv s);
// Continue a hash: st_hash_mix(st_hash(a), st_hash(b)) for composed keys.
static inline uint64_t st_hash_mix(uint64_t a, uint64_t b)
{
    uint64_t h = (a ^ (b + 0x9e3779b97f4a7c15ull + (a << 6) + (a >> 2))) * 0xff51afd7ed558ccdull;
    return h ^ (h >> 32);
}

struct st_map {
    struct st_mem *mem; // borrowed
    struct st_map_slot *slots;
    size_t bytes;      // of slots, as st_mem_map gave them
    size_t cap, count; // cap is a power of two; load is kept below 3/4
};

struct st_map_slot {
    uint64_t key; // 0: empty; a key of 0 is stored as 1
    uint64_t value;
};

void st_map_init(struct st_map *m, struct st_mem *mem);
void st_map_release(struct st_map *m);
// Slot's value, or NULL when absent. Valid until the next st_map_put.
uint64_t *st_map_get(const struct st_map *m, uint64_t key);
// Value of the key's slot, made with value 0 when absent (*ret_new set). NULL with err on refusal.
uint64_t *st_map_put(struct st_map *m, uint64_t key, bool *ret_new, struct st_err *err);

#endif
