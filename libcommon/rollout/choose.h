/* choose.h - one token from one row of logits, on the CPU: temperature, top-k, top-p, inverse CDF.
 * A draw is a function of (seed, uid, draw, sample, position) alone: not of the batch, the threads, or what was
 * drawn before. */
#ifndef JRL_ROLLOUT_CHOOSE_H
#define JRL_ROLLOUT_CHOOSE_H

#include <stddef.h>

#include "rollout/engine.h"

/* What keys one random number: sample is the number of the response to its problem, position the place of the
 * token in the response, both from 0; draw is 0 where there is none. */
struct jrl_draw { uint64_t uid, draw; uint32_t sample, position; };

/* 32 random bits. 224 bits of input do not fit one Philox4x32 call, so two are chained: r = philox(counter = (uid,
 * draw), key = seed), then philox(counter = (sample, position, r[2], r[3]), key = (r[0], r[1])), first word. 64-bit
 * numbers enter low word first. */
uint32_t jrl_draw_bits(uint64_t seed, const struct jrl_draw *d);

/* The factor on logits: 1/T in f32, 1 when greedy. */
float jrl_logit_factor(const struct jrl_sampling *s);

/* Bytes of scratch memory (8-byte aligned) for one call. */
size_t jrl_choose_scratch_bytes(int64_t vocab);

/* logits: one row [vocab], all finite; lse: log of the sum of exp(logits / T) as jrl_logprob gave it. With the
 * weight of id i p[i] = exp(logits[i] / T - lse) in f32: top_k keeps the k largest (ties: lower id), top_p then the
 * shortest prefix of them, in the same order, whose sum is >= top_p times the sum of what top_k kept, summed in that
 * order in double. The token is the first kept id, ascending, where the running sum exceeds u * total, u = bits / 2^32;
 * the last kept id with a weight if rounding leaves none. Greedy: the largest logit, lowest id on ties. */
uint32_t jrl_choose_token(const float *logits, int64_t vocab, float lse, const struct jrl_sampling *s, const struct jrl_draw *d, void *scratch);

#endif
