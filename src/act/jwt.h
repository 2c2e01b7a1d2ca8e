// A JSON Web Token for a GitHub App: RS256 (RFC 7518, 3.3) over header and claims (RFC 7519). GitHub's rules: `iat`
// 60 seconds in the past against clocks that differ, `exp` at most 10 minutes ahead, `iss` the App's id or client id.
#ifndef ST_ACT_JWT_H
#define ST_ACT_JWT_H

#include "base/secret.h"

#define ST_JWT_BEFORE_S 60
#define ST_JWT_AFTER_S 540
#define ST_JWT_ISSUER_MAX 64

// "Bearer HEADER.CLAIMS.SIGNATURE" in *ret. `key_pem`: an RSA private key of 2048 bits or more, PKCS#1 or PKCS#8,
// without a passphrase. ST_E_AUTH: the key is not one. ST_E_INPUT: the issuer is not [A-Za-z0-9._-]{1,64}.
int st_jwt_bearer(const struct st_secret *key_pem, struct st_sv issuer, int64_t now_s, struct st_secret *ret,
                  struct st_err *err);

#endif
