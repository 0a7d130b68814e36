/* memory.h - the memory that kernels take for themselves and keep from call to call, known before the first of them. */
#ifndef JRL_KERNELS_MEMORY_H
#define JRL_KERNELS_MEMORY_H

#include "kernels/device.h"

/* Of passes over a model, the most that any of them has. */
struct jrl_kernel_sizes {
    enum jrl_dtype dtype;
    int64_t dim, n_heads, n_kv_heads, head_dim, mlp_dim, vocab;
    int64_t n_rows, n_seqs, n_positions; /* positions: of a sequence, to the last of its rows; or most_positions (attention.h) */
    int64_t mlp_rows, head_rows;         /* rows at a time of jrl_mlp_forward, and of the head */
    bool whole;                          /* sequences are whole, in pages of their own, and jrl_logprob scores the head's rows; else their tokens are chosen */
    int64_t back_rows;                   /* rows at a time of jrl_gated_backward; 0: there is no way back */
    bool kept;                           /* where it finds gate and up as they were kept */
    int64_t n_weights;                   /* elements of the gradients behind it, for jrl_sum_squares */
};

/* The most memory that the device takes for them, besides what kernels are given. */
int64_t jrl_kernel_memory(const struct jrl_device *dev, const struct jrl_kernel_sizes *p);

#endif
