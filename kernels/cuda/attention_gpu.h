/* attention_gpu.h - rows and tiles of a pass as the attention kernels take them. For files of kernels/cuda only. */
#ifndef JRL_KERNELS_CUDA_ATTENTION_GPU_H
#define JRL_KERNELS_CUDA_ATTENTION_GPU_H

#include "kernels/cuda/gpu.h"

/* One row of the pack. pages is the sequence's table, NULL for rows of nobody; left: rows of the sequence from this one on. */
struct gpu_row {
    uint8_t *const *pages;
    int64_t position, left;
};

/* ROWS rows of bf16 as an operand of Hopper's matrix instructions wants them (wgmma.cuh): 64 columns of all rows, then the next 64; of a row's eight pieces of
 * 16 bytes piece p is at p ^ row % 8, so that neither these instructions nor ldmatrix meet a bank twice. Where element I of ROW is, in elements. */
template <int ROWS> static __device__ __forceinline__ int in_rows(int row, int i)
{
    return (i / 64 * ROWS + row) * 64 + ((i >> 3 ^ row) & 7) * 8 + i % 8;
}
/* Where it is among a head's keys, or its values, in a page of the device, SLOT being the position's place there: what a page has of an operand is one
 * piece of memory. f32, and heads that are no multiple of 64, lie row by row. */
template <class T> static __device__ __forceinline__ int in_page(int slot, int i, int dim)
{
    return sizeof(T) != sizeof(jrl_bf16) || dim % 64 ? slot * dim + i : in_rows<JRL_PAGE_TOKENS>(slot, i);
}

#define GPU_SPLIT_PAGES 8 /* positions are cut into parts of 256, whatever the batch; parts are joined in order */
#define GPU_HALF_PAGES 4  /* and the running maximum of a part follows with each half */
#define GPU_TILE_ROWS 16  /* query rows times heads of a warp */
#define GPU_WIDE_ROWS 128 /* and of a wide tile */

/* Queries of one sequence: query f, first <= f < end, is row f / group, head f % group of the key-value head; ROW and POSITION
 * are those of query 0. The tile takes pages FIRST_PAGE to END_PAGE, some of the sequence's N_PARTS parts. One of several tiles of a sequence (N_TILES) leaves
 * each part's result in a slot of its own, and that which ends last joins them all; SLOT is that of the sequence's first part. */
struct gpu_tile {
    uint8_t *const *pages;
    int64_t row, position, first, end, slot;
    int32_t first_page, end_page, n_parts, n_tiles;
    uint8_t *of_part[GPU_SPLIT_PAGES]; /* the pages of the first part again: no wait for the tile, then for its table */
};
/* 128 positions from FIRST of a sequence of N rows, whose first is ROW of the pack: the keys, or the queries, of a block backwards. */
#define GPU_BACK_ROWS 128
struct gpu_back_tile {
    uint8_t *const *pages;
    int64_t row, n, first;
};

/* What the tiles of a pass are, in the device's memory: a recorded launch finds those of the pass it runs for. */
struct gpu_lists {
    const struct gpu_tile *wide; /* the narrow ones: gpu_bound */
    int64_t n_wide, n_narrow;
};

/* The pass that was bound last: its lists in the device's memory (attention_bind.cu), and how much there is to launch for. */
struct gpu_bound {
    const struct gpu_lists *lists;
    const struct gpu_row *rows; /* [n_rows] */
    const struct gpu_tile *narrow; /* of one warp or for attention_parts.cu; at the same address in all passes of a class */
    unsigned *arrived; /* [n_rows, n_kv_heads]: tiles of the row's sequence that are done; 0 between kernels */
    int64_t n_wide, n_narrow, n_slots; /* to launch for: with most_positions upper bounds */
    int64_t n_rows, n_positions; /* of the longest sequence */
    const struct gpu_back_tile *keys_back, *queries_back; /* n_back each, those with most work first; of sequences from position 0 */
    int64_t n_back;
    int64_t group; /* heads that share a key-value head */
    bool padded; /* there are rows of nobody */
    bool blocks; /* each narrow tile is one part of the positions, which a block takes */
    /* the lists as they are sent, in the program's memory */
    char *image;
    size_t image_bytes;
};

/* The sizes of *P, and that it is what was bound last. */
int gpu_check_attention(struct jrl_device *dev, const struct jrl_attention *p, const char *name, struct jrl_error *err) JRL_MUST_CHECK;
/* bf16 with heads of 64 or 128, where tensor cores are not switched off. */
static inline bool gpu_attention_on_tensor(const struct jrl_device *dev, const struct jrl_attention *p)
{
    return p->dtype == JRL_BF16 && !gpu_of(dev)->exact && (p->head_dim == 64 || p->head_dim == 128);
}

