/* attention_exact.cu - attention forward in the contract's order, with the CPU's bits: all scores of a row and head first, their
 * maximum, then the weighted values. For f32 and for head sizes that the tensor kernels do not take. */
#include "kernels/cuda/attention_gpu.h"

#define THREADS 128
#define MAX_DIM 256

struct exact_row {
    float q[MAX_DIM], lanes[JRL_LANES], room[32];
};

/* a . b in the products' order; B: a head's keys in a page, of which it is that of SLOT. */
template <class T> static __device__ float dot(const float *a, const T *b, int slot, int n)
{
    float sum = 0;

    for (int block = 0; block < n; block += 32) {
        const int end = block + 32 < n ? block + 32 : n;
        float even = 0, odd = 0;

        for (int i = block; i < end; i += 2) {
            even = fmaf(a[i], to_f32(b[in_page<T>(slot, i, n)]), even);
            odd = fmaf(a[i + 1], to_f32(b[in_page<T>(slot, i + 1, n)]), odd);
        }
        sum += even + odd;
    }
    return sum;
}

/* Element I of P V over whole pages; E: the weights before rounding. */
template <class T>
static __device__ float weighted_value(const struct gpu_attention_call &c, const struct gpu_row &row, int64_t kv, const float *e, int64_t n_pages, int64_t i)
{
    const T zero = T(0);
    float sum = 0;

    for (int64_t page = 0; page < n_pages; page++) {
        const T *v = reinterpret_cast<const T *>(row.pages[page] + c.page_offset) + (c.n_kv_heads + kv) * JRL_PAGE_TOKENS * c.dim;
        float even = 0, odd = 0;

        for (int t = 0; t < JRL_PAGE_TOKENS; t += 2) {
            T p = zero;
            store(&p, e[page * JRL_PAGE_TOKENS + t]);
            even = fmaf(to_f32(p), to_f32(v[in_page<T>(t, (int)i, (int)c.dim)]), even);
            store(&p, e[page * JRL_PAGE_TOKENS + t + 1]);
            odd = fmaf(to_f32(p), to_f32(v[in_page<T>(t + 1, (int)i, (int)c.dim)]), odd);
        }
        sum += even + odd;
    }
    return sum;
}

/* One row and head by the whole block. SCORES: room for all its positions. */
template <class T> static __device__ void attend(const struct gpu_attention_call &c, struct exact_row &s, int64_t r, int64_t head, float *scores)
{
    const struct gpu_row row = c.rows[r];
    const int64_t kv = head / (c.n_heads / c.n_kv_heads), n = row.position + 1, n_pages = (n + JRL_PAGE_TOKENS - 1) / JRL_PAGE_TOKENS;
    const int64_t at = (r * c.n_heads + head) * c.dim;
    const T *q = static_cast<const T *>(c.q) + at;
    T *out = static_cast<T *>(c.out) + at;
    float max = -INFINITY;

    if (!row.pages) {
        for (int64_t i = threadIdx.x; i < c.dim; i += THREADS)
            out[i] = 0;
        if (c.lse && threadIdx.x == 0)
            c.lse[r * c.n_heads + head] = 0;
        return;
    }
    for (int64_t i = threadIdx.x; i < c.dim; i += THREADS)
        s.q[i] = to_f32(q[i]);
    __syncthreads();
    for (int64_t t = threadIdx.x; t < n; t += THREADS) {
        const T *k = reinterpret_cast<const T *>(row.pages[t / JRL_PAGE_TOKENS] + c.page_offset) + kv * JRL_PAGE_TOKENS * c.dim;
        scores[t] = dot(s.q, k, (int)t % JRL_PAGE_TOKENS, (int)c.dim) * c.scale;
        max = larger(max, scores[t]);
    }
    max = block_max(max, s.room);
    for (int64_t t = threadIdx.x; t < n_pages * JRL_PAGE_TOKENS; t += THREADS)
        scores[t] = t < n ? jrl_expf_inline(scores[t] - max) : 0.0f;
    __syncthreads();
    if (threadIdx.x < JRL_LANES) {
        float lane = 0;
        for (int64_t t = threadIdx.x; t < n_pages * JRL_PAGE_TOKENS; t += JRL_LANES)
            lane += scores[t];
        s.lanes[threadIdx.x] = lane;
    }
    __syncthreads();
    const float sum = jrl_lanes_sum(s.lanes);
    for (int64_t i = threadIdx.x; i < c.dim; i += THREADS)
        store(&out[i], weighted_value<T>(c, row, kv, scores, n_pages, i) / sum);
    if (c.lse && threadIdx.x == 0)
        c.lse[r * c.n_heads + head] = max + jrl_logf_inline(sum);
    __syncthreads(); /* scores and the row are used again */
}

template <class T> static __global__ void attention_rows(struct gpu_attention_call c, float *scores, int64_t row_scores)
{
    SHARED(struct exact_row, s);

    for (int64_t i = blockIdx.x; i < c.n_rows * c.n_heads; i += gridDim.x)
        attend<T>(c, s, i / c.n_heads, i % c.n_heads, scores + blockIdx.x * row_scores);
}

/* Blocks that work at a time. */
static int64_t n_blocks(const struct jrl_device *dev, int64_t n_rows, int64_t n_heads)
{
    return smaller(n_rows * n_heads, (int64_t)gpu_of(dev)->n_processors * 16);
}

static int64_t row_scores(int64_t n_positions)
{
    return divide_up(n_positions, JRL_PAGE_TOKENS) * JRL_PAGE_TOKENS;
}

int64_t gpu_attention_exact_bytes(const struct jrl_device *dev, int64_t n_rows, int64_t n_heads, int64_t n_positions)
{
    return n_blocks(dev, n_rows, n_heads) * row_scores(n_positions) * (int64_t)sizeof(float);
}

int gpu_attention_exact(struct jrl_device *dev, enum jrl_dtype dtype, const struct gpu_attention_call *c, struct jrl_error *err)
{
    const int64_t blocks = n_blocks(dev, c->n_rows, c->n_heads), one = row_scores(gpu_of(dev)->bound->n_positions);
    void *scores;
    const int rc = gpu_scratch(dev, &scores, GPU_SCORES, (size_t)(blocks * one) * sizeof(float), err);

    if (rc < 0)
        return rc;
    if (dtype == JRL_F32)
        return LAUNCH(attention_rows<float>, dim3((unsigned)blocks), THREADS, sizeof(struct exact_row), *c, static_cast<float *>(scores), one);
    return LAUNCH(attention_rows<jrl_bf16>, dim3((unsigned)blocks), THREADS, sizeof(struct exact_row), *c, static_cast<float *>(scores), one);
}
