/* attention_backward.c - the gradient of attention: the plain loops, which define the bits, and what surrounds them.
 * P is recomputed from lse, one block of 32 keys by 32 queries at a time. With D = rowsum(dO * O):
 *   P = exp(S - lse), dS = P * (dO V^T - D) * scale, dV += P^T dO, dK += dS^T Q, dQ += dS K,
 * every product in the products' order, P, dS and dO rounded to DTYPE as operands. dQ adds key blocks in
 * ascending order; dK and dV add, for each head of the group in ascending order, query blocks in ascending order. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/cpu/attention_cpu.h"

#define BLOCK JRL_PAGE_TOKENS
#define WHOLE_SEQUENCE ((int64_t)1 << 40) /* rows of a tile */

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

struct block_pair {
    float q[BLOCK][JRL_ATTENTION_MAX_DIM], dout[BLOCK][JRL_ATTENTION_MAX_DIM]; /* query rows, zero past the end */
    float k[BLOCK][JRL_ATTENTION_MAX_DIM], v[BLOCK][JRL_ATTENTION_MAX_DIM];
    float probs[BLOCK][BLOCK], dscores[BLOCK][BLOCK]; /* [query][key], rounded to DTYPE */
};

int64_t jrl_attention_backward_plain_bytes(const struct jrl_attention_call *c)
{
    (void)c;
    return sizeof(struct block_pair);
}

static void load_queries(const struct jrl_attention_call *c, struct block_pair *b, int64_t seq, int64_t block, int64_t head)
{
    const struct jrl_attention *p = c->p;
    int64_t n = p->seqs[seq].n_rows;

    for (int64_t j = 0; j < BLOCK; j++) {
        int64_t row = block * BLOCK + j, offset = (p->seqs[seq].first_row + row) * c->q_width + head * p->head_dim;
        for (int64_t i = 0; i < p->head_dim; i++) {
            b->q[j][i] = row < n ? jrl_load(c->q, p->dtype, offset + i) : 0.0f;
            b->dout[j][i] = row < n ? jrl_rounded(p->dtype, c->dout[offset + i]) : 0.0f;
        }
    }
}

static void load_keys(const struct jrl_attention_call *c, struct block_pair *b, int64_t seq, int64_t block, int64_t kv_head)
{
    const struct jrl_attention *p = c->p;
    const uint8_t *k = jrl_page_k(p, seq, block, kv_head), *v = jrl_page_v(p, seq, block, kv_head);

    for (int64_t t = 0; t < BLOCK; t++)
        for (int64_t i = 0; i < p->head_dim; i++) {
            b->k[t][i] = jrl_load(k, p->dtype, t * p->head_dim + i);
            b->v[t][i] = jrl_load(v, p->dtype, t / 2 * 2 * p->head_dim + 2 * i + t % 2);
        }
}

/* SUM plus the sum over n of x[i * x_step] * y[i * y_step] in the products' order. */
static float product(float sum, const float *x, int64_t x_step, const float *y, int64_t y_step, int64_t n)
{
    for (int64_t block = 0; block < n; block += 32) {
        float chain[2] = { 0.0f, 0.0f };
        for (int64_t i = block; i < min64(n, block + 32); i++)
            chain[i % 2] = fmaf(x[i * x_step], y[i * y_step], chain[i % 2]);
        sum += chain[0] + chain[1];
    }
    return sum;
}

static void probabilities(const struct jrl_attention_call *c, struct block_pair *b, int64_t seq, int64_t q_block,
                          int64_t k_block, int64_t head)
{
    const struct jrl_attention *p = c->p;
    int64_t dim = p->head_dim;

    for (int64_t j = 0; j < BLOCK; j++) {
        int64_t row = q_block * BLOCK + j, at = (p->seqs[seq].first_row + row) * p->n_heads + head;
        for (int64_t t = 0; t < BLOCK; t++) {
            float prob = 0.0f, dscore = 0.0f;
            if (row < p->seqs[seq].n_rows && k_block * BLOCK + t <= row) {
                prob = jrl_expf(product(0.0f, b->q[j], 1, b->k[t], 1, dim) * c->scale - c->lse[at]);
                dscore = prob * (product(0.0f, b->dout[j], 1, b->v[t], 1, dim) - c->delta[at]) * c->scale;
            }
            b->probs[j][t] = jrl_rounded(p->dtype, prob);
            b->dscores[j][t] = jrl_rounded(p->dtype, dscore);
        }
    }
}

