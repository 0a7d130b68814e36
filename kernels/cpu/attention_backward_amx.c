/* attention_backward_amx.c - the gradient of attention on AMX tiles, for bf16 and head sizes that are multiples
 * of 32; formulas and order are those of attention_backward.c. Scores are computed keys first, [key][query], so that
 * P^T and dS^T are A operands as they come and lse and D are vectors. dQ is kept transposed, dQ^T += K^T dS^T.
 * Pairs of blocks go in squares of KEY_BLOCKS by QUERY_BLOCKS, so that accumulator tiles stay loaded for several
 * products; the order in which any one output adds its blocks is ascending all the same. */
#include <string.h>

#include "kernels/cpu/attention_amx.h"

#define BLOCK JRL_PAGE_TOKENS
enum { KEY_BLOCKS = 4, QUERY_BLOCKS = 8 };
enum { PAIR_BYTES = BLOCK * BLOCK * 2 }; /* of one pair of blocks in bf16 */

/* Everything of one key-value head, and the part of one query head that is under way. Blocks have 32 rows. */
struct pass {
    const struct jrl_attention_call *c;
    int64_t seq, kv_head, head, n, n_blocks, dim;
    /* of the keys: V as rows, K^T as [dim][BLOCK] for each block, accumulators [n_blocks * BLOCK, dim] */
    jrl_bf16 *values, *keys_t;
    float *dk, *dv;
    /* of the query head: q and dout as operand B twice, in pairs of elements and in pairs of rows */
    char *q_elements, *dout_elements;     /* [n_blocks][2 halves][dim / 32] tiles */
    jrl_bf16 *q_rows, *dout_rows;         /* [n_blocks][16 pairs][dim][2] */
    float *lse, *delta;                   /* [n_blocks * BLOCK] */
    float *dq_t;                          /* [n_blocks][dim][BLOCK] */
    /* of a square: [KEY_BLOCKS][QUERY_BLOCKS] pieces of P^T and dS^T [key][query], and dS^T in pairs of keys */
    char *probs, *dscores, *dscore_pairs;
    float *scores, *dprobs;               /* [BLOCK keys][BLOCK queries] of one pair of blocks */
};

/* Hands out SIZE bytes of the scratch memory, or only counts them when there is none. */
static void *take(uint8_t *memory, int64_t *used, int64_t size)
{
    void *p = memory ? memory + *used : NULL;
    *used += (size + 63) / 64 * 64;
    return p;
}

static int64_t lay_out(struct pass *s, uint8_t *memory)
{
    int64_t rows = s->n_blocks * BLOCK, operand = rows * s->dim * 2, used = 0;

    s->values = take(memory, &used, operand);
    s->keys_t = take(memory, &used, operand);
    s->dk = take(memory, &used, 2 * operand);
    s->dv = take(memory, &used, 2 * operand);
    s->q_elements = take(memory, &used, operand);
    s->dout_elements = take(memory, &used, operand);
    s->q_rows = take(memory, &used, operand);
    s->dout_rows = take(memory, &used, operand);
    s->lse = take(memory, &used, rows * 4);
    s->delta = take(memory, &used, rows * 4);
    s->dq_t = take(memory, &used, 2 * operand);
    s->probs = take(memory, &used, KEY_BLOCKS * QUERY_BLOCKS * PAIR_BYTES);
    s->dscores = take(memory, &used, KEY_BLOCKS * QUERY_BLOCKS * PAIR_BYTES);
    s->dscore_pairs = take(memory, &used, KEY_BLOCKS * QUERY_BLOCKS * PAIR_BYTES);
    s->scores = take(memory, &used, 2 * PAIR_BYTES);
    s->dprobs = take(memory, &used, 2 * PAIR_BYTES);
    return used;
}

int64_t jrl_attention_backward_amx_bytes(const struct jrl_attention_call *c)
{
    struct pass s = { .n_blocks = c->max_positions / BLOCK, .dim = c->p->head_dim };
    return lay_out(&s, NULL);
}

