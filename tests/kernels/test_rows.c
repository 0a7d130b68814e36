/* test_rows.c - conversion, addition, the AdamW step and the squared norm: against plain formulas, and the
 * same bits on every path and number of threads. */
#include "tests/kernels/kernel_test.h"

#include <math.h>
#include <stdio.h>

#include "kernels/adamw.h"
#include "kernels/cpu/rows.h"

static const int64_t sizes[] = { 0, 1, 7, 15, 16, 17, 4095, 4096, 4097, 100003 };
#define N_SIZES (int)(sizeof sizes / sizeof *sizes)

static float *uniform(int64_t n, uint32_t seed, float scale)
{
    struct test_random random = { seed };
    float *x = test_floats(n);
    for (int64_t i = 0; i < n; i++)
        x[i] = scale * test_uniform(&random);
    return x;
}

static void expect_equal_bits(const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (jrl_bits_of_float(a[i]) != jrl_bits_of_float(b[i]))
            fail_msg("element %d: %a and %a", (int)i, a[i], b[i]);
}

/* Run fn on each path and with 1 and 3 threads. */
static void on_every_device(void (*fn)(struct jrl_device *dev))
{
    for (int path = 0; path < N_TEST_PATHS; path++)
        for (int threads = 1; threads <= 3; threads += 2) {
            struct jrl_device *dev = test_device(test_paths[path], threads);
            if (dev)
                fn(dev);
            else if (threads == 1)
                printf("# skipped: this processor has no %s\n", test_paths[path]);
            jrl_device_close(dev);
        }
}

/* Every bf16, and the values half-way between two of them, above and below. */
static void bf16_of(struct jrl_device *dev)
{
    struct jrl_error err = { 0 };
    enum { N = 65536 };
    jrl_bf16 *h = malloc(N * 2), *back = malloc(N * 2);
    float *x = test_floats(N);
    for (int i = 0; i < N; i++)
        h[i] = (jrl_bf16)i;
    assert_int_equal(jrl_convert_to_f32(dev, x, h, JRL_BF16, N, &err), JRL_OK);
    for (int i = 0; i < N; i++)
        assert_int_equal(jrl_bits_of_float(x[i]), (uint32_t)i << 16);
    for (int offset = 0; offset < 3; offset++) {
        for (int i = 0; i < N; i++)
            x[i] = jrl_float_of_bits(((uint32_t)i << 16) + (offset == 0 ? 0 : offset == 1 ? 0x7fff : 0x8000));
        assert_int_equal(jrl_convert_from_f32(dev, back, JRL_BF16, x, N, &err), JRL_OK);
        for (int i = 0; i < N; i++) {
            bool nan = (i & 0x7fff) > 0x7f80 || ((i & 0x7fff) == 0x7f80 && offset);
            int want = nan ? i | 0x40 : offset < 2 ? i : i + (i & 1);
            assert_int_equal(back[i], want);
        }
    }
    test_floats_free(x, N);
    free(h);
    free(back);
}

static void test_bf16(void **state)
{
    (void)state;
    on_every_device(bf16_of);
}

static void f16_of(struct jrl_device *dev)
{
    struct jrl_error err = { 0 };
    enum { N = 65536 };
    uint16_t *h = malloc(N * 2);
    float *x = test_floats(N);
    for (int i = 0; i < N; i++)
        h[i] = (uint16_t)i;
    assert_int_equal(jrl_convert_to_f32(dev, x, h, JRL_F16, N, &err), JRL_OK);
    for (int i = 0; i < N; i++) {
        int exponent = i >> 10 & 31, fraction = i & 1023;
        double want = exponent == 31 ? (fraction ? NAN : INFINITY)
                      : exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
        want = i & 0x8000 ? -want : want;
        assert_int_equal(isnan(x[i]) != 0, isnan(want) != 0);
        if (!isnan(want))
            assert_int_equal(jrl_bits_of_float(x[i]), jrl_bits_of_float((float)want));
    }
    test_floats_free(x, N);
    free(h);
}

