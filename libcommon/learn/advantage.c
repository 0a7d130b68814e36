/* advantage.c - advantages of a group and of a batch; see advantage.h. */
#include "learn/advantage.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const char *const names[] = {
    [JRL_GRPO] = "grpo",
    [JRL_DR_GRPO] = "dr-grpo",
    [JRL_RLOO] = "rloo",
    [JRL_REINFORCE_BASELINE] = "reinforce++-baseline",
};

bool jrl_estimator_find(enum jrl_estimator *out, const char *name)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            *out = (enum jrl_estimator)i;
            return true;
        }
    }
    return false;
}

static double weight_of(const int64_t *weights, int64_t i)
{
    return weights ? (double)weights[i] : 1;
}

/* Taken from the differences to the first value, so that equal values have exactly that value as their mean. */
static double mean_of(const double *x, const int64_t *weights, int64_t n, double *total_weight)
{
    double sum = 0;

    *total_weight = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += weight_of(weights, i) * (x[i] - x[0]);
        *total_weight += weight_of(weights, i);
    }
    return *total_weight > 0 ? x[0] + sum / *total_weight : x[0];
}

static double variance_of(const double *x, const int64_t *weights, int64_t n, double mean, double total_weight)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += weight_of(weights, i) * (x[i] - mean) * (x[i] - mean);
    return total_weight > 1 ? sum / (total_weight - 1) : 0;
}

void jrl_advantage_group(enum jrl_estimator estimator, double epsilon, const double *rewards, int64_t n, double *advantages)
{
    double total, scale = 1;
    double mean = mean_of(rewards, NULL, n, &total);

    if (n == 1) {
        mean = 0;
        if (estimator == JRL_GRPO)
            scale = 1 / (1 + epsilon);
    } else if (estimator == JRL_GRPO) {
        scale = 1 / (sqrt(variance_of(rewards, NULL, n, mean, total)) + epsilon);
        if (!isfinite(scale))
            scale = 0; /* equal rewards and no epsilon */
    } else if (estimator == JRL_RLOO) {
        /* r - (n mean - r) / (n - 1) = (r - mean) n / (n - 1) */
        scale = total / (total - 1);
    }
    for (int64_t i = 0; i < n; i++)
        advantages[i] = (rewards[i] - mean) * scale;
}

void jrl_advantage_whiten(double *advantages, const int64_t *weights, int64_t n, double epsilon)
{
    double total, mean, scale;

    if (n == 0)
        return;
    mean = mean_of(advantages, weights, n, &total);
    scale = 1 / sqrt(variance_of(advantages, weights, n, mean, total) + epsilon);
    if (!isfinite(scale))
        scale = 0;
    for (int64_t i = 0; i < n; i++)
        advantages[i] = (advantages[i] - mean) * scale;
}
