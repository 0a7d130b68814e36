/* join.h - what jrl-cat does with whole streams: one behind the other, shards merged, a cut one salvaged. */
#ifndef JRL_TOOL_JOIN_H
#define JRL_TOOL_JOIN_H

#include "tool/io.h"

/* Copy the streams of the operands (none: standard input), segment by segment. MAX_RECORDS -1: all; with
 * DRAIN the rest is read to its end and checked, so that the program before does not die of a closed pipe. */
int jrl_join_copy(struct jrl_io *io, char **operands, int n, int64_t max_records, bool drain) JRL_MUST_CHECK;

/* Interleave shards of one stream: batch by batch, groups in the order of `draw`; without `draw`, one
 * group of each in turn. One segment each; all must have the same batches. */
int jrl_join_merge(struct jrl_io *io, char **operands, int n) JRL_MUST_CHECK;

/* Copy what is whole of a regular file: the records that can be trusted; in a batched segment the whole
 * batches. Reads the file twice. */
int jrl_join_salvage(struct jrl_io *io, const char *operand) JRL_MUST_CHECK;

#endif
