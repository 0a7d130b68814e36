/* attention_cpu.h - what the CPU's attention files share: tiles of query rows, addresses inside pages, and
 * the functions each instruction set provides. Inside kernels/cpu only. */
#ifndef JRL_KERNELS_CPU_ATTENTION_CPU_H
#define JRL_KERNELS_CPU_ATTENTION_CPU_H

#include "kernels/attention.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/lanes.h"

struct jrl_attention_path;

#define JRL_ATTENTION_MAX_DIM 256
#define JRL_ATTENTION_TILE_ROWS 64 /* query rows of one part of the forward pass */
#define JRL_ATTENTION_TASK_BYTES 64 /* backward: what is noted of a key-value head, and of each of its sets of keys */
#define JRL_ATTENTION_KEY_SET 8 /* backward: blocks of keys that one block of queries, once loaded, meets */

/* Query rows first .. first + n - 1 of sequence SEQ. */
struct jrl_attention_tile {
    int64_t seq, first, n;
};

/* One call, with what follows from its parameters. */
struct jrl_attention_call {
    const struct jrl_attention *p;
    const struct jrl_attention_path *path;
    int64_t group;        /* query heads that share a key-value head */
    int64_t q_width;      /* n_heads * head_dim: row length of q and out */
    int64_t qkv_width;    /* (n_heads + 2 n_kv_heads) * head_dim */
    int64_t max_positions; /* of the longest sequence, rounded up to whole pages */
    float scale;          /* 1 / sqrt(head_dim) */
    struct jrl_attention_tile *tiles;
    int64_t n_tiles;
    const void *q;
    void *out;            /* forward: written; backward: read */
    float *lse;
    const float *dout;
    float *delta;         /* [n_rows, n_heads]: room for D, the sum over head_dim of dout * out */
    float *dqkv;
    const float *qkv;
    const void *bias;
    uint8_t *scratch;     /* one piece for each thread */
    int64_t scratch_bytes;
    float *shared;        /* where threads share heads, for each: rows of scores, and of probabilities */
};

/* Checks *P and fills *C; tiles of at most TILE_ROWS rows that do not cross a multiple of it in position.
 * Release with jrl_attention_call_release. */
int jrl_attention_call_init(struct jrl_attention_call *c, const struct jrl_attention *p, const char *name,
                            int64_t tile_rows, struct jrl_error *err) JRL_MUST_CHECK;
void jrl_attention_call_release(struct jrl_attention_call *c);
/* Zero rows of BYTES_PER_ROW in MATRIX that belong to no sequence. */
int jrl_attention_zero_padding(const struct jrl_attention *p, void *matrix, int64_t bytes_per_row,
                               struct jrl_error *err) JRL_MUST_CHECK;

/* K and V of one key-value head in the page of position 32 * BLOCK. */
static inline uint8_t *jrl_page_k(const struct jrl_attention *p, int64_t seq, int64_t block, int64_t kv_head)
{
    return p->seqs[seq].pages[block] + p->page_offset + kv_head * JRL_PAGE_TOKENS * p->head_dim * jrl_dtype_bytes(p->dtype);
}
static inline uint8_t *jrl_page_v(const struct jrl_attention *p, int64_t seq, int64_t block, int64_t kv_head)
{
    return jrl_page_k(p, seq, block, p->n_kv_heads + kv_head);
}

#define JRL_ATTENTION_QUERIES 16 /* query rows times heads that go through a sequence's positions together */

/* N query rows times heads of one key-value head, all in the page of block n_blocks - 1: query i is row
 * first_row + (j + i) / group, head (j + i) % group of the group. */
struct jrl_attention_queries {
    int64_t seq, kv_head, first_row, j, n, n_blocks;
    int64_t next_seq, next_kv_head, next_blocks; /* whose keys the thread reads behind these, to fetch the first; next_blocks 0: none */
    bool prepared;    /* the keys and values of these blocks lie in scratch */
    uint8_t *scratch; /* the thread's, aligned to 64 */
    float *scores;    /* [JRL_ATTENTION_QUERIES] rows: scores, and then in their place probabilities, in the form the path likes */
    float *sums;      /* [JRL_ATTENTION_QUERIES], of probabilities */
};
/* From row to row of scores: odd in cache lines, so that rows do not share cache sets; and a block more than there are. */
static inline int64_t jrl_score_stride(const struct jrl_attention_call *c)
{
    return c->max_positions + JRL_PAGE_TOKENS + 16;
}
static inline int64_t jrl_query_row(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t i)
{
    return u->first_row + (u->j + i) / c->group; /* of the sequence */
}
static inline int64_t jrl_query_head(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t i)
{
    return u->kv_head * c->group + (u->j + i) % c->group;
}
/* Where q and out of query I begin, in elements; and its place in lse. */
static inline int64_t jrl_query_at(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t i)
{
    int64_t r = c->p->seqs[u->seq].first_row + jrl_query_row(c, u, i);
    return r * c->q_width + jrl_query_head(c, u, i) * c->p->head_dim;
}
static inline int64_t jrl_query_lse_at(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t i)
{
    return jrl_query_at(c, u, i) / c->p->head_dim;
}
/* How many positions query I attends to. */
static inline int64_t jrl_query_positions(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t i)
{
    return c->p->seqs[u->seq].first_position + jrl_query_row(c, u, i) + 1;
}

