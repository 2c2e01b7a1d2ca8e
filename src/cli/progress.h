// Progress of the layers in work. On a terminal: one line a layer, redrawn; otherwise plain lines now and then.
// Work that is shorter than a second shows nothing, longer work is never silent.
#ifndef ST_CLI_PROGRESS_H
#define ST_CLI_PROGRESS_H

#include "base/err.h"
#include "base/sv.h"

#include <stddef.h>

enum st_progress_mode { ST_PROGRESS_AUTO, ST_PROGRESS_PLAIN, ST_PROGRESS_OFF };

#define ST_PROGRESS_SLOTS 8 // layers shown at once; more in work are counted only
#define ST_PROGRESS_LINE 256

#define ST_PROGRESS_ALL 0xffffffffu // as the index of a line: the sum of all layers

// One line's facts, all that the text depends on.
struct st_progress_line {
    unsigned index, total; // layer, from 0; of how many
    char digest[13];       // first 12 hex digits, "" when not known
    uint64_t done, size;   // bytes as stored; size 0: not known
    uint64_t elapsed_ms;   // since this layer began
};

// The text of a line, cut to `width` columns, without a newline. Length.
size_t st_progress_format(const struct st_progress_line *l, unsigned width, char ret[static ST_PROGRESS_LINE]);

struct st_progress {
    int fd; // terminal or log
    enum { ST_PROGRESS_SILENT_, ST_PROGRESS_LINES_, ST_PROGRESS_REDRAW_ } how;
    bool asked_plain; // --progress plain: layer ends are told from the first moment on
    unsigned n_layers, n_done;
    uint64_t total, finished; // bytes of all layers; of those that are done
    struct slot {
        bool used;
        int64_t since_ms;
        struct st_progress_line line;
    } slots[ST_PROGRESS_SLOTS];
    unsigned drawn; // lines on the terminal now
    int64_t start_ms, last_ms;
    int64_t (*now_ms)(void); // monotonic; a test may set another after begin
};

// fd: usually standard error.
void st_progress_begin(struct st_progress *p, enum st_progress_mode mode, int fd, unsigned n_layers, uint64_t bytes);
// Layer `index` begins. digest: "sha256:..." or hex; may be empty.
void st_progress_layer(struct st_progress *p, unsigned index, struct st_sv digest, uint64_t size);
// Bytes of the layer read so far. Cheap: may be called for every buffer.
void st_progress_bytes(struct st_progress *p, unsigned index, uint64_t done);
void st_progress_done(struct st_progress *p, unsigned index);
// Take the lines off the terminal: before any other line goes to standard error. They come back with the next call.
void st_progress_clear(struct st_progress *p);
void st_progress_end(struct st_progress *p);

#endif