static void test_f16(void **state)
{
    (void)state;
    on_every_device(f16_of);
}

static void add_on(struct jrl_device *dev)
{
    struct jrl_error err = { 0 };
    for (int s = 0; s < N_SIZES; s++) {
        int64_t n = sizes[s];
        float *x = uniform(n, 1, 1), *y = uniform(n, 2, 3), *before = uniform(n, 2, 3), *copy = test_floats(n);
        assert_int_equal(jrl_add(dev, y, x, n, &err), JRL_OK);
        for (int64_t i = 0; i < n; i++)
            assert_int_equal(jrl_bits_of_float(y[i]), jrl_bits_of_float(before[i] + x[i]));
        assert_int_equal(jrl_convert_from_f32(dev, copy, JRL_F32, x, n, &err), JRL_OK);
        expect_equal_bits(copy, x, n);
        assert_int_equal(jrl_convert_to_f32(dev, copy, y, JRL_F32, n, &err), JRL_OK);
        expect_equal_bits(copy, y, n);
        test_floats_free(x, n);
        test_floats_free(y, n);
        test_floats_free(before, n);
        test_floats_free(copy, n);
    }
    assert_int_equal(jrl_add(dev, NULL, NULL, -1, &err), JRL_ERR_RUN);
}

static void test_add(void **state)
{
    (void)state;
    on_every_device(add_on);
}

struct optimiser {
    float *master, *m, *v, *grad;
    jrl_bf16 *weights;
    int64_t n;
};

static struct optimiser optimiser_of(int64_t n)
{
    struct optimiser o = { uniform(n, 3, 1), uniform(n, 4, 0), uniform(n, 5, 0), uniform(n, 6, 0.1f), NULL, n };
    o.weights = malloc((size_t)n * 2 + 2);
    o.weights[n] = 0xabcd;
    return o;
}

static void optimiser_free(struct optimiser *o)
{
    assert_int_equal(o->weights[o->n], 0xabcd);
    test_floats_free(o->master, o->n);
    test_floats_free(o->m, o->n);
    test_floats_free(o->v, o->n);
    test_floats_free(o->grad, o->n);
    free(o->weights);
}

static const struct jrl_adamw recipe = { .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.1, .grad_scale = 0.5 };

static void steps(struct jrl_device *dev, struct optimiser *o, int n_steps)
{
    struct jrl_error err = { 0 };
    for (int step = 1; step <= n_steps; step++) {
        struct jrl_adamw p = recipe;
        p.step = step;
        assert_int_equal(jrl_adamw_step(dev, &p, o->master, o->m, o->v, o->grad, o->weights, JRL_BF16, o->n, &err), JRL_OK);
        for (int64_t i = 0; i < o->n; i++)
            o->grad[i] = 0.7f * o->grad[i] - 0.01f * o->master[i];
    }
}

/* The formula in double, from the paper: Loshchilov & Hutter 2019, algorithm 2. */
static void test_adamw_formula(void **state)
{
    enum { N = 1000, STEPS = 10 };
    struct jrl_device *dev = test_device("portable", 1);
    struct optimiser o = optimiser_of(N);
    double master[N], m[N] = { 0 }, v[N] = { 0 }, grad[N];
    (void)state;
    for (int i = 0; i < N; i++) {
        master[i] = o.master[i];
        grad[i] = o.grad[i];
    }
    for (int step = 1; step <= STEPS; step++)
        for (int i = 0; i < N; i++) {
            double g = grad[i] * recipe.grad_scale;
            m[i] = recipe.beta1 * m[i] + (1 - recipe.beta1) * g;
            v[i] = recipe.beta2 * v[i] + (1 - recipe.beta2) * g * g;
            double m_hat = m[i] / (1 - pow(recipe.beta1, step)), v_hat = v[i] / (1 - pow(recipe.beta2, step));
            master[i] -= recipe.lr * (m_hat / (sqrt(v_hat) + recipe.eps) + recipe.weight_decay * master[i]);
            grad[i] = 0.7 * grad[i] - 0.01 * master[i];
        }
    steps(dev, &o, STEPS);
    for (int i = 0; i < N; i++) {
        assert_true(fabs(o.master[i] - master[i]) <= 2e-6);
        assert_true(fabs(o.m[i] - m[i]) <= 1e-7 && fabs(o.v[i] - v[i]) <= 1e-8);
        assert_int_equal(o.weights[i], jrl_f32_to_bf16(o.master[i]));
    }
    optimiser_free(&o);
    jrl_device_close(dev);
}

