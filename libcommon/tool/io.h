/* io.h - input and output of a tool: opening, refusing terminals, header and provenance, segments,
 * atomic output files, and the way out with the right exit code.
 *
 * A filter's loop:
 *     while ((rc = jrl_io_read(&io, &rec)) >= 0 && rc != JRL_EOF) {
 *         if (rc == JRL_OK)         work on rec, jrl_io_write(&io, &rec)
 *         else if (rc == JRL_BATCH) flush what waits, jrl_io_write_batch(&io, jrl_reader_batch(io.in))
 *         else                      JRL_SEGMENT: flush what waits
 *     }
 * The output's own end record and the next segment's header are written by the jrl_io_read that
 * follows a JRL_SEGMENT, and by jrl_io_finish. */
#ifndef JRL_TOOL_IO_H
#define JRL_TOOL_IO_H

#include <stdbool.h>
#include <stdio.h>

#include "base/lines.h"
#include "stream/reader.h"
#include "stream/writer.h"
#include "tool/cli.h"
#include "tool/log.h"

struct jrl_io {
    struct jrl_reader *in;   /* NULL for a source that reads no stream */
    struct jrl_writer *out;  /* NULL for a sink that writes no stream */
    struct jrl_error err;
    const struct jrl_tool *tool;
    int64_t n_in, n_out, n_rejected;
    int64_t at; /* the record that messages name; 0: the one that was read last */
    struct jrl_io_private *p;
};

/* Open as a filter: input from OPERAND (NULL or "-": stdin), output as -o says. The output header
 * copies the input's kind unless KIND is given ("problem", "rollout"). Exits on failure. */
void jrl_io_open_filter(struct jrl_io *io, const struct jrl_tool *tool, const char *operand, const char *kind);
/* Open as a source of KIND: no stream is read. */
void jrl_io_open_source(struct jrl_io *io, const struct jrl_tool *tool, const char *kind);
/* Open as a sink: a stream is read; the tool writes text or files itself. */
void jrl_io_open_sink(struct jrl_io *io, const struct jrl_tool *tool, const char *operand);

/* Exit 2 for an output that the open functions would refuse, an existing file or (BINARY) a terminal: for tools that do long work or
 * write other files before. Nothing with --plan, which writes nothing. */
void jrl_io_check_output(bool binary);

/* Open nothing: only io->err, jrl_io_open_input and jrl_io_finish are of use (jrl-check). */
void jrl_io_open_nothing(struct jrl_io *io, const struct jrl_tool *tool);

/* Text input of a source (JSON lines), from OPERAND (NULL or "-": stdin, refused when it is a terminal):
 * fills in all but max_bytes. Exits on failure. */
void jrl_io_open_lines(struct jrl_io *io, const char *operand, struct jrl_lines *lines);

/* Several streams in one output (jrl-cat): a reader of one more operand, closed by jrl_io_close_input.
 * Failures are in io->err. */
int jrl_io_open_input(struct jrl_io *io, const char *operand, struct jrl_reader **in, int *fd) JRL_MUST_CHECK;
void jrl_io_close_input(struct jrl_reader *in, int fd);

/* End the output's segment, if one was begun, and take the header of the next from these input headers
 * (their chains joined; the last entry of each is a parent). At most one is usual. */
int jrl_io_begin_segment(struct jrl_io *io, const struct jrl_record *const headers[], int n_headers) JRL_MUST_CHECK;

/* Add to this tool's own entry in the header, before the first write: resolved options, digests
 * ("policy", "data", "seed"). A no-op with --no-provenance. */
void jrl_io_note(struct jrl_io *io, const char *key, const char *value);
/* A header field that readers need ("rollout" facts such as "samples"); always written. */
void jrl_io_header_str(struct jrl_io *io, const char *key, const char *value);

int jrl_io_read(struct jrl_io *io, struct jrl_record *rec) JRL_MUST_CHECK;        /* as jrl_reader_next; error in io->err */
int jrl_io_write(struct jrl_io *io, const struct jrl_record *rec) JRL_MUST_CHECK;
int jrl_io_write_batch(struct jrl_io *io, int64_t k) JRL_MUST_CHECK;
int jrl_io_flush(struct jrl_io *io) JRL_MUST_CHECK; /* end the block: the next stage can work on it */

/* Work that goes on while the input has nothing to read: called again and again until there is something. WORK
 * returns JRL_OK, JRL_EOF when there is nothing to do but wait, or a failure that it put into io->err. */
void jrl_io_while_waiting(struct jrl_io *io, int (*work)(void *ctx), void *ctx);

/* For long work between two writes: ends the tool as by SIGPIPE when the output's reader has gone. Cheap. */
void jrl_io_watch(struct jrl_io *io);

/* Sleep at most SECONDS, for a tool that waits for something else than its input (a policy): what was
 * written is flushed, and when the output's reader goes, the tool ends at once as by SIGPIPE. */
int jrl_io_sleep(struct jrl_io *io, double seconds) JRL_MUST_CHECK;

/* Text output of a sink (tables, JSON lines): the stream -o names, checked at the end. */
FILE *jrl_io_text(struct jrl_io *io);

/* A record that cannot be handled: counted under REASON; more than MAX_REJECTED is JRL_ERR_LIMIT. */
int jrl_io_reject(struct jrl_io *io, int64_t max_rejected, const char *reason, const char *fmt, ...) JRL_PRINTF(4, 5) JRL_MUST_CHECK;

/* Fail with the file and number of the record in front of the text. Returns STATUS. */
int jrl_io_fail(struct jrl_io *io, int status, const char *fmt, ...) JRL_PRINTF(3, 4);
/* The same for an error that io->err already holds (from a field getter given &io->err). Returns its status. */
int jrl_io_fail_here(struct jrl_io *io);

/* The way out. RC JRL_EOF or JRL_OK: write the end, flush, close, rename, sum up at -v, return 0.
 * Negative: print io->err, abandon the output (no end record, no final file), return the exit code. */
int jrl_io_finish(struct jrl_io *io, int rc);

#endif
