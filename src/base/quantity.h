// Quantities (64Mi, 1.5GB, 2147483648) and durations (30s, 1h30m, 7d) as operators write them: option values,
// environment and, later, configuration keys all come through here, so that they read and fail alike.
#ifndef ST_BASE_QUANTITY_H
#define ST_BASE_QUANTITY_H

#include "base/err.h"
#include "base/sv.h"

// ^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|K|M|G|T|KB|MB|GB|TB|B)?$ : Ki.. are powers of 1024, K and KB.. of 1000. A fraction
// of a byte is dropped. False on anything else and on overflow.
bool st_quantity_read(struct st_sv text, uint64_t *ret_bytes);
// As above for the value of `name` (option or key) within [min, max]; ST_E_USAGE with examples otherwise.
int st_quantity_for(const char *name, struct st_sv text, uint64_t min, uint64_t max, uint64_t *ret_bytes,
                    struct st_err *err);

#define ST_DURATION_MAX (10ull * 365 * 24 * 3600) // ten years, in seconds
// One or more of Nd Nh Nm Ns, largest unit first, each at most once. False on anything else and on overflow.
bool st_duration_read(struct st_sv text, uint64_t *ret_seconds);
// As above for the value of `name`, from one second to ST_DURATION_MAX.
int st_duration_for(const char *name, struct st_sv text, uint64_t *ret_seconds, struct st_err *err);

#define ST_QUANTITY_TEXT 24
// Exact: the largest binary unit that divides it ("64Mi"), else plain digits. Reads back to the same number.
void st_quantity_text(uint64_t bytes, char ret[static ST_QUANTITY_TEXT]);
// For people: three significant digits at most before one decimal ("63.1Mi", "812", "4.0Gi").
void st_quantity_human(uint64_t bytes, char ret[static ST_QUANTITY_TEXT]);
// Two units at most: "42s", "3m 07s", "1h 30m", "2d 4h".
void st_duration_human(uint64_t seconds, char ret[static ST_QUANTITY_TEXT]);

#endif
