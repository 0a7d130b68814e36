/* Equality of expressions (answer/algebra.h): the gate, the language, arithmetic of constants, the numeric test, limits. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "answer/algebra.h"
#include "base/memory.h"

static struct jrl_algebra *algebra;

static struct jrl_text text(const char *s)
{
    return (struct jrl_text){ s, strlen(s) };
}

static void check_texts(struct jrl_text u, struct jrl_text v, enum jrl_identity expected)
{
    static const char *const names[] = { "equal", "different", "refused", "limit" };
    enum jrl_identity verdict = jrl_algebra_identity(algebra, u, v);

    if (verdict != expected)
        fail_msg("'%.*s' against '%.*s': %s, not %s", (int)(u.len_bytes < 200 ? u.len_bytes : 200), u.data, (int)(v.len_bytes < 200 ? v.len_bytes : 200),
            v.data, names[verdict], names[expected]);
}

static void equal(const char *u, const char *v)
{
    check_texts(text(u), text(v), JRL_IDENTITY_EQUAL);
    check_texts(text(v), text(u), JRL_IDENTITY_EQUAL);
}

static void different(const char *u, const char *v)
{
    check_texts(text(u), text(v), JRL_IDENTITY_DIFFERENT);
    check_texts(text(v), text(u), JRL_IDENTITY_DIFFERENT);
}

static void refused(const char *u, const char *v)
{
    check_texts(text(u), text(v), JRL_IDENTITY_REFUSED);
    check_texts(text(v), text(u), JRL_IDENTITY_REFUSED);
}

static void limit(const char *u, const char *v)
{
    check_texts(text(u), text(v), JRL_IDENTITY_LIMIT);
    check_texts(text(v), text(u), JRL_IDENTITY_LIMIT);
}

static void test_gate(void **state)
{
    (void)state;
    equal("x+y", "y+x");
    refused("x+y", "z");                 /* three letters, both sides together */
    refused("pi*x", "x*pi");             /* pi costs two */
    equal("pi+pi", "2pi");
    equal("sqrt(x)+y", "y+sqrt(x)");     /* sqrt is deleted before the letters are counted */
    refused("frac", "x");                /* so is frac; then it is a name without a meaning */
    different("frsqrtac", "1");          /* first sqrt, then frac: no letter is left to count */
    refused("sqsqrtrt(2)", "1");         /* in one pass: s, q, r, t remain */
    equal("xxyy", "yxyx");
    equal("\xCE\xB1+\xCE\xB2", "\xCE\xB2+\xCE\xB1"); /* alpha and beta are letters too */
    refused("\xCE\xB1+\xCE\xB2", "x");
    refused("x^{2}", "x*x");
    refused("x^(2)", "x*x");
    equal("x**(2)", "x*x");              /* the gate knows only the sign ^ */
    refused("2^3^2", "512");
    refused("2^10", "1024");
    equal("2^9", "512");
    equal("2^x^2", "2**(x*x)");          /* a digit before the second ^ counts only right after the first */
    refused("x\xEF\xBC\x8By", "x+y");    /* a full-width plus is no operator */
}

static void test_numbers(void **state)
{
    (void)state;
    equal("1_000", "1000");
    equal("0x_1f", "31");
    equal("0XFF", "255");
    equal("0b101", "5");
    equal("0o17", "15");
    equal("0b12", "2");                  /* 0b1 times 2 */
    equal("007", "0");                   /* 00 times 7 */
    equal("00", "0");
    equal("0_0", "0");
    equal("09.5", "9.5");
    different("1__0", "10");             /* 1 times the symbol __0 */
}

static void test_constants(void **state)
{
    (void)state;
    different("0.1+0.2", "0.3");
    equal("0.1+0.2-0.3", "2**-54");
    equal("0.5", "1/2");
    equal("1/2x", "x/2");
    equal("2^3x", "8x");
}

static void test_identities(void **state)
{
    (void)state;
    equal("2sqrt(3)", "sqrt(12)");
    equal("ln(8)", "3ln(2)");
    different("sqrt(x^2)", "x");
    different("sqrt(xy)", "sqrt(x)sqrt(y)");
    different("r^5.", "r^5");
    equal("2j*2j", "-4");
}

static char *repeat(const char *head, const char *unit, int n, const char *tail)
{
    struct jrl_buffer b = { 0 };

    jrl_buffer_append_str(&b, head);
    for (int i = 0; i < n; i++)
        jrl_buffer_append_str(&b, unit);
    jrl_buffer_append_str(&b, tail);
    jrl_buffer_append_byte(&b, 0);
    return (char *)b.data;
}

static void test_hostile(void **state)
{
    char *deep = repeat("", "(", 1000000, "1"), *long_sum = repeat("1", "+1", 7500000, "");

    (void)state;
    limit("9**9**9", "1");
    limit("(10**9)!", "1");
    limit(deep, "1");
    limit(long_sum, "1");
    free(deep);
    free(long_sum);
}

static int set_up(void **state)
{
    (void)state;
    algebra = jrl_algebra_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    jrl_algebra_free(algebra);
    jrl_algebra_free(NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate), cmocka_unit_test(test_numbers), cmocka_unit_test(test_constants), cmocka_unit_test(test_identities),
        cmocka_unit_test(test_hostile),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
