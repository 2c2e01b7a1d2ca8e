// Messages between stella and stella-fetch: one SOCK_SEQPACKET message each, as scan/proto.h has them.
//
//   stella                                            stella-fetch
//                                      <-  HELLO      sandbox report
//   SOURCE    which image, from where, with
//             what credentials; certificates as fds ->
//   DOCUMENT  ticket, name                         ->
//                                      <-  GIVE       ticket, found, size [, file in memory]
//   BLOB      ticket, name, size, from, part; pipe ->     (part 1: `size` is not the blob's, but where the range ends)
//                                                     (bytes go into the pipe, then it is closed)
//   EXPORT    ticket, path and query, daemon, name,
//             path of its socket; pipe             ->
//                                                     (an archive goes into the pipe, then it is closed)
//                                      <-  FAIL       ticket, error: of a document, or of a blob or archive before its
//                                                     pipe is closed
//
// One image for the life of the process. Names are those of an OCI image layout. A reader that closes its end of the
// pipe ends that blob without a FAIL.
#ifndef ST_FETCH_FETCH_PROTO_H
#define ST_FETCH_FETCH_PROTO_H

#include "scan/proto.h"

#define ST_FETCH_NAME "stella-fetch"
#define ST_FETCH_ENDPOINTS_MAX 16

enum st_fetch_tag {
    ST_FETCH_HELLO = 64, // apart from those of the analyzer
    ST_FETCH_SOURCE,
    ST_FETCH_DOCUMENT,
    ST_FETCH_BLOB,
    ST_FETCH_EXPORT,
    ST_FETCH_GIVE,
    ST_FETCH_FAIL,
};

// How the request for an image authenticates at one endpoint.
enum st_auth_kind {
    ST_AUTH_NONE,
    ST_AUTH_BASIC,    // secret: password
    ST_AUTH_IDENTITY, // secret: refresh token (OAuth 2) of a credential helper
    ST_AUTH_BEARER,   // secret: token that is sent as it is
    ST_AUTH_KIND_MAX
};

// SOURCE, in order: user agent, https proxy, http proxy, no proxy, private hosts, bandwidth (bytes/s, 0: none), flags
// (ST_FETCH_F_*), tag, digest, count of endpoints and for each: host[:port], repository, flags (ST_FETCH_E_*), auth
// kind, user, secret, where they come from. fds: [CA file], [client certificate, its key] as the flags say.
#define ST_FETCH_F_VERBOSE 1u     // a line for each request on standard error
#define ST_FETCH_F_PUBLIC_ONLY 2u // no loopback, private or link-local address, but of the private hosts
#define ST_FETCH_F_CA 4u
#define ST_FETCH_F_CERT 8u
#define ST_FETCH_F_FOREIGN 16u // layers that the registry has not are fetched from the URLs in the manifest
#define ST_FETCH_F_ALL 31u
#define ST_FETCH_E_INSECURE 1u // any certificate, and plain HTTP where there is no TLS
#define ST_FETCH_E_MIRROR 2u   // whatever goes wrong there, the next endpoint is asked
#define ST_FETCH_E_ALL 3u

#endif
