/* attention_f32_vec.h - attention on sixteen lanes for f32, and for bf16 without words. Written once: attention_avx2.c and
 * attention_avx512.c include this file. Pages are unpacked to f32 with the vector index last, so that every product is one kernel:
 * lanes are outputs, never terms of a sum. */
#ifndef JRL_KERNELS_CPU_ATTENTION_F32_VEC_H
#define JRL_KERNELS_CPU_ATTENTION_F32_VEC_H

#include "kernels/cpu/attention_vec.h"

#if defined(__AVX512F__)
enum { TILE_ROWS = 4, TILE_VECS = 2 };
#else
enum { TILE_ROWS = 2, TILE_VECS = 1 };
#endif

/* c[m, n] (+)= a b with a(i, k) = a[i * a_row + k * a_step] and b(k, j) = b[k * ldb + j], in the products' order. */
struct product {
    float *c;
    const float *a, *b;
    int64_t ldc, a_row, a_step, ldb, k;
    bool accumulate;
};

VEC_FN void product_tile(const struct product *p, int64_t i, int64_t j, const int rows, const int vecs)
{
    struct vec16 acc[TILE_ROWS][TILE_VECS], even[TILE_ROWS][TILE_VECS], odd[TILE_ROWS][TILE_VECS];

    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vecs; v++)
            acc[r][v] = p->accumulate ? vec_load(p->c + (i + r) * p->ldc + j + 16 * v) : vec_zero();
    for (int64_t block = 0; block < p->k; block += 32) {
        int64_t end = block + 32 < p->k ? block + 32 : p->k;
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < vecs; v++)
                even[r][v] = odd[r][v] = vec_zero();
        for (int64_t k = block; k < end; k += 2) {
            const float *a = p->a + i * p->a_row + k * p->a_step, *b = p->b + k * p->ldb + j;
            for (int v = 0; v < vecs; v++) {
                struct vec16 b_even = vec_load(b + 16 * v), b_odd = vec_load(b + p->ldb + 16 * v);
                for (int r = 0; r < rows; r++) {
                    even[r][v] = vec_fma(vec_set(a[r * p->a_row]), b_even, even[r][v]);
                    odd[r][v] = vec_fma(vec_set(a[r * p->a_row + p->a_step]), b_odd, odd[r][v]);
                }
            }
        }
        for (int r = 0; r < rows; r++)
            for (int v = 0; v < vecs; v++)
                acc[r][v] = vec_add(acc[r][v], vec_add(even[r][v], odd[r][v]));
    }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vecs; v++)
            vec_store(p->c + (i + r) * p->ldc + j + 16 * v, acc[r][v]);
}

/* n is a multiple of 16; m is any. */
static void multiply(const struct product *p, int64_t m, int64_t n)
{
    for (int64_t j = 0; j < n; j += 16 * TILE_VECS) {
        bool whole = n - j >= 16 * TILE_VECS;
        int64_t i = 0;
        for (; i + TILE_ROWS <= m; i += TILE_ROWS)
            if (whole)
                product_tile(p, i, j, TILE_ROWS, TILE_VECS);
            else
                product_tile(p, i, j, TILE_ROWS, 1);
        for (; i < m; i++)
            if (whole)
                product_tile(p, i, j, 1, TILE_VECS);
            else
                product_tile(p, i, j, 1, 1);
    }
}

static inline void transpose8(float *y, int64_t ldy, __m256 r[8])
{
    __m256 t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int h = 0; h < 2; h++) {
            u[i + 2 * h] = _mm256_shuffle_ps(t[i + h], t[i + 2 + h], 0x44);
            u[i + 2 * h + 1] = _mm256_shuffle_ps(t[i + h], t[i + 2 + h], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(y + i * ldy, _mm256_permute2f128_ps(u[i], u[i + 4], 0x20));
        _mm256_storeu_ps(y + (i + 4) * ldy, _mm256_permute2f128_ps(u[i], u[i + 4], 0x31));
    }
}

/* [BLOCK, dim] of DTYPE -> [dim, BLOCK] f32 */
static void transpose_block(float *y, const void *x, enum jrl_dtype dtype, int64_t dim)
{
    for (int64_t t = 0; t < BLOCK; t += 8)
        for (int64_t d = 0; d < dim; d += 8) {
            __m256 rows[8];
            for (int i = 0; i < 8; i++) {
                int64_t at = (t + i) * dim + d;
                rows[i] = dtype == JRL_F32
                              ? _mm256_loadu_ps((const float *)x + at)
                              : _mm256_castsi256_ps(_mm256_slli_epi32(
                                    _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)((const jrl_bf16 *)x + at))), 16));
            }
            transpose8(y + d * BLOCK + t, BLOCK, rows);
        }
}

