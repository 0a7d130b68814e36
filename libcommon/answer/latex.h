/* latex.h - LaTeX to plain text the way pylatexenc 2.10 does it, which the published symbolic rules compare after: fractions
 * lose their parentheses, roots their index, and what it does not know vanishes. Not a typesetter: errors are skipped.
 * In order: latex_tokens.c, latex_tree.c, latex_render.c; latex_macros.c is the table. */
#ifndef JRL_ANSWER_LATEX_H
#define JRL_ANSWER_LATEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/text.h"

enum {
    JRL_LATEX_MAX_DEPTH = 245,         /* groups, environments and formulas inside each other: beyond, aborted, as the original */
    JRL_LATEX_MAX_STEPS = 1 << 18,      /* tokens read and nodes written, those that are read again included */
    JRL_LATEX_MAX_TEXT_BYTES = 1 << 20, /* text written or moved */
};

enum jrl_latex_end {
    JRL_LATEX_DONE,
    JRL_LATEX_ABORTED, /* the original gives up too, and leaves the text as it was */
    JRL_LATEX_LIMIT,   /* more steps or bytes than stated above */
};

/* Working memory; zero-initialise, reuse, release at the end. */
struct jrl_latex {
    struct jrl_latex_node *nodes;
    int32_t n_nodes, nodes_cap;
    struct jrl_buffer no_arguments; /* one byte a position: a macro's arguments do not fit behind it */
    struct jrl_buffer scratch;
    struct jrl_latex_cell { size_t begin; int32_t characters; bool ends_row; } *cells; /* of matrices being written */
    int32_t n_cells, cells_cap;
};
void jrl_latex_release(struct jrl_latex *l);

/* Append SOURCE as text to *out, which is meaningless unless JRL_LATEX_DONE comes back. */
enum jrl_latex_end jrl_latex_to_text(struct jrl_latex *l, struct jrl_buffer *out, struct jrl_text source);

#endif
