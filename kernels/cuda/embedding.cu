/* embedding.cu - rows of the embedding, their gradient, and rows and tokens picked by index. */
#include "kernels/cuda/gpu.h"

#define THREADS 128
#define BACK_THREADS 256

#define KEPT 4 /* pieces of a row that a thread has loaded before it stores the first */

/* A block a row. */
template <class T, int W> static __global__ void __launch_bounds__(THREADS) embedding_rows(float *x, const T *table, const uint32_t *ids, int dim)
{
    const int64_t row = blockIdx.x;
    const uint32_t id = ids[row];
    const T *from = table + (int64_t)(id == UINT32_MAX ? 0 : id) * dim;

    for (int at = W * threadIdx.x; at < dim; at += W * KEPT * THREADS) {
        struct piece<W> p[KEPT] = {};
#pragma unroll
        for (int k = 0; k < KEPT; k++)
            if (id != UINT32_MAX && at + W * k * THREADS < dim)
                p[k] = load_piece<W>(from + at + W * k * THREADS);
#pragma unroll
        for (int k = 0; k < KEPT; k++)
            if (at + W * k * THREADS < dim)
                store_piece<W>(&x[row * dim + at + W * k * THREADS], p[k]);
    }
}

struct back_room {
    uint32_t same[BACK_THREADS / 32]; /* which rows have the id, of as many as there are threads */
    float sum[1];                     /* as many as a row has */
};

/* A block a row. The block of the first row with its id adds all rows that have it, in order; the others end. */
static __global__ void __launch_bounds__(BACK_THREADS) embedding_rows_back(float *dtable, const float *dx, const uint32_t *ids, int64_t rows, int64_t dim)
{
    const int64_t row = blockIdx.x;
    const uint32_t id = ids[row];
    float *to = dtable + id * dim;
    SHARED(struct back_room, s);

    if (id == UINT32_MAX)
        return;
    for (int64_t i = threadIdx.x; i < dim; i += BACK_THREADS)
        s.sum[i] = to[i];
    for (int64_t at = 0; at < rows; at += BACK_THREADS) {
        const uint32_t same = __ballot_sync(ALL_LANES, at + threadIdx.x < rows && ids[at + threadIdx.x] == id);

        if (threadIdx.x % 32 == 0)
            s.same[threadIdx.x / 32] = same;
        __syncthreads();
        for (int w = 0; w < BACK_THREADS / 32; w++)
            for (uint32_t left = s.same[w]; left; left &= left - 1) {
                const int64_t r = at + 32 * w + __ffs((int)left) - 1;

                if (r < row)
                    return;
                for (int64_t i = threadIdx.x; i < dim; i += BACK_THREADS)
                    s.sum[i] += dx[r * dim + i];
            }
        __syncthreads(); /* before the next are looked at */
    }
    for (int64_t i = threadIdx.x; i < dim; i += BACK_THREADS)
        to[i] = s.sum[i];
}

static __global__ void gather(float *y, const float *x, const int64_t *rows, int64_t dim)
{
    const int64_t row = blockIdx.x, from = rows[row];

    for (int64_t i = threadIdx.x; i < dim; i += blockDim.x)
        y[row * dim + i] = from >= 0 ? x[from * dim + i] : 0.0f;
}

static __global__ void feed(uint32_t *ids, const uint32_t *tokens, const int64_t *sources, const uint32_t *chosen, int64_t n)
{
    const int64_t i = first_index();

    if (i < n)
        ids[i] = sources[i] < 0 ? tokens[i] : chosen[sources[i]];
}

template <class T>
static int look_up(struct jrl_device *dev, float *x, const T *table, const uint32_t *ids, int64_t rows, int64_t dim, struct jrl_error *err)
{
    if (in_fours(dim, x, table))
        return LAUNCH((embedding_rows<T, 4>), dim3((unsigned)rows), THREADS, 0, x, table, ids, (int)dim);
    return LAUNCH((embedding_rows<T, 1>), dim3((unsigned)rows), THREADS, 0, x, table, ids, (int)dim);
}

int jrl_cuda_embedding(struct jrl_device *dev, float *x, const void *table, enum jrl_dtype dtype, const uint32_t *ids, int64_t rows,
                       int64_t dim, struct jrl_error *err)
{
    int rc = gpu_check_type(dev, "embedding", dtype, err);

    if (rc < 0 || (rc = gpu_check_sizes(dev, "embedding", rows, dim, err)) < 0 || rows == 0 || dim == 0)
        return rc;
    if (dtype == JRL_F32)
        return look_up(dev, x, static_cast<const float *>(table), ids, rows, dim, err);
    return look_up(dev, x, static_cast<const jrl_bf16 *>(table), ids, rows, dim, err);
}

int jrl_cuda_embedding_backward(struct jrl_device *dev, float *dtable, const float *dx, const uint32_t *ids, int64_t rows, int64_t dim,
                                struct jrl_error *err)
{
    const int rc = gpu_check_sizes(dev, "embedding_backward", rows, dim, err);

    if (rc < 0 || rows == 0 || dim == 0)
        return rc;
    return LAUNCH(embedding_rows_back, dim3((unsigned)rows), BACK_THREADS, sizeof(struct back_room) + sizeof(float) * (size_t)dim, dtable, dx, ids, rows, dim);
}

int jrl_cuda_gather_rows(struct jrl_device *dev, float *y, const float *x, const int64_t *rows, int64_t n, int64_t dim, struct jrl_error *err)
{
    const int rc = gpu_check_sizes(dev, "gather_rows", n, dim, err);

    return rc < 0 || n == 0 || dim == 0 ? rc : LAUNCH(gather, dim3((unsigned)n), THREADS, 0, y, x, rows, dim);
}

int jrl_cuda_feed_tokens(struct jrl_device *dev, uint32_t *ids, const uint32_t *tokens, const int64_t *sources, const uint32_t *chosen, int64_t n,
                         struct jrl_error *err)
{
    return n == 0 ? JRL_OK : LAUNCH(feed, dim3((unsigned)divide_up(n, THREADS)), THREADS, 0, ids, tokens, sources, chosen, n);
}
