/* algebra.h - are two answers the same number or the same function? The last comparison of the polaris and deepscaler rules:
 * both texts are read as expressions in ordinary notation (2sqrt(3), pi/4, x^2-1, 1.5e-3) and their difference is tested
 * for being zero. Nothing is evaluated as code; work is bounded by counts of digits, tokens and operations, never by time.
 * Not here: the normalisation that makes such texts of LaTeX, and lists, which the rules take apart first. */
#ifndef JRL_ANSWER_ALGEBRA_H
#define JRL_ANSWER_ALGEBRA_H

#include "base/text.h"

enum jrl_identity {
    JRL_IDENTITY_EQUAL,     /* the difference is zero: exactly for numbers, at every test point for functions */
    JRL_IDENTITY_DIFFERENT,
    JRL_IDENTITY_REFUSED,   /* no expression, more than two letters, a division by zero, ... */
    JRL_IDENTITY_LIMIT,     /* a stated limit was reached before the answer was known */
};

/* Working memory, reused from call to call. One a thread; any thread may free it. */
struct jrl_algebra;

struct jrl_algebra *jrl_algebra_new(void);
/* NULL is fine. */
void jrl_algebra_free(struct jrl_algebra *a);

/* Is U - V identically zero? Letters are complex variables, roots and logarithms have their principal branches, decimals are
 * binary floats where all is constant. The answer depends on the texts alone, not on earlier calls. */
enum jrl_identity jrl_algebra_identity(struct jrl_algebra *a, struct jrl_text u, struct jrl_text v);

#endif
