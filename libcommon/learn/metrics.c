/* metrics.c - see metrics.h. */
#include "learn/metrics.h"

#include <math.h>

#include "base/decimal.h"

void jrl_metrics_example(struct jrl_step_metrics *m, const struct jrl_example *e)
{
    if (m->n_examples == 0 || e->n_response < m->response_min)
        m->response_min = e->n_response;
    if (e->n_response > m->response_max)
        m->response_max = e->n_response;
    m->n_examples++;
    m->prompt_tokens += e->n_prompt;
    m->response_tokens += e->n_response;
    m->n_truncated += e->truncated;
    m->n_rewards += e->has_reward;
    m->reward += e->has_reward ? e->reward : 0;
    m->n_judged += e->has_correct;
    m->n_correct += e->has_correct && e->correct;
}

void jrl_metrics_group(struct jrl_step_metrics *m, int64_t n, int64_t n_judged, int64_t n_correct)
{
    m->n_groups++;
    if (n_judged < n)
        return;
    m->n_groups_judged++;
    m->n_groups_right += n_correct == n;
    m->n_groups_wrong += n_correct == 0;
}

void jrl_metrics_minibatch(struct jrl_step_metrics *m, const struct jrl_token_stats *tokens, double grad_norm, bool skipped)
{
    if (m->n_minibatches++ == 0)
        m->first = *tokens;
    jrl_token_stats_add(&m->tokens, tokens);
    m->loss += tokens->loss;
    m->n_skipped += skipped;
    if (skipped)
        return;
    m->grad_norm += grad_norm;
    m->grad_norm_max = fmax(m->grad_norm_max, grad_norm);
}

static void key(struct jrl_buffer *out, const char *name)
{
    jrl_buffer_printf(out, "%s\"%s\":", out->data[out->len - 1] == '{' ? "" : ",", name);
}

static void integer(struct jrl_buffer *out, const char *name, int64_t value)
{
    key(out, name);
    jrl_buffer_printf(out, "%lld", (long long)value);
}

static void text(struct jrl_buffer *out, const char *name, const char *value)
{
    key(out, name);
    jrl_buffer_printf(out, "\"%s\"", value); /* digests and words: nothing to escape */
}

/* total / n, or null where there is nothing to divide by. */
static void mean(struct jrl_buffer *out, const char *name, double total, int64_t n)
{
    double value = n ? total / (double)n : NAN;
    char digits[32];

    key(out, name);
    if (isfinite(value)) {
        jrl_format_f64(digits, value);
        jrl_buffer_append_str(out, digits);
    } else {
        jrl_buffer_append_str(out, "null");
    }
}

static void rollout_part(const struct jrl_step_metrics *m, struct jrl_buffer *out)
{
    integer(out, "rollouts", m->n_examples);
    integer(out, "groups", m->n_groups);
    mean(out, "reward", m->reward, m->n_rewards);
    mean(out, "accuracy", (double)m->n_correct, m->n_judged);
    mean(out, "groups_right", (double)m->n_groups_right, m->n_groups_judged);
    mean(out, "groups_wrong", (double)m->n_groups_wrong, m->n_groups_judged);
    mean(out, "length", (double)m->response_tokens, m->n_examples);
    integer(out, "length_min", m->response_min);
    integer(out, "length_max", m->response_max);
    mean(out, "truncated", (double)m->n_truncated, m->n_examples);
    integer(out, "off_policy", m->n_off_policy);
}

/* The sampler's logprobs against the trainer's, N tokens, and what was done about it. */
static void mismatch_part(const struct jrl_step_metrics *m, int64_t n, struct jrl_buffer *out)
{
    const struct jrl_token_stats *t = &m->tokens, *first = &m->first;
    const int64_t n_first = n ? first->n_tokens : 0, n_weighted = m->is_cap != 0 ? n : 0;

    mean(out, "mismatch_mean", first->difference, n_first);
    mean(out, "mismatch_max", first->difference_max, n_first != 0);
    mean(out, "mismatch_share", (double)first->n_different, n_first);
    mean(out, "is_weight_mean", t->is_weight, n_weighted);
    mean(out, "is_weight_max", t->is_weight_max, n_weighted != 0);
    mean(out, "is_capped", (double)t->n_is_capped, n_weighted);
}

static void token_part(const struct jrl_step_metrics *m, struct jrl_buffer *out)
{
    const struct jrl_token_stats *t = &m->tokens;
    int64_t n = m->objective == JRL_OBJECTIVE_NLL ? 0 : t->n_tokens; /* what a supervised step does not have */

    mean(out, "loss", m->loss, m->n_minibatches);
    mean(out, "nll", t->nll, t->n_tokens);
    mean(out, "entropy", t->entropy, t->n_tokens);
    mean(out, "ratio_mean", t->ratio, n);
    mean(out, "ratio_max", t->ratio_max, n != 0);
    mean(out, "ratio_first_min", m->first.ratio_min, n != 0);
    mean(out, "ratio_first_max", m->first.ratio_max, n != 0);
    mismatch_part(m, n, out);
    mean(out, "clip_low", (double)t->n_clip_low, n);
    mean(out, "clip_high", (double)t->n_clip_high, n);
    mean(out, "clip_dual", (double)t->n_clip_dual, n);
    mean(out, "kl_old", t->kl_old, n);
    mean(out, "kl_old_k3", t->kl_old_k3, n);
    mean(out, "kl_ref", t->kl_ref, n);
}

void jrl_metrics_json(const struct jrl_step_metrics *m, struct jrl_buffer *out)
{
    int64_t n_updates = m->n_minibatches - m->n_skipped, n_tokens = m->prompt_tokens + m->response_tokens;
    double busy = m->seconds_train + m->seconds_optimizer;

    jrl_buffer_append_str(out, "{");
    integer(out, "step", m->step);
    if (m->policy[0])
        text(out, "policy", m->policy);
    text(out, "parent", m->parent);
    text(out, "objective", m->objective == JRL_OBJECTIVE_NLL ? "nll" : "policy");
    rollout_part(m, out);
    token_part(m, out);
    integer(out, "old_compared", m->n_old_compared);
    integer(out, "old_different", m->n_old_different);
    mean(out, "old_difference", m->old_difference, m->n_old_compared != 0);
    mean(out, "old_difference_mean", m->old_difference_sum, m->n_old_compared);
    integer(out, "updates", n_updates);
    integer(out, "skipped", m->n_skipped);
    mean(out, "grad_norm", m->grad_norm, n_updates);
    mean(out, "grad_norm_max", m->grad_norm_max, n_updates != 0);
    mean(out, "lr", m->lr, 1);
    integer(out, "tokens", n_tokens);
    mean(out, "tokens_per_second", busy > 0 ? (double)n_tokens / busy : NAN, 1);
    key(out, "seconds");
    jrl_buffer_append_str(out, "{");
    mean(out, "total", m->seconds, 1);
    mean(out, "read", m->seconds_read, 1);
    mean(out, "check", m->seconds_check, 1);
    mean(out, "train", m->seconds_train, 1);
    mean(out, "forward", m->seconds_forward, 1);
    mean(out, "head", m->seconds_head, 1);
    mean(out, "backward", m->seconds_backward, 1);
    mean(out, "optimizer", m->seconds_optimizer, 1);
    mean(out, "write", m->seconds_write, 1);
    jrl_buffer_append_str(out, "}}\n");
}
