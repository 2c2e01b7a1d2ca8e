// Messages between stella and stella-analyze: one SOCK_SEQPACKET message each, first the tag, then wire fields
// (base/wire.h), descriptors beside them. The analyzer answers one job with any number of ASK and one DONE or FAIL.
//
//   stella                                        stella-analyze
//                                  <-  HELLO      sandbox report
//   INDEX   archive fd (or none), out fd      ->
//                                  <-  ASK_BLOB   name             (a document of a layout directory: the analyzer
//                                                                   opens nothing)
//   GIVE    [fd] size                  ->
//                                  <-  ASK_SIZES  count, names     (at most ST_PROTO_SIZES of blobs)
//   GIVE    for each: enum st_proto_blob, size  ->
//                                  <-  DONE       the encoded image is in the out fd
//   LAYER   blob fd, out fd, spill fd         ->
//                                  <-  ASK_BYTES  from, to         (a remote blob: its bytes from there on, or those of
//                                                                   a part that ends before `to`; 0: to its end)
//   GIVE    pipe                       ->
//                                  <-  DONE       the fragment is in the out fd; why not by its table of contents
//   STREAM  input fd, out fd, spill fd        ->
//                                  <-  ASK_OUT    (another fragment)
//   GIVE    fd                         ->
//                                  <-  DONE       fragments are in the fds that were given, the encoded image in the
//                                  out fd
//                                  <-  FAIL       error
#ifndef ST_SCAN_PROTO_H
#define ST_SCAN_PROTO_H

#include "base/fd.h"
#include "base/wire.h"
#include "scan/sandbox.h"

#define ST_PROTO_MAX (64 * 1024) // longest message
#define ST_PROTO_SIZES 256       // names of one question: each has less than 100 bytes
#define ST_PROTO_SOCKET 3        // the analyzer's end
#define ST_PROTO_WATCH 4         // the shared page (struct st_layer_watch)

enum st_proto_tag {
    ST_PROTO_HELLO = 1,
    ST_PROTO_INDEX,
    ST_PROTO_LAYER,
    ST_PROTO_STREAM,
    ST_PROTO_ASK_BLOB,
    ST_PROTO_ASK_SIZES,
    ST_PROTO_ASK_OUT,
    ST_PROTO_ASK_BYTES,
    ST_PROTO_GIVE,
    ST_PROTO_DONE,
    ST_PROTO_FAIL,
};

enum st_proto_blob { ST_PROTO_NO_BLOB, ST_PROTO_BLOB_FILE, ST_PROTO_BLOB_REMOTE };

struct st_proto_msg {
    enum st_proto_tag tag;
    struct st_wire_in in;
    int fds[ST_FD_PASS_MAX];
    size_t n_fds;
};

// Receive into buf (ST_PROTO_MAX bytes). 1; 0 when the other side is gone; -1.
int st_proto_recv(int sock, char *buf, struct st_proto_msg *ret, struct st_err *err);
void st_proto_close_fds(struct st_proto_msg *m);
// `fields` was filled by st_wire_put_*; its first byte is the tag (st_proto_begin).
struct st_wire_out st_proto_begin(struct st_buf *b, enum st_proto_tag tag);
int st_proto_send(int sock, struct st_wire_out *fields, const int *fds, size_t n_fds, struct st_err *err);

void st_proto_put_err(struct st_wire_out *o, const struct st_err *e);
void st_proto_get_err(struct st_wire_in *in, struct st_err *ret); // copes with any bytes

#endif
