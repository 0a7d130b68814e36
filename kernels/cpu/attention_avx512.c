/* attention_avx512.c - attention on AVX-512. */
#include "kernels/cpu/attention_vec.h"

const struct jrl_attention_path jrl_attention_avx512 = JRL_ATTENTION_PATH;
