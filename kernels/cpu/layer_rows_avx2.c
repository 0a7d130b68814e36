/* layer_rows_avx2.c - the row loops of norm, swiglu and logprob on AVX2. */
#include "kernels/cpu/layer_rows_vec.h"

const struct jrl_layer_rows jrl_layer_rows_avx2 = JRL_LAYER_ROWS_TABLE;
