/* mathd.h - the older of the two comparisons of the evaluation rules, after the MATH data set's is_equiv: both texts are
 * rewritten a little and then have to be the same. */
#ifndef JRL_ANSWER_MATHD_H
#define JRL_ANSWER_MATHD_H

#include "answer/edit.h"

/* The inside of \text{...} when that is all of S (a line end behind it apart) and is one line, not empty; else S. */
struct jrl_text jrl_text_argument(struct jrl_text s);

/* Rewrite the text of *e. SCRATCH is overwritten. */
void jrl_mathd(struct jrl_edit *e, struct jrl_buffer *scratch);

#endif
