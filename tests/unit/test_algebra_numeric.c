/* Equality of expressions (answer/algebra.h): the test by numbers, branches, limits, hostile texts. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/random.h"
#include "tests/unit/algebra_test.h"
#include "tests/unit/repeat.h"

static void test_decimals_beside_symbols(void **state)
{
    (void)state;
    equal("1.1pi", "11pi/10");                   /* the decimal, not the double */
    equal("0.25x", "x/4");
    different("0.1*3*sqrt(2)", "0.3sqrt(2)");    /* 0.30000000000000004 */
    equal("1.2345678901234567890pi", "12345678901234567890/10**19*pi");
    equal("-1.2345678901234567890pi", "-12345678901234567890/10**19*pi");
    equal("1e300sqrt(2)", "10**300*sqrt(2)");
    equal("1e400sqrt(2)", "10**400*sqrt(2)");
    different("r^5.", "r^5");
    equal("r^5.", "r^5.");
    equal("2r^.5", "r^.5+r^.5");
    equal("(-4)**.5", "2j");
    equal("(-3)**2.", "9");
}

static void test_identities(void **state)
{
    (void)state;
    equal("2sqrt(3)", "sqrt(12)");
    equal("sqrt(2)/2", "1/sqrt(2)");
    equal("sqrt(3+2sqrt(2))", "1+sqrt(2)");
    equal("1/(sqrt(2)+1)", "sqrt(2)-1");
    equal("(sqrt(5)-1)**3", "8sqrt(5)-16");
    equal("sqrt(sqrt(sqrt(256)))", "2");
    equal("4**(1/2)", "2");
    equal("8**(1/3)", "2");
    equal("(-8)**(1/3)", "1+sqrt(-3)");
    equal("sqrt(-4)", "2j");
    equal("ln(8)", "3ln(2)");
    equal("ln(2)+ln(3)", "ln(6)");
    equal("ln(-1)", "ln(-1)*1");
    equal("ln(sqrt(2))", "ln(2)/2");
    different("ln(2)", "0.693147180559945");
    different("pi", "3.14159265358979");
    different("pi", "22/7");
    equal("(x+1)**2", "x^2+2x+1");
    equal("x/y+y/x", "(x^2+y^2)/(x*y)");
    equal("(x^3-1)/(x-1)", "x^2+x+1");
    equal("x^x*x", "x**(x+1)");
    equal("sqrt(x)**2", "x");
    equal("sqrt(4x)", "2sqrt(x)");
    equal("x^0", "1");
    different("x+1", "x");
    different("x*y", "x+y");
    equal("x-x", "0");
    /* Roots of what is zero, and roots on their cut. */
    equal("sqrt(sqrt(2)*sqrt(2)-2)", "0");
    equal("sqrt(x/x-2)", "1j");
    equal("(x-x)**(1/2)", "0");
    equal("0**(1/2)", "0");
}

static void test_branches(void **state)
{
    (void)state;
    different("sqrt(x^2)", "x");
    different("sqrt(xy)", "sqrt(x)sqrt(y)");
    different("sqrt(x/y)", "sqrt(x)/sqrt(y)");
    different("sqrt(1/x)", "1/sqrt(x)");
    different("sqrt(-1/x)", "1/sqrt(-x)");
    different("sqrt(1/x^2)", "1/sqrt(x^2)");
    different("sqrt(x^4)", "x^2");
    different("sqrt(x^3)", "sqrt(x)sqrt(x^2)");
    different("sqrt((x+3)**2)", "x+3");
    different("sqrt((3-x)**2)", "3-x");
    different("sqrt((1/x+3)**2)", "1/x+3");
    different("(x^3)**(1/3)", "x");
    different("sqrt((x+50)/(x+8))", "sqrt(x+50)/sqrt(x+8)"); /* only for -50 < x < -8 */
    different("sqrt((x-2)/(x-3))", "sqrt(x-2)/sqrt(x-3)");   /* only for 2 < x < 3 */
    different("sqrt((y-x)/(x-3))", "sqrt(y-x)/sqrt(x-3)");
    equal("sqrt(x/(x+4))", "sqrt(x)/sqrt(x+4)");             /* everywhere */
    equal("sqrt(-x^2)", "sqrt(x)sqrt(-x)");
    different("sqrt(x*(y+9))", "sqrt(x)sqrt(y+9)");
    different("sqrt(x*y*(x+20))", "sqrt(x*y)sqrt(x+20)");
    different("sqrt(x^2*(x+8))", "sqrt(x^2)sqrt(x+8)");
    different("(x**2)**.5", "x**1.");
}

static void test_factorials(void **state)
{
    (void)state;
    equal("n!", "n*(n-1)!");
    equal("(n+1)!/n!", "n+1");
    different("(n+1)!", "n!(n-1)");
    equal("(2n)!", "2n*(2n-1)!");
    equal("(1/2)!", "sqrt(pi)/2");
    equal("(-1/2)!", "sqrt(pi)");
    equal("5.0!", "120");
    refused("(-1)!", "1");
    refused("(x-x-2)!", "1");
}

