/* embedding.cu - rows of the embedding, their gradient, and rows and tokens picked by index. */
#include "kernels/cuda/gpu.h"

#define THREADS 128

/* A block a row. */
template <class T> static __global__ void embedding_rows(float *x, const T *table, const uint32_t *ids, int64_t dim)
{
    const int64_t row = blockIdx.x;
    const uint32_t id = ids[row];

    for (int64_t i = threadIdx.x; i < dim; i += blockDim.x)
        x[row * dim + i] = id == UINT32_MAX ? 0.0f : to_f32(table[id * dim + i]);
}

/* A thread a column: the rows one after the other, since two may have the same id. */
static __global__ void embedding_columns_back(float *dtable, const float *dx, const uint32_t *ids, int64_t rows, int64_t dim)
{
    const int64_t column = first_index();

    for (int64_t r = 0; r < rows && column < dim; r++)
        if (ids[r] != UINT32_MAX)
            dtable[ids[r] * dim + column] += dx[r * dim + column];
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

int jrl_cuda_embedding(struct jrl_device *dev, float *x, const void *table, enum jrl_dtype dtype, const uint32_t *ids, int64_t rows,
                       int64_t dim, struct jrl_error *err)
{
    int rc = gpu_check_type(dev, "embedding", dtype, err);

    if (rc < 0 || (rc = gpu_check_sizes(dev, "embedding", rows, dim, err)) < 0 || rows == 0 || dim == 0)
        return rc;
    if (dtype == JRL_F32)
        return LAUNCH(embedding_rows<float>, dim3((unsigned)rows), THREADS, 0, x, static_cast<const float *>(table), ids, dim);
    return LAUNCH(embedding_rows<jrl_bf16>, dim3((unsigned)rows), THREADS, 0, x, static_cast<const jrl_bf16 *>(table), ids, dim);
}

int jrl_cuda_embedding_backward(struct jrl_device *dev, float *dtable, const float *dx, const uint32_t *ids, int64_t rows, int64_t dim,
                                struct jrl_error *err)
{
    const int rc = gpu_check_sizes(dev, "embedding_backward", rows, dim, err);

    if (rc < 0 || rows == 0 || dim == 0)
        return rc;
    return LAUNCH(embedding_columns_back, dim3((unsigned)divide_up(dim, 32)), 32, 0, dtable, dx, ids, rows, dim);
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
