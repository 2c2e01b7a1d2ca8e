// What the parts of the supervisor know of each other. One struct st_sup a process; parts call each other through the
// functions here.
#ifndef ST_SUPERVISOR_SUPERVISOR_INT_H
#define ST_SUPERVISOR_SUPERVISOR_INT_H

#include "service/client.h"
#include "supervisor/cgroups.h"
#include "supervisor/loop.h"
#include "supervisor/run_lock.h"
#include "supervisor/slot.h"
#include "supervisor/supervisor.h"

#define ST_LEASE_MS 30000
#define ST_RENEW_MS 10000
#define ST_REPORT_MS 2000
#define ST_SLOTS_MAX 256
#define ST_POOLS_MAX 64
#define ST_POOL_NAME 64

// ---- what is wanted (wanted.c), and who waits for a job (claims.c) --------------------------------

struct st_claim_conn {
    struct st_client *client; // NULL: not connected
    struct st_io io;
    bool out;             // a call is under way: until its end was read no other may be sent
    struct st_slot *slot; // whom the job is for; NULL: it came already, or is no longer wanted
    uint64_t memory;      // reserved for it
    bool dropped;         // no longer wanted: a job that comes all the same is given back
    bool got;             // a job came
};
struct st_sup_pool {
    struct st_sup *sup;
    char name[ST_POOL_NAME];
    bool used; // false: this place is free
    bool ours; // --pools
    uint64_t memory;
    uint32_t count;
    uint64_t generation;
    bool force;
    char *config;      // owns; JSON object of the restart keys
    int64_t served_ms; // when it last had a claim out
    bool starving, gone;
    struct st_claim_conn claim;
};

// ---- calls to stella-api, one after the other (calls.c) --------------------------------------------

typedef void st_call_fn(struct st_sup *s, uint64_t tag, const void *row, const struct st_err *e);
struct st_queued;
struct st_calls {
    struct st_client *client;
    struct st_io io;
    struct st_timer timer; // deadline of the one that is out, or the next try to connect
    struct st_queued *head, *tail;
    size_t n;
    unsigned failures; // to connect, in a row
    uint64_t dropped;  // log lines that found no room
    bool out;          // head was sent
    const void *row;
};

// ---- programs that are started again when they die (child.c) ---------------------------------------

struct st_child {
    struct st_sup *sup;
    const char *name;
    pid_t pid; // 0: not running
    int pidfd;
    struct st_io io;
    struct st_timer timer; // next start
    int64_t started_ms;
    unsigned failures;
    int death_signal;
    bool wanted;
    int (*start)(struct st_sup *s, struct st_child *c, struct st_err *err);
    void (*ended)(struct st_sup *s, int code, int signal); // NULL: none
};

struct st_watch {
    struct st_child child;
    int pipe; // its records; -1
    struct st_io io;
    char *buf; // owns, ST_WATCH_BUF
    size_t len;
    bool skipping; // a line that was too long
};

struct st_sup {
    const struct st_serve_options *o;
    struct st_loop loop;
    struct st_mem mem; // of messages
    struct st_run_lock lock;
    struct st_cgroups cg;
    uint64_t host; // memory of it
    char hostname[64];
    struct st_slot *slots[ST_SLOTS_MAX];
    size_t n_slots;
    uint64_t next_tag;
    struct st_sup_pool pools[ST_POOLS_MAX];
    struct {
        struct st_client *client;
        struct st_io io;
        struct st_timer timer;
        uint64_t seen, cancels;
        bool out, any;
        struct st_arena arena;
        struct st_wanted *rows;
        size_t n;
    } wanted;
    struct st_timer admit; // something changed: decide again
    struct st_timer report;
    struct st_calls calls;
    struct st_child api;
    struct st_watch watch;
    int signals; // signalfd
    struct st_io signal_io;
    struct st_timer keepalive; // of systemd
    struct {
        bool on, upgrade, hard;
        int64_t began_ms;
        struct st_timer timer;
    } stop;
    bool ready; // told systemd
    int failed; // exit code of a stella-api that cannot start
};

// One line on standard error, "stella serve: ...".
void st_sup_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
// And in the service's log.
void st_sup_log(struct st_sup *s, enum st_log_level level, const char *component, const char *job, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

// `request` is copied. done: NULL: nobody asks; called once, row NULL when it failed. ST_CALL_KEEP: it must arrive, and
// is sent again after a lost connection; others are dropped then.
enum { ST_CALL_KEEP = 1, ST_CALL_LATER = 2 };
void st_calls_add(struct st_sup *s, const char *op, const void *request, int how, uint64_t tag, st_call_fn *done);
int st_calls_init(struct st_sup *s, struct st_err *err);
void st_calls_release(struct st_sup *s);

int st_wanted_init(struct st_sup *s, struct st_err *err);
void st_wanted_release(struct st_sup *s);
struct st_sup_pool *st_wanted_pool(struct st_sup *s, struct st_sv name); // NULL: none
// Make slots what is wanted: missing ones come, surplus ones go when they are idle, old generations are restarted.
void st_wanted_reconcile(struct st_sup *s);

void st_claims_changed(struct st_sup *s); // decide soon who waits
void st_claims_decide(void *sup);
// End the wait of a claim. take: a job that comes all the same is begun; else it is given back.
void st_claims_drop(struct st_sup *s, struct st_sup_pool *p, bool take);
bool st_claims_out(const struct st_sup *s); // any
void st_claims_release(struct st_sup *s);

int st_child_init(struct st_sup *s, struct st_child *c, struct st_err *err);
void st_child_want(struct st_sup *s, struct st_child *c); // start, and again when it ends
void st_child_adopt(struct st_sup *s, struct st_child *c, pid_t pid, int pidfd);
void st_child_stop(struct st_sup *s, struct st_child *c, int sig); // and not again
void st_child_release(struct st_sup *s, struct st_child *c);
int st_api_child_start(struct st_sup *s, struct st_child *c, struct st_err *err);

int st_watch_init(struct st_sup *s, struct st_err *err); // only with cgroups
void st_watch_adopt(struct st_sup *s, int pipe);
void st_watch_release(struct st_sup *s);

// systemd's protocol: a datagram to $NOTIFY_SOCKET; nothing without it.
void st_notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int64_t st_notify_watchdog_ms(void); // how often WATCHDOG=1 is due; 0: never

#endif
