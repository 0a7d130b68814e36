/* attention_backward.c - the gradient of attention: the plain loops, which define the bits, and what surrounds them.
 * P is recomputed from lse, one block of 32 keys by 32 queries at a time. With D = rowsum(dO * O):
 *   P = exp(S - lse), dS = P * (dO V^T - D) * scale, dV += P^T dO, dK += dS^T Q, dQ += dS K,
 * every product in the products' order, P, dS and dO rounded to DTYPE as operands. dQ adds key blocks in
 * ascending order; dK and dV add, for each head of the group in ascending order, query blocks in ascending order. */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/cpu/attention_cpu.h"

#define BLOCK JRL_PAGE_TOKENS
#define WHOLE_SEQUENCE ((int64_t)1 << 40) /* rows of a tile */

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }

struct block_pair {
    float q[BLOCK][JRL_ATTENTION_MAX_DIM], dout[BLOCK][JRL_ATTENTION_MAX_DIM]; /* query rows, zero past the end */
    float k[JRL_ATTENTION_KEY_SET][BLOCK][JRL_ATTENTION_MAX_DIM], v[JRL_ATTENTION_KEY_SET][BLOCK][JRL_ATTENTION_MAX_DIM];
    float probs[BLOCK][BLOCK], dscores[BLOCK][BLOCK]; /* [query][key], rounded to DTYPE */
};

int64_t jrl_attention_backward_plain_bytes(const struct jrl_attention_call *c)
{
    (void)c;
    return sizeof(struct block_pair);
}

void jrl_attention_load_queries_plain(const struct jrl_attention_call *c, int64_t seq, int64_t block, int64_t head, uint8_t *scratch)
{
    struct block_pair *b = (struct block_pair *)scratch;
    const struct jrl_attention *p = c->p;
    int64_t n = p->seqs[seq].n_rows;

    for (int64_t j = 0; j < BLOCK; j++) {
        int64_t row = block * BLOCK + j, offset = (p->seqs[seq].first_row + row) * c->q_width + head * p->head_dim;
        for (int64_t i = 0; i < p->head_dim; i++) {
            b->q[j][i] = row < n ? jrl_load(c->q, p->dtype, offset + i) : 0.0f;
            b->dout[j][i] = row < n ? jrl_rounded(p->dtype, c->dout[offset + i]) : 0.0f;
        }
    }
}

void jrl_attention_load_keys_plain(const struct jrl_attention_call *c, int64_t seq, int64_t k_block, int64_t kv_head, uint8_t *scratch)
{
    struct block_pair *b = (struct block_pair *)scratch;
    const struct jrl_attention *p = c->p;
    const uint8_t *k = jrl_page_k(p, seq, k_block, kv_head), *v = jrl_page_v(p, seq, k_block, kv_head);

    for (int64_t t = 0; t < BLOCK; t++)
        for (int64_t i = 0; i < p->head_dim; i++) {
            b->k[k_block % JRL_ATTENTION_KEY_SET][t][i] = jrl_load(k, p->dtype, t * p->head_dim + i);
            b->v[k_block % JRL_ATTENTION_KEY_SET][t][i] = jrl_load(v, p->dtype, t / 2 * 2 * p->head_dim + 2 * i + t % 2);
        }
}

/* SUM plus the sum over n of x[i * x_step] * y[i * y_step] in the products' order. */
static float product(float sum, const float *x, int64_t x_step, const float *y, int64_t y_step, int64_t n)
{
    for (int64_t block = 0; block < n; block += 32) {
        float chain[2] = { 0.0f, 0.0f };
        for (int64_t i = block; i < min64(n, block + 32); i++)
            chain[i % 2] = fmaf(x[i * x_step], y[i * y_step], chain[i % 2]);
        sum += chain[0] + chain[1];
    }
    return sum;
}

