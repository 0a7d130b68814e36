/* norm.h - RMSNorm and the embedding lookup, forward and backward. The residual stream is f32. */
#ifndef JRL_KERNELS_NORM_H
#define JRL_KERNELS_NORM_H

#include "kernels/device.h"

/* x[r, :] = table[ids[r], :] as f32. table: [vocab, dim] of DTYPE. Ids are checked by the caller;
 * UINT32_MAX (padding) gives a row of zeros. */
int jrl_embedding(struct jrl_device *dev, float *x, const void *table, enum jrl_dtype dtype, const uint32_t *ids,
                  int64_t rows, int64_t dim, struct jrl_error *err) JRL_MUST_CHECK;
/* dtable[ids[r], :] += dx[r, :], rows in order. Rows with ids[r] == UINT32_MAX (padding) are skipped. */
int jrl_embedding_backward(struct jrl_device *dev, float *dtable, const float *dx, const uint32_t *ids,
                           int64_t rows, int64_t dim, struct jrl_error *err) JRL_MUST_CHECK;

/* y = x * rsqrt(mean(x^2) + eps) * weight, rounded to DTYPE. x: [rows, dim] f32; weight: [dim] of DTYPE. */
int jrl_rmsnorm(struct jrl_device *dev, void *y, const float *x, const void *weight, enum jrl_dtype dtype, float eps,
                int64_t rows, int64_t dim, struct jrl_error *err) JRL_MUST_CHECK;
/* dx += gradient to x; dweight += gradient to weight, rows in order. dy, dx: [rows, dim] f32. */
int jrl_rmsnorm_backward(struct jrl_device *dev, float *dx, float *dweight, const float *dy, const float *x,
                         const void *weight, enum jrl_dtype dtype, float eps, int64_t rows, int64_t dim,
                         struct jrl_error *err) JRL_MUST_CHECK;

#endif
