/* attention_backward_exact.cu - the gradient of attention in the contract's order, with the CPU's bits: for f32, for head sizes that the
 * tensor kernels do not take, and for checks. One block takes the keys and values of a page and key-value head over all later
 * queries, another the queries of 32 rows and a head over all earlier pages; both work out P and dS of a square of 32 queries by
 * 32 keys for themselves. */
#include "kernels/cuda/attention_gpu.h"

#define THREADS 256
#define BLOCK JRL_PAGE_TOKENS

/* Shared memory of a block, with DIM elements in a row. */
struct square {
    float *q, *dout, *k, *v, *sum_a, *sum_b;    /* [32][dim] */
    float *probs, *dscores;                     /* [query][key], 33 in a row, rounded to the type */
};
static size_t square_bytes(int64_t dim) { return sizeof(float) * (size_t)(6 * BLOCK * dim + 2 * BLOCK * (BLOCK + 1)); }
static __device__ struct square square_in(float *memory, int64_t dim)
{
    const int64_t n = BLOCK * dim;
    float *squares = memory + 6 * n;
    const struct square s = { memory, memory + n, memory + 2 * n, memory + 3 * n, memory + 4 * n, memory + 5 * n, squares, squares + BLOCK * (BLOCK + 1) };
    return s;
}

template <class T> static __device__ __forceinline__ float rounded(float x)
{
    T y;
    store(&y, x);
    return to_f32(y);
}

/* D of a row and head; a warp each, of which sixteen lanes work. */
template <class T> static __global__ void attention_delta(struct gpu_backward_call c)
{
    const int64_t i = first_index() / 32, lane = threadIdx.x % 32;
    float sums[JRL_LANES], sum = 0;

    if (i >= c.n_rows * c.n_heads)
        return;
    for (int64_t j = lane; lane < JRL_LANES && j < c.dim; j += JRL_LANES)
        sum = fmaf(rounded<T>(c.dout[i * c.dim + j]), to_f32(static_cast<const T *>(c.out)[i * c.dim + j]), sum);
    for (int j = 0; j < JRL_LANES; j++)
        sums[j] = __shfl_sync(ALL_LANES, sum, j);
    if (lane == 0)
        c.delta[i] = jrl_lanes_sum(sums);
}

/* The query rows of a block: ROW is the pack's row of its first, N of them exist; zeros behind. */
template <class T> static __device__ void load_queries(const struct gpu_backward_call &c, struct square &s, int64_t row, int64_t n, int64_t head)
{
    for (int64_t i = threadIdx.x; i < BLOCK * c.dim; i += THREADS) {
        const int64_t j = i / c.dim, at = ((row + j) * c.n_heads + head) * c.dim + i % c.dim;
        s.q[i] = j < n ? to_f32(static_cast<const T *>(c.q)[at]) : 0.0f;
        s.dout[i] = j < n ? rounded<T>(c.dout[at]) : 0.0f;
    }
}

template <class T> static __device__ void load_keys(const struct gpu_backward_call &c, struct square &s, const uint8_t *page, int64_t kv)
{
    const T *k = reinterpret_cast<const T *>(page + c.page_offset) + kv * BLOCK * c.dim, *v = k + c.n_kv_heads * BLOCK * c.dim;

    for (int64_t i = threadIdx.x; i < BLOCK * c.dim; i += THREADS) {
        const int at = in_page<T>((int)(i / c.dim), (int)(i % c.dim), (int)c.dim);
        s.k[i] = to_f32(k[at]);
        s.v[i] = to_f32(v[at]);
    }
}

/* SUM plus the sum of x[i x_step] y[i y_step] in the products' order. */
static __device__ float product(float sum, const float *x, int64_t x_step, const float *y, int64_t y_step, int64_t n)
{
    for (int64_t block = 0; block < n; block += 32) {
        const int64_t end = block + 32 < n ? block + 32 : n;
        float even = 0, odd = 0;

        for (int64_t i = block; i < end; i += 2) {
            even = fmaf(x[i * x_step], y[i * y_step], even);
            odd = fmaf(x[(i + 1) * x_step], y[(i + 1) * y_step], odd);
        }
        sum += even + odd;
    }
    return sum;
}

/* Queries and keys are in shared memory. ROW: the pack's row of the first query, at POSITION; KEYS: position of the first key. */
template <class T>
static __device__ void probabilities(const struct gpu_backward_call &c, struct square &s, int64_t row, int64_t position, int64_t n, int64_t keys, int64_t head)
{
    for (int64_t i = threadIdx.x; i < BLOCK * BLOCK; i += THREADS) {
        const int64_t j = i / BLOCK, t = i % BLOCK, at = (row + j) * c.n_heads + head;
        float prob = 0, dscore = 0;

        if (j < n && keys + t <= position + j) {
            prob = jrl_expf_inline(product(0, s.q + j * c.dim, 1, s.k + t * c.dim, 1, c.dim) * c.scale - c.lse[at]);
            dscore = prob * (product(0, s.dout + j * c.dim, 1, s.v + t * c.dim, 1, c.dim) - c.delta[at]) * c.scale;
        }
        s.probs[j * (BLOCK + 1) + t] = rounded<T>(prob);
        s.dscores[j * (BLOCK + 1) + t] = rounded<T>(dscore);
    }
}

