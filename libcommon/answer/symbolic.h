/* symbolic.h - the comparison that the rules polaris and deepscaler share: equal after the older, small normalisation
 * (mathd.h), or after the newer one (normalize.h), or, part by part, the same fraction or expression (algebra.h). */
#ifndef JRL_ANSWER_SYMBOLIC_H
#define JRL_ANSWER_SYMBOLIC_H

#include "answer/algebra.h"
#include "answer/answer.h"
#include "answer/normalize.h"

/* A text and what it is normalised to, each when it was asked for. */
struct jrl_form {
    struct jrl_buffer bytes;
    struct jrl_edit mathd, normal;
    bool has_mathd, has_normal;
    bool within_limits;           /* of the newer normalisation */
    struct jrl_rounding rounding; /* that it was made with, and whether that mattered */
};

enum {
    JRL_SYMBOLIC_KEPT = 8,           /* references that stay prepared, since the responses of a group share theirs */
    JRL_SYMBOLIC_MAX_ELEMENTS = 64,  /* of a tuple that is compared part by part; more reach a limit */
};

/* Working memory; zero-initialise, reuse, release at the end. */
struct jrl_symbolic {
    struct jrl_normalizer normalizer;
    struct jrl_algebra *algebra; /* made when first needed */
    bool exact;
    struct jrl_form given, references[JRL_SYMBOLIC_KEPT];
    struct jrl_edit given_parts, reference_parts;
};
void jrl_symbolic_release(struct jrl_symbolic *s);

/* Begin with an answer; then compare it with references, numbered from 0. EXACT is the option exact_small_numbers. */
void jrl_symbolic_begin(struct jrl_symbolic *s, struct jrl_text given, bool exact);
/* JRL_WHY_EQUAL_TEXT, JRL_WHY_EQUAL_VALUE, or what made them differ. *small_number: the other value of the option would
 * have given the other verdict. */
enum jrl_why jrl_symbolic_compare(struct jrl_symbolic *s, struct jrl_text reference, size_t number, bool *small_number);

#endif
