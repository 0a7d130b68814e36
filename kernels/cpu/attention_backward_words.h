/* attention_backward_words.h - the gradient of attention for bf16 and heads of multiples of 32, as words (words.h).
 * Formulas: attention_backward.c. P and dS are [key][query]: so they are rows of A for dK and dV as they are, and only dS is
 * transposed, for dQ. Written once: attention_words.h includes this file. */
#ifndef JRL_KERNELS_CPU_ATTENTION_BACKWARD_WORDS_H
#define JRL_KERNELS_CPU_ATTENTION_BACKWARD_WORDS_H

#include "kernels/cpu/attention_vec.h"
#include "kernels/cpu/words.h"

/* One block of queries and one of the set of keys. Packed rows are [row][32 elements a piece]. */
struct pair_scratch {
    words_packed *probs, *dscores, *dscores_t;  /* 32 rows of 32: by key, by key, by query */
    words_tile *queries, *douts;                /* outputs are queries; [half][dim / 32] tiles */
    words_tile *query_columns, *dout_columns;   /* [dim / 16] tiles: outputs are columns; elements, queries */
    jrl_bf16 *q, *dout;                         /* [32][dim], zero behind the sequence */
    jrl_bf16 *dscore_rows;                      /* [key][query] */
    float *scores, *dprobs;                     /* [key][query] */
    float *lse, *delta;                         /* of 32 queries */
    words_packed *keys, *values;                /* 32 rows of dim */
    words_tile *key_columns;                    /* outputs are columns; elements, keys */
};

struct part {
    void *place; /* of a pointer */
    int64_t bytes;
};

static int64_t lay_out_parts(const struct part *parts, int64_t n, uint8_t *memory)
{
    int64_t used = 0;

    for (int64_t i = 0; i < n; i++) {
        uint8_t *at = memory ? memory + used : NULL;
        memcpy(parts[i].place, &at, sizeof at);
        used += parts[i].bytes;
    }
    return used;
}

/* With the place of a block of keys; the bytes of the whole set. */
static int64_t lay_out_pair(struct pair_scratch *s, int64_t dim, int64_t k_block, uint8_t *memory)
{
    const int64_t rows = BLOCK * dim / 32 * WORDS_PACKED_ROW * 4, pieces = BLOCK * WORDS_PACKED_ROW * 4;
    const int64_t plain = BLOCK * dim * 2, words = dim / 16 * (int64_t)sizeof(words_tile);
    const struct part keys[] = { { &s->keys, rows }, { &s->values, rows }, { &s->key_columns, words } };
    const struct part parts[] = {
        { &s->probs, pieces }, { &s->dscores, pieces }, { &s->dscores_t, pieces }, { &s->queries, words }, { &s->douts, words },
        { &s->query_columns, words }, { &s->dout_columns, words }, { &s->q, plain }, { &s->dout, plain }, { &s->dscore_rows, BLOCK * BLOCK * 2 },
        { &s->scores, BLOCK * BLOCK * 4 }, { &s->dprobs, BLOCK * BLOCK * 4 }, { &s->lse, BLOCK * 4 }, { &s->delta, BLOCK * 4 },
    };
    const int64_t used = lay_out_parts(parts, sizeof parts / sizeof *parts, memory), of_keys = 2 * rows + words;

    (void)lay_out_parts(keys, 3, memory ? memory + used + k_block % JRL_ATTENTION_KEY_SET * of_keys : NULL);
    return used + JRL_ATTENTION_KEY_SET * of_keys;
}

static int64_t backward_words_bytes(const struct jrl_attention_call *c)
{
    struct pair_scratch s;
    return lay_out_pair(&s, c->p->head_dim, 0, NULL);
}

/* sums[r * ld] += the product of row r of A with one tile of words. */
static __attribute__((noinline)) void add_tile(float *sums, int64_t ld, bool from_zero, const words_packed *a, int64_t lda, const words_tile tile,
                                               int64_t rows)
{
    words_add_stored(sums, ld, from_zero, a, lda, tile, rows);
}

/* [32][dim] -> words whose outputs are the columns, and whose elements are the rows. */
static void columns_of(words_tile *tiles, const jrl_bf16 *x, int64_t dim)
{
    for (int64_t d = 0; d < dim; d += 16, tiles++) {
        words_tile words;
        words_load_across(words, (const char *)(x + d), 2 * dim);
        words_store(*tiles, words);
    }
}

/* [32][dim] -> words whose outputs are the rows. */
static void rows_of(words_tile *tiles, const jrl_bf16 *x, int64_t dim)
{
    for (int64_t half = 0; half < 2; half++)
        for (int64_t d = 0; d < dim; d += 32, tiles++) {
            words_tile words;
            words_load(words, (const char *)(x + half * 16 * dim + d), 2 * dim);
            words_store(*tiles, words);
        }
}

static void load_keys_words(const struct jrl_attention_call *c, int64_t seq, int64_t k_block, int64_t kv_head, uint8_t *scratch)
{
    const int64_t dim = c->p->head_dim, row = dim / 32 * WORDS_PACKED_ROW;
    const jrl_bf16 *k = (const jrl_bf16 *)jrl_page_k(c->p, seq, k_block, kv_head), *v = (const jrl_bf16 *)jrl_page_v(c->p, seq, k_block, kv_head);
    struct pair_scratch s;

    (void)lay_out_pair(&s, dim, k_block, scratch);
    columns_of(s.key_columns, k, dim);
    for (int64_t t = 0; t < BLOCK; t++)
        for (int64_t d = 0; d < dim; d += 32)
            words_pack_row(s.keys + t * row + d / 32 * WORDS_PACKED_ROW, k + t * dim + d);
    for (int64_t t = 0; t < BLOCK; t += 2) /* a page has values as pairs of positions */
        for (int64_t d = 0; d < dim; d += 32) {
            words_packed *to = s.values + t * row + d / 32 * WORDS_PACKED_ROW;
            words_pack_pairs(to, to + row, v + t * dim + 2 * d);
        }
}

