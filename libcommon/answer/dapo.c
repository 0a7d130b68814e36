/* dapo.c - the strict box, the verifier of DAPO's and JustRL's training: no normalisation, no second chance. */
#include <string.h>

#include "answer/rules.h"

enum { WINDOW_CHARACTERS = 100 };
static const char opener[] = "\\boxed{";

void jrl_rule_dapo(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths)
{
    const struct jrl_text window = jrl_last_characters(response, WINDOW_CHARACTERS);
    const size_t at = jrl_text_find_last(window, opener), open = at + sizeof(opener) - 1;
    int depth = 1;

    (void)w;
    v->why = JRL_WHY_NO_BOX;
    if (at == SIZE_MAX)
        return;
    v->why = JRL_WHY_UNBALANCED; /* a box that is not closed is not replaced by an earlier one */
    for (size_t i = open; i < window.len_bytes; i++) {
        if (window.data[i] == '{') {
            depth++;
        } else if (window.data[i] == '}' && --depth == 0) {
            jrl_verdict_found(v, (struct jrl_text){ window.data + open, i - open });
            jrl_verdict_compare(v, truths, n_truths);
            return;
        }
    }
}
