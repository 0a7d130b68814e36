/* matmul_words_avx512.c - large products of bf16 by FMA. */
#include "kernels/cpu/matmul_words.h"

const struct jrl_product_kernel jrl_product_words_avx512 = WORDS_KERNEL;
