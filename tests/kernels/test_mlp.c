/* test_mlp.c - the MLP as one operation, and groups of products, on every path against the plain products and activation
 * one after the other, bit for bit. */
#include "tests/kernels/kernel_test.h"

#include <math.h>

#include "kernels/mlp.h"
#include "kernels/swiglu.h"

struct test_case {
    int64_t rows, dim, mlp_dim;
};

struct operands {
    struct jrl_mlp p;
    float *gates, *ups;
    void *normed, *gate, *up, *down;
    float *x;
};

static struct jrl_device *plain;

static void *made_up(int64_t n, enum jrl_dtype dtype, struct test_random *random)
{
    void *x = malloc((size_t)n * 4);
    for (int64_t i = 0; i < n; i++) {
        float value = test_uniform(random);
        if (dtype == JRL_F32)
            ((float *)x)[i] = value;
        else
            ((jrl_bf16 *)x)[i] = jrl_f32_to_bf16(value);
    }
    return x;
}

static struct operands made_up_mlp(const struct test_case *t, enum jrl_dtype dtype)
{
    struct test_random random = { (uint32_t)(t->rows * 7919 + t->dim * 31 + t->mlp_dim) };
    struct operands o = { .p = { .dtype = dtype, .rows = t->rows, .dim = t->dim, .mlp_dim = t->mlp_dim } };
    o.p.normed = o.normed = made_up(t->rows * t->dim, dtype, &random);
    o.p.gate = o.gate = made_up(t->mlp_dim * t->dim, dtype, &random);
    o.p.up = o.up = made_up(t->mlp_dim * t->dim, dtype, &random);
    o.p.down = o.down = made_up(t->dim * t->mlp_dim, dtype, &random);
    o.x = made_up(t->rows * t->dim, JRL_F32, &random);
    o.gates = calloc((size_t)(t->rows * t->mlp_dim), 4);
    o.ups = calloc((size_t)(t->rows * t->mlp_dim), 4);
    o.p.act = calloc((size_t)(t->rows * t->mlp_dim), 4);
    return o;
}

static void operands_free(struct operands *o)
{
    free(o->normed);
    free(o->gate);
    free(o->up);
    free(o->down);
    free(o->x);
    free(o->gates);
    free(o->ups);
    free(o->p.act);
}

static void must(int rc)
{
    assert_int_equal(rc, JRL_OK);
}

/* x as the plain products and the plain activation leave it. */
static float *step_by_step(const struct operands *o)
{
    const struct jrl_mlp *m = &o->p;
    struct jrl_error err = { 0 };
    struct jrl_matmul p = { .dtype = m->dtype, .m = m->rows, .n = m->mlp_dim, .k = m->dim, .a = m->normed, .lda = m->dim, .b = m->gate,
                            .ldb = m->dim, .c = o->gates, .ldc = m->mlp_dim };
    float *x = test_floats(m->rows * m->dim);

    memcpy(x, o->x, (size_t)(m->rows * m->dim) * 4);
    must(jrl_matmul_nt(plain, &p, &err));
    p.b = m->up;
    p.c = o->ups;
    must(jrl_matmul_nt(plain, &p, &err));
    must(jrl_swiglu(plain, m->act, m->dtype, o->gates, o->ups, m->rows, m->mlp_dim, &err));
    p = (struct jrl_matmul){ .dtype = m->dtype, .m = m->rows, .n = m->dim, .k = m->mlp_dim, .a = m->act, .lda = m->mlp_dim, .b = m->down,
                             .ldb = m->mlp_dim, .c = x, .ldc = m->dim, .accumulate = true };
    must(jrl_matmul_nt(plain, &p, &err));
    return x;
}

static void expect_same_bits(const char *what, const char *path, const float *want, const float *got, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (jrl_bits_of_float(want[i]) != jrl_bits_of_float(got[i]))
            fail_msg("%s on %s: element %d is %a, plain loops give %a", what, path, (int)i, got[i], want[i]);
}

/* What was kept, however few the rows, as the way back finds it: the activation that it makes of it. */
static void check_kept(const struct jrl_mlp *p, struct jrl_device *dev, const char *path, const struct operands *o)
{
    const struct jrl_gated gated = { p->dtype, p->rows, p->dim, p->mlp_dim, NULL, NULL, NULL, p->kept };
    const int64_t n = p->rows * p->mlp_dim, bytes = jrl_dtype_bytes(p->dtype);
    const size_t n_bytes = (size_t)(n * bytes);
    void *act = malloc(n_bytes + 1), *dgate = malloc(n_bytes + 1), *dup = malloc(n_bytes + 1), *want = malloc(n_bytes + 1);
    struct jrl_error err = { 0 };

    must(jrl_swiglu(plain, want, p->dtype, o->gates, o->ups, p->rows, p->mlp_dim, &err));
    must(jrl_gated_backward(dev, &gated, act, dgate, dup, p->normed, p->down, &err));
    if (memcmp(want, act, n_bytes))
        fail_msg("what %s kept is not gate and up", path);
    free(act);
    free(dgate);
    free(dup);
    free(want);
}

