/* test_answer_parts.c - the pieces of the rules alone: editing, boxes, numbers, LaTeX as text and the two normal forms. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer/box.h"
#include "answer/edit.h"
#include "answer/latex.h"
#include "answer/mathd.h"
#include "answer/normalize.h"
#include "answer/number.h"

static struct jrl_text text(const char *s)
{
    return (struct jrl_text){ s, strlen(s) };
}

static void check_text(struct jrl_text got, const char *want)
{
    if (got.len_bytes != strlen(want) || memcmp(got.data, want, got.len_bytes) != 0)
        fail_msg("'%.*s', expected '%s'", (int)got.len_bytes, got.data, want);
}

static void test_edit(void **state)
{
    struct jrl_edit e = { 0 };

    (void)state;
    jrl_edit_set(&e, text("aaa b"));
    assert_true(jrl_edit_replace(&e, "aa", "b"));
    check_text(jrl_edit_view(&e), "ba b");
    assert_false(jrl_edit_replace(&e, "aa", "b"));
    assert_true(jrl_edit_replace(&e, "b", "bcb"));
    check_text(jrl_edit_view(&e), "bcba bcb");
    assert_true(jrl_edit_may_have(&e, 'c')); /* which came with a replacement */
    assert_int_equal(jrl_edit_find(&e, "cb", 2), 6);
    assert_int_equal(jrl_edit_find(&e, "cb", 7), SIZE_MAX);
    jrl_edit_delete(&e, "b");
    check_text(jrl_edit_view(&e), "ca c");
    jrl_edit_keep(&e, 2, 4);
    jrl_edit_trim(&e);
    check_text(jrl_edit_view(&e), "c");
    jrl_edit_delete(&e, "c");
    assert_int_equal(jrl_edit_view(&e).len_bytes, 0);
    jrl_edit_set(&e, (struct jrl_text){ NULL, 0 });
    assert_int_equal(jrl_edit_find(&e, "x", 0), SIZE_MAX);
    jrl_edit_trim(&e);
    jrl_edit_release(&e);
}

static void test_box(void **state)
{
    static const struct { const char *text; enum jrl_box found; const char *content; } cases[] = {
        { "", JRL_BOX_NONE, NULL },
        { "\\boxe{5}", JRL_BOX_NONE, NULL },
        { "\\fbox{5}", JRL_BOX_NONE, NULL },
        { "\\boxed", JRL_BOX_UNBALANCED, NULL },
        { "\\boxed 5", JRL_BOX_UNBALANCED, NULL },
        { "\\boxed {5}", JRL_BOX_UNBALANCED, NULL },
        { "\\boxed{5", JRL_BOX_UNBALANCED, NULL },
        { "\\boxed{5}\\boxed", JRL_BOX_UNBALANCED, NULL },
        { "\\boxed{5}", JRL_BOX_FOUND, "5" },
        { "\\boxed{}", JRL_BOX_FOUND, "" },
        { "\\boxed{1}\\boxed{2}}", JRL_BOX_FOUND, "2" },
        { "\\boxed{\\boxed{5}}", JRL_BOX_FOUND, "5" },
        { "\\boxed{a{b}c}d}", JRL_BOX_FOUND, "a{b}c" },
        { "\\boxed{\\}}", JRL_BOX_FOUND, "\\" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct jrl_text content;

        assert_int_equal(jrl_box_last(text(cases[i].text), &content), cases[i].found);
        if (cases[i].content)
            check_text(content, cases[i].content);
    }
}

/* What Python's float() says; NAN: it refuses. */
static void test_number_parse(void **state)
{
    static const struct { const char *text; double value; } cases[] = {
        { "5", 5 }, { "-5", -5 }, { "+5", 5 }, { "--5", NAN }, { "", NAN }, { ".", NAN }, { "5.", 5 }, { ".5", 0.5 }, { "+.5e-3", 0.0005 }, { "1e5", 1e5 },
        { "1E+5", 1e5 }, { "1e", NAN }, { "1e+", NAN }, { "e5", NAN }, { "1_0", 10 }, { "1_0.0_1", 10.01 }, { "1e1_0", 1e10 }, { "1__0", NAN },
        { "_1", NAN }, { "1_", NAN }, { "1_.5", NAN }, { "1._5", NAN }, { "1_e5", NAN }, { " 5\t", 5 }, { "5 5", NAN }, { "\x1C" "5", NAN }, { "5\x1F", NAN },
        { "\xC2\x85" "5", 5 }, { "\xE3\x80\x80" "5\xC2\xA0", 5 }, { "\xD9\xA1\xD9\xA2", 12 }, { "-\xD9\xA1.5", -1.5 }, { "\xC2\xB2", NAN },
        { "-inf", -INFINITY }, { "Infinity", INFINITY }, { "inf_", NAN }, { "1e400", INFINITY }, { "0x10", NAN }, { "5\xFF", NAN }, { "1,000", NAN },
        { "123456789012345678901234567890", 123456789012345678901234567890.0 },
    };
    struct jrl_buffer scratch = { 0 };
    double value;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const bool read = jrl_number_parse(text(cases[i].text), &value, &scratch);

        if (read != !isnan(cases[i].value) || (read && value != cases[i].value))
            fail_msg("'%s' is %g", cases[i].text, read ? value : NAN);
    }
    assert_true(jrl_number_parse(text("-nan"), &value, &scratch) && isnan(value));
    jrl_buffer_release(&scratch);
}

