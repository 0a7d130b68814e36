/* few_sums.h - the sums of one strip of the weights for the rows of a product with few, as [row of A][STRIP_ROWS], from where they begin and to where they
 * go. For files compiled for AVX2 or more. */
#ifndef JRL_KERNELS_CPU_FEW_SUMS_H
#define JRL_KERNELS_CPU_FEW_SUMS_H

#include "kernels/cpu/matmul_few.h"
#include "kernels/cpu/vec16.h"

#define STRIP_ROWS (2 * TILE_ROWS)

static inline bool few_accumulates(const struct few *f, const struct few_strip *s)
{
    return !f->act && f->products[s->matrix].accumulate;
}

/* What is there where a product accumulates, else zeros. */
static inline void few_load_sums(const struct few *f, const struct few_strip *s, float *sums)
{
    for (int64_t i = 0; i < f->m; i++)
        for (int half = 0; half < 2; half++) {
            const int64_t there = few_accumulates(f, s) ? s->rows[half] : 0;
            const struct jrl_matmul *p = there ? &f->products[s->matrix] : NULL;
            vec_store(sums + i * STRIP_ROWS + half * TILE_ROWS, vec_load_part(p ? p->c + i * p->ldc + s->row + half * TILE_ROWS : sums, there));
        }
}

static inline void few_store_sums(const struct few *f, const struct few_strip *s, const float *sums)
{
    const struct jrl_matmul *p = &f->products[s->matrix];

    for (int64_t i = 0; i < f->m; i++, sums += STRIP_ROWS)
        for (int half = 0; half < 2 && s->rows[half]; half++)
            vec_store_part(p->c + i * p->ldc + s->row + half * TILE_ROWS, vec_load(sums + half * TILE_ROWS), s->rows[half]);
}

#endif
