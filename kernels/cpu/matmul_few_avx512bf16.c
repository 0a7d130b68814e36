/* matmul_few_avx512bf16.c - products of bf16 with few rows of A by VDPBF16PS. */
#include "kernels/cpu/matmul_few_words.h"

const struct few_kernel jrl_few_avx512bf16 = FEW_WORDS_KERNEL;
