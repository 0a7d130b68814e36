/* product.h - one matrix product with its three forms made one by strides, and the families of kernels that multiply. For the matmul files of kernels/cuda
 * and swiglu.cu. */
#ifndef JRL_KERNELS_CUDA_PRODUCT_H
#define JRL_KERNELS_CUDA_PRODUCT_H

#include "kernels/cuda/gpu.h"

/* C = A B, or C += A B where ACCUMULATE; C: [m][n], f32, rows ldc apart. Element (i, k) of A is a[i a_row + k a_step], (k, j) of B is
 * b[j b_column + k b_step]: one of each pair is 1. Form nt: a_step and b_step are 1; nn: a_step and b_column; tn: a_row and b_column. */
struct gpu_product {
    int64_t m, n, k, a_row, a_step, b_column, b_step, ldc, accumulate;
    const void *a, *b;
    float *c;
};

/* In the contract's order, with its bits (matmul_exact.cu). */
int gpu_product_exact(struct jrl_device *dev, enum jrl_dtype dtype, const struct gpu_product *p, struct jrl_error *err) JRL_MUST_CHECK;

/* One of bf16 by cuBLASLt, on a device whose library is open (matmul_cublas.cu). JRL_EOF: it has no algorithm for this one, and nothing was done. */
int gpu_product_library(struct jrl_device *dev, const struct gpu_product *p, struct jrl_error *err) JRL_MUST_CHECK;

/* ---- on tensor cores: bf16, with addresses and row lengths that gpu_product_aligned accepts ----
 * A call has N products, at most JRL_GROUP_PRODUCTS, of one form and the same k, none of them empty, and makes one launch of them. All families give the same
 * bits; _is_ says whether one takes the products, _cost how many cycles it needs where families are compared (matmul.cu). */
bool gpu_product_aligned(const struct gpu_product *p);

/* All forms, on every GPU (matmul_tensor.cu). */
double gpu_product_mma_cost(const struct jrl_device *dev, const struct gpu_product *p, int n);
int gpu_product_mma(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err) JRL_MUST_CHECK;

/* All forms, of many rows, where the GPU has wgmma and outputs lie in pairs (matmul_wgmma.cu). */
bool gpu_product_is_wide(const struct jrl_device *dev, const struct gpu_product *p, int n);
double gpu_product_wgmma_cost(const struct jrl_device *dev, const struct gpu_product *p, int n);
int gpu_product_wgmma(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err) JRL_MUST_CHECK;

/* Form nt and at most 64 rows, at the speed of memory (matmul_few.cu). */
bool gpu_product_is_few(const struct gpu_product *p, int n);
int gpu_product_few(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err) JRL_MUST_CHECK;

/* Form nt and some dozens to some hundred rows, where the GPU has wgmma (matmul_slim.cu). */
bool gpu_product_is_slim(const struct jrl_device *dev, const struct gpu_product *p, int n);
int gpu_product_slim(struct jrl_device *dev, const struct gpu_product *p, int n, struct jrl_error *err) JRL_MUST_CHECK;

/* ---- gate and up of an MLP as one product of these families, form nt ----
 * ACT: [m][n], the activations of both (gated_unit). The products themselves are nowhere, but _wgmma writes them, too, where they have a C (both or none).
 * _few and _slim take what the functions above accept of both, _slim with n even. */
int gpu_gated_few(struct jrl_device *dev, const struct gpu_product *gate_and_up, jrl_bf16 *act, struct jrl_error *err) JRL_MUST_CHECK;
int gpu_gated_slim(struct jrl_device *dev, const struct gpu_product *gate_and_up, jrl_bf16 *act, struct jrl_error *err) JRL_MUST_CHECK;
bool gpu_gated_is_wide(const struct jrl_device *dev, const struct gpu_product *gate_and_up);
int gpu_gated_wgmma(struct jrl_device *dev, const struct gpu_product *gate_and_up, jrl_bf16 *act, struct jrl_error *err) JRL_MUST_CHECK;

#endif
