/* Rollouts into problems: 4-grams counted and sampled, problems paired and missed. The numbers themselves: t0330-eval.sh. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "score/tally.h"

#define TEXT(s) ((struct jrl_text){ s, sizeof(s) - 1 })

static void counts(struct jrl_text text, int64_t total, int64_t distinct)
{
    struct jrl_ngrams g = { 0 };

    jrl_ngrams_add(&g, text);
    if (g.total != total || g.n != distinct)
        fail_msg("'%s': %" PRId64 " 4-grams, %" PRId64 " different", text.data, g.total, g.n);
    assert_true(jrl_ngrams_distinct(&g) == (total ? (double)distinct / (double)total : 0));
    jrl_ngrams_release(&g);
}

static void test_words(void **state)
{
    (void)state;
    counts(TEXT(""), 0, 0);
    counts(TEXT(" \n\t "), 0, 0);
    counts(TEXT("a b c"), 0, 0);
    counts(TEXT("a b c d"), 1, 1);
    counts(TEXT("  a\n\nb\tc   d "), 1, 1);
    counts(TEXT("a a a a a a"), 3, 1);
    counts(TEXT("a b a b a b"), 3, 2);
    counts(TEXT("a b c d a b c d"), 5, 4);
    /* U+00A0, U+3000, U+2028, U+0085 and U+001F part words; U+200B, U+FEFF and NUL do not */
    counts(TEXT("a\xC2\xA0" "b\xE3\x80\x80" "c\xE2\x80\xA8" "d\xC2\x85" "e\x1F" "f"), 3, 3);
    counts(TEXT("a\xE2\x80\x8B" "b\xEF\xBB\xBF" "c\0d e"), 0, 0);
    /* what is not UTF-8 belongs to its word: a lone 0x85, a cut U+3000 at the end */
    counts(TEXT("a\x85 b c d\xE3\x80"), 1, 1);
    counts(TEXT("a b c \x85"), 1, 1);
    counts(TEXT("a b c d\xE3\x80 e"), 2, 2);
}

/* N words that are all different, numbered from FIRST. */
static struct jrl_text numbers(struct jrl_buffer *b, int64_t first, int64_t n)
{
    b->len = 0;
    for (int64_t i = 0; i < n; i++)
        jrl_buffer_printf(b, "%" PRId64 " ", first + i);
    return (struct jrl_text){ (const char *)b->data, b->len };
}

static void test_responses_do_not_join(void **state)
{
    struct jrl_ngrams g = { 0 };

    (void)state;
    jrl_ngrams_add(&g, TEXT("a b c d"));
    jrl_ngrams_add(&g, TEXT("a b c d"));
    jrl_ngrams_add(&g, TEXT("b c d e"));
    assert_int_equal(g.total, 3);
    assert_int_equal(g.n, 2);
    jrl_ngrams_close(&g);
    assert_true(fabs(jrl_ngrams_distinct(&g) - 2.0 / 3) < 1e-15);
    jrl_ngrams_release(&g);
}

static void test_thinning(void **state)
{
    struct jrl_ngrams g = { 0 };
    struct jrl_buffer b = { 0 };
    double thinned;

    (void)state;
    jrl_ngrams_add(&g, numbers(&b, 0, 100003));
    assert_int_equal(g.n, 100000);
    for (int i = 0; i < 3; i++)
        jrl_ngrams_thin(&g);
    assert_true(g.n > 11500 && g.n < 13500);
    thinned = jrl_ngrams_distinct(&g);
    assert_true(fabs(thinned - 1) < 0.04); /* four deviations of sqrt(8 / 100000) */
    jrl_ngrams_add(&g, numbers(&b, 0, 100003)); /* what was forgotten is not taken for new */
    assert_true(fabs(jrl_ngrams_distinct(&g) - thinned / 2) < 1e-12);
    jrl_ngrams_add(&g, numbers(&b, 0, 0));
    jrl_ngrams_release(&g);

    /* by itself, when there are too many for one problem */
    jrl_ngrams_add(&g, numbers(&b, 1000000, JRL_NGRAMS_MAX + 3));
    assert_int_equal(g.level, 0);
    assert_int_equal(g.n, JRL_NGRAMS_MAX);
    jrl_ngrams_add(&g, TEXT("one more four-gram here"));
    assert_int_equal(g.level, 1);
    assert_int_equal(g.total, JRL_NGRAMS_MAX + 1);
    assert_true(fabs(jrl_ngrams_distinct(&g) - 1) < 0.004);
    jrl_ngrams_release(&g);
    jrl_buffer_release(&b);
}

static int add(struct jrl_tally *t, const char *source, uint64_t uid, int64_t sample, int64_t samples, bool correct, struct jrl_text text)
{
    struct jrl_verified v = { .source = { source, strlen(source) }, .uid = uid, .draw = -1, .sample = sample, .samples = samples,
                              .correct = correct, .text = text, .n_tokens = -1, .truncated = -1 };

    return jrl_tally_add(t, &v, NULL);
}

