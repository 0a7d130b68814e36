/* normalize.h - the newer comparison's idea of a text: units and layout gone, LaTeX written out, integers in one form. */
#ifndef JRL_ANSWER_NORMALIZE_H
#define JRL_ANSWER_NORMALIZE_H

#include "answer/edit.h"
#include "answer/latex.h"
#include "answer/number.h"

/* Working memory; zero-initialise, reuse, release at the end. */
struct jrl_normalizer {
    struct jrl_latex latex;
    struct jrl_edit source; /* the LaTeX, in case it has to be given up */
    struct jrl_buffer scratch;
};
void jrl_normalizer_release(struct jrl_normalizer *n);

/* Rewrite the text of *e; *r says what an integer is. False when a limit of latex.h was reached. */
bool jrl_normalize(struct jrl_normalizer *n, struct jrl_edit *e, struct jrl_rounding *r);

#endif
