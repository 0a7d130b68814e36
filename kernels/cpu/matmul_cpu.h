/* matmul_cpu.h - the three products as one, by strides, and what an instruction set adds to it.
 * For files of kernels/cpu and their tests. */
#ifndef JRL_KERNELS_CPU_MATMUL_CPU_H
#define JRL_KERNELS_CPU_MATMUL_CPU_H

#include "kernels/cpu/cpu.h"
#include "kernels/matmul.h"

#define JRL_BLOCK 32 /* of the contracted index */

/* C[i, j] (+)= sum over k of A(i, k) B(k, j), where A(i, k) = a[i * a_row + k * a_step] and
 * B(k, j) = b[k * b_step + j * b_column]; of each pair of strides one is 1. */
struct jrl_product {
    enum jrl_dtype dtype;
    int64_t m, n, k;
    const void *a, *b;
    float *c;
    int64_t a_row, a_step, b_column, b_step, ldc;
    bool accumulate;
};

/* A micro-kernel and the layout it wants. A strip of `strip` rows of A and a group of `group` columns of
 * B are packed, `blocks` blocks of 32 at a time and filled up with zeros; multiply() adds their product,
 * block by block in order, to a strip x group tile of C (or to zeros, when from_zero). */
struct jrl_product_kernel {
    int strip, group;
    int max_blocks;                           /* of a packed strip: it and a group stay in the first cache */
    int64_t panel_bytes;                      /* of packed B: most of the second cache */
    int64_t strip_bytes, group_block_bytes;   /* of a packed strip of max_blocks; of a packed group, for one block */
    int64_t a_pack_cost, b_pack_cost;         /* of one strip (group), as columns (rows) of multiplication */
    void (*begin)(void), (*end)(void);        /* around a thread's use; may be NULL */
    void (*pack_a)(void *to, const struct jrl_product *p, int64_t i, int64_t rows, int64_t k, int64_t blocks);
    void (*pack_b)(void *to, const struct jrl_product *p, int64_t j, int64_t columns, int64_t k, int64_t blocks);
    void (*multiply)(float *c, int64_t ldc, bool from_zero, int64_t rows, const void *a, const void *b, int64_t blocks);
};

extern const struct jrl_product_kernel jrl_product_amx, jrl_product_words_avx512bf16, jrl_product_words_avx512, jrl_product_words_avx2,
    jrl_product_avx512_f32, jrl_product_avx2_f32;

/* The fastest of this device, or NULL: plain loops. */
const struct jrl_product_kernel *jrl_product_kernel_for(const struct jrl_device *dev, enum jrl_dtype dtype);

int jrl_product_blocked(struct jrl_device *dev, const struct jrl_product *p, const struct jrl_product_kernel *kernel,
                        struct jrl_error *err) JRL_MUST_CHECK;

/* nt with few rows of A: the weights are read once from where they lie. What does it on this device, or NULL. */
#define JRL_FEW_ROWS 64
struct few_kernel;
const struct few_kernel *jrl_few_kernel_for(const struct jrl_device *dev, enum jrl_dtype dtype, int64_t rows);
/* m, k and all n > 0. */
struct jrl_mlp;
int jrl_group_few_rows(struct jrl_device *dev, const struct few_kernel *kernel, const struct jrl_matmul_group *group,
                       const struct jrl_matmul_group *then, struct jrl_error *err) JRL_MUST_CHECK;
int jrl_mlp_few_rows(struct jrl_device *dev, const struct few_kernel *kernel, const struct jrl_mlp *p, const struct jrl_matmul_group *then,
                     struct jrl_error *err) JRL_MUST_CHECK;

#endif
