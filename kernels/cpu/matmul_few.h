/* matmul_few.h - products with few rows of A (decoding), bound by reading the weights once from where they lie: the job
 * that threads share, and what an instruction set adds to it. For files of kernels/cpu. */
#ifndef JRL_KERNELS_CPU_MATMUL_FEW_H
#define JRL_KERNELS_CPU_MATMUL_FEW_H

#include "kernels/cpu/few_weights.h"
#include "kernels/cpu/matmul_cpu.h"

struct few_kernel;

/* One job: a group of products, or gate and up of an MLP. */
struct few {
    struct few_weights now, then; /* then.n is 0 where nothing is known to follow */
    const struct few_kernel *kernel;
    const struct jrl_matmul *products; /* where the results go; or, for gate and up: */
    char *act;                         /* packed as the rows of the next product */
    const struct jrl_pool *pool;
    int64_t m, k, lda;
    const jrl_bf16 *a;     /* NULL: PACKED is given, for all threads */
    char *packed;          /* the rows of A, block by block of the contracted index; ends of rows filled up with zeros */
    int64_t packed_bytes;  /* of a thread, where each packs A for itself */
    uint8_t *is_packed;    /* by thread */
    int64_t blocks, block_bytes, tiles; /* tiles of 16 rows of A */
};

struct few_kernel {
    int64_t rows_a_step;                 /* rows of A that use a block of a strip before more is fetched ahead */
    int64_t weights_at_once;             /* rows of a weight that are used from end to end before the next; 0: tiles as a whole */
    int64_t (*block_bytes)(int64_t rows); /* of packed rows, for one block */
    void (*pack_rows)(const struct few *f, char *packed);
    /* STRIPS of the weights times all rows; AHEAD is fetched meanwhile. */
    void (*multiply)(const struct few *f, struct jrl_range strips, const char *packed, struct few_ahead *ahead);
};

/* Up to 8 and up to 32 rows. */
extern const struct few_kernel jrl_fewest_avx512bf16, jrl_fewer_avx512bf16;
extern const struct few_kernel jrl_fewest_avx2; /* up to three */
extern const struct few_kernel jrl_few_amx, jrl_few_avx512bf16, jrl_few_avx512, jrl_few_avx2;

#endif
