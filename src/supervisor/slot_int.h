// What the files of a slot know of each other.
#ifndef ST_SUPERVISOR_SLOT_INT_H
#define ST_SUPERVISOR_SLOT_INT_H

#include "supervisor/slot.h"

void st_slot_on_end(void *slot, uint32_t events);     // its process ended
void st_slot_on_message(void *slot, uint32_t events); // it speaks
void st_slot_on_clear(void *slot);     // try again to remove the cgroup; the watchdog's word did not come
void st_slot_judge(struct st_slot *t); // what was seen -> the store
void st_slot_idle(struct st_slot *t);
void st_slot_said_end(struct st_slot *t, const struct st_worker_end *m); // its texts are copied
struct st_slot *st_slot_by_tag(struct st_sup *s, uint64_t tag);

#endif
