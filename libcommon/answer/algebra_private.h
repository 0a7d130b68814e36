/* algebra_private.h - the stages of algebra.h and what they share: text -> tokens (algebra_lex.c) -> a program in postfix
 * order, constants folded as it grows (algebra_parse.c, algebra_fold.c, algebra_constant.c) -> a verdict, by double
 * arithmetic where that is certain (algebra_sieve.c) and by MPFR where not (algebra_precise.c).
 * A stage returns false when it ends the comparison; the reason is then in `failure`. */
#ifndef JRL_ANSWER_ALGEBRA_PRIVATE_H
#define JRL_ANSWER_ALGEBRA_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include <gmp.h>
#include <mpfr.h>

#include "answer/algebra.h"
#include "answer/algebra_complex.h"
#include "base/memory.h"

enum {
    ALGEBRA_TEXT_BYTES = 16384, /* both texts together */
    ALGEBRA_TOKENS = 2048,
    ALGEBRA_CODE = 2 * ALGEBRA_TOKENS, /* operands, and at most one operator each */
    ALGEBRA_DEPTH = 200,        /* of parentheses and of towers of powers */
    ALGEBRA_STACK = 4 * ALGEBRA_DEPTH, /* operands waiting: at most three a level */
    ALGEBRA_SYMBOLS = 32,
    ALGEBRA_DIGITS = 4300,      /* of one number */
    ALGEBRA_EXPONENT = 5000,    /* of ten, in a decimal */
    ALGEBRA_BITS = 200000,      /* of a numerator or denominator */
    ALGEBRA_FACTORIAL = 5000,
    ALGEBRA_WORK = 40000,       /* units of about a quarter of a microsecond, counted by formulas */
    ALGEBRA_PRECISION = 256,    /* bits of the precise test */
    ALGEBRA_POINTS = 8,         /* values of the symbols that are tried */
};

enum token_kind {
    TOKEN_NUMBER, TOKEN_SYMBOL, TOKEN_PI, TOKEN_SQRT, TOKEN_LN, TOKEN_PLUS, TOKEN_MINUS, TOKEN_TIMES, TOKEN_OVER,
    TOKEN_POWER, TOKEN_FACTORIAL, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_LINE, TOKEN_END
};

struct token {
    enum token_kind kind;
    bool unsplit;         /* a symbol that is a whole name */
    int symbol;           /* of TOKEN_SYMBOL */
    struct jrl_text text; /* of TOKEN_NUMBER: ASCII, as Python writes numbers */
};

/* Exact numbers stay in one word each for numerator and denominator while they fit, floats of 53 bits in a double while it
 * has them as normal numbers; the others lie in the number of their slot. */
enum constant_kind { CONSTANT_RATIO, CONSTANT_RATIONAL, CONSTANT_DOUBLE, CONSTANT_FLOAT };

struct constant {
    enum constant_kind kind;
    int slot;
    int64_t numerator, denominator; /* CONSTANT_RATIO: reduced, denominator > 0, numerator > INT64_MIN */
    double real;                    /* CONSTANT_DOUBLE */
    struct jrl_text literal;        /* CONSTANT_FLOAT read from text, nothing done to it but signs */
    bool literal_negated;
};

struct number {
    mpq_t rational;
    mpfr_t real; /* its precision is the constant's */
};

enum op {
    OP_CONSTANT, OP_SYMBOL, OP_PI, OP_I,
    OP_NEGATE, OP_SQRT, OP_LN, OP_FACTORIAL, OP_POWER_INTEGER,
    OP_ADD, OP_MULTIPLY, OP_DIVIDE, OP_POWER,
    OP_POWER_FLOAT /* of a base with symbols: never the same as a power with the exact exponent */
};

/* Operands are those of a stack machine. */
struct instruction {
    enum op op;
    int symbol;       /* OP_SYMBOL */
    int64_t exponent; /* OP_POWER_INTEGER */
    struct constant constant;
};

struct jrl_algebra {
    enum jrl_identity failure;
    int64_t work;

    struct token tokens[ALGEBRA_TOKENS];
    int n_tokens;
    struct jrl_text symbols[ALGEBRA_SYMBOLS];
    int n_symbols;
    struct jrl_buffer digits; /* numbers of other scripts, and numbers as C strings */

    struct instruction code[ALGEBRA_CODE];
    int n_code, depth;
    bool has_factorial; /* of what is no constant */
    struct number *numbers[ALGEBRA_CODE]; /* by slot, made when needed */
    int n_numbers;                        /* slots in use by this call */
    mpq_t ratio;
    mpfr_t left, right, result;           /* of any precision */

