/* attention_avx512bf16.c - attention for bf16 and heads of multiples of 32, by VDPBF16PS. */
#include "kernels/cpu/attention_words.h"

const struct jrl_attention_path jrl_attention_avx512bf16 = {
    rope_row, prepare_words, attend_words, forward_bytes, backward_words, backward_words_bytes,
};
