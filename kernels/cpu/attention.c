/* attention.c - causal grouped-query attention forward: the plain loops, which define the bits, what calls are cut into, and the
 * choice of the path. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/cpu/attention_cpu.h"

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static int check(const struct jrl_attention *p, const char *name, struct jrl_error *err)
{
    if (p->dtype != JRL_F32 && p->dtype != JRL_BF16)
        return jrl_fail(err, JRL_ERR_RUN, "%s: element type %d is not f32 or bf16", name, (int)p->dtype);
    if (p->head_dim < 2 || p->head_dim % 2 || p->head_dim > JRL_ATTENTION_MAX_DIM)
        return jrl_fail(err, JRL_ERR_RUN, "%s: head size %lld is not even and at most %d", name, (long long)p->head_dim,
                        JRL_ATTENTION_MAX_DIM);
    if (p->n_kv_heads < 1 || p->n_heads < 1 || p->n_heads % p->n_kv_heads)
        return jrl_fail(err, JRL_ERR_RUN, "%s: %lld heads cannot share %lld key-value heads", name, (long long)p->n_heads,
                        (long long)p->n_kv_heads);
    for (int64_t s = 0; s < p->n_seqs; s++) {
        const struct jrl_attention_rows *rows = &p->seqs[s];
        if (rows->n_rows < 0 || rows->first_row < 0 || rows->first_position < 0 || rows->first_row > p->n_rows - rows->n_rows)
            return jrl_fail(err, JRL_ERR_RUN, "%s: sequence %lld does not lie in %lld rows", name, (long long)s,
                            (long long)p->n_rows);
    }
    return JRL_OK;
}

/* Tiles end at multiples of TILE_ROWS in position. */
static int64_t tile_end(const struct jrl_attention_rows *rows, int64_t first, int64_t tile_rows)
{
    return min64(rows->n_rows, round_up(rows->first_position + first + 1, tile_rows) - rows->first_position);
}

static int make_tiles(struct jrl_attention_call *c, int64_t tile_rows, struct jrl_error *err)
{
    const struct jrl_attention *p = c->p;
    void *tiles = NULL;
    int64_t n = 0;
    int rc;

    for (int64_t s = 0; s < p->n_seqs; s++)
        n += p->seqs[s].n_rows / tile_rows + 2;
    if ((rc = jrl_try_alloc(&tiles, (size_t)n, sizeof *c->tiles, "attention tiles", err)) < 0)
        return rc;
    c->tiles = tiles;
    for (int64_t s = 0; s < p->n_seqs; s++) {
        const struct jrl_attention_rows *rows = &p->seqs[s];
        for (int64_t first = 0, end; first < rows->n_rows; first = end) {
            end = tile_end(rows, first, tile_rows);
            c->tiles[c->n_tiles++] = (struct jrl_attention_tile){ s, first, end - first };
        }
        if (rows->n_rows)
            c->max_positions = round_up(rows->first_position + rows->n_rows, JRL_PAGE_TOKENS) > c->max_positions
                                   ? round_up(rows->first_position + rows->n_rows, JRL_PAGE_TOKENS) : c->max_positions;
    }
    return JRL_OK;
}

int jrl_attention_call_init(struct jrl_attention_call *c, const struct jrl_attention *p, const char *name,
                            int64_t tile_rows, struct jrl_error *err)
{
    int rc = check(p, name, err);

    *c = (struct jrl_attention_call){ .p = p };
    if (rc < 0)
        return rc;
    c->group = p->n_heads / p->n_kv_heads;
    c->q_width = p->n_heads * p->head_dim;
    c->qkv_width = (p->n_heads + 2 * p->n_kv_heads) * p->head_dim;
    c->scale = 1.0f / sqrtf((float)p->head_dim);
    return make_tiles(c, tile_rows, err);
}

void jrl_attention_call_release(struct jrl_attention_call *c)
{
    free(c->tiles);
    free(c->delta);
    c->tiles = NULL;
    c->delta = NULL;
}

int jrl_attention_zero_padding(const struct jrl_attention *p, void *matrix, int64_t bytes_per_row, struct jrl_error *err)
{
    void *marks = NULL;
    uint8_t *used;
    int rc = jrl_try_alloc(&marks, (size_t)p->n_rows, 1, "attention rows", err);

    if (rc < 0)
        return rc;
    used = marks;
    for (int64_t s = 0; s < p->n_seqs; s++)
        if (p->seqs[s].n_rows)
            memset(used + p->seqs[s].first_row, 1, (size_t)p->seqs[s].n_rows);
    for (int64_t r = 0; r < p->n_rows; r++)
        if (!used[r])
            memset((uint8_t *)matrix + r * bytes_per_row, 0, (size_t)bytes_per_row);
    free(marks);
    return JRL_OK;
}

/* q . k in the products' order. */
static float score(const struct jrl_attention *p, const uint8_t *q, const uint8_t *k)
{
    float sum = 0.0f;

    for (int64_t block = 0; block < p->head_dim; block += 32) {
        float chain[2] = { 0.0f, 0.0f };
        for (int64_t i = block; i < min64(p->head_dim, block + 32); i++)
            chain[i % 2] = fmaf(jrl_load(q, p->dtype, i), jrl_load(k, p->dtype, i), chain[i % 2]);
        sum += chain[0] + chain[1];
    }
    return sum;
}

