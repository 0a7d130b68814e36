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
    const int64_t row_words = dtype == JRL_F32 ? 32 : 16;
    __m512i r[16];
    for (int64_t word = 0; word < row_words; word += 16) {
        for (int lane = 0; lane < 16; lane++) {
            const char *row = (const char *)p->b + ((j + lane) * p->b_column + k) * (dtype == JRL_F32 ? 4 : 2);
            r[lane] = _mm512_loadu_si512(row + word * 4);
        }
        jrl_transpose_dwords(r);
        for (int i = 0; i < 16; i++) {
            if (dtype == JRL_F32) {
                _mm512_storeu_si512(to + (word + i) * 2 * LANES, r[i]);
            } else { /* a word is a pair: the lower half is the even k */
                _mm512_storeu_si512(to + 2 * i * 2 * LANES, _mm512_slli_epi32(r[i], 16));
                _mm512_storeu_si512(to + (2 * i + 1) * 2 * LANES, _mm512_and_si512(r[i], _mm512_set1_epi32((int)0xffff0000)));
            }
        }
    }
}

#include "kernels/cpu/matmul_vector.h"

const struct jrl_product_kernel jrl_product_avx512_f32 = PRODUCT_KERNEL(f32);
const struct jrl_product_kernel jrl_product_avx512_bf16 = PRODUCT_KERNEL(bf16);
