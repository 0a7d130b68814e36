/* attention_rows_vec.h - row-wise parts of attention on sixteen lanes, for all files compiled for AVX2 or more. */
#ifndef JRL_KERNELS_CPU_ATTENTION_ROWS_VEC_H
#define JRL_KERNELS_CPU_ATTENTION_ROWS_VEC_H

#include "kernels/cpu/attention_cpu.h"
#include "kernels/cpu/vec16.h"

VEC_FN struct vec16 load_element(const void *x, enum jrl_dtype dtype, int64_t i)
{
    return dtype == JRL_F32 ? vec_load((const float *)x + i) : vec_load_bf16((const jrl_bf16 *)x + i);
}

VEC_FN struct vec16 rounded(struct vec16 a, enum jrl_dtype dtype)
{
    return dtype == JRL_F32 ? a : vec_through_bf16(a);
}

/* The lanes of D for the head that begins at element AT of dout and out; dout rounded as the products' operand. */
VEC_FN struct vec16 delta_lanes(const struct jrl_attention_call *c, int64_t at)
{
    struct vec16 lanes = vec_zero();

    for (int64_t d = 0; d < c->p->head_dim; d += 16)
        lanes = vec_fma(rounded(vec_load(c->dout + at + d), c->p->dtype), load_element(c->out, c->p->dtype, at + d), lanes);
    return lanes;
}

/* The inverse rotation of one head of a row. */
VEC_FN void rotate_row_back(float *x, const float *cos_row, const float *sin_row, int64_t half)
{
    for (int64_t i = 0; i < half; i += 16) {
        int64_t n = half - i < 16 ? half - i : 16;
        struct vec16 a = vec_load_part(x + i, n), b = vec_load_part(x + half + i, n);
        struct vec16 cosine = vec_load_part(cos_row + i, n), sine = vec_load_part(sin_row + i, n);
        vec_store_part(x + i, vec_add(vec_mul(a, cosine), vec_mul(b, sine)), n);
        vec_store_part(x + half + i, vec_sub(vec_mul(b, cosine), vec_mul(a, sine)), n);
    }
}

#endif
