/* answer.h - is a response right? The rules ("verifiers") by name: no I/O, no clock, bounded work. A rule extracts the
 * answer its own way and compares it its own way; jrl-verify(1) describes them for users.
 * Not here: rewards (the tool maps verdicts to numbers) and ground truths as records hold them (data/scalar.h). */
#ifndef JRL_ANSWER_ANSWER_H
#define JRL_ANSWER_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/memory.h"
#include "base/text.h"

/* An answer or a reference beyond this length is compared as text; no rule computes with it or normalises it as a formula. */
enum { JRL_ANSWER_MAX_BYTES = 65536 };

/* What decided a verdict; records hold its name (field `why`). */
enum jrl_why {
    JRL_WHY_NO_BOX,      /* nothing to extract, of the rules that read a box */
    JRL_WHY_NO_ANSWER,   /* the same of others, and where there is no end of thinking */
    JRL_WHY_UNBALANCED,  /* the last box is not closed, or is not of the form the rule reads */
    JRL_WHY_NO_TRUTH,    /* an answer, but no reference that can be compared with */
    JRL_WHY_DIFFERS,     /* compared to the end: another answer */
    JRL_WHY_REFUSED,     /* not the same text, and no expression the rule evaluates */
    JRL_WHY_LIMIT,       /* a stated limit of work was reached: wrong, but not known to be */
    JRL_WHY_EQUAL_TEXT,  /* right: the same text, after what normalisation the rule has */
    JRL_WHY_EQUAL_VALUE, /* right: another form of the same value */
    JRL_N_WHY
};
const char *jrl_why_name(enum jrl_why why); /* "no answer", "equal text", ...; static */

/* Zero-initialise, reuse for every response of a loop, release at the end. */
struct jrl_verdict {
    bool correct;
    bool found;             /* an answer was extracted; it may be empty */
    bool small_number;      /* tiny numbers decided: the other treatment of them gives the other verdict */
    enum jrl_why why;
    struct jrl_buffer pred; /* the answer as the rule reports it; meaningful when found */
};
void jrl_verdict_release(struct jrl_verdict *v);

struct jrl_rule_options {
    bool exact_small_numbers; /* a number within 1e-7 of an integer is itself, where the published rules make it that integer: tiny ones 0 */
};

/* A rule at work: its options and working memory, reused from response to response. One a thread. */
struct jrl_verifier;

/* One rule. A new rule is one function in a file of its own and one line in the table of answer.c. */
struct jrl_rule {
    const char *name;
    const char *purpose; /* one line, for --help and messages */
    double right, wrong; /* rewards as the rule was published */
    /* Set *v, which is cleared. TRUTHS are alternatives: the response is right when it agrees with any of them. There may
     * be none, and then no response is right. */
    void (*verify)(struct jrl_verifier *work, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths);
    bool has_small_numbers; /* exact_small_numbers means something for it */
};

const struct jrl_rule *jrl_rules(size_t *n);              /* the table, in the order the page lists it */
const struct jrl_rule *jrl_rule_find(const char *name);   /* NULL when there is none of that name */
/* The names, separated by ", ", appended to *out. */
void jrl_rule_names(struct jrl_buffer *out);

/* RULE is borrowed for ever (the table is static), OPTIONS copied; NULL: as published. Free with jrl_verifier_free (NULL is fine). */
struct jrl_verifier *jrl_verifier_new(const struct jrl_rule *rule, const struct jrl_rule_options *options);
void jrl_verifier_free(struct jrl_verifier *w);
/* The verdict on RESPONSE, all of *v set. What it is depends on the arguments alone, not on what was verified before. */
void jrl_verify(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths);

#endif
