/* Scores against exact values of tests/golden/make_score.py. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "score/score.h"

static void near(double got, double want, double tolerance, const char *what)
{
    if (!(fabs(got - want) <= tolerance * fmax(1, fabs(want))))
        fail_msg("%s: got %.17g, expected %.17g", what, got, want);
}

static void read_majority(FILE *f)
{
    struct jrl_vote votes[64] = { { 0 } };
    int64_t n, scratch[64];
    int want, correct;

    assert_int_equal(fscanf(f, "%d %" SCNd64, &want, &n), 2);
    assert_true(n <= 64);
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(fscanf(f, "%" SCNu64 " %d", &votes[i].answer, &correct), 2);
        votes[i].votes = votes[i].answer != 0;
        votes[i].correct = correct;
    }
    assert_int_equal(jrl_majority_correct(votes, n, scratch), want);
}

static void read_mean(FILE *f)
{
    double confidence, value, std_error, low, high, x[512];
    struct jrl_estimate e;
    int64_t n;

    assert_int_equal(fscanf(f, "%lf %" SCNd64 " %lf %lf %lf %lf", &confidence, &n, &value, &std_error, &low, &high), 6);
    assert_true(n <= 512);
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(fscanf(f, "%lf", &x[i]), 1);
    e = jrl_estimate_mean(x, n, 0, confidence);
    assert_int_equal(e.n, n);
    near(e.value, value, 1e-12, "mean");
    near(e.std_error, std_error, 1e-12, "standard error");
    near(e.low, low, 1e-9, "low");
    near(e.high, high, 1e-9, "high");
}

static void test_golden(void **state)
{
    const char *top = getenv("JRL_TOP");
    char *path = jrl_xasprintf("%s/tests/golden/score.txt", top ? top : "."), kind[32];
    FILE *f = fopen(path, "r");
    int n_read = 0;

    (void)state;
    assert_non_null(f);
    free(path);
    for (; fscanf(f, "%31s", kind) == 1; n_read++) {
        double want, confidence;
        int64_t n, c, k;

        if (strcmp(kind, "pass") == 0) {
            assert_int_equal(fscanf(f, "%" SCNd64 " %" SCNd64 " %" SCNd64 " %lf", &n, &c, &k, &want), 4);
            near(jrl_pass_at_k(n, c, k), want, 1e-12, "pass@k");
        } else if (strcmp(kind, "student") == 0) {
            assert_int_equal(fscanf(f, "%lf %" SCNd64 " %lf", &confidence, &n, &want), 3);
            near(jrl_student_quantile(confidence, (double)n), want, 1e-9, "Student quantile");
        } else if (strcmp(kind, "majority") == 0) {
            read_majority(f);
        } else {
            assert_string_equal(kind, "mean");
            read_mean(f);
        }
    }
    assert_true(n_read > 100);
    fclose(f);
}

static void test_majority_ties(void **state)
{
    /* answers 7 and 9 have two votes each; 7 came first; the silent first sample does not vote */
    struct jrl_vote votes[] = { { 3, false, true }, { 7, true, true }, { 9, true, false }, { 9, true, false }, { 7, true, false } };
    int64_t scratch[5];

    (void)state;
    assert_true(jrl_majority_correct(votes, 5, scratch));
    votes[1].correct = false;
    assert_false(jrl_majority_correct(votes, 5, scratch));
    assert_false(jrl_majority_correct(votes, 1, scratch));
    assert_false(jrl_majority_correct(votes, 0, scratch));
}

static void test_small_means(void **state)
{
    double x[3] = { 1, 1, 1 };
    struct jrl_estimate e = jrl_estimate_mean(x, 0, 0, 0.95);

    (void)state;
    assert_true(isnan(e.value));
    e = jrl_estimate_mean(x, 1, 0, 0.95);
    assert_true(e.value == 1 && isnan(e.std_error) && isnan(e.low));
    e = jrl_estimate_mean(x, 3, 0, 0.95);
    assert_true(e.value == 1 && e.std_error == 0 && e.low == 1 && e.high == 1);
}

static void test_differences(void **state)
{
    const double x[4] = { -1, -1, -0.5, -1 }, y[2] = { 0.25, 0.25 };
    const struct jrl_estimate a = jrl_estimate_mean(x, 4, -1, 0.95), b = jrl_estimate_mean(y, 2, -1, 0.95), lone = jrl_estimate_mean(y, 1, -1, 0.95);
    const struct jrl_estimate *rows[2] = { &a, &b }, *with_lone[2] = { &a, &lone };
    struct jrl_estimate e;

    (void)state;
    assert_true(a.value == -0.875 && a.low == -1 && a.high > -0.875 && a.high < 0);
    assert_true(b.low == 0.25 && b.high == 0.25);
    e = jrl_estimate_rows(rows, 2, -1, 0.95);
    near(e.value, -0.3125, 1e-15, "mean of rows");
    near(e.std_error, a.std_error / 2, 1e-15, "its standard error");
    near(e.high - e.value, jrl_student_quantile(0.95, 4) * e.std_error, 1e-12, "its reach");
    assert_int_equal(e.n, 6);
    e = jrl_estimate_rows(with_lone, 2, -1, 0.95); /* one problem has no deviation */
    assert_true(e.value == -0.3125 && isnan(e.std_error) && isnan(e.low));
    e = jrl_estimate_rows(rows, 0, -1, 0.95);
    assert_true(e.n == 0 && isnan(e.value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_majority_ties),
        cmocka_unit_test(test_small_means),
        cmocka_unit_test(test_differences),
    };
    return cmocka_run_group_tests_name("score", tests, NULL, NULL);
}
