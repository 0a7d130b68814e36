/* rope.c - rotary embedding on the way into attention and back out of it, and the key-value pages' layout. */
#include <stdbool.h>
#include <string.h>

#include "kernels/cpu/attention_cpu.h"

int64_t jrl_page_bytes(enum jrl_dtype dtype, int64_t kv_heads, int64_t head_dim)
{
    return 2 * kv_heads * JRL_PAGE_TOKENS * head_dim * jrl_dtype_bytes(dtype);
}

/* Transformers computes the frequency and the angle in f32, and the angle's rounding (1e-3 at position
 * 10000) is part of what a model was trained with. */
void jrl_rope_table(float *cos_table, float *sin_table, int64_t n_positions, int64_t head_dim, double theta)
{
    int64_t half = head_dim / 2;

    for (int64_t i = 0; i < half; i++) {
        float exponent = (float)(2 * i) / (float)head_dim;
        float frequency = 1.0f / (float)jrl_pow(theta, exponent);
        for (int64_t t = 0; t < n_positions; t++)
            jrl_sincos((float)t * frequency, &sin_table[t * half + i], &cos_table[t * half + i]);
    }
}

/* One head of one row: x + bias, then the rotation by the row's position unless COS_ROW is NULL. */
static void head_in(float *y, const float *x, const struct jrl_attention_call *c, int64_t column, const float *cos_row,
                    const float *sin_row)
{
    int64_t dim = c->p->head_dim, half = dim / 2;

    for (int64_t i = 0; i < dim; i++)
        y[i] = c->bias ? x[i] + jrl_load(c->bias, c->p->dtype, column + i) : x[i];
    if (!cos_row)
        return;
    for (int64_t i = 0; i < half; i++) {
        float a = y[i], b = y[i + half];
        y[i] = a * cos_row[i] - b * sin_row[i];
        y[i + half] = b * cos_row[i] + a * sin_row[i];
    }
}

void jrl_rope_row_plain(const struct jrl_attention_call *c, int64_t seq, int64_t row)
{
    const struct jrl_attention *p = c->p;
    const struct jrl_attention_rows *rows = &p->seqs[seq];
    int64_t dim = p->head_dim, t = rows->first_position + row, r = rows->first_row + row, slot = t % JRL_PAGE_TOKENS;
    const float *x = c->qkv + r * c->qkv_width, *cos_row = p->rope_cos + t * (dim / 2), *sin_row = p->rope_sin + t * (dim / 2);
    float y[JRL_ATTENTION_MAX_DIM];

    for (int64_t h = 0; h < p->n_heads + 2 * p->n_kv_heads; h++) {
        bool is_value = h >= p->n_heads + p->n_kv_heads;
        head_in(y, x + h * dim, c, h * dim, is_value ? NULL : cos_row, sin_row);
        if (h < p->n_heads) {
            for (int64_t i = 0; i < dim; i++)
                jrl_store((uint8_t *)c->out, p->dtype, r * c->q_width + h * dim + i, y[i]);
        } else if (!is_value) {
            uint8_t *k = jrl_page_k(p, seq, t / JRL_PAGE_TOKENS, h - p->n_heads);
            for (int64_t i = 0; i < dim; i++)
                jrl_store(k, p->dtype, slot * dim + i, y[i]);
        } else {
            uint8_t *v = jrl_page_v(p, seq, t / JRL_PAGE_TOKENS, h - p->n_heads - p->n_kv_heads);
            for (int64_t i = 0; i < dim; i++)
                jrl_store(v, p->dtype, slot / 2 * 2 * dim + 2 * i + slot % 2, y[i]);
        }
    }
}

/* The rows of one page. A page is cleared when its first position is written, so that what a reused page held
 * cannot reach the products over whole blocks. */
static void qkv_rope_part(void *ctx, int64_t part, int thread)
{
    const struct jrl_attention_call *c = ctx;
    const struct jrl_attention_tile *tile = &c->tiles[part];
    const struct jrl_attention *p = c->p;
    int64_t t = p->seqs[tile->seq].first_position + tile->first;

    (void)thread;
    if (t % JRL_PAGE_TOKENS == 0)
        memset(jrl_page_k(p, tile->seq, t / JRL_PAGE_TOKENS, 0), 0,
               (size_t)jrl_page_bytes(p->dtype, p->n_kv_heads, p->head_dim));
    for (int64_t r = tile->first; r < tile->first + tile->n; r++)
        c->path->rope_row(c, tile->seq, r);
}

int jrl_cpu_qkv_rope(struct jrl_device *dev, const struct jrl_attention *p, void *q, const float *qkv, const void *bias,
                 struct jrl_error *err)
{
    struct jrl_attention_call c;
    int rc = jrl_attention_call_init(&c, p, "qkv_rope", JRL_PAGE_TOKENS, err);

    if (rc < 0)
        return rc;
    c.path = jrl_attention_path_for(dev, p);
    c.out = q;
    c.qkv = qkv;
    c.bias = bias;
    jrl_pool_run(jrl_device_pool(dev), c.n_tiles, qkv_rope_part, &c);
    rc = jrl_attention_zero_padding(p, q, c.q_width * jrl_dtype_bytes(p->dtype), err);
    jrl_attention_call_release(&c);
    return rc;
}
