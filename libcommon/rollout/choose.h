/* choose.h - one token from one row of logits, on the CPU: temperature, top-k, top-p, inverse CDF.
 * The draw depends on (seed, uid, draw, sample, position) only: Philox4x32-10 with key = seed and counter made of
 * the other four. Ties: probability descending, then id ascending; see jrl-sample(1). */
#ifndef JRL_ROLLOUT_CHOOSE_H
#define JRL_ROLLOUT_CHOOSE_H

#include "rollout/engine.h"

struct jrl_draw { uint64_t uid, draw; uint32_t sample, position; };

/* logits: [vocab] f32 of one row, lse: log of the sum of exp(logits / T) as jrl_logprob gave it. scratch: vocab * 8 bytes. */
uint32_t jrl_choose_token(const float *logits, int64_t vocab, float lse, const struct jrl_sampling *s, const struct jrl_draw *d, void *scratch);

#endif
