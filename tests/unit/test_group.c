/* Groups: what completes one, and that every way to spoil one is refused with its name. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "data/group.h"

/* One rollout; draw -1: none. */
static int add(struct jrl_group *g, uint64_t uid, int64_t draw, int64_t sample, int64_t samples, struct jrl_error *err)
{
    struct jrl_record rec = { 0 };
    int rc;

    jrl_record_set_u64(&rec, "uid", uid);
    if (draw >= 0)
        jrl_record_set_i64(&rec, "draw", draw);
    jrl_record_set_i64(&rec, "sample", sample);
    jrl_record_set_i64(&rec, "samples", samples);
    jrl_record_set_f64(&rec, "reward", (double)sample);
    rc = jrl_group_add(g, &rec, err);
    jrl_record_release(&rec);
    return rc;
}

static void test_two_groups_of_one_problem(void **state)
{
    struct jrl_group g = { 0 };
    double reward;

    (void)state;
    for (int64_t draw = 7; draw < 9; draw++) {
        for (int64_t i = 2; i >= 0; i--) {
            assert_int_equal(add(&g, UINT64_MAX, draw, i, 3, NULL), JRL_OK);
            assert_int_equal(jrl_group_complete(&g), i == 0);
        }
        assert_int_equal(g.n, 3);
        assert_int_equal(g.key.draw, draw);
        for (int64_t i = 0; i < 3; i++) {
            assert_int_equal(jrl_record_f64(&g.records[i], "reward", &reward, NULL), JRL_OK);
            assert_true(reward == (double)(2 - i));
        }
    }
    assert_int_equal(jrl_group_end(&g, NULL), JRL_OK);
    assert_false(jrl_group_complete(&g));
    assert_int_equal(jrl_group_end(&g, NULL), JRL_OK);
    jrl_group_release(&g);
}

static void refuses(const char *want, int64_t first_draw, int64_t first_samples, uint64_t uid, int64_t draw, int64_t sample, int64_t samples)
{
    struct jrl_group g = { 0 };
    struct jrl_error err = { 0 };

    assert_int_equal(add(&g, 5, first_draw, 0, first_samples, &err), JRL_OK);
    if (add(&g, uid, draw, sample, samples, &err) != JRL_ERR_INPUT || !strstr(err.text, want))
        fail_msg("expected '%s', got '%s'", want, err.text);
    jrl_group_release(&g);
}

static void test_spoiled_groups_are_named(void **state)
{
    (void)state;
    refuses("group of uid 5, draw 3 is incomplete: 1 of 4 samples, the first missing is 1", 3, 4, 6, 4, 0, 4);
    refuses("group of uid 5 is incomplete: 1 of 2 samples", -1, 2, 6, -1, 1, 2);
    refuses("group of uid 5, draw 3 is mixed: a member has uid 6", 3, 4, 6, 3, 1, 4);
    refuses("group of uid 5, draw 3 is mixed: field 'samples' is 4 in one member and 8 in another", 3, 4, 5, 3, 1, 8);
    refuses("group of uid 5, draw 3: sample 0 comes twice", 3, 4, 5, 3, 0, 4);
    refuses("group of uid 5, draw 3: field 'sample' is 4, not from 0 to 3", 3, 4, 5, 3, 4, 4);
    refuses("group of uid 5 is incomplete", -1, 4, 5, 3, 1, 4);
}

/* Members of policies A and B (NULL: the field is missing). */
static int add_two_policies(const char *a, const char *b, struct jrl_error *err)
{
    const char *policies[] = { a, b };
    struct jrl_group g = { 0 };
    int rc = JRL_OK;

    for (int64_t i = 0; i < 2 && rc == JRL_OK; i++) {
        struct jrl_record rec = { 0 };

        jrl_record_set_u64(&rec, "uid", 5);
        jrl_record_set_i64(&rec, "sample", i);
        jrl_record_set_i64(&rec, "samples", 2);
        if (policies[i])
            jrl_record_set_str(&rec, "policy", policies[i], strlen(policies[i]));
        rc = jrl_group_add(&g, &rec, err);
        jrl_record_release(&rec);
    }
    jrl_group_release(&g);
    return rc;
}

