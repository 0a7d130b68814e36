/* attention_amx.c - attention forward on AMX tiles, for bf16 and head sizes that are multiples of 32. One tile
 * product is one block of the products' order. Many queries: q is the A operand, the sequence's keys are paired as
 * B once and used by all of them. Few queries, as in decoding: the keys are A as they lie in the page, q is B,
 * and the scores are transposed. V lies in the page as B of P V. */
#include "kernels/cpu/attention_amx.h"
#include "kernels/cpu/vmath_inline.h"

#define BLOCK JRL_PAGE_TOKENS
#define QUERIES JRL_ATTENTION_QUERIES

struct scratch {
    float *out;           /* [QUERIES, dim] */
    float *columns;       /* [2 * BLOCK, QUERIES]: scores of two blocks, positions first */
    jrl_bf16 *q;          /* [QUERIES, dim], or as B: [dim / 32] tiles of [16 pairs][QUERIES][2] */
    char *keys;           /* as B: [n_blocks][2 halves of a block][dim / 32] tiles of [16 pairs][16 positions][2] */
};

static struct scratch lay_out(const struct jrl_attention_call *c, uint8_t *memory)
{
    struct scratch s = { .out = (float *)memory };
    int64_t dim = c->p->head_dim;

    s.columns = s.out + QUERIES * dim;
    s.q = (jrl_bf16 *)(s.columns + 2 * BLOCK * QUERIES);
    s.keys = (char *)(s.q + QUERIES * dim);
    return s;
}

static int64_t forward_bytes(const struct jrl_attention_call *c)
{
    int64_t dim = c->p->head_dim;
    return QUERIES * (dim + 2 * BLOCK) * 4 + (QUERIES + c->max_positions) * dim * 2;
}

static void prepare(const struct jrl_attention_call *c, int64_t seq, int64_t kv_head, int64_t n_blocks, uint8_t *memory)
{
    struct scratch s = lay_out(c, memory);
    int64_t dim = c->p->head_dim, half_bytes = dim / 32 * TILE_BYTES;

    for (int64_t block = 0; block < n_blocks; block++) {
        const jrl_bf16 *k = (const jrl_bf16 *)jrl_page_k(c->p, seq, block, kv_head);
        jrl_pair_columns(s.keys + 2 * block * half_bytes, k, dim, dim);
        jrl_pair_columns(s.keys + (2 * block + 1) * half_bytes, k + 16 * dim, dim, dim);
    }
}

static void load_queries(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, const struct scratch *s)
{
    int64_t dim = c->p->head_dim;
    jrl_bf16 rows[QUERIES * JRL_ATTENTION_MAX_DIM] __attribute__((aligned(64)));
    jrl_bf16 *to = u->prepared ? s->q : rows;

    for (int64_t i = 0; i < QUERIES; i++) {
        const jrl_bf16 *from = (const jrl_bf16 *)c->q + (i < u->n ? jrl_query_at(c, u, i) : 0);
        /* The rows of the next queries lie apart: the processor does not fetch them by itself. */
        const char *next = (const char *)((const jrl_bf16 *)c->q + jrl_query_at(c, u, i + QUERIES));
        for (int64_t b = 0; b < 2 * dim; b += 64)
            _mm_prefetch(next + b, _MM_HINT_T0);
        for (int64_t d = 0; d < dim; d += 32)
            _mm512_store_si512(to + i * dim + d, i < u->n ? _mm512_loadu_si512(from + d) : _mm512_setzero_si512());
    }
    if (!u->prepared)
        jrl_pair_columns((char *)s->q, rows, dim, dim);
    jrl_memory_is_written();
}

/* [queries][positions] from prepared keys: two blocks at a time, four products in flight. */
static void score_prepared(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, const struct scratch *s, int64_t first,
                           int64_t end)
{
    int64_t stride = jrl_score_stride(c), dim = c->p->head_dim, tiles = dim / 32, half_bytes = tiles * TILE_BYTES;

    for (int64_t block = first; block < end; block += 2) {
        const char *keys = s->keys + 2 * block * half_bytes;
        /* Behind the last block, the one before is computed again into the score rows' reserve. */
        const char *next = block + 1 < u->n_blocks ? keys + 2 * half_bytes : keys;
        float *scores = u->scores + block * BLOCK;
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int64_t t = 0; t < tiles; t++) {
            _tile_loadd(4, s->q + 32 * t, dim * 2);
            _tile_loadd(5, keys + t * TILE_BYTES, 64);
            _tile_dpbf16ps(0, 4, 5);
            _tile_loadd(6, keys + half_bytes + t * TILE_BYTES, 64);
            _tile_dpbf16ps(1, 4, 6);
            _tile_loadd(7, next + t * TILE_BYTES, 64);
            _tile_dpbf16ps(2, 4, 7);
            _tile_loadd(5, next + half_bytes + t * TILE_BYTES, 64);
            _tile_dpbf16ps(3, 4, 5);
        }
        _tile_stored(0, scores, stride * 4);
        _tile_stored(1, scores + 16, stride * 4);
        _tile_stored(2, scores + 32, stride * 4);
        _tile_stored(3, scores + 48, stride * 4);
    }
    jrl_memory_is_written();
}

