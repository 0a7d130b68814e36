/* attention_avx2.c - attention on AVX2. */
#include "kernels/cpu/attention_f32_vec.h"

const struct jrl_attention_path jrl_attention_avx2 = { rope_row, prepare, attend, forward_bytes, backward, backward_bytes };
