/* test_vmath.c - exp, log, sin, cos and powers against the C library in double, over dense sweeps; the
 * row versions of every instruction set against the scalar functions, bit for bit. */
#include "tests/kernels/kernel_test.h"

#include <math.h>
#include <stdio.h>

#include "kernels/cpu/rows.h"

#define SWEEP_STEP 2003 /* prime, so the sweep sees every pattern of low bits */

/* |got - want| in units of the last place of a float near WANT (normal numbers). */
static double ulps(float got, double want)
{
    int e;
    frexp(want, &e);
    return fabs((double)got - want) / ldexp(1.0, (e < -125 ? -125 : e) - 24);
}

/* The bounds that jrl-numerics(7) states. */
static void test_exp(void **state)
{
    double worst = 0;
    (void)state;
    for (int sign = 0; sign < 2; sign++)
        for (uint32_t bits = 0; bits <= 0x42b00000u; bits += SWEEP_STEP) {
            float x = jrl_float_of_bits(bits | (uint32_t)sign << 31);
            if (x < -87.3365f)
                continue;
            double error = ulps(jrl_expf(x), exp((double)x));
            if (!(error <= 1.0))
                fail_msg("exp(%a) is %a, off by %g ulp", x, jrl_expf(x), error);
            worst = error > worst ? error : worst;
        }
    print_message("# exp: largest error %.3f ulp\n", worst);
    assert_true(worst > 0.4);
    assert_int_equal(jrl_bits_of_float(jrl_expf(0)), 0x3f800000u);
    assert_int_equal(jrl_bits_of_float(jrl_expf(-87.4f)), 0);
    assert_int_equal(jrl_bits_of_float(jrl_expf(-INFINITY)), 0);
    assert_true(isfinite(jrl_expf(88.72283f)));
    assert_true(jrl_expf(88.7229f) == INFINITY);
    assert_true(jrl_expf(INFINITY) == INFINITY);
    assert_true(isnan(jrl_expf(NAN)));
    for (float x = -87.3365f; x > -87.34f; x = nextafterf(x, -100.0f))
        assert_true(jrl_expf(x) == 0 || jrl_expf(x) >= 0x1p-126f);
}

static void test_log(void **state)
{
    double worst = 0;
    (void)state;
    for (uint32_t bits = 0x00800000u; bits < 0x7f800000u; bits += SWEEP_STEP) {
        float x = jrl_float_of_bits(bits);
        double want = log((double)x), error = want == 0 ? jrl_logf(x) != 0 : ulps(jrl_logf(x), want);
        if (!(error <= 1.0))
            fail_msg("log(%a) is %a, off by %g ulp", x, jrl_logf(x), error);
        worst = error > worst ? error : worst;
    }
    for (uint32_t bits = 0x3f7f0000u; bits < 0x3f810000u; bits++) { /* near 1, where the result cancels */
        float x = jrl_float_of_bits(bits);
        double want = log((double)x), error = want == 0 ? jrl_logf(x) != 0 : ulps(jrl_logf(x), want);
        assert_true(error <= 1.0);
    }
    print_message("# log: largest error %.3f ulp\n", worst);
    assert_true(worst > 0.4);
    assert_true(jrl_logf(0.0f) == -INFINITY);
    assert_true(jrl_logf(-0.0f) == -INFINITY);
    assert_true(jrl_logf(0x1p-130f) == -INFINITY);
    assert_true(jrl_logf(INFINITY) == INFINITY);
    assert_true(isnan(jrl_logf(-1.0f)));
    assert_true(isnan(jrl_logf(-INFINITY)));
    assert_true(isnan(jrl_logf(NAN)));
    assert_int_equal(jrl_bits_of_float(jrl_logf(1.0f)), 0);
}

static void check_sincos(double x)
{
    float s, c;
    jrl_sincos(x, &s, &c);
    if (!(ulps(s, sin(x)) <= 0.501 && ulps(c, cos(x)) <= 0.501))
        fail_msg("at %a: sin %a, cos %a", x, s, c);
}