static void test_no_value(void **state)
{
    (void)state;
    refused("1/0", "1");
    refused("0/0", "1");
    refused("x/0", "x");
    refused("1/(x-x)", "1");
    refused("1/(sqrt(2)sqrt(2)-2)", "1");
    refused("0**-1", "1");
    refused("0**-.5", "1");
    refused("(x-x)**-1", "1");
    refused("(x-x)**(-1/2)", "1");
    refused("ln(0)", "1");
    refused("ln(sqrt(4)-2)", "1");
    refused("ln(sqrt(2)sqrt(2)-2)", "1");
}

/* 256 bits tell apart what doubles cannot, at every size. */
static void test_precision(void **state)
{
    (void)state;
    different("sqrt(2)", "sqrt(2+10**-60)");
    different("sqrt(2)+10**-70", "sqrt(2)");
    equal("10**60+sqrt(2)-10**60", "sqrt(2)");
    equal("10**-300*sqrt(12)", "2*10**-300*sqrt(3)");
    different("10**-300*sqrt(12)", "3*10**-300*sqrt(3)");
    equal("10**-400*sqrt(12)", "2*10**-400*sqrt(3)");
    different("10**-400*sqrt(12)", "3*10**-400*sqrt(3)");
    equal("10**400*sqrt(12)", "2*10**400*sqrt(3)");
    different("10**400*sqrt(12)", "3*10**400*sqrt(3)");
    different("x**100000+1", "x**100000");
    different("2x**100000", "x**100000");
    equal("x**99999*x", "x**100000");
    equal("(x**1000)**-1", "x**-1000");
    equal("2**sqrt(2)*2**-sqrt(2)", "1");
}

static void check_repeated(const char *head, const char *unit, int n, const char *tail, const char *v, enum jrl_identity expected)
{
    char *u = repeat(head, unit, n, tail);

    check_texts(text(u), text(v), expected);
    check_texts(text(v), text(u), expected);
    free(u);
}

static void check_nested(const char *open, const char *core, const char *close, int n, const char *v, enum jrl_identity expected)
{
    char *head = repeat("", open, n, core);

    check_repeated(head, close, n, "", v, expected);
    free(head);
}

/* The last that is accepted and the first that is not. */
static void test_limits(void **state)
{
    char many[400] = "";

    (void)state;
    check_repeated("1", " ", 16382, "", "1", JRL_IDENTITY_EQUAL);
    check_repeated("1", " ", 16383, "", "1", JRL_IDENTITY_LIMIT);
    check_repeated("1", "+1", 1020, "", "1021", JRL_IDENTITY_EQUAL); /* 2,048 tokens with those around */
    check_repeated("1", "+1", 1021, "", "1022", JRL_IDENTITY_LIMIT);
    check_nested("(", "1", ")", 199, "1", JRL_IDENTITY_EQUAL); /* one more is around it */
    check_nested("(", "1", ")", 200, "1", JRL_IDENTITY_LIMIT);
    check_repeated("", "1**", 199, "1", "1", JRL_IDENTITY_EQUAL);
    check_repeated("", "1**", 200, "1", "1", JRL_IDENTITY_LIMIT);
    check_repeated("", "-", 1001, "1", "-1", JRL_IDENTITY_EQUAL); /* signs are no depth */
    check_repeated("", "1", 4300, "", "1", JRL_IDENTITY_DIFFERENT);
    check_repeated("", "1", 4301, "", "1", JRL_IDENTITY_LIMIT);
    check_repeated("0.", "1", 4300, "", "1", JRL_IDENTITY_DIFFERENT);
    check_repeated("0.", "1", 4301, "", "1", JRL_IDENTITY_LIMIT);
    different("1e5000", "1");
    limit("1e5001", "1");
    limit("1e99999999999999999999", "1");
    different("2**100000", "1");
    limit("2**100001", "1");
    limit("2**-100001", "1");
    different("5000!", "1");
    limit("5001!", "1");
    limit("5001!!", "1");
    limit("(x+1000)!", "1");
    for (int i = 0; i < 32; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "x_%d+", i);
    check_repeated(many, "0", 1, "", "0", JRL_IDENTITY_DIFFERENT);
    check_repeated(many, "x_32", 1, "", "0", JRL_IDENTITY_LIMIT);
    check_repeated("x**x", "+x**x", 19, "", "20x**x", JRL_IDENTITY_EQUAL);
    check_repeated("x**x", "+x**x", 99, "", "100x**x", JRL_IDENTITY_LIMIT);
    check_repeated("n!", "+n!", 4, "", "5n!", JRL_IDENTITY_EQUAL);
    check_repeated("n!", "+n!", 39, "", "40n!", JRL_IDENTITY_LIMIT);
}

