// Configuration keys: one table of name, type, default, range, and when a change takes effect (operator-surface
// 2, 6.3).
#ifndef ST_SERVICE_KEYS_H
#define ST_SERVICE_KEYS_H

#include "command/program.h"
#include "store/store.h"

enum st_key_kind {
    ST_KEY_BYTES,        // quantity; canonical "4Gi"
    ST_KEY_BYTES_OFF,    // quantity, 0 (always) or "off" (never)
    ST_KEY_DURATION,     // seconds, canonical "20m"
    ST_KEY_DURATION_OFF, // or "off" (never; also 0)
    ST_KEY_COUNT,
    ST_KEY_BOOL,  // true, false
    ST_KEY_POOL,  // name of a pool that exists; may be unset
    ST_KEY_HOSTS, // "HOST[:PORT],HOST"; may be unset
};

struct st_key {
    const char *name; // "worker.memory_limit"
    enum st_key_kind kind;
    bool restart;    // workers use a change after `scanner workers restart`; else from the next job on
    const char *def; // canonical; "none": not set, and a value that the key takes
    uint64_t min, max;
    const char *what;
};
extern const struct st_key st_keys[];       // name NULL ends; sorted by name
extern const struct st_term st_key_terms[]; // the same as help shows it

// ST_E_USAGE "unknown key 'worker.memlimit'; did you mean worker.memory_limit?".
const struct st_key *st_key_find(struct st_sv name, struct st_err *err);
bool st_key_group(struct st_sv name); // does a key start with "NAME."?
#define ST_KEY_TEXT 64
// Check a value and bring it into canonical form. Whether a pool exists is the caller's to ask.
int st_key_canonical(const struct st_key *k, struct st_sv value, char ret[static ST_KEY_TEXT], struct st_err *err);
bool st_pool_name(struct st_sv name); // [a-z0-9][a-z0-9-]{0,62}

// Effective value, canonical; and typed.
int st_key_value(struct st_store *s, const struct st_key *k, char ret[static ST_KEY_TEXT], struct st_err *err);
int st_key_bytes(struct st_store *s, const char *key, uint64_t *ret, struct st_err *err); // off, none: UINT64_MAX
int st_key_count(struct st_store *s, const char *key, uint64_t *ret,
                 struct st_err *err); // also durations, in seconds; off: UINT64_MAX
int st_key_bool(struct st_store *s, const char *key, bool *ret, struct st_err *err);
// All of them as one JSON object {"key": "value"}: the snapshot that a job starts with.
int st_keys_snapshot(struct st_store *s, struct st_buf *to, struct st_err *err);
// The same with the restart keys of `over`, a JSON object (empty: none), in place of the current ones: what a worker
// began with. ST_E_INPUT for other keys and for values that a key does not take.
int st_keys_snapshot_over(struct st_store *s, struct st_sv over, struct st_arena *a, struct st_buf *to,
                          struct st_err *err);
// Only the restart keys.
int st_keys_restart(struct st_store *s, struct st_buf *to, struct st_err *err);

// Where a job of this size goes: "default", or the large pool when both routing keys are set and it is that large or
// its size is not known (operator-surface 6.3, pools and routing).
int st_key_route(struct st_store *s, bool has_size, uint64_t size, char ret[static ST_KEY_TEXT], struct st_err *err);

#endif
