/* matmul_avx2.c - products of f32 with AVX2; those of bf16 are in matmul_words_avx2.c. */
#include <immintrin.h>

#include "kernels/cpu/matmul_cpu.h"

#define LANES 8
#define ROWS 3 /* 12 chains, two vectors of B and one broadcast, of 16 registers */
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define BROADCAST(p) _mm256_set1_ps(*(p))
#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, x) _mm256_storeu_ps(p, x)
#define ADD(a, b) _mm256_add_ps(a, b)
#define ZERO _mm256_setzero_ps()
typedef __m256 vector;

static inline __attribute__((always_inline)) void transpose(__m256i r[8])
{
    __m256i t[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++)
        r[i] = t[i];
}

static inline __attribute__((always_inline)) void lanes_from_rows(float *to, const struct jrl_product *p, int64_t j, int64_t k)
{
    __m256i r[8];
    for (int64_t word = 0; word < 32; word += 8) {
        for (int lane = 0; lane < 8; lane++)
            r[lane] = _mm256_loadu_si256((const __m256i *)((const float *)p->b + (j + lane) * p->b_column + k + word));
        transpose(r);
        for (int64_t i = 0; i < 8; i++)
            _mm256_storeu_si256((__m256i *)(to + (word + i) * 2 * LANES), r[i]);
    }
}

#include "kernels/cpu/matmul_vector.h"

const struct jrl_product_kernel jrl_product_avx2_f32 = PRODUCT_KERNEL;
