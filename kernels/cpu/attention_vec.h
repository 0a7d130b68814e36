/* attention_vec.h - attention on sixteen lanes: what its two ways of multiplying share. Operands as f32 (attention_f32_vec.h) serve
 * both types on AVX2 and AVX-512; bf16 as words (attention_words.h) AVX-512. Head sizes are multiples of 16. */
#ifndef JRL_KERNELS_CPU_ATTENTION_VEC_H
#define JRL_KERNELS_CPU_ATTENTION_VEC_H

#include "kernels/cpu/attention_rows_vec.h"
#include "kernels/cpu/vmath_inline.h"

#define BLOCK JRL_PAGE_TOKENS
#define QUERIES JRL_ATTENTION_QUERIES

/* Scores of n positions -> rounded probabilities of width positions; the largest scaled score and the sum. */
static float softmax(float *scores, int64_t n, int64_t width, float scale, enum jrl_dtype dtype, float *max)
{
    struct vec16 largest = vec_set(-INFINITY), sum = vec_zero(), s = vec_set(scale);

    for (int64_t t = 0; t < n; t += 16)
        largest = vec_max(n - t < 16 ? vec_fill(vec_load(scores + t), n - t, -INFINITY) : vec_load(scores + t), largest);
    *max = vec_largest(largest) * scale; /* rounding is monotonic: the largest of the scaled */
    for (int64_t t = 0; t < width; t += 16) {
        struct vec16 p = vec_exp(vec_sub(vec_mul(vec_load(scores + t), s), vec_set(*max)));
        if (n - t < 16)
            p = vec_first(p, n - t);
        sum = vec_add(sum, p);
        vec_store(scores + t, rounded(p, dtype));
    }
    return vec_sum(sum);
}

/* Scratch of the forward pass: f32 arrays one behind the other. */
struct forward_scratch {
    float *q, *out;                /* [QUERIES, dim] each */
    float *keys, *values;          /* [n_pages, dim, BLOCK] and [n_pages, BLOCK, dim]; or of one page, if not prepared */
};

static struct forward_scratch lay_out(const struct jrl_attention_call *c, uint8_t *memory)
{
    struct forward_scratch s = { .q = (float *)memory };
    int64_t dim = c->p->head_dim;

    s.out = s.q + QUERIES * dim;
    s.keys = s.out + QUERIES * dim;
    s.values = s.keys + c->max_positions * dim;
    return s;
}

static int64_t forward_bytes(const struct jrl_attention_call *c)
{
    int64_t dim = c->p->head_dim;
    return 2 * (QUERIES + c->max_positions) * dim * (int64_t)sizeof(float);
}

static void load_query_rows(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, const struct forward_scratch *s)
{
    int64_t dim = c->p->head_dim;

    for (int64_t i = 0; i < u->n; i++) {
        int64_t at = jrl_query_at(c, u, i);
        for (int64_t d = 0; d < dim; d += 16)
            vec_store(s->q + i * dim + d, load_element(c->q, c->p->dtype, at + d));
    }
}

static void softmax_rows(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t first, int64_t end)
{
    for (int64_t i = first; i < end; i++) {
        float *scores = u->scores + i * jrl_score_stride(c), max;
        u->sums[i] = softmax(scores, jrl_query_positions(c, u, i), u->n_blocks * BLOCK, c->scale, c->p->dtype, &max);
        if (c->lse)
            c->lse[jrl_query_lse_at(c, u, i)] = max + jrl_logf_inline(u->sums[i]);
    }
}

/* Columns FIRST to END of P V, to be divided by the sums and stored. */
static void store_columns(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, const float *out, int64_t first, int64_t end)
{
    for (int64_t i = 0; i < u->n; i++) {
        int64_t at = jrl_query_at(c, u, i);
        for (int64_t d = first; d < end; d += 16) {
            struct vec16 o = vec_div(vec_load(out + i * c->p->head_dim + d), vec_set(u->sums[i]));
            if (c->p->dtype == JRL_F32)
                vec_store((float *)c->out + at + d, o);
            else
                vec_store_bf16((jrl_bf16 *)c->out + at + d, o);
        }
    }
}

