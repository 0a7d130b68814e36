/* rmsnorm.cu - RMSNorm forward and backward: a block a row, sums by the contract's sixteen lanes, which are sixteen threads. */
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/fours.cuh"

#define THREADS 128
#define BACK_THREADS 512 /* at most: four elements each, if there are as many */

struct norm_row {
    float lanes[JRL_LANES];
    float values[1]; /* of the row, as many as it has */
};
static size_t row_bytes(int64_t dim) { return sizeof(float) * (size_t)(JRL_LANES + dim); }

/* The squares of one lane, in order; the values of a group come from shared memory side by side, so that the chain of additions alone takes time. */
static __device__ __forceinline__ float lane_of_squares(const float *values, int dim)
{
    const int group = 32 * JRL_LANES;
    float lane = 0;
    int i = threadIdx.x;

    for (; i + group - JRL_LANES < dim; i += group) {
        float v[32];
#pragma unroll
        for (int k = 0; k < 32; k++)
            v[k] = values[i + k * JRL_LANES];
#pragma unroll
        for (int k = 0; k < 32; k++)
            lane = fmaf(v[k], v[k], lane);
    }
    for (; i < dim; i += JRL_LANES)
        lane = fmaf(values[i], values[i], lane);
    return lane;
}

#define KEPT 4 /* pieces of a row that a thread has loaded, with their weights, before it waits for any */

template <class T, int W> static __global__ void __launch_bounds__(THREADS) rmsnorm_row(T *y, const float *x, const T *weight, float eps, int dim)
{
    const int64_t row = blockIdx.x;
    struct piece<W> values[KEPT], weights[KEPT];
    SHARED(struct norm_row, s);

    x += row * dim;
    y += row * dim;
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        const int i = W * (threadIdx.x + k * THREADS);
        if (i < dim)
            weights[k] = load_piece<W>(weight + i);
    }
    wait_for_kernel_before();
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        const int i = W * (threadIdx.x + k * THREADS);
        if (i < dim)
            values[k] = load_piece<W>(x + i);
    }
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        const int i = W * (threadIdx.x + k * THREADS);
        if (i < dim)
            store_piece<W>(&s.values[i], values[k]);
    }
    for (int i = W * (threadIdx.x + KEPT * THREADS); i < dim; i += W * THREADS)
        store_piece<W>(&s.values[i], load_piece<W>(x + i));
    __syncthreads();
    if (threadIdx.x < JRL_LANES)
        s.lanes[threadIdx.x] = lane_of_squares(s.values, dim);
    __syncthreads();
    const float inverse = jrl_inverse_root(jrl_lanes_sum(s.lanes) / (float)dim + eps);
    const auto write = [&](int i, const struct piece<W> &value, const struct piece<W> &w) {
        struct piece<W> p;
#pragma unroll
        for (int e = 0; e < W; e++)
            p.of[e] = value.of[e] * inverse * w.of[e];
        store_piece<W>(y + i, p);
    };
#pragma unroll
    for (int k = 0; k < KEPT; k++) {
        const int i = W * (threadIdx.x + k * THREADS);
        if (i < dim)
            write(i, values[k], weights[k]);
    }
    for (int i = W * (threadIdx.x + KEPT * THREADS); i < dim; i += W * THREADS)
        write(i, load_piece<W>(&s.values[i]), load_piece<W>(weight + i));
}

struct back_row {
    float lanes[2][JRL_LANES];
    float values[1]; /* of the row, and then, from the banks that those do not meet, its gradient times the weights */
};
static size_t back_row_bytes(int64_t dim) { return sizeof(float) * (size_t)(2 * JRL_LANES + 2 * dim + JRL_LANES); }

