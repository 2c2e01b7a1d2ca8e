// Clocks. Wall time is for job records and messages only: it never reaches an SBOM.
#ifndef ST_BASE_CLOCK_H
#define ST_BASE_CLOCK_H

#include "base/sv.h"

int64_t st_clock_wall_ms(void); // since 1970-01-01 UTC
int64_t st_clock_mono_ms(void);

#define ST_CLOCK_TEXT 24
// "2026-01-31T07:05:09Z"; "-" for 0 and for what no calendar has.
void st_clock_text(int64_t wall_ms, char ret[static ST_CLOCK_TEXT]);
#define ST_CLOCK_TEXT_MS 32
// "2026-01-31T07:05:09.123Z", and back (a fraction of a second may be absent). False: not of this form.
void st_clock_text_ms(int64_t wall_ms, char ret[static ST_CLOCK_TEXT_MS]);
bool st_clock_read(struct st_sv text, int64_t *ret_ms);

#endif