static void probabilities(const struct jrl_attention_call *c, struct block_pair *b, int64_t seq, int64_t q_block,
                          int64_t k_block, int64_t head)
{
    const struct jrl_attention *p = c->p;
    const int64_t dim = p->head_dim, place = k_block % JRL_ATTENTION_KEY_SET;

    for (int64_t j = 0; j < BLOCK; j++) {
        int64_t row = q_block * BLOCK + j, at = (p->seqs[seq].first_row + row) * p->n_heads + head;
        for (int64_t t = 0; t < BLOCK; t++) {
            float prob = 0.0f, dscore = 0.0f;
            if (row < p->seqs[seq].n_rows && k_block * BLOCK + t <= row) {
                prob = jrl_expf(product(0.0f, b->q[j], 1, b->k[place][t], 1, dim) * c->scale - c->lse[at]);
                dscore = prob * (product(0.0f, b->dout[j], 1, b->v[place][t], 1, dim) - c->delta[at]) * c->scale;
            }
            b->probs[j][t] = jrl_rounded(p->dtype, prob);
            b->dscores[j][t] = jrl_rounded(p->dtype, dscore);
        }
    }
}

/* Adds the block pair's products into dq, dk and dv of the running dqkv. */
static void add_products(const struct jrl_attention_call *c, const struct block_pair *b, int64_t seq, int64_t q_block,
                         int64_t k_block, int64_t head)
{
    const struct jrl_attention *p = c->p;
    int64_t dim = p->head_dim, n = p->seqs[seq].n_rows, kv_head = head / c->group, width = JRL_ATTENTION_MAX_DIM;
    float *base = c->dqkv + p->seqs[seq].first_row * c->qkv_width;

    for (int64_t t = 0; t < min64(BLOCK, n - k_block * BLOCK); t++) {
        float *dk = base + (k_block * BLOCK + t) * c->qkv_width + (p->n_heads + kv_head) * dim, *dv = dk + p->n_kv_heads * dim;
        for (int64_t i = 0; i < dim; i++) {
            dk[i] = product(dk[i], &b->dscores[0][t], BLOCK, &b->q[0][i], width, BLOCK);
            dv[i] = product(dv[i], &b->probs[0][t], BLOCK, &b->dout[0][i], width, BLOCK);
        }
    }
    for (int64_t j = 0; j < min64(BLOCK, n - q_block * BLOCK); j++) {
        float *dq = base + (q_block * BLOCK + j) * c->qkv_width + head * dim;
        for (int64_t i = 0; i < dim; i++)
            dq[i] = product(dq[i], b->dscores[j], 1, &b->k[k_block % JRL_ATTENTION_KEY_SET][0][i], width, BLOCK);
    }
}

void jrl_attention_add_pair_plain(const struct jrl_attention_call *c, int64_t seq, int64_t q_block, int64_t k_block, int64_t head, uint8_t *scratch)
{
    struct block_pair *b = (struct block_pair *)scratch;

    probabilities(c, b, seq, q_block, k_block, head);
    add_products(c, b, seq, q_block, k_block, head);
}

float jrl_attention_row_delta_plain(const struct jrl_attention_call *c, int64_t seq, int64_t row, int64_t head)
{
    int64_t at = (c->p->seqs[seq].first_row + row) * c->q_width + head * c->p->head_dim;
    float lanes[JRL_LANES] = { 0 };

    for (int64_t i = 0; i < c->p->head_dim; i++)
        lanes[i % JRL_LANES] = fmaf(jrl_rounded(c->p->dtype, c->dout[at + i]), jrl_load(c->out, c->p->dtype, at + i), lanes[i % JRL_LANES]);
    return jrl_lanes_sum(lanes);
}

void jrl_attention_rotate_back_plain(const struct jrl_attention_call *c, int64_t seq, int64_t row, int64_t head)
{
    int64_t half = c->p->head_dim / 2;
    float *x = jrl_dqkv_at(c, seq, row, head);
    const float *cos_row = c->p->rope_cos + row * half, *sin_row = c->p->rope_sin + row * half;

    for (int64_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cos_row[i] + b * sin_row[i];
        x[i + half] = b * cos_row[i] - a * sin_row[i];
    }
}

