/* test_answer_hostile.c - answers meant to cost: every rule ends soon, by counts and not by a clock, and says so; and what a
 * verifier has seen before changes nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "answer/answer.h"
#include "base/random.h"

/* Far above what the limits allow on any machine, sanitizers included, and far below what is not limited. */
#define LONGEST_SECONDS 2.0

static struct jrl_text view(const struct jrl_buffer *b)
{
    return (struct jrl_text){ (const char *)b->data, b->len };
}

static void repeat(struct jrl_buffer *b, const char *unit, size_t n)
{
    for (size_t i = 0; i < n; i++)
        jrl_buffer_append_str(b, unit);
}

static double now_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Judge the box with CONTENT by every rule; WHY is what the symbolic ones say, NULL: anything. */
static void judge(const char *name, const struct jrl_buffer *content, const char *truth, const char *why)
{
    struct jrl_buffer response = { 0 };
    struct jrl_text truths[1] = { { truth, strlen(truth) } };
    struct jrl_verdict v = { 0 };
    const struct jrl_rule *rules;
    size_t n;

    jrl_buffer_append_str(&response, "<think></think>Answer: \\boxed{");
    jrl_buffer_append(&response, content->data, content->len);
    jrl_buffer_append_str(&response, "}");
    rules = jrl_rules(&n);
    for (size_t i = 0; i < n; i++) {
        struct jrl_verifier *w = jrl_verifier_new(&rules[i], NULL);
        const double start = now_seconds();

        jrl_verify(w, &v, view(&response), truths, 1);
        if (now_seconds() - start > LONGEST_SECONDS)
            fail_msg("%s: %s took %.1f s", name, rules[i].name, now_seconds() - start);
        if (getenv("JRL_TEST_TIMES"))
            print_message("# %-24s %-14s %8.2f ms  %s\n", name, rules[i].name, (now_seconds() - start) * 1e3, jrl_why_name(v.why));
        if (why && (strcmp(rules[i].name, "polaris") == 0 || strncmp(rules[i].name, "deepscaler", 10) == 0))
            assert_string_equal(jrl_why_name(v.why), why);
        jrl_verifier_free(w);
    }
    jrl_verdict_release(&v);
    jrl_buffer_release(&response);
}

static void judge_text(const char *content, const char *truth, const char *why)
{
    struct jrl_buffer b = { 0 };

    jrl_buffer_append_str(&b, content);
    judge(content, &b, truth, why);
    jrl_buffer_release(&b);
}

/* UNIT n times, then TAIL. */
static void judge_repeated(const char *unit, size_t n, const char *tail, const char *truth, const char *why)
{
    struct jrl_buffer b = { 0 };

    repeat(&b, unit, n);
    jrl_buffer_append_str(&b, tail);
    judge(unit, &b, truth, why);
    jrl_buffer_release(&b);
}

static void test_towers(void **state)
{
    (void)state;
    judge_text("9**9**9", "3.5", NULL);
    judge_text("9^9^9", "3.5", "refused");
    judge_text("(10**9)!", "3.5", NULL);
    judge_text("2**(2**100)", "3.5", NULL);
    judge_text("3!!!", "3.5", "refused");
    judge_text("((((9!)!)!)!)!", "3.5", NULL);
    judge_text("1e999999999", "0.5", NULL);
    judge_text("x**99999999", "0.5", NULL);
}

static void test_nesting(void **state)
{
    struct jrl_buffer b = { 0 };

    (void)state;
    repeat(&b, "{", 1000000);
    jrl_buffer_append_str(&b, "5");
    repeat(&b, "}", 1000000);
    judge("10^6 braces", &b, "5", "limit");
    b.len = 0;
    repeat(&b, "{", 30000);
    jrl_buffer_append_str(&b, "\\pi");
    repeat(&b, "}", 30000);
    judge("3*10^4 braces", &b, "5", NULL);
    jrl_buffer_release(&b);
    judge_repeated("(", 60000, "5", "0.5", NULL);
    judge_repeated("-", 60000, "5", "0.5", NULL);
    judge_repeated("2^", 10000, "5", "0.5", NULL);
    judge_repeated("\\frac{", 200, "1", "5", "unbalanced");
    judge_repeated("\\sqrt[", 10000, "5", "5.5", NULL);
    judge_repeated("\\begin{center}", 240, "5", "5.5", NULL);
    judge_repeated("\\(", 20000, "5", "5.5", NULL);
}

