/* token_stats.h - what is counted of a step's tokens: the loss, ratios, clips, divergences (kernels/objective.h has the
 * formulas). */
#ifndef JRL_LEARN_TOKEN_STATS_H
#define JRL_LEARN_TOKEN_STATS_H

#include "kernels/objective.h"

/* False where no logprob could change the loss: advantage 0, as in a group that is all right or all wrong, without KL and
 * entropy terms. Such a response needs no backward pass. */
bool jrl_objective_has_gradient(const struct jrl_objective *o, double advantage);

/* Sums over tokens, in the order of the passes and in double: the same for any micro-batch size. Zero-initialise. */
struct jrl_token_stats {
    int64_t n_tokens;
    int64_t n_clip_low;  /* A < 0 and r < 1 - clip_low: the bound was taken */
    int64_t n_clip_high; /* A > 0 and r > 1 + clip_high */
    int64_t n_clip_dual; /* A < 0 and the dual bound was taken */
    double loss;         /* weighted: the loss of the mini-batch when its tokens are all in */
    double ratio, ratio_min, ratio_max;
    double kl_old;    /* old - logprob (k1 of KL(old || policy)) */
    double kl_old_k3; /* r - 1 - log r (k3 of the same) */
    double kl_ref;    /* the chosen estimator */
    double entropy;   /* nats */
    double nll;       /* -logprob, nats */
    /* |logprob - the sampler's|: while the policy is still the one that sampled, the mismatch of sampler and trainer. */
    int64_t n_different;
    double difference, difference_max; /* sum and largest; NaN: one of both is */
    double is_weight, is_weight_max;
    int64_t n_is_capped;
};

/* *stats += what N tokens have with these logprobs and entropies, one behind the other. */
void jrl_token_stats_count(struct jrl_token_stats *stats, const struct jrl_objective *o, const struct jrl_objective_token *tokens, int64_t n,
                           const float *logprob, const float *entropy);

/* *sum += *part, for totals over mini-batches. */
void jrl_token_stats_add(struct jrl_token_stats *sum, const struct jrl_token_stats *part);

#endif
