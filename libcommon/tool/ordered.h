/* ordered.h - the loop of a filter whose work on a record needs no other record: done by several threads, written in the
 * order in which the records came, boundaries and segments in their places.
 * Records that wait are copies, at most 16 a thread and 64 MiB (or one record). When the input has nothing to read, all that
 * came is worked on and written before the wait. One thread works on the reader's own bytes and copies nothing. */
#ifndef JRL_TOOL_ORDERED_H
#define JRL_TOOL_ORDERED_H

#include "tool/io.h"

struct jrl_ordered {
    int threads;       /* that work, 1 or more */
    bool waits;        /* they wait for something else rather than compute: all are beside the caller's, which reads and writes */
    size_t slot_bytes; /* memory that belongs to a record: zeroed at first, then as an earlier record left it */
    void *ctx;         /* for the functions below */
    /* In thread 0..threads-1, several at once. A negative status ends the run, when all records before this one are
     * written, with *err, to which file and number of the record are added. */
    int (*work)(void *ctx, int thread, const struct jrl_record *rec, void *slot, struct jrl_error *err);
    /* In the caller's thread and in order, when work is done: change the record, write it or leave it out. jrl_io_fail and
     * jrl_io_reject name this record. */
    int (*finish)(void *ctx, struct jrl_io *io, struct jrl_record *rec, void *slot);
    void (*release)(void *slot); /* at the end, for every slot */
    void (*stop)(void *ctx);     /* the run failed: end what work waits for, in the caller's thread; may be NULL */
};

/* To the end of the input: JRL_EOF, or a negative status with io->err set. */
int jrl_ordered_run(struct jrl_io *io, const struct jrl_ordered *o) JRL_MUST_CHECK;

#endif
