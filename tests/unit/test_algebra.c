/* Equality of expressions (answer/algebra.h): the gate, the language, arithmetic of constants, the numeric test, limits. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer/algebra.h"
#include "base/memory.h"
#include "base/random.h"

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
        cmocka_unit_test(test_gate), cmocka_unit_test(test_number_tokens), cmocka_unit_test(test_names), cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_exact_constants), cmocka_unit_test(test_float_constants), cmocka_unit_test(test_decimals_beside_symbols),
        cmocka_unit_test(test_identities), cmocka_unit_test(test_branches), cmocka_unit_test(test_factorials), cmocka_unit_test(test_no_value),
        cmocka_unit_test(test_precision), cmocka_unit_test(test_limits), cmocka_unit_test(test_hostile), cmocka_unit_test(test_random_expressions),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
