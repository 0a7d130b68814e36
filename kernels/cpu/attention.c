/* attention.c - causal grouped-query attention forward: the plain loops, which define the bits, the cut of the work
 * into parts, and the choice of the path. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/cpu/attention_cpu.h"

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static int check(const struct jrl_attention *p, const char *name, struct jrl_error *err)
{
    if (p->dtype != JRL_F32 && p->dtype != JRL_BF16)
        return jrl_fail(err, JRL_ERR_RUN, "%s: element type %d is not f32 or bf16", name, (int)p->dtype);
    if (p->head_dim < 2 || p->head_dim % 2 || p->head_dim > JRL_ATTENTION_MAX_DIM)
        return jrl_fail(err, JRL_ERR_RUN, "%s: head size %lld is not even and at most %d", name, (long long)p->head_dim,
                        JRL_ATTENTION_MAX_DIM);
    if (p->n_kv_heads < 1 || p->n_heads < 1 || p->n_heads % p->n_kv_heads)
        return jrl_fail(err, JRL_ERR_RUN, "%s: %lld heads cannot share %lld key-value heads", name, (long long)p->n_heads,
                        (long long)p->n_kv_heads);
    for (int64_t s = 0; s < p->n_seqs; s++) {
        const struct jrl_attention_rows *rows = &p->seqs[s];
        if (rows->n_rows < 0 || rows->first_row < 0 || rows->first_position < 0 || rows->first_row > p->n_rows - rows->n_rows)
            return jrl_fail(err, JRL_ERR_RUN, "%s: sequence %lld does not lie in %lld rows", name, (long long)s,
                            (long long)p->n_rows);
    }
    return JRL_OK;
}

/* Tiles end at multiples of TILE_ROWS in position. */
static int64_t tile_end(const struct jrl_attention_rows *rows, int64_t first, int64_t tile_rows)
{
    return min64(rows->n_rows, round_up(rows->first_position + first + 1, tile_rows) - rows->first_position);
}

static int make_tiles(struct jrl_attention_call *c, int64_t tile_rows, struct jrl_error *err)
{
    const struct jrl_attention *p = c->p;
    void *tiles = NULL;
    int64_t n = 0;
    int rc;

    for (int64_t s = 0; s < p->n_seqs; s++)
        n += p->seqs[s].n_rows / tile_rows + 2;
    if ((rc = jrl_try_alloc(&tiles, (size_t)n, sizeof *c->tiles, "attention tiles", err)) < 0)
        return rc;
    c->tiles = tiles;
    for (int64_t s = 0; s < p->n_seqs; s++) {
        const struct jrl_attention_rows *rows = &p->seqs[s];
        for (int64_t first = 0, end; first < rows->n_rows; first = end) {
            end = tile_end(rows, first, tile_rows);
            c->tiles[c->n_tiles++] = (struct jrl_attention_tile){ s, first, end - first };
        }
        if (rows->n_rows)
            c->max_positions = round_up(rows->first_position + rows->n_rows, JRL_PAGE_TOKENS) > c->max_positions
                                   ? round_up(rows->first_position + rows->n_rows, JRL_PAGE_TOKENS) : c->max_positions;
    }
    return JRL_OK;
}

int jrl_attention_call_init(struct jrl_attention_call *c, const struct jrl_attention *p, const char *name,
                            int64_t tile_rows, struct jrl_error *err)
{
    int rc = check(p, name, err);

    *c = (struct jrl_attention_call){ .p = p };
    if (rc < 0)
        return rc;
    c->group = p->n_heads / p->n_kv_heads;
    c->q_width = p->n_heads * p->head_dim;
    c->qkv_width = (p->n_heads + 2 * p->n_kv_heads) * p->head_dim;
    c->scale = 1.0f / sqrtf((float)p->head_dim);
    return make_tiles(c, tile_rows, err);
}

void jrl_attention_call_release(struct jrl_attention_call *c)
{
    free(c->tiles);
    free(c->delta);
    c->tiles = NULL;
    c->delta = NULL;
}

int jrl_attention_zero_padding(const struct jrl_attention *p, void *matrix, int64_t bytes_per_row, struct jrl_error *err)
{
    void *marks = NULL;
    uint8_t *used;
    int rc = jrl_try_alloc(&marks, (size_t)p->n_rows, 1, "attention rows", err);

    if (rc < 0)
        return rc;
    used = marks;
    for (int64_t s = 0; s < p->n_seqs; s++)
        if (p->seqs[s].n_rows)
            memset(used + p->seqs[s].first_row, 1, (size_t)p->seqs[s].n_rows);
    for (int64_t r = 0; r < p->n_rows; r++)
        if (!used[r])
            memset((uint8_t *)matrix + r * bytes_per_row, 0, (size_t)bytes_per_row);
    free(marks);
    return JRL_OK;
}