/* Macros without arguments are read again; matrices are filled up; both in proportion to more than the text. */
static void test_amplification(void **state)
{
    struct jrl_buffer b = { 0 };

    (void)state;
    repeat(&b, "\\sqrt[", 240);
    repeat(&b, "\\pi ", 10000);
    judge("read again", &b, "5.5", "limit");
    b.len = 0;
    jrl_buffer_append_str(&b, "\\begin{pmatrix}");
    repeat(&b, "x&", 10000);
    repeat(&b, "y", 20000);
    jrl_buffer_append_str(&b, "\\end{pmatrix}");
    judge("wide matrix", &b, "5.5", "limit");
    jrl_buffer_release(&b);
    judge_repeated("\\hat{\\mathbb{a", 120, "", "5", "unbalanced");
    judge_repeated("\\verb|", 10000, "", "5.5", NULL);
    judge_repeated("\\begin{verbatim}", 4000, "", "5.5", NULL);
    judge_repeated("1,000,", 10000, "1", "5.5", NULL);
    judge_repeated("\\text{", 10000, "", "5.5", "unbalanced");
    judge_repeated("\\frac12", 9000, "", "5.5", NULL);
    judge_repeated("- ", 30000, "", "5.5", NULL);
}

#define DEAR "y!+x!,y!+x!,y!+x!,y!+x!,y!+x!,y!+x!,y!+x!,"

static void test_length(void **state)
{
    struct jrl_buffer b = { 0 };

    (void)state;
    repeat(&b, "\\frac{1}{2}+12,345 ", 15000000 / 19);
    judge("15 MB", &b, "5", "limit");
    b.len = 0;
    repeat(&b, "7", 15000000);
    judge("15 MB digits", &b, "5", "limit");
    b.len = 0;
    repeat(&b, "7", 60000);
    judge("60 kB digits", &b, "5.5", NULL);
    b.len = 0;
    jrl_buffer_append_str(&b, "(");
    repeat(&b, "x+1,", 10000);
    jrl_buffer_append_str(&b, "1)");
    judge("many parts", &b, (const char *)(jrl_buffer_append_byte(&b, 0), b.len--, b.data), "equal text");
    judge("many parts", &b, "(1,2)", "differs");
    b.len = 0;
    jrl_buffer_append_str(&b, "(");
    repeat(&b, "x!+y!,", 63); /* as many as are compared, and dear ones */
    jrl_buffer_append_str(&b, "1)");
    judge("dear parts", &b, "(" DEAR DEAR DEAR DEAR DEAR DEAR DEAR DEAR DEAR "1)", "equal value");
    b.len--;
    jrl_buffer_append_str(&b, ",1)");
    judge("65 parts", &b, "(" DEAR DEAR DEAR DEAR DEAR DEAR DEAR DEAR DEAR "1,1)", "limit");
    jrl_buffer_release(&b);
}

/* Bytes at random, from a few alphabets; what is not UTF-8 among them. */
static void soup(struct jrl_buffer *b, struct jrl_rng *rng, size_t n)
{
    static const char *const pieces[] = { "\\", "{", "}", "\\frac", "\\text{", "\\boxed{", "$", "%", "\xCE\xA3", "\xCC\x81", "\xF0\x9F\x98\x80", "\xE2\x80\xA8", "1",
                                          ",", "000", "/", "(", ")", "[", "]", "&", "\\\\", "\\begin{array}", "\\end{array}", "\\not", "\\bar", " ", "\n", "=", "\\sqrt" };

    b->len = 0;
    while (b->len < n) {
        if (jrl_rng_below(rng, 3) == 0)
            jrl_buffer_append_byte(b, (uint8_t)jrl_rng_below(rng, 256));
        else
            jrl_buffer_append_str(b, pieces[jrl_rng_below(rng, sizeof(pieces) / sizeof(pieces[0]))]);
    }
}

static void test_soup(void **state)
{
    struct jrl_buffer b = { 0 };
    struct jrl_rng rng;

    (void)state;
    jrl_rng_init(&rng, 4, 0);
    for (int i = 0; i < 300; i++) {
        soup(&b, &rng, 1 + (size_t)jrl_rng_below(&rng, 400));
        judge("soup", &b, i % 2 ? "\\frac{1}{2}" : "\xCE\xA3\xFF\\pi{", NULL);
    }
    soup(&b, &rng, 60000);
    judge("60 kB soup", &b, "5.5", NULL);
    b.len = 0;
    for (int i = 0; i < 5000; i++)
        jrl_buffer_append(&b, "\0\\\0{}", 5);
    judge("NUL", &b, "5.5", NULL);
    jrl_buffer_release(&b);
}

