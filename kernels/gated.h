/* gated.h - the gated half of an MLP in one pass: act = silu(x gate^T) * (x up^T), and the way back through it. The bits are
 * those of jrl_matmul_nt, jrl_matmul_nn, jrl_swiglu and jrl_swiglu_backward one after the other; what the products
 * give, f32 and wider than anything else of a layer, reaches memory only where it is kept for the way back. */
#ifndef JRL_KERNELS_GATED_H
#define JRL_KERNELS_GATED_H

#include "kernels/device.h"

/* Gate and up of the rows of a pass, f32, as the products gave them, in an order of the device's own. DATA NULL: they are not kept. */
struct jrl_gated_kept {
    float *data;         /* jrl_gated_kept_floats of them, at 64 bytes */
    int64_t n_rows, row; /* of the pass; the first of this call */
};
static inline int64_t jrl_gated_kept_floats(int64_t n_rows, int64_t mlp_dim)
{
    return n_rows * 2 * ((mlp_dim + 15) / 16 * 16);
}

/* All row-major, of DTYPE (JRL_F32 or JRL_BF16), without gaps. */
struct jrl_gated {
    enum jrl_dtype dtype;
    int64_t rows, dim, mlp_dim;
    const void *x;         /* [rows, dim] */
    const void *gate, *up; /* [mlp_dim, dim] */
    struct jrl_gated_kept kept;
};

/* act: [rows, mlp_dim] of DTYPE; gate and up are written where they are kept. */
int jrl_gated(struct jrl_device *dev, const struct jrl_gated *p, void *act, struct jrl_error *err) JRL_MUST_CHECK;
/* gate and up of the rows again, or as they were kept, and with dact = dy down: act, dgate and dup, all [rows, mlp_dim] of DTYPE;
 * dy [rows, dim] is an operand, down [dim, mlp_dim] the weight behind act. */
int jrl_gated_backward(struct jrl_device *dev, const struct jrl_gated *p, void *act, void *dgate, void *dup, const void *dy,
                       const void *down, struct jrl_error *err) JRL_MUST_CHECK;

#endif