/* 32 rows of head COLUMN of dqkv, rotated back where ROTATE. */
static __device__ void write_rows(const struct gpu_backward_call &c, const float *sum, int64_t row, int64_t position, int64_t n, int64_t column, bool rotate)
{
    const int64_t half = c.dim / 2, width = (c.n_heads + 2 * c.n_kv_heads) * c.dim;

    for (int64_t i = threadIdx.x; i < n * half; i += THREADS) {
        const int64_t j = i / half, d = i % half;
        float a = sum[j * c.dim + d], b = sum[j * c.dim + d + half], *to = c.dqkv + (row + j) * width + column * c.dim + d;

        if (rotate) {
            const float cosine = c.cos_table[(position + j) * half + d], sine = c.sin_table[(position + j) * half + d];
            const float turned = a * cosine + b * sine;
            b = b * cosine - a * sine;
            a = turned;
        }
        to[0] = a;
        to[half] = b;
    }
}

static __device__ __forceinline__ int64_t rows_in_block(int64_t left) { return left < BLOCK ? left : BLOCK; }

/* dK and dV of the page of 32 rows, one key-value head. */
template <class T> static __global__ void __launch_bounds__(THREADS) attention_keys_back(struct gpu_backward_call c)
{
    const int64_t row = (int64_t)blockIdx.x * BLOCK, kv = blockIdx.y, group = c.n_heads / c.n_kv_heads;
    const struct gpu_row mine = c.rows[row];
    SHARED(float, memory);
    struct square s = square_in(&memory, c.dim);

    if (!mine.pages)
        return;
    load_keys<T>(c, s, mine.pages[mine.position / BLOCK], kv);
    for (int64_t i = threadIdx.x; i < BLOCK * c.dim; i += THREADS)
        s.sum_a[i] = s.sum_b[i] = 0;
    for (int64_t head = kv * group; head < (kv + 1) * group; head++)
        for (int64_t at = 0; at < mine.left; at += BLOCK) {
            const int64_t n = rows_in_block(mine.left - at);

            __syncthreads();
            load_queries<T>(c, s, row + at, n, head);
            __syncthreads();
            probabilities<T>(c, s, row + at, mine.position + at, n, mine.position, head);
            __syncthreads();
            for (int64_t i = threadIdx.x; i < BLOCK * c.dim; i += THREADS) {
                const int64_t t = i / c.dim, d = i % c.dim;
                s.sum_a[i] = product(s.sum_a[i], s.dscores + t, BLOCK + 1, s.q + d, c.dim, BLOCK);
                s.sum_b[i] = product(s.sum_b[i], s.probs + t, BLOCK + 1, s.dout + d, c.dim, BLOCK);
            }
        }
    __syncthreads();
    write_rows(c, s.sum_a, row, mine.position, rows_in_block(mine.left), c.n_heads + kv, true);
    write_rows(c, s.sum_b, row, mine.position, rows_in_block(mine.left), c.n_heads + c.n_kv_heads + kv, false);
}

/* dQ of 32 rows, one head. */
template <class T> static __global__ void __launch_bounds__(THREADS) attention_queries_back(struct gpu_backward_call c)
{
    const int64_t row = (int64_t)blockIdx.x * BLOCK, head = blockIdx.y, kv = head / (c.n_heads / c.n_kv_heads);
    const struct gpu_row mine = c.rows[row];
    SHARED(float, memory);
    struct square s = square_in(&memory, c.dim);

    if (!mine.pages)
        return;
    const int64_t n = rows_in_block(mine.left);
    load_queries<T>(c, s, row, n, head);
    for (int64_t i = threadIdx.x; i < BLOCK * c.dim; i += THREADS)
        s.sum_a[i] = 0;
    for (int64_t page = 0; page <= mine.position / BLOCK; page++) {
        __syncthreads();
        load_keys<T>(c, s, mine.pages[page], kv);
        __syncthreads();
        probabilities<T>(c, s, row, mine.position, n, page * BLOCK, head);
        __syncthreads();
        for (int64_t i = threadIdx.x; i < BLOCK * c.dim; i += THREADS)
            s.sum_a[i] = product(s.sum_a[i], s.dscores + i / c.dim * (BLOCK + 1), 1, s.k + i % c.dim, c.dim, BLOCK);
    }
    __syncthreads();
    write_rows(c, s.sum_a, row, mine.position, n, head, true);
}

template <class T> static int run(struct jrl_device *dev, const struct gpu_backward_call *c, struct jrl_error *err)
{
    const unsigned blocks = (unsigned)divide_up(c->n_rows, BLOCK);
    int rc = LAUNCH(attention_delta<T>, dim3((unsigned)divide_up(c->n_rows * c->n_heads, THREADS / 32)), THREADS, 0, *c);

    if (rc == JRL_OK)
        rc = LAUNCH(attention_keys_back<T>, dim3(blocks, (unsigned)c->n_kv_heads), THREADS, square_bytes(c->dim), *c);
    return rc < 0 ? rc : LAUNCH(attention_queries_back<T>, dim3(blocks, (unsigned)c->n_heads), THREADS, square_bytes(c->dim), *c);
}

int64_t gpu_attention_backward_exact_bytes(int64_t n_rows, int64_t n_heads) { return n_rows * n_heads * (int64_t)sizeof(float); }

int gpu_attention_backward_exact(struct jrl_device *dev, enum jrl_dtype dtype, struct gpu_backward_call *c, struct jrl_error *err)
{
    void *delta;
    const int rc = gpu_scratch(dev, &delta, GPU_SCORES, (size_t)gpu_attention_backward_exact_bytes(c->n_rows, c->n_heads), err);

    c->delta = static_cast<float *>(delta);
    return rc < 0 ? rc : dtype == JRL_F32 ? run<float>(dev, c, err) : run<jrl_bf16>(dev, c, err);
}
