/* test_dot.c - what kernels/cpu/words.h takes VDPBF16PS for: the product of the upper halves of two words added as by fma, then that
 * of the lower ones, denormals being zero on the way in and out. Random bits, and operands near what rounding or flushing decides. */
#include "tests/kernels/kernel_test.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define ROUNDS 1000000

static uint64_t state = 1;

static uint32_t draw(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 32);
}

/* Two bf16 whose exponents lie in LEAST .. LEAST + 15. */
static uint32_t near(uint32_t bits, uint32_t least)
{
    return (bits & 0x807f807f) | (least + (draw() & 15)) << 23 | (least + (draw() & 15)) << 7;
}

struct operands {
    uint32_t a[16], b[16], c[16];
};

static void fill(struct operands *o, int kind)
{
    for (int i = 0; i < 16; i++) {
        o->a[i] = kind == 0 ? draw() : near(draw(), kind == 1 ? 120 : 56);
        o->b[i] = kind == 0 ? draw() : near(draw(), kind == 1 ? 120 : 56);
        o->c[i] = kind == 0 ? draw() : (draw() & 0x807fffff) | ((kind == 1 ? 110 : 0) + (draw() & 31)) << 23;
    }
}

static bool is_nan(uint32_t bits)
{
    return (bits & 0x7fffffff) > 0x7f800000;
}

__attribute__((target("avx512f,avx512bf16"))) static void compare(const struct operands *o)
{
    const __m512i a = _mm512_loadu_si512(o->a), b = _mm512_loadu_si512(o->b), upper = _mm512_set1_epi32((int)0xffff0000);
    const __m512 c = _mm512_loadu_ps(o->c);
    const __m512 first = _mm512_fmadd_ps((__m512)_mm512_and_si512(a, upper), (__m512)_mm512_and_si512(b, upper), c);
    const __m512 both = _mm512_fmadd_ps((__m512)_mm512_slli_epi32(a, 16), (__m512)_mm512_slli_epi32(b, 16), first);
    uint32_t want[16], got[16];

    _mm512_storeu_ps(want, both);
    _mm512_storeu_ps(got, _mm512_dpbf16_ps(c, (__m512bh)a, (__m512bh)b));
    for (int i = 0; i < 16; i++)
        if (is_nan(want[i]) ? !is_nan(got[i]) : got[i] != want[i])
            fail_msg("a %08x, b %08x, c %08x: %08x, by fma %08x", o->a[i], o->b[i], o->c[i], got[i], want[i]);
}

static void test_two_fmas(void **unused)
{
    const unsigned before = _mm_getcsr();
    struct operands o;

    (void)unused;
    if (!__builtin_cpu_supports("avx512bf16"))
        skip();
    _mm_setcsr(before | 0x8040); /* FTZ and DAZ, as in the pool's threads */
    for (int64_t i = 0; i < ROUNDS; i++) {
        fill(&o, (int)(i % 3));
        compare(&o);
    }
    _mm_setcsr(before);
}
#else
static void test_two_fmas(void **unused)
{
    (void)unused;
    skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_two_fmas) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
