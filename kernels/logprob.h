/* logprob.h - log-softmax of logits rows: logprob of a target, entropy, and their gradient. Reductions
 * over the vocabulary run in fixed lanes and a fixed tree, the same for sampler and trainer. */
#ifndef JRL_KERNELS_LOGPROB_H
#define JRL_KERNELS_LOGPROB_H

#include "kernels/device.h"

/* With z = logits * inv_temperature (f32): lse[r] = max + log sum exp(z - max), logprob[r] = (z[target] - max) - the
 * same log, which keeps the digits that lse has not, entropy[r] = lse - sum softmax(z) z, in nats. logits: [rows, vocab] f32,
 * row length ld. Any output may be NULL; a target outside the vocabulary is an error where logprob is wanted. A row with a
 * non-finite logit gives NaN in all its outputs. */
int jrl_logprob(struct jrl_device *dev, float *logprob, float *entropy, float *lse, const float *logits, int64_t ld,
                const uint32_t *targets, float inv_temperature, int64_t rows, int64_t vocab, struct jrl_error *err) JRL_MUST_CHECK;

/* The same reductions for a token that is still to be chosen: of each block of JRL_LOGITS_BLOCK ids
 * m = max z, s = sum exp(z - m) and t = sum exp(z - m) (z - m); s is NaN when a logit is not finite. Of a row
 * its maximum, the log of sum exp(z - max), their sum lse, and the entropy. */
#define JRL_LOGITS_BLOCK 1024
struct jrl_block_sums {
    float max, sum, weighted;
};
struct jrl_row_sums {
    float max, log_sum, lse, entropy;
};
JRL_INLINE int64_t jrl_logits_blocks(int64_t vocab) { return (vocab + JRL_LOGITS_BLOCK - 1) / JRL_LOGITS_BLOCK; }
/* row_sums: [rows]; block_sums: [rows, jrl_logits_blocks(vocab)]. */
int jrl_logits_sums(struct jrl_device *dev, struct jrl_row_sums *row_sums, struct jrl_block_sums *block_sums, const float *logits,
                    int64_t ld, float inv_temperature, int64_t rows, int64_t vocab, struct jrl_error *err) JRL_MUST_CHECK;
/* The logprob of the token with this logit, with the bits that jrl_logprob gives. */
JRL_INLINE float jrl_logprob_of(const struct jrl_row_sums *row, float logit, float inv_temperature)
{
    return logit * inv_temperature - row->max - row->log_sum;
}

/* dlogits[r, :] = inv_temperature * (dlogprob[r] * (1[target] - p) - dentropy[r] * p * (log p + entropy[r])),
 * rounded to DTYPE, row length ld (dlogits may be the memory of logits only when DTYPE is JRL_F32). dentropy may be NULL. */
int jrl_logprob_backward(struct jrl_device *dev, void *dlogits, enum jrl_dtype dtype, const float *logits, int64_t ld,
                         const uint32_t *targets, float inv_temperature, const float *lse, const float *entropy,
                         const float *dlogprob, const float *dentropy, int64_t rows, int64_t vocab, struct jrl_error *err) JRL_MUST_CHECK;

#endif