/* How far the thread of one set of keys has come. A cache line each: one thread writes it while another looks. */
struct progress {
    _Atomic int64_t n_done; /* pairs of a head and a block of queries, those in front of the diagonal counted as well */
} __attribute__((aligned(64)));

/* One key-value head of a sequence. Threads take its sets of blocks of keys in ascending order, and dk and dv belong to whom has the
 * set. dq takes blocks of keys in ascending order, so each thread keeps behind the one that has the set before. A set is more than a
 * block since bringing in a block of queries takes a third of the time of a pair. */
struct head_task {
    int64_t seq, kv_head, n_sets; /* of keys, to be taken; 1 where the path does the whole */
    struct progress *progress;    /* [n_sets] */
    _Atomic int64_t n_taken, n_workers;
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct head_task) == JRL_ATTENTION_TASK_BYTES && sizeof(struct progress) == JRL_ATTENTION_TASK_BYTES, "counted as memory");

struct backward_job {
    const struct jrl_attention_call *c;
    struct head_task *tasks;
    int64_t n_tasks;
    _Atomic int64_t n_begun;
};

/* Returns when the thread of a set has done that many pairs; what it wrote is seen then. */
static void await(const struct progress *progress, int64_t n_done)
{
    for (int64_t turn = 0; atomic_load_explicit(&progress->n_done, memory_order_acquire) < n_done; turn++)
        jrl_pool_wait_turn(turn);
}

static int64_t blocks_of(const struct jrl_attention_call *c, int64_t seq)
{
    return (c->p->seqs[seq].n_rows + BLOCK - 1) / BLOCK;
}

/* Of keys; 1 where the path takes a head as a whole. */
static int64_t sets_of(const struct jrl_attention_call *c, int64_t seq)
{
    return c->path->backward ? 1 : (blocks_of(c, seq) + JRL_ATTENTION_KEY_SET - 1) / JRL_ATTENTION_KEY_SET;
}

static int64_t block_end(const struct jrl_attention_call *c, int64_t seq, int64_t block)
{
    return min64(c->p->seqs[seq].n_rows, (block + 1) * BLOCK);
}

/* The gradient of one head in one block of rows starts at zero. */
static void clear_block(const struct jrl_attention_call *c, int64_t seq, int64_t block, int64_t head)
{
    for (int64_t row = block * BLOCK; row < block_end(c, seq, block); row++)
        memset(jrl_dqkv_at(c, seq, row, head), 0, (size_t)c->p->head_dim * sizeof(float));
}

static void rotate_block(const struct jrl_attention_call *c, int64_t seq, int64_t block, int64_t head)
{
    for (int64_t row = block * BLOCK; row < block_end(c, seq, block); row++)
        c->path->rotate_back(c, seq, row, head);
}

static void begin_queries(const struct jrl_attention_call *c, int64_t seq, int64_t block, int64_t head)
{
    clear_block(c, seq, block, head);
    for (int64_t row = block * BLOCK; row < block_end(c, seq, block); row++)
        c->delta[(c->p->seqs[seq].first_row + row) * c->p->n_heads + head] = c->path->row_delta(c, seq, row, head);
}

/* The pairs of one block of queries with the blocks of keys from FIRST to END that it sees. */
static void do_queries(const struct jrl_attention_call *c, int64_t seq, int64_t q, int64_t head, int64_t first, int64_t end, uint8_t *scratch)
{
    c->path->load_queries(c, seq, q, head, scratch);
    for (int64_t k = first; k < end && k <= q; k++)
        c->path->add_pair(c, seq, q, k, head, scratch);
    if (q < end)
        rotate_block(c, seq, q, head);
}

