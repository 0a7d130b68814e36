/* layer_rows_avx512.c - the row loops of norm, swiglu and logprob on AVX-512. */
#include "kernels/cpu/layer_rows_vec.h"

const struct jrl_layer_rows jrl_layer_rows_avx512 = JRL_LAYER_ROWS_TABLE;
