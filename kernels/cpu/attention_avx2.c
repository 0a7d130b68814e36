/* attention_avx2.c - attention on AVX2: of f32, and of bf16 as words where heads allow. */
#include "kernels/cpu/attention_f32_vec.h"
#include "kernels/cpu/attention_words.h"

const struct jrl_attention_path jrl_attention_avx2 = {
    .rope_row = rope_row, .prepare = prepare, .score = score_blocks, .softmax = softmax_rows, .weigh = weigh_values,
    .forward_bytes = forward_bytes, .backward_bytes = backward_bytes, .row_delta = row_delta, .load_keys = load_keys,
    .load_queries = load_queries, .add_pair = add_pair, .rotate_back = rotate_back,
};

const struct jrl_attention_path jrl_attention_avx2words = {
    .rope_row = rope_row, .prepare = prepare_words, .score = score_words, .softmax = softmax_words, .weigh = weigh_words,
    .forward_bytes = forward_bytes, .backward_bytes = backward_words_bytes, .row_delta = row_delta, .load_keys = load_keys_words,
    .load_queries = load_queries_words, .add_pair = add_pair_words, .rotate_back = rotate_back,
};
