/* The rules of libcommon/answer: the consequences the specification of the strict box lists, and its public vectors. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer/answer.h"
#include "tests/unit/repeat.h"
#include "base/decimal.h"

static struct jrl_text text(const char *s)
{
    return (struct jrl_text){ s, strlen(s) };
}

static void verify(const char *rule, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths)
{
    struct jrl_verifier *w = jrl_verifier_new(jrl_rule_find(rule), NULL);

    jrl_verify(w, v, response, truths, n_truths);
    jrl_verifier_free(w);
}

/* PRED NULL: nothing is extracted. */
static void check(const char *response, const char *truth, bool correct, const char *pred)
{
    struct jrl_verdict v = { 0 };
    struct jrl_text truths[1] = { text(truth) };

    verify("dapo", &v, text(response), truths, 1);
    if (v.correct != correct || v.found != (pred != NULL) || (pred && strcmp(jrl_buffer_str(&v.pred), pred) != 0))
        fail_msg("'%s' against '%s': correct %d, pred '%s'", response, truth, v.correct, v.found ? jrl_buffer_str(&v.pred) : "(none)");
    jrl_verdict_release(&v);
}

static void test_dapo_consequences(void **state)
{
    (void)state;
    check("\\boxed{5}", "5", true, "5");
    check("so \\boxed{\\boxed{5}}", "5", true, "5");
    check("\\boxed{5} then \\boxed{6", "5", false, NULL);
    check("\\boxed{5} then \\boxed{6}", "5", false, "6");
    check("\\boxed{\\{1,2}", "\\{1,2", false, NULL);
    check("\\boxed{1\\}", "1\\", true, "1\\");
    check("\\boxed {5}", "5", false, NULL);
    check("\\boxed 5", "5", false, NULL);
    check("\\fbox{5}", "5", false, NULL);
    check("\\Boxed{5}", "5", false, NULL);
    check("\\\\boxed{5}", "5", true, "5");
    check("\\boxed{ 5}", "5", false, " 5");
    check("\\boxed{5.0}", "5", false, "5.0");
    check("\\boxed{05}", "5", false, "05");
    check("\\boxed{+5}", "5", false, "+5");
    check("\\boxed{5\n}", "5", false, "5\n");
    check("\\boxed{0.5}", "\\frac{1}{2}", false, "0.5");
    check("\\boxed{\\frac{1}{2}}", "\\frac{1}{2}", true, "\\frac{1}{2}");
    check("\\boxed{}", "", true, "");
    check("\\boxed{33}", "\\boxed{33}", false, "33");
    check("\\boxed{\\boxed{33}}", "\\boxed{33}", false, "33");
    check("", "5", false, NULL);
    check("", "", false, NULL);
    check("\\boxed{", "5", false, NULL);
    check("}}{\\boxed{5}}}", "5", true, "5");
}

/* The window is 100 code points: one step beyond and the box is gone, whatever the bytes of a character. */
static void test_dapo_window(void **state)
{
    static const char *const units[] = { "a", "\n", "\xC3\xA9", "\xE6\x95\xB0", "\xF0\x9F\x98\x80", "\xEF\xBF\xBD" };
    char *s;

    (void)state;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        s = repeat("x\\boxed{5}", units[i], 91, "");
        check(s, "5", true, "5");
        free(s);
        s = repeat("x\\boxed{5}", units[i], 92, "");
        check(s, "5", false, NULL);
        free(s);
    }
    s = repeat("\\boxed{", "7", 92, "}");
    char *longest = repeat("", "7", 92, "");
    check(s, longest, true, longest);
    free(s);
    free(longest);
    s = repeat("\\boxed{", "7", 93, "}");
    longest = repeat("", "7", 93, "");
    check(s, longest, false, NULL);
    free(s);
    free(longest);
}

static void test_alternatives(void **state)
{
    struct jrl_text truths[3] = { text("4"), text("5"), text("") };
    struct jrl_verdict v = { 0 };

    (void)state;
    verify("dapo", &v, text("\\boxed{5}"), truths, 3);
    assert_true(v.correct);
    verify("dapo", &v, text("\\boxed{6}"), truths, 3);
    assert_false(v.correct);
    assert_true(v.found);
    verify("dapo", &v, text("\\boxed{}"), truths, 0);
    assert_false(v.correct);
    verify("dapo", &v, text("none"), truths, 3);
    assert_false(v.correct);
    assert_false(v.found);
    jrl_verdict_release(&v);
}

static void check_why(const char *response, const char *why)
{
    struct jrl_text truths[1] = { text("5") };
    struct jrl_verdict v = { 0 };

    verify("dapo", &v, text(response), truths, 1);
    assert_string_equal(jrl_why_name(v.why), why);
    jrl_verdict_release(&v);
}

static void test_why(void **state)
{
    struct jrl_verdict v = { 0 };

    (void)state;
    check_why("5", "no box");
    check_why("\\boxed{5", "unbalanced");
    check_why("\\boxed{6}", "differs");
    check_why("\\boxed{5}", "equal text");
    verify("dapo", &v, text("\\boxed{5}"), NULL, 0);
    assert_string_equal(jrl_why_name(v.why), "no reference");
    jrl_verdict_release(&v);
}

