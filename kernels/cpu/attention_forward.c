/* attention_forward.c - attention forward: the cut of the work into parts, and its sharing where there are fewer heads than threads. */
#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels/cpu/attention_cpu.h"

#define SHARED_FROM 1024  /* positions: those of the longest sequence */
#define SHARED_BLOCKS 8   /* of keys: a piece of work; even */
#define SHARED_COLUMNS 32 /* of values, a piece too: two cache lines for a pair of positions */

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* Rows of scores, and their sums behind them. */
static int64_t row_floats(const struct jrl_attention_call *c)
{
    return JRL_ATTENTION_QUERIES * (jrl_score_stride(c) + 1);
}

/* Of one thread: rows, then what the path wants. */
static int64_t forward_bytes(const struct jrl_attention_call *c)
{
    return round_up(row_floats(c) * (int64_t)sizeof(float) + c->path->forward_bytes(c), 64);
}

/* What goes from stage to stage of a head that threads share: rows of scores, and of probabilities. */
static int64_t shared_bytes(const struct jrl_attention_call *c)
{
    return 2 * row_floats(c) * (int64_t)sizeof(float);
}

int64_t jrl_attention_bytes(const struct jrl_device *dev, const struct jrl_attention *p, int64_t n_positions, bool backward)
{
    const struct jrl_attention_path *path = jrl_attention_path_for(dev, p);
    const struct jrl_attention_call c = { .p = p, .path = path, .group = p->n_heads / p->n_kv_heads,
                                          .max_positions = (n_positions + JRL_PAGE_TOKENS - 1) / JRL_PAGE_TOKENS * JRL_PAGE_TOKENS };
    const int64_t shared = p->n_kv_heads < jrl_pool_size(dev->pool) ? shared_bytes(&c) : 0, there = forward_bytes(&c) + shared;
    const int64_t back = backward ? round_up(path->backward_bytes(&c), 64) : 0;
    const int64_t scratch = (there > back ? there : back) * jrl_pool_size(dev->pool);

    /* D; and for each set of keys, a block at least, its progress, for each sequence's, which has a block at least, a task. */
    const int64_t with_rows = p->n_rows * p->n_heads * (int64_t)sizeof(float) +
                              (p->n_rows + JRL_PAGE_TOKENS - 1) / JRL_PAGE_TOKENS * p->n_kv_heads * 2 * JRL_ATTENTION_TASK_BYTES;

    return scratch + (backward ? with_rows : 0);
}

/* Later tiles attend to more positions: the longest first leaves no thread waiting at the end. */
static const struct jrl_attention_tile *tile_of(const struct jrl_attention_call *c, int64_t part)
{
    return &c->tiles[c->n_tiles - 1 - part / c->p->n_kv_heads];
}

/* A thread takes the parts of its share in order, so what part comes after this one is known. */
static void see_next(struct jrl_attention_queries *u, const struct jrl_attention_call *c, int64_t part)
{
    if (part >= c->n_tiles * c->p->n_kv_heads)
        return;
    u->next_seq = tile_of(c, part)->seq;
    u->next_kv_head = part % c->p->n_kv_heads;
    u->next_blocks = (c->p->seqs[u->next_seq].first_position + tile_of(c, part)->first) / JRL_PAGE_TOKENS + 1;
}

static void use_rows(struct jrl_attention_queries *u, const struct jrl_attention_call *c, float *rows)
{
    u->scores = rows;
    u->sums = rows + JRL_ATTENTION_QUERIES * jrl_score_stride(c);
}

static void use_scratch(struct jrl_attention_queries *u, const struct jrl_attention_call *c, int thread)
{
    use_rows(u, c, (float *)(c->scratch + thread * c->scratch_bytes));
    u->scratch = (uint8_t *)(u->scores + row_floats(c));
}

/* One key-value head of a tile, page by page of its rows: rows of one page share their blocks, so a block that
 * a row does not reach takes no part in it. */
