/* choose.c - token choice. The common case (no top-k, no top-p) looks at the sums of blocks, which the logprob needed
 * anyway, and into one block; the others take apart only the tokens that can be kept. */
#include "kernels/choose.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

size_t jrl_choose_scratch_bytes(int64_t vocab)
{
    return ((size_t)vocab + JRL_LOGITS_BLOCK) * sizeof(uint64_t);
}

static int64_t block_end(const struct jrl_logits *l, int64_t block)
{
    int64_t end = (block + 1) * JRL_LOGITS_BLOCK;

    return end < l->vocab ? end : l->vocab;
}

static uint32_t argmax(const struct jrl_logits *l)
{
    int64_t block = 0, i;

    while (l->blocks[block].max != l->sums.max)
        block++;
    for (i = block * JRL_LOGITS_BLOCK; i < block_end(l, block) - 1; i++)
        if (l->logits[i] == l->sums.max)
            break;
    return (uint32_t)i;
}

/* The share of softmax(z) that a block holds, times a constant of the row. */
static double block_mass(const struct jrl_logits *l, int64_t block)
{
    return (double)l->blocks[block].sum * (double)jrl_expf(l->blocks[block].max - l->sums.max);
}

/* Inverse CDF in one block: SHARE of its mass lies before the token. */
static uint32_t draw_from_block(const struct jrl_logits *l, int64_t block, float inv_temperature, double share, float *weights)
{
    int64_t begin = block * JRL_LOGITS_BLOCK, n = block_end(l, block) - begin, last = 0;
    double total = 0, sum = 0;

    for (int64_t i = 0; i < n; i++) {
        weights[i] = jrl_expf(l->logits[begin + i] * inv_temperature - l->blocks[block].max);
        total += (double)weights[i];
    }
    for (int64_t i = 0; i < n; i++) {
        sum += (double)weights[i];
        if (sum > share * total)
            return (uint32_t)(begin + i);
        last = weights[i] > 0 ? i : last;
    }
    return (uint32_t)(begin + last);
}

/* The total is summed here rather than taken as 1: lse is rounded, and the error must not become the share of the last
 * id, which in a padded vocabulary is no token at all. */
