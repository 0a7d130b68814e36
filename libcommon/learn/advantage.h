/* advantage.h - how much better than its peers a rollout is: rewards of a group, or of a batch of groups, to one
 * advantage a rollout. Pure arithmetic in double, summed in the order given.
 * Not here: which rollouts form a group (data/group.h). */
#ifndef JRL_LEARN_ADVANTAGE_H
#define JRL_LEARN_ADVANTAGE_H

#include <stdbool.h>
#include <stdint.h>

/* With r a rollout's reward, mean and s the mean and the deviation (n - 1) of its group's rewards:
 *   grpo                  (r - mean) / (s + epsilon)       Shao et al. 2024, as verl computes it
 *   dr-grpo               r - mean                         Liu et al. 2025
 *   rloo                  r - mean of the others           Ahmadian et al. 2024
 *   reinforce++-baseline  r - mean, then whitened over the batch (jrl_advantage_whiten)    Hu 2025
 * A group of one has nothing to be compared with: mean 0 and s 1, so the reward itself counts. */
enum jrl_estimator { JRL_GRPO, JRL_DR_GRPO, JRL_RLOO, JRL_REINFORCE_BASELINE };

#define JRL_ESTIMATOR_WORDS "grpo|dr-grpo|rloo|reinforce++-baseline"
/* false when there is none of that name. */
bool jrl_estimator_find(enum jrl_estimator *out, const char *name);

/* The advantages of one group of n >= 1 rollouts; for reinforce++-baseline the centred rewards, before whitening.
 * Equal rewards give exactly 0. EPSILON is used by grpo only. advantages may be rewards. */
void jrl_advantage_group(enum jrl_estimator estimator, double epsilon, const double *rewards, int64_t n, double *advantages);

/* Whiten a batch in place: a = (a - mean) / sqrt(variance + epsilon), variance with W - 1. WEIGHTS NULL: every
 * rollout counts once and W = n. Else rollout i counts weights[i] times and W is their sum: with the numbers of
 * response tokens this is the mean over tokens that verl, OpenRLHF and NeMo-RL take. */
void jrl_advantage_whiten(double *advantages, const int64_t *weights, int64_t n, double epsilon);

#endif
