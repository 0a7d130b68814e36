/* tally.c - see tally.h. */
#include "answer/tally.h"

#include <inttypes.h>

void jrl_verdict_tally_add(struct jrl_verdict_tally *t, const struct jrl_verdict *v, bool other_correct)
{
    t->n++;
    t->why[v->why]++;
    t->small_numbers += v->small_number;
    t->only_this += v->correct && !other_correct;
    t->only_other += !v->correct && other_correct;
}

void jrl_verdict_tally_reasons(const struct jrl_verdict_tally *t, struct jrl_buffer *out)
{
    const char *sep = "";

    for (int why = 0; why < JRL_N_WHY; why++) {
        if (t->why[why] == 0)
            continue;
        jrl_buffer_printf(out, "%s%s %" PRId64, sep, jrl_why_name((enum jrl_why)why), t->why[why]);
        sep = ", ";
    }
    if (!*sep)
        jrl_buffer_append_str(out, "none");
}
