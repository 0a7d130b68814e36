/* layer_rows_amx.c - the row loops of norm, swiglu and logprob on AVX-512 where bf16 has a rounding instruction, as every
 * processor with AMX has. */
#include "kernels/cpu/layer_rows_vec.h"

const struct jrl_layer_rows jrl_layer_rows_amx = JRL_LAYER_ROWS_TABLE;