/* q . k in the products' order. */
static float score(const struct jrl_attention *p, const uint8_t *q, const uint8_t *k)
{
    float sum = 0.0f;

    for (int64_t block = 0; block < p->head_dim; block += 32) {
        float chain[2] = { 0.0f, 0.0f };
        for (int64_t i = block; i < min64(p->head_dim, block + 32); i++)
            chain[i % 2] = fmaf(jrl_load(q, p->dtype, i), jrl_load(k, p->dtype, i), chain[i % 2]);
        sum += chain[0] + chain[1];
    }
    return sum;
}

/* Output I of a head: P V over whole blocks of positions, P being zero behind the row's own position. */
static float weighted_value(const struct jrl_attention *p, int64_t seq, int64_t kv_head, const float *probs, int64_t n_blocks,
                            int64_t i)
{
    float sum = 0.0f;

    for (int64_t block = 0; block < n_blocks; block++) {
        const uint8_t *v = jrl_page_v(p, seq, block, kv_head);
        float chain[2] = { 0.0f, 0.0f };
        for (int64_t t = 0; t < 32; t++)
            chain[t % 2] = fmaf(probs[block * 32 + t], jrl_load(v, p->dtype, t / 2 * 2 * p->head_dim + 2 * i + t % 2), chain[t % 2]);
        sum += chain[0] + chain[1];
    }
    return sum;
}

/* One query: everything after the projections. */
static void attend_one(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t i, float *scores)
{
    const struct jrl_attention *p = c->p;
    int64_t n = jrl_query_positions(c, u, i), offset = jrl_query_at(c, u, i), bytes = jrl_dtype_bytes(p->dtype);
    float max = -INFINITY, lanes[JRL_LANES] = { 0 }, sum;

    for (int64_t t = 0; t < n; t++) {
        const uint8_t *k = jrl_page_k(p, u->seq, t / 32, u->kv_head) + t % 32 * p->head_dim * bytes;
        scores[t] = score(p, (const uint8_t *)c->q + offset * bytes, k) * c->scale;
        max = scores[t] > max ? scores[t] : max;
    }
    for (int64_t t = 0; t < u->n_blocks * 32; t++) {
        float e = t < n ? jrl_expf(scores[t] - max) : 0.0f;
        lanes[t % JRL_LANES] += e;
        scores[t] = jrl_rounded(p->dtype, e);
    }
    sum = jrl_lanes_sum(lanes);
    for (int64_t d = 0; d < p->head_dim; d++)
        jrl_store(c->out, p->dtype, offset + d, weighted_value(p, u->seq, u->kv_head, scores, u->n_blocks, d) / sum);
    if (c->lse)
        c->lse[jrl_query_lse_at(c, u, i)] = max + jrl_logf(sum);
}

static void attend_plain(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, uint8_t *scratch)
{
    for (int64_t i = 0; i < u->n; i++)
        attend_one(c, u, i, (float *)scratch);
}

static void prepare_plain(const struct jrl_attention_call *c, int64_t seq, int64_t kv_head, int64_t n_blocks, uint8_t *scratch)
{
    (void)c, (void)seq, (void)kv_head, (void)n_blocks, (void)scratch;
}

static int64_t forward_plain_bytes(const struct jrl_attention_call *c)
{
    return c->max_positions * (int64_t)sizeof(float);
}

const struct jrl_attention_path jrl_attention_plain = {
    .rope_row = jrl_rope_row_plain, .prepare = prepare_plain, .attend = attend_plain, .forward_bytes = forward_plain_bytes,
    .backward_bytes = jrl_attention_backward_plain_bytes, .row_delta = jrl_attention_row_delta_plain,
    .load_keys = jrl_attention_load_keys_plain, .load_queries = jrl_attention_load_queries_plain, .add_pair = jrl_attention_add_pair_plain,
    .rotate_back = jrl_attention_rotate_back_plain,
};

