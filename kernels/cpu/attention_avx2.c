/* attention_avx2.c - attention on AVX2. */
#include "kernels/cpu/attention_vec.h"

const struct jrl_attention_path jrl_attention_avx2 = JRL_ATTENTION_PATH(prepare, attend);