/* Adds the block pair's products into dq, dk and dv of the running dqkv. */
static void add_products(const struct jrl_attention_call *c, const struct block_pair *b, int64_t seq, int64_t q_block,
                         int64_t k_block, int64_t head)
{
    const struct jrl_attention *p = c->p;
    int64_t dim = p->head_dim, n = p->seqs[seq].n_rows, kv_head = head / c->group, width = JRL_ATTENTION_MAX_DIM;
    float *base = c->dqkv + p->seqs[seq].first_row * c->qkv_width;

    for (int64_t t = 0; t < min64(BLOCK, n - k_block * BLOCK); t++) {
        float *dk = base + (k_block * BLOCK + t) * c->qkv_width + (p->n_heads + kv_head) * dim, *dv = dk + p->n_kv_heads * dim;
        for (int64_t i = 0; i < dim; i++) {
            dk[i] = product(dk[i], &b->dscores[0][t], BLOCK, &b->q[0][i], width, BLOCK);
            dv[i] = product(dv[i], &b->probs[0][t], BLOCK, &b->dout[0][i], width, BLOCK);
        }
    }
    for (int64_t j = 0; j < min64(BLOCK, n - q_block * BLOCK); j++) {
        float *dq = base + (q_block * BLOCK + j) * c->qkv_width + head * dim;
        for (int64_t i = 0; i < dim; i++)
            dq[i] = product(dq[i], b->dscores[j], 1, &b->k[0][i], width, BLOCK);
    }
}

static float row_delta(const struct jrl_attention_call *c, int64_t at)
{
    float lanes[JRL_LANES] = { 0 };

    for (int64_t i = 0; i < c->p->head_dim; i++)
        lanes[i % JRL_LANES] = fmaf(jrl_rounded(c->p->dtype, c->dout[at + i]), jrl_load(c->out, c->p->dtype, at + i), lanes[i % JRL_LANES]);
    return jrl_lanes_sum(lanes);
}

/* The gradient of one head starts at zero. */
static void clear_head(const struct jrl_attention_call *c, int64_t seq, int64_t head)
{
    for (int64_t row = 0; row < c->p->seqs[seq].n_rows; row++)
        memset(jrl_dqkv_at(c, seq, row, head), 0, (size_t)c->p->head_dim * sizeof(float));
}

/* The inverse rotation. */
static void rotate_back(const struct jrl_attention_call *c, int64_t seq, int64_t head)
{
    int64_t half = c->p->head_dim / 2;

    for (int64_t row = 0; row < c->p->seqs[seq].n_rows; row++) {
        float *x = jrl_dqkv_at(c, seq, row, head);
        const float *cos_row = c->p->rope_cos + row * half, *sin_row = c->p->rope_sin + row * half;
        for (int64_t i = 0; i < half; i++) {
            float a = x[i], b = x[i + half];
            x[i] = a * cos_row[i] + b * sin_row[i];
            x[i + half] = b * cos_row[i] - a * sin_row[i];
        }
    }
}

static void prepare(const struct jrl_attention_call *c, int64_t seq, int64_t kv_head)
{
    const struct jrl_attention *p = c->p;

    for (int64_t head = kv_head * c->group; head < (kv_head + 1) * c->group; head++) {
        clear_head(c, seq, head);
        for (int64_t row = 0; row < p->seqs[seq].n_rows; row++) {
            int64_t r = p->seqs[seq].first_row + row;
            c->delta[r * p->n_heads + head] = row_delta(c, r * c->q_width + head * p->head_dim);
        }
    }
    clear_head(c, seq, p->n_heads + kv_head);
    clear_head(c, seq, p->n_heads + p->n_kv_heads + kv_head);
}

