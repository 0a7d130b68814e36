/* logprob.c - log-softmax of logits rows: the plain loops, which define the bits, and the choice of faster ones.
 * The vocabulary is cut into blocks of 1024. A block gives its maximum m, s = sum exp(z - m) and
 * t = sum exp(z - m) (z - m) in lanes; the blocks are joined in ascending order in double, because 150 000
 * terms in f32 would cost the digits that a ratio of probabilities needs. */
#include <math.h>
#include <stdbool.h>

#include "kernels/cpu/lanes.h"
#include "kernels/cpu/layer_rows.h"
#include "kernels/cpu/logprob_rows.h"
#include "kernels/logprob.h"

#define BLOCK JRL_LOGITS_BLOCK
#define BLOCKS_PER_PART 8

struct logprob {
    const struct jrl_layer_rows *rows_of_isa; /* NULL: plain loops */
    const float *logits;
    int64_t ld, rows, vocab, n_blocks, parts_per_row;
    const uint32_t *targets;
    float inv_temperature;
    struct jrl_block_sums *blocks; /* [rows, n_blocks] */
    void *dlogits;
    enum jrl_dtype dtype;
    const float *lse_in, *entropy_in, *dlogprob, *dentropy;
};

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

static int check(const char *name, struct logprob *p, struct jrl_error *err)
{
    if (p->dtype != JRL_F32 && p->dtype != JRL_BF16)
        return jrl_fail(err, JRL_ERR_RUN, "%s: element type %d is not f32 or bf16", name, (int)p->dtype);
    if (p->rows < 0 || p->vocab < 1 || p->ld < p->vocab)
        return jrl_fail(err, JRL_ERR_RUN, "%s: wrong sizes: %lld rows, vocabulary %lld, row length %lld", name,
                        (long long)p->rows, (long long)p->vocab, (long long)p->ld);
    for (int64_t r = 0; p->targets && r < p->rows; r++)
        if (p->targets[r] >= p->vocab)
            return jrl_fail(err, JRL_ERR_RUN, "%s: row %lld: token %u has no column in a vocabulary of %lld", name,
                            (long long)r, (unsigned)p->targets[r], (long long)p->vocab);
    p->n_blocks = (p->vocab + BLOCK - 1) / BLOCK;
    p->parts_per_row = (p->n_blocks + BLOCKS_PER_PART - 1) / BLOCKS_PER_PART;
    return JRL_OK;
}

static struct jrl_block_sums plain_sum_block(const float *logits, int64_t n, float inv_temperature)
{
    struct jrl_block_sums b = { .max = -INFINITY };
    float sums[JRL_LANES] = { 0 }, weighted[JRL_LANES] = { 0 };
    bool finite = true;

    for (int64_t i = 0; i < n; i++) {
        float z = logits[i] * inv_temperature;
        finite = finite && isfinite(z);
        b.max = z > b.max ? z : b.max;
    }
    for (int64_t i = 0; i < n; i++) {
        float below = logits[i] * inv_temperature - b.max, e = jrl_expf(below);
        sums[i % JRL_LANES] += e;
        weighted[i % JRL_LANES] = fmaf(e, below, weighted[i % JRL_LANES]);
    }
    b.sum = finite ? jrl_lanes_sum(sums) : NAN;
    b.weighted = jrl_lanes_sum(weighted);
    return b;
}

static void blocks_part(void *ctx, int64_t part, int thread)
{
    const struct logprob *p = ctx;
    int64_t r = part / p->parts_per_row, first = part % p->parts_per_row * BLOCKS_PER_PART;

    (void)thread;
    for (int64_t b = first; b < min64(p->n_blocks, first + BLOCKS_PER_PART); b++)
        p->blocks[r * p->n_blocks + b] = (p->rows_of_isa ? p->rows_of_isa->sum_block : plain_sum_block)(
            p->logits + r * p->ld + b * BLOCK, min64(BLOCK, p->vocab - b * BLOCK), p->inv_temperature);
}

static struct jrl_row_sums join_blocks(const struct jrl_block_sums *blocks, int64_t n_blocks)
{
    double sum = 0, weighted = 0;
    float max = -INFINITY;

    for (int64_t b = 0; b < n_blocks; b++)
        max = blocks[b].max > max ? blocks[b].max : max;
    for (int64_t b = 0; b < n_blocks; b++) {
        const struct jrl_block_terms terms = jrl_block_terms_of(&blocks[b], max);
        sum += terms.sum;
        weighted += terms.weighted;
    }
    return jrl_row_sums_of(max, sum, weighted);
}

