/* optimizer.cu - AdamW, the squared norm, and the gradient of a bias. */
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/fours.cuh"

extern "C" {
#include "kernels/cpu/rows.h"
}

#define THREADS 256
#define NORM_BLOCK 4096

template <class T>
static __global__ void adamw(struct jrl_adamw_scalars c, float *master, float *m, float *v, const float *grad, T *weights, int64_t n, bool fours)
{
    for_elements(n, fours, [=](auto updated, int64_t i) {
        const auto gradient = taken<decltype(updated)>(grad + i);
        auto mean = taken<decltype(updated)>(m + i), square = taken<decltype(updated)>(v + i);

        updated = taken<decltype(updated)>(master + i);
        for (int k = 0; k < updated.N; k++) {
            const float g = gradient.of[k] * c.grad_scale;

            mean.of[k] = mean.of[k] + (g - mean.of[k]) * c.one_minus_beta1;
            square.of[k] = square.of[k] * c.beta2 + g * g * c.one_minus_beta2;
            updated.of[k] = updated.of[k] * c.decay - c.step_size * mean.of[k] / (sqrtf(square.of[k]) / c.sqrt_correction2 + c.eps);
        }
        store_piece(m + i, mean);
        store_piece(v + i, square);
        store_piece(master + i, updated);
        if (weights)
            store_piece(weights + i, updated);
    });
}

/* A warp a block of 4096 elements; its sixteen lanes in f64. */
static __global__ void square_blocks(double *sums, const float *x, int64_t n)
{
    const int64_t begin = (int64_t)blockIdx.x * NORM_BLOCK, end = begin + NORM_BLOCK < n ? begin + NORM_BLOCK : n;
    double sum = 0;

    for (int64_t i = begin + threadIdx.x; threadIdx.x < JRL_NORM_LANES && i < end; i += JRL_NORM_LANES)
        sum += (double)x[i] * (double)x[i];
    for (int width = JRL_NORM_LANES / 2; width; width /= 2)
        sum += __shfl_sync(ALL_LANES, sum, threadIdx.x + width);
    if (threadIdx.x == 0)
        sums[blockIdx.x] = sum;
}

static __global__ void __launch_bounds__(COLUMN_THREADS, 2) bias_columns(float *dbias, const float *x, int64_t rows, int64_t cols)
{
    SHARED(struct column_terms, s);

    add_columns<float>(s, dbias, rows, cols, [=](int64_t r, int64_t column) { return x[r * cols + column]; }, [](float value) { return value; });
}

int jrl_cuda_adamw_step(struct jrl_device *dev, const struct jrl_adamw *p, float *master, float *m, float *v, const float *grad, void *weights,
                        enum jrl_dtype dtype, int64_t n, struct jrl_error *err)
{
    const struct jrl_adamw_scalars c = jrl_adamw_scalars_of(p, gpu_of(dev)->host->pow);
    int rc = gpu_check_type(dev, "adamw", dtype, err);

    if (rc == JRL_OK && (n < 0 || p->step < 1))
        rc = gpu_fail(dev, err, "adamw: a negative count or a step below 1");
    if (rc < 0 || n == 0)
        return rc;
    const bool fours = in_fours(n, master, m, v, grad, weights);
    if (dtype == JRL_F32)
        return LAUNCH(adamw<float>, four_blocks(n, THREADS), THREADS, 0, c, master, m, v, grad, static_cast<float *>(weights), n, fours);
    return LAUNCH(adamw<jrl_bf16>, four_blocks(n, THREADS), THREADS, 0, c, master, m, v, grad, static_cast<jrl_bf16 *>(weights), n, fours);
}

/* This, and what rmsnorm_backward takes. */
int64_t gpu_rows_bytes(const struct jrl_kernel_sizes *p)
{
    return p->back_rows == 0 ? 0 : larger_of(divide_up(p->n_weights, NORM_BLOCK) * (int64_t)sizeof(double), p->n_rows * (int64_t)sizeof(float));
}

int jrl_cuda_sum_squares(struct jrl_device *dev, double *out, const float *x, int64_t n, struct jrl_error *err)
{
    const int64_t n_blocks = divide_up(n, NORM_BLOCK);
    double *sums;
    void *there;
    int rc = gpu_check_sizes(dev, "sum of squares", n, 1, err);

    *out = 0;
    if (rc < 0 || n == 0 || (rc = gpu_scratch(dev, &there, GPU_ROWS, (size_t)n_blocks * sizeof(double), err)) < 0)
        return rc;
    if (!(sums = static_cast<double *>(malloc((size_t)n_blocks * sizeof *sums))))
        return gpu_fail(dev, err, "sum of squares: no memory");
    rc = LAUNCH(square_blocks, dim3((unsigned)n_blocks), 32, 0, static_cast<double *>(there), x, n);
    if (rc == JRL_OK)
        rc = dev->backend->download(dev, sums, there, (size_t)n_blocks * sizeof *sums, err);
    for (int64_t i = 0; i < n_blocks && rc == JRL_OK; i++)
        *out += sums[i];
    free(sums);
    return rc;
}

int jrl_cuda_bias_backward(struct jrl_device *dev, float *dbias, const float *x, int64_t rows, int64_t cols, struct jrl_error *err)
{
    const int rc = gpu_check_sizes(dev, "bias_backward", rows, cols, err);

    if (rc < 0 || rows == 0 || cols == 0)
        return rc;
    return LAUNCH(bias_columns, column_blocks(cols), COLUMN_THREADS, sizeof(struct column_terms), dbias, x, rows, cols);
}
