/* source.h - the uncompressed bytes behind a file descriptor: zstd frames and plain msgpack, told apart
 * by their first bytes. Private to the reader. Knows nothing of records. */
#ifndef JRL_STREAM_SOURCE_H
#define JRL_STREAM_SOURCE_H

#include <zstd.h>

#include "stream/reader.h"

enum jrl_source_mode { JRL_SOURCE_NEW, JRL_SOURCE_ZSTD, JRL_SOURCE_PLAIN };

struct jrl_source {
    int fd;
    const char *name; /* quoted, borrowed */
    struct jrl_reader_options options;

    uint8_t *raw; /* bytes as read */
    size_t raw_pos, raw_len;
    int64_t n_raw; /* read so far */
    bool raw_eof;

    enum jrl_source_mode mode;
    ZSTD_DCtx *dctx;
    bool in_frame;      /* a frame was begun and is not whole yet */
    int64_t n_frames;   /* frames begun */

    uint8_t *window; /* uncompressed bytes; [start, end) are still to be used */
    size_t start, end, cap;
    int64_t n_bytes; /* uncompressed so far */
};

int jrl_source_init(struct jrl_source *s, int fd, const char *name, const struct jrl_reader_options *options,
                    struct jrl_error *err) JRL_MUST_CHECK;
void jrl_source_release(struct jrl_source *s);

/* Put more bytes behind [start, end). JRL_OK: some came, or a frame ended (bytes of two frames never come
 * by one call). JRL_EOF: the input is at its end; in_frame tells whether inside a frame. The window may
 * move. JRL_ERR_INPUT for damaged compression. */
int jrl_source_fill(struct jrl_source *s, struct jrl_error *err) JRL_MUST_CHECK;

/* Between two segments, with all whole records used: whether the input is at its end, where another kind
 * of compression may begin. JRL_OK: bytes are in the window; JRL_EOF. */
int jrl_source_next_segment(struct jrl_source *s, struct jrl_error *err) JRL_MUST_CHECK;

/* What foreign bytes look like: "JSON text", "a gzip file". */
const char *jrl_source_describe(const uint8_t *data, size_t len_bytes);

#endif
