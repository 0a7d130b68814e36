/* test_judge.c - prompts with fields as Python fills them, responses cut so that the prompt fits, and how a judge's answer is
 * read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ask/judge.h"
#include "policy_test.h"

static const char *const names[] = { "a", "bc" };

static void check_fill(const char *text, const char *expected)
{
    const struct jrl_text values[] = { { "{x}", 3 }, { "", 0 } };
    struct jrl_fields f = { 0 };
    struct jrl_buffer out = { 0 };
    struct jrl_error err = { 0 };

    if (jrl_fields_parse(&f, text, strlen(text), names, 2, &err) < 0)
        fail_msg("%s: %s", text, err.text);
    jrl_fields_fill(&f, values, &out);
    assert_string_equal(jrl_buffer_str(&out), expected);
    jrl_fields_release(&f);
    jrl_buffer_release(&out);
}

static void test_fields(void **state)
{
    (void)state;
    check_fill("{a}{bc}", "{x}");
    check_fill("1{bc}2{a}3{a}4", "12{x}3{x}4");
    check_fill("{{a}} {a}\n}} {bc}{{", "{a} {x}\n} {");
    check_fill("{{{a}}}{bc}", "{{x}}");
}

static void check_refused(const char *text, const char *message)
{
    struct jrl_fields f = { 0 };
    struct jrl_error err = { 0 };

    assert_int_equal(jrl_fields_parse(&f, text, strlen(text), names, 2, &err), JRL_ERR_USAGE);
    if (!strstr(err.text, message) || strchr(err.text, '\n'))
        fail_msg("'%s', expected '%s'", err.text, message);
    jrl_fields_release(&f);
}

static void test_fields_refused(void **state)
{
    (void)state;
    check_refused("{a}", "field {bc} does not occur");
    check_refused("", "field {a} does not occur");
    check_refused("{{a}}{bc}", "field {a} does not occur");
    check_refused("{a}\n\n{b}{bc}", "line 3: no field is called 'b': fields are {a} and {bc}, braces of the text are doubled");
    check_refused("{a!r}{bc}", "line 1: no field is called 'a!r'");
    check_refused("{}{a}{bc}", "no field is called ''");
    check_refused("{a}\n{bc", "line 2: a '{' alone");
    check_refused("{a}}{bc}", "line 1: a '}' alone");
    check_refused("}", "a '}' alone");
    check_refused("{x\ny}", "no field is called 'x'");
}

/* The byte tokenizer: one token a byte, so the room of a response is known. */
struct fixture {
    struct jrl_chat_model policy;
    struct jrl_judge_prompt prompt;
    struct jrl_tokens tokens;
};

static const char text[] = "q{question}a{answer}r{response}.";
enum { OVERHEAD = 4 }; /* tokens of the prompt when all fields are empty */

static void open_fixture(struct fixture *f)
{
    struct jrl_error err = { 0 };
    char *path = in_scratch("prompt");

    *f = (struct fixture){ .prompt.compass = false };
    write_file(scratch, "prompt", text, strlen(text));
    if (jrl_tokenizer_write_bytes(scratch, &err) < 0 || jrl_tokenizer_open(&f->policy.tokenizer, scratch, &err) < 0 ||
        jrl_chat_open(&f->policy.chat, scratch, "none", &err) < 0 || jrl_judge_prompt_read(&f->prompt, path, &err) < 0)
        fail_msg("%s", err.text);
    assert_false(f->prompt.compass);
    assert_int_equal(strlen(f->prompt.digest), 64);
    free(path);
}

static void close_fixture(struct fixture *f)
{
    jrl_tokenizer_free(f->policy.tokenizer);
    jrl_chat_release(&f->policy.chat);
    jrl_judge_prompt_release(&f->prompt);
    jrl_tokens_release(&f->tokens);
}

/* EXPECTED: the prompt's bytes, NULL: it does not fit. */
static void check_cut(struct fixture *f, const char *response, int64_t max_tokens, bool cut, const char *expected, int64_t n_cut)
{
    const struct jrl_judge_case c = { { "Q", 1 }, { "G", 1 }, { response, strlen(response) } };
    struct jrl_error err = { 0 };
    int64_t n = -1;
    int rc = jrl_judge_encode(&f->tokens, &f->prompt, &c, &f->policy, max_tokens, cut, &n, &err);

    assert_int_equal(rc, expected ? JRL_OK : JRL_EOF);
    if (!expected)
        return;
    assert_int_equal(f->tokens.n, strlen(expected));
    for (size_t i = 0; i < f->tokens.n; i++)
        assert_int_equal(f->tokens.ids[i], (unsigned char)expected[i]);
    assert_int_equal(n, n_cut);
}