static void check_mlp(const struct operands *o, struct jrl_device *dev, const char *path, const float *want)
{
    struct jrl_error err = { 0 };
    struct jrl_mlp p = o->p;
    const int64_t n = p.rows * p.dim;

    p.x = test_floats(n);
    memcpy(p.x, o->x, (size_t)n * 4);
    must(jrl_mlp_forward(dev, &p, NULL, &err));
    expect_same_bits("mlp", path, want, p.x, n);
    memcpy(p.x, o->x, (size_t)n * 4);
    p.kept = (struct jrl_gated_kept){ aligned_alloc(64, (size_t)(jrl_gated_kept_floats(p.rows, p.mlp_dim) * 4 + 64)), p.rows, 0 };
    must(jrl_mlp_forward(dev, &p, NULL, &err));
    expect_same_bits("mlp, kept", path, want, p.x, n);
    check_kept(&p, dev, path, o);
    free(p.kept.data);
    test_floats_free(p.x, n);
}

static const struct test_case cases[] = {
    { 1, 32, 32 }, { 1, 96, 80 }, { 3, 40, 50 }, { 16, 64, 96 }, { 17, 33, 17 }, { 31, 95, 65 }, { 32, 64, 48 }, { 33, 64, 160 },
    { 48, 70, 31 }, { 64, 96, 128 }, { 65, 64, 96 }, { 2, 576, 1536 }, { 0, 32, 32 },
};

static void test_mlp(void **state)
{
    struct jrl_device **devices = *state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++) {
            struct operands o = made_up_mlp(&cases[c], (enum jrl_dtype)dtype);
            float *want = step_by_step(&o);
            for (int i = 0; i < N_TEST_PATHS; i++)
                if (devices[i])
                    check_mlp(&o, devices[i], test_paths[i], want);
            test_floats_free(want, o.p.rows * o.p.dim);
            operands_free(&o);
        }
}

/* Groups, one behind the other so that what comes next is fetched, by 1 to 4 threads. */
static void check_group(const struct operands *o, struct jrl_device *dev, const char *path)
{
    const struct jrl_mlp *m = &o->p;
    const int64_t sizes[3] = { m->mlp_dim, m->mlp_dim / 2 + 1, m->mlp_dim }, width = sizes[0] + sizes[1] + sizes[2] + 3;
    const void *weights[3] = { m->gate, m->up, m->up };
    struct jrl_error err = { 0 };
    struct jrl_matmul_group g = { .n = 3 };
    float *want = test_floats(m->rows * width), *got = test_floats(m->rows * width);

    for (int64_t i = 0; i < m->rows * width; i++)
        want[i] = got[i] = 0.25f;
    for (int i = 0, at = 0; i < 3; at += (int)sizes[i++]) {
        g.p[i] = (struct jrl_matmul){ .dtype = m->dtype, .m = m->rows, .n = sizes[i], .k = m->dim, .a = m->normed, .lda = m->dim, .b = weights[i],
                                      .ldb = m->dim, .c = want + at, .ldc = width, .accumulate = i == 1 };
        must(jrl_matmul_nt(plain, &g.p[i], &err));
        g.p[i].c = got + at;
    }
    must(jrl_matmul_nt_group(dev, &g, &g, &err));
    expect_same_bits("group", path, want, got, m->rows * width);
    test_floats_free(want, m->rows * width);
    test_floats_free(got, m->rows * width);
}

static void test_groups(void **state)
{
    (void)state;
    for (int path = 0; path < N_TEST_PATHS; path++)
        for (int threads = 1; threads <= 4; threads++) {
            struct jrl_device *dev = test_device(test_paths[path], threads);
            for (size_t c = 0; dev && c < sizeof cases / sizeof *cases; c++) {
                struct operands o = made_up_mlp(&cases[c], JRL_BF16);
                check_group(&o, dev, test_paths[path]);
                operands_free(&o);
            }
            jrl_device_close(dev);
        }
}

static void test_refusals(void **state)
{
    (void)state;
    struct jrl_error err = { 0 };
    jrl_bf16 a[64] = { 0 };
    float c[4];
    const struct jrl_matmul p = { .dtype = JRL_BF16, .m = 1, .n = 1, .k = 32, .a = a, .lda = 32, .b = a, .ldb = 32, .c = c, .ldc = 1 };
    struct jrl_matmul_group g = { .p = { p, p }, .n = 2 };
    g.p[1].a = a + 1;
    assert_int_equal(jrl_matmul_nt_group(plain, &g, NULL, &err), JRL_ERR_RUN);
    g.n = 0;
    assert_int_equal(jrl_matmul_nt_group(plain, &g, NULL, &err), JRL_ERR_RUN);
}

int main(void)
{
    static struct jrl_device *devices[N_TEST_PATHS];
    void *state = devices;
    for (int i = 0; i < N_TEST_PATHS; i++)
        devices[i] = test_device(test_paths[i], 2);
    plain = test_device("portable", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_mlp, state),
        cmocka_unit_test_prestate(test_groups, state),
        cmocka_unit_test_prestate(test_refusals, state),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < N_TEST_PATHS; i++)
        jrl_device_close(devices[i]);
    jrl_device_close(plain);
    return failed;
}
