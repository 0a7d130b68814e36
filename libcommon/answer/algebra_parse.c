/* algebra_parse.c - recursive descent over the tokens. From tight to loose: `!` and `!!`; `**` from the right, with signs in
 * the exponent; signs; `*`, `/` and the product that two neighbours make without a sign (1/2x is x/2); `+`, `-`. */
#include "answer/algebra_private.h"

struct parser {
    struct jrl_algebra *a;
    int at, depth;
};

static bool sum(struct parser *p);
static bool sign(struct parser *p);

static enum token_kind next(const struct parser *p)
{
    return p->a->tokens[p->at].kind;
}

static bool take(struct parser *p, enum token_kind kind)
{
    if (next(p) != kind)
        return false;
    p->at++;
    return true;
}

/* Line ends count only between the factors of a product without a sign. */
static void skip_lines(struct parser *p)
{
    while (next(p) == TOKEN_LINE)
        p->at++;
}

static bool starts_operand(enum token_kind kind)
{
    return kind == TOKEN_NUMBER || kind == TOKEN_SYMBOL || kind == TOKEN_PI || kind == TOKEN_SQRT || kind == TOKEN_LN || kind == TOKEN_OPEN;
}

static bool deeper(struct parser *p)
{
    return ++p->depth <= ALGEBRA_DEPTH || algebra_limit(p->a);
}

/* The opening parenthesis is taken. */
static bool group(struct parser *p)
{
    if (!deeper(p) || !sum(p))
        return false;
    p->depth--;
    skip_lines(p);
    return take(p, TOKEN_CLOSE) || algebra_refuse(p->a);
}

static bool function(struct parser *p, enum op op)
{
    if (!take(p, TOKEN_OPEN))
        return algebra_refuse(p->a);
    return group(p) && jrl_algebra_emit_unary(p->a, op);
}

static bool operand(struct parser *p)
{
    const struct token *t;
    bool name_before;

    skip_lines(p);
    t = &p->a->tokens[p->at];
    name_before = p->at > 0 && t[-1].kind == TOKEN_SYMBOL && t[-1].unsplit;
    p->at += t->kind != TOKEN_END;
    switch (t->kind) {
    case TOKEN_NUMBER: return jrl_algebra_emit_number(p->a, t->text);
    case TOKEN_SYMBOL: return jrl_algebra_emit_operand(p->a, OP_SYMBOL, t->symbol);
    case TOKEN_PI: return jrl_algebra_emit_operand(p->a, OP_PI, 0);
    case TOKEN_SQRT: return function(p, OP_SQRT);
    case TOKEN_LN: return function(p, OP_LN);
    case TOKEN_OPEN: /* n(k)! could be (n(k))! or n(k!) */
        return group(p) && (!name_before || next(p) != TOKEN_FACTORIAL || algebra_refuse(p->a));
    default: return algebra_refuse(p->a);
    }
}

static bool power(struct parser *p)
{
    int factorials = 0, after;

    if (!operand(p))
        return false;
    while (take(p, TOKEN_FACTORIAL))
        factorials++;
    if (factorials > 2)
        return algebra_refuse(p->a);
    if (factorials == 1 && !jrl_algebra_emit_unary(p->a, OP_FACTORIAL))
        return false;
    if (factorials == 2 && !jrl_algebra_emit_double_factorial(p->a))
        return false;
    after = p->at;
    skip_lines(p);
    if (!take(p, TOKEN_POWER)) {
        p->at = after;
        return true;
    }
    if (!deeper(p) || !sign(p))
        return false;
    p->depth--;
    return jrl_algebra_emit_binary(p->a, OP_POWER);
}

static bool sign(struct parser *p)
{
    bool negative = false;

    for (;; p->at++) {
        skip_lines(p);
        if (next(p) != TOKEN_PLUS && next(p) != TOKEN_MINUS)
            break;
        negative ^= next(p) == TOKEN_MINUS;
    }
    return power(p) && (!negative || jrl_algebra_emit_unary(p->a, OP_NEGATE));
}

static bool product(struct parser *p)
{
    bool line;

    if (!sign(p))
        return false;
    for (;;) {
        line = next(p) == TOKEN_LINE;
        skip_lines(p);
        if (take(p, TOKEN_TIMES)) {
            if (!sign(p) || !jrl_algebra_emit_binary(p->a, OP_MULTIPLY))
                return false;
        } else if (take(p, TOKEN_OVER)) {
            if (!sign(p) || !jrl_algebra_emit_binary(p->a, OP_DIVIDE))
                return false;
        } else if (!starts_operand(next(p))) {
            return true;
        } else if (line) {
            return algebra_refuse(p->a);
        } else if (!power(p) || !jrl_algebra_emit_binary(p->a, OP_MULTIPLY)) {
            return false;
        }
    }
}

static bool sum(struct parser *p)
{
    if (!product(p))
        return false;
    for (;;) {
        skip_lines(p);
        if (take(p, TOKEN_PLUS)) {
            if (!product(p))
                return false;
        } else if (take(p, TOKEN_MINUS)) {
            if (!product(p) || !jrl_algebra_emit_unary(p->a, OP_NEGATE))
                return false;
        } else {
            return true;
        }
        if (!jrl_algebra_emit_binary(p->a, OP_ADD))
            return false;
    }
}

bool jrl_algebra_parse(struct jrl_algebra *a)
{
    struct parser p = { .a = a };

    a->n_code = a->depth = 0;
    a->has_factorial = false;
    if (!sum(&p))
        return false;
    return next(&p) == TOKEN_END || algebra_refuse(a);
}