/* A set of keys with all queries that see it. The first set finds a block of queries new, and that of its own rows is the last. */
static void do_keys(const struct jrl_attention_call *c, const struct head_task *t, int64_t set, uint8_t *scratch)
{
    const int64_t first_head = t->kv_head * c->group, k_head = c->p->n_heads + t->kv_head, v_head = k_head + c->p->n_kv_heads;
    const int64_t n_blocks = blocks_of(c, t->seq), first = set * JRL_ATTENTION_KEY_SET, end = min64(n_blocks, first + JRL_ATTENTION_KEY_SET);

    for (int64_t k = first; k < end; k++) {
        clear_block(c, t->seq, k, k_head);
        clear_block(c, t->seq, k, v_head);
        c->path->load_keys(c, t->seq, k, t->kv_head, scratch);
    }
    for (int64_t head = 0; head < c->group; head++)
        for (int64_t q = first; q < n_blocks; q++) {
            const int64_t n_done = head * n_blocks + q + 1;
            if (set == 0)
                begin_queries(c, t->seq, q, first_head + head);
            else
                await(&t->progress[set - 1], n_done);
            do_queries(c, t->seq, q, first_head + head, first, end, scratch);
            atomic_store_explicit(&t->progress[set].n_done, n_done, memory_order_release);
        }
    for (int64_t k = first; k < end; k++)
        rotate_block(c, t->seq, k, k_head);
}

static void work_on(const struct jrl_attention_call *c, struct head_task *t, uint8_t *scratch)
{
    atomic_fetch_add(&t->n_workers, 1);
    for (int64_t k; (k = atomic_fetch_add(&t->n_taken, 1)) < t->n_sets;)
        if (c->path->backward)
            c->path->backward(c, t->seq, t->kv_head, scratch);
        else
            do_keys(c, t, k, scratch);
    atomic_fetch_sub(&t->n_workers, 1);
}

/* The task with most sets left for each thread that works on it; NULL if none has any. */
static struct head_task *most_left(struct backward_job *job)
{
    struct head_task *most = NULL;
    int64_t left = 0, workers = 1;

    for (int64_t i = 0; i < job->n_tasks; i++) {
        const int64_t its_left = job->tasks[i].n_sets - job->tasks[i].n_taken, its_workers = job->tasks[i].n_workers + 1;
        if (its_left * workers > left * its_workers) {
            most = &job->tasks[i];
            left = its_left;
            workers = its_workers;
        }
    }
    return most;
}

/* A thread takes heads for itself while there are any, which leaves dq in its cache, and then helps others. */
static void backward_part(void *ctx, int64_t part, int thread)
{
    struct backward_job *job = ctx;
    uint8_t *scratch = job->c->scratch + thread * job->c->scratch_bytes;
    struct head_task *t;

    (void)part;
    for (int64_t i; (i = atomic_fetch_add(&job->n_begun, 1)) < job->n_tasks;)
        work_on(job->c, &job->tasks[i], scratch);
    while ((t = most_left(job)))
        work_on(job->c, t, scratch);
}