/* Both sums are one walk of the row: sixteen threads have the squares, sixteen more the products with the gradient. */
template <class T>
static __global__ void __launch_bounds__(BACK_THREADS) rmsnorm_row_back(float *dx, float *inverses, const float *dy, const float *x, const T *weight, float eps,
                                                                        int64_t dim, bool fours)
{
    const int64_t row = blockIdx.x;
    SHARED(struct back_row, s);
    float *values = s.values, *steep = s.values + dim + JRL_LANES;

    for_elements_of_block((int)dim, fours, [=](auto v, int i) {
        const auto w = taken<decltype(v)>(weight + i), value = taken<decltype(v)>(x + row * dim + i);

        v = taken<decltype(v)>(dy + row * dim + i);
        for (int k = 0; k < v.N; k++)
            v.of[k] = v.of[k] * w.of[k];
        store_piece(steep + i, v);
        store_piece(values + i, value);
    });
    __syncthreads();
    if (threadIdx.x < 2 * JRL_LANES) {
        const int half = threadIdx.x / JRL_LANES, lane = threadIdx.x % JRL_LANES;
        const float *factors = half ? steep : values;
        float sum = 0;
#pragma unroll 8
        for (int i = lane; i < dim; i += JRL_LANES)
            sum = fmaf(factors[i], values[i], sum);
        s.lanes[half][lane] = sum;
    }
    __syncthreads();
    const float inverse = jrl_inverse_root(jrl_lanes_sum(s.lanes[0]) / (float)dim + eps);
    const float slope = jrl_lanes_sum(s.lanes[1]) / (float)dim * inverse * inverse;
    for_elements_of_block((int)dim, fours, [=](auto v, int i) {
        const auto d = taken<decltype(v)>(steep + i), value = taken<decltype(v)>(values + i);

        v = taken<decltype(v)>(dx + row * dim + i);
        for (int k = 0; k < v.N; k++)
            v.of[k] += (d.of[k] - value.of[k] * slope) * inverse;
        store_piece(dx + row * dim + i, v);
    });
    if (threadIdx.x == 0)
        inverses[row] = inverse;
}

struct weight_term {
    float dy, x, inverse;
};

static __global__ void __launch_bounds__(COLUMN_THREADS, 2) rmsnorm_weight_back(float *dweight, const float *dy, const float *x, const float *inverses,
                                                                              int64_t rows, int64_t dim)
{
    SHARED(struct column_terms, s);

    add_columns<weight_term>(
        s, dweight, rows, dim, [=](int64_t r, int64_t column) { return weight_term{ dy[r * dim + column], x[r * dim + column], inverses[r] }; },
        [](const weight_term &t) { return t.dy * (t.x * t.inverse); });
}

template <class T>
static int norm_rows(struct jrl_device *dev, T *y, const float *x, const T *weight, float eps, int64_t rows, int64_t dim, struct jrl_error *err)
{
    if (in_fours(dim, y, x, weight))
        return LAUNCH_EARLY((rmsnorm_row<T, 4>), dim3((unsigned)rows), THREADS, row_bytes(dim), y, x, weight, eps, (int)dim);
    return LAUNCH_EARLY((rmsnorm_row<T, 1>), dim3((unsigned)rows), THREADS, row_bytes(dim), y, x, weight, eps, (int)dim);
}

int jrl_cuda_rmsnorm(struct jrl_device *dev, void *y, const float *x, const void *weight, enum jrl_dtype dtype, float eps, int64_t rows,
                     int64_t dim, struct jrl_error *err)
{
    int rc = gpu_check_type(dev, "rmsnorm", dtype, err);

    if (rc < 0 || (rc = gpu_check_sizes(dev, "rmsnorm", rows, dim, err)) < 0 || rows == 0 || dim == 0)
        return rc;
    if (dtype == JRL_F32)
        return norm_rows(dev, static_cast<float *>(y), x, static_cast<const float *>(weight), eps, rows, dim, err);
    return norm_rows(dev, static_cast<jrl_bf16 *>(y), x, static_cast<const jrl_bf16 *>(weight), eps, rows, dim, err);
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
    const bool fours = in_fours(dim, dx, dy, x, weight);
    const unsigned threads = (unsigned)smaller(divide_up(fours ? dim / 4 : dim, 32) * 32, BACK_THREADS);
    if (dtype == JRL_F32)
        rc = LAUNCH(rmsnorm_row_back<float>, dim3((unsigned)rows), threads, back_row_bytes(dim), dx, inverses, dy, x, static_cast<const float *>(weight), eps,
                    dim, fours);
    else
        rc = LAUNCH(rmsnorm_row_back<jrl_bf16>, dim3((unsigned)rows), threads, back_row_bytes(dim), dx, inverses, dy, x, static_cast<const jrl_bf16 *>(weight),
                    eps, dim, fours);
    if (rc < 0)
        return rc;
    return LAUNCH(rmsnorm_weight_back, column_blocks(dim), COLUMN_THREADS, sizeof(struct column_terms), dweight, dy, x, static_cast<const float *>(inverses),
                  rows, dim);
}