/* Elements of two rows in turns: x0 y0 x1 y1 ... of elements 0..15, and of 16..31. */
static inline void interleave(__m512i *low, __m512i *high, __m512i x, __m512i y)
{
    const __m512i first = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37, 5, 36, 4,
                                           35, 3, 34, 2, 33, 1, 32, 0);
    *low = _mm512_permutex2var_epi16(x, first, y);
    *high = _mm512_permutex2var_epi16(x, _mm512_add_epi16(first, _mm512_set1_epi16(16)), y);
}

/* A block's rows [BLOCK, dim] in pairs of rows: [16][dim][2]. */
static void pair_rows(jrl_bf16 *pairs, const jrl_bf16 *x, int64_t dim)
{
    for (int64_t t = 0; t < BLOCK; t += 2)
        for (int64_t d = 0; d < dim; d += 32) {
            __m512i low, high;
            interleave(&low, &high, _mm512_loadu_si512(x + t * dim + d), _mm512_loadu_si512(x + (t + 1) * dim + d));
            _mm512_store_si512(pairs + t * dim + 2 * d, low);
            _mm512_store_si512(pairs + t * dim + 2 * d + 32, high);
        }
}

/* V's pairs as they lie in the page -> rows; K -> K^T. */
static void load_keys(const struct pass *s, int64_t block)
{
    const __m512i even = _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26, 24, 22, 20, 18,
                                          16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi16(even, _mm512_set1_epi16(1));
    const jrl_bf16 *k = (const jrl_bf16 *)jrl_page_k(s->c->p, s->seq, block, s->kv_head);
    const jrl_bf16 *v = (const jrl_bf16 *)jrl_page_v(s->c->p, s->seq, block, s->kv_head);
    jrl_bf16 pairs[BLOCK * JRL_ATTENTION_MAX_DIM] __attribute__((aligned(64)));
    jrl_bf16 *values = s->values + block * BLOCK * s->dim, *keys_t = s->keys_t + block * BLOCK * s->dim;

    for (int64_t t = 0; t < BLOCK; t += 2)
        for (int64_t d = 0; d < s->dim; d += 32) {
            __m512i low = _mm512_loadu_si512(v + t * s->dim + 2 * d), high = _mm512_loadu_si512(v + t * s->dim + 2 * d + 32);
            _mm512_store_si512(values + t * s->dim + d, _mm512_permutex2var_epi16(low, even, high));
            _mm512_store_si512(values + (t + 1) * s->dim + d, _mm512_permutex2var_epi16(low, odd, high));
        }
    pair_rows(pairs, k, s->dim);
    for (int64_t d = 0; d < s->dim; d += 16) {
        __m512i r[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            r[i] = _mm512_load_si512(pairs + 2 * (i * s->dim + d));
        jrl_transpose_dwords(r);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            _mm512_store_si512(keys_t + (d + i) * BLOCK, r[i]);
    }
}

/* The rows of a head lie apart by the width of all heads, which the processor's own prefetching does not follow. */
static inline void prefetch_row(const struct jrl_attention_call *c, int64_t at, int64_t dim)
{
    for (int64_t d = 0; d < dim; d += 16)
        _mm_prefetch((const char *)(c->dout + at + d), _MM_HINT_T0);
    for (int64_t d = 0; d < dim; d += 32) {
        _mm_prefetch((const char *)((const jrl_bf16 *)c->q + at + d), _MM_HINT_T0);
        _mm_prefetch((const char *)((const jrl_bf16 *)c->out + at + d), _MM_HINT_T0);
    }
}

/* A block of the query head, zero behind the sequence's end, where lse is inf so that P is zero as well. */
static void load_queries(const struct pass *s, int64_t block)
{
    const struct jrl_attention_call *c = s->c;
    int64_t dim = s->dim, at_block = block * BLOCK * dim;
    jrl_bf16 q[BLOCK * JRL_ATTENTION_MAX_DIM] __attribute__((aligned(64)));
    jrl_bf16 dout[BLOCK * JRL_ATTENTION_MAX_DIM] __attribute__((aligned(64)));

    for (int64_t j = 0; j < BLOCK; j++) {
        int64_t row = block * BLOCK + j, r = c->p->seqs[s->seq].first_row + row, at = r * c->q_width + s->head * dim;
        bool exists = row < s->n;
        if (row + BLOCK / 2 < s->n)
            prefetch_row(c, at + BLOCK / 2 * c->q_width, dim);
        s->lse[row] = exists ? c->lse[r * c->p->n_heads + s->head] : INFINITY;
        s->delta[row] = exists ? vec_sum(delta_lanes(c, at)) : 0.0f;
        for (int64_t d = 0; d < dim; d += 16) {
            __m256i from_q = exists ? _mm256_loadu_si256((const __m256i *)((const jrl_bf16 *)c->q + at + d)) : _mm256_setzero_si256();
            _mm256_store_si256((__m256i *)(q + j * dim + d), from_q);
            vec_store_bf16(dout + j * dim + d, exists ? vec_load(c->dout + at + d) : vec_zero());
        }
    }
    for (int64_t half = 0; half < 2; half++) {
        int64_t at = (2 * block + half) * (dim / 32) * TILE_BYTES;
        jrl_pair_columns(s->q_elements + at, q + half * 16 * dim, dim, dim);
        jrl_pair_columns(s->dout_elements + at, dout + half * 16 * dim, dim, dim);
    }
    pair_rows(s->q_rows + at_block, q, dim);
    pair_rows(s->dout_rows + at_block, dout, dim);
}

/* out [BLOCK keys][BLOCK queries] = rows (32 of dim) times a query operand in pairs of elements. */
static inline void multiply_pair(float *out, const jrl_bf16 *rows, const char *elements, int64_t dim)
{
    int64_t half = dim / 32 * TILE_BYTES;

    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t t = 0; t < dim / 32; t++) {
        _tile_loadd(4, rows + 32 * t, dim * 2);
        _tile_loadd(6, elements + t * TILE_BYTES, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, elements + half + t * TILE_BYTES, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, rows + 16 * dim + 32 * t, dim * 2);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, out, BLOCK * 4);
    _tile_stored(1, out + 16, BLOCK * 4);
    _tile_stored(2, out + 16 * BLOCK, BLOCK * 4);
    _tile_stored(3, out + 16 * BLOCK + 16, BLOCK * 4);
}

