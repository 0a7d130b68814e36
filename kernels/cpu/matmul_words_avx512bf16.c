/* matmul_words_avx512bf16.c - large products of bf16 by VDPBF16PS. */
#include "kernels/cpu/matmul_words.h"

const struct jrl_product_kernel jrl_product_words_avx512bf16 = WORDS_KERNEL;
