/* matmul.h - matrix products in the contract's order (jrl-numerics(7)): the contracted index in blocks
 * of 32 from its start; in a block one fmaf chain over the even and one over the odd indices, each from
 * +0; then acc += even + odd. The order is never split, so a result depends on its row and column alone:
 * not on m, n, threads, or the instruction set. A last partial block counts as filled with zeros. */
#ifndef JRL_KERNELS_MATMUL_H
#define JRL_KERNELS_MATMUL_H

#include "kernels/device.h"

/* All matrices row-major; ld* are row lengths in elements (>= the columns used). a and b have type
 * DTYPE (JRL_F32 or JRL_BF16); c is f32. With `accumulate` the accumulator of each output starts at the
 * value c holds, else at +0. c does not overlap a or b. */
struct jrl_matmul {
    enum jrl_dtype dtype;
    int64_t m, n, k;
    const void *a;
    const void *b;
    float *c;
    int64_t lda, ldb, ldc;
    bool accumulate;
};

/* C[m,n] = A[m,k] * B[n,k]^T, contracted over k: a layer forward, B its weight as stored. */
int jrl_matmul_nt(struct jrl_device *dev, const struct jrl_matmul *p, struct jrl_error *err) JRL_MUST_CHECK;
/* C[m,n] = A[m,k] * B[k,n], contracted over k: gradient of the input, B the weight as stored. */
int jrl_matmul_nn(struct jrl_device *dev, const struct jrl_matmul *p, struct jrl_error *err) JRL_MUST_CHECK;

/* Products nt of the same rows, such as queries, keys and values: dtype, m, k, a, lda are those of the first. `gated`:
 * two, gate and up of an MLP, which jrl_mlp_forward takes side by side. */
#define JRL_GROUP_PRODUCTS 3
struct jrl_matmul_group {
    struct jrl_matmul p[JRL_GROUP_PRODUCTS];
    int n;
    bool gated;
};

/* Each as jrl_matmul_nt. THEN, which may be NULL, are the products that come next: only their n, k, b and ldb are looked
 * at, to fetch the first of their weights meanwhile. */
int jrl_matmul_nt_group(struct jrl_device *dev, const struct jrl_matmul_group *group, const struct jrl_matmul_group *then,
                        struct jrl_error *err) JRL_MUST_CHECK;

/* C[m,n] = A[k,m]^T * B[k,n], contracted over k = tokens: gradients of the weights that the same input meets, with accumulate. N products of
 * one dtype and k, at most JRL_GROUP_PRODUCTS; a GPU shares its processors among all of them. */
int jrl_matmul_tn_group(struct jrl_device *dev, const struct jrl_matmul *p, int n, struct jrl_error *err) JRL_MUST_CHECK;
static inline int jrl_matmul_tn(struct jrl_device *dev, const struct jrl_matmul *p, struct jrl_error *err)
{
    return jrl_matmul_tn_group(dev, p, 1, err);
}

#endif