/* Queries 16 * half.. of the row of key T: P and dS, zero for queries in front of the key. */
static inline void gradient(struct vec16 *prob, struct vec16 *dscore, const struct pass *s, int64_t q_block, int64_t t, int half,
                            bool diagonal)
{
    int64_t at = t * BLOCK + 16 * half, query = q_block * BLOCK + 16 * half;
    struct vec16 scale = vec_set(s->c->scale);
    struct vec16 p = vec_exp(vec_sub(vec_mul(vec_load(s->scores + at), scale), vec_load(s->lse + query)));
    struct vec16 d = vec_mul(vec_mul(p, vec_sub(vec_load(s->dprobs + at), vec_load(s->delta + query))), scale);
    __mmask16 seen = (__mmask16)(diagonal ? 0xffffffffu << (t > 16 * half ? (t - 16 * half < 16 ? t - 16 * half : 16) : 0) : 0xffffu);
    *prob = vec_of(_mm512_maskz_mov_ps(seen, p.v));
    *dscore = vec_of(_mm512_maskz_mov_ps(seen, d.v));
}

static inline void fill_pair(const struct pass *s, int64_t q_block, int64_t piece, bool diagonal)
{
    jrl_bf16 *probs = (jrl_bf16 *)(s->probs + piece), *dscores = (jrl_bf16 *)(s->dscores + piece);
    jrl_bf16 *pairs = (jrl_bf16 *)(s->dscore_pairs + piece);

    for (int64_t t = 0; t < BLOCK; t += 2) {
        __m512i rows[2], low, high;
        for (int64_t i = 0; i < 2; i++) {
            struct vec16 p[2], d[2];
            gradient(&p[0], &d[0], s, q_block, t + i, 0, diagonal);
            gradient(&p[1], &d[1], s, q_block, t + i, 1, diagonal);
            rows[i] = jrl_round_two(d[0], d[1]);
            _mm512_store_si512(probs + (t + i) * BLOCK, jrl_round_two(p[0], p[1]));
            _mm512_store_si512(dscores + (t + i) * BLOCK, rows[i]);
        }
        interleave(&low, &high, rows[0], rows[1]);
        _mm512_store_si512(pairs + t * BLOCK, low);
        _mm512_store_si512(pairs + t * BLOCK + 32, high);
    }
}

