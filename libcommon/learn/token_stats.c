/* token_stats.c - see token_stats.h. */
#include "learn/token_stats.h"

#include <math.h>

bool jrl_objective_has_gradient(const struct jrl_objective *o, double advantage)
{
    return o->kind == JRL_OBJECTIVE_NLL || advantage != 0 || o->kl_coef != 0 || o->entropy_coef != 0;
}

/* NaN stays. */
static double largest(double most, double x)
{
    return x > most || isnan(x) ? x : most;
}

/* How far the policy's logprob is from the sampler's. */
static void count_mismatch(struct jrl_token_stats *stats, double logprob, double sampler)
{
    const double difference = fabs(logprob - sampler);

    stats->n_different += difference != 0;
    stats->difference += difference;
    stats->difference_max = largest(stats->difference_max, difference);
}

/* What a supervised token does not have. */
static void count_policy(struct jrl_token_stats *stats, const struct jrl_objective *o, const struct jrl_token_loss *t)
{
    stats->n_clip_low += t->clip == JRL_CLIP_LOW;
    stats->n_clip_high += t->clip == JRL_CLIP_HIGH;
    stats->n_clip_dual += t->clip == JRL_CLIP_DUAL;
    if (o->is_cap != 0) {
        stats->is_weight += t->is_weight;
        stats->is_weight_max = largest(stats->is_weight_max, t->is_weight);
        stats->n_is_capped += t->is_ratio > o->is_cap;
    }
    stats->kl_ref += t->kl;
    stats->ratio += t->ratio;
    if (stats->n_tokens == 0 || !(t->ratio <= stats->ratio_max))
        stats->ratio_max = t->ratio;
    if (stats->n_tokens == 0 || !(t->ratio >= stats->ratio_min))
        stats->ratio_min = t->ratio;
    stats->kl_old -= t->log_ratio;
    stats->kl_old_k3 += t->ratio - 1 - t->log_ratio;
}

void jrl_token_stats_count(struct jrl_token_stats *stats, const struct jrl_objective *o, const struct jrl_objective_token *tokens, int64_t n,
                           const float *logprob, const float *entropy)
{
    for (int64_t i = 0; i < n; i++) {
        const struct jrl_token_loss t = jrl_token_loss(o, &tokens[i], logprob[i], entropy[i]);

        if (o->kind == JRL_OBJECTIVE_POLICY) {
            count_mismatch(stats, logprob[i], tokens[i].sampler_logprob);
            count_policy(stats, o, &t);
        }
        stats->loss += tokens[i].weight * t.loss;
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