static void forward_part(void *ctx, int64_t part, int thread)
{
    const struct jrl_attention_call *c = ctx;
    const struct jrl_attention_tile *tile = tile_of(c, part);
    int64_t first_position = c->p->seqs[tile->seq].first_position, end = tile->first + tile->n;
    struct jrl_attention_queries u = { .seq = tile->seq, .kv_head = part % c->p->n_kv_heads };

    use_scratch(&u, c, thread);
    see_next(&u, c, part + 1);
    u.prepared = tile->n * c->group > JRL_ATTENTION_QUERIES;
    if (u.prepared)
        c->path->prepare(c, u.seq, u.kv_head, (first_position + end - 1) / JRL_PAGE_TOKENS + 1, u.scratch);
    for (int64_t row = tile->first, next; row < end; row = next) {
        next = min64(end, row + JRL_PAGE_TOKENS - (first_position + row) % JRL_PAGE_TOKENS);
        u.first_row = row;
        u.n_blocks = (first_position + row) / JRL_PAGE_TOKENS + 1;
        for (u.j = 0; u.j < (next - row) * c->group; u.j += u.n) {
            u.n = min64(JRL_ATTENTION_QUERIES, (next - row) * c->group - u.j);
            c->path->score(c, &u, 0, u.n_blocks);
            c->path->softmax(c, &u, 0, u.n);
            c->path->weigh(c, &u, 0, c->p->head_dim);
        }
    }
}

/* Decoding of few long sequences has fewer heads than threads. So these share each head: scores by blocks of keys, softmax by queries,
 * output by columns, a stage when the one before is done. No sum is cut, and bits are what they are without. */
static bool shares_heads(const struct jrl_attention_call *c, int n_threads)
{
    for (int64_t i = 0; i < c->n_tiles; i++)
        if (c->tiles[i].n > 1)
            return false;
    return c->n_tiles * c->p->n_kv_heads < n_threads && c->max_positions >= SHARED_FROM && c->group <= JRL_ATTENTION_QUERIES;
}

static float *shared_scores(const struct jrl_attention_call *c, int64_t head)
{
    return c->shared + head * 2 * row_floats(c);
}

static float *shared_probs(const struct jrl_attention_call *c, int64_t head)
{
    return shared_scores(c, head) + row_floats(c);
}

/* N floats of each row, whole lines. Lines that other cores have read are slow to write (28 ns each on a Zen 4, fetched ahead or not;
 * 3 past the caches), so each thread works in rows of its own and copies what others read. */
static void hand_over(float *to, const float *from, int64_t stride, int64_t n_rows, int64_t n)
{
#if defined(__x86_64__)
    for (int64_t i = 0; i < n_rows; i++)
        for (int64_t j = 0; j < n; j += 4)
            _mm_stream_ps(to + i * stride + j, _mm_load_ps(from + i * stride + j));
    _mm_sfence();
#else
    for (int64_t i = 0; i < n_rows; i++)
        memcpy(to + i * stride, from + i * stride, (size_t)n * sizeof *to);
#endif
}

/* The queries of a head, for THREAD to work on in scratch of its own. */
static struct jrl_attention_queries shared_queries(const struct jrl_attention_call *c, int64_t head, int thread)
{
    struct jrl_attention_queries u = { .seq = tile_of(c, head)->seq, .kv_head = head % c->p->n_kv_heads, .n = c->group };

    u.n_blocks = c->p->seqs[u.seq].first_position / JRL_PAGE_TOKENS + 1;
    use_scratch(&u, c, thread);
    return u;
}

/* Of the longest sequence; others have fewer. */
static int64_t score_pieces(const struct jrl_attention_call *c)
{
    return round_up(c->max_positions / JRL_PAGE_TOKENS, SHARED_BLOCKS) / SHARED_BLOCKS;
}

