/* metrics.h - the numbers of one training step, gathered over its mini-batches, and their JSON line. Keys are a
 * contract: they are added, never renamed (jrl-update(1)). */
#ifndef JRL_LEARN_METRICS_H
#define JRL_LEARN_METRICS_H

#include "base/memory.h"
#include "data/example.h"
#include "learn/token_stats.h"

/* Zero-initialise. */
struct jrl_step_metrics {
    int64_t step;
    char policy[JRL_DIGEST_SIZE]; /* made by the step; empty until it is written, then not printed */
    char parent[JRL_DIGEST_SIZE];
    enum jrl_objective_kind objective;
    double lr;

    int64_t n_examples, n_truncated, n_off_policy;
    int64_t n_rewards, n_judged, n_correct; /* with `reward`; with `correct`; with `correct` true */
    double reward;                          /* sum */
    int64_t n_groups, n_groups_judged, n_groups_right, n_groups_wrong;
    int64_t prompt_tokens, response_tokens, response_min, response_max;

    struct jrl_token_stats tokens;
    struct jrl_token_stats first; /* of the first mini-batch, whose weights are those that the step began with */
    double is_cap;                /* 0: off */
    int64_t n_minibatches, n_skipped;
    double loss, grad_norm, grad_norm_max; /* loss and grad_norm: sums over mini-batches (finite norms only) */
    int64_t n_old_compared, n_old_different;   /* tokens, by the pass of old.h */
    double old_difference, old_difference_sum; /* the largest, and of all */
    /* forward, head and backward are parts of train */
    double seconds, seconds_read, seconds_check, seconds_train, seconds_forward, seconds_head, seconds_backward, seconds_optimizer, seconds_write;
};

/* Count one example, and one complete group of n examples with n_judged verdicts, n_correct of them right. */
void jrl_metrics_example(struct jrl_step_metrics *m, const struct jrl_example *e);
void jrl_metrics_group(struct jrl_step_metrics *m, int64_t n, int64_t n_judged, int64_t n_correct);
/* Count one optimiser update (or its omission). */
void jrl_metrics_minibatch(struct jrl_step_metrics *m, const struct jrl_token_stats *tokens, double grad_norm, bool skipped);

/* Append the step as one JSON object and a newline. What does not apply (no rewards, ratios of a supervised step)
 * is null, like a mean that is not a finite number. */
void jrl_metrics_json(const struct jrl_step_metrics *m, struct jrl_buffer *out);

#endif