static void test_one_policy(void **state)
{
    static const char *const bad[][2] = { { "a", "b" }, { "a", "ab" }, { "a", NULL }, { NULL, "a" }, { NULL, "" } };

    (void)state;
    assert_int_equal(add_two_policies(NULL, NULL, NULL), JRL_OK);
    assert_int_equal(add_two_policies("a", "a", NULL), JRL_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct jrl_error err = { 0 };

        assert_int_equal(add_two_policies(bad[i][0], bad[i][1], &err), JRL_ERR_INPUT);
        assert_non_null(strstr(err.text, "group of uid 5 is mixed: field 'policy' is"));
    }
}

static void test_bad_first_member(void **state)
{
    static const int64_t bad[][2] = { { 0, 0 }, { 0, -1 }, { 0, 65537 }, { -1, 4 }, { 4, 4 }, { INT64_MIN, 4 } };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct jrl_group g = { 0 };
        struct jrl_error err = { 0 };

        assert_int_equal(add(&g, 5, 3, bad[i][0], bad[i][1], &err), JRL_ERR_INPUT);
        assert_non_null(strstr(err.text, "group of uid 5, draw 3: field 'sample"));
        assert_int_equal(jrl_group_end(&g, NULL), JRL_OK);
        jrl_group_release(&g);
    }
}

static void test_open_group_at_the_end(void **state)
{
    struct jrl_group g = { 0 };
    struct jrl_error err = { 0 };

    (void)state;
    assert_int_equal(add(&g, 5, 3, 0, 3, NULL), JRL_OK);
    assert_int_equal(add(&g, 5, 3, 2, 3, NULL), JRL_OK);
    assert_int_equal(jrl_group_end(&g, &err), JRL_ERR_INPUT);
    assert_non_null(strstr(err.text, "group of uid 5, draw 3 is incomplete: 2 of 3 samples, the first missing is 1"));
    jrl_group_release(&g);
}

/* The same draw again is a doubled group; the same problem without draws may be two examples of it. */
static void test_a_group_that_comes_twice(void **state)
{
    struct jrl_group g = { 0 };
    struct jrl_error err = { 0 };

    (void)state;
    assert_int_equal(add(&g, 5, -1, 0, 1, NULL), JRL_OK);
    assert_int_equal(add(&g, 5, -1, 0, 1, NULL), JRL_OK);
    assert_int_equal(add(&g, 5, 3, 0, 1, NULL), JRL_OK);
    jrl_group_clear(&g);
    assert_int_equal(add(&g, 5, 3, 0, 1, &err), JRL_ERR_INPUT);
    assert_non_null(strstr(err.text, "group of uid 5, draw 3 comes twice"));
    jrl_group_release(&g);
}

static void test_missing_fields(void **state)
{
    static const char *const fields[] = { "uid", "sample", "samples" };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct jrl_group g = { 0 };
        struct jrl_record rec = { 0 };
        struct jrl_error err = { 0 };

        for (size_t j = 0; j < 3; j++)
            if (j != i)
                jrl_record_set_i64(&rec, fields[j], (int64_t)j);
        assert_int_equal(jrl_group_add(&g, &rec, &err), JRL_ERR_INPUT);
        assert_non_null(strstr(err.text, fields[i]));
        jrl_record_release(&rec);
        jrl_group_release(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_groups_of_one_problem), cmocka_unit_test(test_spoiled_groups_are_named),
        cmocka_unit_test(test_bad_first_member),          cmocka_unit_test(test_open_group_at_the_end),
        cmocka_unit_test(test_a_group_that_comes_twice),  cmocka_unit_test(test_missing_fields),
        cmocka_unit_test(test_one_policy),
    };
    return cmocka_run_group_tests_name("group", tests, NULL, NULL);
}
