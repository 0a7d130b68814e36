/* trace.h - where the time of a run goes, as a file of Chrome's trace format (a JSON array of complete events) for
 * chrome://tracing, Perfetto and their like. Two tracks: the phases of the program, which follow one another without
 * gaps, and the parts inside of them. Every function accepts a NULL trace and then does nothing: tracing is off.
 * One thread at a time. */
#ifndef JRL_BASE_TRACE_H
#define JRL_BASE_TRACE_H

#include <stdint.h>

#include "base/error.h"

struct jrl_trace;

/* Creates or empties PATH; the clock of the first phase starts. PROGRAM names the tracks. */
int jrl_trace_open(struct jrl_trace **out, const char *path, const char *program, struct jrl_error *err) JRL_MUST_CHECK;
/* Ends the array; JRL_ERR_RUN when not all of it could be written. */
int jrl_trace_close(struct jrl_trace *t, struct jrl_error *err) JRL_MUST_CHECK;

/* The phase that began when the last one ended is over. NAME: a string constant that JSON needs not escape. Phases of some
 * microseconds are counted into the next one. */
void jrl_trace_phase(struct jrl_trace *t, const char *name);
/* A part that began at START (jrl_clock) ends now; N says how large it was, in UNIT (a string constant). */
void jrl_trace_part(struct jrl_trace *t, const char *name, double start, const char *unit, int64_t n);

#endif
