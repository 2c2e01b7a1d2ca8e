// Messages of the service's socket (SOCK_SEQPACKET, Unix): one packet each, at most ST_MESSAGE_MAX bytes.
//   to the service:   NAME ' ' JSON-object          (operation and request; descriptors may go along)
//   from the service: 'R' JSON-object               (a row), any number, then
//                     'E'                           (the end), or
//                     'F' JSON-object               (failed: code word, text)
// Requests of one connection are answered in their order. The service ends a connection that breaks these rules.
#ifndef ST_SERVICE_MESSAGE_H
#define ST_SERVICE_MESSAGE_H

#include "base/mem.h"

#define ST_MESSAGE_MAX (128 * 1024)
#define ST_MESSAGE_NAME_MAX 64

// A request, split. Views into `packet`. ST_E_INPUT when it is none.
int st_message_split(struct st_sv packet, struct st_sv *ret_name, struct st_sv *ret_json, struct st_err *err);
// The body of an 'F' packet.
int st_message_put_err(struct st_buf *b, const struct st_err *e, struct st_err *err);
void st_message_get_err(struct st_sv json, struct st_err *ret); // copes with any bytes

// One packet, within the deadline (ms, CLOCK_MONOTONIC; 0: for ever). recv: the length; 0: the other side is gone; a
// packet that is too long is ST_E_LIMIT. ST_E_TIMEOUT.
// fd: goes along, stays the caller's; -1: none. ret_fd: one that came along, the caller's to close, or -1; NULL: what
// comes along is closed.
int st_message_send_fd(int sock, struct st_sv packet, int fd, int64_t deadline_ms, struct st_err *err);
int64_t st_message_recv_fd(int sock, char *buf, size_t cap, int *ret_fd, int64_t deadline_ms, struct st_err *err);
static inline int st_message_send(int sock, struct st_sv packet, int64_t deadline_ms, struct st_err *err)
{
    return st_message_send_fd(sock, packet, -1, deadline_ms, err);
}
static inline int64_t st_message_recv(int sock, char *buf, size_t cap, int64_t deadline_ms, struct st_err *err)
{
    return st_message_recv_fd(sock, buf, cap, NULL, deadline_ms, err);
}

#endif
