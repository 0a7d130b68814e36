/* matmul_words_avx2.c - large products of bf16 with AVX2. */
#include "kernels/cpu/matmul_words.h"

const struct jrl_product_kernel jrl_product_words_avx2 = WORDS_KERNEL;
