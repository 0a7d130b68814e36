/* objective_token.h - the objective of one token, for CPU and GPU alike (kernels/objective.h has the formulas). */
#ifndef JRL_KERNELS_CPU_OBJECTIVE_TOKEN_H
#define JRL_KERNELS_CPU_OBJECTIVE_TOKEN_H

#include <float.h>

#include "kernels/cpu/vmath_inline.h"
#include "kernels/objective.h"

/* verl's bound on the estimate of one token's KL. */
#define JRL_KL_LIMIT 10.0

/* The clipped loss of a token whose ratio is known. */
JRL_INLINE void jrl_token_clip(const struct jrl_objective *o, double advantage, struct jrl_token_loss *t)
{
    const double low = 1 - o->clip_low, high = 1 + o->clip_high;

    if (advantage == 0) /* also where the ratio is infinite */
        return;
    t->loss = -advantage * t->ratio;
    if (advantage > 0 && t->ratio > high) {
        t->clip = JRL_CLIP_HIGH;
        t->loss = -advantage * high;
    } else if (advantage < 0 && t->ratio < low) {
        t->clip = JRL_CLIP_LOW;
        t->loss = -advantage * low;
    } else if (advantage < 0 && o->dual_clip > 0 && t->loss > -advantage * o->dual_clip) {
        t->clip = JRL_CLIP_DUAL;
        t->loss = -advantage * o->dual_clip;
    } else {
        t->slope = t->loss; /* d(-A r)/dlogprob = -A r */
    }
}

/* The estimate for d = ref - logprob; *slope: its derivative with respect to logprob. */
JRL_INLINE double jrl_token_kl(enum jrl_kl kind, double d, double *slope)
{
    double e, value;

    if (kind == JRL_KL_K1) {
        *slope = 1;
        return -d;
    }
    if (kind == JRL_KL_K2) {
        *slope = -d;
        return d * d / 2;
    }
    e = jrl_expf_inline((float)d);
    value = e - d - 1;
    if (value > JRL_KL_LIMIT || value < -JRL_KL_LIMIT) {
        *slope = 0;
        return value > 0 ? JRL_KL_LIMIT : -JRL_KL_LIMIT;
    }
    *slope = 1 - e;
    return value;
}

JRL_INLINE struct jrl_token_loss jrl_token_loss_inline(const struct jrl_objective *o, const struct jrl_objective_token *token, double logprob, double entropy)
{
    struct jrl_token_loss t = { 0, 0, 0, 1, 0, 1, 1, JRL_CLIP_NONE };
    double kl_slope;

    if (o->kind == JRL_OBJECTIVE_NLL) {
        t.loss = -(logprob + o->entropy_coef * entropy);
        t.slope = -1;
        return t;
    }
    t.log_ratio = logprob - token->old_logprob;
    t.ratio = jrl_expf_inline((float)t.log_ratio);
    jrl_token_clip(o, token->advantage, &t);
    if (o->is_cap != 0) {
        t.is_ratio = jrl_expf_inline((float)((double)token->old_logprob - token->sampler_logprob));
        t.is_weight = t.is_ratio > o->is_cap ? o->is_cap : t.is_ratio;
        t.loss *= t.is_weight;
        t.slope *= t.is_weight;
    }
    if (o->kl_coef != 0) {
        t.kl = jrl_token_kl(o->kl, token->ref_logprob - logprob, &kl_slope);
        t.loss += o->kl_coef * t.kl;
        t.slope += o->kl_coef * kl_slope;
    }
    t.loss -= o->entropy_coef * entropy;
    return t;
}

/* To f32, whatever the processor does with denormals. */
JRL_INLINE float jrl_token_derivative(double x)
{
    return x < FLT_MIN && x > -FLT_MIN ? 0 : (float)x;
}

JRL_INLINE void jrl_token_backward(float *dlogprob, float *dentropy, const struct jrl_objective *o, const struct jrl_objective_token *token,
                                   float logprob, float entropy)
{
    *dlogprob = token->scored ? jrl_token_derivative(token->weight * jrl_token_loss_inline(o, token, logprob, entropy).slope) : 0;
    if (dentropy)
        *dentropy = token->scored ? jrl_token_derivative(-token->weight * o->entropy_coef) : 0;
}

#endif