/* ---- forward: jrl_attention_forward of the pass that is bound ---- */

struct gpu_attention_call {
    const struct gpu_row *rows;
    const struct gpu_tile *narrow; /* with the next two: on tensor cores, set by gpu_attention_tensor */
    unsigned *arrived;
    void *slots; /* of parts that several tiles work out (attention_join.cuh) */
    const void *q; /* [n_rows, n_heads, dim] */
    void *out;     /* likewise */
    float *lse;    /* [n_rows, n_heads], or NULL */
    int64_t n_rows, n_heads, n_kv_heads, dim, page_offset;
    float scale;
    bool clears; /* the kernels of tensor cores write the zeros of rows of nobody */
};
/* In the contract's order; and the bytes of scratch memory that it takes (attention_exact.cu). */
int gpu_attention_exact(struct jrl_device *dev, enum jrl_dtype dtype, const struct gpu_attention_call *c, struct jrl_error *err) JRL_MUST_CHECK;
int64_t gpu_attention_exact_bytes(const struct jrl_device *dev, int64_t n_rows, int64_t n_heads, int64_t n_positions);
/* Where gpu_attention_on_tensor: all tiles, by itself (attention_tensor.cu) or by the two below, which give a row the same bits. */
int gpu_attention_tensor(struct jrl_device *dev, const struct gpu_attention_call *c, struct jrl_error *err) JRL_MUST_CHECK;
/* The wide tiles, on a GPU that has wgmma; the narrow ones, where each is one part. */
int gpu_attention_wgmma(struct jrl_device *dev, const struct gpu_attention_call *c, struct jrl_error *err) JRL_MUST_CHECK;
int gpu_attention_parts(struct jrl_device *dev, const struct gpu_attention_call *c, struct jrl_error *err) JRL_MUST_CHECK;
/* Slots times key-value heads; tiles that need more are not cut. */
static inline int64_t gpu_most_slots(const struct jrl_device *dev) { return 128 * (int64_t)gpu_of(dev)->n_processors; }
static inline int64_t gpu_attention_slot_bytes(int64_t n, int64_t dim) { return n * GPU_TILE_ROWS * (dim + 4) * (int64_t)sizeof(float) + 16; }

/* ---- backward: jrl_attention_backward, likewise ---- */

struct gpu_backward_call {
    const struct gpu_row *rows;
    const void *q, *out;                             /* [n_rows, n_heads, dim] */
    const float *dout, *lse, *cos_table, *sin_table; /* likewise; [n_rows, n_heads]; [positions, dim / 2] */
    float *delta, *dqkv;                             /* D of a row and head, for attention_backward_exact.cu alone; [n_rows, n_heads + 2 n_kv_heads, dim] */
    int64_t n_rows, n_heads, n_kv_heads, dim, page_offset;
    float scale;
};
/* What attention_prepare leaves: dO as it enters products, and [2][heads][n_rows] lse in units of ln 2 and D times the scale. */
struct gpu_prepared {
    jrl_bf16 *dout;
    float *of_rows;
    int *turns; /* of attention_backward_wgmma.cu; zeros */
    float *dq;  /* likewise: [heads][n_rows][dim] */
    int64_t n_rows, n_turns; /* rows rounded up to whole pages */
};
enum { GPU_LSE, GPU_DELTA };
int gpu_attention_backward_exact(struct jrl_device *dev, enum jrl_dtype dtype, struct gpu_backward_call *c, struct jrl_error *err) JRL_MUST_CHECK;
/* Where gpu_attention_on_tensor: prepares, and has the rest done by its own two passes or, on a GPU that has wgmma, by the function below. */
int gpu_attention_backward_tensor(struct jrl_device *dev, const struct gpu_backward_call *c, struct jrl_error *err) JRL_MUST_CHECK;
int gpu_attention_backward_wgmma(struct jrl_device *dev, const struct gpu_backward_call *c, const struct gpu_prepared *p, struct jrl_error *err) JRL_MUST_CHECK;
/* Bytes of scratch memory that they take. */
int64_t gpu_attention_backward_exact_bytes(int64_t n_rows, int64_t n_heads);
int64_t gpu_attention_backward_tensor_bytes(const struct jrl_device *dev, int64_t n_rows, int64_t n_heads, int64_t dim);

#endif
