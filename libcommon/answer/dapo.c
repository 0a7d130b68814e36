/* dapo.c - the strict box, the verifier of DAPO's and JustRL's training: no normalisation, no second chance. */
#include <string.h>

#include "answer/rules.h"

/* The window is counted in code points from the end. Every byte of UTF-8 that is not a continuation byte starts one;
 * bytes that are no UTF-8 cannot come out of a decoder that replaces them by U+FFFD. */
enum { WINDOW_CHARACTERS = 100 };
static const char opener[] = "\\boxed{";
enum { OPENER_LEN = sizeof(opener) - 1 };

static struct jrl_text last_characters(struct jrl_text text, int n_characters)
{
    size_t start = text.len_bytes;

    while (start > 0 && n_characters > 0) {
        start--;
        if (((unsigned char)text.data[start] & 0xC0) != 0x80)
            n_characters--;
    }
    return (struct jrl_text){ text.data + start, text.len_bytes - start };
}

void jrl_rule_dapo(struct jrl_verifier *w, struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths)
{
    const struct jrl_text window = last_characters(response, WINDOW_CHARACTERS);
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
