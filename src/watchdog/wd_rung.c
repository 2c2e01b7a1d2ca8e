#include "watchdog/wd_rung.h"

const struct st_wd_rung_row st_wd_rungs[ST_WD_RUNG_COUNT] = {
#define ROW(id, word, on, strong, text) {word, text, on, strong},
    ST_WD_RUNGS(ROW)
#undef ROW
};

const char *const st_wd_outcome_words[ST_WD_OUTCOME_COUNT] = {
#define ROW(id, word) word,
    ST_WD_OUTCOMES(ROW)
#undef ROW
};