    struct jrl_complex stack[ALGEBRA_STACK];
    int n_stack;                          /* of which this many are initialised */
    struct jrl_complex_scratch scratch;
    struct jrl_complex_gamma gamma;
};

static inline bool algebra_fail(struct jrl_algebra *a, enum jrl_identity why)
{
    a->failure = why;
    return false;
}

static inline bool algebra_refuse(struct jrl_algebra *a)
{
    return algebra_fail(a, JRL_IDENTITY_REFUSED);
}

static inline bool algebra_limit(struct jrl_algebra *a)
{
    return algebra_fail(a, JRL_IDENTITY_LIMIT);
}

static inline bool algebra_spend(struct jrl_algebra *a, int64_t units)
{
    a->work += units;
    return a->work <= ALGEBRA_WORK || algebra_limit(a);
}

/* algebra_gate.c: what the published rule refuses by its characters. */
bool jrl_algebra_gate(struct jrl_algebra *a, struct jrl_text u, struct jrl_text v);

/* algebra_lex.c: the tokens of (u)-(v). */
bool jrl_algebra_lex(struct jrl_algebra *a, struct jrl_text u, struct jrl_text v);

/* algebra_parse.c: from tokens to code. */
bool jrl_algebra_parse(struct jrl_algebra *a);

/* algebra_fold.c: append to the code, folding. */
bool jrl_algebra_emit_number(struct jrl_algebra *a, struct jrl_text text);
bool jrl_algebra_emit_operand(struct jrl_algebra *a, enum op op, int symbol);
bool jrl_algebra_emit_unary(struct jrl_algebra *a, enum op op);
bool jrl_algebra_emit_binary(struct jrl_algebra *a, enum op op);
bool jrl_algebra_emit_double_factorial(struct jrl_algebra *a);

/* algebra_read.c: a number as Python writes it, without the suffix j. x->slot is set. */
bool jrl_constant_read(struct jrl_algebra *a, struct constant *x, struct jrl_text text);
void jrl_constant_literal(struct jrl_algebra *a, mpfr_ptr out, const struct constant *x); /* the literal itself, at out's precision */

/* algebra_constant.c: *x becomes the result. One that is too large, or that does not exist, fails. */
void jrl_constant_set_integer(struct constant *x, int64_t value);
bool jrl_constant_set_float(struct jrl_algebra *a, struct constant *x, mpfr_srcptr value);
bool jrl_constant_settle(struct jrl_algebra *a, struct constant *x); /* a rational that was just computed */
struct number *jrl_constant_number(struct jrl_algebra *a, const struct constant *x);
void jrl_constant_as_rational(struct jrl_algebra *a, struct constant *x);
void jrl_constant_as_float(struct jrl_algebra *a, mpfr_ptr out, const struct constant *x); /* rounded to out's precision */
bool jrl_constant_is_exact(const struct constant *x);
int jrl_constant_sign(struct jrl_algebra *a, const struct constant *x);
mpfr_prec_t jrl_constant_precision(struct jrl_algebra *a, const struct constant *x); /* 0: exact */

void jrl_constant_negate(struct jrl_algebra *a, struct constant *x);
bool jrl_constant_add(struct jrl_algebra *a, struct constant *x, const struct constant *y);
bool jrl_constant_multiply(struct jrl_algebra *a, struct constant *x, const struct constant *y);
bool jrl_constant_divide(struct jrl_algebra *a, struct constant *x, const struct constant *y);

/* algebra_power.c: the same for what does not always have a rational result or a float; then *folded is false and *x unchanged. */
bool jrl_constant_power(struct jrl_algebra *a, struct constant *x, const struct constant *y, bool *folded);
bool jrl_constant_sqrt(struct jrl_algebra *a, struct constant *x, bool *folded);
bool jrl_constant_factorial(struct jrl_algebra *a, struct constant *x, int step, bool *folded); /* step 2: double factorial */
/* The value as an int64_t, if it is an integer in that range. */
bool jrl_constant_integer(struct jrl_algebra *a, const struct constant *x, int64_t *value);

/* algebra_sieve.c: is the code's value at this point certainly not zero? False: not known. */
bool jrl_algebra_surely_different(struct jrl_algebra *a, int point);
/* algebra_precise.c: is it zero? */
bool jrl_algebra_precise(struct jrl_algebra *a, int point, bool *zero);

/* algebra.c: the value of a symbol at a test point, real where *im is 0; doubles, so that both stages have the same. */
void jrl_algebra_point(int symbol, int point, double *re, double *im);

#endif
