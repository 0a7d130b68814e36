/* log.h - what a tool says to people: `jrl-x: level: text` on stderr, progress, and the one way out. */
#ifndef JRL_TOOL_LOG_H
#define JRL_TOOL_LOG_H

#include <stdbool.h>

#include "base/error.h"

void jrl_log_error(const char *fmt, ...) JRL_PRINTF(1, 2);
void jrl_log_warn(const char *fmt, ...) JRL_PRINTF(1, 2);  /* unless -q */
void jrl_log_info(const char *fmt, ...) JRL_PRINTF(1, 2);  /* with -v */
void jrl_log_report(const char *fmt, ...) JRL_PRINTF(1, 2); /* an info line that people wait for: unless -q */
void jrl_log_note(const char *text, bool warn); /* TEXT, if not NULL, as a warning or an info line */
void jrl_log_debug(const char *fmt, ...) JRL_PRINTF(1, 2); /* with -vv */

/* A warning that can repeat per record: printed ten times per KEY (a string constant), then counted;
 * jrl_log_warn_summary() prints the counts at the end. */
void jrl_log_warn_limited(const char *key, const char *fmt, ...) JRL_PRINTF(2, 3);
void jrl_log_warn_summary(void);

/* Progress on stderr: a line rewritten at most five times a second on a terminal that we hold in the
 * foreground, else one plain line a minute; --[no-]progress decides. Cheap to call often. */
void jrl_progress(const char *fmt, ...) JRL_PRINTF(1, 2);
void jrl_progress_clear(void);

/* Seconds for people: "3:20", "1:02:03". TEXT is returned. */
const char *jrl_duration(char text[32], double seconds);

/* Print the error and exit with its code. */
_Noreturn void jrl_die(const struct jrl_error *err);

#endif
