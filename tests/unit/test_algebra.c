/* Equality of expressions (answer/algebra.h): the gate, the language, arithmetic of constants. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/algebra_test.h"

/* The gate looks at characters only. */
static void test_gate(void **state)
{
    (void)state;
    equal("x+y", "y+x");
    refused("x+y", "z");                 /* three letters, both sides together */
    refused("pi*x", "x*pi");             /* pi costs two */
    equal("pi+pi", "2pi");
    equal("xxyy", "yxyx");               /* distinct ones */
    equal("sqrt(x)+y", "y+sqrt(x)");     /* sqrt is deleted before the letters are counted */
    refused("frac", "x");                /* so is frac; then it is a name without a meaning */
    different("frsqrtac", "1");          /* first sqrt, then frac: no letter is left to count */
    refused("sqsqrtrt(2)", "1");         /* in one pass: s, q, r, t remain */
    equal("\xCE\xB1+\xCE\xB2", "\xCE\xB2+\xCE\xB1"); /* alpha and beta are letters too */
    refused("\xCE\xB1+\xCE\xB2", "x");
    refused("x^{2}", "x*x");
    refused("x^(2)", "x*x");
    equal("x**(2)", "x*x");              /* the gate knows only the sign ^ */
    refused("2^3^2", "512");
    refused("2^10", "1024");
    equal("2**10", "1024");
    equal("2^9", "512");
    equal("2^x^2", "2**(x*x)");          /* only the digits right after a ^ count */
    refused("1", "2^10");
}

static void test_number_tokens(void **state)
{
    static const char *const others[] = { ",", "=", "<", "[", "]", "'", "\"", "#", "\xC2\xB1", "\xE2\x88\x9E", "\xC2\xB0", "//", "|", "&", ".", "\\", "{", "@", "%",
        ":", ";", "\v", "!=", "~", "$", "\xEF\xBC\x8B", "\xC2\xA0" };
    char buffer[16];

    (void)state;
    equal("1_000", "1000");
    equal("3.", "3.0");
    equal(".5", "1/2");
    equal("3.e2", "300");
    equal("1e-5", "1/100000");
    equal("1.5E+1", "15");
    equal("0x_1f", "31");
    equal("0XFF", "255");
    equal("0b101", "5");
    equal("0o17", "15");
    equal("0b12", "2");                  /* 0b1 times 2 */
    equal("0x", "0");                    /* 0 times x */
    equal("007", "0");                   /* 00 times 7 */
    equal("0_0", "0");
    equal("09.5", "9.5");
    equal("1.2.3", "1.2*.3");
    different("2e", "2");                /* 2 times e */
    different("1__0", "10");             /* 1 times the symbol __0 */
    equal("2j*2j", "-4");
    equal("1.5J", "3/2*1j");
    equal("09j", "9*1j");
    equal(" 1 \t+\f1 ", "2");
    equal("\n1\r", "1");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        snprintf(buffer, sizeof buffer, "1%s2", others[i]);
        if (strcmp(others[i], ".") != 0)
            refused(buffer, "1");
        refused(others[i], "1");
    }
    refused("0.1[6]", "1/6"); /* what SymPy also reads, and nobody writes */
    refused("sqrt.25", "1/2");
    refused("sqrt**2(3)", "3");
    refused("7//2", "3");
}

static void test_names(void **state)
{
    static const char *const words[] = { "oo", "zoo", "nan", "all", "csc", "eye", "ff", "fft", "frac", "fu", "gff", "hn1", "hn2", "id", "im", "jn",
        "li", "ntt", "re", "rf", "yn", "as", "if", "in", "is", "or" };

    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        refused(words[i], "1");
    refused("sqrt", "1");
    refused("sqrt 2", "1");
    refused("ln 2", "1");
    different("ln2", "ln(2)");
    refused("ln\n(2)", "1");             /* the parenthesis follows at once, blanks apart */
    equal("sqrt (4)", "2");
    equal("ln(1)", "0");
    different("mu", "um");               /* one symbol against a product */
    different("nu", "n*u");
    different("xi", "x*i");
    equal("2mu", "mu+mu");
    different("x_y", "x*y");
    equal("x_1+x_2", "x_2+x_1");
    different("x_1", "x_2");
    equal("no", "on");
    equal("ab2", "2a*b");
    equal("a12b003", "36ab");
    equal("pisqrt(2)", "pisqrt(2)");
    different("pisqrt(2)", "pi*sqrt(2)"); /* p*i*s*q*r*t*2 */
    different("i^2", "-1");              /* i and e are ordinary */
    different("e", "2.718281828459045");
    equal("1/mt", "t/m");                /* the split does not make parentheses */
    equal("x^xy", "x^x*y");
    equal("xy!", "(x*y)!");              /* but for a factorial */
    equal("xy !", "(x*y)!");
    different("xy!", "x*y!");
    refused("x(2)!", "2x");              /* (x*2)! or x*2!? */
    refused("x((1)+1)!", "2x");
    refused("mu(2)!", "2");
    equal("xy(2)!", "2xy");
    equal("sqrt(4)!", "2");
    equal("pi(3)!", "6pi");
    equal("x\xD9\xA3", "3x");            /* an Arabic-Indic three, inside a name */
    different("\xD9\xA3", "3");          /* alone it is a name of one character */
    equal("\xC2\xB2+1", "1+\xC2\xB2");   /* so is a superscript */
    refused("x\xC2\xB2", "x^2");         /* which has no value inside a name */
    equal("x\xC2\xBD", "\xC2\xBD*x");    /* a fraction is a letter there */
}