static void score_piece(void *ctx, int64_t part, int thread)
{
    const struct jrl_attention_call *c = ctx;
    const int64_t head = part / score_pieces(c), first = part % score_pieces(c) * SHARED_BLOCKS, at = first * JRL_PAGE_TOKENS;
    const struct jrl_attention_queries u = shared_queries(c, head, thread);
    const int64_t end = min64(first + SHARED_BLOCKS, u.n_blocks);

    if (first >= end)
        return;
    c->path->score(c, &u, first, end);
    hand_over(shared_scores(c, head) + at, u.scores + at, jrl_score_stride(c), u.n, (end - first) * JRL_PAGE_TOKENS);
}

static void softmax_piece(void *ctx, int64_t part, int thread)
{
    const struct jrl_attention_call *c = ctx;
    const int64_t head = part / c->group, i = part % c->group, at = i * jrl_score_stride(c);
    struct jrl_attention_queries u = shared_queries(c, head, thread), to = u;

    use_rows(&u, c, shared_scores(c, head));
    use_rows(&to, c, shared_probs(c, head));
    c->path->softmax(c, &u, i, i + 1);
    hand_over(to.scores + at, u.scores + at, 0, 1, u.n_blocks * JRL_PAGE_TOKENS);
    to.sums[i] = u.sums[i];
}

static int64_t weigh_pieces(const struct jrl_attention_call *c)
{
    return round_up(c->p->head_dim, SHARED_COLUMNS) / SHARED_COLUMNS;
}

static void weigh_piece(void *ctx, int64_t part, int thread)
{
    const struct jrl_attention_call *c = ctx;
    const int64_t head = part / weigh_pieces(c), first = part % weigh_pieces(c) * SHARED_COLUMNS;
    struct jrl_attention_queries u = shared_queries(c, head, thread);

    use_rows(&u, c, shared_probs(c, head));
    c->path->weigh(c, &u, first, min64(first + SHARED_COLUMNS, c->p->head_dim));
}

static void share_heads(struct jrl_attention_call *c, struct jrl_pool *pool)
{
    const int64_t n_heads = c->n_tiles * c->p->n_kv_heads;

    c->shared = (float *)(c->scratch + jrl_pool_size(pool) * c->scratch_bytes);
    jrl_pool_run(pool, n_heads * score_pieces(c), score_piece, c);
    jrl_pool_run(pool, n_heads * c->group, softmax_piece, c);
    jrl_pool_run(pool, n_heads * weigh_pieces(c), weigh_piece, c);
}

int jrl_cpu_attention_forward(struct jrl_device *dev, const struct jrl_attention *p, void *out, float *lse, const void *q,
                          struct jrl_error *err)
{
    struct jrl_pool *pool = jrl_device_pool(dev);
    struct jrl_attention_call c;
    void *scratch = NULL;
    bool shared;
    int rc = jrl_attention_call_init(&c, p, "attention_forward", JRL_ATTENTION_TILE_ROWS, err);

    if (rc < 0)
        return rc;
    c.q = q;
    c.out = out;
    c.lse = lse;
    c.path = jrl_attention_path_for(dev, p);
    shared = shares_heads(&c, jrl_pool_size(pool));
    c.scratch_bytes = forward_bytes(&c);
    if ((rc = jrl_device_scratch(&scratch, dev, JRL_SCRATCH_ATTENTION, (size_t)jrl_pool_size(pool),
                                 (size_t)(c.scratch_bytes + (shared ? shared_bytes(&c) : 0)), err)) < 0)
        goto out;
    c.scratch = scratch;
    if (shared)
        share_heads(&c, pool);
    else
        jrl_pool_run(pool, c.n_tiles * p->n_kv_heads, forward_part, &c);
    if ((rc = jrl_attention_zero_padding(p, out, c.q_width * jrl_dtype_bytes(p->dtype), err)) < 0)
        goto out;
    if (lse)
        rc = jrl_attention_zero_padding(p, lse, p->n_heads * (int64_t)sizeof(float), err);
out:
    jrl_attention_call_release(&c);
    return rc;
}