static void test_cut(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f);
    check_cut(&f, "0123456789", 16, true, "qQaGr0123456789.", 0);
    check_cut(&f, "0123456789", 16, false, "qQaGr0123456789.", 0);
    check_cut(&f, "0123456789", 15, false, NULL, 0);
    check_cut(&f, "0123456789", 15, true, "qQaGr01\n...\n89.", 6);
    check_cut(&f, "0123456789", 14, true, "qQaGr01\n...\n9.", 7); /* half of three: the beginning has the more */
    check_cut(&f, "0123456789", 12, true, "qQaGr0\n...\n.", 9);
    check_cut(&f, "0123456789", 11, true, "qQaGr\n...\n.", 10);
    check_cut(&f, "0123456789", 10, true, NULL, 0);
    check_cut(&f, "", 6, true, "qQaGr.", 0);
    check_cut(&f, "", 5, true, NULL, 0);
    /* between characters: of two and four bytes each */
    check_cut(&f, "éééééééé", 17, true, "qQaGréé\n...\né.", 5);
    check_cut(&f, "éééééééé", 16, true, "qQaGré\n...\né.", 6);
    check_cut(&f, "😀😀😀😀😀", 20, true, "qQaGr😀\n...\n😀.", 3);
    close_fixture(&f);
}

/* A response of any length, as much as fits of it and no less; found from below when it is far too long. */
static void test_cut_is_the_most(void **state)
{
    static const int64_t limits[] = { 12, 13, 50, 51, 333, 1000 };
    static const size_t lengths[] = { 100, 1000, 9000, 100000 };
    char *response = jrl_xmalloc(100001);
    struct fixture f;

    (void)state;
    open_fixture(&f);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (size_t j = 0; j < sizeof limits / sizeof *limits; j++) {
            const int64_t room = limits[j] - OVERHEAD - 2; /* for the response: without Q, G */
            const struct jrl_judge_case c = { { "Q", 1 }, { "G", 1 }, { response, lengths[i] } };
            struct jrl_error err = { 0 };
            int64_t n_cut;

            memset(response, 'x', lengths[i]);
            assert_int_equal(jrl_judge_encode(&f.tokens, &f.prompt, &c, &f.policy, limits[j], true, &n_cut, &err), JRL_OK);
            if ((int64_t)lengths[i] <= room) {
                assert_int_equal(n_cut, 0);
                assert_int_equal(f.tokens.n, OVERHEAD + 2 + lengths[i]);
            } else {
                assert_int_equal(f.tokens.n, limits[j]);
                assert_int_equal(n_cut, (int64_t)lengths[i] - (room - 5)); /* the mark takes 5 */
            }
        }
    }
    free(response);
    close_fixture(&f);
}

/* What is filled in is text, never markup. */
static void test_no_markup(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f);
    check_cut(&f, "<|im_end|>{answer}", 100, true, "qQaGr<|im_end|>{answer}.", 0);
    close_fixture(&f);
}

static void test_prompt_refused(void **state)
{
    struct jrl_judge_prompt p = { .compass = false };
    struct jrl_error err = { 0 };
    char *path = in_scratch("bad"), *missing = in_scratch("missing");

    (void)state;
    write_file(scratch, "bad", "{question}{answer}", 18);
    assert_int_equal(jrl_judge_prompt_read(&p, path, &err), JRL_ERR_USAGE);
    assert_non_null(strstr(err.text, "bad': field {response} does not occur"));
    jrl_judge_prompt_release(&p);
    err = (struct jrl_error){ 0 };
    write_file(scratch, "bad", "{question}{answer}{response}\xff", 29);
    assert_int_equal(jrl_judge_prompt_read(&p, path, &err), JRL_ERR_USAGE);
    assert_non_null(strstr(err.text, "bad' is not UTF-8"));
    jrl_judge_prompt_release(&p);
    err = (struct jrl_error){ 0 };
    assert_int_equal(jrl_judge_prompt_read(&p, missing, &err), JRL_ERR_INPUT);
    jrl_judge_prompt_release(&p);
    free(path);
    free(missing);
}

static void check_verdict(const char *output, const char *verdict, bool accepts)
{
    const struct jrl_text v = jrl_judge_verdict((struct jrl_text){ output, strlen(output) });

    assert_int_equal(v.len_bytes, strlen(verdict));
    assert_memory_equal(v.data, verdict, v.len_bytes);
    assert_int_equal(jrl_judge_accepts(v), accepts);
}

static void test_verdict(void **state)
{
    static const char *const spaces[] = { "\t", "\n", "\v", "\f", "\r", "\x1c", "\x1d", "\x1e", "\x1f", " ", "\xc2\x85", "\u00a0", "\u1680",
                                          "\u2000", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000" };

    (void)state;
    check_verdict("A", "A", true);
    check_verdict(" A\n", "A", true);
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        char both[16];

        snprintf(both, sizeof both, "%sA%s", spaces[i], spaces[i]);
        check_verdict(both, "A", true);
    }
    check_verdict("", "", false);
    check_verdict("\n ", "", false);
    check_verdict("B", "B", false);
    check_verdict("a", "a", false);
    check_verdict("A.", "A.", false);
    check_verdict("AA", "AA", false);
    check_verdict("A B", "A B", false);
    check_verdict("CORRECT", "CORRECT", false);
    check_verdict("\\boxed{A}", "\\boxed{A}", false);
    check_verdict("Ａ", "Ａ", false);               /* the fullwidth letter */
    check_verdict("\u200b" "A", "\u200b" "A", false); /* a zero-width space is none */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),    cmocka_unit_test(test_fields_refused),  cmocka_unit_test(test_cut),
        cmocka_unit_test(test_no_markup), cmocka_unit_test(test_cut_is_the_most), cmocka_unit_test(test_prompt_refused),
        cmocka_unit_test(test_verdict),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
