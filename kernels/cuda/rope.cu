/* rope.cu - bias and rotation on the way into attention: queries to their matrix, keys and values into the pages. */
#include "kernels/cuda/attention_gpu.h"

#define THREADS 256

struct rope_call {
    const struct gpu_row *rows;
    const float *qkv, *cos_table, *sin_table;
    int64_t page_offset;
    int n_heads, n_kv_heads, dim;
};

/* Elements I and behind of head H (queries, keys, values in one count) to where they belong; the row's pages exist. */
template <class T, int W>
static __device__ __forceinline__ void place(const struct rope_call &c, T *q, T *page, int slot, int h, int i, const struct piece<W> &p)
{
    const int kv = h - c.n_heads;

    store_piece<W>(kv < 0 ? q + h * c.dim + i : page + kv * JRL_PAGE_TOKENS * c.dim + in_page<T>(slot, i, c.dim), p);
}

/* The positions of the page behind the first LEFT, which this call writes. */
template <class T, int W> static __device__ void clear_rest(const struct rope_call &c, T *page, int left)
{
    const int rest = (JRL_PAGE_TOKENS - left) * c.dim;

    for (int h = 0; h < 2 * c.n_kv_heads; h++, page += JRL_PAGE_TOKENS * c.dim)
        for (int i = W * threadIdx.x; i < rest; i += W * THREADS)
            store_piece<W>(page + in_page<T>(left + i / c.dim, i % c.dim, c.dim), {});
}

/* A block a row, a thread W elements of a head's first half and those of its second that they turn with. */
template <class T, int W> static __global__ void __launch_bounds__(THREADS) rope_row(struct rope_call c, T *q, const T *bias)
{
    const int64_t r = blockIdx.x;
    const int half = c.dim / 2, width = (c.n_heads + 2 * c.n_kv_heads) * c.dim, n = width / 2 / W;
    const float *x = c.qkv + r * width;

    wait_for_kernel_before();
    const struct gpu_row row = c.rows[r];

    q += r * c.n_heads * c.dim;
    if (!row.pages) {
        for (int i = W * threadIdx.x; i < c.n_heads * c.dim; i += W * THREADS)
            store_piece<W>(q + i, {});
        return;
    }
    T *page = reinterpret_cast<T *>(row.pages[row.position / JRL_PAGE_TOKENS] + c.page_offset);
    const int slot = (int)(row.position % JRL_PAGE_TOKENS);
    if (slot == 0 && row.left < JRL_PAGE_TOKENS)
        clear_rest<T, W>(c, page, (int)row.left);
    for (int at = threadIdx.x; at < n; at += THREADS) {
        const int h = at / (half / W), i = W * (at % (half / W)), column = h * c.dim + i;
        const bool turns = h < c.n_heads + c.n_kv_heads;
        struct piece<W> a = load_piece<W>(x + column), b = load_piece<W>(x + column + half), more_a = {}, more_b = {}, cosine = {}, sine = {};

        if (bias) {
            more_a = load_piece<W>(bias + column);
            more_b = load_piece<W>(bias + column + half);
        }
        if (turns) {
            cosine = load_piece<W>(c.cos_table + row.position * half + i);
            sine = load_piece<W>(c.sin_table + row.position * half + i);
        }
#pragma unroll
        for (int e = 0; e < W; e++) {
            if (bias) {
                a.of[e] = a.of[e] + more_a.of[e];
                b.of[e] = b.of[e] + more_b.of[e];
            }
            if (turns) {
                const float turned = a.of[e] * cosine.of[e] - b.of[e] * sine.of[e];
                b.of[e] = b.of[e] * cosine.of[e] + a.of[e] * sine.of[e];
                a.of[e] = turned;
            }
        }
        place<T, W>(c, q, page, slot, h, i, a);
        place<T, W>(c, q, page, slot, h, i + half, b);
    }
}

template <class T> static int rotate(struct jrl_device *dev, const struct rope_call &c, int64_t n_rows, T *q, const T *bias, struct jrl_error *err)
{
    if (in_fours(c.dim / 2, q, c.qkv, c.cos_table, c.sin_table, bias, c.page_offset))
        return LAUNCH_EARLY((rope_row<T, 4>), dim3((unsigned)n_rows), THREADS, 0, c, q, bias);
    return LAUNCH_EARLY((rope_row<T, 1>), dim3((unsigned)n_rows), THREADS, 0, c, q, bias);
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
    c.n_heads = (int)p->n_heads;
    c.n_kv_heads = (int)p->n_kv_heads;
    c.dim = (int)p->head_dim;
    c.page_offset = p->page_offset;
    if (p->dtype == JRL_F32)
        return rotate(dev, c, p->n_rows, static_cast<float *>(q), static_cast<const float *>(bias), err);
    return rotate(dev, c, p->n_rows, static_cast<jrl_bf16 *>(q), static_cast<const jrl_bf16 *>(bias), err);
}
