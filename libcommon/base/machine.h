/* machine.h - what the machine lets this process have: memory that is free, memory that we have used, time. */
#ifndef JRL_BASE_MACHINE_H
#define JRL_BASE_MACHINE_H

#include <stdint.h>

/* Bytes of memory this process may still take: what the system has available (page cache counts as such, mapped
 * weights too), less where its control group or one above it allows less. */
int64_t jrl_memory_available(void);

/* The most bytes of memory this process held so far, mapped files included; 0 where the system does not say. */
int64_t jrl_memory_peak(void);

/* Monotonic seconds; may be called in a signal handler. */
double jrl_clock(void);

#endif