/* Row ROW of sequence SEQ in dqkv, from the first column of HEAD: query heads, then key, then value heads. */
static inline float *jrl_dqkv_at(const struct jrl_attention_call *c, int64_t seq, int64_t row, int64_t head)
{
    return c->dqkv + (c->p->seqs[seq].first_row + row) * c->qkv_width + head * c->p->head_dim;
}

/* A stage of attention over FIRST to END. */
typedef void jrl_attention_stage(const struct jrl_attention_call *c, const struct jrl_attention_queries *u, int64_t first, int64_t end);

/* What an instruction set provides. SCRATCH is the thread's, aligned to 64. */
struct jrl_attention_path {
    /* Row ROW of sequence SEQ from qkv: bias, rotation, rounding; q to out, k and v into their page. */
    void (*rope_row)(const struct jrl_attention_call *c, int64_t seq, int64_t row);
    /* Brings the first n_blocks of keys and values into the form in which many queries use them. */
    void (*prepare)(const struct jrl_attention_call *c, int64_t seq, int64_t kv_head, int64_t n_blocks, uint8_t *scratch);
    jrl_attention_stage *score;   /* of blocks, FIRST being even: scores */
    jrl_attention_stage *softmax; /* of queries: from all their scores probabilities, sums and lse */
    jrl_attention_stage *weigh;   /* of columns, from a multiple of 32: their output */
    int64_t (*forward_bytes)(const struct jrl_attention_call *c); /* of scratch: rows of scores are not part of it */
    int64_t (*backward_bytes)(const struct jrl_attention_call *c);
    /* Backward, one key-value head of a whole sequence: its columns of dqkv and those of the heads that share it. Or NULL: then by
     * what follows, and several threads may share a key-value head. */
    void (*backward)(const struct jrl_attention_call *c, int64_t seq, int64_t kv_head, uint8_t *scratch);
    /* D of one row and head. */
    float (*row_delta)(const struct jrl_attention_call *c, int64_t seq, int64_t row, int64_t head);
    /* Brings a block of keys and values into scratch, in place k_block % JRL_ATTENTION_KEY_SET; a block of queries of HEAD. */
    void (*load_keys)(const struct jrl_attention_call *c, int64_t seq, int64_t k_block, int64_t kv_head, uint8_t *scratch);
    void (*load_queries)(const struct jrl_attention_call *c, int64_t seq, int64_t q_block, int64_t head, uint8_t *scratch);
    /* Adds to dq, dk and dv what both give. */
    void (*add_pair)(const struct jrl_attention_call *c, int64_t seq, int64_t q_block, int64_t k_block, int64_t head, uint8_t *scratch);
    /* The inverse rotation of one head of dqkv in one row. */
    void (*rotate_back)(const struct jrl_attention_call *c, int64_t seq, int64_t row, int64_t head);
};

extern const struct jrl_attention_path jrl_attention_plain, jrl_attention_avx2, jrl_attention_avx2words, jrl_attention_avx512,
    jrl_attention_avx512words, jrl_attention_avx512bf16, jrl_attention_amx;

/* The fastest that takes this call's type and head size. */
const struct jrl_attention_path *jrl_attention_path_for(const struct jrl_device *dev, const struct jrl_attention *p);
/* The most memory that attention takes (dtype, heads, head_dim and n_rows of P), with sequences of up to N_POSITIONS positions; BACKWARD: for both
 * directions. */
int64_t jrl_attention_bytes(const struct jrl_device *dev, const struct jrl_attention *p, int64_t n_positions, bool backward);

void jrl_rope_row_plain(const struct jrl_attention_call *c, int64_t seq, int64_t row);
int64_t jrl_attention_backward_plain_bytes(const struct jrl_attention_call *c);
float jrl_attention_row_delta_plain(const struct jrl_attention_call *c, int64_t seq, int64_t row, int64_t head);
void jrl_attention_load_keys_plain(const struct jrl_attention_call *c, int64_t seq, int64_t k_block, int64_t kv_head, uint8_t *scratch);
void jrl_attention_load_queries_plain(const struct jrl_attention_call *c, int64_t seq, int64_t q_block, int64_t head, uint8_t *scratch);
void jrl_attention_add_pair_plain(const struct jrl_attention_call *c, int64_t seq, int64_t q_block, int64_t k_block, int64_t head, uint8_t *scratch);
void jrl_attention_rotate_back_plain(const struct jrl_attention_call *c, int64_t seq, int64_t row, int64_t head);

#endif
