/* RMSNorm and the embedding lookup against double precision and finite differences, on every path. */
#include "compare.h"

#include "kernels/norm.h"

#define EPS 1e-6f

struct norm_case {
    enum jrl_dtype dtype;
    int64_t rows, dim;
    void *weight;
    float *x, *dy;
    float *y, *dx, *dweight; /* of the first device */
};

static double forward_reference(const struct norm_case *c, const float *x, int64_t i)
{
    double square = 0;
    for (int64_t j = 0; j < c->dim; j++)
        square += (double)x[j] * x[j];
    return x[i] / sqrt(square / (double)c->dim + EPS) * element(c->weight, c->dtype, i);
}

static void check_forward_reference(const struct norm_case *c)
{
    double *want = malloc((size_t)(c->rows * c->dim) * sizeof *want);
    for (int64_t r = 0; r < c->rows; r++)
        for (int64_t i = 0; i < c->dim; i++)
            want[r * c->dim + i] = forward_reference(c, c->x + r * c->dim, i);
    expect_close("rmsnorm", c->y, want, c->rows * c->dim, 1e-7, c->dtype == JRL_F32 ? 1e-6 : 4e-3);
    free(want);
}

/* dL/dx and dL/dweight with L = sum dy y, in double, and checked themselves by differences of the forward pass. */
static void check_backward_reference(const struct norm_case *c)
{
    int64_t dim = c->dim;
    double *dx = calloc((size_t)(c->rows * dim) + 1, sizeof *dx), *dweight = calloc((size_t)dim + 1, sizeof *dweight);
    for (int64_t r = 0; r < c->rows; r++) {
        const float *x = c->x + r * dim, *dy = c->dy + r * dim;
        double square = 0, dot = 0;
        for (int64_t j = 0; j < dim; j++) {
            square += (double)x[j] * x[j];
            dot += (double)dy[j] * element(c->weight, c->dtype, j) * x[j];
        }
        double inverse = 1 / sqrt(square / (double)dim + EPS);
        for (int64_t j = 0; j < dim; j++) {
            dx[r * dim + j] = 0.5 + inverse * (dy[j] * element(c->weight, c->dtype, j) - x[j] * dot / (double)dim * inverse * inverse);
            dweight[j] += dy[j] * x[j] * inverse;
        }
    }
    for (int64_t j = 0; j < dim; j++)
        dweight[j] += 0.25;
    expect_close("rmsnorm dx", c->dx, dx, c->rows * dim, 3e-6, 1e-5);
    expect_close("rmsnorm dweight", c->dweight, dweight, dim, 3e-6 * sqrt((double)c->rows + 1), 1e-5);
    for (int64_t j = 0; c->rows && j < dim; j += 1 + dim / 5) {
        float *x = c->x, kept = x[j];
        double sum[2] = { 0, 0 };
        volatile float moved[2] = { kept - 0.01f, kept + 0.01f };
        for (int side = 0; side < 2; side++) {
            x[j] = moved[side];
            for (int64_t i = 0; i < dim; i++)
                sum[side] += c->dy[i] * forward_reference(c, x, i);
        }
        x[j] = kept;
        double slope = (sum[1] - sum[0]) / ((double)moved[1] - moved[0]);
        assert_true(fabs(slope + 0.5 - c->dx[j]) <= 2e-3 * (1 + fabs(slope)));
    }
    free(dx);
    free(dweight);
}

static void check_norm(struct jrl_device *dev, bool first, void *ctx)
{
    struct norm_case *c = ctx;
    struct jrl_error err = { 0 };
    int64_t n = c->rows * c->dim;
    void *y = test_elements(c->dtype, n);
    float *dx = test_floats(n), *dweight = test_floats(c->dim), *copy;

    for (int64_t i = 0; i < n; i++)
        dx[i] = 0.5f;
    for (int64_t i = 0; i < c->dim; i++)
        dweight[i] = 0.25f;
    assert_int_equal(jrl_rmsnorm(dev, y, c->x, c->weight, c->dtype, EPS, c->rows, c->dim, &err), JRL_OK);
    assert_int_equal(jrl_rmsnorm_backward(dev, dx, dweight, c->dy, c->x, c->weight, c->dtype, EPS, c->rows, c->dim, &err), JRL_OK);
    copy = as_floats(y, c->dtype, n);
    test_elements_free(c->dtype, y, n);
    if (first) {
        c->y = copy;
        c->dx = dx;
        c->dweight = dweight;
        return;
    }
    expect_same_bits("rmsnorm", copy, c->y, n);
    expect_same_bits("rmsnorm dx", dx, c->dx, n);
    expect_same_bits("rmsnorm dweight", dweight, c->dweight, c->dim);
    test_floats_free(copy, n);
    test_floats_free(dx, n);
    test_floats_free(dweight, c->dim);
}