int jrl_cpu_logits_sums(struct jrl_device *dev, struct jrl_row_sums *row_sums, struct jrl_block_sums *block_sums, const float *logits, int64_t ld,
                    float inv_temperature, int64_t rows, int64_t vocab, struct jrl_error *err)
{
    struct logprob p = { .rows_of_isa = jrl_layer_rows_for(dev), .logits = logits, .ld = ld, .rows = rows, .vocab = vocab,
                         .inv_temperature = inv_temperature, .blocks = block_sums };
    int rc = check("logits_sums", &p, err);

    if (rc < 0)
        return rc;
    jrl_pool_run(jrl_device_pool(dev), rows * p.parts_per_row, blocks_part, &p);
    for (int64_t r = 0; r < rows; r++)
        row_sums[r] = join_blocks(block_sums + r * p.n_blocks, p.n_blocks);
    return JRL_OK;
}

int jrl_cpu_logprob(struct jrl_device *dev, float *logprob, float *entropy, float *lse, const float *logits, int64_t ld,
                const uint32_t *targets, float inv_temperature, int64_t rows, int64_t vocab, struct jrl_error *err)
{
    struct logprob p = { .rows_of_isa = jrl_layer_rows_for(dev), .logits = logits, .ld = ld, .rows = rows, .vocab = vocab, .inv_temperature = inv_temperature,
                         .targets = logprob ? targets : NULL };
    void *blocks = NULL;
    int rc = check("logprob", &p, err);

    if (rc == JRL_OK && logprob && !targets)
        rc = jrl_fail(err, JRL_ERR_RUN, "logprob: no targets given");
    if (rc == JRL_OK)
        rc = jrl_device_scratch(&blocks, dev, JRL_SCRATCH_ROWS, (size_t)(rows * p.n_blocks), sizeof(struct jrl_block_sums), err);
    if (rc < 0)
        return rc;
    p.blocks = blocks;
    jrl_pool_run(jrl_device_pool(dev), rows * p.parts_per_row, blocks_part, &p);
    for (int64_t r = 0; r < rows; r++) {
        struct jrl_row_sums row = join_blocks(p.blocks + r * p.n_blocks, p.n_blocks);

        if (lse)
            lse[r] = row.lse;
        if (logprob)
            logprob[r] = jrl_logprob_of(&row, logits[r * ld + targets[r]], inv_temperature);
        if (entropy)
            entropy[r] = row.entropy;
    }
    return JRL_OK;
}

static void plain_dlogits(void *dlogits, enum jrl_dtype dtype, const float *logits, int64_t n, const struct jrl_dlogits_row *row)
{
    for (int64_t i = 0; i < n; i++) {
        float log_p = logits[i] * row->inv_temperature - row->lse, p = jrl_expf(log_p);
        float d = row->dlogprob * ((i == row->target ? 1.0f : 0.0f) - p);
        if (row->with_entropy)
            d -= row->dentropy * (p * (log_p + row->entropy));
        jrl_store(dlogits, dtype, i, d * row->inv_temperature);
    }
}

static void backward_part(void *ctx, int64_t part, int thread)
{
    const struct logprob *p = ctx;
    int64_t r = part / p->parts_per_row, begin = part % p->parts_per_row * BLOCKS_PER_PART * BLOCK, at = r * p->ld + begin;
    struct jrl_dlogits_row row = { .inv_temperature = p->inv_temperature, .lse = p->lse_in[r], .dlogprob = p->dlogprob[r],
                                   .with_entropy = p->dentropy != NULL, .target = p->targets[r] - begin };

    (void)thread;
    if (row.with_entropy) {
        row.entropy = p->entropy_in[r];
        row.dentropy = p->dentropy[r];
    }
    (p->rows_of_isa ? p->rows_of_isa->dlogits : plain_dlogits)((uint8_t *)p->dlogits + at * jrl_dtype_bytes(p->dtype), p->dtype,
                                                               p->logits + at, min64(BLOCKS_PER_PART * BLOCK, p->vocab - begin), &row);
}

int jrl_cpu_logprob_backward(struct jrl_device *dev, void *dlogits, enum jrl_dtype dtype, const float *logits, int64_t ld,
                         const uint32_t *targets, float inv_temperature, const float *lse, const float *entropy,
                         const float *dlogprob, const float *dentropy, int64_t rows, int64_t vocab, struct jrl_error *err)
{
    struct logprob p = { .rows_of_isa = jrl_layer_rows_for(dev), .logits = logits, .ld = ld, .rows = rows, .vocab = vocab, .inv_temperature = inv_temperature,
                         .targets = targets, .dlogits = dlogits, .dtype = dtype, .lse_in = lse, .entropy_in = entropy,
                         .dlogprob = dlogprob, .dentropy = dentropy };
    int rc = check("logprob_backward", &p, err);

    if (rc == JRL_OK)
        jrl_pool_run(jrl_device_pool(dev), rows * p.parts_per_row, backward_part, &p);
    return rc;
}
