/* matmul_avx2.c - products of f32, and of bf16 widened to f32, with AVX2. */
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

static inline __attribute__((always_inline)) void lanes_from_rows(float *to, const struct jrl_product *p, enum jrl_dtype dtype,
                                                                  int64_t j, int64_t k)
{
    const int64_t row_words = dtype == JRL_F32 ? 32 : 16;
    __m256i r[8];
    for (int64_t word = 0; word < row_words; word += 8) {
        for (int lane = 0; lane < 8; lane++) {
            const char *row = (const char *)p->b + ((j + lane) * p->b_column + k) * (dtype == JRL_F32 ? 4 : 2);
            r[lane] = _mm256_loadu_si256((const __m256i *)(row + word * 4));
        }
        transpose(r);
        for (int64_t i = 0; i < 8; i++) {
            if (dtype == JRL_F32) {
                _mm256_storeu_si256((__m256i *)(to + (word + i) * 2 * LANES), r[i]);
            } else { /* a word is a pair: the lower half is the even k */
                float *pair = to + 2 * (word + i) * 2 * LANES;
                _mm256_storeu_si256((__m256i *)pair, _mm256_slli_epi32(r[i], 16));
                _mm256_storeu_si256((__m256i *)(pair + 2 * LANES), _mm256_and_si256(r[i], _mm256_set1_epi32((int)0xffff0000)));
            }
        }
    }
}

#include "kernels/cpu/matmul_vector.h"

const struct jrl_product_kernel jrl_product_avx2_f32 = PRODUCT_KERNEL(f32);
const struct jrl_product_kernel jrl_product_avx2_bf16 = PRODUCT_KERNEL(bf16);
