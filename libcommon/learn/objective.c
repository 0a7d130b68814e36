/* objective.c - see objective.h. Ratios are f32 like the logprobs they come from, by the exp that gives the same
 * bits on every processor; losses and sums are double. */
#include "learn/objective.h"

#include <math.h>

#include "kernels/vmath.h"

/* verl's bound on the estimate of one token's KL. */
#define KL_LIMIT 10.0

/* The clipped loss of one token; *slope is its derivative with respect to the logprob. */
static double clipped(const struct jrl_objective *o, double advantage, double ratio, double *slope, struct jrl_token_stats *stats)
{
    double low = 1 - o->clip_low, high = 1 + o->clip_high, loss;

    *slope = 0;
    if (advantage == 0) /* also where the ratio is infinite */
        return 0;
    loss = -advantage * ratio;
    if (advantage > 0 && ratio > high) {
        stats->n_clip_high++;
        return -advantage * high;
    }
    if (advantage < 0 && ratio < low) {
        stats->n_clip_low++;
        return -advantage * low;
    }
    if (advantage < 0 && o->dual_clip > 0 && loss > -advantage * o->dual_clip) {
        stats->n_clip_dual++;
        return -advantage * o->dual_clip;
    }
    *slope = loss; /* d(-A r)/dlogprob = -A r */
    return loss;
}

static double kl_estimate(enum jrl_kl kind, double d, double *slope)
{
    double value = 0, e;

    *slope = 0;

    switch (kind) {
    case JRL_KL_K1:
        *slope = 1;
        return -d;
    case JRL_KL_K2:
        *slope = -d;
        return d * d / 2;
    case JRL_KL_K3:
        e = jrl_expf((float)d);
        value = e - d - 1;
        *slope = 1 - e;
        if (value > KL_LIMIT || value < -KL_LIMIT) {
            *slope = 0;
            return value > 0 ? KL_LIMIT : -KL_LIMIT;
        }
        break;
    }
    return value;
}

/* NaN stays. */
static double largest(double most, double x)
{
    return x > most || isnan(x) ? x : most;
}

/* How far the policy's logprob is from the sampler's. */
static void mismatch(double logprob, double sampler, struct jrl_token_stats *stats)
{
    const double difference = fabs(logprob - sampler);

    stats->n_different += difference != 0;
    stats->difference += difference;
    stats->difference_max = largest(stats->difference_max, difference);
}

/* The truncated weight of a token that the sampler drew with another logprob. */
static double is_weight(const struct jrl_objective *o, double old, double sampler, struct jrl_token_stats *stats)
{
    const double ratio = jrl_expf((float)(old - sampler)), weight = ratio > o->is_cap ? o->is_cap : ratio;

    stats->is_weight += weight;
    stats->is_weight_max = largest(stats->is_weight_max, weight);
    stats->n_is_capped += ratio > o->is_cap;
    return weight;
}

static void policy_token(const struct jrl_objective *o, const struct jrl_target *t, double logprob, double entropy, double old,
                         double sampler, const float *ref, float *dlogprob, float *dentropy, struct jrl_token_stats *stats)
{
    double log_ratio = logprob - old, ratio = jrl_expf((float)log_ratio), slope;
    double loss = clipped(o, t->advantage, ratio, &slope, stats);

    mismatch(logprob, sampler, stats);
    if (o->is_cap != 0) {
        const double weight = is_weight(o, old, sampler, stats);

        loss *= weight;
        slope *= weight;
    }
    if (o->kl_coef != 0) {
        double kl_slope, kl = kl_estimate(o->kl, *ref - logprob, &kl_slope);

        loss += o->kl_coef * kl;
        slope += o->kl_coef * kl_slope;
        stats->kl_ref += kl;
    }
    loss -= o->entropy_coef * entropy;
    *dlogprob = (float)(t->weight * slope);
    *dentropy = (float)(-t->weight * o->entropy_coef);
    stats->loss += t->weight * loss;
    stats->ratio += ratio;
    if (stats->n_tokens == 0 || !(ratio <= stats->ratio_max))
        stats->ratio_max = ratio;
    if (stats->n_tokens == 0 || !(ratio >= stats->ratio_min))
        stats->ratio_min = ratio;
    stats->kl_old -= log_ratio;
    stats->kl_old_k3 += ratio - 1 - log_ratio;
}

bool jrl_objective_has_gradient(const struct jrl_objective *o, const struct jrl_target *target)
{
    return o->kind == JRL_OBJECTIVE_NLL || target->advantage != 0 || o->kl_coef != 0 || o->entropy_coef != 0;
}

void jrl_objective_tokens(const struct jrl_objective *o, const struct jrl_target *target, int64_t first, int64_t n,
                          const float *logprob, const float *entropy, float *dlogprob, float *dentropy,
                          struct jrl_token_stats *stats)
{
    for (int64_t i = 0; i < n; i++) {
        if (o->kind == JRL_OBJECTIVE_NLL) {
            dlogprob[i] = (float)-target->weight;
            dentropy[i] = (float)(-target->weight * o->entropy_coef);
            stats->loss -= target->weight * (logprob[i] + o->entropy_coef * entropy[i]);
        } else {
            const float *ref = target->ref_logprobs ? target->ref_logprobs + first + i : 0;
            const float old = target->old_logprobs[first + i];
            const float sampler = target->sampler_logprobs ? target->sampler_logprobs[first + i] : old;

            policy_token(o, target, logprob[i], entropy[i], old, sampler, ref, &dlogprob[i], &dentropy[i], stats);
        }
        stats->entropy += entropy[i];
        stats->nll -= logprob[i];
        stats->n_tokens++;
    }
}

void jrl_token_stats_add(struct jrl_token_stats *sum, const struct jrl_token_stats *part)
{
    if (part->n_tokens == 0)
        return;
    if (sum->n_tokens == 0 || !(part->ratio_max <= sum->ratio_max))
        sum->ratio_max = part->ratio_max;
    if (sum->n_tokens == 0 || !(part->ratio_min >= sum->ratio_min))
        sum->ratio_min = part->ratio_min;
    sum->n_tokens += part->n_tokens;
    sum->n_clip_low += part->n_clip_low;
    sum->n_clip_high += part->n_clip_high;
    sum->n_clip_dual += part->n_clip_dual;
    sum->loss += part->loss;
    sum->ratio += part->ratio;
    sum->kl_old += part->kl_old;
    sum->kl_old_k3 += part->kl_old_k3;
    sum->kl_ref += part->kl_ref;
    sum->entropy += part->entropy;
    sum->nll += part->nll;
    sum->n_different += part->n_different;
    sum->difference += part->difference;
    sum->difference_max = largest(sum->difference_max, part->difference_max);
    sum->is_weight += part->is_weight;
    sum->is_weight_max = largest(sum->is_weight_max, part->is_weight_max);
    sum->n_is_capped += part->n_is_capped;
}
