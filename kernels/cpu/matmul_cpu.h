/* matmul_cpu.h - the three products as one, by strides, and what an instruction set adds to it.
 * For files of kernels/cpu only. */
#ifndef JRL_KERNELS_CPU_MATMUL_CPU_H
#define JRL_KERNELS_CPU_MATMUL_CPU_H

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

#endif