/* Columns FIRST to END of a page's pairs of V -> those of [BLOCK, dim] f32 */
static void unpack_values(float *y, const void *x, enum jrl_dtype dtype, int64_t dim, int64_t first, int64_t end)
{
    for (int64_t t = 0; t < BLOCK; t += 2)
        for (int64_t d = first; d < end; d += 16) {
            struct vec16 even, odd;
            if (dtype == JRL_F32)
                vec_load_pairs(&even, &odd, (const float *)x + t * dim + 2 * d);
            else
                vec_load_pairs_bf16(&even, &odd, (const jrl_bf16 *)x + t * dim + 2 * d);
            vec_store(y + t * dim + d, even);
            vec_store(y + (t + 1) * dim + d, odd);
        }
}

static void prepare(const struct jrl_attention_call *c, int64_t seq, int64_t kv_head, int64_t n_blocks, uint8_t *scratch)
{
    struct forward_scratch s = lay_out(c, scratch);
    int64_t dim = c->p->head_dim;

    for (int64_t block = 0; block < n_blocks; block++) {
        transpose_block(s.keys + block * dim * BLOCK, jrl_page_k(c->p, seq, block, kv_head), c->p->dtype, dim);
        unpack_values(s.values + block * dim * BLOCK, jrl_page_v(c->p, seq, block, kv_head), c->p->dtype, dim, 0, dim);
    }
}

static void score_blocks(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t first, int64_t end)
{
    const struct forward_scratch s = lay_out(c, u->scratch);
    const int64_t dim = c->p->head_dim, stride = jrl_score_stride(c);

    load_query_rows(c, u, &s);
    for (int64_t block = first; block < end; block++) {
        float *keys = u->prepared ? s.keys + block * dim * BLOCK : s.keys;
        if (!u->prepared)
            transpose_block(keys, jrl_page_k(c->p, u->seq, block, u->kv_head), c->p->dtype, dim);
        multiply(&(struct product){ u->scores + block * BLOCK, s.q, keys, stride, dim, 1, BLOCK, dim, false }, u->n, BLOCK);
    }
}

static void weigh_values(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t first, int64_t end)
{
    const struct forward_scratch s = lay_out(c, u->scratch);
    const int64_t dim = c->p->head_dim, stride = jrl_score_stride(c);

    for (int64_t block = 0; block < u->n_blocks; block++) {
        float *values = u->prepared ? s.values + block * dim * BLOCK : s.values;
        if (!u->prepared)
            unpack_values(values, jrl_page_v(c->p, u->seq, block, u->kv_head), c->p->dtype, dim, first, end);
        multiply(&(struct product){ s.out + first, u->scores + block * BLOCK, values + first, dim, stride, 1, dim, BLOCK, block > 0 }, u->n,
                 end - first);
    }
    store_columns(c, u, s.out, first, end);
}

/* One pair of blocks backward; see attention_backward.c for the formulas. */
struct backward_scratch {
    float *q, *dout;                          /* [BLOCK, dim], zero behind the sequence */
    float *keys_t, *values_t, *keys, *values; /* of one block of the set: [dim, BLOCK] twice, [BLOCK, dim] twice */
    float *probs, *dscores;                   /* [query][key] */
};

static int64_t backward_bytes(const struct jrl_attention_call *c)
{
    return ((2 + 4 * JRL_ATTENTION_KEY_SET) * BLOCK * c->p->head_dim + 2 * BLOCK * BLOCK) * (int64_t)sizeof(float);
}

static struct backward_scratch lay_out_backward(const struct jrl_attention_call *c, int64_t k_block, uint8_t *memory)
{
    const int64_t block = BLOCK * c->p->head_dim;
    struct backward_scratch s = { .probs = (float *)memory, .dscores = (float *)memory + BLOCK * BLOCK, .q = (float *)memory + 2 * BLOCK * BLOCK };
    s.dout = s.q + block;
    s.keys_t = s.dout + block + k_block % JRL_ATTENTION_KEY_SET * 4 * block;
    s.values_t = s.keys_t + block;
    s.keys = s.values_t + block;
    s.values = s.keys + block;
    return s;
}

static void load_keys(const struct jrl_attention_call *c, int64_t seq, int64_t k_block, int64_t kv_head, uint8_t *scratch)
{
    const struct backward_scratch s = lay_out_backward(c, k_block, scratch);
    const struct jrl_attention *p = c->p;
    const uint8_t *k = jrl_page_k(p, seq, k_block, kv_head);

    transpose_block(s.keys_t, k, p->dtype, p->head_dim);
    for (int64_t i = 0; i < BLOCK * p->head_dim; i += 16)
        vec_store(s.keys + i, load_element(k, p->dtype, i));
    unpack_values(s.values, jrl_page_v(p, seq, k_block, kv_head), p->dtype, p->head_dim, 0, p->head_dim);
    transpose_block(s.values_t, s.values, JRL_F32, p->head_dim);
}

