/* memory.h - --memory and --plan of the tools that run a model. */
#ifndef JRL_TOOL_MEMORY_H
#define JRL_TOOL_MEMORY_H

#include <stdbool.h>

#include "base/plan.h"

/* Bytes that --memory allows; without it nine tenths of what is AVAILABLE on the device: the rest is for the other programs
 * of a pipe. */
int64_t jrl_memory_allowed(int64_t available);

/* With --plan: prints the plan as a table and exits, 0 or, where RC < 0 says that the plan does not fit, with the
 * error's code. Without: says the total at -v and returns RC. */
int jrl_plan_report(const struct jrl_memory_plan *plan, int64_t memory, int rc, const struct jrl_error *err);

/* At -v, at the end: what the process really took, beside the plan, which with OF_GPU is about other memory. */
void jrl_memory_report(const struct jrl_memory_plan *plan, bool of_gpu);

#endif
