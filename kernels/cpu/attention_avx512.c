/* attention_avx512.c - attention on AVX-512, by FMA: of bf16 as words where heads allow, else of f32. */
#include "kernels/cpu/attention_f32_vec.h"
#include "kernels/cpu/attention_words.h"

static bool takes_words(const struct jrl_attention_call *c)
{
    return c->p->dtype == JRL_BF16 && c->p->head_dim % 32 == 0;
}

static void prepare_avx512(const struct jrl_attention_call *c, int64_t seq, int64_t kv_head, int64_t n_blocks, uint8_t *scratch)
{
    (takes_words(c) ? prepare_words : prepare)(c, seq, kv_head, n_blocks, scratch);
}

static void attend_avx512(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, uint8_t *scratch)
{
    (takes_words(c) ? attend_words : attend)(c, u, scratch);
}

static void load_keys_avx512(const struct jrl_attention_call *c, int64_t seq, int64_t k_block, int64_t kv_head, uint8_t *scratch)
{
    (takes_words(c) ? load_keys_words : load_keys)(c, seq, k_block, kv_head, scratch);
}

static void load_queries_avx512(const struct jrl_attention_call *c, int64_t seq, int64_t q_block, int64_t head, uint8_t *scratch)
{
    (takes_words(c) ? load_queries_words : load_queries)(c, seq, q_block, head, scratch);
}

static void add_pair_avx512(const struct jrl_attention_call *c, int64_t seq, int64_t q_block, int64_t k_block, int64_t head, uint8_t *scratch)
{
    (takes_words(c) ? add_pair_words : add_pair)(c, seq, q_block, k_block, head, scratch);
}

static int64_t backward_avx512_bytes(const struct jrl_attention_call *c)
{
    return (takes_words(c) ? backward_words_bytes : backward_bytes)(c);
}

const struct jrl_attention_path jrl_attention_avx512 = {
    .rope_row = rope_row, .prepare = prepare_avx512, .attend = attend_avx512, .forward_bytes = forward_bytes,
    .backward_bytes = backward_avx512_bytes, .row_delta = row_delta, .load_keys = load_keys_avx512, .load_queries = load_queries_avx512,
    .add_pair = add_pair_avx512, .rotate_back = rotate_back,
};
