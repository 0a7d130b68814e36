/* choose.c - token choice. The common case (no top-k, no top-p) is one pass of exponentials and sums of blocks, then
 * a search in one block; the others sort only the tokens that can be kept. */
#include "rollout/choose.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "kernels/vmath.h"

/* Ids whose weights are summed together: small enough to search one by one, large enough that there are few sums. */
#define BLOCK 512
#define LANES 8

uint32_t jrl_draw_bits(uint64_t seed, const struct jrl_draw *d)
{
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    const uint32_t problem[4] = { (uint32_t)d->uid, (uint32_t)(d->uid >> 32), (uint32_t)d->draw, (uint32_t)(d->draw >> 32) };
    uint32_t r[4], out[4];

    jrl_philox(r, problem, key);
    const uint32_t token[4] = { d->sample, d->position, r[2], r[3] };
    jrl_philox(out, token, r);
    return out[0];
}

float jrl_logit_factor(const struct jrl_sampling *s)
{
    return s->greedy ? 1.0f : jrl_inv_temperature(s->temperature);
}

static int64_t n_blocks(int64_t vocab)
{
    return (vocab + BLOCK - 1) / BLOCK;
}

size_t jrl_choose_scratch_bytes(int64_t vocab)
{
    return (size_t)vocab * sizeof(uint64_t) + (size_t)n_blocks(vocab) * sizeof(double) + (size_t)vocab * sizeof(float);
}

static uint32_t argmax(const float *logits, int64_t vocab)
{
    int64_t best = 0;

    for (int64_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best])
            best = i;
    return (uint32_t)best;
}

/* The sum of one block of weights in double: lanes by id modulo 8, then a tree, so that it vectorises. */
static double block_sum(const float *p, int64_t n)
{
    double lane[LANES] = { 0 };
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += (double)p[i + j];
    for (int j = 0; i + j < n; j++)
        lane[j] += (double)p[i + j];
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static void weigh(float *p, double *sums, const float *logits, int64_t vocab, float inv_temperature, float lse)
{
    for (int64_t b = 0; b < vocab; b += BLOCK) {
        int64_t n = vocab - b < BLOCK ? vocab - b : BLOCK;

        for (int64_t i = b; i < b + n; i++)
            p[i] = jrl_expf(logits[i] * inv_temperature - lse);
        sums[b / BLOCK] = block_sum(p + b, n);
    }
}

/* Inverse CDF over all ids. The total is summed here rather than taken as 1: lse is rounded, and the error must not
 * become the share of the last id. */
static uint32_t draw_from_all(const float *p, const double *sums, int64_t vocab, double u)
{
    int64_t blocks = n_blocks(vocab), b, last = 0;
    double total = 0, before = 0, target;

    for (b = 0; b < blocks; b++)
        total += sums[b];
    target = u * total;
    for (b = 0; b < blocks - 1 && before + sums[b] <= target; b++)
        before += sums[b];
    for (int64_t i = b * BLOCK; i < vocab && i < (b + 1) * BLOCK; i++) {
        before += (double)p[i];
        if (before > target)
            return (uint32_t)i;
        if (p[i] > 0)
            last = i;
    }
    /* The block's sum and its running sum differ in the last bits. */
    return (uint32_t)last;
}

/* Sort keys: the bits of a weight (which is not negative, so bits order as values do), then the complement of the id:
 * descending keys are weights descending, ids ascending. */
static uint64_t key_of(float p, uint32_t id)
{
    uint32_t bits;

    memcpy(&bits, &p, 4);
    return (uint64_t)bits << 32 | (uint32_t)~id;
}

static uint32_t id_of(uint64_t key)
{
    return ~(uint32_t)key;
}

static float weight_of(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    float p;

    memcpy(&p, &bits, 4);
    return p;
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y ? 1 : 0;
}

/* Weights fall into buckets by exponent and three bits of mantissa. Returns the lowest bits a weight must have to be
 * among the ones that can be kept: at least top_k of them, or a mass that is surely top_p. */
#define BUCKET_SHIFT 20
#define N_BUCKETS 1024
static uint32_t candidate_floor(const float *p, int64_t vocab, int64_t top_k, double top_p)
{
    uint32_t count[N_BUCKETS] = { 0 };
    double mass[N_BUCKETS] = { 0 }, sum = 0;
    int64_t n = 0;

    for (int64_t i = 0; i < vocab; i++) {
        uint32_t bits;

        memcpy(&bits, &p[i], 4);
        bits = bits >> BUCKET_SHIFT < N_BUCKETS ? bits >> BUCKET_SHIFT : N_BUCKETS - 1;
        count[bits]++;
        mass[bits] += (double)p[i];
    }
    for (uint32_t b = N_BUCKETS; b-- > 0;) {
        n += count[b];
        sum += mass[b];
        /* sums in another order differ by much less than 1e-9 */
        if (top_k ? n >= top_k : sum > top_p + 1e-9)
            return b << BUCKET_SHIFT;
    }
    return 0;
}

/* Fills keys with the kept tokens, most probable first; returns their number. */
static int64_t keep(uint64_t *keys, const float *p, int64_t vocab, int64_t top_k, double top_p)
{
    uint64_t floor_key = (uint64_t)candidate_floor(p, vocab, top_k, top_p) << 32;
    double total = 1, sum = 0;
    int64_t n = 0, kept = 0;

    for (int64_t i = 0; i < vocab; i++) {
        uint64_t key = key_of(p[i], (uint32_t)i);

        keys[n] = key;
        n += key >= floor_key;
    }
    qsort(keys, (size_t)n, sizeof *keys, descending);
    if (top_k) {
        n = n < top_k ? n : top_k;
        total = 0;
        for (int64_t i = 0; i < n; i++)
            total += (double)weight_of(keys[i]);
    }
    if (top_p >= 1)
        return n;
    while (kept < n && sum < top_p * total)
        sum += (double)weight_of(keys[kept++]);
    return kept;
}

/* Inverse CDF over kept tokens; their ids are sorted into the memory of the keys. */
static uint32_t draw_from_kept(uint64_t *keys, int64_t n, const float *p, double u)
{
    uint32_t *ids = (uint32_t *)keys, last;
    double total = 0, sum = 0;

    for (int64_t i = 0; i < n; i++) {
        uint32_t id = id_of(keys[i]);
        memcpy(&ids[i], &id, sizeof id);
    }
    qsort(ids, (size_t)n, sizeof *ids, by_id);
    for (int64_t i = 0; i < n; i++)
        total += (double)p[ids[i]];
    last = ids[0];
    for (int64_t i = 0; i < n; i++) {
        sum += (double)p[ids[i]];
        if (sum > u * total)
            return ids[i];
        last = p[ids[i]] > 0 ? ids[i] : last;
    }
    return last;
}

uint32_t jrl_choose_token(const float *logits, int64_t vocab, float lse, const struct jrl_sampling *s, const struct jrl_draw *d, void *scratch)
{
    uint64_t *keys = scratch;
    double *sums = (double *)(keys + vocab), u;
    float *p = (float *)(sums + n_blocks(vocab));

    if (s->greedy)
        return argmax(logits, vocab);
    u = (double)jrl_draw_bits(s->seed, d) * 0x1p-32;
    weigh(p, sums, logits, vocab, jrl_logit_factor(s), lse);
    if (s->top_p >= 1 && (s->top_k == 0 || s->top_k >= vocab))
        return draw_from_all(p, sums, vocab, u);
    return draw_from_kept(keys, keep(keys, p, vocab, s->top_k < vocab ? s->top_k : 0, s->top_p), p, u);
}
