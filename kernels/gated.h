/* gated.h - the gated half of an MLP in one pass: act = silu(x gate^T) * (x up^T), and the way back through it. The bits are
 * those of jrl_matmul_nt, jrl_matmul_nn, jrl_swiglu and jrl_swiglu_backward one after the other; what the products
 * give, f32 and wider than anything else of a layer, never reaches memory. */
#ifndef JRL_KERNELS_GATED_H
#define JRL_KERNELS_GATED_H

#include "kernels/device.h"

/* All row-major, of DTYPE (JRL_F32 or JRL_BF16), without gaps. */
struct jrl_gated {
    enum jrl_dtype dtype;
    int64_t rows, dim, mlp_dim;
    const void *x;         /* [rows, dim] */
    const void *gate, *up; /* [mlp_dim, dim] */
};

/* act: [rows, mlp_dim] of DTYPE. */
int jrl_gated(struct jrl_device *dev, const struct jrl_gated *p, void *act, struct jrl_error *err) JRL_MUST_CHECK;
/* gate and up of the rows again, and with dact = dy down: act, dgate and dup, all [rows, mlp_dim] of DTYPE; dy [rows, dim]
 * is an operand, down [dim, mlp_dim] the weight behind act. */
int jrl_gated_backward(struct jrl_device *dev, const struct jrl_gated *p, void *act, void *dgate, void *dup, const void *dy,
                       const void *down, struct jrl_error *err) JRL_MUST_CHECK;

#endif
