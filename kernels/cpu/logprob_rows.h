/* logprob_rows.h - how the blocks of a row of logits are joined, for the CPU and the GPU. Relative to the row's maximum M:
 * S = sum exp(z - M), T = sum exp(z - M) (z - M); lse = M + log S, logprob = (z - M) - log S, entropy = log S - T / S. */
#ifndef JRL_KERNELS_CPU_LOGPROB_ROWS_H
#define JRL_KERNELS_CPU_LOGPROB_ROWS_H

#include "kernels/cpu/vmath_inline.h"
#include "kernels/logprob.h"

/* What a block adds to S and T. */
struct jrl_block_terms {
    double sum, weighted;
};

JRL_INLINE struct jrl_block_terms jrl_block_terms_of(const struct jrl_block_sums *block, float max)
{
    const float shift = block->max - max;
    const double scale = jrl_expf_inline(shift);
    const struct jrl_block_terms terms = { block->sum * scale, ((double)block->weighted + (double)block->sum * shift) * scale };

    return terms;
}

JRL_INLINE struct jrl_row_sums jrl_row_sums_of(float max, double sum, double weighted)
{
    const float log_sum = jrl_logf_inline((float)sum);
    const struct jrl_row_sums row = { max, log_sum, max + log_sum, (float)(log_sum - weighted / sum) };

    return row;
}

#endif