static void test_nul_is_a_character(void **state)
{
    static const char response[] = "a\0b \\boxed{5\0}";
    static const char truth[] = "5\0";
    struct jrl_text truths[2] = { { truth, 2 }, { truth, 1 } };
    struct jrl_verdict v = { 0 };

    (void)state;
    verify("dapo", &v, (struct jrl_text){ response, sizeof(response) - 1 }, truths, 1);
    assert_true(v.correct);
    assert_int_equal(v.pred.len, 2);
    verify("dapo", &v, (struct jrl_text){ response, sizeof(response) - 1 }, truths + 1, 1);
    assert_false(v.correct);
    jrl_verdict_release(&v);
}

static void test_table(void **state)
{
    struct jrl_buffer names = { 0 };
    size_t n;
    const struct jrl_rule *rules = jrl_rules(&n);

    (void)state;
    assert_true(n >= 1);
    assert_null(jrl_rule_find("no-such-rule"));
    assert_null(jrl_rule_find(""));
    jrl_rule_names(&names);
    for (size_t i = 0; i < n; i++) {
        assert_ptr_equal(jrl_rule_find(rules[i].name), &rules[i]);
        assert_non_null(strstr(jrl_buffer_str(&names), rules[i].name));
    }
    jrl_buffer_release(&names);
}

/* Of every rule but dapo: what its page promises. PRED NULL: nothing is extracted. */
static const struct { const char *rule, *response, *truth, *pred, *why; } pages[] = {
    { "dapo-minerva", "Answer: 42", "42", "42", "equal text" },
    { "dapo-minerva", "aNSwer \n:\n\n $x = 1,234$.\nso", "1234", "1,234.", "differs" },
    { "dapo-minerva", "An\xC5\xBFwer: 5 cm", "5", "5", "equal text" },
    { "dapo-minerva", "Answer: \\frac12", "\\frac{1}{2}", "\\frac{1}{2}", "equal text" },
    { "dapo-minerva", "Answer: 0.5", "\\frac{1}{2}", "0.5", "differs" },
    { "dapo-minerva", "Answer: banana 5", "banan5", "banan5", "equal text" },
    { "dapo-minerva", "Answer: \\boxed{a{b}c}", "a{b}c", "a{b}c", "equal text" },
    { "dapo-minerva", "Answer: \\text{x}y} \\boxed{1", "xy}\\boxed{1", "xy}\\boxed{1", "equal text" },
    { "dapo-minerva", "Answer: 1\nAnswer:\n\n", "1", "1", "equal text" },
    { "dapo-minerva", "Answer:\t\n", "", "", "equal text" },
    { "dapo-minerva", "\\boxed{42}", "42", "[INVALID]", "no answer" },
    { "polaris", "42", "42", NULL, "no box" },
    { "deepscaler", "\\boxed{42}", "42", NULL, "no answer" },
    { "deepscaler", "</think>42", "42", NULL, "no box" },
    { "gsm8k", "so 7\n#### 1,234", "1234", "1234", "equal text" },
    { "gsm8k", "#### -5.0", "-5", "-5.0", "differs" },
    { "gsm8k", "#### 5\n#### none", "5", "5", "equal text" },
    { "gsm8k", "##### 5", "so\n#### 5", "5", "equal text" },
    { "gsm8k", "the answer is 5", "5", NULL, "no answer" },
    { "gsm8k", "####5", "5", NULL, "no answer" },
    { "gsm8k", "####", "5", NULL, "no answer" },
    { "gsm8k", "#### ", "5", NULL, "no answer" },
    { "gsm8k", "#### $5", "5", NULL, "no answer" },
    { "gsm8k-flexible", "It costs $1,234.00.", "x\n#### 1,234", "1234.00", "equal value" },
    { "gsm8k-flexible", "from 3 to -07", "-7", "-07", "equal value" },
    { "gsm8k-flexible", "7, .5 and -0.0, that is all", "0", "-0.0", "equal value" },
    { "gsm8k-flexible", "is .50", "0.5", ".50", "equal value" },
    { "gsm8k-flexible", "so x,5", "5", "5", "equal text" },
    { "gsm8k-flexible", "version 1.2.3", "1.2.3", "1.2.3", "equal text" },
    { "gsm8k-flexible", "version 1.2.30", "1.2.3", "1.2.30", "differs" },
    { "gsm8k-flexible", "5 or 6?", "5", "6", "differs" },
    { "gsm8k-flexible", "no idea...", "5", NULL, "no answer" },
    { "exact", " yes\n", "yes", "yes", "equal text" },
    { "exact", "<think>no</think>\n\xE3\x80\x80yes ", "yes\n", "yes", "equal text" },
    { "exact", "Yes", "yes", "Yes", "differs" },
    { "exact", "yes</think> ", "yes", NULL, "no answer" },
    { "exact", "", "", NULL, "no answer" },
};

