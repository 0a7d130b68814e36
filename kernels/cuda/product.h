/* product.h - one matrix product with its three forms made one by strides. For the matmul files of kernels/cuda only. */
#ifndef JRL_KERNELS_CUDA_PRODUCT_H
#define JRL_KERNELS_CUDA_PRODUCT_H

#include "kernels/cuda/gpu.h"

/* Element (i, k) of A is a[i a_row + k a_step], (k, j) of B is b[j b_column + k b_step]: one of each pair is 1. */
struct gpu_product {
    int64_t m, n, k, a_row, a_step, b_column, b_step, ldc, accumulate;
    const void *a, *b;
    float *c;
};

/* In the contract's order, with its bits. */
int gpu_product_exact(struct jrl_device *dev, enum jrl_dtype dtype, const struct gpu_product *p, struct jrl_error *err) JRL_MUST_CHECK;
/* On tensor cores: bf16, with addresses and row lengths that gpu_product_aligned accepts. N products of one form and the same
 * contracted index, in one launch; at most JRL_GROUP_PRODUCTS. */
bool gpu_product_aligned(const struct gpu_product *p);
int gpu_product_tensor(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err) JRL_MUST_CHECK;
/* Of form nt and at most 64 rows: the same, at the speed of memory (matmul_few.cu). Gate and up as one: ACT [m][n], their outputs are nowhere. */
bool gpu_product_is_few(const struct gpu_product *p, int n);
int gpu_product_few(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err) JRL_MUST_CHECK;
int gpu_gated_few(struct jrl_device *dev, const struct gpu_product *gate_and_up, jrl_bf16 *act, struct jrl_error *err) JRL_MUST_CHECK;
/* Some dozens to some hundred rows of form nt, on a GPU that has wgmma (matmul_slim.cu); gate and up as above. */
bool gpu_product_is_slim(const struct jrl_device *dev, const struct gpu_product *p, int n);
int gpu_product_slim(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err) JRL_MUST_CHECK;
int gpu_gated_slim(struct jrl_device *dev, const struct gpu_product *gate_and_up, jrl_bf16 *act, struct jrl_error *err) JRL_MUST_CHECK;
/* GPU_MOST_TILES counters in device memory that are 0 whenever no product runs: of a tile's parts that have arrived. */
#define GPU_MOST_TILES (1 << 16)
int gpu_arrival_counters(struct jrl_device *dev, unsigned **out, struct jrl_error *err) JRL_MUST_CHECK;
/* ... of any number of rows, on a GPU that has wgmma; their outputs are there too where they have a C (both or none). */
bool gpu_gated_is_wide(const struct jrl_device *dev, const struct gpu_product *gate_and_up);
int gpu_gated_wgmma(struct jrl_device *dev, const struct gpu_product *gate_and_up, jrl_bf16 *act, struct jrl_error *err) JRL_MUST_CHECK;
/* One by cuBLASLt, on a device whose library is open; as gpu_product_tensor where that has no algorithm. */
int gpu_product_library(struct jrl_device *dev, const struct gpu_product *p, struct jrl_error *err) JRL_MUST_CHECK;

#endif