static void test_hostile(void **state)
{
    static const char zeros[] = "1\0+1";
    char *soup;

    (void)state;
    limit("9**9**9", "1");
    limit("(10**9)!", "1");
    limit("2.5**(10**18)", "1");
    limit("x**(10**70)", "x");
    limit("pi**99999999999", "1");
    check_repeated("", "(", 1000000, "1", "1", JRL_IDENTITY_LIMIT);
    check_nested("(", "1", ")", 1000000, "1", JRL_IDENTITY_LIMIT);
    check_repeated("1", "+1", 7500000, "", "1", JRL_IDENTITY_LIMIT);
    check_texts((struct jrl_text){ zeros, sizeof zeros - 1 }, text("2"), JRL_IDENTITY_REFUSED);
    refused("\xFF\xFE", "1");
    refused("1\xE2\x88", "1");
    soup = jrl_xmalloc(1000);
    for (uint32_t i = 0, x = 1; i < 20000; i++) {
        size_t len = i % 40;

        for (size_t k = 0; k < len; k++) {
            x = x * 1664525 + 1013904223;
            soup[k] = i % 2 ? (char)(x >> 24) : "12.ex()+-*/^!_ j"[x >> 28];
        }
        jrl_algebra_identity(algebra, (struct jrl_text){ soup, len / 2 }, (struct jrl_text){ soup + len / 2, len - len / 2 });
    }
    free(soup);
}

/* A random expression; DEPTH bounds it. */
static void append_random(struct jrl_buffer *b, struct jrl_rng *rng, int depth)
{
    static const char *const leaves[] = { "1", "2", "3", "7", "12", "1/3", "x", "x", "y", "sqrt(2)", "sqrt(x)", "2j", "0.5", "1.1" };
    static const char *const ops[] = { "+", "-", "*", "*", "/", "**", "+", "*" };
    uint64_t kind = jrl_rng_below(rng, depth == 0 ? 1 : 5);

    if (kind == 0) {
        jrl_buffer_append_str(b, leaves[jrl_rng_below(rng, sizeof leaves / sizeof leaves[0])]);
        return;
    }
    jrl_buffer_append_str(b, kind == 1 ? "sqrt(" : "(");
    append_random(b, rng, depth - 1);
    jrl_buffer_append_str(b, ")");
    if (kind == 1)
        return;
    jrl_buffer_append_str(b, ops[jrl_rng_below(rng, sizeof ops / sizeof ops[0])]);
    jrl_buffer_append_str(b, "(");
    append_random(b, rng, depth - 1);
    jrl_buffer_append_str(b, ")");
}

/* What is the same is never "different", whichever stage decides; what is not the same, never "equal". */
static void test_random_expressions(void **state)
{
    struct jrl_buffer e = { 0 }, f = { 0 };
    struct jrl_rng rng;
    int n_decided = 0;

    (void)state;
    jrl_rng_init(&rng, 4, 7);
    for (int i = 0; i < 20000; i++) {
        struct jrl_text u, v;
        enum jrl_identity verdict;

        e.len = f.len = 0;
        append_random(&e, &rng, 3);
        jrl_buffer_printf(&f, "(3+x*(%s))/x-3/x", jrl_buffer_str(&e));
        u = (struct jrl_text){ (const char *)e.data, e.len };
        v = (struct jrl_text){ (const char *)f.data, f.len };
        verdict = jrl_algebra_identity(algebra, u, v);
        if (verdict == JRL_IDENTITY_DIFFERENT)
            fail_msg("'%s' is another value after +3-3", jrl_buffer_str(&e));
        n_decided += verdict == JRL_IDENTITY_EQUAL;
        if (verdict != JRL_IDENTITY_EQUAL)
            continue;
        if (jrl_algebra_identity(algebra, u, text("0")) != JRL_IDENTITY_DIFFERENT)
            continue;
        f.len = 0;
        jrl_buffer_printf(&f, "(%s)*(1+10**-%d)", jrl_buffer_str(&e), memchr(e.data, '.', e.len) ? 4 : 40); /* decimals are floats */
        check_texts(u, (struct jrl_text){ (const char *)f.data, f.len }, JRL_IDENTITY_DIFFERENT);
    }
    assert_true(n_decided > 15000);
    jrl_buffer_release(&e);
    jrl_buffer_release(&f);
}

struct worker {
    pthread_t thread;
    struct jrl_algebra *algebra;
    int n_equal;
};

static void *work(void *argument)
{
    struct worker *w = argument;

    for (int i = 0; i < 200; i++)
        w->n_equal += jrl_algebra_identity(w->algebra, text("ln(8)+2sqrt(3)"), text("sqrt(12)+3ln(2)")) == JRL_IDENTITY_EQUAL;
    return NULL;
}

/* Memory made by one thread, used by another that ends before it is freed. */
static void test_threads(void **state)
{
    struct worker workers[4] = { 0 };

    (void)state;
    for (int i = 0; i < 4; i++) {
        workers[i].algebra = jrl_algebra_new();
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].n_equal, 200);
        jrl_algebra_free(workers[i].algebra);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decimals_beside_symbols), cmocka_unit_test(test_identities), cmocka_unit_test(test_branches),
        cmocka_unit_test(test_factorials), cmocka_unit_test(test_no_value), cmocka_unit_test(test_precision), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_random_expressions), cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