static void adamw_on(struct jrl_device *dev)
{
    struct jrl_device *plain = test_device("portable", 1);
    for (int s = 0; s < N_SIZES; s++) {
        struct optimiser want = optimiser_of(sizes[s]), got = optimiser_of(sizes[s]);
        steps(plain, &want, 3);
        steps(dev, &got, 3);
        expect_equal_bits(want.master, got.master, sizes[s]);
        expect_equal_bits(want.m, got.m, sizes[s]);
        expect_equal_bits(want.v, got.v, sizes[s]);
        assert_memory_equal(want.weights, got.weights, (size_t)sizes[s] * 2);
        optimiser_free(&want);
        optimiser_free(&got);
    }
    jrl_device_close(plain);
}

static void test_adamw_paths(void **state)
{
    (void)state;
    on_every_device(adamw_on);
}

static void test_adamw_refusals(void **state)
{
    struct jrl_error err = { 0 };
    struct jrl_device *dev = test_device("portable", 1);
    struct jrl_adamw p = recipe;
    (void)state;
    assert_int_equal(jrl_adamw_step(dev, &p, NULL, NULL, NULL, NULL, NULL, JRL_BF16, 0, &err), JRL_ERR_RUN); /* step 0 */
    p.step = 1;
    assert_int_equal(jrl_adamw_step(dev, &p, NULL, NULL, NULL, NULL, NULL, JRL_BF16, 0, NULL), JRL_OK);
    assert_int_equal(jrl_adamw_step(dev, &p, NULL, NULL, NULL, NULL, NULL, JRL_F16, 0, NULL), JRL_ERR_RUN);
    jrl_device_close(dev);
}

/* The order of jrl-numerics(7), word by word. */
static double squares_by_the_page(const float *x, int64_t n)
{
    double sum = 0;
    for (int64_t block = 0; block < n; block += 4096) {
        double lane[16] = { 0 };
        for (int64_t i = block; i < n && i < block + 4096; i++)
            lane[i % 16] += (double)x[i] * (double)x[i];
        for (int width = 8; width; width /= 2)
            for (int j = 0; j < width; j++)
                lane[j] += lane[j + width];
        sum += lane[0];
    }
    return sum;
}

static void squares_on(struct jrl_device *dev)
{
    struct jrl_error err = { 0 };
    for (int s = 0; s < N_SIZES; s++) {
        float *x = uniform(sizes[s], 9, 2);
        double sum = NAN, want = squares_by_the_page(x, sizes[s]);
        assert_int_equal(jrl_sum_squares(dev, &sum, x, sizes[s], &err), JRL_OK);
        assert_memory_equal(&sum, &want, sizeof sum);
        if (sizes[s] > 7) {
            x[5] = NAN;
            assert_int_equal(jrl_sum_squares(dev, &sum, x, sizes[s], &err), JRL_OK);
            assert_true(isnan(sum));
        }
        test_floats_free(x, sizes[s]);
    }
}

static void test_sum_squares(void **state)
{
    (void)state;
    on_every_device(squares_on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bf16), cmocka_unit_test(test_f16), cmocka_unit_test(test_add),
        cmocka_unit_test(test_adamw_formula), cmocka_unit_test(test_adamw_paths), cmocka_unit_test(test_adamw_refusals),
        cmocka_unit_test(test_sum_squares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
