/* attention.h - rotary embedding, KV pages, and causal grouped-query attention over them, forward and
 * backward. Sampler and trainer use the same pages and the same code, so a row's result depends on its
 * sequence alone: scores of all earlier positions; their maximum; p = exp(s - max) with l its sum in
 * position order by fixed lanes; p rounded to DTYPE; o = (P V) / l, contracted over positions in the
 * products' order, blocks counted from the sequence's first token. The whole order: jrl-numerics(7). */
#ifndef JRL_KERNELS_ATTENTION_H
#define JRL_KERNELS_ATTENTION_H

#include "kernels/device.h"

/* A page holds K and V of JRL_PAGE_TOKENS positions for one layer, zero where not yet written (jrl_qkv_rope clears
 * a page when it writes its first position):
 *   K: [kv_heads][JRL_PAGE_TOKENS][head_dim] of DTYPE, then
 *   V: [kv_heads][JRL_PAGE_TOKENS/2][head_dim][2] of DTYPE (positions in pairs: the operand of P V).
 * So it is on the CPU; a GPU has its elements in another order (cuda/attention_gpu.h).
 * jrl_page_bytes: its size for one layer. */
#define JRL_PAGE_TOKENS 32
int64_t jrl_page_bytes(enum jrl_dtype dtype, int64_t kv_heads, int64_t head_dim);

/* Rows of one sequence in a packed batch: rows first_row .. first_row+n_rows-1 hold positions
 * first_position, ... of the sequence. pages[i] + page_offset is the memory of positions 32 i .. 32 i + 31 of
 * this layer. */
struct jrl_attention_rows {
    int64_t first_row, n_rows, first_position;
    uint8_t *const *pages;
};

struct jrl_attention {
    enum jrl_dtype dtype;
    int64_t n_heads, n_kv_heads, head_dim; /* head_dim even, <= 256; n_heads a multiple of n_kv_heads */
    int64_t page_offset;                   /* bytes: layer * jrl_page_bytes() in a cache of all layers */
    int64_t n_rows;                        /* of the packed matrices below, padding rows included */
    int64_t n_seqs;
    const struct jrl_attention_rows *seqs;
    const float *rope_cos, *rope_sin;      /* [max_position, head_dim/2]; jrl_rope_table */
    int64_t most_positions;                /* not 0: every sequence has one row and fewer positions, and what the device is asked for depends
                                            * on this and n_rows alone, so that it can be recorded (device.h) */
    const void *bound;                     /* what jrl_attention_bind left */
};

/* Before the kernels below are called with *P: brings seqs and their page tables, which lie in the program's memory, to the
 * device. One call serves all layers of a pass; it holds until the next. */
int jrl_attention_bind(struct jrl_device *dev, struct jrl_attention *p, struct jrl_error *err) JRL_MUST_CHECK;

/* cos and sin of position * theta^(-2i/head_dim), i < head_dim/2, for positions 0..n_positions-1; both
 * [n_positions, head_dim/2]. Angle in f32 as Transformers computes it. */
void jrl_rope_table(float *cos_table, float *sin_table, int64_t n_positions, int64_t head_dim, double theta);

/* From the products' output: qkv f32 [n_rows, (n_heads + 2 n_kv_heads) * head_dim] (q heads, k heads, v
 * heads), bias of DTYPE of the same width or NULL: add the bias, rotate q and k (halves, as Llama and Qwen
 * store them), round; q to [n_rows, n_heads * head_dim] of DTYPE, k and v into the pages. Rows that belong to
 * no sequence give q = 0. */
int jrl_qkv_rope(struct jrl_device *dev, const struct jrl_attention *p, void *q, const float *qkv, const void *bias,
                 struct jrl_error *err) JRL_MUST_CHECK;

/* out: [n_rows, n_heads * head_dim] of DTYPE (0 for padding rows); scale 1/sqrt(head_dim). lse (natural log
 * of the sum of exp of the scaled scores, [n_rows, n_heads], f32) may be NULL. */
int jrl_attention_forward(struct jrl_device *dev, const struct jrl_attention *p, void *out, float *lse, const void *q,
                          struct jrl_error *err) JRL_MUST_CHECK;

/* For sequences whose rows begin at position 0 and a first_row that is a multiple of 32. dout f32 [n_rows,
 * n_heads*head_dim]; dqkv f32 [n_rows, (n_heads + 2 n_kv_heads)*head_dim] set to the gradient before rotation
 * and bias (rotated back), 0 for padding rows. q, out, lse as the forward gave them. Threads take whole sequences
 * by key-value head and share the last of these; but not on AMX, where few long sequences do not fill many threads. */
int jrl_attention_backward(struct jrl_device *dev, const struct jrl_attention *p, float *dqkv, const float *dout,
                           const void *q, const void *out, const float *lse, struct jrl_error *err) JRL_MUST_CHECK;

/* dbias[j] += sum over rows in order of x[r, j]: the gradient of a bias. x f32 [rows, cols]. */
int jrl_bias_backward(struct jrl_device *dev, float *dbias, const float *x, int64_t rows, int64_t cols, struct jrl_error *err) JRL_MUST_CHECK;

#endif
