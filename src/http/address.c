#include "http/address.h"
#include "base/ckd.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static const struct {
    uint32_t net;
    unsigned bits;
    enum st_address_class what;
} v4_ranges[] = {
    {0x00000000, 8, ST_ADDRESS_SPECIAL},     // 0.0.0.0/8: reaches this host on Linux
    {0x0a000000, 8, ST_ADDRESS_PRIVATE},     // 10/8
    {0x64400000, 10, ST_ADDRESS_PRIVATE},    // 100.64/10
    {0x7f000000, 8, ST_ADDRESS_LOOPBACK},    // 127/8
    {0xa9fe0000, 16, ST_ADDRESS_LINK_LOCAL}, // 169.254/16
    {0xac100000, 12, ST_ADDRESS_PRIVATE},    // 172.16/12
    {0xc0000000, 24, ST_ADDRESS_SPECIAL},    // 192.0.0/24
    {0xc0000200, 24, ST_ADDRESS_SPECIAL},    // 192.0.2/24
    {0xc0a80000, 16, ST_ADDRESS_PRIVATE},    // 192.168/16
    {0xc6120000, 15, ST_ADDRESS_SPECIAL},    // 198.18/15
    {0xc6336400, 24, ST_ADDRESS_SPECIAL},    // 198.51.100/24
    {0xcb007100, 24, ST_ADDRESS_SPECIAL},    // 203.0.113/24
    {0xe0000000, 4, ST_ADDRESS_SPECIAL},     // multicast
    {0xf0000000, 4, ST_ADDRESS_SPECIAL},     // reserved, broadcast
};

static const struct {
    unsigned char net[16];
    unsigned bits;
    enum st_address_class what;
} v6_ranges[] = {
    {{0xfe, 0x80}, 10, ST_ADDRESS_LINK_LOCAL},
    {{0xfe, 0xc0}, 10, ST_ADDRESS_PRIVATE}, // site-local, deprecated
    {{0xfc}, 7, ST_ADDRESS_PRIVATE},        // unique local, AWS' metadata address fd00:ec2::254 too
    {{0xff}, 8, ST_ADDRESS_SPECIAL},        // multicast
    {{0x01}, 8, ST_ADDRESS_SPECIAL},        // 100::/64 and what is unassigned around it
    {{0x20, 0x01, 0x0d, 0xb8}, 32, ST_ADDRESS_SPECIAL},
    {{0x20, 0x01, 0x00, 0x00}, 23, ST_ADDRESS_SPECIAL}, // protocol assignments, Teredo
};

static enum st_address_class v4_class(uint32_t a)
{
    for (size_t i = 0; i < ST_LEN(v4_ranges); i++)
        if ((a ^ v4_ranges[i].net) >> (32 - v4_ranges[i].bits) == 0)
            return v4_ranges[i].what;
    return ST_ADDRESS_PUBLIC;
}

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool v6_in(const unsigned char *a, const unsigned char *net, unsigned bits)
{
    for (unsigned i = 0; i < 16 && bits; i++) {
        unsigned k = ST_MIN(bits, 8u);
        if ((a[i] ^ net[i]) >> (8 - k))
            return false;
        bits -= k;
    }
    return true;
}

static enum st_address_class v6_class(const unsigned char *a)
{
    static const unsigned char zero[16], mapped[16] = {[10] = 0xff, [11] = 0xff}, one[16] = {[15] = 1};
    static const unsigned char nat64[16] = {0x00, 0x64, 0xff, 0x9b}, six2four[16] = {0x20, 0x02};
    if (memcmp(a, one, 16) == 0)
        return ST_ADDRESS_LOOPBACK;
    if (memcmp(a, zero, 16) == 0)
        return ST_ADDRESS_SPECIAL;
    if (v6_in(a, mapped, 96) || v6_in(a, nat64, 96) ||
        v6_in(a, zero, 96)) // ::a.b.c.d is deprecated, and judged all the same
        return v4_class(be32(a + 12));
    if (v6_in(a, six2four, 16))
        return v4_class(be32(a + 2));
    for (size_t i = 0; i < ST_LEN(v6_ranges); i++)
        if (v6_in(a, v6_ranges[i].net, v6_ranges[i].bits))
            return v6_ranges[i].what;
    return ST_ADDRESS_PUBLIC;
}

enum st_address_class st_address_class(const struct sockaddr *addr, socklen_t len)
{
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
    if (addr->sa_family == AF_INET && len >= sizeof in4) {
        memcpy(&in4, addr, sizeof in4);
        return v4_class(ntohl(in4.sin_addr.s_addr));
    }
    if (addr->sa_family == AF_INET6 && len >= sizeof in6) {
        memcpy(&in6, addr, sizeof in6);
        return v6_class(in6.sin6_addr.s6_addr);
    }
    return addr->sa_family == AF_UNIX ? ST_ADDRESS_LOCAL : ST_ADDRESS_SPECIAL;
}

const char *st_address_class_name(enum st_address_class c)
{
    static const char *const names[] = {
        [ST_ADDRESS_PUBLIC] = "public",         [ST_ADDRESS_LOOPBACK] = "loopback", [ST_ADDRESS_PRIVATE] = "private",
        [ST_ADDRESS_LINK_LOCAL] = "link-local", [ST_ADDRESS_SPECIAL] = "special",   [ST_ADDRESS_LOCAL] = "local",
    };
    return names[c];
}

void st_address_text(const struct sockaddr *addr, socklen_t len, char ret[static ST_ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "";
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
    if (addr->sa_family == AF_INET && len >= sizeof in4) {
        memcpy(&in4, addr, sizeof in4);
        inet_ntop(AF_INET, &in4.sin_addr, host, sizeof host);
        snprintf(ret, ST_ADDRESS_TEXT, "%s:%u", host, ntohs(in4.sin_port));
    } else if (addr->sa_family == AF_INET6 && len >= sizeof in6) {
        memcpy(&in6, addr, sizeof in6);
        inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
        snprintf(ret, ST_ADDRESS_TEXT, "[%s]:%u", host, ntohs(in6.sin6_port));
    } else {
        snprintf(ret, ST_ADDRESS_TEXT, "%s", addr->sa_family == AF_UNIX ? "unix" : "?");
    }
}

bool st_host_is_loopback(struct st_sv host)
{
    char text[INET6_ADDRSTRLEN];
    struct in_addr a4;
    struct in6_addr a6;
    struct st_sv name = ST_SV("localhost"), tail = ST_SV(".localhost");
    if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
        host = st_sv_sub(host, 1, host.len - 2);
    if (st_sv_ieq(host, name) || (host.len > tail.len && st_sv_ieq(st_sv_from(host, host.len - tail.len), tail)))
        return true;
    if (host.len >= sizeof text || host.len == 0)
        return false;
    memcpy(text, host.ptr, host.len);
    text[host.len] = '\0';
    if (inet_pton(AF_INET, text, &a4) == 1)
        return v4_class(ntohl(a4.s_addr)) == ST_ADDRESS_LOOPBACK;
    return inet_pton(AF_INET6, text, &a6) == 1 && v6_class(a6.s6_addr) == ST_ADDRESS_LOOPBACK;
}
