/* exact.c - the whole response is the answer: for tasks that ask for nothing else, with or without thinking before it. */
#include <string.h>

#include "answer/rules.h"
#include "base/unicode.h"

void jrl_rule_exact(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths)
{
    static const char end_of_thinking[] = "</think>";
    const size_t n = sizeof(end_of_thinking) - 1, at = jrl_text_find_last(response, end_of_thinking);
    struct jrl_text answer = response;

    (void)w;
    if (at != SIZE_MAX)
        answer = (struct jrl_text){ response.data + at + n, response.len_bytes - at - n };
    answer = jrl_unicode_trim(answer);
    if (answer.len_bytes == 0)
        return;
    jrl_verdict_found(v, answer);
    v->why = n_truths > 0 ? JRL_WHY_DIFFERS : JRL_WHY_NO_TRUTH;
    for (size_t i = 0; i < n_truths && !v->correct; i++)
        v->correct = jrl_text_equal(answer, jrl_unicode_trim(truths[i]));
    if (v->correct)
        v->why = JRL_WHY_EQUAL_TEXT;
}
