/* swiglu.h - the gated activation of the MLP: y = silu(gate) * up, and its gradient. */
#ifndef JRL_KERNELS_SWIGLU_H
#define JRL_KERNELS_SWIGLU_H

#include "kernels/device.h"

/* y: [rows, dim] of DTYPE; gate, up: f32 [rows, dim]. */
int jrl_swiglu(struct jrl_device *dev, void *y, enum jrl_dtype dtype, const float *gate, const float *up,
               int64_t rows, int64_t dim, struct jrl_error *err) JRL_MUST_CHECK;
/* dgate, dup: [rows, dim] of DTYPE (operands of the next products); dy, gate, up: f32. */
int jrl_swiglu_backward(struct jrl_device *dev, void *dgate, void *dup, enum jrl_dtype dtype, const float *dy,
                        const float *gate, const float *up, int64_t rows, int64_t dim, struct jrl_error *err) JRL_MUST_CHECK;

#endif