static void test_grammar(void **state)
{
    (void)state;
    equal("1/2x", "x/2");
    equal("2^3x", "8x");
    equal("2(3)4", "24");
    equal("(2)(3)", "6");
    equal("2sqrt(9)3", "18");
    equal("6/2(3)", "9");
    refused("2\n3", "6");
    refused("2\r(3)", "6");
    equal("2\n*3", "6");
    equal("2\n+3", "5");
    equal("2\n**\n3", "8");
    equal("2*\n3", "6");
    refused("3\n!", "6");
    equal("-2^2", "-4");
    equal("2^-1", "1/2");
    equal("2**-+-2", "4");
    equal("2**3**2", "512");
    equal("2^3!", "64");
    equal("-3!", "-6");
    equal("3!!", "3");
    equal("6!!", "48");
    equal("7!!", "105");
    equal("25!!", "25*23!!");
    equal("0!", "1");
    equal("0!!", "1");
    refused("3!!!", "1");
    equal("(3!)!", "720");
    refused("x!!", "x");
    equal("2*-3", "-6");
    equal("2/-4", "-1/2");
    equal("--2", "2");
    equal("+-+2", "-2");
    equal("8/2/2", "2");
    equal("8-3-2", "3");
    equal("2+3*4", "14");
    refused("", "1");
    refused("()", "1");
    refused("(1", "1");
    refused("1)", "1");
    refused("*2", "2");
    refused("2*", "2");
    refused("2+", "2");
    refused("2**", "2");
    refused("!3", "6");
    refused("-", "0");
    check_texts(text("1)+(2"), text("3"), JRL_IDENTITY_EQUAL); /* it is the text (1)+(2)-(3) that is read */
    check_texts(text("3"), text("1)+(2"), JRL_IDENTITY_DIFFERENT);
}

static void test_exact_constants(void **state)
{
    (void)state;
    equal("1/3+1/6", "1/2");
    different("1/3", "33/100");
    equal("2**-3", "1/8");
    equal("(-2)**3", "-8");
    equal("(2/3)**-2", "9/4");
    equal("(-2/3)**-3", "-27/8");
    equal("0^2", "0");
    equal("0**0", "1");
    equal("9223372036854775807+1", "9223372036854775808");
    equal("-9223372036854775807-1", "-9223372036854775808");
    equal("(-9223372036854775807-1)/(-1)", "9223372036854775808");
    equal("3037000500*3037000500", "9223372037000250000");
    equal("99999999999999999999*99999999999999999999", "9999999999999999999800000000000000000001");
    equal("(10**30+1)-10**30", "1");
    equal("10**30/10**29", "10");
    equal("1/3037000500/3037000501", "1/9223372040037250500");
    equal("4294967296**-2*4294967296**2", "1");
    equal("21!/20!", "21");
    equal("5000!/4999!", "5000");
    equal("sqrt(16/9)", "4/3");
    equal("sqrt(0)", "0");
    equal("sqrt(10**40)", "10**20");
    equal("sqrt(4503599627370496)", "67108864");
    different("sqrt(4503599627370497)", "67108864");
    equal("1**(10**30)", "1");
    equal("(-1)**(10**30+1)", "-1");
    equal("(-1)**(10**30)", "1");
    different("10**40", "10**40+1");
}

static const char *exactly(double x)
{
    static char buffers[2][64];
    static int next;
    int exponent;
    double mantissa = frexp(x, &exponent);

    next = !next;
    snprintf(buffers[next], sizeof buffers[next], "%lld*2**%d", (long long)ldexp(mantissa, 53), exponent - 53);
    return buffers[next];
}

/* Every operation rounds to 53 bits, an exact operand first. */
static void test_float_constants(void **state)
{
    (void)state;
    different("0.1+0.2", "0.3");
    equal("0.1+0.2", exactly(0.1 + 0.2));
    equal("0.1+0.2-0.3", "2**-54");
    equal("0.5", "1/2");
    equal("1e3", "1000");
    different("0.1*3", "0.3");
    equal("0.1*3", exactly(0.1 * 3));
    equal("7/1.5", exactly(7 * (1 / 1.5))); /* exact / float: two roundings */
    different("7/1.5", exactly(7 / 1.5));
    equal("7./1.5", exactly(7 / 1.5));
    equal("1.5/7", exactly(1.5 / 7));
    different("7/1.5", "14/3");
    different("7/1.5", "4.66666666666667");
    equal("1/3+0.", exactly(1.0 / 3));
    equal("9007199254740993+0.", "9007199254740992");
    equal("1e16+1", "1e16");
    equal("0*1.5", "0");
    equal("0*1.5+1/3", "1/3");                  /* an exact zero: 1/3 is not rounded */
    equal("0.*1.5+1/3", exactly(1.0 / 3));      /* a float of value zero: it is */
    equal("1.5-1.5+1/3", "1/3");                /* a sum that vanishes is exact */
    equal("sqrt(2.)", exactly(sqrt(2.0)));
    equal("2.**.5", exactly(sqrt(2.0)));
    equal("2**.5", exactly(sqrt(2.0)));
    equal("1.5**-2", exactly(1 / 2.25));
    equal("2.**2000/2.**1999", "2");            /* beyond the range of a double */
    equal("2.**-2000*2.**2000", "1");
    equal("1e400", "10**400");
    refused("1/0.", "1");
    /* 15 digits: 53 bits; more digits, more bits. Leading zeros do not count, trailing ones do. */
    equal("0.100000000000000", "0.1");
    different("0.1000000000000000", "0.1");
    equal("000.000100000000000000", "1e-4");
    different("1.00000000000000001", "1");
    equal("sqrt(4.0000000000000000000)", "2");
    equal("2.0000000000000000000**2", "4");
    equal("6.0000000000000000000/4", "3/2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate), cmocka_unit_test(test_number_tokens), cmocka_unit_test(test_names), cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_exact_constants), cmocka_unit_test(test_float_constants),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
