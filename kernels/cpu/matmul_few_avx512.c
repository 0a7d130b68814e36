/* matmul_few_avx512.c - products of bf16 with few rows of A by FMA. */
#include "kernels/cpu/matmul_few_words.h"

const struct few_kernel jrl_few_avx512 = FEW_WORDS_KERNEL;