/* A square: the blocks of keys first_k.. and of queries first_q.., up to and without the ends. */
struct square {
    int64_t first_k, end_k, first_q, end_q;
};

static inline int64_t piece_of(const struct square *sq, int64_t k_block, int64_t q_block)
{
    return ((k_block - sq->first_k) * QUERY_BLOCKS + q_block - sq->first_q) * PAIR_BYTES;
}
static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static void fill_square(const struct pass *s, const struct square *sq)
{
    int64_t block_bytes = s->dim / 32 * 2 * TILE_BYTES;

    for (int64_t k = sq->first_k; k < sq->end_k; k++) {
        const jrl_bf16 *keys = (const jrl_bf16 *)jrl_page_k(s->c->p, s->seq, k, s->kv_head);
        for (int64_t q = larger(k, sq->first_q); q < sq->end_q; q++) {
            multiply_pair(s->scores, keys, s->q_elements + q * block_bytes, s->dim);
            multiply_pair(s->dprobs, s->values + k * BLOCK * s->dim, s->dout_elements + q * block_bytes, s->dim);
            jrl_memory_is_written();
            if (k == q)
                fill_pair(s, q, piece_of(sq, k, q), true);
            else
                fill_pair(s, q, piece_of(sq, k, q), false);
            jrl_memory_is_written();
        }
    }
}

/* sums [32 keys, 32 of dim] += pieces^T of block K times query rows, over the square's query blocks in order. */
static inline void add_to_keys(const struct pass *s, const struct square *sq, float *sums, const char *pieces, const jrl_bf16 *rows,
                               int64_t k)
{
    for (int64_t d = 0; d < s->dim; d += 32) {
        float *to = sums + k * BLOCK * s->dim + d;
        _tile_loadd(0, to, s->dim * 4);
        _tile_loadd(1, to + 16, s->dim * 4);
        _tile_loadd(2, to + 16 * s->dim, s->dim * 4);
        _tile_loadd(3, to + 16 * s->dim + 16, s->dim * 4);
        for (int64_t q = larger(k, sq->first_q); q < sq->end_q; q++) {
            const char *a = pieces + piece_of(sq, k, q);
            const jrl_bf16 *b = rows + q * BLOCK * s->dim + 2 * d;
            _tile_loadd(4, a, BLOCK * 2);
            _tile_loadd(6, b, s->dim * 4);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, b + 32, s->dim * 4);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, a + TILE_BYTES, BLOCK * 2);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(0, to, s->dim * 4);
        _tile_stored(1, to + 16, s->dim * 4);
        _tile_stored(2, to + 16 * s->dim, s->dim * 4);
        _tile_stored(3, to + 16 * s->dim + 16, s->dim * 4);
    }
}

/* dq_t of block Q += K^T dS^T over the square's key blocks in order. */
static inline void add_to_queries(const struct pass *s, const struct square *sq, int64_t q)
{
    for (int64_t d = 0; d < s->dim; d += 32) {
        float *to = s->dq_t + (q * s->dim + d) * BLOCK;
        _tile_loadd(0, to, BLOCK * 4);
        _tile_loadd(1, to + 16, BLOCK * 4);
        _tile_loadd(2, to + 16 * BLOCK, BLOCK * 4);
        _tile_loadd(3, to + 16 * BLOCK + 16, BLOCK * 4);
        for (int64_t k = sq->first_k; k < smaller(sq->end_k, q + 1); k++) {
            const jrl_bf16 *a = s->keys_t + (k * s->dim + d) * BLOCK;
            const char *b = s->dscore_pairs + piece_of(sq, k, q);
            _tile_loadd(4, a, BLOCK * 2);
            _tile_loadd(6, b, BLOCK * 4);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, b + 64, BLOCK * 4);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, a + 16 * BLOCK, BLOCK * 2);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(0, to, BLOCK * 4);
        _tile_stored(1, to + 16, BLOCK * 4);
        _tile_stored(2, to + 16 * BLOCK, BLOCK * 4);
        _tile_stored(3, to + 16 * BLOCK + 16, BLOCK * 4);
    }
}

