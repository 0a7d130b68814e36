/* test_matmul.c - every path of the matrix products against the plain loops, bit for bit, and those
 * against a sum in double. */
#include "tests/kernels/kernel_test.h"

#include <math.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernels/matmul.h"

enum form { NT, NN, TN };
static const char *const form_names[] = { "nt", "nn", "tn" };

struct test_case {
    enum form form;
    enum jrl_dtype dtype;
    int64_t m, n, k, pad;
    bool accumulate;
};

struct operands {
    struct jrl_matmul p;
    size_t a_bytes, b_bytes;
    int64_t c_size;
    void *a, *b;
    float *c_start;
};

/* Memory that ends where a page begins that may not be touched: a kernel that reads past the end dies. */
static void *guarded(size_t n_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (n_bytes + page - 1) / page * page;
    uint8_t *start = mmap(NULL, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(start != MAP_FAILED);
    assert_int_equal(mprotect(start + whole, page, PROT_NONE), 0);
    return start + (whole - n_bytes);
}

static void guarded_free(void *memory, size_t n_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), whole = (n_bytes + page - 1) / page * page;
    assert_int_equal(munmap((uint8_t *)memory - (whole - n_bytes), whole + page), 0);
}

/* Exactly the memory that a kernel may read: the last row ends with its last column. */
static size_t matrix_bytes(enum jrl_dtype dtype, int64_t rows, int64_t ld, int64_t columns)
{
    return rows ? (size_t)(((rows - 1) * ld + columns) * jrl_dtype_bytes(dtype)) : 0;
}

static void *made_up_matrix(enum jrl_dtype dtype, int64_t rows, int64_t ld, int64_t columns, struct test_random *random)
{
    size_t bytes = matrix_bytes(dtype, rows, ld, columns);
    void *x = guarded(bytes);
    for (int64_t i = 0; i < (int64_t)bytes / jrl_dtype_bytes(dtype); i++) {
        float value = i % ld >= columns ? NAN : test_uniform(random); /* padding must not be used */
        if (dtype == JRL_F32)
            ((float *)x)[i] = value;
        else
            ((jrl_bf16 *)x)[i] = jrl_f32_to_bf16(value);
    }
    return x;
}

static struct operands made_up(const struct test_case *t)
{
    struct test_random random = { (uint32_t)(t->m * 7919 + t->n * 104729 + t->k) };
    struct operands o = { .p = { .dtype = t->dtype, .m = t->m, .n = t->n, .k = t->k, .accumulate = t->accumulate } };
    int64_t a_columns = t->form == TN ? t->m : t->k, b_columns = t->form == NT ? t->k : t->n;
    int64_t a_rows = t->form == TN ? t->k : t->m, b_rows = t->form == NT ? t->n : t->k;
    o.p.lda = a_columns + t->pad;
    o.p.ldb = b_columns + 2 * t->pad;
    o.p.ldc = t->n + t->pad;
    o.a_bytes = matrix_bytes(t->dtype, a_rows, o.p.lda, a_columns);
    o.b_bytes = matrix_bytes(t->dtype, b_rows, o.p.ldb, b_columns);
    o.p.a = o.a = made_up_matrix(t->dtype, a_rows, o.p.lda, a_columns, &random);
    o.p.b = o.b = made_up_matrix(t->dtype, b_rows, o.p.ldb, b_columns, &random);
    o.c_size = t->m * o.p.ldc;
    o.c_start = malloc((size_t)o.c_size * 4 + 1);
    for (int64_t i = 0; i < o.c_size; i++)
        o.c_start[i] = t->accumulate ? test_uniform(&random) : NAN;
    return o;
}

static void operands_free(struct operands *o)
{
    guarded_free(o->a, o->a_bytes);
    guarded_free(o->b, o->b_bytes);
    free(o->c_start);
}

static void run(struct jrl_device *dev, enum form form, const struct jrl_matmul *p)
{
    struct jrl_error err = { 0 };
    int rc = form == NT ? jrl_matmul_nt(dev, p, &err) : form == NN ? jrl_matmul_nn(dev, p, &err) : jrl_matmul_tn(dev, p, &err);
    if (rc)
        print_message("%s\n", err.text);
    assert_int_equal(rc, JRL_OK);
}

/* The result between canaries; freed by test_floats_free(c, c_size). */
static float *result(struct jrl_device *dev, enum form form, const struct operands *o)
{
    struct jrl_matmul p = o->p;
    p.c = test_floats(o->c_size);
    memcpy(p.c, o->c_start, (size_t)o->c_size * 4);
    run(dev, form, &p);
    return p.c;
}

