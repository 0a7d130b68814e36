/* elementwise.cu - conversion between types, and addition. */
#include "kernels/cuda/gpu.h"

#define THREADS 256

template <class T> static __global__ void from_f32(T *y, const float *x, int64_t n)
{
    for (int64_t i = first_index(); i < n; i += index_step())
        store(&y[i], x[i]);
}

template <class T> static __global__ void to_f32_all(float *y, const T *x, int64_t n)
{
    for (int64_t i = first_index(); i < n; i += index_step())
        y[i] = to_f32(x[i]);
}

static __global__ void add_to(float *y, const float *x, int64_t n)
{
    for (int64_t i = first_index(); i < n; i += index_step())
        y[i] += x[i];
}

int jrl_cuda_convert_from_f32(struct jrl_device *dev, void *y, enum jrl_dtype dtype, const float *x, int64_t n, struct jrl_error *err)
{
    int rc = gpu_check_type(dev, "conversion from f32", dtype, err);

    if (rc < 0 || (rc = gpu_check_sizes(dev, "conversion from f32", n, 1, err)) < 0 || n == 0)
        return rc;
    if (dtype == JRL_F32)
        return LAUNCH(from_f32<float>, gpu_blocks(dev, n, THREADS), THREADS, 0, static_cast<float *>(y), x, n);
    return LAUNCH(from_f32<jrl_bf16>, gpu_blocks(dev, n, THREADS), THREADS, 0, static_cast<jrl_bf16 *>(y), x, n);
}

int jrl_cuda_convert_to_f32(struct jrl_device *dev, float *y, const void *x, enum jrl_dtype dtype, int64_t n, struct jrl_error *err)
{
    int rc = gpu_check_type(dev, "conversion to f32", dtype, err);

    if (rc < 0 || (rc = gpu_check_sizes(dev, "conversion to f32", n, 1, err)) < 0 || n == 0)
        return rc;
    if (dtype == JRL_F32)
        return LAUNCH(to_f32_all<float>, gpu_blocks(dev, n, THREADS), THREADS, 0, y, static_cast<const float *>(x), n);
    return LAUNCH(to_f32_all<jrl_bf16>, gpu_blocks(dev, n, THREADS), THREADS, 0, y, static_cast<const jrl_bf16 *>(x), n);
}

int jrl_cuda_add(struct jrl_device *dev, float *y, const float *x, int64_t n, struct jrl_error *err)
{
    const int rc = gpu_check_sizes(dev, "addition", n, 1, err);

    return rc < 0 || n == 0 ? rc : LAUNCH(add_to, gpu_blocks(dev, n, THREADS), THREADS, 0, y, x, n);
}
