/* number.h - numbers in answers, by the published rules' rough measures: commas between thousands, and what counts as an
 * integer or a fraction. Values are doubles, as theirs. */
#ifndef JRL_ANSWER_NUMBER_H
#define JRL_ANSWER_NUMBER_H

#include <stdbool.h>

#include "answer/edit.h"
#include "base/memory.h"
#include "base/text.h"

/* What a number close to an integer is. */
struct jrl_rounding {
    bool exact; /* in: only an integer is an integer; else whatever is within 1e-7 of one, so that tiny numbers are 0 */
    bool used;  /* out: set when the other treatment would have made a difference */
};

/* S as Python's float() reads it: digits of any script, underscores between digits, inf and nan. SCRATCH is overwritten. */
bool jrl_number_parse(struct jrl_text s, double *value, struct jrl_buffer *scratch);
/* Finite and, by *r, an integer. */
bool jrl_number_is_integer(double value, struct jrl_rounding *r);
/* Append the integer that VALUE is, after rounding to the nearest or cutting the fraction off, in all its digits. */
void jrl_number_append_integer(struct jrl_buffer *out, double value, bool truncate);

/* Drop the commas that stand before three digits, as often as that changes anything. */
void jrl_number_drop_commas(struct jrl_edit *e);

/* -?digits/digits, each perhaps with one more character, the second not zero. */
bool jrl_number_is_fraction(struct jrl_text s);

#endif
