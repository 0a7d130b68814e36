/* latex_private.h - what the parts of latex.h share. */
#ifndef JRL_ANSWER_LATEX_PRIVATE_H
#define JRL_ANSWER_LATEX_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "answer/latex.h"

/* ---- latex_macros.c */
struct jrl_latex_macro {
    const char *name;
    const char *arguments; /* one character each: '{' an expression, '[' in brackets if any, '*' a star if any */
    enum {
        NOTHING,   /* vanishes with its arguments */
        ARGUMENTS, /* its arguments */
        TEXT,      /* text */
        TEMPLATE,  /* text with %s for all arguments in turn */
        ONE,       /* text with %(n)s for the n-th argument */
        ACCENT,    /* text is a combining mark, for each character of the argument */
        ALPHABET,  /* text is the name of a mathematical alphabet */
        ITEM, SECOND, OMIT, ABORT,
    } kind;
    const char *text;
};
/* NULL when NAME is unknown: no arguments, no text. */
const struct jrl_latex_macro *jrl_latex_macro_find(struct jrl_text name);
/* The character that C becomes in the mathematical alphabet NAME; letters of ASCII change. */
uint32_t jrl_latex_alphabet(const char *name, uint32_t c);

/* ---- latex_tokens.c */
enum jrl_latex_token_kind { LATEX_END, LATEX_CHARACTER, LATEX_MACRO, LATEX_MATH, LATEX_BEGIN, LATEX_END_OF, LATEX_COMMENT, LATEX_OPEN, LATEX_CLOSE, LATEX_SPECIAL };
struct jrl_latex_token {
    enum jrl_latex_token_kind kind;
    struct jrl_text text; /* the character; the name of a macro or environment; the delimiter */
    size_t before;        /* where the white space before it begins; of LATEX_END, which may leave it unread, too */
    size_t start, end;    /* the token with the white space it takes along */
    struct jrl_text post; /* the white space a macro or comment takes along */
};
/* The token at AT. BRACKETS: square brackets open and close. ENVIRONMENTS: \begin{name} is one token. */
void jrl_latex_token_read(struct jrl_latex_token *t, struct jrl_text s, size_t at, bool brackets, bool environments);
/* What a special token (--, ~, &, ...) is as text. */
const char *jrl_latex_special_text(struct jrl_text special);

/* ---- latex_tree.c */
enum jrl_latex_node_kind { NODE_NONE, NODE_TEXT, NODE_GROUP, NODE_MACRO, NODE_ENVIRONMENT, NODE_SPECIAL, NODE_MATH, NODE_COMMENT };
struct jrl_latex_node {
    enum jrl_latex_node_kind kind;
    bool display;          /* of NODE_MATH */
    bool has_arguments;    /* of NODE_MACRO: false when the text ended where they were due */
    int32_t child;         /* first of the content, or of the arguments; -1: none */
    int32_t next;          /* sibling; -1: none */
    struct jrl_text text;  /* the text; a special; an environment's name */
    struct jrl_text post;
    const struct jrl_latex_macro *macro; /* NULL: unknown */
};
struct jrl_latex_work {
    struct jrl_latex *latex;
    struct jrl_text source;
    struct jrl_buffer *out;
    int depth, steps;
    size_t moved_bytes;
    enum jrl_latex_end end; /* anything but JRL_LATEX_DONE: stop */
};
/* Counts a step; false when there must be no more, or the end was decided before. */
static inline bool jrl_latex_step(struct jrl_latex_work *w)
{
    if (++w->steps > JRL_LATEX_MAX_STEPS && w->end == JRL_LATEX_DONE)
        w->end = JRL_LATEX_LIMIT;
    return w->end == JRL_LATEX_DONE;
}
/* The first node of the whole source, -1 when it is empty. */
int32_t jrl_latex_parse(struct jrl_latex_work *w);

/* ---- latex_render.c: append the nodes from FIRST up to STOP (-1: all) to w->out. */
void jrl_latex_render(struct jrl_latex_work *w, int32_t first, int32_t stop, bool math);

#endif
