/* attention_amx.h - the AMX files' common packing. */
#ifndef JRL_KERNELS_CPU_ATTENTION_AMX_H
#define JRL_KERNELS_CPU_ATTENTION_AMX_H

#include "kernels/cpu/attention_rows_vec.h"
#include "kernels/cpu/dwords_avx512.h"
#include "kernels/cpu/tiles_amx.h"

/* Sixteen rows of DIM (a multiple of 32) bf16 as operand B, columns being the rows: [dim / 32] tiles of
 * [16 pairs of elements][16 rows][2]. */
static inline void jrl_pair_columns(char *tiles, const jrl_bf16 *x, int64_t ld, int64_t dim)
{
    for (int64_t d = 0; d < dim; d += 32) {
        __m512i r[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            r[i] = _mm512_loadu_si512(x + i * ld + d);
        jrl_transpose_dwords(r);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            _mm512_store_si512(tiles + d / 32 * TILE_BYTES + 64 * i, r[i]);
    }
}

/* 32 values to bf16, in order. The instruction flushes denormals, so it takes what arithmetic gave, which has none. */
static inline __m512i jrl_round_two(struct vec16 first, struct vec16 second)
{
    return (__m512i)_mm512_cvtne2ps_pbh(second.v, first.v);
}

int64_t jrl_attention_backward_amx_bytes(const struct jrl_attention_call *c);
void jrl_attention_backward_amx(const struct jrl_attention_call *c, int64_t seq, int64_t kv_head, uint8_t *memory);

#endif
