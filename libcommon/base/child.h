/* child.h - a command that answers lines: started through the shell, one line in, one line out, until its input ends.
 * Both pipes are served at once, so neither side can block the other, whatever the length of lines; a command that dies, is
 * late or says too much is a failure, never a wait. Not here: what the lines mean.
 * Failures are JRL_ERR_RUN and say what the command did: "'CMD' ended with exit status 3 ...". */
#ifndef JRL_BASE_CHILD_H
#define JRL_BASE_CHILD_H

#include "base/error.h"
#include "base/text.h"

#define JRL_CHILD_MAX_LINE_BYTES (64u << 20) /* of an answer */

struct jrl_child;

/* Start COMMAND by "/bin/sh -c" in a process group of its own, its standard error ours. The group is killed when we exit or
 * die of a signal that can be caught; of any other death the command learns by the end of its input.
 * A wait for one answer ends after TIMEOUT_SECONDS (0: never), and at once when stop_fd (-1: none) is readable.
 * Call it from a thread that lives as long as the process: Linux ends the shell with the thread that started it. */
int jrl_child_start(struct jrl_child **out, const char *command, double timeout_seconds, int stop_fd, struct jrl_error *err) JRL_MUST_CHECK;

/* Kill the command's process group if it has not ended, and forget it. Accepts NULL. */
void jrl_child_free(struct jrl_child *c);

/* Send LINE, which ends in its only newline, and get the answer without its newline, valid until the next call. After a failure
 * the child is good for jrl_child_free only. */
int jrl_child_ask(struct jrl_child *c, struct jrl_text line, struct jrl_text *answer, struct jrl_error *err) JRL_MUST_CHECK;

/* End the command's input, and go on. */
void jrl_child_end_input(struct jrl_child *c);

/* End the command's input and wait for its end, which has to come in time, without another word, with exit status 0. */
int jrl_child_finish(struct jrl_child *c, struct jrl_error *err) JRL_MUST_CHECK;

#endif
