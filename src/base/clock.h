// Clocks. Wall time is for job records and messages only: it never reaches an SBOM.
#ifndef ST_BASE_CLOCK_H
#define ST_BASE_CLOCK_H

#include <stdint.h>

int64_t st_clock_wall_ms(void); // since 1970-01-01 UTC
int64_t st_clock_mono_ms(void);

#define ST_CLOCK_TEXT 24
// "2026-01-31T07:05:09Z"; "-" for 0 and for what no calendar has.
void st_clock_text(int64_t wall_ms, char ret[static ST_CLOCK_TEXT]);

#endif