static void norm_case(enum jrl_dtype dtype, int64_t rows, int64_t dim, int64_t spoilt_at, float spoilt)
{
    struct test_random random = { (uint32_t)(rows * 1000 + dim) };
    struct norm_case c = { .dtype = dtype, .rows = rows, .dim = dim, .weight = test_elements(dtype, dim),
                           .x = test_floats(rows * dim), .dy = test_floats(rows * dim) };

    fill_elements(&random, c.weight, dtype, dim, 2);
    fill_elements(&random, c.x, JRL_F32, rows * dim, 3);
    fill_elements(&random, c.dy, JRL_F32, rows * dim, 1);
    if (spoilt_at >= 0)
        c.x[spoilt_at] = spoilt;
    on_every_device(check_norm, &c);
    if (spoilt_at >= 0) {
        for (int64_t i = 0; i < rows * dim; i++)
            assert_int_equal(isnan(c.y[i]), i / dim == spoilt_at / dim);
    } else {
        check_forward_reference(&c);
        check_backward_reference(&c);
    }
    test_floats_free(c.y, rows * dim);
    test_floats_free(c.dx, rows * dim);
    test_floats_free(c.dweight, dim);
    test_floats_free(c.x, rows * dim);
    test_floats_free(c.dy, rows * dim);
    test_elements_free(dtype, c.weight, dim);
}

static void test_rmsnorm(void **state)
{
    const int64_t rows[] = { 0, 1, 2, 17, 33 }, dims[] = { 1, 15, 16, 31, 32, 33, 64, 65, 130, 576 };
    (void)state;
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
                norm_case((enum jrl_dtype)dtype, rows[r], dims[d], -1, 0);
}

static void test_rmsnorm_not_finite(void **state)
{
    (void)state;
    norm_case(JRL_F32, 3, 65, 70, NAN);
    norm_case(JRL_BF16, 3, 65, 70, NAN);
    norm_case(JRL_F32, 3, 65, 70, INFINITY);
    norm_case(JRL_BF16, 3, 65, 70, -1e20f); /* its square is beyond f32 */
}

struct embedding_case {
    enum jrl_dtype dtype;
    int64_t rows, dim, vocab;
    uint32_t *ids;
    void *table;
    float *dx, *x, *dtable;
};

static void check_embedding(struct jrl_device *dev, bool first, void *ctx)
{
    struct embedding_case *c = ctx;
    struct jrl_error err = { 0 };
    float *x = test_floats(c->rows * c->dim), *dtable = test_floats(c->vocab * c->dim);

    memset(dtable, 0, (size_t)(c->vocab * c->dim) * sizeof *dtable);
    assert_int_equal(jrl_embedding(dev, x, c->table, c->dtype, c->ids, c->rows, c->dim, &err), JRL_OK);
    assert_int_equal(jrl_embedding_backward(dev, dtable, c->dx, c->ids, c->rows, c->dim, &err), JRL_OK);
    if (first) {
        c->x = x;
        c->dtable = dtable;
        return;
    }
    expect_same_bits("embedding", x, c->x, c->rows * c->dim);
    expect_same_bits("embedding gradient", dtable, c->dtable, c->vocab * c->dim);
    test_floats_free(x, c->rows * c->dim);
    test_floats_free(dtable, c->vocab * c->dim);
}

static void embedding_case(enum jrl_dtype dtype, int64_t rows, int64_t dim)
{
    struct test_random random = { (uint32_t)(rows + dim) };
    struct embedding_case c = { .dtype = dtype, .rows = rows, .dim = dim, .vocab = 7, .ids = malloc((size_t)rows * 4 + 4),
                                .table = test_elements(dtype, 7 * dim), .dx = test_floats(rows * dim) };
    float *want = calloc((size_t)(c.vocab * dim), sizeof *want);

    fill_elements(&random, c.table, dtype, c.vocab * dim, 1);
    fill_elements(&random, c.dx, JRL_F32, rows * dim, 1);
    for (int64_t r = 0; r < rows; r++)
        c.ids[r] = r % 5 == 3 ? UINT32_MAX : (uint32_t)(r * r % c.vocab);
    on_every_device(check_embedding, &c);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < dim; i++) {
            bool padding = c.ids[r] == UINT32_MAX;
            assert_true(c.x[r * dim + i] == (padding ? 0.0f : element(c.table, dtype, c.ids[r] * dim + i)));
            if (!padding)
                want[c.ids[r] * dim + i] += c.dx[r * dim + i]; /* rows in order: the same sum to the last bit */
        }
    expect_same_bits("embedding gradient", c.dtable, want, c.vocab * dim);
    free(want);
    free(c.ids);
    test_floats_free(c.x, rows * dim);
    test_floats_free(c.dtable, c.vocab * dim);
    test_floats_free(c.dx, rows * dim);
    test_elements_free(dtype, c.table, c.vocab * dim);
}

static void test_embedding(void **state)
{
    const int64_t rows[] = { 0, 1, 33, 100 }, dims[] = { 1, 31, 64, 65 };
    (void)state;
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
                embedding_case((enum jrl_dtype)dtype, rows[r], dims[d]);
}

static void test_refused(void **state)
{
    struct jrl_device *dev = test_device("portable", 1);
    struct jrl_error err = { 0 };
    float x = 0;
    (void)state;
    assert_int_equal(jrl_rmsnorm(dev, &x, &x, &x, JRL_F16, EPS, 1, 1, &err), JRL_ERR_RUN);
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_rmsnorm(dev, &x, &x, &x, JRL_F32, EPS, -1, 1, &err), JRL_ERR_RUN);
    assert_non_null(strstr(err.text, "rmsnorm"));
    jrl_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rmsnorm), cmocka_unit_test(test_rmsnorm_not_finite), cmocka_unit_test(test_embedding),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
