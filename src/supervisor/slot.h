// A slot: a place for one worker. It has a pool, a number, a generation with its configuration, and runs one job at a
// time, each in a fresh process in a cgroup made for it.
//
//   idle -> starting -> busy -(stalled)-> ... its process ends -> clearing -> idle
//
// A process ends by itself, by the kernel, by the watchdog, or because it is told to (stopping): st_slot_stop asks, and
// kills when the time is over. However it ends, what was seen is judged once (verdict.h), told to the store, and the
// cgroup is emptied and removed.
#ifndef ST_SUPERVISOR_SLOT_H
#define ST_SUPERVISOR_SLOT_H

#include "supervisor/loop.h"
#include "supervisor/verdict.h"
#include "worker/worker_msg.h"

struct st_sup;
struct st_sup_pool;

enum st_slot_state {
    ST_SLOT_IDLE,
    ST_SLOT_STARTING, // a process that has not spoken yet
    ST_SLOT_BUSY,
    ST_SLOT_STALLED, // the watchdog has spoken of it
    ST_SLOT_STOPPING,
    ST_SLOT_CLEARING, // its process ended; its cgroup is not removed yet, or the watchdog's word is waited for
};

enum st_stop_why { ST_STOP_CANCEL, ST_STOP_RELEASE, ST_STOP_TIMEOUT, ST_STOP_LOST };

#define ST_SLOT_NAME 80 // "large-images-12"
#define ST_SLOT_ID 160  // "HOST/POOL-N"
#define ST_SLOT_SAMPLES 8
#define ST_SLOT_GRACE_CANCEL_MS 10000
#define ST_SLOT_GRACE_RELEASE_MS 30000
#define ST_SLOT_REASONS 7
extern const char *const st_slot_restart_words[ST_SLOT_REASONS]; // as st_restart_reasons

struct st_slot_sample {
    int64_t at_ms;    // CLOCK_MONOTONIC
    uint64_t current; // all of it; no cgroup: the sum of PSS
    uint64_t working; // without reclaimable file cache
    uint64_t file;    // reclaimable file cache
    uint64_t ev_max;
};

struct st_slot_job {
    char id[ST_JOB_ID + 1];
    uint64_t fence;
    uint32_t attempt;
    int64_t began_ms;
    char *large_pool; // owns; where a memory death is tried again: routing.large_image_pool of its configuration
};

struct st_slot {
    struct st_sup *sup;
    uint64_t tag; // never used twice in a process: answers find their slot by it
    char pool[64];
    unsigned number;
    char name[ST_SLOT_NAME], id[ST_SLOT_ID];
    enum st_slot_state state;
    uint64_t generation;
    uint64_t asked, memory; // limit of its pool when it began; what this host gives of it
    char *config;           // owns; the restart keys when it began
    bool leaving;           // surplus: gone when it is idle
    bool reserved;          // a claim is out for it

    struct st_slot_job job; // id empty: none
    int cgroup;             // -1
    pid_t pid;              // 0
    int pidfd, sock;        // -1
    struct st_io pidfd_io, sock_io;
    struct st_timer renew, deadline, kill, sample, clear;

    struct st_seen seen;
    struct st_worker_end end; // texts in words
    char *end_text;           // owns; JSON of the end, for an upgrade and for words
    bool spoke;
    bool ended; // its process; the verdict may still wait for the watchdog
    char phase[24], layer[160], file[256];
    uint64_t layer_at, layers, bytes;
    int64_t progress_ms, progress_wall_ms;
    struct st_slot_sample samples[ST_SLOT_SAMPLES]; // ring
    size_t n_samples;
    uint64_t peak, ev_max, ev_oom_kill;
    char *stall;                     // owns; the watchdog's record, JSON
    unsigned log_lines, log_dropped; // of this second
    int64_t log_second;

    uint64_t restarts[ST_SLOT_REASONS];
    bool has_exit;
    int exit_code, exit_signal;
    char reason[24], last_job[ST_JOB_ID + 1];
    int64_t ended_wall_ms;
    char *evidence; // owns; of the last process that was lost, JSON
    char note[200];
    unsigned start_failures; // in a row
};

int st_slot_new(struct st_sup *s, const struct st_sup_pool *p, unsigned number, struct st_slot **ret,
                struct st_err *err);
void st_slot_free(struct st_slot *t); // ends what runs in it at once
// Take over the generation and configuration of its pool. Only when idle.
void st_slot_renew(struct st_slot *t, const struct st_sup_pool *p);
void st_slot_count_restart(struct st_slot *t, const char *reason); // here and in the service's metrics
bool st_slot_free_for_job(const struct st_slot *t);

// A job was claimed for it. On failure the job is given back and the slot is as before.
// file: the image, where it came with the submission, else -1; closed here.
void st_slot_begin(struct st_slot *t, const struct st_job *job, int file);
void st_slot_stop(struct st_slot *t, enum st_stop_why why, bool at_once);
void st_slot_kill(struct st_slot *t);
void st_slot_renewed(struct st_slot *t, enum st_lease lease);
// The watchdog's record about its cgroup: JSON, borrowed. acted: it did something; acts: it asks for it.
void st_slot_watchdog(struct st_slot *t, struct st_sv record, bool acted, bool asks);
// After an upgrade: descriptors and job are set, go on.
int st_slot_adopt(struct st_slot *t, struct st_err *err);

// slot_sample.c
void st_slot_sample(struct st_slot *t);           // one sample into the ring
void st_slot_counters(struct st_slot *t);         // peak and events, also of an ended process
bool st_slot_over_limit(const struct st_slot *t); // in the last sample
uint64_t st_slot_tree_pss(pid_t pid);             // of a process and all below it

// slot_report.c
void st_slot_report(struct st_slot *t, const char *state); // NULL: its own
void st_slot_evidence(struct st_slot *t, const struct st_verdict *v, struct st_buf *to);
const char *st_slot_state_word(const struct st_slot *t);

#endif
