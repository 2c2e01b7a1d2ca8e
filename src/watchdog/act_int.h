// Inside of the ladder: rungs that have files of their own.
#ifndef ST_WATCHDOG_ACT_INT_H
#define ST_WATCHDOG_ACT_INT_H

#include "watchdog/act.h"

#define ST_WD_HELD_MIN 25 // percent of the pinned memory that what is watched must hold to be killed for it

enum st_wd_did {
    ST_WD_DID,       // done (dry run: would be); its effect is waited for
    ST_WD_DID_NOT,   // could not, i->detail says why
    ST_WD_DID_SKIP,  // does not apply; no record
    ST_WD_DID_AGAIN, // the world changed meanwhile: try again
};

// What i->detail says: refuse sets why the rung could not (always ST_WD_DID_NOT), failed the same from an error
// (ST_WD_DID_AGAIN where the process had ended by itself), add goes on behind it.
enum st_wd_did st_wd_act_refuse(struct st_wd_incident *i, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
enum st_wd_did st_wd_act_failed(struct st_wd_incident *i, const struct st_err *err);
void st_wd_act_add(struct st_wd_incident *i, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

// Look who holds the memory: the process to end, or NULL; fills culprit, held_share and target_ino.
const struct st_wd_process *st_wd_act_choose(struct st_wd_incident *i, struct st_wd_act_env *env,
                                             const struct st_wd_judged *j);
// Which CI run is it (kept in i->github), and a line into its log? Within `ms`.
enum st_wd_line st_wd_act_ask_step(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_process *p,
                                   struct st_sv message, unsigned ms);

// The rungs. Each does its thing and says in i->detail what it did (or, in a dry run, would do).
enum st_wd_did st_wd_act_culprit(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j);
enum st_wd_did st_wd_act_tree(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j);
enum st_wd_did st_wd_act_cgroup(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j);
// Raise the limit by a tenth, or freeze; the aide puts it back when this process dies.
enum st_wd_did st_wd_act_relieve(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j);
// 1: measured and undone, 0: still on.
int st_wd_act_relief_step(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j,
                          uint64_t now_ms);
void st_wd_act_relief_undo(struct st_wd_incident *i, struct st_wd_act_env *env);

enum st_wd_did st_wd_act_kernel(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j);
int st_wd_act_kernel_step(struct st_wd_incident *i, struct st_wd_act_env *env, const struct st_wd_judged *j,
                          uint64_t now_ms);

#endif
