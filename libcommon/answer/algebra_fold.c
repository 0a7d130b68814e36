/* algebra_fold.c - the program grows in postfix order; what only concerns constants is computed at once. Operands that are
 * constants are single instructions, so the last one or two instructions tell. */
#include "answer/algebra_private.h"

static struct instruction *append(struct jrl_algebra *a, enum op op)
{
    struct instruction *in;

    if (a->n_code == ALGEBRA_CODE) {
        algebra_limit(a);
        return NULL;
    }
    in = &a->code[a->n_code];
    in->op = op;
    in->constant.slot = a->n_code++;
    return in;
}

static bool push(struct jrl_algebra *a)
{
    return ++a->depth <= ALGEBRA_STACK || algebra_limit(a);
}

/* The constant that instruction I, counted from the end, is; or NULL. */
static struct constant *constant_at(struct jrl_algebra *a, int from_end)
{
    struct instruction *in;

    if (a->n_code < from_end)
        return NULL;
    in = &a->code[a->n_code - from_end];
    return in->op == OP_CONSTANT ? &in->constant : NULL;
}

bool jrl_algebra_emit_operand(struct jrl_algebra *a, enum op op, int symbol)
{
    struct instruction *in = append(a, op);

    if (!in)
        return false;
    in->symbol = symbol;
    return push(a);
}

bool jrl_algebra_emit_number(struct jrl_algebra *a, struct jrl_text text)
{
    char last = text.data[text.len_bytes - 1];
    bool hexadecimal = text.len_bytes > 1 && (text.data[1] | 0x20) == 'x';
    bool imaginary = !hexadecimal && (last == 'j' || last == 'J');
    struct instruction *in = append(a, OP_CONSTANT);

    text.len_bytes -= imaginary;
    if (!in || !push(a) || !jrl_constant_read(a, &in->constant, text))
        return false;
    return !imaginary || (jrl_algebra_emit_operand(a, OP_I, 0) && jrl_algebra_emit_binary(a, OP_MULTIPLY));
}

bool jrl_algebra_emit_unary(struct jrl_algebra *a, enum op op)
{
    struct constant *x = constant_at(a, 1);
    bool folded = false;

    if (x && op == OP_NEGATE) {
        jrl_constant_negate(a, x);
        return true;
    }
    if (x && op == OP_SQRT && !jrl_constant_sqrt(a, x, &folded))
        return false;
    if (x && op == OP_FACTORIAL && !jrl_constant_factorial(a, x, 1, &folded))
        return false;
    if (folded)
        return true;
    a->has_factorial |= op == OP_FACTORIAL;
    return append(a, op);
}

bool jrl_algebra_emit_double_factorial(struct jrl_algebra *a)
{
    struct constant *x = constant_at(a, 1);
    bool folded = false;

    if (x && !jrl_constant_factorial(a, x, 2, &folded))
        return false;
    return folded || algebra_refuse(a);
}

/* x^y without an instruction for y where it is an integer that counts as exact. */
static bool emit_power(struct jrl_algebra *a, bool base_is_constant, struct constant *exponent)
{
    bool exact = exponent && jrl_constant_is_exact(exponent);
    int64_t n;

    if (exponent && !exact && !base_is_constant)
        return append(a, OP_POWER_FLOAT);
    if (!exponent || !jrl_constant_integer(a, exponent, &n))
        return append(a, OP_POWER);
    a->n_code--;
    append(a, OP_POWER_INTEGER)->exponent = n;
    return true;
}

bool jrl_algebra_emit_binary(struct jrl_algebra *a, enum op op)
{
    struct constant *y = constant_at(a, 1), *x = y ? constant_at(a, 2) : NULL;
    bool folded = true, done = true;

    a->depth--;
    if (x) {
        switch (op) {
        case OP_ADD: done = jrl_constant_add(a, x, y); break;
        case OP_MULTIPLY: done = jrl_constant_multiply(a, x, y); break;
        case OP_DIVIDE: done = jrl_constant_divide(a, x, y); break;
        default: done = jrl_constant_power(a, x, y, &folded);
        }
        if (!done || folded) {
            a->n_code--;
            return done;
        }
    }
    return op == OP_POWER ? emit_power(a, x != NULL, y) : append(a, op) != NULL;
}
