/* The gated half of an MLP in one pass against the kernels that it joins, on every path: the same bits. */
#include "compare.h"

#include "kernels/gated.h"
#include "kernels/matmul.h"
#include "kernels/swiglu.h"

struct gated_case {
    struct jrl_gated p;
    void *dy, *down;
    float *want[3]; /* act, dgate, dup of the first device, as f32 */
};

/* Products in memory, one kernel after the other. */
static void separately(struct jrl_device *dev, const struct gated_case *c, void *out[3])
{
    const int64_t rows = c->p.rows, dim = c->p.dim, mlp_dim = c->p.mlp_dim, n = rows * mlp_dim;
    float *gate = test_floats(n), *up = test_floats(n), *dact = test_floats(n);
    struct jrl_error err = { 0 };
    struct jrl_matmul m = { .dtype = c->p.dtype, .m = rows, .n = mlp_dim, .k = dim, .a = c->p.x, .lda = dim, .b = c->p.gate, .ldb = dim,
                            .c = gate, .ldc = mlp_dim };

    assert_int_equal(jrl_matmul_nt(dev, &m, &err), JRL_OK);
    m.b = c->p.up;
    m.c = up;
    assert_int_equal(jrl_matmul_nt(dev, &m, &err), JRL_OK);
    m.a = c->dy;
    m.b = c->down;
    m.ldb = mlp_dim;
    m.c = dact;
    assert_int_equal(jrl_matmul_nn(dev, &m, &err), JRL_OK);
    assert_int_equal(jrl_swiglu(dev, out[0], c->p.dtype, gate, up, rows, mlp_dim, &err), JRL_OK);
    assert_int_equal(jrl_swiglu_backward(dev, out[1], out[2], c->p.dtype, dact, gate, up, rows, mlp_dim, &err), JRL_OK);
    test_floats_free(gate, n);
    test_floats_free(up, n);
    test_floats_free(dact, n);
}

static void keep_or_compare(struct gated_case *c, bool first, void *const out[3], int n_out)
{
    const char *const names[] = { "gated act", "gated dgate", "gated dup" };
    const int64_t n = c->p.rows * c->p.mlp_dim;

    for (int i = 0; i < n_out; i++) {
        float *got = as_floats(out[i], c->p.dtype, n);

        if (first) {
            c->want[i] = got;
            continue;
        }
        expect_same_bits(names[i], got, c->want[i], n);
        test_floats_free(got, n);
    }
}

static void *row_of(const void *x, const struct gated_case *c, int64_t row, int64_t columns)
{
    return (uint8_t *)(uintptr_t)x + row * columns * jrl_dtype_bytes(c->p.dtype);
}

/* Rows FROM .. TO - 1 alone, as rows of a pass that has two in front of them and one behind: forward they leave gate and up in KEPT,
 * and backwards they take them from there, and neither x nor the weights. */
static void with_kept(struct jrl_device *dev, const struct gated_case *c, float *kept, int64_t from, int64_t to, bool back, void *out[3])
{
    struct jrl_gated p = c->p;
    struct jrl_error err = { 0 };
    void *at[3];

    for (int i = 0; i < 3; i++)
        at[i] = row_of(out[i], c, from, p.mlp_dim);
    p.kept = (struct jrl_gated_kept){ kept, p.rows + 3, from + 2 };
    p.rows = to - from;
    p.x = back ? NULL : row_of(p.x, c, from, p.dim);
    if (back)
        p.gate = p.up = NULL;
    if (back)
        assert_int_equal(jrl_gated_backward(dev, &p, at[0], at[1], at[2], row_of(c->dy, c, from, p.dim), c->down, &err), JRL_OK);
    else
        assert_int_equal(jrl_gated(dev, &p, at[0], &err), JRL_OK);
}

/* Both ways, cut at different rows. */
static void keep_and_take(struct jrl_device *dev, struct gated_case *c, void *out[3])
{
    const int64_t n = jrl_gated_kept_floats(c->p.rows + 3, c->p.mlp_dim), rows = c->p.rows;
    float *memory = test_floats(n + 16), *kept = memory + (64 - (uintptr_t)memory % 64) % 64 / 4;

    with_kept(dev, c, kept, 0, rows / 3, false, out);
    with_kept(dev, c, kept, rows / 3, rows, false, out);
    keep_or_compare(c, false, out, 1);
    with_kept(dev, c, kept, 0, rows / 2, true, out);
    with_kept(dev, c, kept, rows / 2, rows, true, out);
    test_floats_free(memory, n + 16);
}