static void test_integers(void **state)
{
    struct jrl_rounding rough = { 0 }, exact = { .exact = true };
    struct jrl_buffer b = { 0 };

    (void)state;
    assert_true(jrl_number_is_integer(1e300, &rough));
    assert_false(jrl_number_is_integer(INFINITY, &rough));
    assert_false(jrl_number_is_integer(NAN, &rough));
    assert_false(jrl_number_is_integer(2.0000002, &rough));
    assert_false(rough.used);
    assert_true(jrl_number_is_integer(-1e-7, &rough));
    assert_true(rough.used);
    assert_false(jrl_number_is_integer(-1e-7, &exact));
    assert_true(exact.used);
    jrl_number_append_integer(&b, 1e23, false);
    jrl_buffer_append_byte(&b, ' ');
    jrl_number_append_integer(&b, 2000.99999999, true);
    jrl_buffer_append_byte(&b, ' ');
    jrl_number_append_integer(&b, 2000.99999999, false);
    jrl_buffer_append_byte(&b, ' ');
    jrl_number_append_integer(&b, -1e-9, true);
    assert_string_equal(jrl_buffer_str(&b), "99999999999999991611392 2000 2001 0");
    jrl_buffer_release(&b);
}

static void test_commas(void **state)
{
    static const char *const cases[][2] = {
        { "1,000", "1000" }, { "1,0000", "1,0000" }, { "1,000,000", "1000000" }, { "1,000,000,000", "1000,000000" }, /* every match takes what is behind it */
        { ",000", ",000" }, { "x,000", "x,000" }, { "1,000x2,000", "1000x2000" }, { "1,00,000", "1,00000" }, { "(1,000)", "(1000)" }, { "1,000\n", "1000\n" },
        { "\xD9\xA1,\xD9\xA2\xD9\xA2\xD9\xA2", "\xD9\xA1\xD9\xA2\xD9\xA2\xD9\xA2" }, { "", "" }, { ",", "," }, { "1,", "1," },
    };
    struct jrl_edit e = { 0 };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        jrl_edit_set(&e, text(cases[i][0]));
        jrl_number_drop_commas(&e);
        check_text(jrl_edit_view(&e), cases[i][1]);
    }
    jrl_edit_release(&e);
}

