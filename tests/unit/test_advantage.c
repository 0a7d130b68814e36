/* Advantages against the published formulas (tests/golden/make_advantage.py), and the cases formulas leave open. */
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
#include "learn/advantage.h"

enum { MAX_ROLLOUTS = 512 };

static void check_case(FILE *f)
{
    static double reward[MAX_ROLLOUTS], want[MAX_ROLLOUTS], got[MAX_ROLLOUTS];
    static int64_t tokens[MAX_ROLLOUTS];
    enum jrl_estimator estimator;
    char name[32], whiten[16];
    int64_t n_groups, n, total = 0;
    double epsilon;

    assert_int_equal(fscanf(f, "%31s %lf %15s %" SCNd64, name, &epsilon, whiten, &n_groups), 4);
    assert_true(jrl_estimator_find(&estimator, name));
    for (int64_t g = 0; g < n_groups; g++, total += n) {
        assert_int_equal(fscanf(f, " group %" SCNd64, &n), 1);
        assert_true(n >= 1 && total + n <= MAX_ROLLOUTS);
        for (int64_t i = total; i < total + n; i++)
            assert_int_equal(fscanf(f, "%lf %" SCNd64 " %lf", &reward[i], &tokens[i], &want[i]), 3);
        jrl_advantage_group(estimator, epsilon, reward + total, n, got + total);
    }
    if (strcmp(whiten, "none") != 0)
        jrl_advantage_whiten(got, strcmp(whiten, "tokens") == 0 ? tokens : NULL, total, epsilon);
    for (int64_t i = 0; i < total; i++)
        if (!(fabs(got[i] - want[i]) <= 1e-6))
            fail_msg("%s, rollout %" PRId64 ": got %.17g, expected %.17g", name, i, got[i], want[i]);
}

static void test_published_formulas(void **state)
{
    const char *top = getenv("JRL_TOP");
    char *path = jrl_xasprintf("%s/tests/golden/advantage.txt", top ? top : "."), word[16];
    FILE *f = fopen(path, "r");
    int n_cases = 0;

    (void)state;
    assert_non_null(f);
    free(path);
    for (; fscanf(f, "%15s", word) == 1; n_cases++) {
        assert_string_equal(word, "case");
        check_case(f);
    }
    assert_int_equal(n_cases, 8);
    fclose(f);
}

/* 0.1 three times has a mean that is not 0.1 when summed naively; the advantage must be 0, not 1e-11. */
static void test_equal_rewards_are_exactly_zero(void **state)
{
    const double values[] = { 0.1, -1, 1, 1e300, 0, 1.0 / 3 };
    double r[7], a[7];

    (void)state;
    for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
        for (int i = 0; i < 7; i++)
            r[i] = values[v];
        for (int e = JRL_GRPO; e <= JRL_REINFORCE_BASELINE; e++) {
            jrl_advantage_group((enum jrl_estimator)e, e == JRL_GRPO ? 0 : 1e-6, r, 7, a);
            for (int i = 0; i < 7; i++)
                assert_true(a[i] == 0);
        }
    }
    jrl_advantage_whiten(a, NULL, 7, 0);
    assert_true(a[0] == 0 && a[6] == 0);
}

static void test_group_of_one(void **state)
{
    double r = -1, a;

    (void)state;
    jrl_advantage_group(JRL_GRPO, 1e-6, &r, 1, &a);
    assert_true(fabs(a - -1 / (1 + 1e-6)) < 1e-15);
    for (int e = JRL_DR_GRPO; e <= JRL_REINFORCE_BASELINE; e++) {
        jrl_advantage_group((enum jrl_estimator)e, 1e-6, &r, 1, &a);
        assert_true(a == -1);
    }
    jrl_advantage_whiten(&a, NULL, 1, 1e-8);
    assert_true(a == 0);
}

/* The recipe's usual group by hand: one right of eight. */
static void test_one_right_of_eight(void **state)
{
    double r[8] = { 1, -1, -1, -1, -1, -1, -1, -1 }, a[8];
    double deviation = sqrt((1.75 * 1.75 + 7 * 0.25 * 0.25) / 7);

    (void)state;
    jrl_advantage_group(JRL_GRPO, 1e-6, r, 8, a);
    assert_true(fabs(a[0] - 1.75 / (deviation + 1e-6)) < 1e-12);
    assert_true(fabs(a[7] - -0.25 / (deviation + 1e-6)) < 1e-12);
    jrl_advantage_group(JRL_RLOO, 0, r, 8, a);
    assert_true(fabs(a[0] - 2) < 1e-12);
    assert_true(fabs(a[7] - (-1 - (1.0 - 6) / 7)) < 1e-12);
}

static void test_names(void **state)
{
    enum jrl_estimator e;

    (void)state;
    assert_true(jrl_estimator_find(&e, "grpo") && e == JRL_GRPO);
    assert_true(jrl_estimator_find(&e, "reinforce++-baseline") && e == JRL_REINFORCE_BASELINE);
    assert_false(jrl_estimator_find(&e, "ppo"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_formulas), cmocka_unit_test(test_equal_rewards_are_exactly_zero),
        cmocka_unit_test(test_group_of_one),       cmocka_unit_test(test_one_right_of_eight),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("advantage", tests, NULL, NULL);
}
