/* answer.h - is a response right? The rules ("verifiers") by name, each a pure function of the response and the
 * ground truth: no I/O, no clock, bounded work. A rule extracts the answer its own way and compares it its own way;
 * jrl-verify(1) describes them for users.
 * Not here: rewards (the tool maps right and wrong to numbers) and ground truths as records hold them (data/scalar.h). */
#ifndef JRL_ANSWER_ANSWER_H
#define JRL_ANSWER_ANSWER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/memory.h"
#include "base/text.h"

/* Zero-initialise, reuse for every response of a loop, release at the end. One verdict a thread. */
struct jrl_verdict {
    bool correct;
    bool found;             /* an answer was extracted; it may be empty */
    struct jrl_buffer pred; /* the answer as the rule reports it; meaningful when found */
};
void jrl_verdict_release(struct jrl_verdict *v);

/* One rule. A new rule is one function in a file of its own and one line in the table of answer.c. */
struct jrl_rule {
    const char *name;
    const char *purpose; /* one line, for --help and messages */
    /* Set all of *v. TRUTHS are alternatives: the response is right when it agrees with any of them. There may be none,
     * and then no response is right. */
    void (*judge)(struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths);
};

const struct jrl_rule *jrl_rules(size_t *n);              /* the table, in the order the page lists it */
const struct jrl_rule *jrl_rule_find(const char *name);   /* NULL when there is none of that name */
/* The names, separated by ", ", appended to *out. */
void jrl_rule_names(struct jrl_buffer *out);

#endif