static void check_gated(struct jrl_device *dev, bool first, void *ctx)
{
    struct gated_case *c = ctx;
    const int64_t n = c->p.rows * c->p.mlp_dim;
    struct jrl_error err = { 0 };
    void *out[3];

    for (int pass = 0; pass < 4; pass++) {
        for (int i = 0; i < 3; i++)
            out[i] = test_elements(c->p.dtype, n);
        if (pass == 0)
            separately(dev, c, out);
        else if (pass == 1)
            assert_int_equal(jrl_gated(dev, &c->p, out[0], &err), JRL_OK);
        else if (pass == 3)
            keep_and_take(dev, c, out);
        else
            assert_int_equal(jrl_gated_backward(dev, &c->p, out[0], out[1], out[2], c->dy, c->down, &err), JRL_OK);
        keep_or_compare(c, first && pass == 0, out, pass == 1 ? 1 : 3);
        for (int i = 0; i < 3; i++)
            test_elements_free(c->p.dtype, out[i], n);
    }
}

static void gated_case(enum jrl_dtype dtype, int64_t rows, int64_t dim, int64_t mlp_dim)
{
    struct test_random random = { (uint32_t)(rows * 1000 + dim + mlp_dim) };
    const int64_t weight = mlp_dim * dim;
    void *x = test_elements(dtype, rows * dim), *gate = test_elements(dtype, weight), *up = test_elements(dtype, weight);
    struct gated_case c = { .p = { dtype, rows, dim, mlp_dim, x, gate, up, { NULL, 0, 0 } }, .dy = test_elements(dtype, rows * dim),
                            .down = test_elements(dtype, weight) };

    fill_elements(&random, x, dtype, rows * dim, 2);
    fill_elements(&random, c.dy, dtype, rows * dim, 1);
    fill_elements(&random, gate, dtype, weight, 1);
    fill_elements(&random, up, dtype, weight, 1);
    fill_elements(&random, c.down, dtype, weight, 1);
    on_every_device(check_gated, &c);
    for (int i = 0; i < 3; i++)
        test_floats_free(c.want[i], rows * mlp_dim);
    test_elements_free(dtype, x, rows * dim);
    test_elements_free(dtype, c.dy, rows * dim);
    test_elements_free(dtype, gate, weight);
    test_elements_free(dtype, up, weight);
    test_elements_free(dtype, c.down, weight);
}

static void test_gated(void **state)
{
    const int64_t rows[] = { 0, 1, 5, 33, 70 }, dims[] = { 1, 33, 64, 400 }, mlp_dims[] = { 1, 31, 96, 210 };

    (void)state;
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
                for (size_t m = 0; m < sizeof mlp_dims / sizeof *mlp_dims; m++)
                    gated_case((enum jrl_dtype)dtype, rows[r], dims[d], mlp_dims[m]);
}

/* Several panels of weights, and more rows than one part takes. */
static void test_large(void **state)
{
    (void)state;
    gated_case(JRL_BF16, 2100, 64, 33);
    gated_case(JRL_BF16, 40, 2048, 330);
}

static void test_refused(void **state)
{
    struct jrl_device *dev = test_device("portable", 1);
    const struct jrl_gated f16 = { .dtype = JRL_F16, .rows = 1, .dim = 1, .mlp_dim = 1 }, empty = { .dtype = JRL_F32, .rows = 1, .dim = 0, .mlp_dim = 1 };
    struct jrl_error err = { 0 };

    (void)state;
    assert_int_equal(jrl_gated(dev, &f16, NULL, &err), JRL_ERR_RUN);
    assert_string_equal(err.text, "gated: element type 2 is not f32 or bf16");
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_gated(dev, &empty, NULL, &err), JRL_ERR_RUN);
    assert_string_equal(err.text, "gated: wrong sizes: 1 rows, 0 and 1 columns");
    jrl_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_gated), cmocka_unit_test(test_large), cmocka_unit_test(test_refused) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
