/* cpu.h - the CPU device from inside: which instruction set to use, the pool, and memory that kernels
 * keep between calls. For files of kernels/cpu only. */
#ifndef JRL_KERNELS_CPU_CPU_H
#define JRL_KERNELS_CPU_CPU_H

#include <stddef.h>

#include "kernels/device.h"

/* Ordered: a path may use what the paths below it use. */
enum jrl_isa { JRL_ISA_PORTABLE, JRL_ISA_AVX2, JRL_ISA_AVX512, JRL_ISA_AMX };

/* Scratch memory is kept by the device, since the first touch of fresh memory is slow; a slot belongs to
 * one kernel family at a time, and no kernel calls another while it uses its slot. */
enum jrl_scratch_slot { JRL_SCRATCH_MATMUL, JRL_SCRATCH_GATED, JRL_SCRATCH_ATTENTION, JRL_SCRATCH_ROWS, JRL_SCRATCH_ACT, JRL_SCRATCH_SLOTS };

struct jrl_device {
    struct jrl_pool *pool;
    enum jrl_isa isa;
    struct {
        void *memory;
        size_t n_bytes;
    } scratch[JRL_SCRATCH_SLOTS];
};

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
