/* dapo.c - the strict box, the verifier of DAPO's and JustRL's training: no normalisation, no second chance. */
#include <string.h>

#include "answer/rules.h"

enum { WINDOW_CHARACTERS = 100 };
static const char opener[] = "\\boxed{";
enum { OPENER_LEN = sizeof(opener) - 1 };

void jrl_rule_dapo(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths)
{
    const struct jrl_text window = jrl_last_characters(response, WINDOW_CHARACTERS);
    size_t open = 0; /* behind the opener of the box that opens last */
    int depth = 1;

    (void)w;
    for (size_t i = 0; i + OPENER_LEN <= window.len_bytes; i++)
        if (memcmp(window.data + i, opener, OPENER_LEN) == 0)
            open = i + OPENER_LEN;
    if (open == 0)
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
