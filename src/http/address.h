// What kind of network address a socket address is, for the rule that a service may not be led into its own network
// by a registry name, a redirect or a changed DNS answer. Ranges: IANA's special-purpose registries (RFC 6890, RFC
// 4193, RFC 4291, RFC 6598); addresses that carry an IPv4 address (mapped, 6to4, NAT64) are judged by that one.
#ifndef ST_HTTP_ADDRESS_H
#define ST_HTTP_ADDRESS_H

#include "base/sv.h"

#include <sys/socket.h>

enum st_address_class {
    ST_ADDRESS_PUBLIC,
    ST_ADDRESS_LOOPBACK,
    ST_ADDRESS_PRIVATE,    // RFC 1918, shared (RFC 6598), unique local
    ST_ADDRESS_LINK_LOCAL, // the clouds' metadata services among them
    ST_ADDRESS_SPECIAL,    // unspecified, multicast, reserved, documentation
    ST_ADDRESS_LOCAL,      // a Unix socket
};

enum st_address_class st_address_class(const struct sockaddr *addr, socklen_t len);
const char *st_address_class_name(enum st_address_class c); // "public", "loopback", ...

#define ST_ADDRESS_TEXT 80
// "192.0.2.1:443", "[2001:db8::1]:443", "unix".
void st_address_text(const struct sockaddr *addr, socklen_t len, char ret[static ST_ADDRESS_TEXT]);

// A host of a URL that means this machine by its spelling: "localhost", "*.localhost", 127.0.0.0/8, "::1" (with or
// without brackets).
bool st_host_is_loopback(struct st_sv host);

#endif
