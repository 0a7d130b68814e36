/* gather.h - rows of a matrix, and tokens, picked by their index. */
#ifndef JRL_KERNELS_GATHER_H
#define JRL_KERNELS_GATHER_H

#include "kernels/device.h"

/* y[i, :] = x[rows[i], :], zeros where rows[i] is negative. x, y: [.., dim] f32; rows, of the device's memory like x and y, are
 * checked by the caller. */
int jrl_gather_rows(struct jrl_device *dev, float *y, const float *x, const int64_t *rows, int64_t n, int64_t dim, struct jrl_error *err) JRL_MUST_CHECK;

/* ids[i] = chosen[sources[i]], tokens[i] where sources[i] is negative: the input of a step of decoding. All of the device's memory; sources
 * are checked by the caller. */
int jrl_feed_tokens(struct jrl_device *dev, uint32_t *ids, const uint32_t *tokens, const int64_t *sources, const uint32_t *chosen, int64_t n,
                    struct jrl_error *err) JRL_MUST_CHECK;

#endif