void jrl_attention_backward_plain(const struct jrl_attention_call *c, int64_t seq, int64_t kv_head, uint8_t *scratch)
{
    struct block_pair *b = (struct block_pair *)scratch;
    int64_t n_blocks = (c->p->seqs[seq].n_rows + BLOCK - 1) / BLOCK;

    prepare(c, seq, kv_head);
    for (int64_t k_block = 0; k_block < n_blocks; k_block++) {
        load_keys(c, b, seq, k_block, kv_head);
        for (int64_t head = kv_head * c->group; head < (kv_head + 1) * c->group; head++)
            for (int64_t q_block = k_block; q_block < n_blocks; q_block++) {
                load_queries(c, b, seq, q_block, head);
                probabilities(c, b, seq, q_block, k_block, head);
                add_products(c, b, seq, q_block, k_block, head);
            }
    }
    for (int64_t head = kv_head * c->group; head < (kv_head + 1) * c->group; head++)
        rotate_back(c, seq, head);
    rotate_back(c, seq, c->p->n_heads + kv_head);
}

static void backward_part(void *ctx, int64_t part, int thread)
{
    const struct jrl_attention_call *c = ctx;

    c->path->backward(c, c->tiles[part / c->p->n_kv_heads].seq, part % c->p->n_kv_heads, c->scratch + thread * c->scratch_bytes);
}

/* The longest first, so that no thread is left alone with it at the end. */
static int longer_first(const void *a, const void *b)
{
    int64_t x = ((const struct jrl_attention_tile *)a)->n, y = ((const struct jrl_attention_tile *)b)->n;
    return x < y ? 1 : x > y ? -1 : 0;
}

static int check_rows(const struct jrl_attention *p, struct jrl_error *err)
{
    for (int64_t s = 0; s < p->n_seqs; s++)
        if (p->seqs[s].first_position != 0 || p->seqs[s].first_row % BLOCK != 0)
            return jrl_fail(err, JRL_ERR_RUN, "attention_backward: sequence %lld does not begin at position 0 and a row that "
                            "is a multiple of %d", (long long)s, BLOCK);
    return JRL_OK;
}

int jrl_cpu_attention_backward(struct jrl_device *dev, const struct jrl_attention *p, float *dqkv, const float *dout,
                           const void *q, const void *out, const float *lse, struct jrl_error *err)
{
    struct jrl_pool *pool = jrl_device_pool(dev);
    struct jrl_attention_call c;
    void *scratch = NULL, *delta = NULL;
    int rc = jrl_attention_call_init(&c, p, "attention_backward", WHOLE_SEQUENCE, err);

    if (rc < 0 || (rc = check_rows(p, err)) < 0)
        goto out;
    c.q = q;
    c.out = (void *)(uintptr_t)out;
    c.lse = (float *)(uintptr_t)lse;
    c.dout = dout;
    c.dqkv = dqkv;
    c.path = jrl_attention_path_for(dev, p);
    c.scratch_bytes = (c.path->backward_bytes(&c) + 63) / 64 * 64;
    if ((rc = jrl_try_alloc(&delta, (size_t)p->n_rows, (size_t)p->n_heads * sizeof(float), "attention gradient", err)) < 0)
        goto out;
    c.delta = delta;
    if ((rc = jrl_device_scratch(&scratch, dev, JRL_SCRATCH_ATTENTION, (size_t)jrl_pool_size(pool), (size_t)c.scratch_bytes, err)) < 0)
        goto out;
    c.scratch = scratch;
    qsort(c.tiles, (size_t)c.n_tiles, sizeof *c.tiles, longer_first);
    jrl_pool_run(pool, c.n_tiles * p->n_kv_heads, backward_part, &c);
    rc = jrl_attention_zero_padding(p, dqkv, c.qkv_width * (int64_t)sizeof(float), err);
out:
    jrl_attention_call_release(&c);
    return rc;
}

struct bias {
    float *dbias;
    const float *x;
    int64_t rows, cols;
};

static void bias_part(void *ctx, int64_t part, int thread)
{
    const struct bias *p = ctx;

    (void)thread;
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t j = part * 64; j < min64(p->cols, part * 64 + 64); j++)
            p->dbias[j] += p->x[r * p->cols + j];
}

int jrl_cpu_bias_backward(struct jrl_device *dev, float *dbias, const float *x, int64_t rows, int64_t cols, struct jrl_error *err)
{
    struct bias p = { dbias, x, rows, cols };

    if (rows < 0 || cols < 0)
        return jrl_fail(err, JRL_ERR_RUN, "bias_backward: negative size %lld x %lld", (long long)rows, (long long)cols);
    jrl_pool_run(jrl_device_pool(dev), (cols + 63) / 64, bias_part, &p);
    return JRL_OK;
}
