/* attention_avx2.c - attention on AVX2. */
#include "kernels/cpu/attention_f32_vec.h"

const struct jrl_attention_path jrl_attention_avx2 = {
    .rope_row = rope_row, .prepare = prepare, .score = score_blocks, .softmax = softmax_rows, .weigh = weigh_values,
    .forward_bytes = forward_bytes, .backward_bytes = backward_bytes, .row_delta = row_delta, .load_keys = load_keys,
    .load_queries = load_queries, .add_pair = add_pair, .rotate_back = rotate_back,
};
