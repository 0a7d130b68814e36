/* attention_avx512bf16.c - attention for bf16 and heads of multiples of 32, by VDPBF16PS. */
#include "kernels/cpu/attention_words.h"

const struct jrl_attention_path jrl_attention_avx512bf16 = {
    .rope_row = rope_row, .prepare = prepare_words, .score = score_words, .softmax = softmax_words, .weigh = weigh_words,
    .forward_bytes = forward_bytes, .backward_bytes = backward_words_bytes, .row_delta = row_delta, .load_keys = load_keys_words,
    .load_queries = load_queries_words, .add_pair = add_pair_words, .rotate_back = rotate_back,
};