static void add_square(const struct pass *s, const struct square *sq)
{
    for (int64_t k = sq->first_k; k < sq->end_k; k++) {
        add_to_keys(s, sq, s->dv, s->probs, s->dout_rows, k);
        add_to_keys(s, sq, s->dk, s->dscores, s->q_rows, k);
    }
    for (int64_t q = sq->first_q; q < sq->end_q; q++)
        add_to_queries(s, sq, q);
}

static inline void store_rotated(const struct pass *s, const float *x, int64_t row, int64_t head)
{
    const struct jrl_attention *p = s->c->p;
    int64_t half = s->dim / 2;
    float *to = jrl_dqkv_at(s->c, s->seq, row, head);

    for (int64_t i = 0; i < half; i += 16) {
        struct vec16 a = vec_load(x + i), b = vec_load(x + half + i);
        struct vec16 cosine = vec_load(p->rope_cos + row * half + i), sine = vec_load(p->rope_sin + row * half + i);
        vec_store(to + i, vec_add(vec_mul(a, cosine), vec_mul(b, sine)));
        vec_store(to + half + i, vec_sub(vec_mul(b, cosine), vec_mul(a, sine)));
    }
}

/* dq_t of block Q -> rows of dqkv. */
static void store_queries(const struct pass *s, int64_t q)
{
    float rows[16 * JRL_ATTENTION_MAX_DIM] __attribute__((aligned(64)));

    for (int64_t j = 0; j < BLOCK; j += 16) {
        for (int64_t d = 0; d < s->dim; d += 16) {
            __m512i r[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                r[i] = _mm512_load_si512(s->dq_t + (q * s->dim + d + i) * BLOCK + j);
            jrl_transpose_dwords(r);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                _mm512_store_si512(rows + i * s->dim + d, r[i]);
        }
        for (int64_t i = 0; i < 16 && q * BLOCK + j + i < s->n; i++)
            store_rotated(s, rows + i * s->dim, q * BLOCK + j + i, s->head);
    }
}

static void store_keys(const struct pass *s)
{
    int64_t head = s->c->p->n_heads + s->kv_head;

    for (int64_t t = 0; t < s->n; t++) {
        float *dv = jrl_dqkv_at(s->c, s->seq, t, head + s->c->p->n_kv_heads);
        store_rotated(s, s->dk + t * s->dim, t, head);
        for (int64_t d = 0; d < s->dim; d += 16)
            vec_store(dv + d, vec_load(s->dv + t * s->dim + d));
    }
}

static void one_head(const struct pass *s)
{
    memset(s->dq_t, 0, (size_t)(s->n_blocks * BLOCK * s->dim) * sizeof(float));
    for (int64_t block = 0; block < s->n_blocks; block++)
        load_queries(s, block);
    jrl_memory_is_written();
    for (int64_t k = 0; k < s->n_blocks; k += KEY_BLOCKS)
        for (int64_t q = k; q < s->n_blocks; q += QUERY_BLOCKS) {
            struct square sq = { k, smaller(k + KEY_BLOCKS, s->n_blocks), q, smaller(q + QUERY_BLOCKS, s->n_blocks) };
            fill_square(s, &sq);
            add_square(s, &sq);
        }
    jrl_memory_is_written();
    for (int64_t block = 0; block < s->n_blocks; block++)
        store_queries(s, block);
}

void jrl_attention_backward_amx(const struct jrl_attention_call *c, int64_t seq, int64_t kv_head, uint8_t *memory)
{
    struct pass s = { .c = c, .seq = seq, .kv_head = kv_head, .n = c->p->seqs[seq].n_rows, .dim = c->p->head_dim };

    s.n_blocks = (s.n + BLOCK - 1) / BLOCK;
    lay_out(&s, memory);
    memset(s.dk, 0, (size_t)(s.n_blocks * BLOCK * s.dim) * sizeof(float));
    memset(s.dv, 0, (size_t)(s.n_blocks * BLOCK * s.dim) * sizeof(float));
    for (int64_t block = 0; block < s.n_blocks; block++)
        load_keys(&s, block);
    jrl_tiles_begin();
    for (s.head = kv_head * c->group; s.head < (kv_head + 1) * c->group; s.head++)
        one_head(&s);
    jrl_tiles_end();
    store_keys(&s);
}