/* 40 problems of 4 rollouts; with SHUFFLED all are open until the end. */
static void fill(struct jrl_tally *t, bool shuffled)
{
    struct jrl_buffer b = { 0 };

    for (int64_t i = 0; i < 160; i++) {
        int64_t problem = shuffled ? i % 40 : i / 4, sample = shuffled ? i / 40 : i % 4;

        /* a quarter of the 4-grams of a problem is different: its responses are the same */
        assert_int_equal(add(t, "s", (uint64_t)problem, sample, 4, false, numbers(&b, 1000000 * problem, 5003)), JRL_OK);
        assert_true(t->n_ngrams >= 0 && t->n_ngrams <= (t->max_ngrams ? t->max_ngrams : JRL_TALLY_NGRAMS));
    }
    assert_int_equal(jrl_tally_finish(t, false, NULL), JRL_OK);
    assert_int_equal(t->n, 40);
    assert_int_equal(t->n_ngrams, 0);
    jrl_buffer_release(&b);
}

static void test_budget(void **state)
{
    struct jrl_tally whole = { 0 }, shuffled = { 0 }, tight = { .max_ngrams = 20000 }, tight_whole = { .max_ngrams = 20000 };
    double mean = 0;

    (void)state;
    fill(&whole, false);
    fill(&shuffled, true);
    fill(&tight, true);
    fill(&tight_whole, false);
    for (int64_t i = 0; i < 40; i++) {
        assert_true(jrl_ngrams_distinct(&whole.problems[i].ngrams) == 0.25);
        assert_true(jrl_ngrams_distinct(&shuffled.problems[i].ngrams) == 0.25);
        assert_true(jrl_ngrams_distinct(&tight_whole.problems[i].ngrams) == 0.25);
        assert_true(tight.problems[i].ngrams.level >= 1);
        mean += jrl_ngrams_distinct(&tight.problems[i].ngrams) / 40;
    }
    assert_true(fabs(mean - 0.25) < 0.01); /* 200,000 4-grams of which some 12,000 are kept: a deviation of 0.9 % */
    jrl_tally_release(&whole);
    jrl_tally_release(&shuffled);
    jrl_tally_release(&tight);
    jrl_tally_release(&tight_whole);
}

static void test_one_too_many(void **state)
{
    struct jrl_tally t = { 0 };
    struct jrl_error err = { 0 };

    (void)state;
    for (int64_t i = 0; i < 4; i++)
        assert_int_equal(add(&t, "aime", 7, i % 3, 3, true, TEXT("a b c d e f")), JRL_OK);
    assert_int_equal(jrl_tally_finish(&t, false, &err), JRL_ERR_INPUT);
    assert_string_equal(err.text, "problem uid 7 of source 'aime': sample 0 comes twice");
    jrl_tally_release(&t);
}

static void must_fail(int rc, struct jrl_error *err, const char *want)
{
    assert_int_equal(rc, JRL_ERR_INPUT);
    assert_string_equal(err->text, want);
    memset(err, 0, sizeof(*err));
}

static void test_pairs(void **state)
{
    struct jrl_tally a = { 0 }, b = { 0 }, empty = { 0 };
    struct jrl_error err = { 0 };

    (void)state;
    assert_int_equal(add(&a, "x", 2, 0, 2, true, TEXT("")), JRL_OK);
    assert_int_equal(add(&a, "x", 2, 1, 2, false, TEXT("")), JRL_OK);
    assert_int_equal(add(&a, "", 2, 0, 1, true, TEXT("")), JRL_OK);
    assert_int_equal(jrl_tally_finish(&a, false, &err), JRL_OK);
    assert_int_equal(add(&b, "", 2, 0, 1, true, TEXT("")), JRL_OK);
    assert_int_equal(add(&b, "x", 1, 0, 1, true, TEXT("")), JRL_OK);
    assert_int_equal(add(&b, "x", 2, 0, 1, true, TEXT("")), JRL_OK);
    assert_int_equal(jrl_tally_finish(&b, false, &err), JRL_OK);
    assert_int_equal(jrl_tally_finish(&empty, false, &err), JRL_OK);

    must_fail(jrl_tally_pair(&a, "A", &b, "B", &err), &err, "problem uid 1 of source 'x' is in B and not in A");
    must_fail(jrl_tally_pair(&b, "B", &a, "A", &err), &err, "problem uid 1 of source 'x' is in B and not in A");
    must_fail(jrl_tally_pair(&empty, "E", &a, "A", &err), &err, "problem uid 2 of source '' is in A and not in E");
    must_fail(jrl_tally_pair(&a, "A", &empty, "E", &err), &err, "problem uid 2 of source '' is in A and not in E");
    assert_int_equal(jrl_tally_pair(&a, "A", &a, "A", &err), JRL_OK);
    assert_true(a.problems[0].other == 1 && a.problems[1].other == 0.5);
    assert_int_equal(jrl_tally_pair(&empty, "E", &empty, "E", &err), JRL_OK);

    assert_int_equal(jrl_tally_expect(&b, TEXT("x"), 1, &err), JRL_OK);
    assert_int_equal(jrl_tally_expect(&b, TEXT(""), 2, &err), JRL_OK);
    must_fail(jrl_tally_expect(&b, TEXT(""), 1, &err), &err, "problem uid 1 of source '' has no rollouts");
    must_fail(jrl_tally_expect(&b, TEXT("x"), 3, &err), &err, "problem uid 3 of source 'x' has no rollouts");
    must_fail(jrl_tally_expect(&empty, TEXT("x"), 3, &err), &err, "problem uid 3 of source 'x' has no rollouts");
    jrl_tally_release(&a);
    jrl_tally_release(&b);
    jrl_tally_release(&empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_responses_do_not_join),
        cmocka_unit_test(test_thinning),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_one_too_many),
        cmocka_unit_test(test_pairs),
    };
    return cmocka_run_group_tests_name("tally", tests, NULL, NULL);
}
