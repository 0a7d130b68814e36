/* writer.h - writes a record stream: header, records, boundaries, end record with count and XXH64;
 * zstd frames that end at 1 MiB, at a boundary and at the end. */
#ifndef JRL_STREAM_WRITER_H
#define JRL_STREAM_WRITER_H

#include "stream/record.h"

struct jrl_writer;

/* Make *header a header with the keys that every one has: format, version, KIND ("problem", "rollout"), an empty
 * `requires` and an empty `prog`. */
void jrl_header_init(struct jrl_record *header, const char *kind);

/* FD is borrowed. LEVEL: zstd level 1..19, or 0 for plain msgpack. */
int jrl_writer_new(struct jrl_writer **out, int fd, const char *name, int level, struct jrl_error *err) JRL_MUST_CHECK;
/* From now on whole frames are compressed by N_THREADS beside the caller's, which goes on meanwhile. The stream is the same. */
int jrl_writer_compress_beside(struct jrl_writer *w, int n_threads, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_writer_free(struct jrl_writer *w); /* accepts NULL; writes nothing */

int jrl_writer_header(struct jrl_writer *w, const struct jrl_record *header, struct jrl_error *err) JRL_MUST_CHECK; /* begins a segment */
int jrl_writer_record(struct jrl_writer *w, const struct jrl_record *rec, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_writer_batch(struct jrl_writer *w, int64_t k, struct jrl_error *err) JRL_MUST_CHECK;  /* boundary; ends the frame */
int jrl_writer_end(struct jrl_writer *w, struct jrl_error *err) JRL_MUST_CHECK;               /* ends the segment and the frame */
int jrl_writer_flush(struct jrl_writer *w, struct jrl_error *err) JRL_MUST_CHECK;             /* block: a reader sees all so far */
int64_t jrl_writer_records(const struct jrl_writer *w); /* data records written, all segments */

#endif
