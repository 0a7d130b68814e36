/* matmul_avx512.c - products of f32, and of bf16 widened to f32, with AVX-512. */
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

static inline __attribute__((always_inline)) void lanes_from_rows(float *to, const struct jrl_product *p, enum jrl_dtype dtype,
                                                                  int64_t j, int64_t k)
{
    const char *rows = (const char *)p->b + (j * p->b_column + k) * jrl_dtype_bytes(dtype);
    const int64_t row_bytes = p->b_column * jrl_dtype_bytes(dtype);
    __m512i r[16];

    jrl_load_words(r, rows, row_bytes);
    if (dtype == JRL_BF16) {
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            STORE(to + 2 * i * 2 * LANES, jrl_even_half(r[i]));
            STORE(to + (2 * i + 1) * 2 * LANES, jrl_odd_half(r[i]));
        }
        return;
    }
    for (int half = 0; half < 2; half++, to += 16 * 2 * LANES) {
        if (half)
            jrl_load_words(r, rows + 64, row_bytes);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            _mm512_storeu_si512(to + i * 2 * LANES, r[i]);
    }
}

#include "kernels/cpu/matmul_vector.h"

const struct jrl_product_kernel jrl_product_avx512_f32 = PRODUCT_KERNEL(f32);
const struct jrl_product_kernel jrl_product_avx512_bf16 = PRODUCT_KERNEL(bf16);
