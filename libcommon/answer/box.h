/* box.h - the last \boxed{} of a text, as the evaluation rules find it. */
#ifndef JRL_ANSWER_BOX_H
#define JRL_ANSWER_BOX_H

#include <stdbool.h>

#include "base/text.h"

enum jrl_box { JRL_BOX_NONE, JRL_BOX_UNBALANCED, JRL_BOX_FOUND };

/* The content of the last \boxed, which has to be followed by a brace that is closed: there is no second chance with an
 * earlier one. JRL_BOX_NONE: the text has no \boxed at all. */
enum jrl_box jrl_box_last(struct jrl_text text, struct jrl_text *content);

#endif