/* x + bias, sixteen elements from COLUMN on of which N count. */
VEC_FN struct vec16 biased(const struct jrl_attention_call *c, const float *x, int64_t column, int64_t n)
{
    struct vec16 a = vec_load_part(x + column, n);
    if (!c->bias)
        return a;
    return vec_add(a, c->p->dtype == JRL_F32 ? vec_load_part((const float *)c->bias + column, n)
                                             : vec_load_part_bf16((const jrl_bf16 *)c->bias + column, n));
}

VEC_FN void store_element(void *y, enum jrl_dtype dtype, int64_t i, struct vec16 a, int64_t n)
{
    if (dtype == JRL_F32)
        vec_store_part((float *)y + i, a, n);
    else
        vec_store_part_bf16((jrl_bf16 *)y + i, a, n);
}

/* One head from COLUMN of x, rotated, to elements AT.. of y. */
VEC_FN void rotate_head(const struct jrl_attention_call *c, void *y, int64_t at, const float *x, int64_t column, int64_t position)
{
    int64_t half = c->p->head_dim / 2;
    const float *cos_row = c->p->rope_cos + position * half, *sin_row = c->p->rope_sin + position * half;

    for (int64_t i = 0; i < half; i += 16) {
        int64_t n = half - i < 16 ? half - i : 16;
        struct vec16 a = biased(c, x, column + i, n), b = biased(c, x, column + half + i, n);
        struct vec16 cosine = vec_load_part(cos_row + i, n), sine = vec_load_part(sin_row + i, n);
        store_element(y, c->p->dtype, at + i, vec_sub(vec_mul(a, cosine), vec_mul(b, sine)), n);
        store_element(y, c->p->dtype, at + half + i, vec_add(vec_mul(b, cosine), vec_mul(a, sine)), n);
    }
}

/* One head's values into their place in the pairs of a page: every second element. */
VEC_FN void store_values(const struct jrl_attention_call *c, void *y, const float *x, int64_t column, int64_t slot)
{
    int64_t dim = c->p->head_dim, at = slot / 2 * 2 * dim + slot % 2;

    for (int64_t d = 0; d < dim; d += 16) {
        struct vec16 a = biased(c, x, column + d, 16);
        if (c->p->dtype == JRL_F32) {
            float values[16];
            vec_store(values, a);
            for (int i = 0; i < 16; i++)
                ((float *)y)[at + 2 * (d + i)] = values[i];
        } else {
            jrl_bf16 values[16];
            vec_store_bf16(values, a);
            for (int i = 0; i < 16; i++)
                ((jrl_bf16 *)y)[at + 2 * (d + i)] = values[i];
        }
    }
}

static void rope_row(const struct jrl_attention_call *c, int64_t seq, int64_t row)
{
    const struct jrl_attention *p = c->p;
    int64_t t = p->seqs[seq].first_position + row, r = p->seqs[seq].first_row + row, slot = t % BLOCK;
    const float *x = c->qkv + r * c->qkv_width;

    for (int64_t h = 0; h < p->n_heads; h++)
        rotate_head(c, c->out, r * c->q_width + h * p->head_dim, x, h * p->head_dim, t);
    for (int64_t h = 0; h < p->n_kv_heads; h++) {
        int64_t column = (p->n_heads + h) * p->head_dim;
        rotate_head(c, jrl_page_k(p, seq, t / BLOCK, h), slot * p->head_dim, x, column, t);
        store_values(c, jrl_page_v(p, seq, t / BLOCK, h), x, column + p->n_kv_heads * p->head_dim, slot);
    }
}

static float row_delta(const struct jrl_attention_call *c, int64_t seq, int64_t row, int64_t head)
{
    return vec_sum(delta_lanes(c, (c->p->seqs[seq].first_row + row) * c->q_width + head * c->p->head_dim));
}

static void rotate_back(const struct jrl_attention_call *c, int64_t seq, int64_t row, int64_t head)
{
    int64_t half = c->p->head_dim / 2;

    rotate_row_back(jrl_dqkv_at(c, seq, row, head), c->p->rope_cos + row * half, c->p->rope_sin + row * half, half);
}

#endif
