/* lines.h - a file read line by line, with a limit on the length of a line. */
#ifndef JRL_BASE_LINES_H
#define JRL_BASE_LINES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

struct jrl_lines {
    int fd;              /* borrowed */
    const char *name;    /* for messages; borrowed */
    size_t max_bytes;    /* of one line */
    int64_t number;      /* 1-based, of the last line */
    /* Called before a read() that would wait; may be NULL. A negative status stops. */
    int (*before_wait)(void *ctx, int fd, struct jrl_error *err);
    void *ctx;

    struct jrl_buffer buffer; /* from here on private */
    size_t start, scanned;
    bool at_end;
};

/* The next line without its end ("\n" or "\r\n"), valid until the next call; a last line may lack the
 * end. JRL_EOF behind the last; JRL_ERR_INPUT for a line longer than max_bytes. */
int jrl_lines_next(struct jrl_lines *l, const char **text, size_t *len_bytes, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_lines_release(struct jrl_lines *l);

#endif