static float value(const void *x, enum jrl_dtype dtype, int64_t i)
{
    return dtype == JRL_F32 ? ((const float *)x)[i] : jrl_bf16_to_f32(((const jrl_bf16 *)x)[i]);
}

/* The plain loops against double: |error| <= (k/2 + 4) ulp of the sum of magnitudes is generous for two
 * chains of 16 and one of k/32. */
static void expect_near_double(const struct test_case *t, const struct operands *o, const float *c)
{
    for (int64_t i = 0; i < t->m; i++)
        for (int64_t j = 0; j < t->n; j++) {
            double sum = t->accumulate ? o->c_start[i * o->p.ldc + j] : 0, size = fabs(sum);
            for (int64_t k = 0; k < t->k; k++) {
                double a = value(o->a, t->dtype, t->form == TN ? k * o->p.lda + i : i * o->p.lda + k);
                double b = value(o->b, t->dtype, t->form == NT ? j * o->p.ldb + k : k * o->p.ldb + j);
                sum += a * b;
                size += fabs(a * b);
            }
            double bound = size * 0x1p-24 * (20 + (double)t->k / 32), error = fabs(c[i * o->p.ldc + j] - sum);
            if (!(error <= bound))
                fail_msg("%s m %d n %d k %d: output %d, %d is %g, not %g", form_names[t->form], (int)t->m, (int)t->n, (int)t->k,
                         (int)i, (int)j, c[i * o->p.ldc + j], sum);
        }
}

static void expect_same_bits(const struct test_case *t, const char *path, const float *want, const float *got, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (jrl_bits_of_float(want[i]) != jrl_bits_of_float(got[i]))
            fail_msg("%s on %s, m %d n %d k %d pad %d%s: element %d is %a, plain loops give %a", form_names[t->form], path,
                     (int)t->m, (int)t->n, (int)t->k, (int)t->pad, t->accumulate ? " accumulate" : "", (int)i, got[i], want[i]);
}

static struct jrl_device *plain;

static void check_paths(const struct test_case *t, struct jrl_device *devices[N_TEST_PATHS])
{
    struct operands o = made_up(t);
    float *want = result(plain, t->form, &o);
    expect_near_double(t, &o, want);
    for (int i = 0; i < N_TEST_PATHS; i++) {
        if (!devices[i])
            continue;
        float *got = result(devices[i], t->form, &o);
        expect_same_bits(t, test_paths[i], want, got, o.c_size);
        test_floats_free(got, o.c_size);
    }
    test_floats_free(want, o.c_size);
    operands_free(&o);
}

static void test_shapes(void **state)
{
    static const int64_t sizes[][3] = {
        { 0, 0, 0 }, { 0, 5, 7 }, { 5, 0, 7 }, { 5, 7, 0 }, { 1, 1, 1 }, { 1, 1, 2 }, { 1, 3, 31 }, { 2, 17, 32 }, { 3, 16, 33 },
        { 15, 31, 63 }, { 16, 32, 64 }, { 17, 33, 65 }, { 31, 15, 96 }, { 32, 48, 95 }, { 33, 64, 97 }, { 1, 576, 576 },
        { 63, 65, 127 }, { 8, 40, 64 }, { 9, 37, 100 }, { 24, 50, 70 }, { 25, 16, 160 }, { 64, 127, 40 },
        { 65, 96, 320 }, { 7, 200, 1537 }, { 129, 70, 66 }, { 100, 1, 700 }, { 300, 47, 31 },
    };
    struct jrl_device **devices = *state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int form = NT; form <= TN; form++)
            for (int option = 0; option < 4; option++)
                for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++) {
                    struct test_case t = { (enum form)form, (enum jrl_dtype)dtype, sizes[s][0], sizes[s][1], sizes[s][2],
                                           option & 1 ? 5 : 0, option & 2 };
                    check_paths(&t, devices);
                }
}

/* A row of the result does not depend on how many rows come with it, on threads or on the path. */
static void test_rows_and_threads(void **state)
{
    (void)state;
    for (int form = NT; form <= TN; form++) {
        struct test_case t = { (enum form)form, JRL_BF16, 512, 80, 160, 0, false };
        struct operands o = made_up(&t);
        float *want = result(plain, t.form, &o);
        for (int path = 0; path < N_TEST_PATHS; path++)
            for (int threads = 1; threads <= 4; threads++) {
                struct jrl_device *dev = test_device(test_paths[path], threads);
                static const int64_t rows[] = { 1, 3, 8, 9, 20, 32, 33, 64, 300, 512 };
                for (size_t i = 0; dev && i < sizeof rows / sizeof *rows; i++) {
                    struct operands few = o;
                    few.p.m = rows[i];
                    float *got = result(dev, t.form, &few);
                    expect_same_bits(&t, test_paths[path], want, got, rows[i] * o.p.ldc);
                    test_floats_free(got, o.c_size);
                }
                jrl_device_close(dev);
            }
        test_floats_free(want, o.c_size);
        operands_free(&o);
    }
}