const struct jrl_attention_path *jrl_attention_path_for(const struct jrl_device *dev, const struct jrl_attention *p)
{
#if defined(__x86_64__)
    if (dev->isa >= JRL_ISA_AMX && p->dtype == JRL_BF16 && p->head_dim % 32 == 0)
        return &jrl_attention_amx;
    if (dev->isa == JRL_ISA_AVX512BF16 && p->dtype == JRL_BF16 && p->head_dim % 32 == 0)
        return &jrl_attention_avx512bf16;
    if (dev->isa >= JRL_ISA_AVX512 && p->head_dim % 16 == 0)
        return &jrl_attention_avx512;
    if (dev->isa == JRL_ISA_AVX2 && p->head_dim % 16 == 0)
        return &jrl_attention_avx2;
#endif
    (void)dev;
    (void)p;
    return &jrl_attention_plain;
}

int64_t jrl_cpu_attention_memory(const struct jrl_device *dev, const struct jrl_attention *p, int64_t n_positions, bool backward)
{
    const struct jrl_attention_path *path = jrl_attention_path_for(dev, p);
    const struct jrl_attention_call c = { .p = p, .path = path, .group = p->n_heads / p->n_kv_heads,
                                          .max_positions = (n_positions + JRL_PAGE_TOKENS - 1) / JRL_PAGE_TOKENS * JRL_PAGE_TOKENS };
    const int64_t there = path->forward_bytes(&c), back = backward ? path->backward_bytes(&c) : 0;
    const int64_t scratch = ((there > back ? there : back) + 63) / 64 * 64 * jrl_pool_size(dev->pool);

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

/* One key-value head of a tile, page by page of its rows: rows of one page share their blocks, so a block that
 * a row does not reach takes no part in it. */
static void forward_part(void *ctx, int64_t part, int thread)
{
    const struct jrl_attention_call *c = ctx;
    const struct jrl_attention_tile *tile = tile_of(c, part);
    int64_t first_position = c->p->seqs[tile->seq].first_position, end = tile->first + tile->n;
    uint8_t *scratch = c->scratch + thread * c->scratch_bytes;
    struct jrl_attention_queries u = { .seq = tile->seq, .kv_head = part % c->p->n_kv_heads };

    see_next(&u, c, part + 1);
    u.prepared = tile->n * c->group > JRL_ATTENTION_QUERIES;
    if (u.prepared)
        c->path->prepare(c, u.seq, u.kv_head, (first_position + end - 1) / JRL_PAGE_TOKENS + 1, scratch);
    for (int64_t row = tile->first, next; row < end; row = next) {
        next = min64(end, row + JRL_PAGE_TOKENS - (first_position + row) % JRL_PAGE_TOKENS);
        u.first_row = row;
        u.n_blocks = (first_position + row) / JRL_PAGE_TOKENS + 1;
        for (u.j = 0; u.j < (next - row) * c->group; u.j += u.n) {
            u.n = min64(JRL_ATTENTION_QUERIES, (next - row) * c->group - u.j);
            c->path->attend(c, &u, scratch);
        }
    }
}

int jrl_cpu_attention_forward(struct jrl_device *dev, const struct jrl_attention *p, void *out, float *lse, const void *q,
                          struct jrl_error *err)
{
    struct jrl_pool *pool = jrl_device_pool(dev);
    struct jrl_attention_call c;
    void *scratch = NULL;
    int rc = jrl_attention_call_init(&c, p, "attention_forward", JRL_ATTENTION_TILE_ROWS, err);

    if (rc < 0)
        return rc;
    c.q = q;
    c.out = out;
    c.lse = lse;
    c.path = jrl_attention_path_for(dev, p);
    c.scratch_bytes = (c.path->forward_bytes(&c) + 63) / 64 * 64;
    if ((rc = jrl_device_scratch(&scratch, dev, JRL_SCRATCH_ATTENTION, (size_t)jrl_pool_size(pool), (size_t)c.scratch_bytes, err)) < 0)
        goto out;
    c.scratch = scratch;
    jrl_pool_run(pool, c.n_tiles * p->n_kv_heads, forward_part, &c);
    if ((rc = jrl_attention_zero_padding(p, out, c.q_width * jrl_dtype_bytes(p->dtype), err)) < 0)
        goto out;
    if (lse)
        rc = jrl_attention_zero_padding(p, lse, p->n_heads * (int64_t)sizeof(float), err);
out:
    jrl_attention_call_release(&c);
    return rc;
}

/* Rows and page tables are used where they lie. */
int jrl_cpu_attention_bind(struct jrl_device *dev, struct jrl_attention *p, struct jrl_error *err)
{
    (void)dev, (void)err;
    p->bound = NULL;
    return JRL_OK;
}
