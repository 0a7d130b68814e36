/* cpu.h - the CPU device from inside: memory that its kernels keep between calls, and ranges of work. For files of kernels/cpu only. */
#ifndef JRL_KERNELS_CPU_CPU_H
#define JRL_KERNELS_CPU_CPU_H

#include "kernels/backend.h"

/* At least n * size_bytes bytes, aligned to 64, contents unspecified, valid until the next call for SLOT. */
int jrl_device_scratch(void **out, struct jrl_device *dev, enum jrl_scratch_slot slot, size_t n, size_t size_bytes,
                       struct jrl_error *err) JRL_MUST_CHECK;

/* Run fn over ranges of 0..n-1 cut at multiples of GRAIN (>= 1). */
struct jrl_range {
    int64_t begin, end;
};
void jrl_device_ranges(struct jrl_device *dev, int64_t n, int64_t grain,
                       void (*fn)(void *ctx, struct jrl_range range, int thread), void *ctx);

#endif
