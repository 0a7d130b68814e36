/* matmul_few_avx2.c - products of bf16 with few rows of A on AVX2. */
#include "kernels/cpu/matmul_few_words.h"

const struct few_kernel jrl_few_avx2 = FEW_WORDS_KERNEL;
