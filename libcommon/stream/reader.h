/* reader.h - reads a record stream: zstd frames (or plain msgpack), segments, control records,
 * counts and checksums. It never yields a record of a stream it cannot vouch for without saying so
 * at the end: a missing or wrong end record is JRL_ERR_INPUT naming the last good record. */
#ifndef JRL_STREAM_READER_H
#define JRL_STREAM_READER_H

#include "stream/record.h"

struct jrl_reader;

struct jrl_reader_options {
    size_t max_record_bytes; /* 0: JRL_MAX_RECORD_BYTES */
    /* Called before a read() that would wait: to flush the own output, to watch for a reader that has
     * gone. May be NULL. Returns a negative status to stop. */
    int (*before_wait)(void *ctx, int fd, struct jrl_error *err);
    void *ctx;
};

/* FD is borrowed; NAME appears in messages ("standard input" or the path). OPTIONS may be NULL.
 * Reads the first header: JRL_ERR_INPUT on empty or foreign input (the message says what it looks
 * like), a higher major version or an unknown word in `requires`. */
int jrl_reader_new(struct jrl_reader **out, int fd, const char *name, const struct jrl_reader_options *options,
                   struct jrl_error *err) JRL_MUST_CHECK;
void jrl_reader_free(struct jrl_reader *r); /* accepts NULL */

/* The next record of the stream, valid until the next call:
 * JRL_OK       *rec is a data record
 * JRL_BATCH    a boundary; *rec is the control record, jrl_reader_batch() its number
 * JRL_SEGMENT  the segment ended well and another header was read: jrl_reader_header()
 * JRL_EOF      the last segment ended well and the input is at its end
 * negative     the reason in *err, with file and record number; later calls fail with the same. */
int jrl_reader_next(struct jrl_reader *r, struct jrl_record *rec, struct jrl_error *err) JRL_MUST_CHECK;

const struct jrl_record *jrl_reader_header(const struct jrl_reader *r); /* of the current segment */
int64_t jrl_reader_batch(const struct jrl_reader *r);  /* number of the segment's last boundary, 0: none yet */
int64_t jrl_reader_record(const struct jrl_reader *r); /* 1-based number of the last data record in the file */
const char *jrl_reader_name(const struct jrl_reader *r); /* quoted for messages: "'x.jrl'" or "standard input" */

/* Whether a header is one that we can read: format, version, requires, kind, prog. Used on headers that
 * come another way, too (jrl-pack). */
int jrl_reader_check_header(const struct jrl_record *header, struct jrl_error *err) JRL_MUST_CHECK;

/* After a failure: the number of the last record that can be trusted, in the file. Records behind it may
 * have been yielded when the checksum that covers them was found wrong later. */
int64_t jrl_reader_good(const struct jrl_reader *r);

/* Uncompressed bytes read so far, and compressed ones. */
int64_t jrl_reader_bytes(const struct jrl_reader *r);
int64_t jrl_reader_raw_bytes(const struct jrl_reader *r);

#endif