/* Eight lines of each of two blocks into the second cache. Blocks lie apart, so the processor finds none by itself; a few
 * lines at a time, between products, since more would fill the queue of misses and hold up the tiles. */
static inline void fetch_lines(const uint8_t *const block[2], int64_t step)
{
    for (int64_t line = step * 8; line < step * 8 + 8; line++) {
        _mm_prefetch((const char *)block[0] + line * 64, _MM_HINT_T1);
        _mm_prefetch((const char *)block[1] + line * 64, _MM_HINT_T1);
    }
}

/* Two blocks of keys as they lie: columns[position][query]. Meanwhile the two blocks at NEXT are fetched. */
static void score_two_pages(const struct jrl_attention_call *c, const struct scratch *s, const uint8_t *first, const uint8_t *second,
                            const uint8_t *const next[2])
{
    int64_t dim = c->p->head_dim, half_bytes = 16 * dim * 2;

    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t t = 0; t < dim / 32; t++) { /* four times eight of a block's dim lines */
        _tile_loadd(4, s->q + t * TILE_BYTES / 2, 64);
        _tile_loadd(5, first + 64 * t, dim * 2);
        _tile_dpbf16ps(0, 5, 4);
        fetch_lines(next, 4 * t);
        _tile_loadd(6, first + half_bytes + 64 * t, dim * 2);
        _tile_dpbf16ps(1, 6, 4);
        fetch_lines(next, 4 * t + 1);
        _tile_loadd(7, second + 64 * t, dim * 2);
        _tile_dpbf16ps(2, 7, 4);
        fetch_lines(next, 4 * t + 2);
        _tile_loadd(5, second + half_bytes + 64 * t, dim * 2);
        _tile_dpbf16ps(3, 5, 4);
        fetch_lines(next, 4 * t + 3);
    }
    _tile_stored(0, s->columns, 64);
    _tile_stored(1, s->columns + 16 * QUERIES, 64);
    _tile_stored(2, s->columns + 32 * QUERIES, 64);
    _tile_stored(3, s->columns + 48 * QUERIES, 64);
    jrl_memory_is_written();
}

static void score_pages(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, const struct scratch *s, int64_t first,
                        int64_t end)
{
    for (int64_t block = first; block < end; block += 2) {
        const uint8_t *keys = jrl_page_k(c->p, u->seq, block, u->kv_head), *next[2];
        const uint8_t *second = block + 1 < u->n_blocks ? jrl_page_k(c->p, u->seq, block + 1, u->kv_head) : keys;
        for (int64_t i = 0; i < 2; i++) /* behind the last keys the first values are wanted */
            next[i] = block + 2 + i < u->n_blocks ? jrl_page_k(c->p, u->seq, block + 2 + i, u->kv_head)
                                                  : jrl_page_v(c->p, u->seq, i < u->n_blocks ? i : 0, u->kv_head);
        score_two_pages(c, s, keys, second, next);
        for (int64_t part = 0; part < 4; part++) {
            __m512i rows[16];
            for (int i = 0; i < 16; i++)
                rows[i] = _mm512_load_si512(s->columns + (part * 16 + i) * QUERIES);
            jrl_transpose_dwords(rows);
            for (int64_t i = 0; i < u->n; i++)
                _mm512_storeu_si512(u->scores + i * jrl_score_stride(c) + block * BLOCK + part * 16, rows[i]);
        }
    }
}

static void score(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t first, int64_t end)
{
    const struct scratch s = lay_out(c, u->scratch);

    jrl_tiles_begin();
    load_queries(c, u, &s);
    (u->prepared ? score_prepared : score_pages)(c, u, &s, first, end);
    jrl_tiles_end();
}

/* exp(score * scale - max), zero for lanes at or behind position n */
static inline struct vec16 probability(const float *scores, int64_t t, int64_t n, struct vec16 scale, struct vec16 max)
{
    struct vec16 p = vec_exp(vec_sub(vec_mul(vec_load(scores + t), scale), max));
    return n - t < 16 ? vec_first(p, n - t) : p;
}

/* A row of scores over n positions -> P as bf16 over width positions, in its place; the sum of P, and the largest
 * scaled score. Writing stays behind reading, as P takes half the room. */