/* Output I of a head: P V over whole blocks of positions, P being zero behind the row's own position. */
static float weighted_value(const struct jrl_attention *p, int64_t seq, int64_t kv_head, const float *probs, int64_t n_blocks,
                            int64_t i)
{
    float sum = 0.0f;

    for (int64_t block = 0; block < n_blocks; block++) {
        const uint8_t *v = jrl_page_v(p, seq, block, kv_head);
        float chain[2] = { 0.0f, 0.0f };
        for (int64_t t = 0; t < 32; t++)
            chain[t % 2] = fmaf(probs[block * 32 + t], jrl_load(v, p->dtype, t / 2 * 2 * p->head_dim + 2 * i + t % 2), chain[t % 2]);
        sum += chain[0] + chain[1];
    }
    return sum;
}

static void score_plain(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t first, int64_t end)
{
    const struct jrl_attention *p = c->p;
    const int64_t bytes = jrl_dtype_bytes(p->dtype);

    for (int64_t i = 0; i < u->n; i++)
        for (int64_t t = first * 32; t < min64(end * 32, jrl_query_positions(c, u, i)); t++) {
            const uint8_t *k = jrl_page_k(p, u->seq, t / 32, u->kv_head) + t % 32 * p->head_dim * bytes;
            u->scores[i * jrl_score_stride(c) + t] = score(p, (const uint8_t *)c->q + jrl_query_at(c, u, i) * bytes, k) * c->scale;
        }
}

static void softmax_plain(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t first, int64_t end)
{
    for (int64_t i = first; i < end; i++) {
        float *scores = u->scores + i * jrl_score_stride(c), max = -INFINITY, lanes[JRL_LANES] = { 0 };
        int64_t n = jrl_query_positions(c, u, i);

        for (int64_t t = 0; t < n; t++)
            max = scores[t] > max ? scores[t] : max;
        for (int64_t t = 0; t < u->n_blocks * 32; t++) {
            float e = t < n ? jrl_expf(scores[t] - max) : 0.0f;
            lanes[t % JRL_LANES] += e;
            scores[t] = jrl_rounded(c->p->dtype, e);
        }
        u->sums[i] = jrl_lanes_sum(lanes);
        if (c->lse)
            c->lse[jrl_query_lse_at(c, u, i)] = max + jrl_logf(u->sums[i]);
    }
}

static void weigh_plain(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t first, int64_t end)
{
    for (int64_t i = 0; i < u->n; i++)
        for (int64_t d = first; d < end; d++) {
            float o = weighted_value(c->p, u->seq, u->kv_head, u->scores + i * jrl_score_stride(c), u->n_blocks, d);
            jrl_store(c->out, c->p->dtype, jrl_query_at(c, u, i) + d, o / u->sums[i]);
        }
}

static void prepare_plain(const struct jrl_attention_call *c, int64_t seq, int64_t kv_head, int64_t n_blocks, uint8_t *scratch)
{
    (void)c, (void)seq, (void)kv_head, (void)n_blocks, (void)scratch;
}

static int64_t forward_plain_bytes(const struct jrl_attention_call *c)
{
    (void)c;
    return 0;
}

const struct jrl_attention_path jrl_attention_plain = {
    .rope_row = jrl_rope_row_plain, .prepare = prepare_plain, .score = score_plain, .softmax = softmax_plain, .weigh = weigh_plain,
    .forward_bytes = forward_plain_bytes, .backward_bytes = jrl_attention_backward_plain_bytes, .row_delta = jrl_attention_row_delta_plain,
    .load_keys = jrl_attention_load_keys_plain, .load_queries = jrl_attention_load_queries_plain, .add_pair = jrl_attention_add_pair_plain,
    .rotate_back = jrl_attention_rotate_back_plain,
};

const struct jrl_attention_path *jrl_attention_path_for(const struct jrl_device *dev, const struct jrl_attention *p)
{
#if defined(__x86_64__)
    if (dev->isa >= JRL_ISA_AMX && p->dtype == JRL_BF16 && p->head_dim % 32 == 0)
        return &jrl_attention_amx;
    if (dev->isa == JRL_ISA_AVX512BF16 && p->dtype == JRL_BF16 && p->head_dim % 32 == 0)
        return &jrl_attention_avx512bf16;
    if (dev->isa >= JRL_ISA_AVX512 && p->dtype == JRL_BF16 && p->head_dim % 32 == 0)
        return &jrl_attention_avx512words;
    if (dev->isa >= JRL_ISA_AVX512 && p->head_dim % 16 == 0)
        return &jrl_attention_avx512;
    if (dev->isa == JRL_ISA_AVX2 && p->dtype == JRL_BF16 && p->head_dim % 32 == 0)
        return &jrl_attention_avx2words;
    if (dev->isa == JRL_ISA_AVX2 && p->head_dim % 16 == 0)
        return &jrl_attention_avx2;
#endif
    (void)dev;
    (void)p;
    return &jrl_attention_plain;
}

/* Rows and page tables are used where they lie. */
int jrl_cpu_attention_bind(struct jrl_device *dev, struct jrl_attention *p, struct jrl_error *err)
{
    (void)dev, (void)err;
    p->bound = NULL;
    return JRL_OK;
}
