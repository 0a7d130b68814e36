/* elementwise.cu - conversion between types, and addition. */
#include "kernels/cuda/fours.cuh"

#define THREADS 256

template <class T> static __global__ void from_f32(T *y, const float *x, int64_t n, bool fours)
{
    for_elements(n, fours, [=](auto v, int64_t i) {
        v = taken<decltype(v)>(x + i);
        store_piece(y + i, v);
    });
}

template <class T> static __global__ void to_f32_all(float *y, const T *x, int64_t n, bool fours)
{
    for_elements(n, fours, [=](auto v, int64_t i) {
        v = taken<decltype(v)>(x + i);
        store_piece(y + i, v);
    });
}

static __global__ void add_to(float *y, const float *x, int64_t n, bool fours)
{
    for_elements(n, fours, [=](auto v, int64_t i) {
        const auto more = taken<decltype(v)>(x + i);

        v = taken<decltype(v)>(y + i);
        for (int k = 0; k < v.N; k++)
            v.of[k] += more.of[k];
        store_piece(y + i, v);
    });
}

int jrl_cuda_convert_from_f32(struct jrl_device *dev, void *y, enum jrl_dtype dtype, const float *x, int64_t n, struct jrl_error *err)
{
    int rc = gpu_check_type(dev, "conversion from f32", dtype, err);

    if (rc < 0 || (rc = gpu_check_sizes(dev, "conversion from f32", n, 1, err)) < 0 || n == 0)
        return rc;
    if (dtype == JRL_F32)
        return LAUNCH(from_f32<float>, four_blocks(n, THREADS), THREADS, 0, static_cast<float *>(y), x, n, in_fours(n, y, x));
    return LAUNCH(from_f32<jrl_bf16>, four_blocks(n, THREADS), THREADS, 0, static_cast<jrl_bf16 *>(y), x, n, in_fours(n, y, x));
}

int jrl_cuda_convert_to_f32(struct jrl_device *dev, float *y, const void *x, enum jrl_dtype dtype, int64_t n, struct jrl_error *err)
{
    int rc = gpu_check_type(dev, "conversion to f32", dtype, err);

    if (rc < 0 || (rc = gpu_check_sizes(dev, "conversion to f32", n, 1, err)) < 0 || n == 0)
        return rc;
    if (dtype == JRL_F32)
        return LAUNCH(to_f32_all<float>, four_blocks(n, THREADS), THREADS, 0, y, static_cast<const float *>(x), n, in_fours(n, y, x));
    return LAUNCH(to_f32_all<jrl_bf16>, four_blocks(n, THREADS), THREADS, 0, y, static_cast<const jrl_bf16 *>(x), n, in_fours(n, y, x));
}

int jrl_cuda_add(struct jrl_device *dev, float *y, const float *x, int64_t n, struct jrl_error *err)
{
    const int rc = gpu_check_sizes(dev, "addition", n, 1, err);

    return rc < 0 || n == 0 ? rc : LAUNCH(add_to, four_blocks(n, THREADS), THREADS, 0, y, x, n, in_fours(n, y, x));
}
