/* objective.h - the token-wise objective of training: what a token adds to the loss, and its derivatives with respect to the
 * token's logprob and entropy. How tokens are averaged, and what is counted of them, is libcommon/learn's. Formulas: Schulman
 * et al. 2017 (clipping), Ye et al. 2020 (dual clip), Yu et al. 2025 (a wider upper bound, "clip higher"), Schulman 2020 (KL
 * estimators k1, k2, k3), Yao et al. 2025 (truncated importance sampling, as verl has it: tis_imp_ratio_cap in
 * compute_policy_loss of core_algos, pull request 2953). */
#ifndef JRL_KERNELS_OBJECTIVE_H
#define JRL_KERNELS_OBJECTIVE_H

#include "kernels/device.h"

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
    enum jrl_kl kl;
    double clip_low, clip_high;
    double dual_clip;    /* > 1; 0: off */
    double kl_coef;      /* 0: off, ref_logprob is not read */
    double entropy_coef; /* 0: off */
    double is_cap;       /* 0: off, sampler_logprob weighs nothing */
};

/* What the objective needs of a token besides the model's answer. Of JRL_OBJECTIVE_NLL the weight alone. */
struct jrl_objective_token {
    double advantage, weight; /* weight: of the token in the loss */
    float old_logprob, ref_logprob;
    float sampler_logprob; /* of the engine that drew the token */
    int32_t scored;        /* 0: a row of nobody, whose derivatives are 0 */
};

/* The bound that a clipped loss has taken. */
enum jrl_clip { JRL_CLIP_NONE, JRL_CLIP_LOW, JRL_CLIP_HIGH, JRL_CLIP_DUAL };

/* One token before its weight: ratios are f32 like the logprobs they come from, by the exp that gives the same bits on every
 * processor; the rest is double. */
struct jrl_token_loss {
    double loss, slope; /* slope: d loss / d logprob */
    double log_ratio, ratio, kl;
    double is_ratio, is_weight; /* exp(old - sampler), and as the loss has it; 1 without is_cap */
    enum jrl_clip clip;
};
struct jrl_token_loss jrl_token_loss(const struct jrl_objective *o, const struct jrl_objective_token *t, float logprob, float entropy);

/* Of N tokens, weights applied: dlogprob[i] = d Loss / d logprob[i], and with dentropy (may be NULL) dentropy[i] = d Loss /
 * d entropy[i]. Derivatives below the smallest normal f32 are 0. All arrays in the device's memory. */
int jrl_objective_backward(struct jrl_device *dev, float *dlogprob, float *dentropy, const struct jrl_objective *o,
                           const struct jrl_objective_token *tokens, const float *logprob, const float *entropy, int64_t n,
                           struct jrl_error *err) JRL_MUST_CHECK;

#endif
