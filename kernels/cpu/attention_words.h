/* attention_words.h - attention for bf16 and heads of multiples of 32. Pages are multiplied as words (words.h): values lie as pairs,
 * and sixteen keys are transposed, for each use (decoding) or once for many (prepared). Written once: attention_avx2.c,
 * attention_avx512.c and attention_avx512bf16.c include this file. */
#ifndef JRL_KERNELS_CPU_ATTENTION_WORDS_H
#define JRL_KERNELS_CPU_ATTENTION_WORDS_H

#include "kernels/cpu/attention_backward_words.h"
#include "kernels/cpu/attention_vec.h"
#include "kernels/cpu/words.h"

#define FETCHED_AHEAD 2 /* blocks */

/* What a head reads, block by block: keys, then values, then the keys that come next; NULL behind those. */
static const char *block_read(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t i)
{
    if (i < u->n_blocks)
        return (const char *)jrl_page_k(c->p, u->seq, i, u->kv_head);
    if (i < 2 * u->n_blocks)
        return (const char *)jrl_page_v(c->p, u->seq, i - u->n_blocks, u->kv_head);
    if (i < 2 * u->n_blocks + u->next_blocks)
        return (const char *)jrl_page_k(c->p, u->next_seq, i - 2 * u->n_blocks, u->next_kv_head);
    return NULL;
}

/* Eight lines from *AT on (unless it is NULL), STEP bytes apart, into the second cache. Blocks of one head lie apart, so the processor
 * does not fetch them by itself; and it drops what it is asked for beyond some misses in flight, so few at a time. */
static inline __attribute__((always_inline)) void fetch_lines(const char **at, int64_t step)
{
    if (!*at)
        return;
    for (int64_t line = 0; line < 8; line++)
        _mm_prefetch(*at + line * step, _MM_HINT_T1);
    *at += 8 * step;
}

/* Prepared keys: [block][half][dim / 32] tiles of words, outputs are positions; values: [block][dim / 16], outputs are columns. */
static words_tile *prepared(float *memory, const struct jrl_attention_call *c, int64_t block)
{
    return (words_tile *)memory + block * c->p->head_dim / 16;
}

static void prepare_words(const struct jrl_attention_call *c, int64_t seq, int64_t kv_head, int64_t n_blocks, uint8_t *scratch)
{
    const struct forward_scratch s = lay_out(c, scratch);
    const int64_t dim = c->p->head_dim;

    for (int64_t block = 0; block < n_blocks; block++) {
        const char *values = (const char *)jrl_page_v(c->p, seq, block, kv_head);

        rows_of(prepared(s.keys, c, block), (const jrl_bf16 *)jrl_page_k(c->p, seq, block, kv_head), dim);
        for (int64_t d = 0; d < dim; d += 16) {
            words_tile words;
            words_load_pairs(words, values + 4 * d, 4 * dim); /* of positions */
            words_store(prepared(s.values, c, block)[d / 16], words);
        }
    }
}

/* N rows of STRIDE f32 that are bf16 in value, each 32 of their first WIDTH columns to a packed row in the same place. */
static void pack_in_place(float *rows, int64_t stride, int64_t width, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t at = 0; at < width; at += 32)
            words_pack_in_place(rows + i * stride + at);
}

static void score_prepared(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, const struct forward_scratch *s,
                           int64_t first, int64_t end)
{
    const int64_t dim = c->p->head_dim, stride = jrl_score_stride(c);

    for (int64_t block = first; block < end; block++)
        for (int64_t half = 0; half < 2; half++)
            for (int64_t d = 0; d < dim; d += 32)
                add_tile(u->scores + block * BLOCK + half * 16, stride, d == 0, (const words_packed *)s->q + d, dim,
                         prepared(s->keys, c, block)[(half * dim + d) / 32], u->n);
}

static void weigh_prepared(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, const struct forward_scratch *s,
                           int64_t first, int64_t end)
{
    const int64_t dim = c->p->head_dim, stride = jrl_score_stride(c);

    for (int64_t block = 0; block < u->n_blocks; block++)
        for (int64_t d = first; d < end; d += 16)
            add_tile(s->out + d, dim, block == 0, (const words_packed *)u->scores + block * BLOCK, stride, prepared(s->values, c, block)[d / 16], u->n);
}

/* Sixteen keys. As many bytes are fetched from *NEXT on. */
static __attribute__((noinline)) void score_tile(float *scores, int64_t stride, const float *q, int64_t dim, const char *keys, const char **next,
                                                 int64_t n)
{
    for (int64_t d = 0; d < dim; d += 32) {
        words_tile words;

        fetch_lines(next, 64);
        words_load(words, keys + 2 * d, 2 * dim);
        fetch_lines(next, 64);
        words_add(scores, stride, d == 0, (const words_packed *)q + d, dim, words, n);
    }
}

static void score_pages(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, const struct forward_scratch *s, int64_t first,
                        int64_t end)
{
    const int64_t dim = c->p->head_dim, stride = jrl_score_stride(c);

    for (int64_t block = first; block < end; block++) {
        const char *keys = block_read(c, u, block), *next = block_read(c, u, block + FETCHED_AHEAD);

        for (int64_t half = 0; half < 2; half++)
            score_tile(u->scores + block * BLOCK + half * 16, stride, s->q, dim, keys + half * dim * 32, &next, u->n);
    }
}

/* Sixteen columns of P V over one block. The same columns of another are fetched from NEXT on, unless it is NULL. */
static __attribute__((noinline)) void weigh_tile(float *out, int64_t dim, bool from_zero, const float *probs, int64_t stride, const char *values,
                                                 const char *next, int64_t n)
{
    words_tile words;

    fetch_lines(&next, 4 * dim);
    words_load_pairs(words, values, 4 * dim);
    words_add(out, dim, from_zero, (const words_packed *)probs, stride, words, n);
    fetch_lines(&next, 4 * dim);
}

/* Of fewer columns more blocks are fetched ahead: the same lines. */
static void weigh_pages(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, const struct forward_scratch *s, int64_t first,
                        int64_t end)
{
    const int64_t dim = c->p->head_dim, stride = jrl_score_stride(c), ahead = FETCHED_AHEAD * dim / (end - first);

    for (int64_t block = 0; block < u->n_blocks; block++) {
        const char *values = block_read(c, u, u->n_blocks + block), *next = block_read(c, u, u->n_blocks + block + ahead);

        for (int64_t d = first; d < end; d += 16)
            weigh_tile(s->out + d, dim, block == 0, u->scores + block * BLOCK, stride, values + 4 * d, next ? next + 4 * d : NULL, u->n);
    }
}

static void score_words(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t first, int64_t end)
{
    const struct forward_scratch s = lay_out(c, u->scratch);

    load_query_rows(c, u, &s);
    pack_in_place(s.q, c->p->head_dim, c->p->head_dim, u->n);
    (u->prepared ? score_prepared : score_pages)(c, u, &s, first, end);
}

static void softmax_words(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t first, int64_t end)
{
    softmax_rows(c, u, first, end);
    pack_in_place(u->scores + first * jrl_score_stride(c), jrl_score_stride(c), u->n_blocks * BLOCK, end - first);
}

static void weigh_words(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t first, int64_t end)
{
    const struct forward_scratch s = lay_out(c, u->scratch);

    (u->prepared ? weigh_prepared : weigh_pages)(c, u, &s, first, end);
    store_columns(c, u, s.out, first, end);
}

#endif