static float softmax_row(float *scores, int64_t n, int64_t width, float scale, float *max)
{
    struct vec16 largest = vec_set(-INFINITY), sum = vec_zero(), s = vec_set(scale);
    jrl_bf16 *p = (jrl_bf16 *)scores;

    for (int64_t t = 0; t < n; t += 16)
        largest = vec_max(n - t < 16 ? vec_fill(vec_load(scores + t), n - t, -INFINITY) : vec_load(scores + t), largest);
    *max = vec_largest(largest) * scale; /* rounding is monotonic: the largest of the scaled */
    for (int64_t t = 0; t < width; t += 32) {
        struct vec16 first = probability(scores, t, n, s, vec_set(*max)), second = probability(scores, t + 16, n, s, vec_set(*max));
        sum = vec_add(vec_add(sum, first), second);
        _mm512_storeu_si512(p + t, jrl_round_two(first, second));
    }
    return vec_sum(sum);
}

static void softmax(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t first, int64_t end)
{
    float max[QUERIES], sums[QUERIES] = { 0 }, logs[QUERIES];

    for (int64_t i = first; i < end; i++)
        u->sums[i] = sums[i] =
            softmax_row(u->scores + i * jrl_score_stride(c), jrl_query_positions(c, u, i), u->n_blocks * BLOCK, c->scale, &max[i]);
    if (!c->lse)
        return;
    for (int i = 0; i < QUERIES; i++) /* all, so that the compiler makes one vector of it */
        logs[i] = jrl_logf_inline(sums[i]);
    for (int64_t i = first; i < end; i++)
        c->lse[jrl_query_lse_at(c, u, i)] = max[i] + logs[i];
}

/* Behind columns FIRST to END of the values of BLOCK: those of the next but one (of fewer columns, of a later one: the same lines), or
 * the first keys that come next. */
static void fetch_after_value(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t block, int64_t first, int64_t end)
{
    const int64_t dim = c->p->head_dim, ahead = block + 2 * dim / (end - first);
    const uint8_t *next;

    if (ahead < u->n_blocks)
        next = jrl_page_v(c->p, u->seq, ahead, u->kv_head);
    else if (u->next_blocks)
        next = jrl_page_k(c->p, u->next_seq, ahead - u->n_blocks < u->next_blocks ? ahead - u->n_blocks : 0, u->next_kv_head);
    else
        return;
    for (int64_t pair = 0; pair < BLOCK / 2; pair++)
        for (int64_t d = first; d < end; d += 16)
            _mm_prefetch((const char *)next + (pair * dim + d) * 4, _MM_HINT_T1);
}

/* Columns FIRST to END of out = P V, four tiles of 16 outputs at a time. */
static void weigh_values(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, const struct scratch *s, int64_t first,
                         int64_t end)
{
    int64_t dim = c->p->head_dim;

    for (int64_t d = first; d < end; d += 64) {
        bool whole = end - d > 32;
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int64_t block = 0; block < u->n_blocks; block++) {
            const uint8_t *v = jrl_page_v(c->p, u->seq, block, u->kv_head) + 4 * d;
            if (d == first)
                fetch_after_value(c, u, block, first, end);
            _tile_loadd(4, (const char *)u->scores + block * 64, jrl_score_stride(c) * 4);
            _tile_loadd(5, v, dim * 4);
            _tile_dpbf16ps(0, 4, 5);
            _tile_loadd(6, v + 64, dim * 4);
            _tile_dpbf16ps(1, 4, 6);
            if (!whole)
                continue;
            _tile_loadd(7, v + 128, dim * 4);
            _tile_dpbf16ps(2, 4, 7);
            _tile_loadd(5, v + 192, dim * 4);
            _tile_dpbf16ps(3, 4, 5);
        }
        _tile_stored(0, s->out + d, dim * 4);
        _tile_stored(1, s->out + d + 16, dim * 4);
        if (whole) {
            _tile_stored(2, s->out + d + 32, dim * 4);
            _tile_stored(3, s->out + d + 48, dim * 4);
        }
    }
    jrl_memory_is_written();
}

static void weigh(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t first, int64_t end)
{
    const struct scratch s = lay_out(c, u->scratch);

    jrl_tiles_begin();
    weigh_values(c, u, &s, first, end);
    jrl_tiles_end();
    for (int64_t i = 0; i < u->n; i++) {
        jrl_bf16 *out = (jrl_bf16 *)c->out + jrl_query_at(c, u, i);
        const float *from = s.out + i * c->p->head_dim;
        struct vec16 sum = vec_set(u->sums[i]);
        for (int64_t d = first; d < end; d += 32)
            _mm512_storeu_si512(out + d, jrl_round_two(vec_div(vec_load(from + d), sum), vec_div(vec_load(from + d + 16), sum)));
    }
}

static void rope_row(const struct jrl_attention_call *c, int64_t seq, int64_t row)
{
    jrl_attention_avx512.rope_row(c, seq, row);
}

const struct jrl_attention_path jrl_attention_amx = {
    .rope_row = rope_row, .prepare = prepare, .score = score, .softmax = softmax, .weigh = weigh, .forward_bytes = forward_bytes,
    .backward_bytes = jrl_attention_backward_amx_bytes, .backward = jrl_attention_backward_amx,
};
