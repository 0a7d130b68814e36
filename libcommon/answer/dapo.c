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

/* The content of the box that opens last, or false: a box that is not closed is not replaced by an earlier one. */
static bool last_box(struct jrl_text window, struct jrl_text *content)
{
    size_t open = window.len_bytes;
    int depth = 1;

    for (size_t i = 0; i + OPENER_LEN <= window.len_bytes; i++)
        if (memcmp(window.data + i, opener, OPENER_LEN) == 0)
            open = i + OPENER_LEN;
    for (size_t i = open; i < window.len_bytes; i++) {
        if (window.data[i] == '{') {
            depth++;
        } else if (window.data[i] == '}' && --depth == 0) {
            *content = (struct jrl_text){ window.data + open, i - open };
            return true;
        }
    }
    return false;
}

void jrl_judge_dapo(struct jrl_verdict *v, struct jrl_text response, const struct jrl_text *truths, size_t n_truths)
{
    struct jrl_text content;

    jrl_verdict_clear(v);
    if (!last_box(last_characters(response, WINDOW_CHARACTERS), &content))
        return;
    v->found = true;
    jrl_buffer_append(&v->pred, content.data, content.len_bytes);
    v->correct = jrl_verdict_is_any(v, truths, n_truths);
}
