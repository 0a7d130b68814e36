/* The gated activation against double precision and finite differences, on every path. */
#include "compare.h"

#include "kernels/swiglu.h"

struct swiglu_case {
    enum jrl_dtype dtype;
    int64_t rows, dim;
    float *gate, *up, *dy;
    float *y, *dgate, *dup; /* of the first device, as f32 */
};

static double activation(double gate, double up)
{
    return gate / (1 + exp(-gate)) * up;
}

static void check_reference(const struct swiglu_case *c)
{
    int64_t n = c->rows * c->dim;
    double *y = malloc((size_t)n * 24 + 8), *dgate = y + n, *dup = dgate + n;
    double rtol = c->dtype == JRL_F32 ? 1e-6 : 4e-3;

    for (int64_t i = 0; i < n; i++) {
        double g = c->gate[i], step = 1e-5;
        y[i] = activation(g, c->up[i]);
        dgate[i] = c->dy[i] * (activation(g + step, c->up[i]) - activation(g - step, c->up[i])) / (2 * step);
        dup[i] = c->dy[i] * activation(g, 1);
    }
    expect_close("swiglu", c->y, y, n, 1e-30, rtol);
    expect_close("swiglu dgate", c->dgate, dgate, n, 1e-7, rtol); /* its slope has a zero near -1.28 */
    expect_close("swiglu dup", c->dup, dup, n, 1e-30, rtol);
    free(y);
}

static void check_swiglu(struct jrl_device *dev, bool first, void *ctx)
{
    struct swiglu_case *c = ctx;
    struct jrl_error err = { 0 };
    int64_t n = c->rows * c->dim;
    void *out[3];
    float *copy[3];

    for (int i = 0; i < 3; i++)
        out[i] = test_elements(c->dtype, n);
    assert_int_equal(jrl_swiglu(dev, out[0], c->dtype, c->gate, c->up, c->rows, c->dim, &err), JRL_OK);
    assert_int_equal(jrl_swiglu_backward(dev, out[1], out[2], c->dtype, c->dy, c->gate, c->up, c->rows, c->dim, &err), JRL_OK);
    for (int i = 0; i < 3; i++) {
        copy[i] = as_floats(out[i], c->dtype, n);
        test_elements_free(c->dtype, out[i], n);
    }
    if (first) {
        c->y = copy[0];
        c->dgate = copy[1];
        c->dup = copy[2];
        return;
    }
    expect_same_bits("swiglu", copy[0], c->y, n);
    expect_same_bits("swiglu dgate", copy[1], c->dgate, n);
    expect_same_bits("swiglu dup", copy[2], c->dup, n);
    for (int i = 0; i < 3; i++)
        test_floats_free(copy[i], n);
}

static void swiglu_case(enum jrl_dtype dtype, int64_t rows, int64_t dim, bool with_nan)
{
    struct test_random random = { (uint32_t)(rows * 1000 + dim) };
    int64_t n = rows * dim;
    struct swiglu_case c = { .dtype = dtype, .rows = rows, .dim = dim, .gate = test_floats(n), .up = test_floats(n), .dy = test_floats(n) };

    fill_elements(&random, c.gate, JRL_F32, n, 20);
    fill_elements(&random, c.up, JRL_F32, n, 2);
    fill_elements(&random, c.dy, JRL_F32, n, 1);
    if (with_nan) {
        c.gate[1] = NAN;
        c.up[2] = NAN;
        c.gate[3] = -200; /* exp overflows; the limit is 0 */
        c.gate[4] = 200;
    }
    on_every_device(check_swiglu, &c);
    if (with_nan) {
        for (int64_t i = 0; i < n; i++) {
            assert_int_equal(isnan(c.y[i]), i == 1 || i == 2);
            assert_int_equal(isnan(c.dgate[i]), i == 1 || i == 2);
            assert_int_equal(isnan(c.dup[i]), i == 1);
        }
        assert_true(c.y[3] == 0 && c.dgate[3] == 0 && c.dup[3] == 0);
        assert_true(c.y[4] == element(&(float){ 200 * c.up[4] }, JRL_F32, 0) && c.dup[4] == 200 * c.dy[4]);
    } else {
        check_reference(&c);
    }
    test_floats_free(c.y, n);
    test_floats_free(c.dgate, n);
    test_floats_free(c.dup, n);
    test_floats_free(c.gate, n);
    test_floats_free(c.up, n);
    test_floats_free(c.dy, n);
}

static void test_swiglu(void **state)
{
    const int64_t rows[] = { 0, 1, 3, 33 }, dims[] = { 1, 31, 32, 33, 64, 65, 1536 };
    (void)state;
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
                swiglu_case((enum jrl_dtype)dtype, rows[r], dims[d], false);
}

static void test_swiglu_not_finite(void **state)
{
    (void)state;
    swiglu_case(JRL_F32, 1, 33, true);
}

static void test_refused(void **state)
{
    struct jrl_device *dev = test_device("portable", 1);
    struct jrl_error err = { 0 };
    float x = 0;
    (void)state;
    assert_int_equal(jrl_swiglu(dev, &x, JRL_F16, &x, &x, 1, 1, &err), JRL_ERR_RUN);
    assert_non_null(strstr(err.text, "swiglu"));
    jrl_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_swiglu), cmocka_unit_test(test_swiglu_not_finite), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
