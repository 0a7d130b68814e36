/* choose.h - one token from each of some rows of logits: temperature, top-k, top-p, inverse CDF. A draw is a function of
 * (seed, uid, draw, sample, position) alone: not of the batch, the threads, the device, or what was drawn before. */
#ifndef JRL_KERNELS_CHOOSE_H
#define JRL_KERNELS_CHOOSE_H

#include "base/random.h"
#include "kernels/logprob.h"

/* What keys one random number: sample is the number of the response to its problem, position the place of the
 * token in the response, both from 0; draw is 0 where there is none. */
struct jrl_draw {
    uint64_t uid, draw;
    uint32_t sample, position;
};

/* 32 random bits. 224 bits of input do not fit one Philox4x32 call, so two are chained: r = philox(counter = (uid,
 * draw), key = seed), then philox(counter = (sample, position, r[2], r[3]), key = (r[0], r[1])), first word. 64-bit
 * numbers enter low word first. */
JRL_INLINE uint32_t jrl_draw_bits(uint64_t seed, const struct jrl_draw *d)
{
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    const uint32_t problem[4] = { (uint32_t)d->uid, (uint32_t)(d->uid >> 32), (uint32_t)d->draw, (uint32_t)(d->draw >> 32) };
    uint32_t r[4], out[4];

    jrl_philox(r, problem, key);
    const uint32_t token[4] = { d->sample, d->position, r[2], r[3] };
    jrl_philox(out, token, r);
    return out[0];
}

struct jrl_choice_rule {
    float inv_temperature; /* factor on logits; 1 when greedy */
    bool greedy;
    int64_t top_k;         /* 0: off */
    double top_p;          /* 1: off */
    uint64_t seed;
};

/* One row of logits, all finite, and its sums at the temperature of the rule (logprob.h). */
struct jrl_logits {
    const float *logits;
    int64_t vocab;
    struct jrl_row_sums sums;
    const struct jrl_block_sums *blocks;
};

/* Bytes of scratch memory (8-byte aligned) for one call of jrl_choose_token. */
size_t jrl_choose_scratch_bytes(int64_t vocab);

/* On the CPU, of the program's memory. Greedy: the largest logit, lowest id on ties. Else, with
 * z = logit * inv_temperature and u = bits / 2^32:
 *
 * With neither top_k nor top_p the inverse CDF of softmax(z), ids ascending, in two stages: over blocks of
 * JRL_LOGITS_BLOCK ids by the sums in BLOCKS, joined in double; then in the block by exp(z - max of the block), summed in
 * order in double and scaled to what the first stage left of u.
 *
 * Otherwise the weight of an id is p = exp(z - lse) in f32. top_k keeps the k largest (ties: lower id), top_p then the
 * shortest prefix of them, in the same order, whose sum is >= top_p times the sum of what top_k kept (without top_k: 1),
 * summed in that order in double. The token is the first kept id, ascending, where the running sum exceeds u times the
 * sum of the kept, the last kept id with a weight if rounding leaves none. */
uint32_t jrl_choose_token(const struct jrl_logits *l, const struct jrl_choice_rule *rule, const struct jrl_draw *d, void *scratch);

/* The most memory that choosing N tokens at a time takes besides jrl_kernel_memory, on a GPU that of the lists of jrl_choose. */
int64_t jrl_choose_memory(const struct jrl_device *dev, int64_t vocab, int64_t n);

/* logits [.., vocab], row_sums and block_sums of them (jrl_logits_sums). For i < n: the token of draws[i] from row rows[i], as
 * jrl_choose_token says, and its logprob. */
struct jrl_choose {
    struct jrl_choice_rule rule;
    const float *logits;
    int64_t vocab;
    const struct jrl_row_sums *row_sums;
    const struct jrl_block_sums *block_sums;
    int64_t n;
    const int64_t *rows;
    const struct jrl_draw *draws;
    uint32_t *tokens;
    float *logprobs;
};
int jrl_choose_tokens(struct jrl_device *dev, const struct jrl_choose *p, struct jrl_error *err) JRL_MUST_CHECK;

#endif
