/* attention_avx512.c - attention on AVX-512. With few queries, as in decoding, bf16 pages are used as they lie: a tile of keys
 * is transposed in registers, and values lie in pairs of positions, which is what a product takes. */
#include "kernels/cpu/attention_vec.h"
#include "kernels/cpu/dwords_avx512.h"

#define FETCHED_AHEAD 2 /* blocks */

/* What a head reads, block by block: keys, then values, then the next head's keys; NULL behind those. */
static const char *block_read(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t i)
{
    if (i < u->n_blocks)
        return (const char *)jrl_page_k(c->p, u->seq, i, u->kv_head);
    if (i < 2 * u->n_blocks)
        return (const char *)jrl_page_v(c->p, u->seq, i - u->n_blocks, u->kv_head);
    if (i < 3 * u->n_blocks && u->kv_head + 1 < c->p->n_kv_heads)
        return (const char *)jrl_page_k(c->p, u->seq, i - 2 * u->n_blocks, u->kv_head + 1);
    return NULL;
}

/* LINES lines into the second cache. Blocks of one head lie apart, so the processor does not fetch them by itself. */
static inline void fetch_lines(const char *at, int64_t lines)
{
    for (int64_t line = 0; at && line < lines; line++)
        _mm_prefetch(at + line * 64, _MM_HINT_T1);
}

static __attribute__((noinline)) void score_tile(float *scores, int64_t stride, const float *q, int64_t dim, const char *keys, int64_t n)
{
    for (int64_t d = 0; d < dim; d += 32) {
        __m512i words[16];

        jrl_load_words(words, keys + 2 * d, 2 * dim);
        jrl_add_words(scores, stride, d == 0, q + d, dim, words, n);
    }
}

static void score_pages(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, const struct forward_scratch *s)
{
    const int64_t dim = c->p->head_dim;

    for (int64_t block = 0; block < u->n_blocks; block++) {
        const char *keys = block_read(c, u, block), *next = block_read(c, u, block + FETCHED_AHEAD);

        for (int64_t half = 0; half < 2; half++) {
            fetch_lines(next ? next + half * dim * 32 : NULL, dim / 2);
            score_tile(s->scores + block * BLOCK + half * 16, s->stride, s->q, dim, keys + half * dim * 32, u->n);
        }
    }
}

/* Sixteen columns of P V over one block. */
static __attribute__((noinline)) void weigh_tile(float *out, int64_t dim, bool from_zero, const float *probs, int64_t stride, const char *values,
                                                 int64_t n)
{
    __m512i words[16];

#pragma GCC unroll 16
    for (int64_t i = 0; i < 16; i++)
        words[i] = _mm512_loadu_si512(values + i * dim * 4);
    jrl_add_words(out, dim, from_zero, probs, stride, words, n);
}

static void weigh_pages(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, const struct forward_scratch *s)
{
    const int64_t dim = c->p->head_dim;

    for (int64_t block = 0; block < u->n_blocks; block++) {
        const char *values = block_read(c, u, u->n_blocks + block), *next = block_read(c, u, u->n_blocks + block + FETCHED_AHEAD);

        for (int64_t d = 0; d < dim; d += 16) {
            fetch_lines(next ? next + d * 64 : NULL, 16);
            weigh_tile(s->out + d, dim, block == 0, s->scores + block * BLOCK, s->stride, values + 4 * d, u->n);
        }
    }
}

static void attend_avx512(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, uint8_t *scratch)
{
    if (u->prepared || c->p->dtype != JRL_BF16 || c->p->head_dim % 32)
        attend(c, u, scratch);
    else
        attend_by(c, u, scratch, score_pages, weigh_pages);
}

const struct jrl_attention_path jrl_attention_avx512 = JRL_ATTENTION_PATH(attend_avx512);