/* The longest first, so that no thread is left alone with it at the end. */
static int longer_first(const void *a, const void *b)
{
    int64_t x = ((const struct jrl_attention_tile *)a)->n, y = ((const struct jrl_attention_tile *)b)->n;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* *TASKS, the longest first, is one piece of memory, progress behind the tasks. */
static int make_tasks(struct backward_job *job, struct jrl_error *err)
{
    const struct jrl_attention_call *c = job->c;
    const int64_t n_kv_heads = c->p->n_kv_heads;
    struct progress *progress;
    int64_t n_sets = 0;
    void *memory = NULL;
    int rc;

    job->n_tasks = c->n_tiles * n_kv_heads;
    for (int64_t i = 0; i < c->n_tiles; i++)
        n_sets += sets_of(c, c->tiles[i].seq);
    if ((rc = jrl_try_alloc(&memory, (size_t)(job->n_tasks + n_sets * n_kv_heads), JRL_ATTENTION_TASK_BYTES, "attention tasks", err)) < 0)
        return rc;
    qsort(c->tiles, (size_t)c->n_tiles, sizeof *c->tiles, longer_first);
    job->tasks = memory;
    progress = (struct progress *)(job->tasks + job->n_tasks);
    for (int64_t i = 0; i < job->n_tasks; i++) {
        struct head_task *t = &job->tasks[i];
        t->seq = c->tiles[i / n_kv_heads].seq;
        t->kv_head = i % n_kv_heads;
        t->n_sets = sets_of(c, t->seq);
        t->progress = progress;
        progress += t->n_sets;
    }
    return JRL_OK;
}

static int check_rows(const struct jrl_attention *p, struct jrl_error *err)
{
    for (int64_t s = 0; s < p->n_seqs; s++)
        if (p->seqs[s].first_position != 0 || p->seqs[s].first_row % BLOCK != 0)
            return jrl_fail(err, JRL_ERR_RUN, "attention_backward: sequence %lld does not begin at position 0 and a row that "
                            "is a multiple of %d", (long long)s, BLOCK);
    return JRL_OK;
}

int jrl_cpu_attention_backward(struct jrl_device *dev, const struct jrl_attention *p, float *dqkv, const float *dout,
                           const void *q, const void *out, const float *lse, struct jrl_error *err)
{
    struct jrl_pool *pool = jrl_device_pool(dev);
    struct jrl_attention_call c;
    struct backward_job job = { .c = &c };
    void *scratch = NULL, *delta = NULL;
    int rc = jrl_attention_call_init(&c, p, "attention_backward", WHOLE_SEQUENCE, err);

    if (rc < 0 || (rc = check_rows(p, err)) < 0)
        goto out;
    c.q = q;
    c.out = (void *)(uintptr_t)out;
    c.lse = (float *)(uintptr_t)lse;
    c.dout = dout;
    c.dqkv = dqkv;
    c.path = jrl_attention_path_for(dev, p);
    c.scratch_bytes = (c.path->backward_bytes(&c) + 63) / 64 * 64;
    if ((rc = jrl_try_alloc(&delta, (size_t)p->n_rows, (size_t)p->n_heads * sizeof(float), "attention gradient", err)) < 0)
        goto out;
    c.delta = delta;
    if ((rc = jrl_device_scratch(&scratch, dev, JRL_SCRATCH_ATTENTION, (size_t)jrl_pool_size(pool), (size_t)c.scratch_bytes, err)) < 0)
        goto out;
    c.scratch = scratch;
    if ((rc = make_tasks(&job, err)) < 0)
        goto out;
    jrl_pool_run(pool, job.n_tasks ? jrl_pool_size(pool) : 0, backward_part, &job);
    rc = jrl_attention_zero_padding(p, dqkv, c.qkv_width * (int64_t)sizeof(float), err);
out:
    free(job.tasks);
    jrl_attention_call_release(&c);
    return rc;
}

struct bias {
    float *dbias;
    const float *x;
    int64_t rows, cols;
};

static void bias_part(void *ctx, int64_t part, int thread)
{
    const struct bias *p = ctx;

    (void)thread;
    for (int64_t r = 0; r < p->rows; r++)
        for (int64_t j = part * 64; j < min64(p->cols, part * 64 + 64); j++)
            p->dbias[j] += p->x[r * p->cols + j];
}

int jrl_cpu_bias_backward(struct jrl_device *dev, float *dbias, const float *x, int64_t rows, int64_t cols, struct jrl_error *err)
{
    struct bias p = { dbias, x, rows, cols };

    if (rows < 0 || cols < 0)
        return jrl_fail(err, JRL_ERR_RUN, "bias_backward: negative size %lld x %lld", (long long)rows, (long long)cols);
    jrl_pool_run(jrl_device_pool(dev), (cols + 63) / 64, bias_part, &p);
    return JRL_OK;
}