static void load_queries(const struct jrl_attention_call *c, int64_t seq, int64_t block, int64_t head, uint8_t *scratch)
{
    const struct backward_scratch s = lay_out_backward(c, 0, scratch);
    const struct jrl_attention *p = c->p;
    int64_t dim = p->head_dim;

    for (int64_t j = 0; j < BLOCK; j++) {
        int64_t row = block * BLOCK + j, at = (p->seqs[seq].first_row + row) * c->q_width + head * dim;
        for (int64_t d = 0; d < dim; d += 16) {
            bool exists = row < p->seqs[seq].n_rows;
            vec_store(s.q + j * dim + d, exists ? load_element(c->q, p->dtype, at + d) : vec_zero());
            vec_store(s.dout + j * dim + d, exists ? rounded(vec_load(c->dout + at + d), p->dtype) : vec_zero());
        }
    }
}

static void probabilities(const struct jrl_attention_call *c, struct backward_scratch *s, int64_t seq, int64_t q_block,
                          int64_t k_block, int64_t head)
{
    const struct jrl_attention *p = c->p;
    int64_t dim = p->head_dim;
    struct vec16 scale = vec_set(c->scale);

    multiply(&(struct product){ s->probs, s->q, s->keys_t, BLOCK, dim, 1, BLOCK, dim, false }, BLOCK, BLOCK);
    multiply(&(struct product){ s->dscores, s->dout, s->values_t, BLOCK, dim, 1, BLOCK, dim, false }, BLOCK, BLOCK);
    for (int64_t j = 0; j < BLOCK; j++) {
        int64_t row = q_block * BLOCK + j, at = (p->seqs[seq].first_row + row) * p->n_heads + head;
        int64_t n_keys = row < p->seqs[seq].n_rows ? row + 1 - k_block * BLOCK : 0; /* of this block that the row sees */
        struct vec16 lse = vec_set(n_keys ? c->lse[at] : 0.0f), delta = vec_set(n_keys ? c->delta[at] : 0.0f);
        for (int64_t t = 0; t < BLOCK; t += 16) {
            float *at_p = s->probs + j * BLOCK + t, *at_d = s->dscores + j * BLOCK + t;
            struct vec16 prob = vec_exp(vec_sub(vec_mul(vec_load(at_p), scale), lse));
            struct vec16 dscore = vec_mul(vec_mul(prob, vec_sub(vec_load(at_d), delta)), scale);
            vec_store(at_p, vec_first(rounded(prob, p->dtype), n_keys - t));
            vec_store(at_d, vec_first(rounded(dscore, p->dtype), n_keys - t));
        }
    }
}

static void add_products(const struct jrl_attention_call *c, const struct backward_scratch *s, int64_t seq, int64_t q_block,
                         int64_t k_block, int64_t head)
{
    const struct jrl_attention *p = c->p;
    int64_t dim = p->head_dim, n = p->seqs[seq].n_rows, width = c->qkv_width;
    int64_t n_keys = n - k_block * BLOCK < BLOCK ? n - k_block * BLOCK : BLOCK;
    int64_t n_queries = n - q_block * BLOCK < BLOCK ? n - q_block * BLOCK : BLOCK;
    float *base = c->dqkv + p->seqs[seq].first_row * width;
    float *dq = base + q_block * BLOCK * width + head * dim;
    float *dk = base + k_block * BLOCK * width + (p->n_heads + head / c->group) * dim, *dv = dk + p->n_kv_heads * dim;

    multiply(&(struct product){ dk, s->dscores, s->q, width, 1, BLOCK, dim, BLOCK, true }, n_keys, dim);
    multiply(&(struct product){ dv, s->probs, s->dout, width, 1, BLOCK, dim, BLOCK, true }, n_keys, dim);
    multiply(&(struct product){ dq, s->dscores, s->keys, width, BLOCK, 1, dim, BLOCK, true }, n_queries, dim);
}

static void add_pair(const struct jrl_attention_call *c, int64_t seq, int64_t q_block, int64_t k_block, int64_t head, uint8_t *scratch)
{
    struct backward_scratch s = lay_out_backward(c, k_block, scratch);

    probabilities(c, &s, seq, q_block, k_block, head);
    add_products(c, &s, seq, q_block, k_block, head);
}

#endif