static void load_queries_words(const struct jrl_attention_call *c, int64_t seq, int64_t block, int64_t head, uint8_t *scratch)
{
    const struct jrl_attention *p = c->p;
    const int64_t dim = p->head_dim, n = p->seqs[seq].n_rows - block * BLOCK;
    struct pair_scratch s;

    (void)lay_out_pair(&s, dim, 0, scratch);
    for (int64_t j = 0; j < BLOCK; j++) {
        const int64_t row = p->seqs[seq].first_row + block * BLOCK + j, at = row * c->q_width + head * dim;
        s.lse[j] = j < n ? c->lse[row * p->n_heads + head] : 0.0f;
        s.delta[j] = j < n ? c->delta[row * p->n_heads + head] : 0.0f;
        for (int64_t d = 0; d < dim; d += 32)
            words_copy_row((char *)(s.q + j * dim + d), (const char *)c->q + 2 * (at + d), j < n ? 32 : 0);
        for (int64_t d = 0; d < dim; d += 16)
            vec_store_bf16(s.dout + j * dim + d, j < n ? vec_load(c->dout + at + d) : vec_zero());
    }
    rows_of(s.queries, s.q, dim);
    rows_of(s.douts, s.dout, dim);
    columns_of(s.query_columns, s.q, dim);
    columns_of(s.dout_columns, s.dout, dim);
}

/* P and dS of a pair of blocks, of which the first N queries exist. */
static void gradients_of_scores(const struct jrl_attention_call *c, const struct pair_scratch *s, bool diagonal, int64_t n)
{
    const int64_t dim = c->p->head_dim, row = dim / 32 * WORDS_PACKED_ROW;
    const struct vec16 scale = vec_set(c->scale);

    for (int64_t half = 0; half < 2; half++)
        for (int64_t piece = 0; piece < dim / 32; piece++) {
            const int64_t tile = half * dim / 32 + piece;
            add_tile(s->scores + half * 16, BLOCK, piece == 0, s->keys + piece * WORDS_PACKED_ROW, row, s->queries[tile], BLOCK);
            add_tile(s->dprobs + half * 16, BLOCK, piece == 0, s->values + piece * WORDS_PACKED_ROW, row, s->douts[tile], BLOCK);
        }
    for (int64_t t = 0; t < BLOCK; t++)
        for (int64_t half = 0; half < 2; half++) {
            const int64_t at = t * BLOCK + half * 16, unseen = diagonal ? t - half * 16 : 0;
            const struct vec16 prob = vec_exp(vec_sub(vec_mul(vec_load(s->scores + at), scale), vec_load(s->lse + half * 16)));
            const struct vec16 dscore = vec_mul(vec_mul(prob, vec_sub(vec_load(s->dprobs + at), vec_load(s->delta + half * 16))), scale);
            const struct vec16 seen_dscore = vec_range(dscore, unseen, n - half * 16);
            words_pack_half(s->probs + t * WORDS_PACKED_ROW, half, vec_range(prob, unseen, n - half * 16));
            words_pack_half(s->dscores + t * WORDS_PACKED_ROW, half, seen_dscore);
            vec_store_bf16(s->dscore_rows + at, seen_dscore);
        }
    for (int64_t half = 0; half < 2; half++)
        words_pack_across(s->dscores_t + half * 16 * WORDS_PACKED_ROW, (const char *)(s->dscore_rows + half * 16), 2 * BLOCK);
}

static void add_products_words(const struct jrl_attention_call *c, const struct pair_scratch *s, int64_t seq, int64_t q_block, int64_t k_block, int64_t head)
{
    const struct jrl_attention *p = c->p;
    const int64_t dim = p->head_dim, width = c->qkv_width, n_keys = p->seqs[seq].n_rows - k_block * BLOCK, n_queries = p->seqs[seq].n_rows - q_block * BLOCK;
    float *dq = jrl_dqkv_at(c, seq, q_block * BLOCK, head), *dk = jrl_dqkv_at(c, seq, k_block * BLOCK, p->n_heads + head / c->group);

    for (int64_t d = 0; d < dim; d += 16) {
        add_tile(dk + d, width, false, s->dscores, WORDS_PACKED_ROW, s->query_columns[d / 16], n_keys < BLOCK ? n_keys : BLOCK);
        add_tile(dk + p->n_kv_heads * dim + d, width, false, s->probs, WORDS_PACKED_ROW, s->dout_columns[d / 16], n_keys < BLOCK ? n_keys : BLOCK);
        add_tile(dq + d, width, false, s->dscores_t, WORDS_PACKED_ROW, s->key_columns[d / 16], n_queries < BLOCK ? n_queries : BLOCK);
    }
}

static void add_pair_words(const struct jrl_attention_call *c, int64_t seq, int64_t q_block, int64_t k_block, int64_t head, uint8_t *scratch)
{
    struct pair_scratch s;

    (void)lay_out_pair(&s, c->p->head_dim, k_block, scratch);
    gradients_of_scores(c, &s, q_block == k_block, c->p->seqs[seq].n_rows - q_block * BLOCK);
    add_products_words(c, &s, seq, q_block, k_block, head);
}

#endif