static void test_sincos(void **state)
{
    struct test_random random = { 5 };
    (void)state;
    for (double x = -200; x < 200; x += 0.00317)
        check_sincos(x);
    for (int i = 0; i < 100000; i++)
        check_sincos((double)test_uniform(&random) * 0x1p31);
    for (int i = 1; i < 40000; i++) /* beside the zeros */
        check_sincos((double)(float)(i * 1.5707963267948966));
    float s, c;
    jrl_sincos(0, &s, &c);
    assert_int_equal(jrl_bits_of_float(s), 0);
    assert_int_equal(jrl_bits_of_float(c), 0x3f800000u);
}

static void check_pow(double x, double y, double *worst)
{
    double want = pow(x, y), got = jrl_pow(x, y), error = fabs(got - want) / want;
    if (!(error < 1e-14))
        fail_msg("pow(%a, %a) is %a, not %a", x, y, got, want);
    *worst = error > *worst ? error : *worst;
}

static void test_pow(void **state)
{
    static const double thetas[] = { 10000, 100000, 500000, 1e6, 1e7, 0.9, 0.999, 1.0000001, 3e-300 };
    struct test_random random = { 6 };
    double worst = 0;
    (void)state;
    for (size_t t = 0; t < sizeof thetas / sizeof *thetas; t++)
        for (int i = 0; i <= 1024; i++) {
            check_pow(thetas[t], -i / 1024.0, &worst);
            check_pow(thetas[t], i / 1024.0, &worst);
        }
    for (int i = 0; i < 200000; i++) {
        double x = exp(test_uniform(&random) * 600), y = test_uniform(&random);
        check_pow(x, y, &worst);
    }
    for (int step = 1; step < 100000; step += 37)
        check_pow(0.999, step < 600000 ? step : 0, &worst);
    print_message("# pow: largest relative error %.2e\n", worst);
    assert_true(jrl_pow(2, 10) == 1024);
    assert_true(jrl_pow(7, 0) == 1);
    assert_true(jrl_pow(2, 2000) == INFINITY);
    assert_true(jrl_pow(2, -2000) == 0);
    assert_true(isnan(jrl_pow(-1, 2)) && isnan(jrl_pow(0, 2)) && isnan(jrl_pow(NAN, 1)) && isnan(jrl_pow(1, NAN)));
}

static void expect_bits(const char *what, const float *x, const float *got, float (*one)(float), int n)
{
    for (int i = 0; i < n; i++)
        if (jrl_bits_of_float(got[i]) != jrl_bits_of_float(one(x[i])))
            fail_msg("%s of %a is %a in a row, %a alone", what, x[i], got[i], one(x[i]));
}

static void test_rows_equal_scalars(void **state)
{
    enum { N = 4099 };
    float *x = malloc(N * 4), *y = malloc(N * 4);
    (void)state;
    for (int path = 0; path < N_TEST_PATHS; path++) {
        struct jrl_device *dev = test_device(test_paths[path], 1);
        if (!dev)
            continue;
        const struct jrl_rows *rows = jrl_rows_for(dev->isa);
        for (uint64_t bits = 0; bits < 0xffff0000u; bits += 0x10000u * 101) {
            for (int i = 0; i < N; i++)
                x[i] = jrl_float_of_bits((uint32_t)bits + (uint32_t)i * 15u); /* denormals, infinities and NaN included */
            rows->exp(y, x, N);
            expect_bits("exp", x, y, jrl_expf, N);
            rows->log(y, x, N);
            expect_bits("log", x, y, jrl_logf, N);
        }
        jrl_device_close(dev);
    }
    free(x);
    free(y);
}

int main(void)
{
    for (int i = 0; i < N_TEST_PATHS; i++) {
        struct jrl_device *dev = test_device(test_paths[i], 1);
        if (!dev)
            printf("# skipped: this processor has no %s\n", test_paths[i]);
        jrl_device_close(dev);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp), cmocka_unit_test(test_log), cmocka_unit_test(test_sincos), cmocka_unit_test(test_pow),
        cmocka_unit_test(test_rows_equal_scalars),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