static uint32_t draw_from_all(const struct jrl_logits *l, float inv_temperature, double u, float *weights)
{
    int64_t n_blocks = jrl_logits_blocks(l->vocab), chosen = 0;
    double total = 0, before = 0, start = 0;

    for (int64_t b = 0; b < n_blocks; b++)
        total += block_mass(l, b);
    for (int64_t b = 0; b < n_blocks; b++) {
        double mass = block_mass(l, b);

        if (mass > 0) {
            chosen = b;
            start = before;
        }
        before += mass;
        if (before > u * total)
            break;
    }
    return draw_from_block(l, chosen, inv_temperature, (u * total - start) / block_mass(l, chosen), weights);
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

static int falling(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return x < y ? 1 : x > y ? -1 : 0;
}

/* A bound on z below which no token is kept: the k-th largest maximum of a block has k tokens at or above it; and
 * tokens whose probabilities are below (1 - top_p) / vocab together hold less than 1 - top_p. The margins are beyond
 * what rounding can do. */
static float bound_below(const struct jrl_logits *l, int64_t top_k, double top_p, void *scratch)
{
    float *maxima = scratch;
    int64_t n_blocks = jrl_logits_blocks(l->vocab);

    if (top_k == 0)
        return top_p < 1 - 1e-4 ? l->sums.lse + jrl_logf((float)((1 - top_p) / 2 / (double)l->vocab)) - 0.01f : -INFINITY;
    if (top_k > n_blocks)
        return -INFINITY;
    for (int64_t b = 0; b < n_blocks; b++)
        maxima[b] = l->blocks[b].max;
    qsort(maxima, (size_t)n_blocks, sizeof *maxima, falling);
    return maxima[top_k - 1] - 0.01f - 1e-6f * fabsf(maxima[top_k - 1]);
}

/* The keys of all tokens with z at or above BOUND. */
static int64_t list_candidates(uint64_t *keys, const struct jrl_logits *l, float inv_temperature, float bound)
{
    int64_t n = 0;

    for (int64_t b = 0; b < jrl_logits_blocks(l->vocab); b++) {
        for (int64_t i = b * JRL_LOGITS_BLOCK; l->blocks[b].max >= bound && i < block_end(l, b); i++) {
            float z = l->logits[i] * inv_temperature;

            if (z >= bound)
                keys[n++] = key_of(jrl_expf(z - l->sums.lse), (uint32_t)i);
        }
    }
    return n;
}

/* Drops candidates that cannot be kept, so that few are sorted. Weights fall into buckets by exponent and three bits of
 * mantissa; buckets from the top are enough when they hold top_k tokens, or a mass that is surely top_p. */
#define BUCKET_SHIFT 52 /* of the key: 20 of the weight's bits */
#define N_BUCKETS 1024
static int64_t drop_unlikely(uint64_t *keys, int64_t n, int64_t top_k, double top_p)
{
    uint32_t count[N_BUCKETS] = { 0 };
    double mass[N_BUCKETS] = { 0 }, sum = 0;
    int64_t above = 0, kept = 0;
    uint64_t floor_key = 0;

    for (int64_t i = 0; i < n; i++) {
        uint64_t bucket = keys[i] >> BUCKET_SHIFT;

        bucket = bucket < N_BUCKETS ? bucket : N_BUCKETS - 1;
        count[bucket]++;
        mass[bucket] += (double)weight_of(keys[i]);
    }
    for (uint64_t b = N_BUCKETS; b-- > 0 && floor_key == 0;) {
        above += count[b];
        sum += mass[b];
        /* sums in another order differ by much less than 1e-9 */
        if (top_k ? above >= top_k : sum > top_p + 1e-9)
            floor_key = b << BUCKET_SHIFT;
    }
    for (int64_t i = 0; i < n; i++) {
        uint64_t key = keys[i];

        keys[kept] = key;
        kept += key >= floor_key;
    }
    return kept;
}

/* Fills keys with the kept tokens, most probable first; returns their number. */
static int64_t keep(uint64_t *keys, const struct jrl_logits *l, float inv_temperature, int64_t top_k, double top_p)
{
    double total = 1, sum = 0;
    int64_t kept = 0, n = list_candidates(keys, l, inv_temperature, bound_below(l, top_k, top_p, keys));

    n = drop_unlikely(keys, n, top_k, top_p);
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

static int ascending(const void *a, const void *b)
{
    uint32_t x = id_of(*(const uint64_t *)a), y = id_of(*(const uint64_t *)b);

    return x < y ? -1 : x > y ? 1 : 0;
}

/* Inverse CDF over the kept tokens. */
static uint32_t draw_from_kept(uint64_t *keys, int64_t n, double u)
{
    double total = 0, sum = 0;
    uint32_t last;

    qsort(keys, (size_t)n, sizeof *keys, ascending);
    for (int64_t i = 0; i < n; i++)
        total += (double)weight_of(keys[i]);
    last = id_of(keys[0]);
    for (int64_t i = 0; i < n; i++) {
        sum += (double)weight_of(keys[i]);
        if (sum > u * total)
            return id_of(keys[i]);
        last = weight_of(keys[i]) > 0 ? id_of(keys[i]) : last;
    }
    return last;
}

uint32_t jrl_choose_token(const struct jrl_logits *l, const struct jrl_choice_rule *rule, const struct jrl_draw *d, void *scratch)
{
    int64_t top_k = rule->top_k < l->vocab ? rule->top_k : 0;
    double u;

    if (rule->greedy)
        return argmax(l);
    u = (double)jrl_draw_bits(rule->seed, d) * 0x1p-32;
    if (rule->top_p >= 1 && top_k == 0)
        return draw_from_all(l, rule->inv_temperature, u, scratch);
    return draw_from_kept(scratch, keep(scratch, l, rule->inv_temperature, top_k, rule->top_p), u);
}

struct choose_job {
    const struct jrl_choose *p;
    uint8_t *scratch;
    size_t scratch_bytes; /* of each thread */
};

static void choose_part(void *ctx, int64_t part, int thread)
{
    const struct choose_job *job = ctx;
    const struct jrl_choose *p = job->p;
    const int64_t row = p->rows[part];
    const struct jrl_logits l = { p->logits + row * p->vocab, p->vocab, p->row_sums[row], p->block_sums + row * jrl_logits_blocks(p->vocab) };

    p->tokens[part] = jrl_choose_token(&l, &p->rule, &p->draws[part], job->scratch + job->scratch_bytes * (size_t)thread);
    p->logprobs[part] = jrl_logprob_of(&l.sums, l.logits[p->tokens[part]], p->rule.inv_temperature);
}

int jrl_cpu_choose_tokens(struct jrl_device *dev, const struct jrl_choose *p, struct jrl_error *err)
{
    struct choose_job job = { .p = p, .scratch_bytes = (jrl_choose_scratch_bytes(p->vocab) + 63) & ~(size_t)63 };
    void *scratch;
    int rc = jrl_device_scratch(&scratch, dev, JRL_SCRATCH_CHOOSE, (size_t)jrl_pool_size(dev->pool), job.scratch_bytes, err);

    if (rc < 0)
        return rc;
    job.scratch = scratch;
    jrl_pool_run(dev->pool, p->n, choose_part, &job);
    return JRL_OK;
}

int64_t jrl_cpu_choose_memory(const struct jrl_device *dev, int64_t vocab, int64_t n)
{
    (void)n;
    return jrl_pool_size(dev->pool) * (int64_t)jrl_choose_scratch_bytes(vocab);
}