/* What fuzzing found worth keeping, as an answer in a box. */
static void test_fuzz_corpus(void **state)
{
    const char *top = getenv("JRL_TOP");
    char *folder = jrl_xasprintf("%s/tests/fuzz/corpus.verify", top ? top : ".");
    DIR *d = opendir(folder);
    struct dirent *entry;
    int n = 0;

    (void)state;
    assert_non_null(d);
    while ((entry = readdir(d))) {
        char *path = jrl_xasprintf("%s/%s", folder, entry->d_name), bytes[256];
        FILE *f = entry->d_name[0] != '.' ? fopen(path, "r") : NULL;

        if (f) {
            struct jrl_buffer content = { 0 };

            jrl_buffer_append(&content, bytes, fread(bytes, 1, sizeof(bytes), f));
            judge("corpus", &content, "\\frac{1}{2}", NULL);
            jrl_buffer_release(&content);
            fclose(f);
            n++;
        }
        free(path);
    }
    assert_true(n >= 40);
    closedir(d);
    free(folder);
}

/* A verifier that has judged other things says what a new one says. */
static void test_no_memory(void **state)
{
    static const char *const texts[] = { "5", "\\frac{1}{2}", "0.5", "1e-9", "0", "2000.99999999", "2,000.99999999", "2001", "x^2-1", "(x-1)(x+1)", "\\pi", "(1,2)",
                                         "(1, 2)", "\\text{east}", "\\sqrt[", "\\begin{pmatrix}1&2\\end{pmatrix}", "9**9**9", "", "\\boxed{5}", "\\date" };
    enum { N = sizeof(texts) / sizeof(texts[0]) };
    struct jrl_verifier *old = jrl_verifier_new(jrl_rule_find("polaris"), NULL);
    struct jrl_verdict v = { 0 }, u = { 0 };
    struct jrl_rng rng;

    (void)state;
    jrl_rng_init(&rng, 5, 0);
    for (int i = 0; i < 3000; i++) {
        struct jrl_verifier *fresh = jrl_verifier_new(jrl_rule_find("polaris"), NULL);
        struct jrl_text truths[3];
        char response[128];
        const size_t n = (size_t)jrl_rng_below(&rng, 4);

        snprintf(response, sizeof(response), "\\boxed{%s}", texts[jrl_rng_below(&rng, N)]);
        for (size_t k = 0; k < n; k++) {
            truths[k].data = texts[jrl_rng_below(&rng, N)];
            truths[k].len_bytes = strlen(truths[k].data);
        }
        jrl_verify(old, &v, (struct jrl_text){ response, strlen(response) }, truths, n);
        jrl_verify(fresh, &u, (struct jrl_text){ response, strlen(response) }, truths, n);
        if (v.correct != u.correct || v.why != u.why || v.small_number != u.small_number)
            fail_msg("%s: %s, and %s from a new verifier", response, jrl_why_name(v.why), jrl_why_name(u.why));
        jrl_verifier_free(fresh);
    }
    jrl_verifier_free(old);
    jrl_verdict_release(&v);
    jrl_verdict_release(&u);
}

static void check_small(const char *given, const char *truth, bool exact, bool correct, bool small)
{
    const struct jrl_rule_options options = { .exact_small_numbers = exact };
    struct jrl_verifier *w = jrl_verifier_new(jrl_rule_find("polaris"), &options);
    struct jrl_text truths[1] = { { truth, strlen(truth) } };
    struct jrl_verdict v = { 0 };
    char response[128];

    snprintf(response, sizeof(response), "\\boxed{%s}", given);
    jrl_verify(w, &v, (struct jrl_text){ response, strlen(response) }, truths, 1);
    if (v.correct != correct || v.small_number != small)
        fail_msg("%s against %s, exact %d: correct %d, small number %d", given, truth, exact, v.correct, v.small_number);
    jrl_verifier_free(w);
    jrl_verdict_release(&v);
}

static void test_small_numbers(void **state)
{
    (void)state;
    /* By the published rules every tiny number is 0; as they are, these differ. */
    check_small("1e-9", "0", false, true, true);
    check_small("1e-9", "0", true, false, true);
    check_small("1e-9", "1.6\\times 10^{-8}", false, false, false); /* an expression is not rounded */
    check_small("1.0e-9", "1e-9", false, true, false);
    check_small("1.0e-9", "1e-9", true, true, false);
    check_small("2000.99999999", "2001", false, true, true);
    check_small("2,000.99999999", "2000", false, true, true);
    check_small("2,000.99999999", "2000", true, false, true);
    check_small("2000.9999", "2001", false, false, false);
    check_small("(1e-9,1)", "(0,1)", false, false, false); /* one is an integer to them, and the other, and they differ */
    check_small("7", "7.0", true, true, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_towers), cmocka_unit_test(test_nesting), cmocka_unit_test(test_amplification), cmocka_unit_test(test_length),
        cmocka_unit_test(test_soup),   cmocka_unit_test(test_no_memory), cmocka_unit_test(test_small_numbers),
        cmocka_unit_test(test_fuzz_corpus),
    };
    return cmocka_run_group_tests_name("answer_hostile", tests, NULL, NULL);
}
