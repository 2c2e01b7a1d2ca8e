// A secret: a token, a password, a private key. There is one way to its bytes (st_secret_reveal), so that a search for
// it lists every use, and the field names keep ST_SV_ARG and the like from compiling. Each secret has pages of its own
// that are locked in memory as far as RLIMIT_MEMLOCK lets us, left out of core dumps (MADV_DONTDUMP), not seen by
// children (MADV_WIPEONFORK), and wiped when it is released. Nothing here formats, logs or compares with an early exit.
#ifndef ST_BASE_SECRET_H
#define ST_BASE_SECRET_H

#include "base/err.h"
#include "base/sv.h"

#define ST_SECRET_MAX (64u * 1024) // longer is ST_E_LIMIT: no token or key is

// Zeroed: no secret. Never copied by assignment; st_secret_take moves it.
struct st_secret {
    char *page_; // owns
    size_t size_, mapped_;
};

void st_secret_release(struct st_secret *s); // wiped; safe on a zeroed struct and again
#define ST_AUTO_SECRET __attribute__((cleanup(st_secret_release)))
struct st_secret st_secret_take(struct st_secret *s);
static inline bool st_secret_is_set(const struct st_secret *s)
{
    return s->page_ != NULL;
}

// The parts one after the other, replacing what was there ("Bearer ", token). The parts may not lie in *s.
int st_secret_join(struct st_secret *s, const struct st_sv *parts, size_t n, struct st_err *err);
static inline int st_secret_set(struct st_secret *s, struct st_sv text, struct st_err *err)
{
    return st_secret_join(s, &text, 1, err);
}
// `prefix` and the Base64 form (RFC 4648, padded) of the parts one after the other: ("Basic ", user ":" password).
int st_secret_base64(struct st_secret *s, struct st_sv prefix, const struct st_sv *parts, size_t n, struct st_err *err);
// Everything that a descriptor gives, up to `max` bytes (more is ST_E_LIMIT). `what` names it in errors.
int st_secret_read(struct st_secret *s, int fd, size_t max, const char *what, struct st_err *err);
// The last newline of a file or of a helper's output is not part of the secret.
void st_secret_chomp(struct st_secret *s);

// Borrowed until release. Not NUL-terminated by contract, but a NUL follows for libraries that want a C string.
static inline struct st_sv st_secret_reveal(const struct st_secret *s)
{
    return (struct st_sv){s->page_, s->size_};
}

#endif
