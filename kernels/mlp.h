/* mlp.h - the gated MLP of a layer as one operation: both wide products, the activation, and the product back. */
#ifndef JRL_KERNELS_MLP_H
#define JRL_KERNELS_MLP_H

#include "kernels/gated.h"
#include "kernels/matmul.h"

/* x[rows, dim] += act down^T with act = silu(normed gate^T) * (normed up^T) rounded to DTYPE: the bits of jrl_matmul_nt,
 * jrl_swiglu and jrl_matmul_nt. All contiguous: gate, up [mlp_dim, dim], down [dim, mlp_dim], normed [rows, dim]. ACT is
 * memory for [rows, mlp_dim] of DTYPE, which a faster path may leave unused. */
struct jrl_mlp {
    enum jrl_dtype dtype;
    int64_t rows, dim, mlp_dim;
    const void *normed, *gate, *up, *down;
    float *x;
    void *act;
    struct jrl_gated_kept kept; /* is written */
};

/* THEN, which may be NULL: the products that come next, see jrl_matmul_nt_group. */
int jrl_mlp_forward(struct jrl_device *dev, const struct jrl_mlp *p, const struct jrl_matmul_group *then, struct jrl_error *err) JRL_MUST_CHECK;

#endif