static void test_nan_and_denormals(void **state)
{
    struct jrl_device **devices = *state;
    for (int form = NT; form <= TN; form++)
        for (int path = 0; path < N_TEST_PATHS; path++) {
            if (!devices[path])
                continue;
            jrl_bf16 a[40 * 40], b[40 * 40];
            for (int i = 0; i < 40 * 40; i++) {
                a[i] = jrl_f32_to_bf16(1.0f);
                b[i] = jrl_f32_to_bf16(0x1p-130f); /* counts as zero */
            }
            float *c = test_floats(40 * 40);
            struct jrl_matmul p = { JRL_BF16, 40, 40, 40, a, b, c, 40, 40, 40, false };
            run(devices[path], (enum form)form, &p);
            for (int i = 0; i < 40 * 40; i++)
                assert_int_equal(jrl_bits_of_float(c[i]), 0);

            for (int i = 0; i < 40 * 40; i++)
                a[i] = b[i] = jrl_f32_to_bf16(0x1p-70f); /* products below the smallest normal number */
            run(devices[path], (enum form)form, &p);
            for (int i = 0; i < 40 * 40; i++)
                assert_int_equal(jrl_bits_of_float(c[i]), 0);

            for (int i = 0; i < 40 * 40; i++)
                a[i] = b[i] = jrl_f32_to_bf16(0.0f);
            a[form == TN ? 7 * 40 + 3 : 3 * 40 + 7] = 0x7fc0; /* A(3, 7) */
            run(devices[path], (enum form)form, &p);
            for (int i = 0; i < 40 * 40; i++)
                assert_int_equal(isnan(c[i]) != 0, i / 40 == 3);
            test_floats_free(c, 40 * 40);
        }
}

/* The sum 2^-126 - 2^-152 lies below the smallest normal number and rounds to it: all paths must agree on
 * whether it is flushed. */
static void test_rounding_up_to_normal(void **state)
{
    struct jrl_device **devices = *state;
    for (int path = 0; path < N_TEST_PATHS; path++) {
        if (!devices[path])
            continue;
        jrl_bf16 a[32] = { 0 }, b[32] = { 0 };
        a[0] = b[0] = jrl_f32_to_bf16(0x1p-63f);
        a[2] = jrl_f32_to_bf16(0x1p-76f);
        b[2] = jrl_f32_to_bf16(-0x1p-76f);
        float c = NAN;
        struct jrl_matmul p = { JRL_BF16, 1, 1, 32, a, b, &c, 32, 32, 1, false };
        run(devices[path], NT, &p);
#if defined(__x86_64__)
        assert_int_equal(jrl_bits_of_float(c), jrl_bits_of_float(0x1p-126f));
#else
        assert_true(c == 0x1p-126f || c == 0);
#endif
    }
}

static void test_refusals(void **state)
{
    struct jrl_error err = { 0 };
    float x[4] = { 0 };
    struct jrl_matmul p = { JRL_F16, 2, 2, 2, x, x, x, 2, 2, 2, false };
    (void)state;
    assert_int_equal(jrl_matmul_nt(plain, &p, &err), JRL_ERR_RUN);
    p.dtype = JRL_F32;
    p.lda = 1;
    assert_int_equal(jrl_matmul_nn(plain, &p, &err), JRL_ERR_RUN);
    p.lda = 2;
    p.k = -1;
    assert_int_equal(jrl_matmul_tn(plain, &p, &err), JRL_ERR_RUN);
}

int main(void)
{
    static struct jrl_device *devices[N_TEST_PATHS];
    void *state = devices;
    for (int i = 0; i < N_TEST_PATHS; i++) {
        devices[i] = test_device(test_paths[i], 2);
        if (!devices[i])
            printf("# skipped: this processor has no %s\n", test_paths[i]);
    }
    plain = test_device("portable", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_shapes, state),
        cmocka_unit_test_prestate(test_rows_and_threads, state),
        cmocka_unit_test_prestate(test_nan_and_denormals, state),
        cmocka_unit_test_prestate(test_rounding_up_to_normal, state),
        cmocka_unit_test_prestate(test_refusals, state),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < N_TEST_PATHS; i++)
        jrl_device_close(devices[i]);
    jrl_device_close(plain);
    return failed;
}
