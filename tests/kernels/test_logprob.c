/* Log-softmax, entropy and their gradient against double precision and finite differences, on every path. */
#include "compare.h"

#include "kernels/logprob.h"

struct logprob_case {
    enum jrl_dtype dtype;
    int64_t rows, vocab, ld;
    float inv_temperature;
    float *logits, *dlogprob, *dentropy;
    uint32_t *targets;
    float *logprob, *entropy, *lse, *dlogits; /* of the first device */
};

struct reference {
    double logprob, entropy, lse;
};

static struct reference reference_row(const struct logprob_case *c, const float *logits, uint32_t target)
{
    double max = -INFINITY, sum = 0, weighted = 0, t = c->inv_temperature;
    for (int64_t i = 0; i < c->vocab; i++)
        max = fmax(max, logits[i] * t);
    for (int64_t i = 0; i < c->vocab; i++) {
        double below = logits[i] * t - max;
        sum += exp(below);
        weighted += exp(below) * below;
    }
    return (struct reference){ logits[target] * t - max - log(sum), log(sum) - weighted / sum, max + log(sum) };
}

static void check_reference(const struct logprob_case *c)
{
    double rtol = c->dtype == JRL_F32 ? 1e-5 : 4e-3;
    for (int64_t r = 0; r < c->rows; r++) {
        float *row = c->logits + r * c->ld;
        struct reference want = reference_row(c, row, c->targets[r]);
        double size = fabs(want.lse), t = c->inv_temperature;
        expect_close("logprob", c->logprob + r, &want.logprob, 1, 5e-7, 1.2e-7);
        expect_close("entropy", c->entropy + r, &want.entropy, 1, 1e-6, 5e-7);
        expect_close("lse", c->lse + r, &want.lse, 1, 1e-7 * (1 + size), 0);
        for (int64_t i = 0; i < c->vocab; i++) {
            double log_p = row[i] * t - want.lse, p = exp(log_p);
            double d = t * (c->dlogprob[r] * ((i == c->targets[r]) - p) - c->dentropy[r] * p * (log_p + want.entropy));
            expect_close("dlogits", c->dlogits + r * c->ld + i, &d, 1, 1e-6 * t * (p + (i == c->targets[r])), rtol);
        }
    }
}

/* The gradient against differences of the reference. */
static void check_slopes(const struct logprob_case *c)
{
    for (int64_t r = 0; r < c->rows; r++)
        for (int64_t i = 0; i < c->vocab; i++) {
            float *x = c->logits + r * c->ld + i, kept = *x;
            volatile float moved[2] = { kept - 0.01f, kept + 0.01f };
            double value[2];
            for (int side = 0; side < 2; side++) {
                *x = moved[side];
                struct reference got = reference_row(c, c->logits + r * c->ld, c->targets[r]);
                value[side] = c->dlogprob[r] * got.logprob + c->dentropy[r] * got.entropy;
            }
            *x = kept;
            double slope = (value[1] - value[0]) / ((double)moved[1] - moved[0]);
            assert_true(fabs(slope - c->dlogits[r * c->ld + i]) <= 1e-4 * (1 + fabs(slope)));
        }
}

static void check_logprob(struct jrl_device *dev, bool first, void *ctx)
{
    struct logprob_case *c = ctx;
    struct jrl_error err = { 0 };
    int64_t n = c->rows * c->ld;
    float *logprob = test_floats(c->rows), *entropy = test_floats(c->rows), *lse = test_floats(c->rows), *copy, *alone = test_floats(c->rows);
    void *dlogits = test_elements(c->dtype, n);

    assert_int_equal(jrl_logprob(dev, logprob, entropy, lse, c->logits, c->ld, c->targets, c->inv_temperature, c->rows, c->vocab, &err), JRL_OK);
    assert_int_equal(jrl_logprob(dev, alone, NULL, NULL, c->logits, c->ld, c->targets, c->inv_temperature, c->rows, c->vocab, &err), JRL_OK);
    expect_same_bits("logprob alone", alone, logprob, c->rows);
    test_floats_free(alone, c->rows);
    assert_int_equal(jrl_logprob_backward(dev, dlogits, c->dtype, c->logits, c->ld, c->targets, c->inv_temperature, lse, entropy,
                                          c->dlogprob, c->dentropy, c->rows, c->vocab, &err), JRL_OK);
    copy = as_floats(dlogits, c->dtype, n);
    test_elements_free(c->dtype, dlogits, n);
    if (first) {
        c->logprob = logprob;
        c->entropy = entropy;
        c->lse = lse;
        c->dlogits = copy;
        return;
    }
    expect_same_bits("logprob", logprob, c->logprob, c->rows);
    expect_same_bits("entropy", entropy, c->entropy, c->rows);
    expect_same_bits("lse", lse, c->lse, c->rows);
    expect_same_bits("dlogits", copy, c->dlogits, n);
    test_floats_free(logprob, c->rows);
    test_floats_free(entropy, c->rows);
    test_floats_free(lse, c->rows);
    test_floats_free(copy, n);
}

