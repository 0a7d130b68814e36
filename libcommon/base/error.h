/* error.h - one error type for the library: what went wrong, where, and the exit code it leads to.
 * Not here: printing. Library code returns; tools print and exit (libcommon/tool/log.h). */
#ifndef JRL_BASE_ERROR_H
#define JRL_BASE_ERROR_H

#include <stdarg.h>
#include <stdint.h>

#define JRL_MUST_CHECK __attribute__((warn_unused_result))
#define JRL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Results. A negative status is minus the exit code of a tool that ends because of it;
 * positive values are events of a stream, not errors. */
enum jrl_status {
    JRL_OK = 0,
    JRL_EOF = 1,         /* nothing more to read, and the input was whole */
    JRL_BATCH = 2,       /* a batch boundary was read (stream/reader.h) */
    JRL_SEGMENT = 3,     /* the segment ended and another one begins */
    JRL_ERR_RUN = -1,    /* failed while running: disk, memory, device */
    JRL_ERR_USAGE = -2,  /* wrong command line or configuration; nothing read or written */
    JRL_ERR_INPUT = -3,  /* input damaged, foreign, cut, or not belonging here */
    JRL_ERR_LIMIT = -4,  /* a stated limit was broken */
};

/* The first failure of an operation. Zero-initialise; no release needed. */
struct jrl_error {
    int status;      /* a negative jrl_status, 0 when nothing failed */
    char text[1024]; /* lower case, no full stop, subject quoted, reason last */
};

/* Fill *err (NULL is accepted) with STATUS and the formatted text, unless it already holds an
 * earlier error. Returns STATUS, so that `return jrl_fail(err, JRL_ERR_INPUT, ...)` reads well. */
int jrl_fail(struct jrl_error *err, int status, const char *fmt, ...) JRL_PRINTF(3, 4);

/* The same, followed by ": " and strerror(errno) as errno was at the call. */
int jrl_fail_errno(struct jrl_error *err, int status, const char *fmt, ...) JRL_PRINTF(3, 4);

/* Put "PREFIX: " in front of the text of *err: the caller knows the file or record the callee
 * did not. Returns err->status. */
int jrl_fail_prefix(struct jrl_error *err, const char *fmt, ...) JRL_PRINTF(2, 3);

#endif
