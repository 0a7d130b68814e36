/* io_private.h - the inside of struct jrl_io, for the io*.c alone. */
#ifndef JRL_TOOL_IO_PRIVATE_H
#define JRL_TOOL_IO_PRIVATE_H

#include "base/file.h"
#include "tool/io.h"

#define JRL_IO_REASONS 32

struct jrl_io_private {
    int in_fd, out_fd; /* -1: none */
    const char *out_name;
    bool watch_output; /* a pipe or socket, whose reader can go */
    struct jrl_tempfile temp;
    FILE *text;

    const char *kind;
    struct jrl_record header; /* of the output's segment, built when its first record is written */
    struct jrl_record *inputs; /* the input headers it is built from */
    const struct jrl_record **input_list; /* pointers to them */
    int n_inputs;
    struct jrl_record notes, extra;
    bool header_written, segment_ended;
    int (*work)(void *ctx); /* what there is to do while input is awaited; NULL: nothing */
    void *work_ctx;

    struct { const char *reason; int64_t count; } reasons[JRL_IO_REASONS];
    int n_reasons;
    double started;
};

/* Ends the program with io->err. */
_Noreturn void jrl_io_stop(struct jrl_io *io);
/* The header of the output's segment, if it is not there yet. */
int jrl_io_write_header(struct jrl_io *io) JRL_MUST_CHECK;

/* io_files.c: */
void jrl_io_open_output(struct jrl_io *io);
/* Write all that is still to be written and make it final. */
int jrl_io_close_output(struct jrl_io *io) JRL_MUST_CHECK;

/* io_wait.c: */
/* Let what was written be seen, before a wait. */
int jrl_io_flush_all(struct jrl_io *io, struct jrl_error *err) JRL_MUST_CHECK;
/* For readers and lines, with the jrl_io as CTX: called before FD is read, does what there is to do until it is ready. */
int jrl_io_before_wait(void *ctx, int fd, struct jrl_error *err) JRL_MUST_CHECK;

/* io_reject.c: what went in, out and was rejected, at -v. */
void jrl_io_sum_up(struct jrl_io *io);

#endif
