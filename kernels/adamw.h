/* adamw.h - the optimiser step over flat f32 state, and the squared norm of a gradient. */
#ifndef JRL_KERNELS_ADAMW_H
#define JRL_KERNELS_ADAMW_H

#include "kernels/device.h"

struct jrl_adamw {
    double lr, beta1, beta2, eps, weight_decay;
    double grad_scale; /* multiplies each gradient first: norm clipping */
    int64_t step;     /* 1 for the first update: bias correction */
};

/* Loshchilov & Hutter, decoupled weight decay, as torch.optim.AdamW: master *= 1 - lr*wd; m, v updated;
 * master -= lr * m_hat / (sqrt(v_hat) + eps). Then weights (DTYPE) = master rounded; weights may be NULL. n elements. */
int jrl_adamw_step(struct jrl_device *dev, const struct jrl_adamw *p, float *master, float *m, float *v, const float *grad,
                   void *weights, enum jrl_dtype dtype, int64_t n, struct jrl_error *err) JRL_MUST_CHECK;

/* sum of x[i]^2 in double: blocks of 4096; in a block 16 lanes (i mod 16), then their tree; block sums in order. */
int jrl_sum_squares(struct jrl_device *dev, double *out, const float *x, int64_t n, struct jrl_error *err) JRL_MUST_CHECK;

#endif
