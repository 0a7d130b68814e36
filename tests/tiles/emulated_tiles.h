/* emulated_tiles.h - the tile instructions of AMX in AVX-512, so that the files of kernels/cpu that use them run on
 * processors without. Included before them by BUILD=tiles; the sources stay as they are.
 * Only what they use: bf16 products, all tiles whole (16 rows of 64 bytes). The arithmetic is what Intel's manual gives for
 * TDPBF16PS: for each output a chain of fused multiply-adds over the even and one over the odd elements of a row pair,
 * each from 0, then c += even + odd; round to nearest, denormals flushed. On a processor with AMX the tests run with both. */
#ifndef JRL_TESTS_EMULATED_TILES_H
#define JRL_TESTS_EMULATED_TILES_H

#include <immintrin.h>
#include <stdlib.h>

static _Thread_local struct { __m512i rows[16]; } jrl_tiles[8];
static _Thread_local int jrl_tiles_ready;

static inline void jrl_tile_config(const void *shape)
{
    const unsigned char *s = shape;

    for (int i = 0; i < 8; i++)
        if (s[0] != 1 || s[1] != 0 || s[16 + 2 * i] != 64 || s[17 + 2 * i] != 0 || s[48 + i] != 16)
            abort(); /* shapes that this file does not know */
    jrl_tiles_ready = 1;
}

static inline void jrl_tile_ready(void)
{
    if (!jrl_tiles_ready)
        abort(); /* the processor would raise an exception */
}

static inline void jrl_tile_zero(int t)
{
    jrl_tile_ready();
    for (int i = 0; i < 16; i++)
        jrl_tiles[t].rows[i] = _mm512_setzero_si512();
}

static inline void jrl_tile_load(int t, const void *from, long stride)
{
    jrl_tile_ready();
    for (int i = 0; i < 16; i++)
        jrl_tiles[t].rows[i] = _mm512_loadu_si512((const char *)from + i * stride);
}

static inline void jrl_tile_store(int t, void *to, long stride)
{
    jrl_tile_ready();
    for (int i = 0; i < 16; i++)
        _mm512_storeu_si512((char *)to + i * stride, jrl_tiles[t].rows[i]);
}

static inline __m512 jrl_even(__m512i pairs)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
}

static inline __m512 jrl_odd(__m512i pairs)
{
    return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32((int)0xffff0000u)));
}

static inline void jrl_tile_dpbf16ps(int c, int a, int b)
{
    const unsigned int before = _mm_getcsr();

    jrl_tile_ready();
    _mm_setcsr(0x1f80 | 0x8040); /* the tile unit looks at no control register */
    for (int m = 0; m < 16; m++) {
        union { __m512i row; int pairs[16]; } left = { jrl_tiles[a].rows[m] };
        __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();

        for (int k = 0; k < 16; k++) {
            const __m512i pair = _mm512_set1_epi32(left.pairs[k]), right = jrl_tiles[b].rows[k];

            even = _mm512_fmadd_ps(jrl_even(pair), jrl_even(right), even);
            odd = _mm512_fmadd_ps(jrl_odd(pair), jrl_odd(right), odd);
        }
        jrl_tiles[c].rows[m] = _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(jrl_tiles[c].rows[m]), _mm512_add_ps(even, odd)));
    }
    _mm_setcsr(before);
}

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_zero(t) jrl_tile_zero(t)
#define _tile_loadd(t, from, stride) jrl_tile_load(t, from, (long)(stride))
#define _tile_stored(t, to, stride) jrl_tile_store(t, to, (long)(stride))
#define _tile_dpbf16ps(c, a, b) jrl_tile_dpbf16ps(c, a, b)
#define _tile_loadconfig(shape) jrl_tile_config(shape)
#define _tile_release() ((void)(jrl_tiles_ready = 0))

#endif
