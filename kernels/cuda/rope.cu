/* rope.cu - bias and rotation on the way into attention: queries to their matrix, keys and values into the pages. */
#include "kernels/cuda/attention_gpu.h"

#define THREADS 128

struct rope_call {
    const struct gpu_row *rows;
    const float *qkv, *cos_table, *sin_table;
    int64_t n_heads, n_kv_heads, dim, page_offset;
};

/* Where element I of head H (queries, keys, values in one count) of the row goes; the row's pages exist. */
template <class T> static __device__ __forceinline__ T *place_of(const struct rope_call &c, const struct gpu_row &row, T *q, int64_t r, int64_t h, int64_t i)
{
    const int64_t slot = row.position % JRL_PAGE_TOKENS, kv = h - c.n_heads;

    if (kv < 0)
        return q + (r * c.n_heads + h) * c.dim + i;
    T *page = reinterpret_cast<T *>(row.pages[row.position / JRL_PAGE_TOKENS] + c.page_offset) + kv * JRL_PAGE_TOKENS * c.dim;
    return page + (kv < c.n_kv_heads ? slot * c.dim + i : slot / 2 * 2 * c.dim + 2 * i + slot % 2);
}

/* The positions of the page behind those that this call writes; the row is the page's first. */
template <class T> static __device__ void clear_rest(const struct rope_call &c, const struct gpu_row &row)
{
    T *page = reinterpret_cast<T *>(row.pages[row.position / JRL_PAGE_TOKENS] + c.page_offset);
    const int64_t one = JRL_PAGE_TOKENS * c.dim;

    for (int64_t i = threadIdx.x; i < 2 * c.n_kv_heads * one; i += THREADS) {
        const int64_t at = i % one, slot = i / one < c.n_kv_heads ? at / c.dim : at / (2 * c.dim) * 2 + at % 2;
        if (slot >= row.left)
            page[i] = 0;
    }
}

/* A block a row. */
template <class T> static __global__ void rope_row(struct rope_call c, T *q, const T *bias)
{
    const int64_t r = blockIdx.x, half = c.dim / 2, width = (c.n_heads + 2 * c.n_kv_heads) * c.dim;
    const struct gpu_row row = c.rows[r];
    const float *x = c.qkv + r * width;

    if (!row.pages) {
        for (int64_t i = threadIdx.x; i < c.n_heads * c.dim; i += THREADS)
            q[r * c.n_heads * c.dim + i] = 0;
        return;
    }
    if (row.position % JRL_PAGE_TOKENS == 0)
        clear_rest<T>(c, row);
    for (unsigned pair = threadIdx.x; pair < width / 2; pair += THREADS) { /* a division of 64 bits takes a hundred instructions */
        const int64_t h = pair / (unsigned)half, i = pair % (unsigned)half, column = h * c.dim + i;
        float a = x[column], b = x[column + half];

        if (bias) {
            a = a + to_f32(bias[column]);
            b = b + to_f32(bias[column + half]);
        }
        if (h < c.n_heads + c.n_kv_heads) {
            const float cosine = c.cos_table[row.position * half + i], sine = c.sin_table[row.position * half + i];
            const float turned = a * cosine - b * sine;
            b = b * cosine + a * sine;
            a = turned;
        }
        store(place_of(c, row, q, r, h, i), a);
        store(place_of(c, row, q, r, h, i + half), b);
    }
}

int jrl_cuda_qkv_rope(struct jrl_device *dev, const struct jrl_attention *p, void *q, const float *qkv, const void *bias, struct jrl_error *err)
{
    struct rope_call c = {};
    int rc = gpu_check_attention(dev, p, "qkv_rope", err);

    if (rc < 0 || p->n_rows == 0)
        return rc;
    c.rows = gpu_of(dev)->bound->rows;
    c.qkv = qkv;
    c.cos_table = p->rope_cos;
    c.sin_table = p->rope_sin;
    c.n_heads = p->n_heads;
    c.n_kv_heads = p->n_kv_heads;
    c.dim = p->head_dim;
    c.page_offset = p->page_offset;
    if (p->dtype == JRL_F32)
        return LAUNCH(rope_row<float>, dim3((unsigned)p->n_rows), THREADS, 0, c, static_cast<float *>(q), static_cast<const float *>(bias));
    return LAUNCH(rope_row<jrl_bf16>, dim3((unsigned)p->n_rows), THREADS, 0, c, static_cast<jrl_bf16 *>(q), static_cast<const jrl_bf16 *>(bias));
}
