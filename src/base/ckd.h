// Checked arithmetic: true when the result does not fit (as C23 <stdckdint.h>, which GCC 12 lacks).
#ifndef ST_BASE_CKD_H
#define ST_BASE_CKD_H

#define st_ckd_add(r, a, b) __builtin_add_overflow((a), (b), (r))
#define st_ckd_sub(r, a, b) __builtin_sub_overflow((a), (b), (r))
#define st_ckd_mul(r, a, b) __builtin_mul_overflow((a), (b), (r))

#define ST_MIN(a, b) ((a) < (b) ? (a) : (b))
#define ST_MAX(a, b) ((a) > (b) ? (a) : (b))
#define ST_LEN(array) (sizeof(array) / sizeof((array)[0]))

#define ST_KIB (1024ull)
#define ST_MIB (1024ull * 1024)
#define ST_GIB (1024ull * 1024 * 1024)

#endif