static void test_pages(void **state)
{
    struct jrl_verdict v = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        struct jrl_text truths[1] = { text(pages[i].truth) };

        verify(pages[i].rule, &v, text(pages[i].response), truths, 1);
        if (strcmp(jrl_why_name(v.why), pages[i].why) != 0 || v.correct != (strncmp(pages[i].why, "equal", 5) == 0) ||
            v.found != (pages[i].pred != NULL) || (v.found && strcmp(jrl_buffer_str(&v.pred), pages[i].pred) != 0))
            fail_msg("%s of '%s' against '%s': %s, pred '%s'", pages[i].rule, pages[i].response, pages[i].truth, jrl_why_name(v.why),
                     v.found ? jrl_buffer_str(&v.pred) : "(none)");
        verify(pages[i].rule, &v, text(pages[i].response), NULL, 0);
        assert_false(v.correct);
    }
    jrl_verdict_release(&v);
}

/* A ground truth, or a member of a list of them, as text: as Python writes numbers and booleans. */
static char *truth_text(const json_t *t, size_t *n)
{
    char number[32];
    char *s;

    if (json_is_string(t)) {
        *n = json_string_length(t);
        return jrl_xstrndup(json_string_value(t), *n);
    }
    if (json_is_real(t)) {
        jrl_format_f64(number, json_real_value(t));
        s = jrl_xstrdup(number);
    } else if (json_is_integer(t)) {
        s = jrl_xasprintf("%lld", (long long)json_integer_value(t));
    } else {
        s = jrl_xstrdup(json_is_true(t) ? "True" : "False");
    }
    *n = strlen(s);
    return s;
}

/* One line of vectors. A rule we do not have fails. */
static void check_vector(const char *line)
{
    json_t *vector = json_loads(line, JSON_ALLOW_NUL, NULL), *truth = json_object_get(vector, "ground_truth");
    json_t *response = json_object_get(vector, "response"), *expected = json_object_get(vector, "expected"), *pred = json_object_get(expected, "pred");
    const struct jrl_rule *rule = jrl_rule_find(json_string_value(json_object_get(vector, "verifier")));
    const size_t n = json_is_array(truth) ? json_array_size(truth) : 1;
    struct jrl_verdict v = { 0 };
    struct jrl_text truths[16];
    double score;
    bool agree;

    assert_non_null(rule);
    assert_true(n <= 16);
    for (size_t i = 0; i < n; i++)
        truths[i].data = truth_text(json_is_array(truth) ? json_array_get(truth, i) : truth, &truths[i].len_bytes);
    verify(rule->name, &v, (struct jrl_text){ json_string_value(response), json_string_length(response) }, truths, n);
    score = v.correct ? rule->right : rule->wrong;
    agree = v.correct == json_is_true(json_object_get(expected, "acc")) && score == json_number_value(json_object_get(expected, "score")) &&
            v.found == json_is_string(pred) &&
            (!v.found || (v.pred.len == json_string_length(pred) && memcmp(jrl_buffer_str(&v.pred), json_string_value(pred), v.pred.len) == 0));
    if (!agree)
        fail_msg("vector %s: correct %d, pred %s", json_string_value(json_object_get(vector, "id")), v.correct,
                 v.found ? jrl_buffer_str(&v.pred) : "(none)");
    for (size_t i = 0; i < n; i++)
        free((char *)truths[i].data);
    jrl_verdict_release(&v);
    json_decref(vector);
}

/* The vectors of FILE, but those whose id begins with one of OMIT; their number. -1: there is no such file. */
static int check_vectors(const char *file, const char *omit)
{
    const char *top = getenv("JRL_TOP");
    char *path = jrl_xasprintf("%s/%s", top ? top : ".", file);
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    int n = 0;

    if (!f) {
        print_message("# skipped: no %s\n", path);
        free(path);
        return -1;
    }
    free(path);
    while (getline(&line, &cap, f) > 0) {
        if (strstr(line, omit))
            continue;
        check_vector(line);
        n++;
    }
    free(line);
    fclose(f);
    return n;
}

static void test_public_vectors(void **state)
{
    const int n = check_vectors("../shared/verify/public.jsonl", "no such id");

    (void)state;
    if (n < 0)
        skip();
    assert_true(n >= 2754);
}

/* The other optional ones, of sympy's rounding noise and nested roots, are no contract. */
static void test_optional_vectors(void **state)
{
    const int n = check_vectors("../shared/verify/optional.jsonl", "\"optional-");

    (void)state;
    if (n < 0)
        skip();
    assert_true(n >= 154);
}

static void test_golden_vectors(void **state)
{
    (void)state;
    assert_true(check_vectors("tests/golden/answer.jsonl", "no such id") >= 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dapo_consequences), cmocka_unit_test(test_dapo_window),      cmocka_unit_test(test_alternatives),
        cmocka_unit_test(test_why),               cmocka_unit_test(test_nul_is_a_character), cmocka_unit_test(test_table),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_golden_vectors),    cmocka_unit_test(test_public_vectors),  cmocka_unit_test(test_optional_vectors),
    };
    return cmocka_run_group_tests_name("answer", tests, NULL, NULL);
}