static struct logprob_case new_case(enum jrl_dtype dtype, int64_t rows, int64_t vocab, float inv_temperature, float size)
{
    struct test_random random = { (uint32_t)(rows * 1000 + vocab) };
    int64_t ld = vocab + 3;
    struct logprob_case c = { .dtype = dtype, .rows = rows, .vocab = vocab, .ld = ld, .inv_temperature = inv_temperature,
                              .logits = test_floats(rows * ld), .dlogprob = test_floats(rows), .dentropy = test_floats(rows),
                              .targets = malloc((size_t)rows * 4 + 4) };
    fill_elements(&random, c.logits, JRL_F32, rows * ld, size);
    fill_elements(&random, c.dlogprob, JRL_F32, rows, 1);
    fill_elements(&random, c.dentropy, JRL_F32, rows, 1);
    for (int64_t r = 0; r < rows; r++) {
        c.targets[r] = (uint32_t)((r * 7919 + vocab / 2) % vocab);
        if (r % 2)
            c.logits[r * ld + c.targets[r]] += 2 * size; /* a likely token: logprob near 0 */
    }
    return c;
}

static void release_case(struct logprob_case *c)
{
    test_floats_free(c->logits, c->rows * c->ld);
    test_floats_free(c->dlogprob, c->rows);
    test_floats_free(c->dentropy, c->rows);
    test_floats_free(c->logprob, c->rows);
    test_floats_free(c->entropy, c->rows);
    test_floats_free(c->lse, c->rows);
    test_floats_free(c->dlogits, c->rows * c->ld);
    free(c->targets);
}

static void run_case(enum jrl_dtype dtype, int64_t rows, int64_t vocab, float inv_temperature, float size, bool slopes)
{
    struct logprob_case c = new_case(dtype, rows, vocab, inv_temperature, size);
    on_every_device(check_logprob, &c);
    check_reference(&c);
    if (slopes)
        check_slopes(&c);
    release_case(&c);
}

static void test_logprob(void **state)
{
    const int64_t rows[] = { 0, 1, 3 }, vocabs[] = { 1, 2, 31, 33, 64, 1023, 1024, 1025, 9000 };
    (void)state;
    for (int dtype = JRL_F32; dtype <= JRL_BF16; dtype++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            for (size_t v = 0; v < sizeof vocabs / sizeof *vocabs; v++)
                run_case((enum jrl_dtype)dtype, rows[r], vocabs[v], 1.0f / 0.6f, 8, dtype == JRL_F32 && vocabs[v] < 100);
}

/* The vocabulary of Qwen2: near-uniform, where the sum has the most terms, and peaked. */
static void test_large_vocabulary(void **state)
{
    (void)state;
    run_case(JRL_F32, 1, 151936, 1, 0.01f, false);
    run_case(JRL_F32, 1, 151936, 1, 12, false);
}

static void test_not_finite(void **state)
{
    const float bad[] = { NAN, INFINITY, -INFINITY };
    (void)state;
    for (int kind = 0; kind < 3; kind++)
        for (int64_t at = 0; at < 2100; at += 700) {
            struct logprob_case c = new_case(JRL_F32, 3, 2100, 1, 3);
            c.logits[c.ld + at] = bad[kind];
            on_every_device(check_logprob, &c);
            for (int64_t r = 0; r < 3; r++) {
                assert_int_equal(isnan(c.logprob[r]), r == 1);
                assert_int_equal(isnan(c.entropy[r]), r == 1);
                assert_int_equal(isnan(c.lse[r]), r == 1);
                for (int64_t i = 0; i < c.vocab; i++)
                    assert_int_equal(isnan(c.dlogits[r * c.ld + i]), r == 1);
            }
            release_case(&c);
        }
}

static void test_in_place(void **state)
{
    struct logprob_case c = new_case(JRL_F32, 2, 1500, 1, 3);
    struct jrl_device *dev = test_device("portable", 1);
    struct jrl_error err = { 0 };
    (void)state;
    on_every_device(check_logprob, &c);
    assert_int_equal(jrl_logprob_backward(dev, c.logits, JRL_F32, c.logits, c.ld, c.targets, 1, c.lse, c.entropy, c.dlogprob,
                                          c.dentropy, c.rows, c.vocab, &err), JRL_OK);
    for (int64_t r = 0; r < 2; r++)
        expect_same_bits("in place", c.logits + r * c.ld, c.dlogits + r * c.ld, c.vocab);
    assert_int_equal(jrl_logprob_backward(dev, c.dlogits, JRL_F32, c.logits, c.ld, c.targets, 1, c.lse, NULL, c.dlogprob,
                                          NULL, c.rows, c.vocab, &err), JRL_OK);
    assert_false(isnan(c.dlogits[0]));
    jrl_device_close(dev);
    release_case(&c);
}

static void test_refused(void **state)
{
    struct jrl_device *dev = test_device("portable", 1);
    struct jrl_error err = { 0 };
    float logits[4] = { 0 }, out = 0;
    uint32_t target = 4;
    (void)state;
    assert_int_equal(jrl_logprob(dev, &out, NULL, NULL, logits, 4, &target, 1, 1, 4, &err), JRL_ERR_RUN);
    assert_non_null(strstr(err.text, "token 4"));
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_logprob(dev, &out, NULL, NULL, logits, 3, &target, 1, 1, 4, &err), JRL_ERR_RUN);
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_logprob(dev, &out, NULL, NULL, logits, 4, NULL, 1, 1, 4, &err), JRL_ERR_RUN);
    assert_non_null(strstr(err.text, "targets"));
    jrl_device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logprob), cmocka_unit_test(test_large_vocabulary), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_in_place), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