static void test_fractions(void **state)
{
    static const char *const are[] = { "1/2", "-1/2", "3./2", "3i/2", "1/2)", "01/02", "1/2\n", "1/2x\n", "3//2", "1\xC3\xA9/2", "1/20" };
    static const char *const are_not[] = { "", "1", "/2", "1/", "1/0", "1/00", "--1/2", "1/-2", "x/2", "12xy/2", "1/2xy", "1\n/2", "1/2\n\n", "1/2/3x", "\xD9\xA1/2" };

    (void)state;
    for (size_t i = 0; i < sizeof(are) / sizeof(are[0]); i++)
        if (!jrl_number_is_fraction(text(are[i])))
            fail_msg("'%s' is a fraction", are[i]);
    for (size_t i = 0; i < sizeof(are_not) / sizeof(are_not[0]); i++)
        if (jrl_number_is_fraction(text(are_not[i])))
            fail_msg("'%s' is no fraction", are_not[i]);
}

/* tests/golden/answer-forms.jsonl: what the executable reference makes of a text. */
static void check_forms(const char *line)
{
    struct jrl_normalizer normalizer = { 0 };
    json_t *j = json_loads(line, JSON_ALLOW_NUL, NULL), *source = json_object_get(j, "text"), *latex = json_object_get(j, "latex");
    const struct jrl_text s = { json_string_value(source), json_string_length(source) };
    struct jrl_rounding rounding = { 0 };
    struct jrl_buffer out = { 0 };
    struct jrl_edit e = { 0 };
    enum jrl_latex_end end = jrl_latex_to_text(&normalizer.latex, &out, s);

    assert_int_equal(end, json_is_null(latex) ? JRL_LATEX_ABORTED : JRL_LATEX_DONE);
    if (end == JRL_LATEX_DONE)
        check_text((struct jrl_text){ (const char *)out.data, out.len }, json_string_value(latex));
    jrl_edit_set(&e, s);
    jrl_mathd(&e, &normalizer.scratch);
    check_text(jrl_edit_view(&e), json_string_value(json_object_get(j, "mathd")));
    jrl_edit_set(&e, s);
    assert_true(jrl_normalize(&normalizer, &e, &rounding));
    check_text(jrl_edit_view(&e), json_string_value(json_object_get(j, "normal")));
    jrl_edit_release(&e);
    jrl_buffer_release(&out);
    jrl_normalizer_release(&normalizer);
    json_decref(j);
}

static void test_golden_forms(void **state)
{
    const char *top = getenv("JRL_TOP");
    char *path = jrl_xasprintf("%s/tests/golden/answer-forms.jsonl", top ? top : "."), *line = NULL;
    FILE *f = fopen(path, "r");
    size_t cap = 0;
    int n = 0;

    (void)state;
    assert_non_null(f);
    for (; getline(&line, &cap, f) > 0; n++)
        check_forms(line);
    assert_true(n >= 150);
    fclose(f);
    free(line);
    free(path);
}

static void test_latex_depth(void **state)
{
    struct jrl_latex latex = { 0 };

    (void)state;
    for (int depth = JRL_LATEX_MAX_DEPTH; depth <= JRL_LATEX_MAX_DEPTH + 1; depth++) {
        struct jrl_buffer source = { 0 }, out = { 0 };

        for (int i = 0; i < depth; i++)
            jrl_buffer_append_byte(&source, '{');
        jrl_buffer_append_str(&source, "\\pi");
        assert_int_equal(jrl_latex_to_text(&latex, &out, (struct jrl_text){ (const char *)source.data, source.len }),
                         depth > JRL_LATEX_MAX_DEPTH ? JRL_LATEX_ABORTED : JRL_LATEX_DONE);
        jrl_buffer_release(&source);
        jrl_buffer_release(&out);
    }
    jrl_latex_release(&latex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edit),     cmocka_unit_test(test_box),       cmocka_unit_test(test_number_parse), cmocka_unit_test(test_integers),
        cmocka_unit_test(test_commas),   cmocka_unit_test(test_fractions), cmocka_unit_test(test_golden_forms), cmocka_unit_test(test_latex_depth),
    };
    return cmocka_run_group_tests_name("answer_parts", tests, NULL, NULL);
}
