/* layer_rows_avx512bf16.c - the row loops of norm, swiglu and logprob on AVX-512 where the processor rounds to bf16 itself. */
#include "kernels/cpu/layer_rows_vec.h"

const struct jrl_layer_rows jrl_layer_rows_avx512bf16 = JRL_LAYER_ROWS_TABLE;
