/* objective.h - the token-wise objective: its value and its derivative with respect to a token's logprob and
 * entropy. Knows one sequence at a time; how tokens are averaged is aggregate.h, where logprobs come from is
 * model/train.h. Formulas: Schulman et al. 2017 (clipping), Ye et al. 2020 (dual clip), Yu et al. 2025 (a wider
 * upper bound, "clip higher"), Schulman 2020 (KL estimators k1, k2, k3), Yao et al. 2025 (truncated importance
 * sampling, as verl has it: tis_imp_ratio_cap in compute_policy_loss of core_algos, pull request 2953). */
#ifndef JRL_LEARN_OBJECTIVE_H
#define JRL_LEARN_OBJECTIVE_H

#include <stdbool.h>
#include <stdint.h>

enum jrl_objective_kind {
    JRL_OBJECTIVE_POLICY, /* clipped ratio times advantage */
    JRL_OBJECTIVE_NLL,    /* supervised: minus the logprob of the response's tokens */
};

/* Estimators of KL(policy || reference) from d = ref - logprob: k1 = -d, k2 = d^2 / 2, k3 = e^d - d - 1. */
enum jrl_kl { JRL_KL_K1, JRL_KL_K2, JRL_KL_K3 };

/* With ratio r = exp(logprob - old) and advantage A:
 *     loss = max(-A r, -A clip(r, 1 - clip_low, 1 + clip_high)), for A < 0 at most -A dual_clip,
 *     loss += kl_coef * k - entropy_coef * entropy.
 * A value of k beyond +-10 counts as 10 and has no derivative, as in verl. Where the sampler computed other logprobs than
 * the trainer does for the same policy, the first line is also multiplied by min(exp(old - sampler), is_cap), a constant for
 * the derivative: 1 where they agree. */
struct jrl_objective {
    enum jrl_objective_kind kind;
    double clip_low, clip_high;
    double dual_clip; /* > 1; 0: off */
    enum jrl_kl kl;
    double kl_coef;      /* 0: off, ref_logprobs is not read */
    double entropy_coef; /* 0: off */
    double is_cap;       /* 0: off, sampler_logprobs weigh nothing */
};

/* What the objective needs of one response besides the model's answer. Arrays: one value a response token. */
struct jrl_target {
    const float *old_logprobs; /* not read by JRL_OBJECTIVE_NLL */
    const float *ref_logprobs; /* may be NULL while kl_coef is 0 */
    double advantage;
    double weight; /* of each token of this response in the loss (aggregate.h) */
    const float *sampler_logprobs; /* of the engine that drew the tokens; NULL: the old ones are */
};

/* False where no logprob could change the loss: advantage 0, as in a group that is all right or all wrong, without KL and
 * entropy terms. Such a response needs no backward pass. */
bool jrl_objective_has_gradient(const struct jrl_objective *o, const struct jrl_target *target);

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

/* Tokens first .. first+n-1 (0-based in the response): sets dlogprob[i] and dentropy[i] (indexed from 0) to the
 * derivative of the weighted loss and adds to *stats. */
void jrl_objective_tokens(const struct jrl_objective *o, const struct jrl_target *target, int64_t first, int64_t n,
                          const float *logprob, const float *entropy, float *dlogprob, float *dentropy,
                          struct jrl_token_stats *stats);

/* *sum += *part, for totals over mini-batches. */
void jrl_token_stats_add(struct jrl_token_stats *sum, const struct jrl_token_stats *part);

#endif
