/* matmul_avx512.c - products of f32 with AVX-512; those of bf16 are in matmul_words_avx512.c. */
#include <immintrin.h>

#include "kernels/cpu/dwords_avx512.h"
#include "kernels/cpu/matmul_cpu.h"

#define LANES 16
#define ROWS 6 /* 24 chains, two vectors of B, and one spare for the compiler, of 32 registers */
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define BROADCAST(p) _mm512_set1_ps(*(p))
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, x) _mm512_storeu_ps(p, x)
#define ADD(a, b) _mm512_add_ps(a, b)
#define ZERO _mm512_setzero_ps()
typedef __m512 vector;

static inline __attribute__((always_inline)) void lanes_from_rows(float *to, const struct jrl_product *p, int64_t j, int64_t k)
{
    __m512i r[16];

    for (int64_t half = 0; half < 2; half++, to += 16 * 2 * LANES) {
        jrl_load_words(r, (const char *)((const float *)p->b + j * p->b_column + k + 16 * half), p->b_column * 4);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            _mm512_storeu_si512(to + i * 2 * LANES, r[i]);
    }
}

#include "kernels/cpu/matmul_vector.h"

const struct jrl_product_kernel jrl_product_avx512_f32 = PRODUCT_KERNEL;
