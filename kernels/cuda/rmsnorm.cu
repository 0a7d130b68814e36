/* rmsnorm.cu - RMSNorm forward and backward: a block a row, sums by the contract's sixteen lanes, which are sixteen threads. */
#include "kernels/cuda/columns.cuh"

#define THREADS 128

struct norm_row {
    float lanes[JRL_LANES];
    float values[1]; /* of the row, as many as it has */
};
static size_t row_bytes(int64_t dim) { return sizeof(float) * (size_t)(JRL_LANES + dim); }

/* The values of row X to shared memory, complete, and 1 / RMS of them to all threads. */
static __device__ float load_row(struct norm_row &s, const float *x, int64_t dim, float eps)
{
    for (int64_t i = threadIdx.x; i < dim; i += blockDim.x)
        s.values[i] = x[i];
    __syncthreads();
    if (threadIdx.x < JRL_LANES) {
        float lane = 0;
        for (int64_t i = threadIdx.x; i < dim; i += JRL_LANES)
            lane = fmaf(s.values[i], s.values[i], lane);
        s.lanes[threadIdx.x] = lane;
    }
    __syncthreads();
    return jrl_inverse_root(jrl_lanes_sum(s.lanes) / (float)dim + eps);
}

template <class T> static __global__ void rmsnorm_row(T *y, const float *x, const T *weight, float eps, int64_t dim)
{
    const int64_t row = blockIdx.x;
    SHARED(struct norm_row, s);

    const float inverse = load_row(s, x + row * dim, dim, eps);
    for (int64_t i = threadIdx.x; i < dim; i += blockDim.x)
        store(&y[row * dim + i], s.values[i] * inverse * to_f32(weight[i]));
}

template <class T>
static __global__ void rmsnorm_row_back(float *dx, float *inverses, const float *dy, const float *x, const T *weight, float eps, int64_t dim)
{
    const int64_t row = blockIdx.x;
    SHARED(struct norm_row, s);

    const float inverse = load_row(s, x + row * dim, dim, eps);
    __syncthreads(); /* the lanes have been read */
    if (threadIdx.x < JRL_LANES) {
        float lane = 0;
        for (int64_t i = threadIdx.x; i < dim; i += JRL_LANES)
            lane = fmaf(dy[row * dim + i] * to_f32(weight[i]), s.values[i], lane);
        s.lanes[threadIdx.x] = lane;
    }
    __syncthreads();
    const float slope = jrl_lanes_sum(s.lanes) / (float)dim * inverse * inverse;
    for (int64_t i = threadIdx.x; i < dim; i += blockDim.x)
        dx[row * dim + i] += (dy[row * dim + i] * to_f32(weight[i]) - s.values[i] * slope) * inverse;
    if (threadIdx.x == 0)
        inverses[row] = inverse;
}

static __global__ void __launch_bounds__(COLUMN_THREADS) rmsnorm_weight_back(float *dweight, const float *dy, const float *x, const float *inverses, int64_t rows, int64_t dim)
{
    SHARED(struct column_terms, s);

    add_columns(s, dweight, rows, dim, [=](int64_t r, int64_t column) { return dy[r * dim + column] * (x[r * dim + column] * inverses[r]); });
}

int jrl_cuda_rmsnorm(struct jrl_device *dev, void *y, const float *x, const void *weight, enum jrl_dtype dtype, float eps, int64_t rows,
                     int64_t dim, struct jrl_error *err)
{
    int rc = gpu_check_type(dev, "rmsnorm", dtype, err);

    if (rc < 0 || (rc = gpu_check_sizes(dev, "rmsnorm", rows, dim, err)) < 0 || rows == 0 || dim == 0)
        return rc;
    if (dtype == JRL_F32)
        return LAUNCH(rmsnorm_row<float>, dim3((unsigned)rows), THREADS, row_bytes(dim), static_cast<float *>(y), x,
                      static_cast<const float *>(weight), eps, dim);
    return LAUNCH(rmsnorm_row<jrl_bf16>, dim3((unsigned)rows), THREADS, row_bytes(dim), static_cast<jrl_bf16 *>(y), x,
                  static_cast<const jrl_bf16 *>(weight), eps, dim);
}

int jrl_cuda_rmsnorm_backward(struct jrl_device *dev, float *dx, float *dweight, const float *dy, const float *x, const void *weight,
                              enum jrl_dtype dtype, float eps, int64_t rows, int64_t dim, struct jrl_error *err)
{
    void *memory;
    int rc = gpu_check_type(dev, "rmsnorm_backward", dtype, err);

    if (rc < 0 || (rc = gpu_check_sizes(dev, "rmsnorm_backward", rows, dim, err)) < 0 || rows == 0 || dim == 0 ||
        (rc = gpu_scratch(dev, &memory, GPU_ROWS, (size_t)rows * sizeof(float), err)) < 0)
        return rc;
    float *inverses = static_cast<float *>(memory);
    if (dtype == JRL_F32)
        rc = LAUNCH(rmsnorm_row_back<float>, dim3((unsigned)rows), THREADS, row_bytes(dim), dx, inverses, dy, x, static_cast<const float *>(weight), eps, dim);
    else
        rc = LAUNCH(rmsnorm_row_back<jrl_bf16>, dim3((unsigned)rows), THREADS, row_bytes(dim), dx, inverses, dy, x,
                    static_cast<const jrl_bf16 *>(weight), eps, dim);
    if (rc < 0)
        return rc;
    return LAUNCH(rmsnorm_weight_back, column_blocks(dim), COLUMN_THREADS, sizeof(struct column_terms), dweight, dy, x, static_cast<const float *>(inverses), rows, dim);
}
